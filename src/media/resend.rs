//! What a subscriber may have sent again: not twice within a round trip, and never more than a
//! share of the media itself. Whether it was sent at all, its slot knows.

use std::time::{Duration, Instant};

use crate::base::limits::{
    RESEND_AFTER, RESEND_AFTER_MAX, RESEND_AFTER_MIN, RESEND_BURST_BYTES, RESEND_SHARE,
    RESENDS_PER_TURN, RESENDS_REMEMBERED,
};

/// What may still be sent again to one subscriber, over all its slots.
#[derive(Debug)]
pub struct ResendBudget {
    bytes: u64,
    /// The present turn, and how many were granted in it.
    turn: Option<(Instant, usize)>,
    /// Between two retransmissions of one packet: a round trip.
    repeat_after: Duration,
    /// The last retransmissions, each at a place that its stream and number give, with what was
    /// there before it forgotten. Empty before the first.
    last: Vec<Option<Resent>>,
}

#[derive(Debug, Clone, Copy)]
struct Resent {
    ssrc: u32,
    seq: u16,
    at: Instant,
}

impl Default for ResendBudget {
    fn default() -> Self {
        ResendBudget { bytes: 0, turn: None, repeat_after: RESEND_AFTER, last: Vec::new() }
    }
}

impl ResendBudget {
    /// A round trip to the subscriber took so long, as it says.
    pub fn measured(&mut self, round_trip: Duration) {
        self.repeat_after = round_trip.clamp(RESEND_AFTER_MIN, RESEND_AFTER_MAX);
    }

    /// A packet of so many bytes (UDP payload) left for the first time.
    pub fn earn(&mut self, bytes: usize) {
        self.bytes = (self.bytes + bytes as u64 / RESEND_SHARE).min(RESEND_BURST_BYTES);
    }

    /// Whether anything may be sent again in this turn.
    pub fn may_grant(&self, now: Instant) -> bool {
        self.bytes > 0 && self.granted(now) < RESENDS_PER_TURN
    }

    fn granted(&self, now: Instant) -> usize {
        self.turn.filter(|(turn, _)| *turn == now).map_or(0, |(_, granted)| granted)
    }

    /// Whether packet `seq` of the stream `ssrc` may be sent again now, in so many bytes (UDP
    /// payload); if so, it counts as sent again.
    pub fn grant(&mut self, ssrc: u32, seq: u16, bytes: usize, now: Instant) -> bool {
        let granted = self.granted(now);
        let left = self.bytes.checked_sub(bytes as u64).filter(|_| granted < RESENDS_PER_TURN);
        let Some(left) = left else { return false };
        if self.last.is_empty() {
            self.last.resize(RESENDS_REMEMBERED, None);
        }
        let Some(place) = self.last.get_mut(place(ssrc, seq)) else { return false };
        // The first time it may have been lost at once; the second time it is under way.
        let early = place.is_some_and(|last| {
            (last.ssrc, last.seq) == (ssrc, seq)
                && now.saturating_duration_since(last.at) < self.repeat_after
        });
        if !early {
            *place = Some(Resent { ssrc, seq, at: now });
            self.bytes = left;
            self.turn = Some((now, granted + 1));
        }
        !early
    }
}

/// Numbers in a row, which are asked for together, do not meet.
fn place(ssrc: u32, seq: u16) -> usize {
    (ssrc as usize).wrapping_mul(89).wrapping_add(seq.into()) % RESENDS_REMEMBERED
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSRC: u32 = 7;

    fn rich() -> ResendBudget {
        ResendBudget { bytes: u64::MAX, ..ResendBudget::default() }
    }

    #[test]
    fn once_a_round_trip() {
        let start = Instant::now();
        let mut budget = rich();
        assert!(budget.grant(SSRC, 7, 1_000, start));
        let soon = start + RESEND_AFTER - Duration::from_millis(1);
        assert!((0..1_000).all(|_| !budget.grant(SSRC, 7, 1_000, soon)));
        assert!(budget.grant(SSRC, 8, 1_000, soon), "others may");
        assert!(budget.grant(SSRC + 1, 7, 1_000, soon), "and other streams");
        assert!(budget.grant(SSRC, 7, 1_000, start + RESEND_AFTER));
    }

    #[test]
    fn a_round_trip_is_as_long_as_measured_within_bounds() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (said, is) in [(0, 10), (25, 25), (200, 200), (60_000, 300)] {
            let mut budget = rich();
            budget.measured(ms(said));
            assert!(budget.grant(SSRC, 7, 1_000, start));
            assert!(!budget.grant(SSRC, 7, 1_000, start + ms(is - 1)), "{said} ms");
            assert!(budget.grant(SSRC, 7, 1_000, start + ms(is)), "{said} ms");
        }
    }

    #[test]
    fn never_more_than_a_quarter_of_the_media() {
        let start = Instant::now();
        let mut budget = ResendBudget::default();
        let (mut media, mut again, mut now) = (0, 0, start);
        for seq in 0..20_000u16 {
            now += Duration::from_millis(2);
            budget.earn(1_080);
            media += 1_080;
            for back in 0..400 {
                let granted = budget.grant(SSRC, seq.wrapping_sub(back), 1_082, now);
                again += 1_082 * u64::from(granted);
            }
            assert!(again * RESEND_SHARE <= media, "at {seq}: {again} of {media}");
        }
        assert!(again * RESEND_SHARE > media * 9 / 10, "and all of that: {again} of {media}");
    }

    #[test]
    fn a_turn_has_its_share() {
        let start = Instant::now();
        let mut budget = rich();
        let mut granted = |now| (0..200).filter(|seq| budget.grant(SSRC, *seq, 1_000, now)).count();
        assert_eq!(granted(start), RESENDS_PER_TURN);
        assert_eq!(granted(start + Duration::from_millis(1)), RESENDS_PER_TURN);
    }
}
