//! Dates as HTTP writes them.

use std::fmt;

/// A second in UTC, shown as an IMF-fixdate (RFC 9110 §5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(u64);

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// 1970 began on a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [(&str, u64); 12] = [
    ("Jan", 31),
    ("Feb", 28),
    ("Mar", 31),
    ("Apr", 30),
    ("May", 31),
    ("Jun", 30),
    ("Jul", 31),
    ("Aug", 31),
    ("Sep", 30),
    ("Oct", 31),
    ("Nov", 30),
    ("Dec", 31),
];

impl Date {
    /// So many seconds after the beginning of 1970.
    pub fn from_unix(seconds: u64) -> Date {
        Date(seconds)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / DAY_SECONDS, self.0 % DAY_SECONDS);
        let weekday = DAYS.get((days % 7) as usize).copied().unwrap_or_default();
        // Counted from the first of March of the year 0, so that the leap day ends a year: an era
        // of 400 years has 146,097 days (Gregorian calendar).
        let day = days + 719_468;
        let of_era = day % 146_097;
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let mut left = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let mut month = "Feb";
        let mut in_next_year = true;
        for (at, (name, length)) in MONTHS.iter().cycle().skip(2).take(11).enumerate() {
            if left < *length {
                (month, in_next_year) = (name, at >= 10);
                break;
            }
            left -= length;
        }
        let year = day / 146_097 * 400 + year_of_era + u64::from(in_next_year);
        let (hour, minute) = (second / 3_600, second / 60 % 60);
        write!(
            f,
            "{weekday}, {:02} {month} {year:04} {hour:02}:{minute:02}:{:02} GMT",
            left + 1,
            second % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_399, "Mon, 28 Feb 2000 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
            (1_798_761_600, "Fri, 01 Jan 2027 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(Date::from_unix(seconds).to_string(), text);
        }
    }
}
