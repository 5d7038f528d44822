//! How many entries each table has, for tests and simulation: what nobody needs must be gone.

use super::Worker;
use crate::media::packet::PacketBatch;

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
        let datagrams = self.handed_in.len() + self.handed.iter().map(Vec::len).sum::<usize>();
        let inboxes: usize = self.tracks.iter().map(|track| track.cache.fresh_count()).sum();
        let relayed: usize = self.relayed.iter().map(PacketBatch::len).sum();
        letters + datagrams + inboxes + relayed + self.visits.len()
    }
}
