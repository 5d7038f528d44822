use super::*;
use crate::base::limits::{SESSIONS_MAX, WS_JOIN_TIMEOUT};

#[test]
fn the_first_error_is_answered_and_does_not_close() {
    let mut w = World::new(1);
    let c = w.socket(1);
    for (message, code) in [
        (json!({"type":"offer","id":7,"sdp":"v=0"}), "not_joined"),
        (json!({"type":"ping","id":7}), "not_joined"),
        (json!({"type":"resume","id":7,"session":"x"}), "session_gone"),
        (json!({"type":"join","id":7,"room":" ","name":"a"}), "bad_name"),
        (json!({"type":"join","id":7,"room":"a","name":"\n"}), "bad_name"),
        (json!({"type":"join","id":7,"room":"a"}), "bad_message"),
        (json!({"type":"dance","id":7}), "unknown_type"),
    ] {
        w.say(c, message);
        let error = w.text(c);
        assert_eq!((&error["code"], &error["id"]), (&json!(code), &json!(7)));
    }
    w.give(GateInput::Text { conn: c, text: "{".into() });
    assert_eq!(w.error(c), "bad_json");
    w.give(GateInput::Binary { conn: c });
    assert_eq!(w.error(c), "bad_message");
    w.say(c, json!({"type":"join","id":8,"room":"a","name":"b"}));
    w.join_letter();
    w.say(c, json!({"type":"join","id":9,"room":"a","name":"b"}));
    assert_eq!(w.error(c), "already_joined");
    w.say(c, json!({"type":"offer","id":9,"sdp":"v=0"}));
    assert_eq!(w.error(c), "not_joined");
}

#[test]
fn many_errors_in_a_row_close_and_one_success_forgives() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    let errors = |w: &mut World, n: usize| {
        for _ in 0..n {
            w.say(a.conn, json!({"type":"dance"}));
            assert_eq!(w.error(a.conn), "unknown_type");
        }
    };
    errors(&mut w, 50);
    w.say(a.conn, json!({"type":"ping","id":1}));
    assert_eq!(w.text(a.conn), json!({"type":"pong","id":1}));
    errors(&mut w, 51);
    w.ended(LeaveReason::Closed);
    assert_eq!(w.close(a.conn), 1008);
    w.nothing();
}

#[test]
fn peers_go_to_the_idlest_worker_and_rooms_to_their_home() {
    let mut w = World::new(3);
    let joined: Vec<Joined> = (0..6).map(|i| w.joined(i, "room", &format!("p{i}"))).collect();
    let workers: Vec<u16> = joined.iter().map(|j| j.address.worker.0).collect();
    assert_eq!(workers, [0, 1, 2, 0, 1, 2]);
    assert!(joined.iter().all(|j| j.address.home == joined[0].address.home));
    w.drop_socket(joined[1].conn, Some(1001));
    w.ended(LeaveReason::Left);
    assert_eq!(w.joined(9, "other", "x").address.worker.0, 1);
}

#[test]
fn a_refused_join_leaves_the_socket_free_to_join_again() {
    let mut w = World::new(1);
    let c = w.socket(1);
    w.say(c, json!({"type":"join","id":5,"room":"a","name":"b"}));
    let (address, _, _, request) = w.join_letter();
    w.letter(ToGate::Refused {
        session: address.session,
        request,
        code: ErrorCode::RoomFull,
        message: "full".into(),
    });
    let error = w.text(c);
    assert_eq!((&error["code"], &error["id"]), (&json!("room_full"), &json!(5)));
    w.nothing();
    w.say(c, json!({"type":"join","id":6,"room":"b","name":"b"}));
    w.join_letter();
}

