//! Who may do how much, and who may see what.

use super::*;
use crate::base::limits::{
    CONNS_PER_SOURCE, JOINS_PER_SOURCE, OFFERS_PER_SESSION, UPDATES_PER_SESSION,
};

#[test]
fn operators_are_on_the_machine_or_have_the_token() {
    let mut world = World::new(1);
    let status = |world: &mut World, conn: u64, path: &str, headers: &str| {
        world.ask(conn, &format!("GET {path}{headers}"), "");
        let response = world.response(ConnId(conn));
        assert!(response.status == 200 || response.headers[0].1.contains("problem+json"));
        response.status
    };
    for path in ["/metrics", "/api/rooms"] {
        world.remote = [127, 0, 0, 1].into();
        assert_eq!(status(&mut world, 1, path, ""), 200);
        for proxied in ["Forwarded: for=_", "X-Forwarded-For: 192.0.2.1", "Via: 1.1 x"] {
            assert_eq!(status(&mut world, 1, path, &format!("\r\n{proxied}")), 403, "{proxied}");
        }
        world.remote = [192, 0, 2, 1].into();
        assert_eq!(status(&mut world, 2, path, ""), 403);
        assert_eq!(status(&mut world, 2, path, "\r\nAuthorization: Bearer "), 403);
    }
    assert_eq!(status(&mut world, 2, "/healthz", ""), 200);
    world.gate.config.metrics_token = Some(Secret("right-token".into()));
    for (shown, expected) in [
        ("", 401),
        ("\r\nAuthorization: Bearer wrong-token", 401),
        ("\r\nAuthorization: Bearer right-toke", 401),
        ("\r\nAuthorization: Basic right-token", 401),
        ("\r\nAuthorization: bearer right-token", 200),
    ] {
        for conn in [1, 2] {
            assert_eq!(status(&mut world, conn, "/metrics", shown), expected, "{shown:?}");
            assert_eq!(status(&mut world, conn, "/api/rooms", shown), expected, "{shown:?}");
        }
    }
    world.ask(1, "GET /metrics", "");
    let challenge = ("WWW-Authenticate", "Bearer".into());
    assert!(world.response(ConnId(1)).headers.contains(&challenge));
}

#[test]
fn a_source_that_opens_too_many_is_turned_away_and_others_are_not() {
    let mut world = World::new(1);
    world.remote = [192, 0, 2, 1].into();
    let stay = (0..2_000).filter(|n| world.open(ConnId(*n))).count();
    assert_eq!(stay, CONNS_PER_SOURCE.burst as usize);
    world.remote = [192, 0, 2, 2].into();
    assert!(world.open(ConnId(5_000)));
    world.remote = [127, 0, 0, 1].into();
    world.ask(6_000, "GET /metrics", "");
    let body = String::from_utf8(world.response(ConnId(6_000)).body.into()).unwrap();
    let refused = 2_000 - CONNS_PER_SOURCE.burst;
    let line = format!("connections_refused_total{{reason=\"source_rate\"}} {refused}\n");
    assert!(body.contains(&line) && body.contains("trackyard_sources 3\n"), "{body}");
    // Once they are gone and the time is over, nothing of them is left.
    for conn in std::mem::take(&mut world.opened) {
        if world.gate.sources.of(conn).is_some() {
            world.drop_socket(conn, None);
        }
    }
    world.pass(Duration::from_secs(60));
    assert_eq!((world.gate.sources.len(), world.gate.poll_timeout()), (0, None));
}

#[test]
fn a_source_that_begins_too_many_sessions_is_told_to_wait() {
    let mut world = World::new(1);
    let burst = u64::from(JOINS_PER_SOURCE.burst);
    // A participant and a WHIP client are the same here.
    for n in 0..burst / 2 {
        let conn = world.socket(n);
        world.say(conn, json!({"type":"join","room":"r","name":"n"}));
        world.room_letter();
    }
    for n in burst / 2..burst {
        world.ask(n, "POST /whip/r\r\nContent-Type: application/sdp", "v=0\r\n");
        world.room_letter();
    }
    world.ask(burst, "POST /whep/r\r\nContent-Type: application/sdp", "v=0\r\n");
    let response = world.response(ConnId(burst));
    assert_eq!(response.status, 429);
    assert!(response.headers.contains(&("Retry-After", "1".into())));
    let conn = world.socket(900);
    world.say(conn, json!({"type":"join","id":7,"room":"r","name":"n"}));
    assert_eq!(world.error(conn), "rate_limited");
    // Others come in, and so does this one after a while.
    world.remote = [192, 0, 2, 1].into();
    world.joined(901, "r", "else");
    world.pass(JOINS_PER_SOURCE.interval);
    world.say(conn, json!({"type":"join","id":8,"room":"r","name":"n"}));
    world.room_letter();
}

#[test]
fn a_session_may_not_offer_or_update_without_end() {
    let mut world = World::new(1);
    let joined = world.joined(1, "r", "n");
    let mut offers = 0;
    for _ in 0..=OFFERS_PER_SESSION.burst {
        world.say(joined.conn, json!({"type":"offer","id":2,"sdp":"v=0"}));
        match world.out.pop_front() {
            Some(GateOutput::Letter(_, ToWorker::Peer(_, PeerLetter::Offer { request, .. }))) => {
                offers += 1;
                let answer = answer("abcd");
                world.letter(ToGate::Answered { session: joined.address.session, request, answer });
                world.out.clear();
            }
            Some(GateOutput::Text { text, .. }) => assert!(text.contains("rate_limited"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(offers, OFFERS_PER_SESSION.burst);
    world.pass(OFFERS_PER_SESSION.interval);
    world.say(joined.conn, json!({"type":"offer","id":2,"sdp":"v=0"}));
    world.offer_letter();
    let mut updates = 0;
    for _ in 0..=UPDATES_PER_SESSION.burst {
        world.say(joined.conn, json!({"type":"update","id":3,"mid":"0","muted":true}));
        match world.out.pop_front() {
            Some(GateOutput::Letter(_, ToWorker::Peer(_, PeerLetter::Update { update, .. }))) => {
                updates += 1;
                let to = vec![joined.address.session];
                let id = update.request.unwrap();
                world.letter(ToGate::Event { to, message: ServerMessage::Ok { id } });
                world.out.clear();
            }
            Some(GateOutput::Text { text, .. }) => assert!(text.contains("rate_limited"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(updates, UPDATES_PER_SESSION.burst);
}
