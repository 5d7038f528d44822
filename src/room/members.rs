//! One room: its members, their tracks, and what everybody is told.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "places in the tables were found in the same call, and what a slot holds exists"
)]

use std::collections::{BTreeMap, BTreeSet};

use super::mail::{
    Address, Outgoing, Role, RoomLetter, RoomReport, SlotOffer, ToGate, TrackOffer, Update,
};
use crate::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use crate::wire::codec::{Codec, Kind};
use crate::wire::signal::{
    ErrorCode, LeaveReason, MissingSlots, ParticipantView, RequestId, ServerMessage, SlotView,
    Source, TrackView,
};

/// A room. Members and tracks keep the order in which they came.
#[derive(Debug, Default)]
pub struct Room {
    pub(super) members: Vec<Member>,
    pub(super) tracks: Vec<Track>,
    /// How many slots of each worker hold a track: the publisher's worker relays to those with any.
    pub(super) holders: BTreeMap<(TrackId, WorkerId), usize>,
}

/// One who is in the room.
#[derive(Debug)]
pub(super) struct Member {
    pub address: Address,
    pub name: String,
    pub role: Role,
    pub slots: Vec<Slot>,
    /// Tracks of which this member was told that no slot can carry them.
    pub unsupported: BTreeSet<TrackId>,
    /// What the member was last told.
    pub told: (Vec<SlotView>, MissingSlots),
}

/// A place where a member receives one track at a time.
#[derive(Debug)]
pub(super) struct Slot {
    pub mid: String,
    pub kind: Kind,
    pub codecs: Vec<Codec>,
    pub track: Option<TrackId>,
}

/// A published track.
#[derive(Debug)]
pub(super) struct Track {
    pub id: TrackId,
    pub publisher: ParticipantId,
    /// The publisher's worker.
    pub worker: WorkerId,
    pub mid: String,
    pub kind: Kind,
    pub source: Source,
    pub muted: bool,
    /// Known once its first packet came.
    pub codec: Option<Codec>,
}

impl Track {
    fn view(&self) -> TrackView {
        TrackView { id: self.id, kind: self.kind, source: self.source, muted: self.muted }
    }
}

impl Room {
    pub(super) fn handle(&mut self, letter: RoomLetter, out: &mut Vec<Outgoing>) {
        match letter {
            RoomLetter::Join { address, name, role, request } => {
                self.join(address, name, role, request, out);
            }
            RoomLetter::Resume { participant, request } => {
                self.greet(participant, request, true, out)
            }
            RoomLetter::Leave { participant, reason } => self.leave(participant, reason, out),
            RoomLetter::Negotiated { participant, fresh, tracks, slots } => {
                self.negotiated(participant, fresh, tracks, slots, out);
            }
            RoomLetter::Collapse => debug_assert!(false, "a room cannot end itself"),
            RoomLetter::TrackCodec { track, codec } => {
                if let Some(track) = self.tracks.iter_mut().find(|t| t.id == track) {
                    track.codec = Some(codec);
                    self.assign_all(out);
                }
            }
            RoomLetter::Update { participant, update } => self.update(participant, update, out),
        }
    }

    fn join(
        &mut self,
        address: Address,
        name: String,
        role: Role,
        request: Option<RequestId>,
        out: &mut Vec<Outgoing>,
    ) {
        debug_assert!(self.member(address.participant).is_none());
        let participant = address.participant;
        let listed = !matches!(role, Role::Whep { .. });
        let view = ParticipantView { id: participant, name: name.clone(), tracks: Vec::new() };
        self.members.push(Member {
            address,
            name,
            role,
            slots: Vec::new(),
            unsupported: BTreeSet::new(),
            told: Default::default(),
        });
        self.greet(participant, request, false, out);
        if listed {
            self.tell_others(
                participant,
                ServerMessage::ParticipantJoined { participant: view },
                out,
            );
        }
    }

