//! What a subscriber may have sent again: only what was sent, not twice within a round trip, and
//! never more than a share of the media itself.

use std::time::{Duration, Instant};

use crate::base::limits::{
    RESEND_AFTER, RESEND_AFTER_MAX, RESEND_AFTER_MIN, RESEND_BURST_BYTES, RESEND_SHARE,
    RESENDS_PER_TURN, SENT_PACKETS_KEPT,
};

/// What one slot sent lately, by sequence number.
#[derive(Debug, Default)]
pub struct SentPackets {
    /// A ring that fills up to [`SENT_PACKETS_KEPT`]: the place of a packet is its number.
    ring: Vec<Option<SentPacket>>,
}

#[derive(Debug, Clone, Copy)]
struct SentPacket {
    seq: u16,
    bytes: u16,
    /// When it was sent, or sent again, last.
    at: Instant,
    resent: bool,
}

/// What may be sent again to one subscriber, over all its slots.
#[derive(Debug)]
pub struct ResendBudget {
    bytes: u64,
    /// The present turn, and how many were granted in it.
    turn: Option<(Instant, usize)>,
    /// Between two retransmissions of one packet: a round trip.
    repeat_after: Duration,
}

/// An IP, UDP and RTP header, extensions and a tag: what a packet is longer than its payload.
const OVERHEAD_BYTES: u16 = 80;
/// A retransmission has two bytes more (RFC 4588 §4); as the overhead is rather less than it is
/// taken for, twice as many are charged.
const RTX_BYTES: u64 = 4;

impl SentPackets {
    /// A packet leaves for the first time.
    pub fn sent(
        &mut self,
        seq: u16,
        payload_bytes: usize,
        now: Instant,
        budget: &mut ResendBudget,
    ) {
        if self.ring.is_empty() {
            self.ring.resize(SENT_PACKETS_KEPT, None);
        }
        let bytes = u16::try_from(payload_bytes).unwrap_or(u16::MAX).saturating_add(OVERHEAD_BYTES);
        budget.earn(bytes.into());
        if let Some(place) = self.ring.get_mut(place(seq)) {
            *place = Some(SentPacket { seq, bytes, at: now, resent: false });
        }
    }

    /// Whether a packet may be sent again now; if so, it counts as sent again.
    pub fn grant(&mut self, seq: u16, now: Instant, budget: &mut ResendBudget) -> bool {
        let sent = self.ring.get_mut(place(seq)).and_then(Option::as_mut);
        let Some(sent) = sent.filter(|s| s.seq == seq) else {
            return false;
        };
        // The first time it may have been lost at once; the second time it is under way.
        let early = sent.resent && now.saturating_duration_since(sent.at) < budget.repeat_after;
        if early || !budget.spend(u64::from(sent.bytes) + RTX_BYTES, now) {
            return false;
        }
        (sent.at, sent.resent) = (now, true);
        true
    }
}

fn place(seq: u16) -> usize {
    usize::from(seq) % SENT_PACKETS_KEPT
}

impl Default for ResendBudget {
    fn default() -> Self {
        ResendBudget { bytes: 0, turn: None, repeat_after: RESEND_AFTER }
    }
}

impl ResendBudget {
    /// A round trip to the subscriber took so long, as it says.
    pub fn measured(&mut self, round_trip: Duration) {
        self.repeat_after = round_trip.clamp(RESEND_AFTER_MIN, RESEND_AFTER_MAX);
    }

    fn earn(&mut self, bytes: u64) {
        self.bytes = (self.bytes + bytes / RESEND_SHARE).min(RESEND_BURST_BYTES);
    }

    fn spend(&mut self, bytes: u64, now: Instant) -> bool {
        let granted = self.turn.filter(|(turn, _)| *turn == now).map_or(0, |(_, granted)| granted);
        let Some(left) = self.bytes.checked_sub(bytes).filter(|_| granted < RESENDS_PER_TURN)
        else {
            return false;
        };
        self.bytes = left;
        self.turn = Some((now, granted + 1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct Slot {
        sent: SentPackets,
        budget: ResendBudget,
    }

    impl Slot {
        fn after(packets: u16, now: Instant) -> Slot {
            let mut slot = Slot { sent: SentPackets::default(), budget: ResendBudget::default() };
            (0..packets).for_each(|seq| slot.sent.sent(seq, 1_000, now, &mut slot.budget));
            slot
        }

        fn grant(&mut self, seq: u16, now: Instant) -> bool {
            self.sent.grant(seq, now, &mut self.budget)
        }
    }

    #[test]
    fn only_what_was_sent_and_is_still_kept() {
        let start = Instant::now();
        let mut slot = Slot::after(SENT_PACKETS_KEPT as u16 + 10, start);
        assert!(!slot.grant(5, start), "another took its place");
        assert!(slot.grant(10, start));
        assert!(!slot.grant(SENT_PACKETS_KEPT as u16 + 10, start), "not yet sent");
        assert!(!Slot::after(0, start).grant(0, start));
    }

    #[test]
    fn not_twice_within_a_round_trip() {
        let start = Instant::now();
        let mut slot = Slot::after(100, start);
        assert!(slot.grant(7, start));
        let soon = start + RESEND_AFTER - Duration::from_millis(1);
        assert!((0..1_000).all(|_| !slot.grant(7, soon)));
        assert!(slot.grant(8, soon), "others may");
        assert!(slot.grant(7, start + RESEND_AFTER));
    }

    #[test]
    fn a_round_trip_is_as_long_as_measured_within_bounds() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        for (said, is) in [(0, 10), (25, 25), (200, 200), (60_000, 300)] {
            let mut slot = Slot::after(100, start);
            slot.budget.measured(ms(said));
            assert!(slot.grant(7, start));
            assert!(!slot.grant(7, start + ms(is - 1)), "{said} ms");
            assert!(slot.grant(7, start + ms(is)), "{said} ms");
        }
    }

    #[test]
    fn never_more_than_a_quarter_of_the_media() {
        let start = Instant::now();
        let mut slot = Slot::after(0, start);
        let (mut media, mut again, mut now) = (0, 0, start);
        for seq in 0..20_000u16 {
            now += Duration::from_millis(2);
            slot.sent.sent(seq, 1_000, now, &mut slot.budget);
            media += 1_080;
            for back in 0..400 {
                again += 1_082 * u64::from(slot.grant(seq.wrapping_sub(back), now));
            }
            assert!(again * RESEND_SHARE <= media, "at {seq}: {again} of {media}");
        }
        assert!(again * RESEND_SHARE > media * 9 / 10, "and all of that: {again} of {media}");
    }

    #[test]
    fn a_turn_has_its_share() {
        let start = Instant::now();
        let mut slot = Slot::after(500, start);
        slot.budget.bytes = u64::MAX;
        assert_eq!((0..500).filter(|seq| slot.grant(*seq, start)).count(), RESENDS_PER_TURN);
        let next = start + Duration::from_millis(1);
        assert_eq!((0..500).filter(|seq| slot.grant(*seq, next)).count(), RESENDS_PER_TURN);
    }

    #[test]
    fn a_wrapped_number_is_another_packet() {
        let start = Instant::now();
        let mut slot = Slot::after(0, start);
        for seq in (65_000..=65_535).chain(0..200) {
            slot.sent.sent(seq, 1_000, start, &mut slot.budget);
        }
        assert!(slot.grant(65_535, start) && slot.grant(0, start));
        assert!(!slot.grant(200, start), "the number of a round before");
    }
}
