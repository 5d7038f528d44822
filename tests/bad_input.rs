//! Whatever a client says wrong gets its error or is dropped and counted, and nobody else in the
//! room notices: two people watch each other all the while.
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::live::{Live, Signalling, TestServer, exchange, http, tls, until};
use serde_json::json;

/// Two people in a room, who see each other.
struct Scene {
    server: TestServer,
    people: Vec<Live>,
}

impl Scene {
    fn new(workers: usize) -> Scene {
        let server = TestServer::start(workers);
        let mut people: Vec<Live> =
            (1..=2).map(|label| Live::join(server.address, "calm", label, true, 1)).collect();
        let took = until(&mut people, Duration::from_secs(5), |p| p.iter().all(|p| p.sees(1)));
        assert!(took.is_some(), "the two see each other");
        Scene { server, people }
    }

    fn address(&self) -> SocketAddr {
        self.server.address
    }

    fn frames(people: &[Live]) -> Vec<u64> {
        people.iter().map(|p| p.client.slots.values().map(|j| j.frames).sum()).collect()
    }

    /// Both go on seeing new frames, with no seam, and nobody else was announced for good.
    fn assert_calm(&mut self, after: &str) {
        let before = Scene::frames(&self.people);
        let more = |people: &[Live]| {
            Scene::frames(people).iter().zip(&before).all(|(now, then)| *now >= then + 5)
        };
        let took = until(&mut self.people, Duration::from_secs(3), more);
        assert!(took.is_some(), "after {after} the pictures stopped: {before:?}");
        for judge in self.people.iter().flat_map(|p| p.client.slots.values()) {
            assert!(judge.faults.is_empty(), "after {after}: {:?}", judge.faults);
        }
    }

    /// A counter of `/metrics`, summed over its labels that contain `label`.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let (status, _, body) = http(self.address(), "GET /metrics HTTP/1.1", "");
        assert_eq!(status, 200);
        let lines = body.lines().filter(|l| l.starts_with(name) && l.contains(label));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until that counter is at least `least`; workers report once a second.
    fn wait_for_metric(&mut self, name: &str, label: &str, least: f64) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while self.metric(name, label) < least {
            assert!(
                Instant::now() < deadline,
                "{name}{{{label}}} stays {}",
                self.metric(name, label)
            );
            until(&mut self.people, Duration::from_millis(50), |_| false);
        }
    }
}

fn error_code(signalling: &mut Signalling) -> String {
    let error = signalling.wait_for("error");
    error["code"].as_str().expect("a code").to_string()
}

fn workers() -> usize {
    std::env::var("TEST_WORKERS").ok().and_then(|w| w.parse().ok()).unwrap_or(2)
}

