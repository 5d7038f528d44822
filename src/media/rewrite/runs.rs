//! Which number of a slot belongs to which of its source, where some of the source were left out.

use std::collections::VecDeque;

use crate::base::limits::REWRITE_RUNS_MAX;
use crate::wire::dependency_descriptor::active::Mask;
use crate::wire::frame::Layer;

/// Packets of a source that leave in a row, up to where the next run begins or one is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The source's number from which on it holds.
    pub first: u64,
    /// Behind its last, if that is known.
    pub end: u64,
    /// What is added to the source's numbers.
    pub seq_delta: u64,
    pub picture_id_delta: u16,
    /// What was wanted meanwhile, for packets that come late.
    pub target: Layer,
    /// What its first packet tells of the decode targets that are sent from there on.
    pub tells: Option<Mask>,
}

/// The runs of the present source, the oldest first; at most [`REWRITE_RUNS_MAX`]. What is older
/// can neither come late nor be asked for again.
#[derive(Debug, Default)]
pub struct Runs(VecDeque<Run>);

impl Runs {
    /// A source begins.
    pub fn begin(&mut self, run: Run) {
        self.0.clear();
        self.0.push_back(run);
    }

    /// The last run ended before `end`, and what follows is another.
    pub fn open(&mut self, end: u64, run: Run) {
        if let Some(last) = self.0.back_mut() {
            last.end = end;
        }
        match self.0.back_mut() {
            // Nothing has come of the last.
            Some(last) if last.first == run.first => *last = run,
            _ => {
                if self.0.len() >= REWRITE_RUNS_MAX {
                    self.0.pop_front();
                }
                self.0.push_back(run);
            }
        }
    }

    pub fn last(&self) -> Option<&Run> {
        self.0.back()
    }

    /// The run of a source's number; `None` if that was left out, or is forgotten.
    pub fn of(&self, number: u64) -> Option<&Run> {
        let run = self.0.iter().rev().find(|run| run.first <= number)?;
        (number < run.end).then_some(run)
    }

    /// The source's number that left, or may leave, as `sent`.
    pub fn origin(&self, sent: u64) -> Option<u64> {
        let begun = |run: &&Run| run.first.wrapping_add(run.seq_delta) <= sent;
        let run = self.0.iter().rev().find(begun)?;
        Some(sent.wrapping_sub(run.seq_delta))
    }
}
