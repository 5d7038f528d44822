use std::collections::BTreeSet;

use super::*;
use crate::base::limits::{CONNECT_TIMEOUT, SDP_BYTES_MAX};
use crate::room::mail::RoomReport;

const OFFER: &str = "v=0\r\na=ice-ufrag:clnt\r\na=ice-pwd:clientPasswordOf24Chars+\r\n";
const POST: &str = "POST /whip/studio\r\nContent-Type: application/sdp\r\nAuthorization: Bearer x";

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let mut found = response.headers.iter().filter(|(n, _)| *n == name);
    found.next().map_or("", |(_, value)| value)
}

fn problem(response: &Response) -> String {
    assert_eq!(header(response, "Content-Type"), "application/problem+json");
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["status"], response.status);
    let kind = body["type"].as_str().unwrap();
    kind.strip_prefix("urn:trackyard:").unwrap().to_owned()
}

/// A WHIP session; its URL.
fn whip(w: &mut World, conn: u64) -> (Address, String) {
    w.ask(conn, POST, OFFER);
    let (address, name, role, request) = w.join_letter();
    assert!(name.starts_with("whip-") && name.len() == 9);
    assert_eq!(role, Role::Whip);
    w.nothing();
    w.enter(address, request, false);
    let request = w.offer_letter();
    w.nothing();
    w.letter(ToGate::Answered { session: address.session, request, answer: answer("one") });
    let response = w.response(ConnId(conn));
    assert_eq!(response.status, 201);
    assert_eq!(header(&response, "Content-Type"), "application/sdp");
    assert_eq!(header(&response, "ETag"), "\"one\"");
    assert_eq!(header(&response, "Access-Control-Allow-Origin"), "*");
    let links: Vec<&str> =
        response.headers.iter().filter(|(n, _)| *n == "Link").map(|(_, v)| v.as_ref()).collect();
    assert_eq!(
        links,
        [
            "<stun:stun.example>; rel=\"ice-server\"",
            "<turn:turn.example?transport=udp>; rel=\"ice-server\"; username=\"u\\\"ser\"; \
             credential=\"pass\"; credential-type=\"password\"",
        ]
    );
    let url = header(&response, "Location").to_owned();
    (address, url)
}

#[test]
fn whip_is_created_and_deleted() {
    let mut w = World::new(1);
    let (address, url) = whip(&mut w, 1);
    w.drop_socket(ConnId(1), None);
    w.letter(ToGate::Connected { session: address.session });
    w.pass(CONNECT_TIMEOUT * 2);
    w.nothing();
    w.ask(2, &format!("GET {url}"), "");
    let response = w.response(ConnId(2));
    assert_eq!(response.status, 405);
    assert_eq!(header(&response, "Allow"), "PATCH, DELETE, OPTIONS");
    w.ask(2, &format!("DELETE {url}"), "");
    w.ended(LeaveReason::Left);
    assert_eq!(w.response(ConnId(2)).status, 200);
    w.ask(2, &format!("DELETE {url}"), "");
    assert_eq!(w.response(ConnId(2)).status, 404);
}

#[test]
fn whep_says_whom_it_wants() {
    let mut w = World::new(1);
    w.ask(1, "POST /whep/a%20b/Ada\r\nContent-Type: application/sdp", "v=0");
    let (_, name, role, _) = w.join_letter();
    assert_eq!(role, Role::Whep { only: Some("Ada".into()) });
    assert!(name.starts_with("whep-"));
    w.ask(2, "POST /whep/a%20b\r\nContent-Type: application/sdp", "v=0");
    assert_eq!(w.join_letter().2, Role::Whep { only: None });
    w.ask(3, "POST /whip/a%20b/B%C3%A4r\r\nContent-Type: application/sdp", "v=0");
    assert_eq!(w.join_letter().1, "Bär");
}

