//! Which track sits in which slot: everybody gets everybody's tracks, as long as there are slots that
//! can carry them. Where there are fewer, those come first that the member pinned, then screens, who
//! had the word last, and those that were published first. A track that is to stay keeps its slot.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "places in the tables were found in the same call, and what a slot holds exists"
)]

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::mail::{Outgoing, PeerLetter, Role, Seat, ToGate, ToWorker, TrackLetter, TrackRef};
use super::members::{Member, Room, Slot, Track};
use crate::base::ids::{ParticipantId, TrackId, WorkerId};
use crate::wire::codec::Kind;
use crate::wire::signal::{ErrorCode, MissingSlots, ServerMessage, Source};

/// The tracks of a room by kind, as places in its table: what is to be in slots first comes first.
struct Order {
    audio: Vec<usize>,
    video: Vec<usize>,
}

impl Room {
    /// Brings every member's slots up to date.
    pub(super) fn assign_all(&mut self, out: &mut Vec<Outgoing>) {
        let order = self.order();
        for at in 0..self.members.len() {
            self.assign_at(at, &order, out);
        }
    }

    /// Brings one member's slots up to date.
    pub(super) fn assign(&mut self, participant: ParticipantId, out: &mut Vec<Outgoing>) {
        if let Some(at) = self.members.iter().position(|m| m.address.participant == participant) {
            self.assign_at(at, &self.order(), out);
        }
    }

    /// Of sound, all that is heard. Of pictures screens, those who had the word last, and then those
    /// that came first; what is muted comes last.
    fn order(&self) -> Order {
        let spoke: BTreeMap<ParticipantId, u64> =
            self.members.iter().map(|m| (m.address.participant, m.spoke)).collect();
        let of = |kind| move |&at: &usize| self.tracks[at].kind == kind;
        let audio = (0..self.tracks.len()).filter(of(Kind::Audio));
        let audio = audio.filter(|&at| self.tracks[at].heard).collect();
        let mut video: Vec<usize> = (0..self.tracks.len()).filter(of(Kind::Video)).collect();
        video.sort_by_key(|&at| {
            let track = &self.tracks[at];
            let spoke = spoke.get(&track.publisher).copied().unwrap_or(0);
            (track.muted, track.source != Source::Screen, Reverse(spoke), at)
        });
        Order { audio, video }
    }

    fn assign_at(&mut self, at: usize, order: &Order, out: &mut Vec<Outgoing>) {
        if !self.members[at].role.subscribes() {
            return;
        }
        let audio = self.fill(at, Kind::Audio, order.audio.clone(), usize::MAX, out);
        let mut video = order.video.clone();
        let member = &self.members[at];
        if !member.wants.is_empty() {
            video.sort_by_key(|&place| {
                let want = member.want(self.tracks[place].id);
                (!want.pinned, !want.is_seen())
            });
        }
        let video = self.fill(at, Kind::Video, video, self.settings.last_n, out);
        self.tell_slots(at, MissingSlots { audio, video }, out);
    }

    /// Sees to it that the first of these tracks that a member wants, and can have, are in its slots,
    /// and nothing else of that kind; at most so many. How many of these found no slot.
    fn fill(
        &mut self,
        at: usize,
        kind: Kind,
        order: Vec<usize>,
        most: usize,
        out: &mut Vec<Outgoing>,
    ) -> usize {
        let slots = self.members[at].slots.iter().filter(|s| s.kind == kind).count();
        let mut chosen = Vec::new();
        let mut missing = 0;
        for index in order {
            let (member, track) = (&self.members[at], &self.tracks[index]);
            if !self.wants(member, track) {
                continue;
            }
            let mut of_kind = member.slots.iter().filter(|s| s.kind == kind);
            if slots > 0 && !of_kind.any(|slot| carries(&slot.codecs, track)) {
                self.refuse(at, index, out);
            } else if chosen.len() < slots.min(most) {
                chosen.push(index);
            } else if chosen.len() + missing < most {
                missing += 1;
            }
        }
        self.vacate(at, kind, &chosen, out);
        for index in chosen {
            let (member, track) = (&self.members[at], &self.tracks[index]);
            if member.slots.iter().any(|s| s.track == Some(track.id)) {
                continue;
            }
            let is_free = |s: &Slot| s.kind == kind && s.track.is_none();
            let fits = |s: &Slot| is_free(s) && carries(&s.codecs, track);
            match member.slots.iter().position(fits) {
                Some(slot) => self.put(at, slot, Some(track.id), out),
                None => missing += 1,
            }
        }
        missing
    }

