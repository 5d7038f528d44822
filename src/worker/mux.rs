//! Whose datagram is it: by ufrag for ICE checks, by 4-tuple for everything else. A 4-tuple is
//! bound only after `str0m` verified a check on it, so a forged one steals and poisons nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::base::ids::WorkerId;

/// A path to a peer. The local port is the one port of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourTuple {
    pub remote: SocketAddr,
    pub local: IpAddr,
}

/// A peer's place in its worker's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(pub usize);

/// Who gets what comes on a 4-tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Peer(PeerKey),
    Worker(WorkerId),
}

/// Both maps are keyed by what others choose, so both use the standard library's keyed hash.
#[derive(Debug, Default)]
pub struct Mux {
    by_ufrag: HashMap<String, PeerKey>,
    by_tuple: HashMap<FourTuple, Owner>,
}

impl Mux {
    /// The peer whose current local ufrag this is.
    pub fn peer_of_ufrag(&self, ufrag: &str) -> Option<PeerKey> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// Checks with `ufrag` belong to `peer` from now on.
    pub fn add_ufrag(&mut self, ufrag: String, peer: PeerKey) {
        let old = self.by_ufrag.insert(ufrag, peer);
        debug_assert!(old.is_none_or(|old| old == peer), "70 random bits do not repeat");
    }

    /// Checks with `ufrag` belong to nobody any more.
    pub fn remove_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// Who owns a 4-tuple.
    pub fn owner(&self, tuple: FourTuple) -> Option<Owner> {
        self.by_tuple.get(&tuple).copied()
    }

    /// Binds a validated 4-tuple; gives who owned it before, if that was another.
    pub fn bind(&mut self, tuple: FourTuple, owner: Owner) -> Option<Owner> {
        self.by_tuple.insert(tuple, owner).filter(|old| *old != owner)
    }

    /// Releases a 4-tuple if `owner` has it.
    pub fn release(&mut self, tuple: FourTuple, owner: Owner) {
        if self.by_tuple.get(&tuple) == Some(&owner) {
            self.by_tuple.remove(&tuple);
        }
    }

    /// Releases a 4-tuple that another worker owned.
    pub fn release_foreign(&mut self, tuple: FourTuple) {
        if let Some(Owner::Worker(_)) = self.by_tuple.get(&tuple) {
            self.by_tuple.remove(&tuple);
        }
    }

    /// Entries of both maps: ufrags, 4-tuples.
    pub fn sizes(&self) -> (usize, usize) {
        (self.by_ufrag.len(), self.by_tuple.len())
    }

    /// Entries of both maps that name `peer`: (ufrags, 4-tuples).
    pub fn entries_of(&self, peer: PeerKey) -> (usize, usize) {
        (
            self.by_ufrag.values().filter(|p| **p == peer).count(),
            self.by_tuple.values().filter(|o| **o == Owner::Peer(peer)).count(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_releases() {
        let tuple = FourTuple {
            remote: "192.0.2.1:5".parse().unwrap(),
            local: "192.0.2.2".parse().unwrap(),
        };
        let (a, b) = (Owner::Peer(PeerKey(1)), Owner::Peer(PeerKey(2)));
        let mut mux = Mux::default();
        assert_eq!(mux.bind(tuple, a), None);
        assert_eq!(mux.bind(tuple, a), None);
        assert_eq!(mux.bind(tuple, b), Some(a), "a port that was used again");
        mux.release(tuple, a);
        assert_eq!(mux.owner(tuple), Some(b));
        mux.release_foreign(tuple);
        assert_eq!(mux.owner(tuple), Some(b));
        mux.release(tuple, b);
        assert_eq!(mux.owner(tuple), None);
    }
}