    /// Tells a member how things stand.
    fn greet(
        &mut self,
        participant: ParticipantId,
        request: Option<RequestId>,
        resumed: bool,
        out: &mut Vec<Outgoing>,
    ) {
        let others = self.roster(participant);
        let Some(member) = self.members.iter_mut().find(|m| m.address.participant == participant)
        else {
            return;
        };
        let slots = member.slot_views();
        member.told = (slots.clone(), member.told.1);
        let session = member.address.session;
        out.push(Outgoing::Gate(ToGate::Joined { session, request, others, slots, resumed }));
        if resumed {
            // What is missing is only in `slots` messages: say it again.
            member.told = Default::default();
            self.assign(participant, out);
        }
    }

    fn roster(&self, except: ParticipantId) -> Vec<ParticipantView> {
        let listed = self.members.iter().filter(|m| !matches!(m.role, Role::Whep { .. }));
        listed
            .filter(|m| m.address.participant != except)
            .map(|m| ParticipantView {
                id: m.address.participant,
                name: m.name.clone(),
                tracks: self.tracks_of(m.address.participant).map(Track::view).collect(),
            })
            .collect()
    }

    fn leave(&mut self, participant: ParticipantId, reason: LeaveReason, out: &mut Vec<Outgoing>) {
        let Some(at) = self.members.iter().position(|m| m.address.participant == participant)
        else {
            return;
        };
        for slot in 0..self.members[at].slots.len() {
            self.put(at, slot, None, out);
        }
        let member = self.members.remove(at);
        let tracks: Vec<TrackId> = self.tracks_of(participant).map(|t| t.id).collect();
        for track in tracks {
            self.remove_track(track, out);
        }
        if !matches!(member.role, Role::Whep { .. }) {
            self.tell_others(
                participant,
                ServerMessage::ParticipantLeft { participant, reason },
                out,
            );
        }
        self.assign_all(out);
    }

    fn negotiated(
        &mut self,
        participant: ParticipantId,
        fresh: bool,
        tracks: Vec<TrackOffer>,
        slots: Vec<SlotOffer>,
        out: &mut Vec<Outgoing>,
    ) {
        let Some(at) = self.members.iter().position(|m| m.address.participant == participant)
        else {
            return;
        };
        let worker = self.members[at].address.worker;
        self.set_slots(at, fresh, slots, out);
        let kept: BTreeSet<TrackId> = tracks.iter().map(|t| t.id).collect();
        let gone: Vec<TrackId> =
            self.tracks_of(participant).map(|t| t.id).filter(|id| !kept.contains(id)).collect();
        for track in gone {
            self.remove_track(track, out);
            self.tell_others(participant, ServerMessage::TrackRemoved { participant, track }, out);
        }
        for offer in tracks {
            self.set_track(participant, worker, offer, out);
        }
        self.assign_all(out);
    }

    /// Takes over the slots of a negotiation; what sat in one that stays, stays.
    fn set_slots(
        &mut self,
        at: usize,
        fresh: bool,
        offers: Vec<SlotOffer>,
        out: &mut Vec<Outgoing>,
    ) {
        for slot in 0..self.members[at].slots.len() {
            let stays = offers.iter().any(|o| o.mid == self.members[at].slots[slot].mid);
            if fresh || !stays {
                self.put(at, slot, None, out);
            }
        }
        let member = &mut self.members[at];
        if fresh {
            // A client that began anew knows nothing of the slots before.
            member.told = Default::default();
        }
        let old = std::mem::take(&mut member.slots);
        member.unsupported.clear();
        member.slots = offers
            .into_iter()
            .map(|offer| Slot {
                track: old.iter().find(|s| s.mid == offer.mid).and_then(|s| s.track),
                mid: offer.mid,
                kind: offer.kind,
                codecs: offer.codecs,
            })
            .collect();
    }

    fn set_track(
        &mut self,
        publisher: ParticipantId,
        worker: WorkerId,
        offer: TrackOffer,
        out: &mut Vec<Outgoing>,
    ) {
        let message = match self.tracks.iter_mut().find(|t| t.id == offer.id) {
            Some(track) => {
                if (track.source, track.muted) == (offer.source, offer.muted) {
                    return;
                }
                (track.source, track.muted) = (offer.source, offer.muted);
                ServerMessage::TrackUpdated { participant: publisher, track: track.view() }
            }
            None => {
                let track = Track {
                    id: offer.id,
                    publisher,
                    worker,
                    mid: offer.mid,
                    kind: offer.kind,
                    source: offer.source,
                    muted: offer.muted,
                    codec: None,
                };
                let view = track.view();
                self.tracks.push(track);
                ServerMessage::TrackAdded { participant: publisher, track: view }
            }
        };
        self.tell_others(publisher, message, out);
    }

