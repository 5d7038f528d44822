//! What a viewer says back, too often and untrue; and what becomes of media when the ways to the server
//! change beneath it.

use std::collections::{HashMap, HashSet};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use serde_json::json;
use trackyard::base::rng::Rng;

use crate::common::live::{Live, Signalling, until};
use crate::common::rtcp;
use crate::room::Room;
use crate::server::Server;

const PUBLISHER: u32 = 31;

fn pair(server: &Server, room: &str) -> Vec<Live> {
    let mut people = vec![
        Live::join(server.address, room, PUBLISHER, true, 0),
        Live::join(server.address, room, 32, false, 1),
    ];
    let took = until(&mut people, Duration::from_secs(10), |p| p[1].sees(1));
    assert!(took.is_some(), "the viewer sees the publisher");
    people[0].client.sending.as_mut().expect("it sends").interval = Duration::from_millis(10);
    people
}

fn go_on(people: &mut [Live], time: Duration) {
    until(people, time, |_| false);
}

fn frames_sent(people: &[Live]) -> usize {
    people[0].client.sending.as_ref().expect("it sends").sent_at.len()
}

/// Both WebSockets break without a word, stay away for a while, and are resumed: frames that were
/// lost, and frames that were seen twice.
pub fn websocket_drop() -> (usize, usize) {
    let server = Server::start(2);
    let mut people = pair(&server, "drop");
    let from = frames_sent(&people);
    for away in [Duration::from_millis(50), Duration::from_secs(2)] {
        for person in &mut people {
            let next = Signalling::open(server.address);
            drop(std::mem::replace(&mut person.signalling, next));
        }
        go_on(&mut people, away);
        for person in &mut people {
            let resume = json!({"type": "resume", "session": person.session});
            let id = person.signalling.request(resume);
            let reply = person.signalling.reply(id);
            assert_eq!((&reply["type"], &reply["resumed"]), (&json!("joined"), &json!(true)));
        }
        go_on(&mut people, Duration::from_millis(300));
    }
    let to = frames_sent(&people);
    go_on(&mut people, Duration::from_millis(300));
    let mut seen: HashMap<u32, usize> = HashMap::new();
    people[1]
        .client
        .arrivals
        .iter()
        .for_each(|(_, frame, _)| *seen.entry(*frame).or_default() += 1);
    let missing = (from as u32..to as u32).filter(|n| !seen.contains_key(n)).count();
    println!("WebSockets dropped twice in {} frames: {missing} lost", to - from);
    (missing, seen.values().filter(|n| **n > 1).count())
}

#[test]
fn a_websocket_that_drops_takes_no_media_with_it() {
    let (missing, doubled) = websocket_drop();
    // Loss on a busy machine's loopback is not the WebSocket's.
    assert!(missing <= 2 && doubled == 0, "{missing} lost, {doubled} twice");
}

