//! Whether the application sends less than it may: then what arrives says nothing of the link.

use std::time::{Duration, Instant};

use crate::base::bitrate::Bitrate;

/// Less than this share of the estimate is less (`libwebrtc`, `AlrDetector`,
/// `bandwidth_usage_ratio`). Higher trusts only traffic that fills the link; lower takes layers
/// that leave a third of it unused for its measure.
const USED: f64 = 0.65;
/// Pictures come unevenly: what was not used is saved up for so long (the same, 500 ms).
const SAVED_FOR: Duration = Duration::from_millis(500);
/// It begins when so much is saved up, and ends below this (the same, `start` and
/// `stop_budget_level_ratio`).
const BEGINS: f64 = 0.8;
const ENDS: f64 = 0.5;

/// What could have been sent and was not.
#[derive(Debug, Default)]
pub struct Application {
    /// Bytes; below zero what was sent beyond it.
    saved: f64,
    last: Option<Instant>,
    is_limited: bool,
}

impl Application {
    pub fn is_limited(&self) -> bool {
        self.is_limited
    }

    /// So many bytes leave, or none.
    pub fn sent(&mut self, now: Instant, bytes: usize, estimate: Bitrate) {
        let since = now.saturating_duration_since(self.last.replace(now).unwrap_or(now));
        let used = estimate.bps() as f64 * USED / 8.0;
        let most = used * SAVED_FOR.as_secs_f64();
        let saved = self.saved + used * since.as_secs_f64() - bytes as f64;
        self.saved = saved.clamp(-most, most);
        self.is_limited = match self.saved / most {
            share if share > BEGINS => true,
            share if share < ENDS => false,
            _ => self.is_limited,
        };
    }
}