#[test]
fn wrong_messages_are_answered_with_their_error() {
    let mut scene = Scene::new(workers());
    let mut client = Signalling::open(scene.address());
    for (text, code) in [
        ("{", "bad_json"),
        ("[1]", "bad_message"),
        (r#"{"type":"shout"}"#, "unknown_type"),
        (r#"{"type":"join","room":"calm"}"#, "bad_message"),
        (r#"{"type":"join","room":"calm","name":"a\u0000b"}"#, "bad_name"),
        (r#"{"type":"join","room":"","name":"x"}"#, "bad_name"),
        (r#"{"type":"offer","id":9,"sdp":"v=0"}"#, "not_joined"),
        (r#"{"type":"resume","session":"nobody"}"#, "session_gone"),
    ] {
        client.text(text.to_string());
        assert_eq!(error_code(&mut client), code, "{text}");
    }
    client.join("calm", "after all that");
    for (message, code) in [
        (json!({"type": "join", "room": "calm", "name": "again"}), "already_joined"),
        (json!({"type": "candidate", "candidate": "rubbish"}), "bad_candidate"),
        (json!({"type": "update", "mid": "0", "muted": true}), "unknown_mid"),
    ] {
        let id = client.request(message.clone());
        let reply = client.reply(id);
        assert_eq!(reply["code"], code, "{message}: {reply}");
    }
    scene.assert_calm("wrong messages");
}

#[test]
fn bad_offers_are_refused_and_the_session_goes_on() {
    let mut scene = Scene::new(workers());
    let mut client = Signalling::open(scene.address());
    client.join("calm", "offers badly");
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdabcdabcdabcdabcdabcd\r\na=fingerprint:sha-256 AA:BB\r\n";
    let m_line = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n";
    for (what, sdp) in [
        ("garbage", "hello".to_string()),
        ("nothing", String::new()),
        ("truncated", format!("{head}m=aud")),
        ("1,000 m-lines", format!("{head}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(1000))),
        ("no fingerprint", format!("{head}{m_line}").replace("a=fingerprint", "a=nothing")),
        ("a bad fingerprint", format!("{head}{m_line}")),
        ("unprotected RTP", format!("{head}{m_line}").replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
        (
            "40 candidates",
            format!(
                "{head}{m_line}{}",
                "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n".repeat(40)
            ),
        ),
    ] {
        let id = client.request(json!({"type": "offer", "sdp": sdp}));
        let reply = client.reply(id);
        let refused = reply["type"] == "error" && reply["code"] == "bad_sdp";
        let harmless = what == "a bad fingerprint" && reply["type"] == "answer";
        assert!(refused || harmless, "{what}: {reply}");
    }
    let id = client.request(json!({"type": "ping"}));
    assert_eq!(client.reply(id)["type"], "pong");
    scene.assert_calm("bad offers");
}

#[test]
fn an_oversize_message_is_named_and_closes_its_own_connection() {
    let mut scene = Scene::new(workers());
    let mut client = Signalling::open(scene.address());
    client.join("calm", "talks too much");
    let long = json!({"type": "offer", "sdp": "x".repeat(200_000)}).to_string();
    client.text(long);
    assert_eq!(error_code(&mut client), "too_large");
    client.wait_for("disconnected");
    scene.assert_calm("an oversize message");
}

#[test]
fn http_junk_gets_a_status() {
    let mut scene = Scene::new(workers());
    let address = scene.address();
    let status = |bytes: &[u8]| {
        let answer = exchange(address, bytes);
        answer.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok()).unwrap_or(0)
    };
    assert_eq!(status(b"\x00\x01\x02\x03\r\n\r\n"), 400);
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: a\r\nBad Header\r\n\r\n"), 400);
    assert_eq!(status(b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 404);
    assert_eq!(status(b"BREW /whip/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), 405);
    let both = b"POST /whip/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(status(both), 400);
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    assert!([400, 431].contains(&status(head.as_bytes())));
    let (code, head, body) =
        http(address, "POST /whip/x HTTP/1.1\r\nContent-Type: application/sdp", "junk");
    assert_eq!((code, body.contains("bad_sdp")), (400, true), "{body}");
    assert!(head.to_lowercase().contains("application/problem+json"), "{head}");
    let (code, _, _) = http(address, "POST /whip/x HTTP/1.1\r\nContent-Type: text/plain", "junk");
    assert_eq!(code, 415);
    let (code, _, _) = http(address, "DELETE /session/nobody HTTP/1.1", "");
    assert_eq!(code, 404);
    scene.assert_calm("HTTP junk");
}

#[test]
fn half_a_handshake_held_open_holds_nobody_up() {
    let mut scene = Scene::new(workers());
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..50 {
        let mut tcp = TcpStream::connect(scene.address()).expect("a listening server");
        // The head of a TLS record that announces more than ever comes.
        tcp.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01]).expect("a socket");
        held.push(tcp);
    }
    let mut client = Signalling::open(scene.address());
    client.join("calm", "gets in all the same");
    scene.assert_calm("half-open handshakes");
    // Each is ended by the server in its time.
    let tcp = &mut held[0];
    tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut rest = Vec::new();
    let ended = tcp.read_to_end(&mut rest);
    assert!(!matches!(&ended, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock), "{ended:?}");
}

#[test]
fn random_datagrams_are_dropped_and_counted() {
    let mut scene = Scene::new(workers());
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut state = 1_u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    for i in 0..2_000 {
        let length = usize::from(random()) * 5 + 1;
        let mut bytes: Vec<u8> = (0..length).map(|_| random()).collect();
        bytes[0] = [0x00, 0x16, 0x80, 0xc8, 0x50][i % 5];
        socket.send_to(&bytes, scene.address()).expect("loopback");
    }
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket");
    assert!(socket.recv(&mut [0; 2_048]).is_err(), "strangers get no answer");
    for (reason, least) in
        [("unknown_address", 600.0), ("malformed_stun", 300.0), ("unknown_protocol", 300.0)]
    {
        scene.wait_for_metric("trackyard_dropped", reason, least);
    }
    scene.assert_calm("random datagrams");
}

#[test]
fn a_foreign_page_may_not_signal() {
    let scene = Scene::new(workers());
    let upgrade = format!(
        "GET /signal HTTP/1.1\r\nHost: {}\r\nOrigin: https://elsewhere.example\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        scene.address()
    );
    let mut tls = tls(scene.address());
    tls.write_all(upgrade.as_bytes()).expect("a connection");
    let mut answer = [0; 4_096];
    let length = tls.read(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}
