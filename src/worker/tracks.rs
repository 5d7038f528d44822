//! The tracks that a worker forwards: those that its own peers publish, and those of other
//! workers that its peers receive.

use std::collections::BTreeMap;

use str0m::media::Mid;

use super::mux::PeerKey;
use crate::base::ids::{TrackId, WorkerId};
use crate::media::keyframes::KeyframeRequests;
use crate::media::packet::Packet;
use crate::wire::codec::{Codec, Kind};

/// One track on its way through.
#[derive(Debug)]
pub struct Track {
    pub origin: Origin,
    pub subscribers: Vec<(PeerKey, Mid)>,
    /// Packets of this turn.
    pub inbox: Vec<Packet>,
}

/// Where a track's packets come from.
#[derive(Debug)]
pub enum Origin {
    /// A peer of this worker.
    Local(Local),
    /// A peer of another worker.
    Remote,
}

/// What only the publisher's worker knows of a track.
#[derive(Debug)]
pub struct Local {
    pub peer: PeerKey,
    pub kind: Kind,
    /// Workers that have subscribers, each of which gets one copy.
    pub relays: Vec<WorkerId>,
    pub keyframes: KeyframeRequests,
    /// As the room was told.
    pub codec: Option<Codec>,
    /// Nothing of it is forwarded.
    pub muted: bool,
    /// See [`Packet::take`].
    pub take: u32,
}

/// All tracks of one worker. Ordered by id, so that a turn visits them in the same order always.
#[derive(Debug, Default)]
pub struct Tracks {
    tracks: BTreeMap<TrackId, Track>,
    /// Tracks with something in their inbox.
    dirty: Vec<TrackId>,
}

impl Tracks {
    /// A peer of this worker publishes `id` now.
    pub fn publish(&mut self, id: TrackId, kind: Kind, peer: PeerKey) {
        let origin = Origin::Local(Local {
            peer,
            kind,
            relays: Vec::new(),
            keyframes: KeyframeRequests::default(),
            codec: None,
            muted: false,
            take: 0,
        });
        self.tracks.insert(id, Track { origin, subscribers: Vec::new(), inbox: Vec::new() });
    }

    /// It no longer does.
    pub fn unpublish(&mut self, id: TrackId) {
        self.tracks.remove(&id);
    }

    /// A slot receives `id`, which `worker` publishes. `here` is this worker. A track of ours
    /// that has ended meanwhile has no entry any more: the room's next letter empties the slot.
    pub fn subscribe(
        &mut self,
        id: TrackId,
        worker: WorkerId,
        here: WorkerId,
        slot: (PeerKey, Mid),
    ) {
        if worker != here {
            self.tracks.entry(id).or_insert_with(|| Track {
                origin: Origin::Remote,
                subscribers: Vec::new(),
                inbox: Vec::new(),
            });
        }
        if let Some(track) = self.tracks.get_mut(&id) {
            debug_assert!(!track.subscribers.contains(&slot));
            track.subscribers.push(slot);
        }
    }

    /// A slot no longer receives `id`.
    pub fn unsubscribe(&mut self, id: TrackId, slot: (PeerKey, Mid)) {
        let Some(track) = self.tracks.get_mut(&id) else {
            return;
        };
        track.subscribers.retain(|s| *s != slot);
        if matches!(track.origin, Origin::Remote) && track.subscribers.is_empty() {
            self.tracks.remove(&id);
        }
    }

    /// A track by its id.
    pub fn get_mut(&mut self, id: TrackId) -> Option<&mut Track> {
        self.tracks.get_mut(&id)
    }

    /// The publisher's side of a track of this worker.
    pub fn local(&mut self, id: TrackId) -> Option<&mut Local> {
        match &mut self.tracks.get_mut(&id)?.origin {
            Origin::Local(local) => Some(local),
            Origin::Remote => None,
        }
    }

    /// Keeps packets for the end of the turn; `false` if nobody knows the track.
    pub fn push(&mut self, id: TrackId, packets: impl IntoIterator<Item = Packet>) -> bool {
        let Some(track) = self.tracks.get_mut(&id) else {
            return false;
        };
        if track.inbox.is_empty() {
            self.dirty.push(id);
        }
        track.inbox.extend(packets);
        true
    }

    /// The tracks that got something in this turn, in the order in which they got it first.
    pub fn take_dirty(&mut self) -> Vec<TrackId> {
        std::mem::take(&mut self.dirty)
    }

    /// All tracks, for the invariants.
    pub fn iter(&self) -> impl Iterator<Item = (&TrackId, &Track)> {
        self.tracks.iter()
    }
}
