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
/// A queue that is so long, and by so much longer than that of the time before, grows whatever the
/// line says: a link that fell to a fraction brings few groups, and the line, of as many groups, is
/// half a second behind. Higher and more wait for the line; lower takes a keyframe for it.
const RUSH_MIN: Duration = Duration::from_millis(80);
const RUSH_GROWTH: Duration = Duration::from_millis(50);
const STANDING_SLOTS: usize = 2;
/// No queue is so long: a clock leapt.
const LEAP_MICROS: i64 = 10_000_000;

/// What the packets of one path waited.
#[derive(Debug)]
pub struct Queue {
    /// By when a packet left.
    base: Slots<BASE_SLOTS>,
    /// By when it came: while a queue grows, few come of those that left long ago.
    standing: Slots<{ 2 * STANDING_SLOTS }>,
}

/// The least delays of the last slots, each as long as the others; all times in microseconds.
#[derive(Debug)]
struct Slots<const COUNT: usize> {
    least: [i64; COUNT],
    /// Of all slots.
    all: i64,
    current: usize,
    /// When the current one begins, and how long it is.
    begin: i64,
    length: i64,
}

impl Default for Queue {
    fn default() -> Queue {
        let (base, standing) = (Slots::new(BASE_SLOT_MICROS), Slots::new(STANDING_SLOT_MICROS));
        Queue { base, standing }
    }
}

impl Queue {
    /// A packet arrived.
    pub fn take(&mut self, arrival: &Arrival) {
        let delay = arrival.arrived - arrival.sent;
        let base = self.base.all;
        if base != i64::MAX && (delay - base).abs() > LEAP_MICROS {
            *self = Queue::default();
        }
        self.base.take(arrival.sent, delay);
        self.standing.take(arrival.arrived, delay);
    }

    /// For how long every packet of the last moments waited.
    pub fn standing(&self) -> Duration {
        self.waited(0)
    }

    /// It grows faster than any noise.
    pub fn rushes(&self) -> bool {
        let standing = self.standing();
        standing >= RUSH_MIN && standing >= self.waited(STANDING_SLOTS) + RUSH_GROWTH
    }

    /// The least wait, from so many slots ago on back.
    fn waited(&self, ago: usize) -> Duration {
        let least = (ago..ago + STANDING_SLOTS).map(|ago| self.standing.ago(ago)).min();
        // Of nothing nothing is known.
        match least {
            Some(least) if least != i64::MAX && self.base.all != i64::MAX => {
                super::micros(least - self.base.all)
            }
            _ => Duration::ZERO,
        }
    }
}

impl<const COUNT: usize> Slots<COUNT> {
    fn new(length: i64) -> Slots<COUNT> {
        Slots { least: [i64::MAX; COUNT], all: i64::MAX, current: 0, begin: 0, length }
    }

    /// The least of a slot.
    fn ago(&self, slots: usize) -> i64 {
        self.least.get((self.current + COUNT - slots) % COUNT).copied().unwrap_or(i64::MAX)
    }

    fn take(&mut self, at: i64, delay: i64) {
        let ahead = at - self.begin;
        if ahead >= self.length {
            self.pass(ahead / self.length);
        } else if ahead < -self.length * COUNT as i64 {
            // A clock that was set back, or a packet that all overtook: it begins anew.
            *self = Slots { begin: at, ..Slots::new(self.length) };
        }
        // One that is a bit late counts as if it were not.
        if let Some(least) = self.least.get_mut(self.current)
            && delay < *least
        {
            *least = delay;
            self.all = self.all.min(delay);
        }
    }

    /// So many slots are over.
    fn pass(&mut self, slots: i64) {
        for _ in 0..slots.min(COUNT as i64) {
            self.current = (self.current + 1) % COUNT;
            if let Some(least) = self.least.get_mut(self.current) {
                *least = i64::MAX;
            }
        }
        self.begin += slots * self.length;
        self.all = self.least.iter().min().copied().unwrap_or(i64::MAX);
    }
}
