//! Times that go out: what a receiver compares with others of the same sender.

use std::time::Instant;

/// The server's own clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    began: Instant,
    ntp: u64,
}

impl Clock {
    /// At `began` it was `ntp` by the wall clock.
    pub fn new(began: Instant, ntp: u64) -> Clock {
        Clock { began, ntp }
    }

    /// As sender reports say it (RFC 3550 §4): seconds since 1900 in the upper half, their fraction
    /// in the lower. Steady, whatever becomes of the wall clock.
    pub fn ntp(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        self.ntp.wrapping_add(since.as_secs() << 32 | fraction)
    }

    /// Six bits of seconds and eighteen of their fraction (the `abs-send-time` experiment of
    /// WebRTC).
    pub fn send_time(&self, now: Instant) -> [u8; 3] {
        let micros = now.saturating_duration_since(self.began).as_micros() as u64;
        let [.., high, middle, low] = ((micros << 18) / 1_000_000).to_be_bytes();
        [high, middle, low]
    }
}
