//! What a browser makes of a video stream: whole frames out of packets, those that a decoder can
//! follow, and when each is shown. After `libwebrtc`: a frame is decoded when it is due; whatever
//! before it is not whole by then is given up.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::camera::Vp8;

/// Without a frame that can be decoded for so long, a keyframe is asked for; and while none was
/// decoded yet, again and again (`libwebrtc`, `kMaxWaitForFrame` and `kMaxWaitForKeyFrame`).
const FRAME_WAIT: Duration = Duration::from_secs(3);
const KEYFRAME_WAIT: Duration = Duration::from_millis(200);
/// What frames are late by is made up for by waiting, which is reduced so much a second.
const DELAY_DECAY: f64 = 0.01;
const DELAY_MAX: f64 = 1.0;
/// The least transit is that of so many spans of so long.
const BASE_SPANS: usize = 5;
const BASE_SPAN: Duration = Duration::from_secs(2);
/// From so many frames on that had to be asked for again, the delay makes up for that as well
/// (`libwebrtc`, `JitterEstimator`, `kNackLimit`).
const RESENT_MIN: u32 = 3;

/// A packet, as it is kept until its frame is whole.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub timestamp: u32,
    pub marker: bool,
    pub vp8: Vp8,
    pub is_resent: bool,
}

/// A whole frame.
#[derive(Debug, Clone, Copy)]
struct Frame {
    /// Its packets' numbers.
    first: u64,
    last: u64,
    vp8: Vp8,
    timestamp: u32,
    /// Seconds since the first frame's.
    captured: f64,
    whole: Instant,
}

/// A frame that was shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    pub at: Instant,
    pub encoding: u8,
    pub timestamp: u32,
}

/// The frames of the present period that were decoded: all pictures since one of the lowest layer.
#[derive(Debug, Clone, Copy)]
struct Base {
    tl0: u8,
    /// Up to this one none is missing.
    picture_id: u16,
}

#[derive(Debug)]
pub struct Picture {
    pub shown: Vec<Shown>,
    /// Frames that no decoder could follow, though the stream said so.
    pub faults: Vec<String>,
    pub asked: u64,
    held: BTreeMap<u64, Held>,
    frames: BTreeMap<u64, Frame>,
    /// The last packet of what was decoded last.
    decoded: Option<u64>,
    base: Option<Base>,
    truth: VecDeque<(u8, u32)>,
    /// Timestamps without their wrap.
    clock: Option<(u32, i64)>,
    timing: Timing,
    /// Since when no frame was decoded, and when a keyframe was asked for last.
    idle: Option<Instant>,
    pleaded: Option<Instant>,
}

/// When frames are due.
#[derive(Debug)]
struct Timing {
    began: Instant,
    /// The least transit of the last spans, in seconds, and when the present one began.
    base: VecDeque<f64>,
    span: Instant,
    delay: f64,
    delayed: Instant,
    resent: u32,
    round_trip: f64,
}

impl Timing {
    fn take(&mut self, now: Instant, captured: f64, is_resent: bool) {
        let transit = (now - self.began).as_secs_f64() - captured;
        if now - self.span >= BASE_SPAN || self.base.is_empty() {
            self.span = now;
            self.base.push_back(transit);
            while self.base.len() > BASE_SPANS {
                self.base.pop_front();
            }
        }
        if let Some(least) = self.base.back_mut() {
            *least = least.min(transit);
        }
        let since = (now - std::mem::replace(&mut self.delayed, now)).as_secs_f64();
        self.delay = (self.delay - DELAY_DECAY * since).max(0.0);
        if is_resent {
            self.resent += 1;
        } else {
            let late = transit - self.least();
            self.delay = self.delay.max(late).min(DELAY_MAX);
        }
    }

    fn least(&self) -> f64 {
        self.base.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn due(&self, captured: f64) -> Instant {
        let more = if self.resent >= RESENT_MIN { self.round_trip } else { 0.0 };
        let after = captured + self.least() + self.delay + more;
        self.began + Duration::from_secs_f64(after.max(0.0))
    }
}

impl Picture {
    pub fn new(now: Instant, round_trip: Duration) -> Picture {
        Picture {
            shown: Vec::new(),
            faults: Vec::new(),
            asked: 0,
            held: BTreeMap::new(),
            frames: BTreeMap::new(),
            decoded: None,
            base: None,
            truth: VecDeque::new(),
            clock: None,
            timing: Timing {
                began: now,
                base: VecDeque::new(),
                span: now,
                delay: 0.0,
                delayed: now,
                resent: 0,
                round_trip: round_trip.as_secs_f64(),
            },
            idle: None,
            pleaded: None,
        }
    }

