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

    fn found(&mut self, seq: u64, now: Instant) {
        let Ok(at) = self.packets.binary_search_by_key(&seq, |p| p.seq) else { return };
        // Of several requests nobody knows which was answered (Karn's algorithm, RFC 6298 §3).
        if let Some(packet) = self.packets.remove(at).filter(|p| p.tries == 1) {
            self.round_trip.measured(now.saturating_duration_since(packet.asked));
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
        self.gave_up |= self.packets.len() < before;
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
    fn measured(&mut self, sample: Duration) {
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
        after.clamp(NACK_REPEAT_AFTER_MIN, NACK_REPEAT_AFTER_MAX)
    }
}
