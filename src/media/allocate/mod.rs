//! Spends what a subscriber's path carries on its video slots.
//!
//! Audio comes first, so the caller takes it off the budget before. Then, in this order, as far as
//! the budget goes: the least of each slot that is pinned, speaking or a screen; of those, what is of
//! use to a viewer (a face, or a screen's text); the least of every other slot; and all slots raised
//! together, a step at a time. Within each of them the order is pinned, speaking, screen, size asked
//! for, playing already. A slot whose least does not fit is paused rather than starved.
//!
//! Nothing flaps, because keeping is easier than raising: what plays stays while all of it is less
//! than [`KEPT_PERCENT`] of the budget, a raise needs [`RAISE_PERCENT`] of the total after it to
//! have been in the budget for a time, and a slot that changed waits before it is raised, longer each
//! time that the budget took something from it. What such a slot waits for, no other slot takes.

mod budget;
mod ladder;
mod slot;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::budget::Floor;
use self::ladder::percent;
pub use self::ladder::{Ladder, RATE_MAX, STEPS_MAX, Size, Step};
use self::slot::Slot;
use crate::base::bitrate::Bitrate;
use crate::base::ids::TrackId;
use crate::wire::signal::Source;

/// Everything stays as it is up to so many percent of the budget: rates swing by more than a tenth
/// from second to second while a path carries the same. Higher queues packets for as long as the
/// estimator needs to say so; lower changes layers with every gesture.
pub const KEPT_PERCENT: u64 = 110;
/// When not even that holds, what comes down goes so low that it can stay. Higher comes down twice;
/// lower leaves more of the path unused.
pub const LANDING_PERCENT: u64 = 95;
/// A raise needs a budget of so many percent of the total after it. Higher leaves more of the path
/// unused; lower is undone by the next swing of the rates. Videobridge takes changes of the estimate
/// under 15 % for none.
pub const RAISE_PERCENT: u64 = 115;
/// A slot that was raised, or gave way to another one, is not raised again for so long. Longer is
/// slower to the best picture after a join; shorter shows every step of an estimate that ramps up.
pub const CHANGE_WAIT: Duration = Duration::from_secs(2);
/// A slot from which the budget took something is not raised for so long, and twice as long each
/// time that a raise did not last, up to the second. Livekit probes a congested path anew after 5 s, then
/// 1.5 times as long each time, up to 30 s.
pub const LOWERED_WAIT: Duration = Duration::from_secs(5);
pub const LOWERED_WAIT_MAX: Duration = Duration::from_secs(40);
/// A raise that lasted for so long was right: what the path takes then is not for the raise. Longer
/// waits on a path that swings; shorter goes back and forth on one that cannot bear the raise.
pub const RAISE_PROVED: Duration = Duration::from_secs(3);
/// But no longer than the first when the budget is known to be so many percent of what it was too
/// little for. Higher leaves a link that is back unused for longer; lower goes back and forth with
/// one that swings.
pub const RECOVERED_PERCENT: u64 = 125;
/// After so long without it, the next time counts as the first. Longer than the longest wait, or a
/// path that swings would be forgiven each time.
pub const FORGIVEN_AFTER: Duration = Duration::from_secs(90);

/// What a subscriber wants in one of its slots.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// A slot that carries another track than at the last time begins anew.
    pub track: TrackId,
    pub source: Source,
    pub ladder: &'a Ladder,
    /// The viewer said that this one matters most.
    pub pinned: bool,
    pub speaking: bool,
    /// The viewer wants nothing for now.
    pub paused: bool,
    /// The largest at which the viewer shows it; zero if it is not seen.
    pub asked: Size,
    /// As many frames a second as the viewer wants.
    pub fps_max: Option<u8>,
}

/// What a slot gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This one of its ladder's steps.
    Step(usize),
    Paused(PauseReason),
}

/// Why a slot shows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseReason {
    /// Not even the least of it fits into what the path carries.
    AllocatorLimit,
    /// It is not seen, or the viewer paused it.
    PausedByViewer,
    /// The publisher sends none of it. Nobody need be told: it is muted, or about to begin.
    NothingSent,
}

/// The choice for one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    pub choice: Choice,
    /// Less than the viewer has use for.
    pub limited: bool,
}

