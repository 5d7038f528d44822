//! How members show each other's pictures, and what that means for those who send them.

#![expect(clippy::indexing_slicing, reason = "places in the tables were found in the same call")]

use super::mail::{Outgoing, PeerLetter, Role, ToGate, ToWorker};
use super::members::{Room, Track};
use crate::base::ids::{ParticipantId, TrackId};
use crate::wire::codec::Kind;
use crate::wire::signal::{RequestId, ServerMessage, TrackDemand, TrackWant, Want};

/// The largest at which anybody shows a track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Demand {
    width: u16,
    height: u16,
}

impl Demand {
    fn of(want: Want) -> Demand {
        match want.is_seen() {
            true => Demand { width: want.width, height: want.height },
            false => Demand::default(),
        }
    }

    fn with(self, other: Demand) -> Demand {
        Demand { width: self.width.max(other.width), height: self.height.max(other.height) }
    }

    fn view(self, track: TrackId) -> TrackDemand {
        TrackDemand { track, width: self.width, height: self.height }
    }
}

impl Room {
    /// A member says how it shows tracks of others. One that is gone meanwhile is nobody's fault.
    pub(super) fn want(
        &mut self,
        participant: ParticipantId,
        wants: Vec<TrackWant>,
        request: Option<RequestId>,
        out: &mut Vec<Outgoing>,
    ) {
        let Some(at) = self.members.iter().position(|m| m.address.participant == participant)
        else {
            return;
        };
        for TrackWant { track, want } in wants {
            if self.tracks.iter().any(|t| t.id == track && t.publisher != participant) {
                self.set_want(at, track, want, out);
            }
        }
        let session = self.members[at].address.session;
        if let Some(id) = request {
            let message = ServerMessage::Ok { id };
            out.push(Outgoing::Gate(ToGate::Event { to: vec![session], message }));
        }
        // What is pinned or out of sight comes first or last where there are too few slots.
        self.assign(participant, out);
    }

    fn set_want(&mut self, at: usize, track: TrackId, want: Want, out: &mut Vec<Outgoing>) {
        let member = &mut self.members[at];
        let before = member.wants.insert(track, want).unwrap_or_default();
        let address = member.address;
        let Some(slot) = member.slots.iter().find(|s| s.track == Some(track)) else { return };
        if before == want {
            return;
        }
        let letter = PeerLetter::Want { mid: slot.mid.clone(), want };
        out.push(Outgoing::Worker(address.worker, ToWorker::Peer(address.participant, letter)));
        self.raise_demand(track, want);
        self.lower_demand(track, before);
    }

    /// A slot shows a track so.
    pub(super) fn raise_demand(&mut self, id: TrackId, want: Want) {
        let demand = |track: &Track| track.demand.with(Demand::of(want));
        if let Some(track) = self.tracks.iter_mut().find(|t| t.id == id)
            && track.demand != demand(track)
        {
            track.demand = demand(track);
            self.demands.push(id);
        }
    }

    /// A slot no longer shows a track so.
    pub(super) fn lower_demand(&mut self, id: TrackId, want: Want) {
        let gone = Demand::of(want);
        let Some(place) = self.tracks.iter().position(|t| t.id == id) else { return };
        let before = self.tracks[place].demand;
        if gone.width < before.width && gone.height < before.height {
            return;
        }
        let mut demand = Demand::default();
        for member in &self.members {
            if member.slots.iter().any(|s| s.track == Some(id)) {
                demand = demand.with(Demand::of(member.want(id)));
            }
            if demand == before {
                return;
            }
        }
        self.tracks[place].demand = demand;
        self.demands.push(id);
    }

    /// Tells publishers at what size they are seen, where that changed.
    pub(super) fn tell_demands(&mut self, out: &mut Vec<Outgoing>) {
        for id in std::mem::take(&mut self.demands) {
            let Some(track) = self.tracks.iter_mut().find(|t| t.id == id) else { continue };
            if track.kind != Kind::Video || track.told_demand == Some(track.demand) {
                continue;
            }
            track.told_demand = Some(track.demand);
            let (view, publisher) = (track.demand.view(id), track.publisher);
            self.tell_publisher(publisher, vec![view], out);
        }
    }

    /// The same of all that a publisher sends, for one that may have missed it.
    pub(super) fn repeat_demands(&self, publisher: ParticipantId, out: &mut Vec<Outgoing>) {
        let own = self.tracks.iter().filter(|t| t.publisher == publisher && t.kind == Kind::Video);
        let views: Vec<TrackDemand> = own.map(|track| track.demand.view(track.id)).collect();
        if !views.is_empty() {
            self.tell_publisher(publisher, views, out);
        }
    }

    fn tell_publisher(
        &self,
        publisher: ParticipantId,
        tracks: Vec<TrackDemand>,
        out: &mut Vec<Outgoing>,
    ) {
        let member = self.member(publisher).filter(|m| m.role == Role::Participant);
        let Some(session) = member.map(|m| m.address.session) else { return };
        let message = ServerMessage::Demand { tracks };
        out.push(Outgoing::Gate(ToGate::Event { to: vec![session], message }));
    }
}
