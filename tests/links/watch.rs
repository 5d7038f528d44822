//! What was seen of a run.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use trackyard::wire::rtp::Header;

use crate::picture::Shown;

/// What the server sent to one viewer, as whoever sees the datagrams can tell.
#[derive(Debug, Default)]
pub struct Sent {
    /// When each frame's first packet left: its stream, and its timestamp.
    pub frames: Vec<(Instant, u32, u32)>,
    known: HashSet<(u32, u32)>,
}

/// Of VP8 here; the tag and an empty payload.
const EMPTY_BYTES: usize = 16;

impl Sent {
    pub fn take(&mut self, now: Instant, datagram: &[u8]) {
        let Some(header) = Header::parse(datagram) else { return };
        let is_empty = datagram.len() <= header.bytes + EMPTY_BYTES;
        if (64..96).contains(&header.payload_type) || is_empty || header.padding {
            return;
        }
        let frame = (header.ssrc, header.timestamp);
        if self.known.insert(frame) {
            self.frames.push((now, header.ssrc, header.timestamp));
        }
    }
}

/// A time without a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Freeze {
    pub at: Instant,
    /// Beyond what the frame rate explains.
    pub length: Duration,
}

/// Intervals that make the usual one (`libwebrtc`'s `VideoQualityObserver`, and the two below).
const INTERVALS: usize = 30;
const FREEZE_TIMES: u32 = 3;
const FREEZE_BEYOND: Duration = Duration::from_millis(150);

/// All freezes that end within a span, and the one that does not.
pub fn freezes(shown: &[Shown], from: Instant, to: Instant) -> Vec<Freeze> {
    let mut freezes = Vec::new();
    let mut intervals: Vec<Duration> = Vec::new();
    let ends = std::iter::once(to);
    let times = shown.iter().map(|shown| shown.at).filter(|at| *at < to).chain(ends);
    let times: Vec<Instant> = times.collect();
    for pair in times.windows(2) {
        let interval = pair[1] - pair[0];
        let recent = &intervals[intervals.len().saturating_sub(INTERVALS)..];
        let usual = recent.iter().sum::<Duration>() / recent.len().max(1) as u32;
        let usual = if recent.is_empty() { Duration::from_millis(33) } else { usual };
        if interval > (FREEZE_TIMES * usual).max(usual + FREEZE_BEYOND) && pair[1] >= from {
            freezes.push(Freeze { at: pair[0], length: interval - usual });
        }
        intervals.push(interval);
    }
    freezes
}

pub fn longest(freezes: &[Freeze]) -> Duration {
    freezes.iter().map(|freeze| freeze.length).max().unwrap_or_default()
}

/// When the encoding that is shown changed, and to which; the first is none.
pub fn changes(shown: &[Shown], from: Instant, to: Instant) -> Vec<(Instant, u8)> {
    let within = |pair: &&[Shown]| (from..to).contains(&pair[1].at);
    let pairs = shown.windows(2).filter(within);
    let changed = pairs.filter(|pair| pair[0].encoding != pair[1].encoding);
    changed.map(|pair| (pair[1].at, pair[1].encoding)).collect()
}
