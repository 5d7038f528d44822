//! How much arrives: bytes over the receiver's time.

use std::time::Duration;

use super::Arrival;
use crate::base::bitrate::Bitrate;

/// What arrives is said over so long (`libwebrtc` begins with 500 ms, draft-ietf-rmcat-gcc-02 §5.5
/// has 0.5 to 1 s). Longer is steadier when few pictures a second come; shorter follows sooner.
const WINDOW: Duration = Duration::from_millis(500);
/// And while the link is busy, when arrivals are even, over so long (`libwebrtc`,
/// `BitrateEstimator`, 150 ms and what feedback adds).
const BUSY_WINDOW: Duration = Duration::from_millis(200);
/// Marks are so far apart at least, and so many: 640 ms.
const MARK_MICROS: i64 = 10_000;
const MARKS: usize = 64;
/// After a pause of so long, or a step back of a tenth of it, the past says nothing.
const PAUSE_MICROS: i64 = 2_000_000;
/// So many marks are a rate.
const MARKS_MIN: usize = 4;

/// What arrived in the last moments.
#[derive(Debug)]
pub struct Acked {
    /// The last [`MARKS`]; the place of one is its count.
    marks: [Mark; MARKS],
    count: usize,
    /// The last arrival with all bytes up to it.
    last: Mark,
}

/// All bytes up to a time of the receiver.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    at: i64,
    bytes: i64,
}

impl Default for Acked {
    fn default() -> Acked {
        Acked { marks: [Mark::default(); MARKS], count: 0, last: Mark::default() }
    }
}

impl Acked {
    /// A packet arrived.
    pub fn take(&mut self, arrival: &Arrival) {
        let since = arrival.arrived - self.last.at;
        if !(-PAUSE_MICROS / 10..=PAUSE_MICROS).contains(&since) {
            *self = Acked::default();
            self.last.at = arrival.arrived;
        }
        self.last.at = self.last.at.max(arrival.arrived);
        self.last.bytes = self.last.bytes.saturating_add_unsigned(arrival.bytes);
        match self.marks.get_mut(self.count.wrapping_sub(1) % MARKS) {
            Some(mark) if self.count > 0 && self.last.at - mark.at < MARK_MICROS => {
                if mark.at == self.last.at {
                    mark.bytes = self.last.bytes;
                }
            }
            _ => {
                if let Some(mark) = self.marks.get_mut(self.count % MARKS) {
                    *mark = self.last;
                }
                self.count += 1;
            }
        }
    }

    /// Feedback was lost about so many bytes, which left before those that arrived since `from` on
    /// the receiver's clock. They count as arrived: otherwise lost feedback would look like a link
    /// that fell.
    pub fn presume(&mut self, bytes: u64, from: i64) {
        for mark in self.marks.iter_mut().filter(|mark| mark.at < from) {
            mark.bytes = mark.bytes.saturating_sub_unsigned(bytes);
        }
    }

    /// What arrives, over half a second; none while that is unknown.
    pub fn rate(&self) -> Option<Bitrate> {
        self.over(WINDOW)
    }

    /// What arrives, over the last moments.
    pub fn busy_rate(&self) -> Option<Bitrate> {
        self.over(BUSY_WINDOW)
    }

    fn over(&self, window: Duration) -> Option<Bitrate> {
        let from = self.last.at - window.as_micros() as i64;
        let kept = self.count.min(MARKS);
        let within = (0..kept)
            .filter_map(|back| self.marks.get((self.count - 1 - back) % MARKS))
            .take_while(|mark| mark.at >= from);
        let (marks, first) = within.fold((0, self.last), |(marks, _), mark| (marks + 1, *mark));
        let micros = u64::try_from(self.last.at - first.at).ok()?;
        let bytes = u64::try_from(self.last.bytes.saturating_sub(first.bytes)).ok()?;
        // Less than half of the window is no rate.
        let is_known = marks >= MARKS_MIN && 2 * micros >= window.as_micros() as u64;
        is_known.then(|| Bitrate::of(bytes, Duration::from_micros(micros)))
    }
}
