//! Counts by size: how often a thing was at most so large.

use std::time::Duration;

/// A histogram over fixed bounds. What is beyond the last of them counts in one place more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram<const BOUNDS: usize> {
    counts: [u64; BOUNDS],
    beyond: u64,
    sum: u64,
}

/// Bounds of times in microseconds: fine where a packet should pass, coarse where it should not.
pub const MICROS: [u64; 25] = [
    5, 10, 15, 20, 30, 40, 60, 80, 100, 150, 200, 250, 300, 400, 600, 800, 1_000, 1_500, 2_000,
    3_000, 5_000, 10_000, 20_000, 50_000, 100_000,
];
/// Bounds of numbers of things that are dealt with together.
pub const SIZES: [u64; 12] = [1, 2, 3, 5, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// Bounds of waits that a person notices, in milliseconds.
pub const MILLIS: [u64; 15] =
    [20, 50, 100, 150, 200, 300, 400, 500, 750, 1_000, 1_500, 2_000, 3_000, 5_000, 10_000];

/// Of times.
pub type Times = Histogram<{ MICROS.len() }>;
/// Of waits.
pub type Waits = Histogram<{ MILLIS.len() }>;
/// Of sizes of batches.
pub type Sizes = Histogram<{ SIZES.len() }>;

impl<const BOUNDS: usize> Default for Histogram<BOUNDS> {
    fn default() -> Self {
        Histogram { counts: [0; BOUNDS], beyond: 0, sum: 0 }
    }
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    fn add(&mut self, bounds: &[u64; BOUNDS], value: u64, times: u64) {
        let at = bounds.partition_point(|bound| *bound < value);
        *self.counts.get_mut(at).unwrap_or(&mut self.beyond) += times;
        self.sum = self.sum.saturating_add(value.saturating_mul(times));
    }

    /// How many were at most as large as each bound, in their order; then how many there are.
    pub fn cumulated(&self) -> impl Iterator<Item = u64> {
        let all = self.counts.iter().copied().chain([self.beyond]);
        all.scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }

    /// All values together.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

impl Times {
    /// Something took so long, so many times; in the sum, to the microsecond below.
    pub fn observe(&mut self, took: Duration, times: u64) {
        // Rounded up, so that nothing counts as shorter than it was.
        let micros = took.as_nanos().div_ceil(1_000);
        self.add(&MICROS, u64::try_from(micros).unwrap_or(u64::MAX), times);
    }
}

impl Waits {
    /// Somebody waited for so long; to the millisecond above.
    pub fn observe(&mut self, waited: Duration) {
        let millis = waited.as_micros().div_ceil(1_000);
        self.add(&MILLIS, u64::try_from(millis).unwrap_or(u64::MAX), 1);
    }
}

impl Sizes {
    /// So many were dealt with together.
    pub fn observe(&mut self, count: usize) {
        self.add(&SIZES, count as u64, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_where_it_belongs() {
        let mut times = Times::default();
        times.observe(Duration::from_nanos(5_000), 1);
        times.observe(Duration::from_nanos(5_001), 2);
        times.observe(Duration::from_secs(1), 4);
        let counts: Vec<u64> = times.cumulated().collect();
        assert_eq!(counts.len(), MICROS.len() + 1);
        assert_eq!((counts[0], counts[1], counts[24], counts[25]), (1, 3, 3, 7));
        assert_eq!(times.sum(), 5 + 2 * 6 + 4_000_000);
        let mut sizes = Sizes::default();
        [0, 1, 2, 5_000].iter().for_each(|size| sizes.observe(*size));
        let counts: Vec<u64> = sizes.cumulated().collect();
        assert_eq!((counts[0], counts[1], counts[11], counts[12]), (2, 3, 3, 4));
    }

    #[test]
    fn bounds_rise() {
        assert!(MICROS.is_sorted() && SIZES.is_sorted());
    }
}