#[test]
fn offers_are_answered_one_after_the_other() {
    let mut w = World::new(2);
    let a = w.joined(1, "r", "a");
    let offer = |id| json!({"type":"offer","id":id,"sdp":"v=0"});
    w.say(a.conn, offer(2));
    w.say(a.conn, offer(3));
    w.say(a.conn, offer(4));
    let first = w.offer_letter();
    assert_eq!(w.error(a.conn), "server_busy");
    w.nothing();
    let session = a.address.session;
    w.letter(ToGate::Answered { session, request: first, answer: answer("u1") });
    assert_eq!(w.text(a.conn)["id"], 2);
    let candidate = w.text(a.conn);
    assert_eq!(candidate["mid"], "m");
    assert!(candidate["candidate"].as_str().unwrap().starts_with("candidate:"));
    assert_eq!(w.text(a.conn)["candidate"], "");
    let second = w.offer_letter();
    // The first one's answer, come twice, meets nobody.
    w.letter(ToGate::Answered { session, request: first, answer: answer("u1") });
    w.nothing();
    w.letter(ToGate::Refused {
        session,
        request: second,
        code: ErrorCode::BadSdp,
        message: "no".into(),
    });
    let error = w.text(a.conn);
    assert_eq!((&error["code"], &error["id"]), (&json!("bad_sdp"), &json!(3)));
    let long = "x".repeat(crate::base::limits::SDP_BYTES_MAX + 1);
    w.say(a.conn, json!({"type":"offer","id":5,"sdp":long}));
    assert_eq!(w.error(a.conn), "bad_sdp");
}

#[test]
fn what_no_worker_answers_is_answered_in_time() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.say(a.conn, json!({"type":"offer","id":2,"sdp":"v=0"}));
    w.say(a.conn, json!({"type":"update","id":3,"mid":"0","muted":true}));
    w.offer_letter();
    w.peer_letter();
    w.pass(Duration::from_secs(11));
    for id in [2, 3] {
        let error = w.text(a.conn);
        assert_eq!((&error["code"], &error["id"]), (&json!("internal"), &json!(id)));
    }
    w.nothing();
    let c = w.socket(2);
    w.say(c, json!({"type":"join","id":4,"room":"r","name":"b"}));
    w.join_letter();
    w.pass(Duration::from_secs(11));
    let error = w.text(c);
    assert_eq!((&error["code"], &error["id"]), (&json!("internal"), &json!(4)));
    w.ended(LeaveReason::Closed);
}

#[test]
fn replies_carry_the_clients_own_ids() {
    let mut w = World::new(1);
    let (a, b) = (w.joined(1, "r", "a"), w.joined(2, "r", "b"));
    let mut numbers = Vec::new();
    for (c, id) in [(a.conn, json!(5)), (b.conn, json!(5)), (a.conn, json!(null))] {
        let mut update = json!({"type":"update","id":id,"mid":"0","muted":true});
        if id.is_null() {
            update.as_object_mut().unwrap().remove("id");
        }
        w.say(c, update);
        match w.peer_letter().1 {
            PeerLetter::Update { update, .. } => numbers.push(update.request.unwrap()),
            other => panic!("{other:?}"),
        }
    }
    let ok = |session, id| ToGate::Event { to: vec![session], message: ServerMessage::Ok { id } };
    w.letter(ok(b.address.session, numbers[1]));
    assert_eq!(w.text(b.conn), json!({"type":"ok","id":5}));
    w.letter(ok(a.address.session, numbers[2]));
    w.nothing();
    w.letter(ToGate::Refused {
        session: a.address.session,
        request: Some(numbers[0]),
        code: ErrorCode::UnknownMid,
        message: "no such mid".into(),
    });
    let error = w.text(a.conn);
    assert_eq!((&error["code"], &error["id"]), (&json!("unknown_mid"), &json!(5)));
}

#[test]
fn candidates_are_looked_at_and_leave_is_answered() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.say(a.conn, json!({"type":"candidate","candidate":""}));
    w.nothing();
    w.say(
        a.conn,
        json!({"type":"candidate","id":2,"candidate":"candidate:1 1 udp 1 a 1 typ host"}),
    );
    assert_eq!(w.text(a.conn)["type"], "ok");
    for bad in ["x".to_owned(), format!("candidate:{}", "x".repeat(600))] {
        w.say(a.conn, json!({"type":"candidate","candidate":bad}));
        assert_eq!(w.error(a.conn), "bad_candidate");
    }
    w.say(a.conn, json!({"type":"offer","id":3,"sdp":"v=0"}));
    w.offer_letter();
    w.say(a.conn, json!({"type":"leave","id":4}));
    let error = w.text(a.conn);
    assert_eq!((&error["code"], &error["id"]), (&json!("session_gone"), &json!(3)));
    w.ended(LeaveReason::Left);
    assert_eq!(w.text(a.conn), json!({"type":"ok","id":4}));
    assert_eq!(w.close(a.conn), 1000);
    w.drop_socket(a.conn, Some(1000));
    w.nothing();
}