    /// Whether a member is to see a track.
    fn wants(&self, member: &Member, track: &Track) -> bool {
        if track.publisher == member.address.participant {
            return false;
        }
        match &member.role {
            Role::Whep { only: Some(name) } => {
                self.member(track.publisher).is_some_and(|p| p.name == *name)
            }
            _ => true,
        }
    }

    /// Empties slots of a kind whose track is none of these, or turned out to come in a codec that
    /// they cannot carry.
    fn vacate(&mut self, at: usize, kind: Kind, chosen: &[usize], out: &mut Vec<Outgoing>) {
        for slot in 0..self.members[at].slots.len() {
            let place = &self.members[at].slots[slot];
            let Some(id) = place.track.filter(|_| place.kind == kind) else {
                continue;
            };
            let track = chosen.iter().map(|&index| &self.tracks[index]).find(|t| t.id == id);
            if !track.is_some_and(|track| carries(&place.codecs, track)) {
                self.put(at, slot, None, out);
            }
        }
    }

    /// Puts a track (or nothing) into a slot, and keeps the relays between workers right.
    pub(super) fn put(
        &mut self,
        at: usize,
        slot: usize,
        track: Option<TrackId>,
        out: &mut Vec<Outgoing>,
    ) {
        let member = &mut self.members[at];
        let address = member.address;
        let place = &mut member.slots[slot];
        let old = std::mem::replace(&mut place.track, track);
        if old == track {
            return;
        }
        let mid = place.mid.clone();
        if let Some(old) = old {
            self.hold(old, address.worker, -1, out);
            self.lower_demand(old, self.members[at].want(old));
        }
        let seat = track.map(|id| {
            let want = self.members[at].want(id);
            self.hold(id, address.worker, 1, out);
            self.raise_demand(id, want);
            let track = self.tracks.iter().find(|t| t.id == id).expect("only tracks of the room");
            let state = self.state_of(track);
            let Track { kind, source, worker, .. } = *track;
            Seat { track: TrackRef { id, kind, source, worker }, state, want }
        });
        let letter = ToWorker::Peer(address.participant, PeerLetter::Assign { mid, seat });
        out.push(Outgoing::Worker(address.worker, letter));
    }

    /// One slot more or less of `worker` holds `track`; the first and the last are the
    /// publisher's worker's business.
    fn hold(&mut self, track: TrackId, worker: WorkerId, change: isize, out: &mut Vec<Outgoing>) {
        let count = self.holders.entry((track, worker)).or_default();
        *count = count.checked_add_signed(change).expect("only what was held is let go");
        let edge = matches!((*count, change), (0, -1) | (1, 1));
        if *count == 0 {
            self.holders.remove(&(track, worker));
        }
        let publisher = self.tracks.iter().find(|t| t.id == track).map(|t| t.worker);
        if let Some(publisher) = publisher.filter(|p| edge && *p != worker) {
            let letter = TrackLetter::Relay { to: worker, wanted: change > 0 };
            out.push(Outgoing::Worker(publisher, ToWorker::Track(track, letter)));
        }
    }

    /// Says once that a track cannot be shown here.
    fn refuse(&mut self, at: usize, index: usize, out: &mut Vec<Outgoing>) {
        let (member, track) = (&mut self.members[at], &self.tracks[index]);
        if !member.unsupported.insert(track.id) || member.role != Role::Participant {
            return;
        }
        let codec = track.codec.map_or("an unknown codec", |c| c.name());
        let message = ServerMessage::TrackError {
            track: track.id,
            code: ErrorCode::CodecUnsupported,
            message: format!("sent as {codec}, which this client did not offer to receive"),
        };
        out.push(Outgoing::Gate(ToGate::Event { to: vec![member.address.session], message }));
    }

    fn tell_slots(&mut self, at: usize, missing: MissingSlots, out: &mut Vec<Outgoing>) {
        let member = &mut self.members[at];
        let now = (member.slot_views(), missing);
        if member.role != Role::Participant || now == member.told {
            return;
        }
        member.told = now.clone();
        let message = ServerMessage::Slots { slots: now.0, missing: now.1 };
        out.push(Outgoing::Gate(ToGate::Event { to: vec![member.address.session], message }));
    }
}

/// Whether a slot with these codecs can carry the track; one whose codec is not known yet, all can.
fn carries(codecs: &[crate::wire::codec::Codec], track: &Track) -> bool {
    track.codec.is_none_or(|sent| codecs.iter().any(|c| c.accepts(sent) > 0))
}
