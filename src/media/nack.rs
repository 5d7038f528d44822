//! Which packets of one incoming stream are missing, and when to ask its sender for them again
//! (RFC 4585 §6.2.1): soon, not twice within a round trip, and not for what comes too late to be
//! of use.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::limits::{
    NACK_AGE_MAX, NACK_MISSING_MAX, NACK_REORDER_PACKETS, NACK_REORDER_WAIT, NACK_REPEAT_AFTER,
    NACK_REPEAT_AFTER_MAX, NACK_REPEAT_AFTER_MIN, NACK_TRIES_MAX,
};

/// What is missing of one stream.
#[derive(Debug, Default)]
pub struct Missing {
    /// Highest extended sequence number that came.
    highest: Option<u64>,
    /// In the order of their numbers, which is also that of their age.
    packets: VecDeque<Packet>,
    round_trip: RoundTrip,
    /// Something was given up since [`Self::take_given_up`] was last asked.
    gave_up: bool,
}

#[derive(Debug)]
struct Packet {
    seq: u64,
    /// When a later one came.
    since: Instant,
    /// Requests so far, and the last of them.
    tries: u8,
    asked: Instant,
}

/// From a request to the packet that it brought, smoothed as RFC 6298 §2 does.
#[derive(Debug, Default)]
struct RoundTrip {
    /// Mean and mean deviation.
    measured: Option<(Duration, Duration)>,
    /// No less than this, until it is measured again.
    at_least: Duration,
}

impl Missing {
    /// A packet came, as its sender sent it first or again: it is not missed any more, and those
    /// that it left out are.
    pub fn received(&mut self, seq: u64, now: Instant) {
        let highest = *self.highest.get_or_insert(seq);
        if seq <= highest {
            self.found(seq, now);
            return;
        }
        self.highest = Some(seq);
        let missed = usize::try_from(seq - highest - 1).unwrap_or(usize::MAX);
        if missed.saturating_add(self.packets.len()) > NACK_MISSING_MAX {
            // A keyframe mends so much more cheaply, and all that is before it is of no use then.
            self.packets.clear();
            self.gave_up = true;
            return;
        }
        if missed > 0 && self.packets.capacity() == 0 {
            self.packets.reserve_exact(NACK_MISSING_MAX);
        }
        let packet = |seq| Packet { seq, since: now, tries: 0, asked: now };
        self.packets.extend((highest + 1..seq).map(packet));
    }

    /// A decoder can begin with this packet: what is missing before it is of no use.
    pub fn keyframe(&mut self, seq: u64) {
        let before = self.packets.partition_point(|p| p.seq < seq);
        self.packets.drain(..before);
    }

    /// Whether a packet is missing.
    pub fn has(&self, seq: u64) -> bool {
        self.packets.binary_search_by_key(&seq, |p| p.seq).is_ok()
    }

    fn found(&mut self, seq: u64, now: Instant) {
        let Ok(at) = self.packets.binary_search_by_key(&seq, |p| p.seq) else { return };
        match self.packets.remove(at) {
            Some(Packet { tries: 1, asked, .. }) => {
                self.round_trip.measured(now.saturating_duration_since(asked));
            }
            Some(Packet { tries: tries @ 2.., asked, .. }) => {
                self.round_trip.guessed(now.saturating_duration_since(asked), tries);
            }
            _ => {}
        }
    }

    /// Appends the numbers to ask for now, in their order; they count as asked for.
    pub fn due(&mut self, now: Instant, numbers: &mut Vec<u16>) {
        let (highest, repeat_after) = (self.highest, self.round_trip.repeat_after());
        let before = self.packets.len();
        self.packets.retain_mut(|packet| {
            if packet.due(highest, repeat_after) > now {
                return true;
            }
            let age = now.saturating_duration_since(packet.since);
            if packet.tries == NACK_TRIES_MAX || age >= NACK_AGE_MAX {
                return false;
            }
            packet.tries += 1;
            packet.asked = now;
            numbers.push(packet.seq as u16);
            true
        });
        if self.packets.len() < before {
            self.gave_up = true;
            self.round_trip.too_short();
        }
    }