#[test]
fn bad_posts_are_refused() {
    let mut w = World::new(1);
    let long = "x".repeat(SDP_BYTES_MAX + 1);
    for (request, body, status, code) in [
        ("POST /whip/a", "v=0", 415, "unsupported_media_type"),
        ("POST /whip/a\r\nContent-Type: text/plain", "v=0", 415, "unsupported_media_type"),
        ("POST /whip/a\r\nContent-Type: application/sdp", &long, 413, "too_large"),
        ("POST /whip/%zz\r\nContent-Type: application/sdp", "v=0", 400, "bad_request"),
        ("POST /whip/%0a\r\nContent-Type: application/sdp", "v=0", 400, "bad_name"),
        ("POST /whip/\r\nContent-Type: application/sdp", "v=0", 400, "bad_name"),
        ("POST /whip\r\nContent-Type: application/sdp", "v=0", 404, "not_found"),
        ("POST /whip/a/b/c\r\nContent-Type: application/sdp", "v=0", 404, "not_found"),
        ("GET /whip/a", "", 405, "method_not_allowed"),
        ("GET /nothing", "", 404, "not_found"),
        ("POST /", "", 405, "method_not_allowed"),
        ("DELETE /session/x", "", 404, "not_found"),
        ("PATCH /session/x", "", 404, "not_found"),
        ("GET /r/%00", "", 400, "bad_name"),
    ] {
        w.ask(1, request, body);
        let response = w.response(ConnId(1));
        assert_eq!((response.status, &*problem(&response)), (status, code), "{request}");
        w.nothing();
    }
}

#[test]
fn a_refused_offer_undoes_the_join() {
    let mut w = World::new(1);
    w.ask(1, POST, "garbage");
    let (address, _, _, request) = w.join_letter();
    w.enter(address, request, false);
    let request = w.offer_letter();
    w.letter(ToGate::Refused {
        session: address.session,
        request,
        code: ErrorCode::BadSdp,
        message: "no m-line".into(),
    });
    let response = w.response(ConnId(1));
    assert_eq!((response.status, &*problem(&response)), (400, "bad_sdp"));
    w.ended(LeaveReason::Closed);
    w.ask(1, POST, OFFER);
    let (address, _, _, request) = w.join_letter();
    w.letter(ToGate::Refused {
        session: address.session,
        request,
        code: ErrorCode::RoomFull,
        message: "full".into(),
    });
    assert_eq!(w.response(ConnId(1)).status, 503);
    w.nothing();
}

#[test]
fn a_client_that_goes_away_while_it_waits_is_undone() {
    let mut w = World::new(1);
    w.ask(1, POST, OFFER);
    let (address, _, _, request) = w.join_letter();
    w.drop_socket(ConnId(1), None);
    w.ended(LeaveReason::Lost);
    w.enter(address, request, false);
    w.nothing();
    w.ask(2, POST, OFFER);
    w.join_letter();
    w.pass(Duration::from_secs(11));
    assert_eq!(w.response(ConnId(2)).status, 500);
    w.ended(LeaveReason::Closed);
}

#[test]
fn a_session_that_does_not_connect_or_loses_its_peer_ends() {
    let mut w = World::new(1);
    let (_, url) = whip(&mut w, 1);
    w.pass(CONNECT_TIMEOUT);
    w.ended(LeaveReason::Lost);
    w.ask(1, &format!("DELETE {url}"), "");
    assert_eq!(w.response(ConnId(1)).status, 404);
    let (address, _) = whip(&mut w, 1);
    w.letter(ToGate::PeerGone {
        session: address.session,
        reason: LeaveReason::Lost,
        why: "ice lost",
    });
    w.ended(LeaveReason::Lost);
}

const TRICKLE: &str = "a=ice-ufrag:clnt\r\na=ice-pwd:clientPasswordOf24Chars+\r\n\
    m=audio 9 RTP/AVP 0\r\na=mid:m\r\na=candidate:1 1 udp 1 192.0.2.9 1 typ host\r\n";
const RESTART: &str = "a=ice-ufrag:next\r\na=ice-pwd:anotherPasswordOf24Chars\r\n";
const HALF: &str = "a=ice-ufrag:next\r\n";

#[test]
fn patches_are_told_apart() {
    let mut w = World::new(1);
    let (_, url) = whip(&mut w, 1);
    let sdpfrag = "Content-Type: application/trickle-ice-sdpfrag";
    for (headers, body, status) in [
        ("Content-Type: application/sdp\r\nIf-Match: *".to_owned(), TRICKLE, 415),
        (sdpfrag.to_owned(), TRICKLE, 428),
        (format!("{sdpfrag}\r\nIf-Match: \"two\""), TRICKLE, 412),
        (format!("{sdpfrag}\r\nIf-Match: \"two\""), RESTART, 412),
        (format!("{sdpfrag}\r\nIf-Match: \"one\""), TRICKLE, 204),
        (format!("{sdpfrag}\r\nIf-Match: \"two\", \"one\""), TRICKLE, 204),
        (format!("{sdpfrag}\r\nIf-Match: *"), TRICKLE, 204),
        (format!("{sdpfrag}\r\nIf-Match: *"), "a=end-of-candidates\r\n", 204),
        (format!("{sdpfrag}\r\nIf-Match: *"), "hello", 400),
        (format!("{sdpfrag}\r\nIf-Match: *"), HALF, 400),
    ] {
        w.ask(2, &format!("PATCH {url}\r\n{headers}"), body);
        let response = w.response(ConnId(2));
        assert_eq!(response.status, status, "{headers} {body}");
        w.nothing();
    }
}

