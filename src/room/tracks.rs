//! What a room's members send: who may, what it is, and when it is no more.

#![expect(clippy::indexing_slicing, reason = "places in the tables were found in the same call")]

use std::collections::BTreeSet;
use std::time::Instant;

use super::mail::{Outgoing, Role, ToGate, TrackOffer, Update};
use super::members::{Member, Room, Track};
use super::wants::Demand;
use crate::base::ids::{ParticipantId, TrackId, WorkerId};
use crate::wire::signal::{ErrorCode, Limited, ServerMessage};

impl Room {
    /// Whether a participant may send beside those who do already.
    pub(super) fn may_publish(&self, participant: ParticipantId) -> bool {
        let others = self.tracks.iter().map(|t| t.publisher).filter(|p| *p != participant);
        others.collect::<BTreeSet<_>>().len() < self.settings.publishers_max
    }

    /// Whether one more may send. Those who came by WHIP are here for nothing else.
    pub(super) fn has_place_to_publish(&self) -> bool {
        let silent = |m: &&Member| {
            m.role == Role::Whip && self.tracks_of(m.address.participant).next().is_none()
        };
        let coming = self.members.iter().filter(silent).count();
        let sending = self.tracks.iter().map(|t| t.publisher).collect::<BTreeSet<_>>().len();
        sending + coming < self.settings.publishers_max
    }

    pub(super) fn set_track(
        &mut self,
        publisher: ParticipantId,
        worker: WorkerId,
        offer: TrackOffer,
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) {
        let id = offer.id;
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
                    limited: Limited::None,
                    codec: None,
                    heard: false,
                    demand: Demand::default(),
                    told_demand: None,
                };
                let view = track.view();
                self.tracks.push(track);
                // Told even if nobody sees it.
                self.demands.push(id);
                ServerMessage::TrackAdded { participant: publisher, track: view }
            }
        };
        self.tell_others(publisher, message, out);
        self.follow_voice(id, now);
        if let Some(track) = self.tracks.iter().find(|t| t.id == id) {
            self.tell_state(track, out);
        }
    }

    /// Takes a track out of the room and out of every slot. Telling is the caller's.
    pub(super) fn remove_track(&mut self, track: TrackId, now: Instant, out: &mut Vec<Outgoing>) {
        self.speakers.remove(track, now);
        for at in 0..self.members.len() {
            self.members[at].unsupported.remove(&track);
            self.members[at].wants.remove(&track);
            for slot in 0..self.members[at].slots.len() {
                if self.members[at].slots[slot].track == Some(track) {
                    self.put(at, slot, None, out);
                }
            }
        }
        self.tracks.retain(|t| t.id != track);
    }

    pub(super) fn update(
        &mut self,
        participant: ParticipantId,
        update: Update,
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) {
        let Update { mid, muted, limited, request } = update;
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
        let is_news = changed || limited.is_some_and(|limited| limited != track.limited);
        track.muted = muted;
        track.limited = limited.unwrap_or(track.limited);
        let (id, view) = (track.id, track.view());
        if let Some(id) = request {
            let message = ServerMessage::Ok { id };
            out.push(Outgoing::Gate(ToGate::Event { to: vec![session], message }));
        }
        if is_news && let Some(track) = self.tracks.iter().find(|t| t.id == id) {
            self.tell_state(track, out);
        }
        if changed {
            self.follow_voice(id, now);
            self.tell_others(
                participant,
                ServerMessage::TrackUpdated { participant, track: view },
                out,
            );
            self.assign_all(out);
        }
    }
}