/// The choices for all slots, and what they come to.
#[derive(Debug, Clone, Copy)]
pub struct Allocation<'a> {
    /// In the order of the demands.
    pub slots: &'a [Given],
    /// What all choices cost.
    pub total: Bitrate,
    /// What it would cost to give everybody all that they have use for.
    pub wanted: Bitrate,
    /// With a budget of so much, some slot is raised as soon as its wait is over: what an estimator
    /// should probe towards. `None` when all have what they have use for.
    pub next: Option<Bitrate>,
    /// When it should be asked again, even if nothing changes: a wait is over, or a budget that rose
    /// has lasted.
    pub again: Option<Instant>,
}

/// The slots of one subscriber, over time.
#[derive(Debug, Default)]
pub struct Allocator {
    slots: Vec<Slot>,
    given: Vec<Given>,
    /// Ranks and places in `slots`, first those that come first.
    order: Vec<(usize, usize)>,
    floor: Floor,
    /// What it last would have cost to give everybody all.
    wanted: Bitrate,
}

/// What is spent so far, and the limits, in one allocation.
#[derive(Debug)]
struct Ledger {
    now: Instant,
    budget: Bitrate,
    /// Of it, what has lasted or was probed.
    confirmed: Bitrate,
    /// For what plays already.
    keep_limit: Bitrate,
    /// For what does not.
    raise_limit: Bitrate,
    total: Bitrate,
    /// Of raises that would fit but have to wait.
    reserved: Bitrate,
    /// The smallest step that did not fit.
    refused: Option<Bitrate>,
}

/// Whose turn it is, and up to where.
#[derive(Debug, Clone, Copy)]
enum Phase {
    FavouredLeast,
    FavouredReadable,
    Least,
    All,
}

impl Allocator {
    /// Spends a budget, what the path carries less audio and all else that is not video of these
    /// slots. A slot is known by its place in `demands`. The same demands and budget again change
    /// nothing until [`Allocation::again`].
    pub fn allocate(
        &mut self,
        budget: Bitrate,
        demands: &[Demand<'_>],
        now: Instant,
    ) -> Allocation<'_> {
        let confirmed = self.floor.update(budget, now);
        self.prepare(demands);
        self.sort(demands);
        let held: Bitrate = zip(&self.slots, demands).map(|(s, d)| d.ladder.rate(s.held)).sum();
        let kept = percent(budget, KEPT_PERCENT);
        let overrun = held > kept;
        let mut ledger = Ledger {
            now,
            budget,
            confirmed,
            // What comes down lands where it can stay.
            keep_limit: if overrun { percent(budget, LANDING_PERCENT) } else { kept },
            raise_limit: most_after_raise(confirmed),
            total: Bitrate::ZERO,
            reserved: Bitrate::ZERO,
            refused: None,
        };
        for phase in [Phase::FavouredLeast, Phase::FavouredReadable, Phase::Least, Phase::All] {
            self.spend(phase, demands, &mut ledger);
        }
        self.settle(demands, overrun.then_some(held), now);
        let wanted = zip(&self.slots, demands).map(|(s, d)| d.ladder.rate(s.top)).sum();
        self.wanted = wanted;
        let next = ledger.next();
        let lasts = next.is_some_and(|_| confirmed < budget).then(|| self.floor.lasts(now));
        let waits = self.slots.iter().filter(|slot| slot.waits);
        let waits = waits.filter_map(|slot| slot.raised_at(confirmed));
        let again = waits.chain(lasts).min();
        Allocation { slots: &self.given, total: ledger.total, wanted, next, again }
    }

    /// The budget with which all would get what they have use for.
    pub fn goal(&self) -> Bitrate {
        percent(self.wanted, RAISE_PERCENT) + Bitrate::from_bps(1)
    }

    /// A probe at this rate came through: raises up to it need not wait for the budget to last.
    pub fn confirm(&mut self, rate: Bitrate) {
        self.floor.confirm(rate);
    }

