//! The tracks that a worker forwards: those that its own peers publish, and those of other
//! workers that its peers receive.

use std::collections::HashMap;
use std::time::Instant;

use slab::Slab;

use super::handoff::Handoff;
use super::mux::PeerKey;
use super::slot::Line;
use crate::base::ids::{TrackId, WorkerId};
use crate::base::limits::{
    ALLOCATION_INTERVAL, ENCODING_SILENCE_MAX, ENCODINGS_MAX, SCREEN_SILENCE_MAX,
};
use crate::media::allocate::{Ladder, Size, Step};
use crate::media::cache::{PacketCache, Stored};
use crate::media::clock::StreamAnchor;
use crate::media::encoding::Encoding;
use crate::media::keyframes::KeyframeRequests;
use crate::media::packet::{Head, Packet};
use crate::media::speakers::Levels;
use crate::room::mail::{TrackRef, TrackState};
use crate::wire::codec::{Codec, Kind};
use crate::wire::picture_size::picture_size;
use crate::wire::signal::Source;

/// One track on its way through.
#[derive(Debug)]
pub struct Track {
    pub id: TrackId,
    pub origin: Origin,
    pub source: Source,
    pub subscribers: Vec<(PeerKey, Line)>,
    /// As its room said last.
    pub state: TrackState,
    /// Those of which something came, and those before them.
    pub encodings: Vec<Encoding>,
    /// What may be had of it, and when that was measured.
    pub ladder: Ladder,
    measured: Option<Instant>,
}

impl Track {
    /// Brings the ladder up to date; `steps` is used for it.
    pub fn measure(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let fresh = |at| now.saturating_duration_since(at) < ALLOCATION_INTERVAL;
        if self.measured.is_some_and(fresh) && !self.ladder.steps().is_empty() {
            return;
        }
        let patience = match self.source {
            Source::Screen => SCREEN_SILENCE_MAX,
            _ => ENCODING_SILENCE_MAX,
        };
        self.measured = Some(now);
        steps.clear();
        for (number, encoding) in (0..).zip(&mut self.encodings) {
            encoding.rates.update(now);
            encoding.rates.steps(number, now, patience, steps);
        }
        self.ladder.rebuild(steps);
    }

    /// How many packets of this turn there are.
    pub fn fresh_count(&self) -> usize {
        self.encodings.iter().map(|encoding| encoding.cache.fresh_count()).sum()
    }

    /// Which of its encodings; made if there was none. At most [`ENCODINGS_MAX`].
    fn encoding(&mut self, number: u8) -> Option<&mut Encoding> {
        let number = usize::from(number);
        if number >= self.encodings.len() && number < ENCODINGS_MAX {
            let repeats = self.source.kind() == Kind::Video;
            self.encodings.resize_with(number + 1, || Encoding::new(repeats));
        }
        self.encodings.get_mut(number)
    }
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
    /// Workers that have subscribers, each of which gets one copy.
    pub relays: Vec<WorkerId>,
    /// Of each encoding.
    pub keyframes: [KeyframeRequests; ENCODINGS_MAX],
    /// As the room was told.
    pub codec: Option<Codec>,
    /// Nothing of it is forwarded.
    pub muted: bool,
    /// How often it was unmuted, for [`crate::media::packet::Head::take`].
    pub take: u32,
    /// What a microphone hears, and when the room was last told.
    pub levels: Option<Levels>,
    pub told_levels: Option<Instant>,
}

/// A track's place in its worker's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackKey(usize);

/// All tracks of one worker.
#[derive(Debug, Default)]
pub struct Tracks {
    tracks: Slab<Track>,
    by_id: HashMap<TrackId, TrackKey>,
    /// Tracks with packets of this turn, in the order in which they got the first.
    dirty: Vec<TrackKey>,
}

impl Tracks {
    /// A peer of this worker publishes `id` now.
    pub fn publish(&mut self, id: TrackId, source: Source, peer: PeerKey) {
        let origin = Origin::Local(Local {
            peer,
            relays: Vec::new(),
            keyframes: Default::default(),
            codec: None,
            muted: false,
            take: 0,
            levels: (source == Source::Microphone).then(|| Levels::new(Codec::Opus.clock_hz())),
            told_levels: None,
        });
        self.unpublish(id);
        self.insert(id, source, origin);
    }

    fn insert(&mut self, id: TrackId, source: Source, origin: Origin) -> TrackKey {
        let track = Track {
            id,
            origin,
            source,
            subscribers: Vec::new(),
            state: TrackState::default(),
            encodings: Vec::new(),
            ladder: Ladder::new(source),
            measured: None,
        };
        let key = TrackKey(self.tracks.insert(track));
        self.by_id.insert(id, key);
        key
    }

    /// It no longer does.
    pub fn unpublish(&mut self, id: TrackId) {
        if let Some(key) = self.by_id.remove(&id) {
            self.tracks.try_remove(key.0);
            self.dirty.retain(|dirty| *dirty != key);
        }
    }