    /// When [`Self::due`] next has something to do; `None` while nothing is missing.
    pub fn deadline(&self) -> Option<Instant> {
        let repeat_after = self.round_trip.repeat_after();
        self.packets.iter().map(|p| p.due(self.highest, repeat_after)).min()
    }

    /// Whether something was given up since this was last asked: only a keyframe mends that.
    pub fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.gave_up)
    }
}

impl Packet {
    fn due(&self, highest: Option<u64>, repeat_after: Duration) -> Instant {
        let overtaken = highest.is_some_and(|h| h - self.seq >= NACK_REORDER_PACKETS);
        match self.tries {
            0 if overtaken => self.since,
            0 => self.since + NACK_REORDER_WAIT,
            _ => self.asked + repeat_after,
        }
    }
}

impl RoundTrip {
    /// Of several requests nobody knows which one was answered (Karn's algorithm, RFC 6298 §3). If
    /// not the last of two, which was made so long ago, then that was too soon: the next is given
    /// more time, or it would never be known (§5.5).
    fn guessed(&mut self, since_last: Duration, tries: u8) {
        let is_last = self.measured.is_some_and(|(mean, deviation)| {
            tries == 2 && since_last.abs_diff(mean) <= (4 * deviation).max(mean / 4)
        });
        if !is_last {
            self.too_short();
        }
    }

    fn too_short(&mut self) {
        self.at_least = 2 * self.repeat_after();
    }

    fn measured(&mut self, sample: Duration) {
        self.at_least = Duration::ZERO;
        self.measured = Some(match self.measured {
            None => (sample, sample / 2),
            Some((mean, deviation)) => {
                ((mean * 7 + sample) / 8, (deviation * 3 + mean.abs_diff(sample)) / 4)
            }
        });
    }