#[test]
fn an_ice_restart_is_answered_by_the_peer() {
    let mut w = World::new(1);
    let (address, url) = whip(&mut w, 1);
    let session = address.session;
    let patch =
        format!("PATCH {url}\r\nIf-Match: *\r\nContent-Type: application/trickle-ice-sdpfrag");
    w.ask(2, &patch, RESTART);
    match w.peer_letter().1 {
        PeerLetter::RestartIce { ufrag, pwd } => {
            assert_eq!((&*ufrag, &*pwd), ("next", "anotherPasswordOf24Chars"));
        }
        other => panic!("{other:?}"),
    }
    w.ask(3, &patch, RESTART);
    assert_eq!(w.response(ConnId(3)).status, 409);
    w.letter(ToGate::Restarted { session, result: Ok(ice("two")) });
    let response = w.response(ConnId(2));
    assert_eq!((response.status, header(&response, "ETag")), (200, "\"two\""));
    let body = String::from_utf8(response.body.into_owned()).unwrap();
    for line in ["a=mid:m", "a=ice-ufrag:two", "a=candidate:1 1", "a=end-of-candidates"] {
        assert!(body.contains(&format!("\r\n{line}")), "{body}");
    }
    // The new credentials are now the known ones, and the old ETag is not.
    w.ask(2, &patch, RESTART);
    assert_eq!(w.response(ConnId(2)).status, 204);
    w.ask(2, &patch.replace('*', "\"one\""), RESTART);
    assert_eq!(w.response(ConnId(2)).status, 412);
    // Refused, unanswered, and abandoned restarts leave the session as it is.
    w.ask(2, &patch, TRICKLE);
    w.peer_letter();
    w.letter(ToGate::Restarted { session, result: Err("no peer".into()) });
    assert_eq!(w.response(ConnId(2)).status, 500);
    w.ask(2, &patch, TRICKLE);
    w.peer_letter();
    w.pass(Duration::from_secs(10));
    assert_eq!(w.response(ConnId(2)).status, 500);
    w.ask(2, &patch, TRICKLE);
    w.peer_letter();
    w.drop_socket(ConnId(2), None);
    w.letter(ToGate::Restarted { session, result: Ok(ice("three")) });
    w.nothing();
    w.ask(3, &patch, TRICKLE);
    assert_eq!(w.response(ConnId(3)).status, 204);
    w.ask(3, &patch, RESTART);
    w.peer_letter();
    w.ask(4, &format!("DELETE {url}"), "");
    assert_eq!(w.response(ConnId(3)).status, 404);
    w.ended(LeaveReason::Left);
    assert_eq!(w.response(ConnId(4)).status, 200);
}

#[test]
fn the_secret_of_a_participant_is_no_resource_and_the_reverse() {
    let mut w = World::new(1);
    let a = w.joined(1, "r", "a");
    w.ask(2, &format!("DELETE /session/{}", a.secret), "");
    assert_eq!(w.response(ConnId(2)).status, 404);
    let (_, url) = whip(&mut w, 2);
    let c = w.socket(3);
    let secret = url.strip_prefix("/session/").unwrap();
    w.say(c, json!({"type":"resume","id":1,"session":secret}));
    assert_eq!(w.error(c), "session_gone");
}

#[test]
fn preflights_are_answered() {
    let mut w = World::new(1);
    for path in ["/whip/a", "/whep/a/b", "/session/x"] {
        w.ask(1, &format!("OPTIONS {path}\r\nOrigin: https://x"), "");
        let response = w.response(ConnId(1));
        assert_eq!(response.status, 204);
        assert_eq!(header(&response, "Access-Control-Allow-Origin"), "*");
        let allowed = header(&response, "Access-Control-Allow-Headers");
        assert!(allowed.contains("If-Match"));
    }
    w.ask(1, "OPTIONS *", "");
    assert_eq!(w.response(ConnId(1)).status, 204);
}

#[test]
fn the_page_is_served_once() {
    let mut w = World::new(1);
    w.ask(1, "GET /?x=1", "");
    let page = w.response(ConnId(1));
    assert_eq!(page.status, 200);
    assert!(header(&page, "Content-Security-Policy").contains("frame-ancestors 'none'"));
    let etag = header(&page, "ETag").to_owned();
    w.ask(1, &format!("HEAD /r/standup\r\nIf-None-Match: W/{etag}"), "");
    assert_eq!(w.response(ConnId(1)).status, 304);
    w.ask(1, "GET /trackyard.js", "");
    let sdk = w.response(ConnId(1));
    assert_eq!(header(&sdk, "Content-Type"), "text/javascript; charset=utf-8");
}

