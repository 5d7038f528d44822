use super::*;

#[test]
fn everybody_gets_everybodys_tracks() {
    let mut s = Scene::new();
    for id in 1..=3 {
        s.join(id, 0, Role::Participant);
    }
    s.negotiate(1, &[11], &[("a", VP8), ("b", VP8)]);
    s.negotiate(2, &[22], &[("a", VP8), ("b", VP8)]);
    let mut got = s.assignments();
    got.sort();
    assert_eq!(got, [(1, "a".into(), Some(22)), (2, "a".into(), Some(11))]);
    s.negotiate(3, &[], &[("a", VP8)]);
    assert_eq!(s.assignments(), [(3, "a".into(), Some(11))]);
    s.handle(RoomLetter::Leave { participant: ParticipantId(1), reason: LeaveReason::Left });
    let got = s.assignments();
    assert!(got.contains(&(3, "a".into(), None)));
    assert!(got.contains(&(3, "a".into(), Some(22))), "the slot goes to whoever waited: {got:?}");
}

#[test]
fn missing_slots_are_counted_until_they_are_there() {
    let mut s = Scene::new();
    s.join(1, 0, Role::Participant);
    s.join(2, 0, Role::Participant);
    s.negotiate(2, &[21, 22], &[]);
    let missing = |events: Vec<ServerMessage>| match events.last() {
        Some(ServerMessage::Slots { missing, .. }) => missing.video,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(s.events(1)), 2);
    s.negotiate(1, &[], &[("a", VP8)]);
    assert_eq!(missing(s.events(1)), 1);
    s.negotiate(1, &[], &[("a", VP8), ("b", VP8)]);
    assert_eq!(missing(s.events(1)), 0);
}

#[test]
fn a_codec_that_no_slot_takes_is_an_error_said_once() {
    let mut s = Scene::new();
    s.join(1, 0, Role::Participant);
    s.join(2, 0, Role::Participant);
    s.negotiate(1, &[], &[("a", VP8)]);
    s.negotiate(2, &[21], &[]);
    assert_eq!(
        s.assignments(),
        [(1, "a".into(), Some(21))],
        "any slot, while the codec is unknown"
    );
    let codec = RoomLetter::TrackCodec { track: TrackId(21), codec: Codec::Av1 { profile: 0 } };
    s.handle(codec);
    let events = s.events(1);
    let errors = events.iter().filter(|e| {
        matches!(e, ServerMessage::TrackError { code: ErrorCode::CodecUnsupported, message, .. } if message.contains("AV1"))
    });
    assert_eq!(errors.count(), 1, "{events:?}");
    assert!(
        matches!(events.last(), Some(ServerMessage::Slots { missing, .. }) if missing.video == 0)
    );
    s.negotiate(2, &[21, 22], &[]);
    assert_eq!(s.assignments(), [(1, "a".into(), Some(22))], "the slot is free for others");
}

#[test]
fn a_track_is_relayed_once_to_each_worker_that_needs_it() {
    let mut s = Scene::new();
    s.join(1, 0, Role::Participant);
    s.negotiate(1, &[11], &[]);
    for id in 2..=4 {
        s.join(id, if id == 2 { 0 } else { 1 }, Role::Whep { only: None });
        s.negotiate(id, &[], &[("a", VP8)]);
    }
    assert_eq!(s.relays(), [(11, 1, true)]);
    s.handle(RoomLetter::Leave { participant: ParticipantId(3), reason: LeaveReason::Left });
    assert_eq!(s.relays(), []);
    s.handle(RoomLetter::Leave { participant: ParticipantId(4), reason: LeaveReason::Left });
    assert_eq!(s.relays(), [(11, 1, false)]);
}

#[test]
fn a_named_viewer_sees_that_participant_alone() {
    let mut s = Scene::new();
    s.join(9, 0, Role::Whep { only: Some("n2".into()) });
    s.negotiate(9, &[], &[("a", VP8), ("b", VP8)]);
    for id in 1..=2 {
        s.join(id, 0, Role::Whip);
        s.negotiate(id, &[id * 10], &[]);
    }
    assert_eq!(s.assignments(), [(9, "a".into(), Some(20))]);
}

#[test]
fn a_new_peer_gets_its_slots_filled_again() {
    let mut s = Scene::new();
    s.join(1, 0, Role::Participant);
    s.join(2, 0, Role::Whip);
    s.negotiate(2, &[20], &[]);
    s.negotiate(1, &[], &[("a", VP8)]);
    s.assignments();
    let slots = vec![SlotOffer { mid: "a".into(), kind: Kind::Video, codecs: VP8.to_vec() }];
    s.handle(RoomLetter::Negotiated {
        participant: ParticipantId(1),
        fresh: true,
        tracks: Vec::new(),
        slots,
    });
    let told = s.out.iter().any(|letter| {
        matches!(letter, Outgoing::Gate(ToGate::Event { message: ServerMessage::Slots { .. }, .. }))
    });
    assert!(told, "and hears of it, though nothing differs from what the old one knew");
    let got = s.assignments();
    assert_eq!(got.last(), Some(&(1, "a".into(), Some(20))), "{got:?}");
}

#[test]
fn rooms_end_when_empty() {
    let mut s = Scene::new();
    s.join(1, 0, Role::Participant);
    assert_eq!(s.rooms.len(), 1);
    s.handle(RoomLetter::Leave { participant: ParticipantId(1), reason: LeaveReason::Left });
    assert!(s.rooms.is_empty());
}
