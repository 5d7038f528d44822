//! How much of a budget has lasted.

use std::time::{Duration, Instant};

use crate::base::bitrate::Bitrate;

/// A budget has lasted when it was there for one to two of these. Longer raises later; shorter
/// believes an estimate that overshoots.
pub(super) const HALF: Duration = Duration::from_millis(400);

/// The smallest budget of late, in two halves so that it costs two numbers.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// Since when the present half is, and the smallest in it and in the one before.
    halves: Option<(Instant, Bitrate, Bitrate)>,
    last: Bitrate,
}

impl Floor {
    /// Takes the present budget, says what has lasted of it. The first has.
    pub fn update(&mut self, budget: Bitrate, now: Instant) -> Bitrate {
        let (since, present, before) = self.halves.unwrap_or((now, budget, budget));
        let (since, present, before) = match now.saturating_duration_since(since) {
            // Nothing was said, so the last one held until now.
            passed if passed >= 2 * HALF => (now, budget, self.last),
            passed if passed >= HALF => (now, budget, present),
            _ => (since, present.min(budget), before),
        };
        self.halves = Some((since, present, before));
        self.last = budget;
        present.min(before).min(budget)
    }

    /// This much has lasted, whatever was there before.
    pub fn confirm(&mut self, rate: Bitrate) {
        if let Some((_, present, before)) = &mut self.halves {
            *present = rate.max(*present);
            *before = rate.max(*before);
            self.last = rate.max(self.last);
        }
    }

    /// When the present budget will have lasted.
    pub fn lasts(&self, now: Instant) -> Instant {
        self.halves.map_or(now, |(since, ..)| since + HALF).max(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has lasted of budgets at times, in kbit/s and ms.
    fn lasted<const N: usize>(told: [(u64, u64); N]) -> [u64; N] {
        let (mut floor, start) = (Floor::default(), Instant::now());
        told.map(|(at, budget)| {
            let budget = Bitrate::from_kbps(budget);
            floor.update(budget, start + Duration::from_millis(at)).bps() / 1_000
        })
    }

    #[test]
    fn a_fall_counts_at_once_and_a_rise_when_it_has_lasted() {
        assert_eq!(lasted([(0, 900), (100, 100), (390, 900)]), [900, 100, 100]);
        assert_eq!(lasted([(0, 900), (390, 100), (410, 900), (820, 900)]), [900, 100, 100, 900]);
        assert_eq!(lasted([(0, 100), (410, 900), (700, 900), (811, 900)]), [100, 100, 100, 900]);
    }

    #[test]
    fn the_last_one_told_held_until_the_next() {
        assert_eq!(lasted([(0, 100), (100, 900), (5_000, 900)]), [100, 100, 900]);
        assert_eq!(lasted([(0, 100), (5_000, 900), (5_100, 900)]), [100, 100, 100]);
    }

    #[test]
    fn a_probe_makes_up_for_time() {
        let (mut floor, now) = (Floor::default(), Instant::now());
        let kbps = Bitrate::from_kbps;
        floor.update(kbps(100), now);
        floor.confirm(kbps(500));
        assert_eq!(floor.update(kbps(900), now), kbps(500));
        assert_eq!(floor.update(kbps(400), now), kbps(400));
    }
}
