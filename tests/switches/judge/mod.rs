//! An independent reading of what a viewer got, by the RFCs, against what is true of the frames that
//! the publisher sent. It shares nothing with the server but the numbers on the wire.

mod av1;
mod choices;
mod decode;
mod descriptor;
mod h264;
mod numbers;
mod vp8;
mod vp9;

use std::time::Duration;

use crate::publisher::Publisher;
use crate::rtp::Rtp;
use crate::sources::{Format, Frame, read_stamp};
use crate::viewer::Viewer;

/// A packet of media that came, and of which frame it is; `None`: it has no payload.
pub struct Packet<'a> {
    pub index: u64,
    pub at: Duration,
    pub rtp: &'a Rtp,
    pub of: Option<(&'a Frame, usize, usize)>,
}

/// Frames of one stream that came without another's between.
pub struct Run<'a> {
    pub ssrc: u32,
    pub begins: Duration,
    /// When nothing of it was to be sent any more; for the last, never.
    pub ends: Duration,
    pub shown: Vec<Shown<'a>>,
}

/// A frame of which at least a packet came.
pub struct Shown<'a> {
    pub frame: &'a Frame,
    pub packets: Vec<(u64, &'a Rtp)>,
    pub first_at: Duration,
    pub parts: usize,
}

impl Shown<'_> {
    pub fn is_whole(&self) -> bool {
        self.packets.len() == self.parts
    }
}

/// All that is known.
pub struct Case<'a> {
    pub viewer: &'a Viewer,
    pub publisher: &'a Publisher,
    pub packets: Vec<Packet<'a>>,
    pub runs: Vec<Run<'a>>,
    pub ended: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Verdict {
    pub faults: Vec<String>,
    pub frames: u64,
    pub cut: u64,
    /// How long each choice took to be what is shown.
    pub settled: Vec<Duration>,
    pub unsettled: u64,
}

pub const NEVER: Duration = Duration::from_secs(1 << 30);

impl<'a> Case<'a> {
    fn new(viewer: &'a Viewer, publisher: &'a Publisher, ended: Duration) -> Case<'a> {
        let packet = |(index, got): (&u64, &'a crate::viewer::Got)| {
            let of = read_stamp(&got.rtp.payload)
                .map(|(frame, part, parts)| (&publisher.frames[frame as usize], part, parts));
            Packet { index: *index, at: got.at, rtp: &got.rtp, of }
        };
        let packets: Vec<Packet<'_>> = viewer.got.iter().map(packet).collect();
        let mut runs: Vec<Run<'_>> = Vec::new();
        for Packet { index, at, rtp, of } in &packets {
            let Some((frame, _, parts)) = *of else { continue };
            let last = runs.last_mut().filter(|run| {
                run.ssrc == frame.ssrc
                    && run.shown.last().is_none_or(|last| !paused(viewer, last.first_at, *at))
            });
            let run = match last {
                Some(run) => run,
                None => {
                    if let Some(before) = runs.last_mut() {
                        before.ends = *at;
                    }
                    let (ssrc, shown) = (frame.ssrc, Vec::new());
                    runs.push(Run { ssrc, begins: *at, ends: NEVER, shown });
                    runs.last_mut().expect("just pushed")
                }
            };
            match run.shown.last_mut().filter(|shown| shown.frame.id == frame.id) {
                Some(shown) => shown.packets.push((*index, rtp)),
                None => run.shown.push(Shown {
                    frame,
                    packets: vec![(*index, rtp)],
                    first_at: *at,
                    parts,
                }),
            }
        }
        for run in &mut runs {
            let pauses = viewer.chosen.iter().filter(|chosen| chosen.choice.is_none());
            let pause = pauses.map(|pause| pause.at).find(|at| *at >= run.begins);
            let lives = publisher.encodings.iter().flat_map(|own| &own.lives);
            let life = lives.filter(|life| life.ssrc == run.ssrc).find_map(|life| life.replaced);
            run.ends = [pause, life].into_iter().flatten().fold(run.ends, Duration::min);
        }
        Case { viewer, publisher, packets, runs, ended }
    }

    /// Whether a packet of a stream did not reach the server before that time.
    pub fn is_lost(&self, ssrc: u32, seq: u64, before: Duration) -> bool {
        let arrival = self.publisher.arrivals.get(&(ssrc, seq)).copied().flatten();
        arrival.is_none_or(|at| at >= before)
    }

    /// Whether some packet of a frame did not.
    pub fn lacks(&self, frame: &Frame, before: Duration) -> bool {
        frame.arrived.iter().any(|at| at.is_none_or(|at| at >= before))
    }

    pub fn paused(&self, from: Duration, to: Duration) -> bool {
        paused(self.viewer, from, to)
    }

    /// Whether something behind a frame reached the server before it.
    pub fn is_overtaken(&self, frame: &Frame) -> bool {
        let behind = frame.first_seq + frame.arrived.len() as u64;
        let arrival = |seq| self.publisher.arrivals.get(&(frame.ssrc, seq)).copied().flatten();
        let mut later = (behind..behind + 20).filter_map(arrival);
        later.any(|at| Some(at) < frame.first_arrival())
    }

    /// Frames of a stream between two of it, by their numbers.
    pub fn between(&self, from: &Frame, to: &Frame) -> impl Iterator<Item = &'a Frame> {
        let (ssrc, first, last) = (from.ssrc, from.id, to.id);
        let all = self.publisher.frames.iter();
        let frames = all.skip(first as usize + 1).take((last.saturating_sub(first)) as usize);
        frames.filter(move |frame| frame.ssrc == ssrc && frame.id < last)
    }
}

/// Whether nothing was to be seen between two moments.
fn paused(viewer: &Viewer, from: Duration, to: Duration) -> bool {
    let mut pauses = viewer.chosen.iter().filter(|chosen| chosen.choice.is_none());
    pauses.any(|pause| from <= pause.at && pause.at < to)
}

/// Judges all that a viewer got.
pub fn judge(viewer: &Viewer, publisher: &Publisher, ended: Duration) -> Verdict {
    let case = Case::new(viewer, publisher, ended);
    let mut verdict = Verdict { faults: viewer.faults.clone(), ..Verdict::default() };
    numbers::check(&case, &mut verdict);
    match publisher.format {
        Format::Vp8 => vp8::check(&case, &mut verdict.faults),
        Format::H264 => h264::check(&case, &mut verdict.faults),
        Format::Vp9 | Format::Vp9Flexible => vp9::check(&case, &mut verdict.faults),
        Format::Av1 => {
            av1::check(&case, &mut verdict.faults);
            descriptor::check(&case, &mut verdict.faults);
        }
        Format::Opaque => descriptor::check(&case, &mut verdict.faults),
    }
    decode::check(&case, &mut verdict);
    choices::check(&case, &mut verdict);
    verdict
}
