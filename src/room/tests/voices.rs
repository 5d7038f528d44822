use std::time::Duration;

use super::*;
use crate::media::speakers::Summary;

impl Scene {
    /// These microphones speak for so long, and nobody else.
    fn speak(&mut self, tracks: &[u64], millis: u64) {
        for _ in 0..millis / 100 {
            for track in tracks {
                let summary = Summary { frames: 5, voiced: 0b11111, level: 30 };
                self.handle(RoomLetter::Levels { track: TrackId(*track), summary });
            }
            self.pass(100);
        }
    }

    /// Time passes, with all that comes due.
    fn pass(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some(at) = self.rooms.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            while let Some(name) = self.rooms.due(self.now) {
                let from = self.out.len();
                self.rooms.decide(&name, self.now, &mut self.out);
                self.rooms.check_invariants();
                self.note(from);
            }
        }
        self.now = end;
    }

    /// The last word that a session heard of who speaks.
    fn speakers(&mut self, session: u64) -> Option<(Option<u64>, Vec<u64>)> {
        let of = |message| match message {
            ServerMessage::Speakers { dominant, speaking } => {
                Some((dominant.map(|id| id.0), speaking.into_iter().map(|id| id.0).collect()))
            }
            _ => None,
        };
        self.events(session).into_iter().filter_map(of).next_back()
    }
}

/// A viewer with a slot for sound and two for pictures on worker 1, and these with camera and
/// microphone on worker 0.
fn meeting(settings: RoomSettings, people: u64) -> Scene {
    let mut s = Scene::with(settings);
    s.join(99, 1, Role::Participant);
    s.negotiate(99, &[], &[("m", OPUS), ("n", VP8), ("o", VP8), ("ma", OPUS), ("mb", OPUS)]);
    for id in 1..=people {
        s.join(id, 0, Role::Participant);
        s.negotiate(id, &[10 * id, 1_000 + id], &[]);
    }
    s.pass(500);
    s
}

#[test]
fn who_speaks_is_told_and_seen() {
    let mut s = meeting(RoomSettings::default(), 3);
    assert_eq!(s.speakers(99), None);
    assert_eq!(s.seats(99), [10, 20, 1_001, 1_002, 1_003]);
    s.speak(&[1_003], 600);
    assert_eq!(s.seats(99), [10, 30, 1_001, 1_002, 1_003], "last-n, by who spoke");
    s.speak(&[1_003], 200);
    assert_eq!(s.speakers(99), Some((Some(3), vec![3])));
    s.pass(2_000);
    assert_eq!(s.speakers(99), Some((Some(3), vec![])), "keeps the word in silence");
    s.join(98, 0, Role::Participant);
    assert_eq!(s.speakers(98), Some((Some(3), vec![])), "who comes later hears it");
    s.handle(RoomLetter::Leave { participant: ParticipantId(3), reason: LeaveReason::Left });
    s.pass(100);
    assert_eq!(s.speakers(99), Some((None, vec![])));
}

#[test]
fn workers_hear_who_speaks_where_it_is_seen() {
    let mut s = meeting(RoomSettings::default(), 2);
    s.out.clear();
    s.speak(&[1_001], 600);
    let states = |s: &mut Scene| -> Vec<(u16, u64, bool)> {
        let letters = std::mem::take(&mut s.out).into_iter();
        letters
            .filter_map(|letter| match letter {
                Outgoing::Worker(w, ToWorker::Track(t, TrackLetter::State(state))) => {
                    Some((w.0, t.0, state.speaking))
                }
                _ => None,
            })
            .collect()
    };
    assert_eq!(states(&mut s), [(1, 10, true)], "only where the picture is, and not the sound");
    s.speak(&[1_002], 3_000);
    let told = states(&mut s);
    assert!(told.contains(&(1, 20, true)) && told.contains(&(1, 10, false)), "{told:?}");
}

#[test]
fn of_many_microphones_the_loudest_are_heard() {
    let mut s = meeting(RoomSettings { heard_max: 2, ..RoomSettings::default() }, 4);
    let heard =
        |s: &Scene| -> Vec<u64> { s.seats(99).into_iter().filter(|id| *id >= 1_000).collect() };
    assert_eq!(heard(&s), [1_001, 1_002]);
    s.pass(4_000);
    s.speak(&[1_004], 400);
    let now = heard(&s);
    assert!(now.contains(&1_004) && now.len() == 2, "{now:?}");
}

#[test]
fn a_mute_ends_a_voice() {
    let mut s = meeting(RoomSettings::default(), 2);
    s.speak(&[1_002], 800);
    assert_eq!(s.speakers(99), Some((Some(2), vec![2])));
    let update = Update { mid: "1002".into(), muted: true, limited: None, request: None };
    s.handle(RoomLetter::Update { participant: ParticipantId(2), update });
    s.pass(100);
    assert_eq!(s.speakers(99), Some((None, vec![])));
}