    /// Every other answer takes longer than the mean: asking again then would double half of them.
    fn repeat_after(&self) -> Duration {
        let after =
            self.measured.map_or(NACK_REPEAT_AFTER, |(mean, deviation)| mean + 4 * deviation);
        after.max(self.at_least).clamp(NACK_REPEAT_AFTER_MIN, NACK_REPEAT_AFTER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    const NONE: [u16; 0] = [];

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn due(missing: &mut Missing, now: Instant) -> Vec<u16> {
        let mut numbers = Vec::new();
        missing.due(now, &mut numbers);
        numbers
    }

    #[test]
    fn nothing_is_asked_for_while_nothing_is_missing() {
        let start = Instant::now();
        let mut missing = Missing::default();
        assert_eq!((missing.deadline(), due(&mut missing, start)), (None, vec![]));
        for seq in 500..1_000 {
            missing.received(seq, start);
            assert_eq!(missing.deadline(), None, "nor what was before the first");
        }
        missing.received(499, start);
        assert_eq!(due(&mut missing, start + ms(60_000)), NONE);
        assert!(!missing.take_given_up());
    }

    #[test]
    fn asked_for_at_once_when_others_overtook_it_else_after_a_little() {
        let start = Instant::now();
        let mut missing = Missing::default();
        missing.received(65_533, start);
        missing.received(65_536, start);
        assert_eq!(due(&mut missing, start), NONE);
        assert_eq!(missing.deadline(), Some(start + NACK_REORDER_WAIT));
        missing.received(65_537, start);
        assert_eq!(missing.deadline(), Some(start), "three came after the first of the two");
        assert_eq!(due(&mut missing, start), [65_534]);
        let then = start + NACK_REORDER_WAIT;
        assert_eq!(missing.deadline(), Some(then));
        assert_eq!(due(&mut missing, then), [65_535]);
        assert_eq!(due(&mut missing, then), NONE, "once");
    }

    #[test]
    fn what_was_only_overtaken_is_not_asked_for() {
        let start = Instant::now();
        let mut missing = Missing::default();
        for seq in [0, 3, 1, 2, 5, 4] {
            missing.received(seq, start);
            assert_eq!(due(&mut missing, start + ms(9)), NONE);
        }
        assert_eq!((missing.deadline(), due(&mut missing, start + ms(5_000))), (None, vec![]));
    }

    #[test]
    fn asked_again_after_a_round_trip_so_often_and_no_longer() {
        let start = Instant::now();
        let mut missing = Missing::default();
        missing.received(0, start);
        missing.received(4, start);
        let mut asked = Vec::new();
        let mut now = start;
        while let Some(deadline) = missing.deadline() {
            assert!(deadline > now || asked.is_empty(), "no spinning");
            now = deadline;
            let numbers = due(&mut missing, now);
            asked.extend(numbers.iter().map(|n| (*n, now - start)).filter(|(n, _)| *n == 1));
        }
        let times: Vec<Duration> = asked.iter().map(|(_, at)| *at).collect();
        assert_eq!(times, (0..10).map(|i| NACK_REPEAT_AFTER * i).collect::<Vec<_>>());
        assert!(missing.take_given_up() && !missing.take_given_up());
        assert!(now - start <= NACK_AGE_MAX + NACK_REPEAT_AFTER_MAX);
    }

    #[test]
    fn given_up_after_so_many_requests_however_short_the_way() {
        let start = Instant::now();
        let mut missing = Missing::default();
        missing.round_trip.measured(Duration::ZERO);
        missing.received(0, start);
        missing.received(4, start);
        let times: Vec<Vec<u16>> =
            (0..20).map(|i| due(&mut missing, start + NACK_REPEAT_AFTER_MIN * i)).collect();
        assert_eq!(times.concat().iter().filter(|n| **n == 1).count(), usize::from(NACK_TRIES_MAX));
        assert!(missing.take_given_up());
    }

    #[test]
    fn too_old_is_given_up_whatever_the_round_trip() {
        let start = Instant::now();
        let mut missing = Missing::default();
        missing.round_trip.measured(ms(60_000));
        missing.received(0, start);
        missing.received(9, start);
        assert_eq!(due(&mut missing, start), [1, 2, 3, 4, 5, 6]);
        assert_eq!(due(&mut missing, start + NACK_REPEAT_AFTER_MAX).len(), 8, "all, once more");
        assert!(!missing.take_given_up());
        assert_eq!(due(&mut missing, start + NACK_AGE_MAX), NONE);
        assert!(missing.take_given_up());
        assert_eq!(missing.deadline(), None);
    }

    #[test]
    fn a_round_trip_is_measured_where_it_is_known() {
        let start = Instant::now();
        let mut missing = Missing::default();
        let mut seq = 0;
        let mut lose_one = |missing: &mut Missing, now: Instant| {
            (seq..seq + 5).filter(|s| *s != seq + 1).for_each(|s| missing.received(s, now));
            seq += 5;
            assert_eq!(due(missing, now).len(), 1);
            seq - 4
        };
        let lost = lose_one(&mut missing, start);
        assert_eq!(due(&mut missing, start + NACK_REPEAT_AFTER).len(), 1);
        missing.received(lost, start + NACK_REPEAT_AFTER + ms(1));
        let after = missing.round_trip.repeat_after();
        assert_eq!(after, 2 * NACK_REPEAT_AFTER, "of which request? The next has more time");
        for i in 1..100 {
            let now = start + ms(1_000 * i);
            let lost = lose_one(&mut missing, now);
            missing.received(lost, now + ms(40));
        }
        let after = missing.round_trip.repeat_after();
        assert!((ms(39)..ms(42)).contains(&after), "{after:?}");
        let now = start + ms(200_000);
        let lost = lose_one(&mut missing, now);
        assert_eq!(missing.deadline(), Some(now + after));
        assert_eq!(due(&mut missing, now + after).len(), 1);
        missing.received(lost, now + after + ms(41));
        assert_eq!(missing.round_trip.repeat_after(), after, "it was the second");
        missing.received(10_000, now);
        missing.round_trip = RoundTrip::default();
        missing.round_trip.measured(Duration::ZERO);
        assert_eq!(missing.round_trip.repeat_after(), NACK_REPEAT_AFTER_MIN);
    }

    /// A path becomes longer than what a request waits for: that is found out.
    #[test]
    fn a_round_trip_that_grew_is_measured_anew() {
        let start = Instant::now();
        for (before, after) in [(1, 160), (40, 160), (40, 90), (20, 300), (300, 480)] {
            let mut missing = Missing::default();
            let (mut seq, mut asked) = (0, Vec::new());
            for i in 0..40 {
                let now = start + ms(10_000 * i);
                (seq..seq + 5).filter(|s| *s != seq + 1).for_each(|s| missing.received(s, now));
                let answered = now + ms(if i < 20 { before } else { after });
                let mut times = 0;
                while let Some(at) = missing.deadline().filter(|at| *at <= answered) {
                    times += due(&mut missing, at).len();
                }
                missing.received(seq + 1, answered);
                asked.push(times);
                seq += 5;
            }
            let (early, late) = asked.split_at(24);
            assert!(late.iter().all(|times| *times == 1), "{before} to {after}: {asked:?}");
            assert!(early.iter().sum::<usize>() < 50, "{before} to {after}: {asked:?}");
        }
    }

    #[test]
    fn more_than_is_worth_it_is_left_to_a_keyframe() {
        let start = Instant::now();
        let most = NACK_MISSING_MAX as u64;
        let mut missing = Missing::default();
        missing.received(0, start);
        missing.received(2, start);
        assert_eq!(missing.packets.capacity(), NACK_MISSING_MAX, "one allocation in all");
        missing.received(1, start);
        missing.received(most + 3, start);
        assert_eq!(due(&mut missing, start + ms(10)).len(), NACK_MISSING_MAX);
        assert!(!missing.take_given_up());
        missing.received(most + 5, start);
        assert!(missing.take_given_up());
        assert_eq!((missing.deadline(), due(&mut missing, start + ms(10))), (None, vec![]));
        missing.received(most + 7, start);
        assert_eq!(due(&mut missing, start + ms(10)), [most as u16 + 6], "and begins anew");
        missing.received(1 << 47, start);
        assert!(missing.take_given_up());
        assert_eq!(missing.packets.capacity(), NACK_MISSING_MAX);
    }

    #[test]
    fn what_is_before_a_keyframe_is_of_no_use() {
        let start = Instant::now();
        let mut missing = Missing::default();
        for seq in [0, 10, 20] {
            missing.received(seq, start);
        }
        missing.keyframe(15);
        assert_eq!(due(&mut missing, start + ms(10)), [15, 16, 17, 18, 19]);
        assert!(!missing.take_given_up(), "which is no loss");
        missing.keyframe(20);
        assert_eq!(missing.deadline(), None);
    }

    /// Over a path that loses and reorders both ways, all is mended that a plain simulation of
    /// the sender can mend, and nothing is asked for that came.
    #[test]
    fn mends_a_bad_path() {
        let start = Instant::now();
        for seed in 0..4 {
            let mut rng = Rng::from_seed([seed; 32]);
            let mut missing = Missing::default();
            let mut way = std::collections::BTreeSet::new();
            let (mut came, mut asked, mut numbers) = (vec![false; 20_000], 0, Vec::new());
            for turn in 0..22_000u64 {
                let now = start + ms(turn);
                if let Some(came) = came.get_mut(turn as usize) {
                    *came = turn == 0;
                    if !rng.next_u64().is_multiple_of(10) {
                        way.insert((now + ms(20 + rng.next_u64() % 4), turn));
                    }
                }
                while way.first().is_some_and(|(at, _)| *at <= now) {
                    let (_, seq) = way.pop_first().unwrap();
                    missing.received(seq, now);
                    came[seq as usize] = true;
                }
                if missing.deadline().is_some_and(|at| at <= now) {
                    missing.due(now, &mut numbers);
                }
                for number in numbers.drain(..) {
                    let seq = (0..20_000u64).rev().find(|s| *s as u16 == number).unwrap();
                    assert!(!came[seq as usize], "{seq} came");
                    asked += 1;
                    if rng.next_u64() % 100 >= 19 {
                        way.insert((now + ms(40 + rng.next_u64() % 10), seq));
                    }
                }
            }
            let lost = came.iter().filter(|came| !**came).count();
            assert!(lost <= 3, "{lost} were not mended");
            assert!((2_000..3_200).contains(&asked), "{asked} requests");
            assert!(!missing.take_given_up());
        }
    }
}
