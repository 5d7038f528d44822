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
