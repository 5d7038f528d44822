//! How much of the way is waiting: the least delay of the last moments beyond the least delay of
//! the last seconds. The least, because a picture that left in one go waits for itself, and a radio
//! holds single packets up; a queue that stands delays every packet (Copa, NSDI 2018, "standing
//! RTT"; the window of the base as in LEDBAT, RFC 6817 §4.2).

use std::time::Duration;

use super::Arrival;

/// The base is the least delay of so many slots of so long. Longer is surer to have seen an
/// empty queue; shorter follows a path that became longer, and a receiver's clock that runs off.
const BASE_SLOTS: usize = 5;
const BASE_SLOT_MICROS: i64 = 2_000_000;
/// What stands is the least delay of one to two times so long: at least two pictures at 30 a
/// second. Longer mistakes fewer bursts for a queue; shorter sees one sooner.
const STANDING_SLOT_MICROS: i64 = 60_000;
/// No queue is so long: a clock leapt.
const LEAP_MICROS: i64 = 10_000_000;

/// What the packets of one path waited.
#[derive(Debug)]
pub struct Queue {
    /// The least delays, in microseconds, by the slot in which a packet left.
    base: [i64; BASE_SLOTS],
    base_slot: i64,
    standing: [i64; 2],
    standing_slot: i64,
}

impl Default for Queue {
    fn default() -> Queue {
        let none = i64::MAX;
        Queue { base: [none; BASE_SLOTS], base_slot: 0, standing: [none; 2], standing_slot: 0 }
    }
}

impl Queue {
    /// A packet arrived.
    pub fn take(&mut self, arrival: &Arrival) {
        let delay = arrival.arrived - arrival.sent;
        let base = self.base();
        if base != i64::MAX && (delay - base).abs() > LEAP_MICROS {
            *self = Queue::default();
        }
        least(&mut self.base, &mut self.base_slot, arrival.sent / BASE_SLOT_MICROS, delay);
        // By arrival: while a queue grows, few packets come of those that left long ago.
        let slot = arrival.arrived / STANDING_SLOT_MICROS;
        least(&mut self.standing, &mut self.standing_slot, slot, delay);
    }

    /// For how long every packet of the last moments waited.
    pub fn standing(&self) -> Duration {
        let standing = self.standing.iter().min().copied().unwrap_or(i64::MAX);
        let base = self.base();
        // Of nothing nothing is known.
        if standing == i64::MAX || base == i64::MAX {
            return Duration::ZERO;
        }
        Duration::from_micros((standing - base).max(0) as u64)
    }

    fn base(&self) -> i64 {
        self.base.iter().min().copied().unwrap_or(i64::MAX)
    }
}

/// Puts a delay into its slot; slots that were passed are emptied.
fn least(slots: &mut [i64], current: &mut i64, slot: i64, delay: i64) {
    let count = slots.len() as i64;
    let from = (*current + 1).max(slot - count + 1);
    for passed in from..=slot {
        if let Some(place) = slots.get_mut(passed.rem_euclid(count) as usize) {
            *place = i64::MAX;
        }
    }
    // A clock that was set back, or a packet that all overtook: it begins anew.
    if slot <= *current - count {
        slots.fill(i64::MAX);
        *current = slot;
    }
    *current = slot.max(*current);
    if let Some(place) = slots.get_mut(slot.rem_euclid(count) as usize) {
        *place = delay.min(*place);
    }
}
