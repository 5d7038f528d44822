//! Token buckets: so many at once, then so many a second.

use std::time::{Duration, Instant};

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: u32,
    /// For each one more.
    pub interval: Duration,
}

impl Rate {
    /// `burst` at once, then `per_second`.
    pub const fn per_second(burst: u32, per_second: u32) -> Rate {
        Rate { burst, interval: Duration::from_nanos(1_000_000_000 / per_second as u64) }
    }

    /// From empty to full: whoever rested so long is as good as new.
    pub const fn rest(self) -> Duration {
        Duration::from_nanos(self.interval.as_nanos() as u64 * self.burst as u64)
    }
}

/// One bucket, full at first. It is no more than the time at which it will be full again (the
/// generic cell rate algorithm, ITU-T I.371), so nothing has to fill it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one; false when there is none.
    pub fn take(&mut self, now: Instant, rate: Rate) -> bool {
        self.take_many(now, rate, 1)
    }

    /// Takes `n`, or nothing if there are not so many.
    pub fn take_many(&mut self, now: Instant, rate: Rate, n: u32) -> bool {
        let full_at = self.full_at(now) + rate.interval * n;
        let fits = full_at - now <= rate.rest();
        if fits {
            self.full_at = Some(full_at);
        }
        fits
    }

    /// When it is full again; `now` when it is.
    pub fn full_at(&self, now: Instant) -> Instant {
        self.full_at.map_or(now, |at| at.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::per_second(10, 5);
        let mut now = Instant::now();
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now, rate)).count();
        assert_eq!(taken(&mut bucket, now), 10);
        assert_eq!(bucket.full_at(now), now + rate.rest());
        now += Duration::from_secs(1);
        assert_eq!(taken(&mut bucket, now), 5);
        now += Duration::from_secs(60);
        assert_eq!(bucket.full_at(now), now);
        assert_eq!(taken(&mut bucket, now), 10);
    }
}
