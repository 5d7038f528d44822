//! People come and go by the hundred, politely or not: no descriptor, session, peer or room stays.
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::live::{Live, Signalling, TestServer, http, tls, until};
use trackyard::config::Config;

const WAVES: u32 = 12;
const PEOPLE: u32 = 16;
/// Longer than the time that a session waits for its client.
const LIMIT: Duration = Duration::from_secs(20);

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Sums a metric over its labels.
fn metric(server: SocketAddr, name: &str) -> u64 {
    let (_, _, body) = http(server, "GET /metrics HTTP/1.1", "");
    let lines = body.lines().filter(|l| {
        l.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    });
    lines.map(|l| l.rsplit(' ').next().and_then(|v| v.parse::<u64>().ok()).expect("a number")).sum()
}

/// Two see each other; others come with a WebSocket alone, or give up during the handshake.
fn wave(server: SocketAddr, wave: u32) {
    let room = format!("wave {}", wave % 3);
    let mut pair: Vec<Live> =
        (0..2).map(|i| Live::join(server, &room, wave * 10 + i, true, 1)).collect();
    let seen = until(&mut pair, LIMIT, |pair| pair.iter().all(|p| p.sees(1)));
    assert!(seen.is_some(), "wave {wave}: the two do not see each other");
    for person in 0..PEOPLE {
        match person % 4 {
            0 => drop(tls(server)),
            1 => drop(Signalling::open(server)),
            // Drops the connection in the room, without a word.
            2 => drop(Signalling::open(server).join(&room, "gone")),
            _ => {
                let mut signalling = Signalling::open(server);
                signalling.join(&room, "polite");
                let id = signalling.request(serde_json::json!({"type": "leave"}));
                signalling.reply(id);
            }
        }
    }
    let mut pair = pair.into_iter();
    pair.next().expect("two").leave();
    drop(pair);
}

fn settle(server: SocketAddr) -> usize {
    let deadline = Instant::now() + LIMIT;
    loop {
        let left = ["trackyard_sessions", "trackyard_peers", "trackyard_rooms"]
            .map(|name| metric(server, name));
        if left == [0, 0, 0] {
            return descriptors();
        }
        assert!(Instant::now() < deadline, "sessions, peers, rooms left: {left:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nothing_stays_of_those_who_left() {
    let config = |config| Config { resume_grace: Duration::from_secs(1), ..config };
    let server = TestServer::start_with(2, config);
    wave(server.address, 0);
    let before = settle(server.address);
    (1..=WAVES).for_each(|n| wave(server.address, n));
    let deadline = Instant::now() + LIMIT;
    loop {
        let after = settle(server.address);
        if after <= before {
            println!("{} came and went; descriptors {before}, then {after}", WAVES * (PEOPLE + 2));
            return;
        }
        assert!(Instant::now() < deadline, "descriptors {before}, then {after}");
    }
}
