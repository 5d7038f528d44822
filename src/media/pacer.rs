//! Spreads what leaves for one subscriber, so that no burst is longer than the queues on its way.

use std::time::{Duration, Instant};

use crate::base::bitrate::Bitrate;

/// Times the estimate at which pictures leave (`libwebrtc`, `kDefaultPaceMultiplier`). Higher fills
/// the queue at the bottleneck with each keyframe; lower keeps a keyframe waiting here.
pub const PACE: f64 = 2.5;
/// What may leave at once, in time at that rate (`libwebrtc`, `kDefaultSendBurstInterval`): enough
/// packets for one segmented datagram, and a tenth of a second of a link that carries no more than
/// the estimate. Higher is a longer queue there; lower more turns and smaller batches here.
pub const BURST: Duration = Duration::from_millis(40);
/// And what may leave at once in any case, in bytes: a frame of a small picture.
const BURST_BYTES_MIN: u64 = 4_800;

/// A line of that rate, which is imagined: what it has not carried yet is what left in a burst.
#[derive(Debug)]
pub struct Pacer {
    /// 1,024 bytes take so many nanoseconds.
    nanos_per_kib: u64,
    burst: Duration,
    /// When the line has carried all that left.
    free_at: Option<Instant>,
}

impl Default for Pacer {
    fn default() -> Self {
        Pacer { nanos_per_kib: 0, burst: BURST, free_at: None }
    }
}

impl Pacer {
    /// Pictures leave at that rate from now on.
    pub fn set_rate(&mut self, rate: Bitrate) {
        self.nanos_per_kib = rate.time_for(1_024).as_nanos().min(1 << 40) as u64;
        self.burst = BURST.max(self.time_for(BURST_BYTES_MIN));
    }

    /// The same with a burst of its own: zero is one packet at a time.
    pub fn set_rate_and_burst(&mut self, rate: Bitrate, burst: Duration) {
        self.set_rate(rate);
        self.burst = burst;
    }

    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_nanos((bytes * self.nanos_per_kib) >> 10)
    }

    /// When the next picture's packet may leave; in the past or now: now.
    pub fn next(&self, now: Instant) -> Instant {
        self.free_at.and_then(|at| at.checked_sub(self.burst)).unwrap_or(now)
    }

    /// A packet of whatever kind leaves.
    pub fn sent(&mut self, now: Instant, bytes: usize) {
        let begins = self.free_at.map_or(now, |at| at.max(now));
        self.free_at = Some(begins + self.time_for(bytes as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(Bitrate::from_kbps(2_000));
        let mut now = start;
        let mut left = Vec::new();
        for _ in 0..100 {
            now = now.max(pacer.next(now));
            pacer.sent(now, 1_000);
            left.push(now - start);
        }
        let at_once = left.iter().filter(|at| at.is_zero()).count();
        // 40 ms at 2 Mbit/s are 10,000 bytes, and the one that fills it.
        assert_eq!(at_once, 11);
        let last = left[99].as_millis();
        assert!((355..=357).contains(&last), "89 packets at 4 ms each: {last} ms");
        now += Duration::from_secs(1);
        assert!(pacer.next(now) <= now, "rested");
        pacer.set_rate(Bitrate::ZERO);
        pacer.sent(now, 1_000);
        assert!(pacer.next(now) < now + Duration::from_secs(3_600), "nothing waits for ever");
    }

    #[test]
    fn a_slow_line_takes_a_small_frame_at_once() {
        let now = Instant::now();
        let mut pacer = Pacer::default();
        pacer.set_rate(Bitrate::from_kbps(100));
        for _ in 0..4 {
            assert!(pacer.next(now) <= now);
            pacer.sent(now, 1_200);
        }
        pacer.sent(now, 1_200);
        assert!(pacer.next(now) > now);
    }
}