#[test]
fn every_module_is_served_and_preloaded() {
    let mut w = World::new(1);
    let mut get = |path: &str| {
        w.ask(1, &format!("GET {path}"), "");
        let response = w.response(ConnId(1));
        assert_eq!(response.status, 200, "{path}");
        let policy = header(&response, "Content-Security-Policy").to_owned();
        assert!(policy.contains("default-src 'self'"), "{path}");
        String::from_utf8(response.body.into_owned()).unwrap()
    };
    let page = get("/");
    let preloaded: BTreeSet<&str> = page
        .split("<link rel=\"modulepreload\" href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let mut found = BTreeSet::new();
    let mut open = vec!["/app.js".to_owned()];
    while let Some(path) = open.pop() {
        let text = get(&path);
        let (folder, _) = path.rsplit_once('/').unwrap();
        let imports = text.lines().filter_map(|line| {
            let from = line.split(" from '").nth(1)?.strip_suffix("';")?;
            // The example in the SDK's head is a comment.
            (!line.starts_with("//")).then_some(from)
        });
        for from in imports {
            let module = match from.strip_prefix("../") {
                Some(rest) => format!("/{rest}"),
                None => format!("{folder}/{}", from.strip_prefix("./").unwrap()),
            };
            if found.insert(module.clone()) {
                open.push(module);
            }
        }
    }
    assert!(found.contains("/sdk/room.js"));
    let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
    assert_eq!(preloaded, found);
}

#[test]
fn only_the_own_page_may_open_a_websocket() {
    let mut w = World::new(1);
    let upgrade = "GET /signal\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    w.ask(
        1,
        &format!("{upgrade}\r\nSec-WebSocket-Version: 13\r\nOrigin: https://evil.example"),
        "",
    );
    let response = w.response(ConnId(1));
    assert_eq!((response.status, &*problem(&response)), (403, "foreign_origin"));
    w.ask(1, &format!("{upgrade}\r\nSec-WebSocket-Version: 8"), "");
    let response = w.response(ConnId(1));
    assert_eq!(header(&response, "Sec-WebSocket-Version"), "13");
    w.ask(1, "GET /signal", "");
    assert_eq!(w.response(ConnId(1)).status, 426);
    w.ask(1, &format!("{upgrade}\r\nSec-WebSocket-Version: 13"), "");
    assert!(matches!(w.next(), GateOutput::Upgrade { .. }));
}

#[test]
fn reports_become_metrics_and_rooms() {
    let mut w = World::new(2);
    let room =
        |name: &str| RoomReport { room: name.into(), participants: 1, viewers: 2, tracks: 3 };
    for (worker, names) in [(0, ["z", "b"]), (1, ["a", "c"])] {
        let mut counters = crate::base::counters::Counters::default();
        counters.packets_in = 40 + worker;
        counters.drop(crate::base::counters::DropReason::Stale, 7);
        w.letter(ToGate::Report {
            worker: WorkerId(worker as u16),
            counters: Box::new(counters),
            rooms: names.iter().map(|n| room(n)).collect(),
        });
    }
    w.ask(1, "GET /api/rooms", "");
    let rooms: Value = serde_json::from_slice(&w.response(ConnId(1)).body).unwrap();
    let names: Vec<&str> =
        rooms.as_array().unwrap().iter().map(|r| r["room"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "b", "c", "z"]);
    w.joined(2, "r", "a");
    w.ask(1, "GET /metrics", "");
    let response = w.response(ConnId(1));
    assert!(header(&response, "Content-Type").starts_with("application/openmetrics-text"));
    let text = String::from_utf8(response.body.into_owned()).unwrap();
    for line in [
        "trackyard_build_info{version=\"1.2.3\"} 1",
        "trackyard_packets_in_total{worker=\"1\"} 41",
        "trackyard_dropped_total{worker=\"0\",reason=\"stale\"} 7",
        "trackyard_sessions{role=\"participant\"} 1",
        "trackyard_http_responses_total{class=\"2xx\"} 1",
        "trackyard_http_responses_total{class=\"1xx\"} 1",
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
    w.ask(1, "GET /healthz", "");
    let health: Value = serde_json::from_slice(&w.response(ConnId(1)).body).unwrap();
    assert_eq!((&health["status"], &health["sessions"]), (&json!("ok"), &json!(1)));
}
