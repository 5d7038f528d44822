//! Names that would do something where they are shown.

use serde_json::json;

use crate::common::live::{Signalling, exchange, http};
use crate::room::Room;
use crate::server::Server;

/// Refused, since nothing is left of them where they are harmless.
const REFUSED: [&str; 12] = [
    "a\r\nSet-Cookie: b=c",
    "a\n2026-01-01T00:00:00Z INFO [trackyard] forged line",
    "\u{1b}[2J\u{1b}[31mred",
    "\u{9b}31m",
    "bell\u{7}",
    "a\0b",
    "\u{202e}nimda",
    "\u{2066}x\u{2069}",
    "a\u{2028}b",
    "\u{85}",
    "   ",
    "",
];
/// Taken as they are: it is up to who shows them to show text.
const TAKEN: [&str; 5] = [
    "<img src=x onerror=alert(1)>",
    "\"};alert(1)//",
    "'; DROP TABLE rooms; --",
    "%0d%0aX: y",
    "{{7*7}}${7*7}\\u001b[31m",
];

#[test]
fn names_do_nothing_in_json_and_log() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    for name in REFUSED {
        let mut client = Signalling::open(server.address);
        for (room, name) in [("names", name), (name, "names")] {
            let id = client.request(json!({"type": "join", "room": room, "name": name}));
            let reply = client.reply(id);
            assert_eq!(reply["code"], "bad_name", "{room:?} {name:?}: {reply}");
        }
    }
    let mut observer = Signalling::open(server.address);
    observer.join("names", "observer");
    for name in TAKEN {
        let mut client = Signalling::open(server.address);
        client.join("names", name);
        let event = observer.wait_for("participant_joined");
        assert_eq!(event["participant"]["name"], name, "the same text, to the letter");
        let mut client = Signalling::open(server.address);
        client.join(name, "in an odd room");
    }
    // What is not even a name, in other places that are logged.
    for odd in ["\u{1b}[31m", "a\r\nb", "\u{202e}"] {
        let mut client = Signalling::open(server.address);
        client.text(json!({"type": odd, "id": 1}).to_string());
        client.text(json!({"type": "resume", "session": odd}).to_string());
        client.text(json!({"type": "candidate", "candidate": odd}).to_string());
        client.wait("the last error", |e| e["code"] == "not_joined");
        let origin = odd.replace(['\r', '\n', '\u{1b}'], "");
        let upgrade = format!(
            "GET /signal HTTP/1.1\r\nHost: a\r\nOrigin: https://{origin}\r\nConnection: Upgrade, close\r\n\
            Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        exchange(server.address, upgrade.as_bytes());
    }
    assert_log_is_clean(&server);
    room.assert_calm("odd names");
}

#[test]
fn names_do_nothing_in_paths_and_headers() {
    let server = Server::start(1);
    let encode = |name: &str| name.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
    for name in REFUSED.iter().filter(|n| !n.is_empty()) {
        let name = encode(name);
        for path in [
            format!("/whip/{name}"),
            format!("/whip/r/{name}"),
            format!("/whep/{name}"),
            format!("/whep/r/{name}"),
        ] {
            let request = format!("POST {path} HTTP/1.1\r\nContent-Type: application/sdp");
            let (status, head, body) = http(server.address, &request, "v=0");
            assert_eq!((status, body.contains("bad_name")), (400, true), "{path}: {body}");
            assert!(!head.contains("Set-Cookie") && !head.contains('\u{1b}'), "{head}");
        }
        let (status, _, _) = http(server.address, &format!("GET /r/{name} HTTP/1.1"), "");
        assert_eq!(status, 400, "{name}");
    }
    for broken in ["%", "%f", "%ff", "%zz", "%c3%28"] {
        let request = format!("POST /whip/{broken} HTTP/1.1\r\nContent-Type: application/sdp");
        assert_eq!(http(server.address, &request, "v=0").0, 400, "{broken}");
    }
    for name in TAKEN {
        let name = encode(name);
        let (status, _, page) = http(server.address, &format!("GET /r/{name} HTTP/1.1"), "");
        assert_eq!(status, 200);
        assert!(
            !page.contains("onerror") && !page.contains("alert(1)"),
            "the page is always the same"
        );
    }
    assert_log_is_clean(&server);
}

#[test]
fn a_name_of_a_megabyte_is_refused_and_not_kept() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let long = "x".repeat(1 << 20);
    let mut client = Signalling::open(server.address);
    let join = json!({"type": "join", "id": 1, "room": "names", "name": long}).to_string();
    client.text(join);
    assert_eq!(client.wait_for("error")["code"], "too_large");
    let mut client = Signalling::open(server.address);
    let id = client.request(json!({"type": "join", "room": "names", "name": "x".repeat(10_000)}));
    assert_eq!(client.reply(id)["code"], "bad_name");
    let request = format!("POST /whip/{long} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(exchange(server.address, request.as_bytes()).starts_with("HTTP/1.1 431 "));
    let log = server.log();
    let longest = log.lines().map(str::len).max().unwrap_or(0);
    assert!(longest < 2_000, "a log line of {longest} bytes");
    assert_log_is_clean(&server);
    room.assert_calm("names of a megabyte");
}

/// Every line is one of ours, whole, and has nothing in it that a terminal would act upon.
fn assert_log_is_clean(server: &Server) {
    let log = server.log();
    assert!(log.lines().count() > 3, "there is a log");
    for line in log.lines() {
        let acts = |c: char| {
            c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
        };
        assert!(!line.contains(acts), "{line:?}");
        let dated = line.as_bytes().get(4) == Some(&b'-') && line.contains("[trackyard");
        assert!(dated, "not a line of ours: {line:?}");
    }
}
