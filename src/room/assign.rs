//! Which track sits in which slot: everybody gets everybody's tracks, in the order in which they
//! were published, as long as there are slots that can carry them. A track that sits stays.

#![expect(
    clippy::indexing_slicing,
    clippy::expect_used,
    reason = "places in the tables were found in the same call, and what a slot holds exists"
)]

use super::mail::{Outgoing, PeerLetter, Role, ToGate, ToWorker, TrackLetter, TrackRef};
use super::members::{Member, Room, Track};
use crate::base::ids::{ParticipantId, TrackId, WorkerId};
use crate::wire::codec::Kind;
use crate::wire::signal::{ErrorCode, MissingSlots, ServerMessage};

/// What becomes of a track that a member wants and has in no slot.
enum Place {
    Slot(usize),
    /// All slots that could carry it are taken, or there is none of its kind yet.
    Missing,
    /// There are slots of its kind, and none can carry its codec.
    Unsupported,
}

impl Room {
    /// Brings every member's slots up to date.
    pub(super) fn assign_all(&mut self, out: &mut Vec<Outgoing>) {
        for at in 0..self.members.len() {
            self.assign_at(at, out);
        }
    }

    /// Brings one member's slots up to date.
    pub(super) fn assign(&mut self, participant: ParticipantId, out: &mut Vec<Outgoing>) {
        if let Some(at) = self.members.iter().position(|m| m.address.participant == participant) {
            self.assign_at(at, out);
        }
    }

    fn assign_at(&mut self, at: usize, out: &mut Vec<Outgoing>) {
        if !self.members[at].role.subscribes() {
            return;
        }
        self.vacate(at, out);
        let mut missing = MissingSlots::default();
        for index in 0..self.tracks.len() {
            let (member, track) = (&self.members[at], &self.tracks[index]);
            let (id, kind) = (track.id, track.kind);
            let sits = member.slots.iter().any(|s| s.track == Some(id));
            if sits || !self.wants(member, track) {
                continue;
            }
            match place(member, track) {
                Place::Slot(slot) => self.put(at, slot, Some(id), out),
                Place::Unsupported => self.refuse(at, index, out),
                Place::Missing => match kind {
                    Kind::Audio => missing.audio += 1,
                    Kind::Video => missing.video += 1,
                },
            }
        }
        self.tell_slots(at, missing, out);
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

    /// Empties slots whose track turned out to come in a codec that they cannot carry.
    fn vacate(&mut self, at: usize, out: &mut Vec<Outgoing>) {
        for slot in 0..self.members[at].slots.len() {
            let Some(id) = self.members[at].slots[slot].track else {
                continue;
            };
            let track = self.tracks.iter().find(|t| t.id == id).expect("a slot's track exists");
            if !carries(&self.members[at].slots[slot].codecs, track) {
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
        }
        let track = track.map(|id| {
            self.hold(id, address.worker, 1, out);
            let track = self.tracks.iter().find(|t| t.id == id).expect("only tracks of the room");
            TrackRef { id, kind: track.kind, source: track.source, worker: track.worker }
        });
        let letter = ToWorker::Peer(address.participant, PeerLetter::Assign { mid, track });
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

fn place(member: &Member, track: &Track) -> Place {
    let mut of_kind =
        member.slots.iter().enumerate().filter(|(_, s)| s.kind == track.kind).peekable();
    if of_kind.peek().is_none() {
        return Place::Missing;
    }
    let mut able = of_kind.filter(|(_, s)| carries(&s.codecs, track)).peekable();
    if able.peek().is_none() {
        return Place::Unsupported;
    }
    match able.find(|(_, s)| s.track.is_none()) {
        Some((slot, _)) => Place::Slot(slot),
        None => Place::Missing,
    }
}

/// Whether a slot with these codecs can carry the track; one whose codec is not known yet, all can.
fn carries(codecs: &[crate::wire::codec::Codec], track: &Track) -> bool {
    track.codec.is_none_or(|sent| codecs.iter().any(|c| c.accepts(sent) > 0))
}

#[cfg(test)]
mod tests;
