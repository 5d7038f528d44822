//! A rate in bits per second.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// Bits per second. Arithmetic saturates: no rate is below zero, or wraps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    pub const ZERO: Bitrate = Bitrate(0);
    pub const MAX: Bitrate = Bitrate(u64::MAX);

    pub const fn from_bps(bps: u64) -> Bitrate {
        Bitrate(bps)
    }

    pub const fn from_kbps(kbps: u64) -> Bitrate {
        Bitrate(kbps.saturating_mul(1_000))
    }

    /// Of so many bytes in so much time; zero in no time.
    pub fn of(bytes: u64, time: Duration) -> Bitrate {
        let bits = u128::from(bytes) * 8 * 1_000_000_000;
        let rate = bits.checked_div(time.as_nanos()).unwrap_or(0);
        Bitrate(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    pub const fn bps(self) -> u64 {
        self.0
    }

    /// The bytes that it brings in so much time, rounded down.
    pub fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.0) * time.as_nanos() / 8 / 1_000_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The time that so many bytes take; [`Duration::MAX`] where nothing flows.
    pub fn time_for(self, bytes: u64) -> Duration {
        let nanos = (u128::from(bytes) * 8 * 1_000_000_000).checked_div(u128::from(self.0));
        let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok());
        nanos.map_or(Duration::MAX, Duration::from_nanos)
    }

    /// So many times the rate; a factor below zero, or that is no number, gives zero.
    pub fn scale(self, factor: f64) -> Bitrate {
        // A cast of a float saturates, and makes zero of what is no number.
        Bitrate((self.0 as f64 * factor) as u64)
    }
}

impl Add for Bitrate {
    type Output = Bitrate;

    fn add(self, other: Bitrate) -> Bitrate {
        Bitrate(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bitrate {
    fn add_assign(&mut self, other: Bitrate) {
        *self = *self + other;
    }
}

impl Sub for Bitrate {
    type Output = Bitrate;

    fn sub(self, other: Bitrate) -> Bitrate {
        Bitrate(self.0.saturating_sub(other.0))
    }
}

impl Sum for Bitrate {
    fn sum<I: Iterator<Item = Bitrate>>(rates: I) -> Bitrate {
        rates.fold(Bitrate::ZERO, |sum, rate| sum + rate)
    }
}

impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bps @ 0..1_000 => write!(f, "{bps} bit/s"),
            bps @ 1_000..1_000_000 => write!(f, "{} kbit/s", bps / 1_000),
            bps => write!(f, "{:.1} Mbit/s", bps as f64 / 1e6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_time_make_a_rate_and_back() {
        let rate = Bitrate::of(125_000, Duration::from_secs(1));
        assert_eq!(rate, Bitrate::from_kbps(1_000));
        assert_eq!(rate.bytes_in(Duration::from_millis(8)), 1_000);
        assert_eq!(rate.time_for(1_000), Duration::from_millis(8));
        assert_eq!(Bitrate::of(1, Duration::ZERO), Bitrate::ZERO);
        assert_eq!(Bitrate::ZERO.time_for(1), Duration::MAX);
    }

    #[test]
    fn nothing_wraps() {
        assert_eq!(Bitrate::MAX + Bitrate::from_bps(1), Bitrate::MAX);
        assert_eq!(Bitrate::ZERO - Bitrate::from_bps(1), Bitrate::ZERO);
        assert_eq!(Bitrate::from_bps(100).scale(0.85), Bitrate::from_bps(85));
        assert_eq!(Bitrate::from_bps(100).scale(-1.0), Bitrate::ZERO);
        assert_eq!(Bitrate::MAX.scale(2.0), Bitrate::MAX);
        assert_eq!(Bitrate::MAX.bytes_in(Duration::from_secs(100)), u64::MAX);
    }

    #[test]
    fn it_reads_as_people_say_it() {
        let said = [900, 64_000, 2_500_000].map(|bps| Bitrate::from_bps(bps).to_string());
        assert_eq!(said, ["900 bit/s", "64 kbit/s", "2.5 Mbit/s"]);
    }
}
