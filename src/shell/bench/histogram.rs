//! Durations counted in classes that are at most 3 % wide.

use std::time::Duration;

/// Each power of two has so many classes.
const CLASSES: usize = 32;
const CLASS_BITS: u32 = CLASSES.trailing_zeros();
/// The highest power of two in nanoseconds: 2^40 are 18 minutes. What is longer counts as that.
const POWERS: usize = 40;

/// How often each duration came.
#[derive(Debug, Clone)]
pub struct Histogram {
    classes: Box<[u64]>,
    count: u64,
}

impl Histogram {
    pub fn new() -> Histogram {
        Histogram { classes: vec![0; POWERS * CLASSES].into_boxed_slice(), count: 0 }
    }

    pub fn add(&mut self, value: Duration) {
        self.classes[class(value.as_nanos().min(u128::from(u64::MAX)) as u64)] += 1;
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// What so large a share of all (0 to 1) does not exceed; zero of none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil().max(1.0) as u64;
        let mut sum = 0;
        for (class, count) in self.classes.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return Duration::from_nanos(middle(class));
            }
        }
        Duration::ZERO
    }
}

/// The class of a number: its highest bits.
fn class(nanos: u64) -> usize {
    if nanos < CLASSES as u64 {
        return nanos as usize;
    }
    let power = nanos.ilog2();
    let rest = nanos >> (power - CLASS_BITS) & (CLASSES as u64 - 1);
    let class = (power - CLASS_BITS + 1) as usize * CLASSES + rest as usize;
    class.min(POWERS * CLASSES - 1)
}

fn middle(class: usize) -> u64 {
    let (power, rest) = (class / CLASSES, (class % CLASSES) as u64);
    match power.checked_sub(1) {
        None => rest,
        Some(shift) => ((CLASSES as u64 + rest) << shift) + (1 << shift >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_in_order_and_narrow() {
        let mut last = 0;
        for shift in 0..39 {
            for extra in [0, 1, 7] {
                let nanos = (1u64 << shift) + extra * (1u64 << shift) / 9;
                let class = class(nanos);
                assert!(class >= last, "{nanos}");
                last = class;
                let off = middle(class).abs_diff(nanos) as f64;
                assert!(off <= nanos as f64 * 0.032, "{nanos} counts as {}", middle(class));
            }
        }
        assert_eq!(class(u64::MAX), POWERS * CLASSES - 1);
    }

    #[test]
    fn quantiles_are_found() {
        let mut h = Histogram::new();
        assert_eq!(h.quantile(0.5), Duration::ZERO);
        for us in 1..=1_000 {
            h.add(Duration::from_micros(us));
        }
        for (share, us) in [(0.5, 500), (0.99, 990), (0.999, 999), (1.0, 1_000)] {
            let found = h.quantile(share).as_nanos() as f64 / 1e3;
            assert!((found - us as f64).abs() < us as f64 * 0.035, "{share}: {found}");
        }
        assert_eq!(h.count(), 1_000);
    }
}