    /// Takes a track out of the room and out of every slot. Telling is the caller's.
    fn remove_track(&mut self, track: TrackId, out: &mut Vec<Outgoing>) {
        for at in 0..self.members.len() {
            self.members[at].unsupported.remove(&track);
            for slot in 0..self.members[at].slots.len() {
                if self.members[at].slots[slot].track == Some(track) {
                    self.put(at, slot, None, out);
                }
            }
        }
        self.tracks.retain(|t| t.id != track);
    }

    fn update(&mut self, participant: ParticipantId, update: Update, out: &mut Vec<Outgoing>) {
        let Update { mid, muted, request } = update;
        let Some(member) = self.member(participant) else {
            return;
        };
        let session = member.address.session;
        let track = self.tracks.iter_mut().find(|t| t.publisher == participant && t.mid == mid);
        let Some(track) = track else {
            let message = format!("nothing is sent on mid {mid:?}");
            let code = ErrorCode::UnknownMid;
            out.push(Outgoing::Gate(ToGate::Refused { session, request, code, message }));
            return;
        };
        let changed = track.muted != muted;
        track.muted = muted;
        let view = track.view();
        if let Some(id) = request {
            let message = ServerMessage::Ok { id };
            out.push(Outgoing::Gate(ToGate::Event { to: vec![session], message }));
        }
        if changed {
            self.tell_others(
                participant,
                ServerMessage::TrackUpdated { participant, track: view },
                out,
            );
        }
    }

    /// One event to every WebSocket member but the one it is about.
    fn tell_others(&self, except: ParticipantId, message: ServerMessage, out: &mut Vec<Outgoing>) {
        let to: Vec<SessionId> = self
            .members
            .iter()
            .filter(|m| m.role == Role::Participant && m.address.participant != except)
            .map(|m| m.address.session)
            .collect();
        if !to.is_empty() {
            out.push(Outgoing::Gate(ToGate::Event { to, message }));
        }
    }

    pub(super) fn member(&self, participant: ParticipantId) -> Option<&Member> {
        self.members.iter().find(|m| m.address.participant == participant)
    }

    fn tracks_of(&self, participant: ParticipantId) -> impl Iterator<Item = &Track> {
        self.tracks.iter().filter(move |t| t.publisher == participant)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = Address> {
        self.members.iter().map(|m| m.address)
    }

    pub(super) fn members(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub(super) fn report(&self, name: &str) -> RoomReport {
        let viewers = self.members.iter().filter(|m| matches!(m.role, Role::Whep { .. })).count();
        RoomReport {
            room: name.to_string(),
            participants: self.members.len() - viewers,
            viewers,
            tracks: self.tracks.len(),
        }
    }

    pub(super) fn check_invariants(&self) {
        let mut holders: BTreeMap<(TrackId, WorkerId), usize> = BTreeMap::new();
        for member in &self.members {
            let mut seen = BTreeSet::new();
            for slot in &member.slots {
                let Some(id) = slot.track else { continue };
                let track = self.tracks.iter().find(|t| t.id == id).expect("a slot's track exists");
                assert_eq!(track.kind, slot.kind);
                assert_ne!(track.publisher, member.address.participant, "nobody sees themselves");
                assert!(seen.insert(id), "one slot a track and member");
                *holders.entry((id, member.address.worker)).or_default() += 1;
            }
        }
        assert_eq!(holders, self.holders);
        for track in &self.tracks {
            assert!(self.member(track.publisher).is_some(), "a track's publisher is here");
        }
    }
}

impl Member {
    pub(super) fn slot_views(&self) -> Vec<SlotView> {
        self.slots.iter().map(|s| SlotView { mid: s.mid.clone(), track: s.track }).collect()
    }
}
