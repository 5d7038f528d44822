//! How many entries each table has, for tests and simulation: what nobody needs must be gone.

use super::Worker;

/// Entries of a worker's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    pub peers: usize,
    pub participants: usize,
    pub ufrags: usize,
    /// 4-tuples, of peers here and of other workers.
    pub tuples: usize,
    pub tracks: usize,
    pub rooms: usize,
    /// Without the one for reports.
    pub deadlines: usize,
    /// Letters, datagrams and packets that are not dealt with: none after a flush and once what
    /// leaves was taken away.
    pub waiting: usize,
}

impl Worker {
    /// Counts them.
    pub fn census(&self) -> Census {
        let (ufrags, tuples) = self.mux.sizes();
        Census {
            peers: self.peers.len(),
            participants: self.by_participant.len(),
            ufrags,
            tuples,
            tracks: self.tracks.iter().count(),
            rooms: self.rooms.len(),
            deadlines: self.deadlines.len() - 1,
            waiting: self.waiting(),
        }
    }

    fn waiting(&self) -> usize {
        let letters = self.letters.len() + self.to_self.len() + self.outbox.len();
        let (datagrams, packets) = self.handoff.waiting();
        let inboxes: usize = self.tracks.iter().map(|track| track.fresh_count()).sum();
        letters + self.handed_in.len() + datagrams + packets + inboxes + self.visits.len()
    }
}
