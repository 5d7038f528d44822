//! One slot of a subscriber: what it shows, and what is remembered so that it does not flap.

use std::time::{Duration, Instant};

use super::ladder::{Ladder, Step, percent};
use super::{
    CHANGE_WAIT, Choice, Demand, FORGIVEN_AFTER, Given, LOWERED_WAIT, LOWERED_WAIT_MAX,
    PauseReason, RAISE_PROVED, RECOVERED_PERCENT,
};
use crate::base::bitrate::Bitrate;
use crate::base::ids::TrackId;
use crate::wire::signal::Source;

/// How many ranks there are.
pub(super) const RANKS: usize = 8 * SIZES;
/// Classes of sizes, each of four times the area of the one before.
const SIZES: usize = 8;
/// A picture of fewer pixels than four to this power is of the smallest: 32 by 32.
const SMALLEST: usize = 5;

/// That the budget took something.
#[derive(Debug, Clone, Copy)]
struct Lowered {
    at: Instant,
    /// The wait that followed.
    wait: Duration,
    /// What all that played was then, which did not fit.
    total: Bitrate,
}

/// Steps are counted from the least: none is a pause.
#[derive(Debug)]
pub(super) struct Slot {
    track: TrackId,
    shown: Option<Step>,
    asked: u32,
    /// Pinned, speaking, or a screen.
    pub favoured: bool,
    /// No raise before that.
    pub raise_at: Option<Instant>,
    /// When it last changed, and when it last was raised.
    changed: Option<Instant>,
    raised: Option<Instant>,
    lowered: Option<Lowered>,

    /// In the present allocation: the steps that play and are of use to the viewer; those of use;
    /// those needed to recognise something; those given; whether one was refused; and whether
    /// that is for the time being only.
    pub held: u8,
    pub top: u8,
    pub readable: u8,
    pub given: u8,
    pub refused: bool,
    pub waits: bool,
}

impl Slot {
    pub fn new(track: TrackId) -> Slot {
        Slot {
            track,
            shown: None,
            asked: 0,
            favoured: false,
            raise_at: None,
            changed: None,
            raised: None,
            lowered: None,
            held: 0,
            top: 0,
            readable: 0,
            given: 0,
            refused: false,
            waits: false,
        }
    }

    /// Reads what is wanted of it now.
    pub fn prepare(&mut self, demand: &Demand<'_>) {
        if self.track != demand.track {
            *self = Slot::new(demand.track);
        }
        let unseen = demand.paused || demand.asked.area() == 0;
        let asked = if unseen { 0 } else { demand.asked.area() };
        let favoured = demand.pinned || demand.speaking || demand.source == Source::Screen;
        if asked > self.asked || (favoured && !self.favoured) {
            // Somebody wants more of it, which is no flapping. Had the path failed, it waits.
            self.raise_at = self.lowered.map(|l| l.at + l.wait).filter(|_| !favoured);
        }
        (self.asked, self.favoured) = (asked, favoured);
        let ladder = demand.ladder;
        self.top = if unseen { 0 } else { ladder.top(demand.asked, demand.fps_max) };
        self.readable = ladder.readable(self.top);
        let plays = self.shown.as_ref().map_or(0, |shown| ladder.nearest(shown));
        self.held = plays.min(self.top);
        (self.given, self.refused, self.waits) = (0, false, false);
    }

    /// Its place among the others; the smallest comes first.
    pub fn rank(&self, demand: &Demand<'_>) -> usize {
        let class = usize::from(!demand.pinned) << 2
            | usize::from(!demand.speaking) << 1
            | usize::from(demand.source != Source::Screen);
        let size = self.asked.checked_ilog2().unwrap_or(0) as usize / 2;
        let size = size.saturating_sub(SMALLEST).min(SIZES - 1);
        class * SIZES + (SIZES - 1 - size)
    }

    /// When it may be raised; `None`: at any time. That a path failed says nothing of one that is
    /// known to bear far more than what it failed at: then the first wait is enough.
    pub fn raised_at(&self, confirmed: Bitrate) -> Option<Instant> {
        let far = |l: &Lowered| confirmed >= percent(l.total, RECOVERED_PERCENT);
        let Some(lowered) = self.lowered.filter(far) else { return self.raise_at };
        let changed = self.changed.map(|at| at + LOWERED_WAIT);
        self.raise_at.min(changed.max(Some(lowered.at + LOWERED_WAIT)))
    }

    /// Remembers what was given. `overrun`: what played, which did not fit into the budget.
    pub fn settle(&mut self, ladder: &Ladder, overrun: Option<Bitrate>, now: Instant) {
        let lately = self.lowered.filter(|lowered| lowered.at + FORGIVEN_AFTER > now);
        if self.given != self.held {
            let mut wait = lately.map_or(CHANGE_WAIT, |_| LOWERED_WAIT);
            if let Some(total) = overrun.filter(|_| self.given < self.held) {
                let was_wrong = self.raised.is_some_and(|at| now < at + RAISE_PROVED);
                let longer = |l: Lowered| if was_wrong { 2 * l.wait } else { LOWERED_WAIT };
                wait = lately.map_or(LOWERED_WAIT, |l| longer(l).min(LOWERED_WAIT_MAX));
                self.lowered = Some(Lowered { at: now, wait, total });
            }
            self.raise_at = self.raise_at.max(Some(now + wait));
            self.changed = Some(now);
            self.raised = self.changed.filter(|_| self.given > self.held).or(self.raised);
        }
        self.shown = ladder.step(self.given).copied();
    }

    pub fn outcome(&self, demand: &Demand<'_>) -> Given {
        let choice = match usize::from(self.given).checked_sub(1) {
            Some(step) => Choice::Step(step),
            None if demand.paused || self.asked == 0 => Choice::Paused(PauseReason::PausedByViewer),
            None if self.top == 0 => Choice::Paused(PauseReason::NothingSent),
            None => Choice::Paused(PauseReason::AllocatorLimit),
        };
        Given { choice, limited: self.given < self.top }
    }
}
