//! How each of a subscriber's pictures fares, and the one reason for it.

use std::time::{Duration, Instant};

use super::slot::Slot;
use super::tracks::Track;
use crate::base::bitrate::Bitrate;
use crate::media::allocate::{Choice as Given, Demand, Given as Outcome, PauseReason, Size};
use crate::wire::signal::{Cause, Limited, SlotQuality};

/// What a client was told of a slot, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub cause: Cause,
    pub paused: bool,
    pub at: Instant,
}

/// A reason that replaces another one so soon is told later, unless the picture came or went.
const TOLD_APART: Duration = Duration::from_secs(1);
/// Nothing of a track that is not muted for so long is its publisher's doing.
const BEGINS_WITHIN: Duration = Duration::from_secs(2);

/// What is looked at of one slot.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub track: Option<&'a Track>,
    pub demand: &'a Demand<'a>,
    pub outcome: Outcome,
    /// What the path carries of pictures.
    pub budget: Bitrate,
    /// The server has no time for all that is asked for.
    pub sheds: bool,
}

impl Seen<'_> {
    /// How many steps the viewer would have use for, if the server had the time.
    fn useful_steps(&self, slot: &Slot) -> usize {
        let asked = Size { width: slot.want.width, height: slot.want.height };
        self.demand.ladder.top(asked, slot.want.max_fps).into()
    }

    /// The first that would have to change for the viewer to see more.
    fn cause(&self, slot: &Slot, now: Instant) -> Cause {
        let ladder = self.demand.ladder;
        let of_line = |rate: Bitrate| match rate > self.budget {
            true => Cause::Downlink,
            false => Cause::AllocatorLimit,
        };
        let state = self.track.map(|track| track.state).unwrap_or_default();
        match self.outcome.choice {
            Given::Paused(PauseReason::PausedByViewer) => Cause::PausedByViewer,
            Given::Paused(PauseReason::AllocatorLimit) => of_line(ladder.rate(1)),
            Given::Paused(PauseReason::NothingSent) if state.muted => Cause::Ok,
            Given::Paused(PauseReason::NothingSent) => match slot.since + BEGINS_WITHIN > now {
                true => Cause::WaitingKeyframe,
                false => Cause::PublisherUplink,
            },
            Given::Step(_) if !slot.is_showing() => Cause::WaitingKeyframe,
            Given::Step(_) if self.outcome.limited => {
                of_line(ladder.rate(ladder.top(self.demand.asked, self.demand.fps_max)))
            }
            Given::Step(step) if self.sheds && step + 1 < self.useful_steps(slot) => {
                Cause::ServerOverload
            }
            Given::Step(step) if step + 1 == ladder.steps().len() => match state.limited {
                Limited::None => Cause::Ok,
                Limited::Cpu => Cause::PublisherCpu,
                Limited::Bandwidth => Cause::PublisherUplink,
            },
            Given::Step(_) => Cause::Ok,
        }
    }

    /// Judges a slot. What its client has to be told, if anything; and when to judge it again though
    /// nothing else changes.
    pub fn judge(&self, slot: &mut Slot, now: Instant) -> (Option<SlotQuality>, Option<Instant>) {
        let Some(track) = self.track else { return (None, None) };
        let cause = self.cause(slot, now);
        let paused = matches!(
            self.outcome.choice,
            Given::Paused(PauseReason::AllocatorLimit | PauseReason::PausedByViewer)
        );
        let begins = slot.since + BEGINS_WITHIN;
        let is_nothing = self.outcome.choice == Given::Paused(PauseReason::NothingSent);
        let again = (is_nothing && begins > now).then_some(begins);
        // Of a slot that was just filled, nothing is expected but a picture.
        let told = slot.told.unwrap_or(Told {
            cause: Cause::WaitingKeyframe,
            paused: false,
            at: slot.since,
        });
        if (told.cause, told.paused) == (cause, paused) {
            return (None, again);
        }
        let due = told.at + TOLD_APART;
        if slot.told.is_some() && told.paused == paused && due > now {
            return (None, Some(again.map_or(due, |again| again.min(due))));
        }
        slot.told = Some(Told { cause, paused, at: now });
        let mid = slot.agreed.name.clone();
        (Some(SlotQuality { mid, track: track.id, cause, paused }), again)
    }
}