    /// A slot receives `id`, which `worker` publishes. `here` is this worker. A track of ours
    /// that has ended meanwhile has no entry any more: the room's next letter empties the slot.
    pub fn subscribe(
        &mut self,
        TrackRef { id, source, worker, .. }: TrackRef,
        here: WorkerId,
        slot: (PeerKey, Line),
    ) {
        let key = match self.by_id.get(&id) {
            Some(key) => *key,
            None if worker != here => self.insert(id, source, Origin::Remote),
            None => return,
        };
        if let Some(track) = self.tracks.get_mut(key.0) {
            debug_assert!(!track.subscribers.contains(&slot));
            track.subscribers.push(slot);
        }
    }

    /// A slot no longer receives `id`.
    pub fn unsubscribe(&mut self, id: TrackId, slot: (PeerKey, Line)) {
        let Some(track) = self.get_mut(id) else {
            return;
        };
        track.subscribers.retain(|s| *s != slot);
        if matches!(track.origin, Origin::Remote) && track.subscribers.is_empty() {
            self.unpublish(id);
        }
    }

    /// A track by its id.
    pub fn get(&self, id: TrackId) -> Option<&Track> {
        self.tracks.get(self.by_id.get(&id)?.0)
    }

    /// Which timestamp of a track's stream stands for which moment, for all who receive it.
    pub fn anchor(&mut self, id: TrackId, anchor: StreamAnchor, out: &mut Handoff) {
        let Some(track) = self.get_mut(id) else { return };
        if let Some(encoding) = track.encoding(anchor.encoding) {
            encoding.anchor = Some(anchor);
        }
        if let Origin::Local(local) = &track.origin {
            for worker in &local.relays {
                if let Some(batch) = out.packets(*worker) {
                    batch.anchor(id, anchor);
                }
            }
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, id: TrackId) -> Option<&mut Track> {
        self.tracks.get_mut(self.by_id.get(&id)?.0)
    }

    /// A track's place.
    pub fn key(&self, id: TrackId) -> Option<TrackKey> {
        self.by_id.get(&id).copied()
    }

    /// A track by its place.
    pub fn at(&self, key: TrackKey) -> Option<&Track> {
        self.tracks.get(key.0)
    }

    /// The publisher's side of a track of this worker.
    pub fn local(&mut self, id: TrackId) -> Option<&mut Local> {
        match &mut self.get_mut(id)?.origin {
            Origin::Local(local) => Some(local),
            Origin::Remote => None,
        }
    }

    /// Keeps a packet for the end of the turn; `false` if nobody knows the track, or it has no
    /// place for it.
    pub fn push(&mut self, id: TrackId, packet: &Packet<'_>) -> bool {
        self.put(id, packet.head.encoding, |cache| cache.push(packet))
    }

    /// The same with a packet that gives up its buffer for another.
    pub fn exchange(&mut self, id: TrackId, packet: &mut Stored) -> bool {
        self.put(id, packet.read().head.encoding, |cache| cache.exchange(packet))
    }

    fn put(
        &mut self,
        id: TrackId,
        encoding: u8,
        put: impl FnOnce(&mut PacketCache) -> bool,
    ) -> bool {
        let Some(key) = self.by_id.get(&id).copied() else {
            return false;
        };
        let Some(track) = self.tracks.get_mut(key.0) else {
            return false;
        };
        let is_first = track.fresh_count() == 0;
        let is_video = track.source.kind() == Kind::Video;
        let kept = track.encoding(encoding).is_some_and(|Encoding { cache, rates, .. }| {
            let kept = put(cache);
            if kept
                && is_video
                && let Some(packet) = cache.at(cache.end() - 1)
            {
                let Head { starts_keyframe, codec, .. } = packet.head;
                let size = starts_keyframe.then(|| picture_size(codec, packet.payload)).flatten();
                rates.packet(&packet, size.map(|(width, height)| Size { width, height }));
            }
            kept
        });
        if kept && is_first {
            self.dirty.push(key);
        }
        kept
    }

    /// Whether anything of a track's encoding came.
    pub fn has_begun(&self, id: TrackId, encoding: u8) -> bool {
        let encodings = self.get(id).map(|track| &track.encodings);
        let encoding = encodings.and_then(|all| all.get(usize::from(encoding)));
        encoding.is_some_and(|encoding| encoding.cache.end() > 0)
    }

    /// The tracks that got something in this turn.
    pub fn dirty(&self) -> &[TrackKey] {
        &self.dirty
    }

    /// The turn is over.
    pub fn settle(&mut self) {
        for key in self.dirty.drain(..) {
            if let Some(track) = self.tracks.get_mut(key.0) {
                track.encodings.iter_mut().for_each(|encoding| encoding.cache.settle());
            }
        }
    }

    /// All tracks, for the invariants.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.tracks.iter().map(|(_, track)| track)
    }

    /// Panics if the tables do not agree. For tests and simulation.
    pub fn check_invariants(&self) {
        assert_eq!(self.tracks.len(), self.by_id.len());
        assert!(self.by_id.iter().all(|(id, key)| self.at(*key).is_some_and(|t| t.id == *id)));
    }
}
