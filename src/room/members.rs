//! One room: its members, their tracks, and what everybody is told.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "places in the tables were found in the same call, and what a slot holds exists"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::mail::{
    Address, Outgoing, Role, RoomLetter, RoomReport, RoomSettings, SlotOffer, ToGate, TrackOffer,
};
use super::voices::Spoken;
use super::wants::Demand;
use crate::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use crate::media::speakers::Speakers;
use crate::wire::codec::{Codec, Kind};
use crate::wire::signal::{
    ErrorCode, LeaveReason, Limited, MissingSlots, ParticipantView, RequestId, ServerMessage,
    SlotView, Source, TrackView, Want,
};

/// A room. Members and tracks keep the order in which they came.
#[derive(Debug)]
pub struct Room {
    pub(super) settings: RoomSettings,
    pub(super) members: Vec<Member>,
    pub(super) tracks: Vec<Track>,
    /// How many slots of each worker hold a track: the publisher's worker relays to those with any.
    pub(super) holders: BTreeMap<(TrackId, WorkerId), usize>,
    pub(super) speakers: Speakers,
    /// Who speaks, as everybody was told; and how often somebody got the word.
    pub(super) spoken: Spoken,
    pub(super) turns: u64,
    /// Tracks that are seen at another size than their publishers were told.
    pub(super) demands: Vec<TrackId>,
}

/// One who is in the room.
#[derive(Debug)]
pub(super) struct Member {
    pub address: Address,
    pub name: String,
    pub role: Role,
    pub slots: Vec<Slot>,
    /// How it shows tracks of others, as far as it said so.
    pub wants: BTreeMap<TrackId, Want>,
    /// It speaks, or was the last who had the word; and its last turn in having it.
    pub speaks: bool,
    pub spoke: u64,
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
    pub limited: Limited,
    /// Known once its first packet came.
    pub codec: Option<Codec>,
    /// It is sound, and forwarded.
    pub heard: bool,
    /// The largest at which it is shown, and what its publisher was told of that.
    pub demand: Demand,
    pub told_demand: Option<Demand>,
}

impl Track {
    pub(super) fn view(&self) -> TrackView {
        TrackView { id: self.id, kind: self.kind, source: self.source, muted: self.muted }
    }
}

impl Room {
    pub(super) fn new(settings: RoomSettings) -> Room {
        Room {
            settings,
            members: Vec::new(),
            tracks: Vec::new(),
            holders: BTreeMap::new(),
            speakers: Speakers::new(settings.heard_max),
            spoken: Spoken::default(),
            turns: 0,
            demands: Vec::new(),
        }
    }

    /// Takes one letter, and does what is due.
    pub(super) fn handle(&mut self, now: Instant, letter: RoomLetter, out: &mut Vec<Outgoing>) {
        self.open(now, letter, out);
        self.settle(now, out);
    }

    /// Does what is due.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Vec<Outgoing>) {
        if self.deadline().is_some_and(|at| at <= now) && self.listen(now, out) {
            self.assign_all(out);
        }
        self.tell_demands(out);
    }

    fn open(&mut self, now: Instant, letter: RoomLetter, out: &mut Vec<Outgoing>) {
        match letter {
            RoomLetter::Join { address, name, role, request } => {
                self.join(address, name, role, request, out);
            }
            RoomLetter::Resume { participant, request } => {
                self.greet(participant, request, true, out)
            }
            RoomLetter::Leave { participant, reason } => {
                self.leave(participant, reason, now, out);
            }
            RoomLetter::Negotiated { participant, fresh, tracks, slots } => {
                self.negotiated(participant, fresh, (tracks, slots), now, out);
            }
            RoomLetter::Collapse => debug_assert!(false, "a room cannot end itself"),
            RoomLetter::TrackCodec { track, codec } => {
                if let Some(track) = self.tracks.iter_mut().find(|t| t.id == track) {
                    track.codec = Some(codec);
                    self.assign_all(out);
                }
            }
            RoomLetter::Update { participant, update } => {
                self.update(participant, update, now, out);
            }
            RoomLetter::Want { participant, wants, request } => {
                self.want(participant, wants, request, out);
            }
            RoomLetter::Levels { track, summary } => self.speakers.report(track, summary, now),
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
            wants: BTreeMap::new(),
            speaks: false,
            spoke: 0,
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
        let (session, is_participant) = (member.address.session, member.role == Role::Participant);
        out.push(Outgoing::Gate(ToGate::Joined { session, request, others, slots, resumed }));
        if resumed {
            // What is missing is only in `slots` messages: say it again.
            member.told = Default::default();
            self.assign(participant, out);
            self.repeat_demands(participant, out);
        }
        if is_participant && self.has_speakers() {
            self.say_speakers(vec![session], out);
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

    fn leave(
        &mut self,
        participant: ParticipantId,
        reason: LeaveReason,
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) {
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
            self.remove_track(track, now, out);
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
        (tracks, slots): (Vec<TrackOffer>, Vec<SlotOffer>),
        now: Instant,
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
            self.remove_track(track, now, out);
            self.tell_others(participant, ServerMessage::TrackRemoved { participant, track }, out);
        }
        if self.may_publish(participant) {
            for offer in tracks {
                self.set_track(participant, worker, offer, now, out);
            }
        } else if !tracks.is_empty() {
            let message = format!("at most {} may send here", self.settings.publishers_max);
            let (session, code) = (self.members[at].address.session, ErrorCode::TooManyPublishers);
            let request = None;
            out.push(Outgoing::Gate(ToGate::Refused { session, request, code, message }));
        }
        self.listen(now, out);
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

    /// One event to every WebSocket member but the one it is about.
    pub(super) fn tell_others(
        &self,
        except: ParticipantId,
        message: ServerMessage,
        out: &mut Vec<Outgoing>,
    ) {
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

    pub(super) fn tracks_of(&self, participant: ParticipantId) -> impl Iterator<Item = &Track> {
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
                assert!(
                    track.kind == Kind::Video || track.heard,
                    "only what is heard is in a slot"
                );
                *holders.entry((id, member.address.worker)).or_default() += 1;
            }
        }
        assert_eq!(holders, self.holders);
        for track in &self.tracks {
            assert!(self.member(track.publisher).is_some(), "a track's publisher is here");
            assert_eq!(
                track.told_demand.filter(|_| track.kind == Kind::Video),
                Some(track.demand).filter(|_| track.kind == Kind::Video)
            );
        }
        let heard = self.tracks.iter().filter(|t| t.source == Source::Microphone && t.heard);
        assert!(heard.count() <= self.settings.heard_max);
    }
}

impl Member {
    /// How it shows a track.
    pub(super) fn want(&self, track: TrackId) -> Want {
        self.wants.get(&track).copied().unwrap_or_default()
    }

    pub(super) fn slot_views(&self) -> Vec<SlotView> {
        self.slots.iter().map(|s| SlotView { mid: s.mid.clone(), track: s.track }).collect()
    }
}
