//! One slot of a subscriber: what it shows, and what is remembered so that it does not flap.

use std::time::{Duration, Instant};

use super::ladder::{Ladder, Step};
use super::{
    CHANGE_WAIT, Choice, Demand, FORGIVEN_AFTER, Given, LOWERED_WAIT, LOWERED_WAIT_MAX, PauseReason,
};
use crate::base::ids::TrackId;
use crate::wire::signal::Source;

/// How many ranks there are.
pub(super) const RANKS: usize = 8 * SIZES;
/// Classes of sizes, each of four times the area of the one before.
const SIZES: usize = 8;
/// A picture of fewer pixels than four to this power is of the smallest: 32 by 32.
const SMALLEST: usize = 5;

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
    /// When the budget last took something, and the wait that followed.
    lowered: Option<(Instant, Duration)>,

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
            self.raise_at = self.lowered.map(|(at, wait)| at + wait).filter(|_| !favoured);
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

    /// Remembers what was given. `overrun`: what played did not fit into the budget.
    pub fn settle(&mut self, ladder: &Ladder, overrun: bool, now: Instant) {
        let forgiven = |(at, _): &(Instant, Duration)| *at + FORGIVEN_AFTER <= now;
        let lately = self.lowered.filter(|lowered| !forgiven(lowered));
        if self.given != self.held {
            let mut wait = lately.map_or(CHANGE_WAIT, |_| LOWERED_WAIT);
            if overrun && self.given < self.held {
                let longer = |(_, wait): (Instant, Duration)| (2 * wait).min(LOWERED_WAIT_MAX);
                wait = lately.map_or(LOWERED_WAIT, longer);
                self.lowered = Some((now, wait));
            }
            self.raise_at = self.raise_at.max(Some(now + wait));
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
