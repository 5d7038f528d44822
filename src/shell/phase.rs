//! Whether the process serves, drains or ends, as every thread sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use mio::Waker;

/// What the threads should be doing. It only ever moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything.
    Serve,
    /// Take no new sessions, end the ones there are, tell everybody, then end. The gate sends
    /// [`crate::room::mail::ToWorker::Drain`]; its thread ends when all is said.
    Drain,
    /// End the thread at once.
    End,
}

/// A thread's view. Look after each wake-up.
#[derive(Debug, Clone)]
pub struct PhaseWatch(Arc<AtomicU8>);

impl PhaseWatch {
    /// The phase now.
    pub fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Serve,
            1 => Phase::Drain,
            _ => Phase::End,
        }
    }
}

/// The only one who moves the phase, and wakes every thread to see it.
#[derive(Debug)]
pub struct PhaseSwitch {
    phase: Arc<AtomicU8>,
    wakers: Vec<Arc<Waker>>,
}

impl PhaseSwitch {
    /// In [`Phase::Serve`], waking `wakers` on each change.
    pub fn new(wakers: Vec<Arc<Waker>>) -> PhaseSwitch {
        PhaseSwitch { phase: Arc::new(AtomicU8::new(0)), wakers }
    }

    /// A view for one thread.
    pub fn watch(&self) -> PhaseWatch {
        PhaseWatch(self.phase.clone())
    }

    /// Moves on to `phase`; back is not possible and does nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        for waker in &self.wakers {
            if let Err(error) = waker.wake() {
                log::error!("cannot wake a thread: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forward() {
        let switch = PhaseSwitch::new(Vec::new());
        let watch = switch.watch();
        assert_eq!(watch.get(), Phase::Serve);
        switch.advance(Phase::End);
        switch.advance(Phase::Drain);
        assert_eq!(watch.get(), Phase::End);
    }
}
