//! Checks that prove nothing, and replies that should reach nobody.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use crate::common::live::{Live, until};
use crate::flood::{Dice, Junk, binding_request};
use crate::room::Room;
use crate::server::Server;

pub fn ufrag_of(answer: &str) -> &str {
    answer.lines().find_map(|l| l.strip_prefix("a=ice-ufrag:")).expect("an answer has one")
}

/// Bytes that come to a socket until none come for a while.
fn bytes_in(socket: &UdpSocket) -> usize {
    let (mut bytes, mut last) = (0, Instant::now());
    let mut buffer = [0; 2_048];
    while last.elapsed() < Duration::from_millis(300) {
        match socket.recv(&mut buffer) {
            Ok(n) => (bytes, last) = (bytes + n, Instant::now()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    bytes
}

/// Bytes out for bytes in, of whatever a stranger can think of sending; the worst of all kinds.
pub fn amplification(server: &Server) -> f64 {
    let mut victim = Live::join(server.address, "victim", 3, true, 1);
    let took = until(std::slice::from_mut(&mut victim), Duration::from_secs(10), |p| {
        p[0].client.connected
    });
    assert!(took.is_some(), "the victim connects");
    let ufrag = ufrag_of(&victim.answer).to_owned();
    let mut dice = Dice::new(5);
    let mut kinds: Vec<(&str, Vec<Vec<u8>>)> = Vec::new();
    kinds.push(("a good ufrag, a bad integrity", {
        (0..200).map(|_| binding_request(ufrag.as_bytes(), &mut dice)).collect()
    }));
    for junk in Junk::ALL {
        kinds.push(("junk", (0..200).map(|_| junk.datagram(&mut dice)).collect()));
    }
    // What a public STUN server would answer, and replies and indications out of the blue.
    for kind in [[0, 1], [1, 1], [1, 0x11], [0, 0x11]] {
        let mut bytes = vec![kind[0], kind[1], 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([9; 12]);
        kinds.push(("a bare STUN message", vec![bytes; 50]));
    }
    // The client's own DTLS and SRTP, from elsewhere.
    victim.tap = Some(Vec::new());
    until(std::slice::from_mut(&mut victim), Duration::from_millis(500), |_| false);
    let tapped = victim.tap.take().expect("set");
    kinds.push(("a client's media", tapped.into_iter().filter(|d| d[0] >= 20).collect()));
    let mut worst: f64 = 0.0;
    for (what, datagrams) in kinds {
        let socket = dice.socket();
        let sent: usize = datagrams.iter().map(Vec::len).sum();
        assert!(sent > 0, "{what}: something to send");
        for datagram in &datagrams {
            socket.send_to(datagram, server.address).expect("loopback");
        }
        let ratio = bytes_in(&socket) as f64 / sent as f64;
        assert!(ratio <= 1.0, "{what}: {ratio}");
        worst = worst.max(ratio);
    }
    worst
}

#[test]
fn strangers_get_no_more_than_they_bring() {
    let server = Server::start(2);
    let worst = amplification(&server);
    println!("unauthenticated bytes out for bytes in, UDP: {worst:.3}");
}

#[test]
fn guessed_ufrags_find_nothing() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let mut dice = Dice::new(3);
    let socket = dice.socket();
    for _ in 0..20_000 {
        let _ = socket.send_to(&Junk::Stun.datagram(&mut dice), server.address);
    }
    assert_eq!(bytes_in(&socket), 0, "a guess is not answered");
    room.assert_calm("guessing");
}

/// A check that was overheard and is sent again from elsewhere is genuine, but its sender gets
/// neither media nor an answer, and nobody loses any.
#[test]
fn an_overheard_check_diverts_nothing() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let mut people = vec![
        Live::join(server.address, "reflect", 1, true, 0),
        Live::join(server.address, "reflect", 2, false, 1),
    ];
    people[1].tap = Some(Vec::new());
    let took = until(&mut people, Duration::from_secs(10), |p| p[1].sees(1));
    assert!(took.is_some(), "the two are connected");
    let tapped = people[1].tap.take().expect("set");
    let checks: Vec<_> = tapped.into_iter().filter(|d| d[..2] == [0, 1]).collect();
    assert!(!checks.is_empty(), "the viewer sent checks");
    let (mut dice, mut sent, mut got) = (Dice::new(9), 0, 0);
    let mut frames = 0;
    for _ in 0..40 {
        let socket = dice.socket();
        for check in &checks {
            socket.send_to(check, server.address).expect("loopback");
            sent += check.len();
        }
        until(&mut people, Duration::from_millis(50), |_| false);
        frames += people[1].client.arrivals.drain(..).count();
        let mut buffer = [0; 2_048];
        while let Ok(n) = socket.recv(&mut buffer) {
            assert!(buffer[0] < 4, "only replies to checks go to {socket:?}: {}", buffer[0]);
            got += n;
        }
    }
    println!("overheard checks: {got} bytes out for {sent} in; the viewer saw {frames} frames");
    assert_eq!(got, 0, "a check that came before is not answered");
    assert!(frames >= 20, "the viewer's own address keeps its media: {frames} frames");
    room.assert_calm("reflection");
}