    /// A packet with this number, without its wrap.
    pub fn take(&mut self, now: Instant, seq: u64, packet: Held) {
        self.idle.get_or_insert(now);
        if self.decoded.is_some_and(|decoded| seq <= decoded) || self.held.contains_key(&seq) {
            return;
        }
        self.held.insert(seq, packet);
        let Some((first, last)) = self.whole(seq, packet.timestamp) else { return };
        let mut is_resent = false;
        for seq in first + 1..=last {
            is_resent |= self.held.remove(&seq).is_some_and(|held| held.is_resent);
        }
        let Some(head) = self.held.remove(&first) else { return };
        let captured = self.captured(head.timestamp);
        self.timing.take(now, captured, is_resent || head.is_resent);
        let (vp8, timestamp) = (head.vp8, head.timestamp);
        let frame = Frame { first, last, vp8, timestamp, captured, whole: now };
        self.frames.insert(first, frame);
    }

    /// The packets of a frame, if all are there.
    fn whole(&self, seq: u64, timestamp: u32) -> Option<(u64, u64)> {
        let of_frame = |seq: u64| self.held.get(&seq).filter(|held| held.timestamp == timestamp);
        let (mut first, mut last) = (seq, seq);
        while !of_frame(first)?.vp8.begins {
            first = first.checked_sub(1)?;
        }
        while !of_frame(last)?.marker {
            last += 1;
        }
        Some((first, last))
    }

    fn captured(&mut self, timestamp: u32) -> f64 {
        let (last, ticks) = self.clock.unwrap_or((timestamp, 0));
        let ticks = ticks + i64::from(timestamp.wrapping_sub(last).cast_signed());
        self.clock = Some((timestamp, ticks));
        ticks as f64 / 90_000.0
    }

    /// Whether all that it stands on was decoded (RFC 7741 §4.2; `RtpVp8RefFinder`).
    fn follows(&self, vp8: &Vp8) -> bool {
        let Some(base) = self.base.filter(|_| !vp8.keyframe) else { return vp8.keyframe };
        match vp8.temporal {
            0 => vp8.tl0 == base.tl0.wrapping_add(1),
            _ if vp8.tl0 != base.tl0 => false,
            _ => vp8.sync || vp8.picture_id == (base.picture_id + 1) & 0x7fff,
        }
    }

    /// The next frame that can be decoded.
    fn next(&self) -> Option<&Frame> {
        self.frames.values().find(|frame| self.follows(&frame.vp8))
    }

    /// Shows what is due. Gives up to which number nothing is needed any more.
    pub fn play(&mut self, now: Instant) -> Option<u64> {
        while let Some(frame) = self.next().copied() {
            if self.timing.due(frame.captured).max(frame.whole) > now {
                break;
            }
            self.decode(now, &frame);
        }
        self.decoded
    }

    fn decode(&mut self, now: Instant, frame: &Frame) {
        let vp8 = frame.vp8;
        log::trace!("shown: {vp8:?}, whole for {:?}", now - frame.whole);
        self.check(&vp8);
        self.idle = Some(now);
        self.pleaded = None;
        self.decoded = Some(frame.last);
        self.frames = self.frames.split_off(&(frame.first + 1));
        self.held = self.held.split_off(&(frame.last + 1));
        let id = vp8.picture_id;
        match &mut self.base {
            Some(base) if vp8.temporal > 0 => {
                if id == (base.picture_id + 1) & 0x7fff {
                    base.picture_id = id;
                }
            }
            base => *base = Some(Base { tl0: vp8.tl0, picture_id: id }),
        }
        let (encoding, timestamp) = (vp8.encoding, frame.timestamp);
        self.shown.push(Shown { at: now, encoding, timestamp });
    }

    /// What the encoder made it of was decoded.
    fn check(&mut self, vp8: &Vp8) {
        let back = match (vp8.keyframe, vp8.temporal, vp8.sync) {
            (true, ..) => None,
            (_, 0, _) => Some(4),
            (_, 1, _) => Some(2),
            _ => Some(1),
        };
        let needs = back.map(|back| (vp8.encoding, vp8.number - back));
        if needs.is_some_and(|needs| !self.truth.contains(&needs)) {
            self.faults.push(format!("{vp8:?} without {needs:?}"));
        }
        self.truth.push_back((vp8.encoding, vp8.number));
        if self.truth.len() > 8 {
            self.truth.pop_front();
        }
    }

    /// When [`Self::play`] or [`Self::pleads`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.next().map(|frame| self.timing.due(frame.captured).max(frame.whole));
        [due, self.pleads_at()].into_iter().flatten().min()
    }

    fn pleads_at(&self) -> Option<Instant> {
        let idle = self.idle?;
        let wait = if self.base.is_none() { KEYFRAME_WAIT } else { FRAME_WAIT };
        Some(self.pleaded.map_or(idle + wait, |at| at + KEYFRAME_WAIT.max(wait / 3)))
    }

    /// Whether a keyframe must be asked for now.
    pub fn pleads(&mut self, now: Instant) -> bool {
        let is_due = self.pleads_at().is_some_and(|at| at <= now);
        if is_due {
            self.pleaded = Some(now);
            self.asked += 1;
        }
        is_due
    }

    /// So much was missing at once that it is not asked for any more.
    pub fn give_up(&mut self, now: Instant) {
        (self.base, self.pleaded) = (None, None);
        self.idle = now.checked_sub(KEYFRAME_WAIT);
    }
}
