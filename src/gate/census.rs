//! How many entries each table has, for tests and simulation: what nobody needs must be gone.

use super::Gate;

/// Entries of the gate's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    pub sessions: usize,
    pub sockets: usize,
    pub requests: usize,
    /// HTTP connections whose response a worker must give first.
    pub waiting: usize,
    pub timers: usize,
    /// Where connections come from, of late.
    pub sources: usize,
}

impl Gate {
    /// Counts them.
    pub fn census(&self) -> Census {
        Census {
            sessions: self.sessions.len(),
            sockets: self.sockets.len(),
            requests: self.requests.len(),
            waiting: self.waiting.len(),
            timers: self.timers.len(),
            sources: self.sources.len(),
        }
    }
}
