//! Packets that left together, taken as one: their delay is compared with that of the group
//! before, as one packet's delay says little.

use super::Arrival;

/// Packets that left within so long of the first are one group (draft-ietf-rmcat-gcc-02 §5.2,
/// `libwebrtc`'s `InterArrival`). Longer smooths more and sees less; shorter compares packets of
/// one burst with each other.
const GROUP_MICROS: i64 = 5_000;
/// What came so soon after the packet before it and took less time on the way was held up with it,
/// as radios do, and belongs to its group (draft §5.2, `BURST_TIME`).
const BURST_MICROS: i64 = 5_000;
/// But no burst is longer (`libwebrtc`, `kMaxBurstDuration`), or a fast link would be one group.
const BURST_MICROS_MAX: i64 = 100_000;

/// Makes groups of arrivals.
#[derive(Debug, Default)]
pub struct Groups {
    current: Option<Group>,
    /// Of the group before it.
    before: Option<Point>,
}

/// A packet on both clocks, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Point {
    sent: i64,
    arrived: i64,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first: Point,
    last: Point,
    /// The packet that took the least time. The published estimators take the last. The last of a
    /// large picture that left in one go waits for the others, which says nothing of the link; the
    /// first that comes after a radio's pause waited for it, and the last did not.
    least: Point,
}

/// From one group to the next, in microseconds of each clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub sent: i64,
    pub arrived: i64,
    /// When the later group came, on the receiver's clock.
    pub at: i64,
}

impl Groups {
    /// A packet arrived; gives the step between two groups when it is the first of a third.
    pub fn take(&mut self, arrival: &Arrival) -> Option<Step> {
        let point = Point { sent: arrival.sent, arrived: arrival.arrived };
        let Some(group) = &mut self.current else {
            self.current = Some(Group { first: point, last: point, least: point });
            return None;
        };
        // Overtaken: its group is over.
        if point.sent < group.first.sent {
            return None;
        }
        if group.has(point) {
            group.add(point);
            return None;
        }
        let least = group.least;
        *group = Group { first: point, last: point, least: point };
        let before = self.before.replace(least)?;
        let (sent, arrived) = (least.sent - before.sent, least.arrived - before.arrived);
        Some(Step { sent, arrived, at: least.arrived })
    }
}

impl Group {
    fn has(&self, point: Point) -> bool {
        let arrived = point.arrived - self.last.arrived;
        let caught_up = arrived < point.sent - self.last.sent;
        point.sent - self.first.sent <= GROUP_MICROS
            || arrived <= BURST_MICROS
                && caught_up
                && point.arrived - self.first.arrived < BURST_MICROS_MAX
    }

    fn add(&mut self, point: Point) {
        self.last.sent = self.last.sent.max(point.sent);
        self.last.arrived = self.last.arrived.max(point.arrived);
        if point.delay() < self.least.delay() {
            self.least = point;
        }
    }
}

impl Point {
    fn delay(self) -> i64 {
        self.arrived - self.sent
    }
}