fn joined_event(name: &str) -> ServerMessage {
    ServerMessage::ParticipantJoined {
        participant: crate::wire::signal::ParticipantView {
            id: crate::base::ids::ParticipantId(1),
            name: name.into(),
            tracks: Vec::new(),
        },
    }
}

#[test]
fn a_dropped_socket_is_resumed_with_a_snapshot_before_any_event() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.drop_socket(a.conn, None);
    let to = vec![a.address.session];
    w.letter(ToGate::Event { to: to.clone(), message: joined_event("unseen") });
    w.nothing();
    w.pass(GRACE - Duration::from_millis(1));
    let c = w.socket(2);
    w.say(c, json!({"type":"resume","id":1,"session":a.secret}));
    let RoomLetter::Resume { request, .. } = w.room_letter().1 else {
        panic!("not a resume");
    };
    w.letter(ToGate::Event { to: to.clone(), message: joined_event("still unseen") });
    w.nothing();
    w.enter(a.address, request, true);
    assert!(matches!(w.next(), GateOutput::Admit { .. }));
    let joined = w.text(c);
    assert_eq!((&joined["resumed"], &joined["session"]), (&json!(true), &json!(a.secret)));
    w.letter(ToGate::Event { to, message: joined_event("seen") });
    assert_eq!(w.text(c)["participant"]["name"], "seen");
    w.pass(GRACE * 2);
    w.nothing();
}

#[test]
fn after_the_grace_the_session_is_gone() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.drop_socket(a.conn, Some(1006));
    w.pass(GRACE);
    w.ended(LeaveReason::Lost);
    let c = w.socket(2);
    w.say(c, json!({"type":"resume","id":1,"session":a.secret}));
    assert_eq!(w.error(c), "session_gone");
}

#[test]
fn a_resume_takes_the_session_from_the_older_socket() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.say(a.conn, json!({"type":"offer","id":2,"sdp":"v=0"}));
    w.say(a.conn, json!({"type":"offer","id":3,"sdp":"v=0"}));
    let old = w.offer_letter();
    let c = w.socket(2);
    w.say(c, json!({"type":"resume","id":1,"session":a.secret}));
    for id in [2, 3] {
        let error = w.text(a.conn);
        assert_eq!((&error["code"], &error["id"]), (&json!("session_gone"), &json!(id)));
    }
    assert_eq!(w.close(a.conn), 4001);
    let RoomLetter::Resume { request, .. } = w.room_letter().1 else {
        panic!("not a resume");
    };
    w.drop_socket(a.conn, None);
    w.enter(a.address, request, true);
    w.next();
    w.text(c);
    // The new socket's offer waits for the old one's answer, which nobody gets.
    w.say(c, json!({"type":"offer","id":4,"sdp":"v=0"}));
    w.nothing();
    w.letter(ToGate::Answered { session: a.address.session, request: old, answer: answer("u") });
    w.offer_letter();
    w.nothing();
    w.pass(GRACE * 2);
    assert_eq!(w.error(c), "internal");
}

#[test]
fn a_home_that_forgot_the_session_ends_its_resume() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.drop_socket(a.conn, None);
    let c = w.socket(2);
    w.say(c, json!({"type":"resume","id":1,"session":a.secret}));
    let RoomLetter::Resume { request, .. } = w.room_letter().1 else {
        panic!("not a resume");
    };
    w.letter(ToGate::Refused {
        session: a.address.session,
        request,
        code: ErrorCode::Internal,
        message: "no such room".into(),
    });
    assert_eq!(w.error(c), "session_gone");
    w.ended(LeaveReason::Closed);
    w.say(c, json!({"type":"join","id":2,"room":"r","name":"a"}));
    w.join_letter();
}

