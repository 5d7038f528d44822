//! Who speaks in a room: told to everybody, and to the workers that choose what their clients see.

use std::collections::BTreeSet;
use std::time::Instant;

use super::mail::{Outgoing, Role, ToGate, ToWorker, TrackLetter, TrackState};
use super::members::{Room, Track};
use crate::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use crate::wire::codec::Kind;
use crate::wire::signal::{ServerMessage, Source};

/// What was last told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    dominant: Option<ParticipantId>,
    speaking: Vec<ParticipantId>,
}

impl Room {
    /// When the room has something to decide by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.speakers.deadline()
    }

    /// Decides who speaks, if it is time; `true` if slots have to be assigned anew.
    pub(super) fn listen(&mut self, now: Instant, out: &mut Vec<Outgoing>) -> bool {
        let changes = self.speakers.decide(now);
        let (has_news, is_dominant_new) = (changes.dominant || changes.speaking, changes.dominant);
        let is_heard_new = !changes.heard.is_empty() || !changes.unheard.is_empty();
        for (ids, heard) in [(changes.heard, true), (changes.unheard, false)] {
            for track in self.tracks.iter_mut().filter(|t| ids.contains(&t.id)) {
                track.heard = heard;
            }
        }
        if has_news {
            self.tell_speakers(is_dominant_new, out);
        }
        is_heard_new || is_dominant_new
    }

    fn publisher_of(&self, track: TrackId) -> Option<ParticipantId> {
        self.tracks.iter().find(|t| t.id == track).map(|t| t.publisher)
    }

    fn tell_speakers(&mut self, is_dominant_new: bool, out: &mut Vec<Outgoing>) {
        let dominant = self.speakers.dominant().and_then(|track| self.publisher_of(track));
        let speaking = self.speakers.speaking().filter_map(|s| self.publisher_of(s.track));
        let speaking: BTreeSet<ParticipantId> = speaking.collect();
        if is_dominant_new && let Some(dominant) = dominant {
            self.turns += 1;
            let turn = self.turns;
            let mut members = self.members.iter_mut();
            if let Some(member) = members.find(|m| m.address.participant == dominant) {
                member.spoke = turn;
            }
        }
        let mut changed = Vec::new();
        for member in &mut self.members {
            let id = member.address.participant;
            let speaks = speaking.contains(&id) || dominant == Some(id);
            if std::mem::replace(&mut member.speaks, speaks) != speaks {
                changed.push(id);
            }
        }
        for track in &self.tracks {
            if track.source == Source::Camera && changed.contains(&track.publisher) {
                self.tell_state(track, out);
            }
        }
        let spoken = Spoken { dominant, speaking: speaking.into_iter().collect() };
        if spoken != self.spoken {
            self.spoken = spoken;
            let to = self.members.iter().filter(|m| m.role == Role::Participant);
            self.say_speakers(to.map(|m| m.address.session).collect(), out);
        }
    }

    /// Tells sessions who speaks.
    pub(super) fn say_speakers(&self, to: Vec<SessionId>, out: &mut Vec<Outgoing>) {
        let Spoken { dominant, speaking } = self.spoken.clone();
        if !to.is_empty() {
            let message = ServerMessage::Speakers { dominant, speaking };
            out.push(Outgoing::Gate(ToGate::Event { to, message }));
        }
    }

    /// Whether there is anything to tell of who speaks.
    pub(super) fn has_speakers(&self) -> bool {
        self.spoken != Spoken::default()
    }

    /// What subscribers' workers go by.
    pub(super) fn state_of(&self, track: &Track) -> TrackState {
        let speaking = self.member(track.publisher).is_some_and(|m| m.speaks);
        let speaking = speaking && track.source == Source::Camera;
        TrackState { speaking, muted: track.muted, limited: track.limited }
    }

    /// Tells each worker where somebody receives a picture how it stands.
    pub(super) fn tell_state(&self, track: &Track, out: &mut Vec<Outgoing>) {
        if track.kind != Kind::Video {
            return;
        }
        let letter = TrackLetter::State(self.state_of(track));
        let all = (track.id, WorkerId(0))..=(track.id, WorkerId(u16::MAX));
        for (_, worker) in self.holders.range(all).map(|(key, _)| key) {
            out.push(Outgoing::Worker(*worker, ToWorker::Track(track.id, letter)));
        }
    }

    /// A track came, or is muted or not. A microphone of which nothing was decided yet is not heard.
    pub(super) fn follow_voice(&mut self, id: TrackId, now: Instant) {
        let Some(track) = self.tracks.iter_mut().find(|t| t.id == id) else { return };
        if track.source != Source::Microphone {
            // The sound of a screen is no voice, and is heard with its screen.
            track.heard = true;
            return self.speakers.remove(id, now);
        }
        self.speakers.add(id, now);
        track.heard = self.speakers.is_heard(id);
        if track.muted {
            self.speakers.silence(id, now);
        }
    }
}