    fn prepare(&mut self, demands: &[Demand<'_>]) {
        self.slots.truncate(demands.len());
        for demand in demands.iter().skip(self.slots.len()) {
            self.slots.push(Slot::new(demand.track));
        }
        for (slot, demand) in self.slots.iter_mut().zip(demands) {
            slot.prepare(demand);
        }
    }

    /// Sorts the slots by [`Slot::rank`]: one count of each, and one walk.
    fn sort(&mut self, demands: &[Demand<'_>]) {
        let mut starts = [0; slot::RANKS + 1];
        let ranks = || zip(&self.slots, demands).map(|(slot, demand)| slot.rank(demand));
        for rank in ranks() {
            if let Some(count) = starts.get_mut(rank + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        self.order.clear();
        self.order.resize(self.slots.len(), (0, 0));
        for (place, rank) in ranks().enumerate() {
            let Some(start) = starts.get_mut(rank) else { continue };
            if let Some(at) = self.order.get_mut(*start) {
                *at = (rank, place);
            }
            *start += 1;
        }
    }

    /// Gives steps of a phase until all have them, or nothing more fits.
    fn spend(&mut self, phase: Phase, demands: &[Demand<'_>], ledger: &mut Ledger) {
        let goal = |slot: &Slot| match phase {
            Phase::FavouredLeast if slot.favoured => slot.top.min(1),
            Phase::FavouredReadable if slot.favoured && slot.given > 0 => slot.readable,
            Phase::Least => slot.top.min(1),
            Phase::All if slot.given > 0 => slot.top,
            _ => 0,
        };
        // A step that plays comes before one that does not: of any slot while all rise together, of
        // its own rank where the least is given.
        let together = matches!(phase, Phase::FavouredReadable | Phase::All);
        let last = self.slots.iter().map(goal).max().unwrap_or(0);
        for count in 1..=last {
            for group in self.order.chunk_by(|(a, _), (b, _)| together || a == b) {
                for plays in [true, false] {
                    for &(_, place) in group {
                        let Some(slot) = self.slots.get_mut(place) else { continue };
                        let Some(demand) = demands.get(place) else { continue };
                        let is_next = slot.given + 1 == count && count <= goal(slot);
                        if is_next && (slot.held >= count) == plays {
                            ledger.give(slot, demand);
                        }
                    }
                }
            }
        }
    }

    /// Remembers what was given, and what it means for later.
    fn settle(&mut self, demands: &[Demand<'_>], overrun: Option<Bitrate>, now: Instant) {
        self.given.clear();
        for (slot, demand) in self.slots.iter_mut().zip(demands) {
            slot.settle(demand.ladder, overrun, now);
            self.given.push(slot.outcome(demand));
        }
    }
}

impl Ledger {
    /// Gives a slot its next step, or notes why not. A slot that was refused gets no more.
    fn give(&mut self, slot: &mut Slot, demand: &Demand<'_>) {
        if slot.refused {
            return;
        }
        let more = demand.ladder.rate(slot.given + 1) - demand.ladder.rate(slot.given);
        if slot.held > slot.given {
            if self.total + more <= self.keep_limit {
                return self.add(slot, more);
            }
        } else if self.total + self.reserved + more <= self.raise_limit {
            // Who speaks or is pinned is seen at once, even if the path could not bear it lately.
            let urgent = slot.given == 0 && (demand.pinned || demand.speaking);
            let raised_at = slot.raised_at(self.confirmed);
            if urgent || raised_at.is_none_or(|at| at <= self.now) {
                // Others may have to give way, and tolerance is for what nobody changed.
                self.keep_limit = self.keep_limit.min(self.budget);
                return self.add(slot, more);
            }
            slot.refused = true;
            slot.waits = true;
            self.reserved += more;
            return;
        }
        slot.refused = true;
        self.refused = Some(self.refused.map_or(more, |refused| refused.min(more)));
    }

    fn add(&mut self, slot: &mut Slot, more: Bitrate) {
        self.total += more;
        slot.given += 1;
    }

    fn next(&self) -> Option<Bitrate> {
        let more = self.refused.or((self.reserved > Bitrate::ZERO).then_some(Bitrate::ZERO))?;
        let total = self.total + self.reserved + more;
        // Rounded up, so that the budget it names is enough.
        Some(percent(total, RAISE_PERCENT) + Bitrate::from_bps(1))
    }
}

/// The largest total that may be reached by raising.
fn most_after_raise(budget: Bitrate) -> Bitrate {
    let most = u128::from(budget.bps()) * 100 / u128::from(RAISE_PERCENT);
    Bitrate::from_bps(u64::try_from(most).unwrap_or(u64::MAX))
}

fn zip<'a, 'b>(
    slots: &'a [Slot],
    demands: &'a [Demand<'b>],
) -> impl Iterator<Item = (&'a Slot, &'a Demand<'b>)> {
    slots.iter().zip(demands)
}