#[test]
fn a_socket_that_drops_before_joined_leaves_nothing() {
    let mut w = World::new(1);
    let c = w.socket(1);
    w.say(c, json!({"type":"join","id":1,"room":"r","name":"a"}));
    let (address, _, _, request) = w.join_letter();
    w.drop_socket(c, None);
    w.ended(LeaveReason::Lost);
    w.enter(address, request, false);
    w.nothing();
    let c = w.socket(2);
    w.pass(WS_JOIN_TIMEOUT);
    assert_eq!(w.error(c), "not_joined");
    assert_eq!(w.close(c), 1008);
}

#[test]
fn a_message_too_large_closes_but_keeps_the_session_for_a_while() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.give(GateInput::TooLarge { conn: a.conn });
    assert_eq!(w.error(a.conn), "too_large");
    assert_eq!(w.close(a.conn), 1009);
    w.nothing();
    w.pass(GRACE);
    w.ended(LeaveReason::Lost);
}

#[test]
fn a_broken_peer_leaves_the_session_and_a_broken_room_ends_it() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.say(a.conn, json!({"type":"offer","id":2,"sdp":"v=0"}));
    w.offer_letter();
    w.letter(ToGate::PeerGone {
        session: a.address.session,
        reason: LeaveReason::Closed,
        why: "panic",
    });
    assert_eq!(w.error(a.conn), "internal");
    w.say(a.conn, json!({"type":"offer","id":3,"sdp":"v=0"}));
    w.offer_letter();
    w.letter(ToGate::RoomEnded { sessions: vec![a.address.session] });
    assert_eq!(w.text(a.conn)["id"], 3);
    w.ended(LeaveReason::Closed);
    assert_eq!(w.text(a.conn), json!({"type":"closing","reason":"internal"}));
    assert_eq!(w.close(a.conn), 4002);
    w.nothing();
}

#[test]
fn draining_tells_everybody_and_takes_nobody() {
    let mut w = World::new(2);
    let a = w.joined(1, "r", "a");
    let waiting = w.socket(2);
    w.say(a.conn, json!({"type":"offer","id":2,"sdp":"v=0"}));
    w.offer_letter();
    w.ask(3, "POST /whip/r\r\nContent-Type: application/sdp", "v=0");
    w.join_letter();
    w.give(GateInput::Drain);
    assert_eq!(w.error(a.conn), "shutdown");
    assert_eq!(w.response(ConnId(3)).status, 503);
    for conn in [a.conn, waiting] {
        assert_eq!(w.text(conn), json!({"type":"closing","reason":"shutdown"}));
        assert_eq!(w.close(conn), 1012);
    }
    for i in 0..2 {
        let GateOutput::Letter(worker, ToWorker::Drain) = w.next() else {
            panic!("not a drain");
        };
        assert_eq!(worker, WorkerId(i));
    }
    w.give(GateInput::Drain);
    w.ask(4, "POST /whip/r\r\nContent-Type: application/sdp", "v=0");
    assert_eq!(w.response(ConnId(4)).status, 503);
    w.ask(5, "GET /healthz", "");
    assert_eq!(w.response(ConnId(5)).status, 503);
    for i in [0, 0, 1] {
        w.nothing();
        w.letter(ToGate::Drained { worker: WorkerId(i) });
    }
    assert!(matches!(w.next(), GateOutput::Drained));
    w.pass(GRACE * 10);
    w.nothing();
}

#[test]
fn the_server_is_full_at_its_limit() {
    let mut w = World::new(1);
    for i in 0..SESSIONS_MAX as u64 {
        let [_, _, high, low] = (i as u32 / 100).to_be_bytes();
        w.remote = [198, 51, high, low].into();
        w.ask(i, "POST /whip/r\r\nContent-Type: application/sdp", "v=0");
    }
    w.out.clear();
    let c = w.socket(1_000_000);
    w.say(c, json!({"type":"join","id":1,"room":"r","name":"a"}));
    assert_eq!(w.error(c), "server_busy");
}