#[test]
fn a_flood_of_keyframe_requests_does_not_reach_the_publisher() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let mut people = pair(&server, "pli");
    let (before, began) = (people[0].client.keyframe_requests, Instant::now());
    let mut asked = 0;
    while began.elapsed() < Duration::from_secs(4) {
        people[1].client.ask_for_keyframes();
        asked += 1;
        for person in &mut people {
            person.pump();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let reached = people[0].client.keyframe_requests - before;
    let rate = reached as f64 / began.elapsed().as_secs_f64();
    println!("{asked} keyframe requests asked for, {reached} reached the publisher: {rate:.2}/s");
    assert!(reached > 0, "an honest request is passed on");
    assert!(rate <= 2.3, "{rate} a second");
    room.assert_calm("a flood of keyframe requests");
}

/// A publisher of 100 packets a second, one who shouts at the server, and one who only watches.
fn trio(server: &Server, room: &str) -> Vec<Live> {
    let mut people = pair(server, room);
    people.push(Live::join(server.address, room, 33, false, 1));
    let took = until(&mut people, Duration::from_secs(10), |p| p[2].sees(1));
    assert!(took.is_some(), "the other viewer sees the publisher");
    people[0].client.sending.as_mut().expect("it sends").packet_bytes = Some(1_000);
    people
}

/// Lets `shout` do its worst for so long, as often as every two milliseconds; gives how many of
/// the frames sent meanwhile the other viewer did not see, and how many there were.
fn shouted(
    people: &mut [Live],
    time: Duration,
    mut shout: impl FnMut(&mut Live),
) -> (usize, usize) {
    let (from, began) = (frames_sent(people), Instant::now());
    people.iter_mut().for_each(|p| p.client.arrivals.clear());
    while began.elapsed() < time {
        for person in people.iter_mut() {
            person.pump();
        }
        shout(&mut people[1]);
        std::thread::sleep(Duration::from_millis(2));
    }
    let to = frames_sent(people);
    go_on(people, Duration::from_millis(300));
    let seen: HashSet<u32> = people[2].client.arrivals.iter().map(|(_, n, _)| *n).collect();
    let missing = (from as u32..to as u32).filter(|n| !seen.contains(n)).count();
    (missing, to - from)
}

/// A viewer asks for everything again, 2,500 times a second or as often as the machine manages:
/// bytes of media and of retransmissions to it, over those of media alone; and the share of
/// frames that somebody else missed.
pub fn nack_flood(time: Duration) -> (f64, f64) {
    let server = Server::start(1);
    let mut people = trio(&server, "nack");
    let (missing, frames) = shouted(&mut people, time, |live| {
        let (ssrc, newest) = (live.client.slot_ssrc(), live.client.highest_seq);
        // All that the server keeps, and a part of it with padding, as no browser writes it.
        let mut padded = rtcp::nack(ssrc, newest, 25);
        padded[0] |= 0x20;
        padded.extend([0, 0, 0, 4]);
        padded[3] += 1;
        for _ in 0..4 {
            live.say(&rtcp::nack(ssrc, newest, 25));
        }
        live.say(&padded);
    });
    let slot = people[1].client.slot_ssrc();
    let media = people[1].bytes_in[&slot];
    let all: u64 = people[1].bytes_in.values().sum();
    let refused = server.metric("trackyard_dropped", "nack_refused");
    assert!(refused > 1_000.0, "{refused}: they reached the server");
    (all as f64 / media as f64, missing as f64 / frames as f64)
}

#[test]
fn a_flood_of_nacks_brings_a_quarter_more_at_most() {
    let (ratio, missed) = nack_flood(Duration::from_secs(3));
    println!("a flood of NACKs: {ratio:.3} times the media; others missed {missed:.4} of theirs");
    assert!(ratio <= 1.25, "{ratio}");
    assert!(ratio > 1.05, "{ratio}: some of it is an honest request");
    assert!(missed < 0.02, "{missed}");
}

/// A viewer lies about what came to it: lies a second, CPU of the server meanwhile, and the share
/// of frames that somebody else missed.
pub fn lies(time: Duration) -> (f64, f64, f64) {
    let server = Server::start(1);
    let mut people = trio(&server, "lies");
    let (mut rng, mut told, cpu) = (Rng::from_seed([4; 32]), 0, server.cpu());
    let mut lies = Vec::new();
    let (missing, frames) = shouted(&mut people, time, |live| {
        if lies.is_empty() {
            lies = rtcp::lies(live.client.slot_ssrc(), &mut rng);
        }
        for lie in lies.drain(lies.len().saturating_sub(4)..) {
            live.say(&lie);
            told += 1;
        }
    });
    let cpu = (server.cpu() - cpu).as_secs_f64() / time.as_secs_f64();
    assert_eq!(server.metric("trackyard_panics", ""), 0.0, "{}", server.log());
    let unused = server.metric("trackyard_dropped", "rtcp_unused");
    assert!(unused > 100.0, "{unused}: they reached the server");
    (f64::from(told) / time.as_secs_f64(), cpu, missing as f64 / frames as f64)
}

#[test]
fn lies_about_what_came_are_felt_by_nobody() {
    let (rate, cpu, missed) = lies(Duration::from_secs(3));
    println!(
        "{rate:.0} lies a second: {:.1} % of a core in all; others missed {missed:.4} of theirs",
        cpu * 100.0
    );
    assert!(missed < 0.02, "{missed}");
}

/// The port that a NAT gives changes beneath one of the two, who does not know: the media gap,
/// from the change, and from its first check on the new way.
pub fn rebind(who: usize) -> (Duration, Duration) {
    let server = Server::start(1);
    let mut people = pair(&server, "rebind");
    go_on(&mut people, Duration::from_millis(500));
    people.iter_mut().for_each(|p| p.client.arrivals.clear());
    people[who].tap = Some(Vec::new());
    let fresh = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    fresh.set_nonblocking(true).expect("a socket");
    // The old one stays open, and nobody reads it: a NAT does not say that it forgot.
    let _old = std::mem::replace(&mut people[who].udp, fresh);
    let rebound = Instant::now();
    let mut checked = None;
    let came = |p: &Live| {
        // Sent after the change, so that none is meant that was on its way.
        p.client.arrivals.iter().any(|(.., at)| *at > rebound + Duration::from_millis(30))
    };
    let took = until(&mut people, Duration::from_secs(25), |people| {
        let tap = people[who].tap.as_ref().expect("set");
        if checked.is_none() && tap.iter().any(|d| d[..2] == [0, 1]) {
            checked = Some(rebound.elapsed());
        }
        came(&people[1])
    });
    let gap = took.expect("media comes back");
    let checked = checked.unwrap_or(gap).min(gap);
    (gap, gap - checked)
}

#[test]
fn media_follows_a_new_port_within_a_second_of_its_first_check() {
    for (who, name) in ["publisher", "viewer"].iter().enumerate() {
        let (gap, after_check) = rebind(who);
        println!(
            "the {name}'s port changed: no media for {gap:?}, {after_check:?} after its check"
        );
        assert!(after_check < Duration::from_secs(1), "{name}: {after_check:?}");
    }
}
