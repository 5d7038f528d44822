use super::*;
use crate::wire::signal::{TrackWant, Want};

impl Scene {
    fn want(&mut self, id: u64, wants: &[(u64, Want)]) {
        let want = |(track, want): &(u64, Want)| TrackWant { track: TrackId(*track), want: *want };
        let wants = wants.iter().map(want).collect();
        self.handle(RoomLetter::Want { participant: ParticipantId(id), wants, request: None });
    }

    /// What a publisher was told since the last call: width and height of each track.
    fn demands(&mut self, session: u64) -> Vec<(u64, u16, u16)> {
        let of_message = |message| match message {
            ServerMessage::Demand { tracks } => tracks,
            _ => Vec::new(),
        };
        let all = self.events(session).into_iter().flat_map(of_message);
        all.map(|demand| (demand.track.0, demand.width, demand.height)).collect()
    }
}

fn sized(width: u16, height: u16) -> Want {
    Want { width, height, ..Want::default() }
}

const ALL: u16 = u16::MAX;

/// One publishes to two.
fn seen_by_two() -> Scene {
    let mut s = Scene::new();
    (1..=3).for_each(|id| s.join(id, id as u16, Role::Participant));
    s.negotiate(1, &[10, 1_010], &[]);
    assert_eq!(s.demands(1), [(10, 0, 0)], "told though nobody sees it; of sound nothing is");
    s.negotiate(2, &[], &[("a", VP8)]);
    assert_eq!(s.demands(1), [(10, ALL, ALL)]);
    s.negotiate(3, &[], &[("a", VP8)]);
    assert_eq!(s.demands(1), []);
    s
}

#[test]
fn a_publisher_hears_of_the_largest_size() {
    let mut s = seen_by_two();
    s.want(2, &[(10, sized(640, 180))]);
    assert_eq!(s.demands(1), [], "the other one has not said");
    s.want(3, &[(10, sized(320, 360))]);
    assert_eq!(s.demands(1), [(10, 640, 360)]);
    s.want(2, &[(10, sized(0, 0))]);
    assert_eq!(s.demands(1), [(10, 320, 360)]);
    s.want(3, &[(10, Want { paused: true, ..sized(320, 360) })]);
    assert_eq!(s.demands(1), [(10, 0, 0)]);
    s.want(2, &[(10, sized(1_280, 720))]);
    assert_eq!(s.demands(1), [(10, 1_280, 720)]);
    s.handle(RoomLetter::Leave { participant: ParticipantId(2), reason: LeaveReason::Left });
    assert_eq!(s.demands(1), [(10, 0, 0)]);
    s.handle(RoomLetter::Resume { participant: ParticipantId(1), request: None });
    assert_eq!(s.demands(1), [(10, 0, 0)], "who comes back may have missed it");
}

#[test]
fn a_want_goes_to_the_slot_and_stays_with_the_track() {
    let mut s = seen_by_two();
    s.out.clear();
    s.want(2, &[(10, sized(320, 180)), (77, sized(1, 1))]);
    let told = |s: &mut Scene| -> Vec<(u64, String, Want)> {
        let letters = std::mem::take(&mut s.out).into_iter();
        letters
            .filter_map(|letter| match letter {
                Outgoing::Worker(_, ToWorker::Peer(p, PeerLetter::Want { mid, want })) => {
                    Some((p.0, mid, want))
                }
                Outgoing::Worker(_, ToWorker::Peer(p, PeerLetter::Assign { mid, seat })) => {
                    seat.map(|seat| (p.0, mid, seat.want))
                }
                _ => None,
            })
            .collect()
    };
    assert_eq!(told(&mut s), [(2, "a".into(), sized(320, 180))]);
    s.want(2, &[(10, sized(320, 180))]);
    assert_eq!(told(&mut s), [], "that was known");
    s.negotiate(2, &[], &[]);
    s.negotiate(2, &[], &[("b", VP8)]);
    assert_eq!(told(&mut s), [(2, "b".into(), sized(320, 180))]);
}

#[test]
fn what_is_pinned_or_in_sight_gets_the_slots_there_are() {
    let mut s = Scene::new();
    s.join(9, 0, Role::Participant);
    s.negotiate(9, &[], &[("a", VP8), ("b", VP8)]);
    for id in 1..=4 {
        s.join(id, 0, Role::Participant);
        s.negotiate(id, &[10 * id], &[]);
    }
    assert_eq!(s.seats(9), [10, 20]);
    s.want(9, &[(10, sized(0, 0))]);
    assert_eq!(s.seats(9), [20, 30]);
    s.want(9, &[(40, Want { pinned: true, ..Want::default() })]);
    assert_eq!(s.seats(9), [20, 40]);
    s.want(9, &[(40, Want::default()), (10, Want::default())]);
    assert_eq!(s.seats(9), [10, 20]);
    s.negotiate(3, &[30, 2_030], &[]);
    assert_eq!(s.seats(9), [10, 2_030], "a screen");
}

#[test]
fn nobody_gets_more_pictures_than_may_be() {
    let mut s = Scene::with(RoomSettings { last_n: 2, ..RoomSettings::default() });
    s.join(9, 0, Role::Participant);
    for id in 1..=4 {
        s.join(id, 0, Role::Participant);
        s.negotiate(id, &[10 * id], &[]);
    }
    let missing = |s: &mut Scene| {
        let of = |message| match message {
            ServerMessage::Slots { missing, .. } => Some(missing.video),
            _ => None,
        };
        s.events(9).into_iter().filter_map(of).next_back()
    };
    assert_eq!(missing(&mut s), Some(2));
    s.negotiate(9, &[], &[("a", VP8), ("b", VP8), ("c", VP8)]);
    assert_eq!(missing(&mut s), Some(0));
    assert_eq!(s.seats(9), [10, 20]);
}

#[test]
fn no_more_send_than_may() {
    let mut s = Scene::with(RoomSettings { publishers_max: 2, ..RoomSettings::default() });
    s.join(9, 0, Role::Participant);
    s.negotiate(9, &[], &[("a", VP8), ("b", VP8), ("c", VP8)]);
    for id in 1..=3 {
        s.join(id, 0, Role::Participant);
        s.negotiate(id, &[10 * id, 10 * id + 1], &[]);
    }
    assert_eq!(s.seats(9), [10, 11, 20]);
    let refused = |s: &mut Scene| {
        let letters = std::mem::take(&mut s.out).into_iter();
        let code = |letter| match letter {
            Outgoing::Gate(ToGate::Refused { session, code, .. }) => Some((session.0, code)),
            _ => None,
        };
        letters.filter_map(code).collect::<Vec<_>>()
    };
    assert_eq!(refused(&mut s), [(3, ErrorCode::TooManyPublishers)]);
    s.join(4, 0, Role::Whip);
    assert_eq!(refused(&mut s), [(4, ErrorCode::TooManyPublishers)]);
    s.negotiate(1, &[], &[]);
    s.negotiate(3, &[30], &[]);
    assert_eq!(s.seats(9), [20, 21, 30]);
}
