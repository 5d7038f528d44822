//! Packets that are not the publisher's, not for the first time, or too many.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::client::{Client, declaring};
use crate::common::live::{Live, until};
use crate::flood::Dice;
use crate::room::{Room, median};
use crate::server::Server;

const PUBLISHER: u32 = 21;

/// A publisher whose datagrams are overheard, and a viewer who counts frames.
struct Pair {
    people: Vec<Live>,
    seen: HashMap<u32, usize>,
}

impl Pair {
    fn join(server: &Server) -> Pair {
        let mut people = vec![
            Live::join(server.address, "pair", PUBLISHER, true, 0),
            Live::join(server.address, "pair", 22, false, 1),
        ];
        let took = until(&mut people, Duration::from_secs(10), |p| p[1].sees(1));
        assert!(took.is_some(), "the viewer sees the publisher");
        people[0].client.sending.as_mut().expect("it sends").interval = Duration::from_millis(10);
        Pair { people, seen: HashMap::new() }
    }

    /// Lets the two go on; what the viewer saw must be the publisher's and new.
    fn go_on(&mut self, time: Duration) {
        until(&mut self.people, time, |_| false);
        for (label, frame, _) in self.people[1].client.arrivals.drain(..) {
            assert_eq!(label, PUBLISHER, "a foreign frame");
            *self.seen.entry(frame).or_default() += 1;
            assert_eq!(self.seen[&frame], 1, "frame {frame} came again");
        }
    }

    /// SRTP that the publisher sends meanwhile.
    fn overhear(&mut self, time: Duration) -> Vec<Vec<u8>> {
        self.people[0].tap = Some(Vec::new());
        self.go_on(time);
        let tapped = self.people[0].tap.take().expect("set");
        let is_rtp = |d: &Vec<u8>| (128..192).contains(&d[0]) && !(64..96).contains(&(d[1] & 0x7f));
        tapped.into_iter().filter(is_rtp).collect()
    }

    /// Every frame sent in that time is seen.
    fn assert_whole(&mut self, after: &str) {
        let sent = |p: &Pair| p.people[0].client.sending.as_ref().expect("it sends").sent_at.len();
        let from = sent(self);
        self.go_on(Duration::from_millis(500));
        let to = sent(self);
        self.go_on(Duration::from_millis(300));
        let seen = (from as u32..to as u32).filter(|n| self.seen.contains_key(n)).count();
        assert!(
            to > from && seen * 100 >= (to - from) * 98,
            "after {after}: {seen} of {}",
            to - from
        );
    }
}

#[test]
fn a_packet_that_was_overheard_shows_nothing_again() {
    let server = Server::start(2);
    let mut pair = Pair::join(&server);
    let packets = pair.overhear(Duration::from_millis(600));
    assert!(packets.len() >= 20, "{} overheard", packets.len());
    let other = Dice::new(1).socket();
    for _ in 0..3 {
        for packet in &packets {
            pair.people[0].udp.send_to(packet, server.address).expect("loopback");
            other.send_to(packet, server.address).expect("loopback");
        }
        pair.go_on(Duration::from_millis(100));
    }
    pair.assert_whole("replay");
}

#[test]
fn packets_with_a_wrong_tag_cost_nobody_a_frame() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let mut pair = Pair::join(&server);
    let packets = pair.overhear(Duration::from_millis(300));
    let (mut dice, before) = (Dice::new(2), server.cpu());
    let mut sent = 0;
    while sent < 10_000 {
        for packet in &packets {
            let mut forged = packet.clone();
            let last = forged.len() - 1;
            forged[last] ^= 1 + (dice.roll() % 255) as u8;
            if sent % 2 == 0 {
                // Far ahead: a guess at the rollover counter that must not stick.
                forged[2..4].copy_from_slice(&(dice.roll() as u16).to_be_bytes());
            }
            pair.people[0].udp.send_to(&forged, server.address).expect("loopback");
            sent += 1;
        }
        pair.go_on(Duration::from_millis(5));
    }
    pair.assert_whole("10,000 wrong tags");
    println!("{sent} wrong tags cost {:?} of CPU, with the room's own", server.cpu() - before);
    room.assert_calm("10,000 wrong tags");
}

#[test]
fn what_others_inject_reaches_nobody() {
    let server = Server::start(2);
    let mut pair = Pair::join(&server);
    let packets = pair.overhear(Duration::from_millis(200));
    let mut dice = Dice::new(4);
    for _ in 0..20 {
        let socket = dice.socket();
        for packet in &packets {
            let mut injected = packet.clone();
            // The publisher's stream, a new sequence number, and content of one's own.
            let next = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(500);
            injected[2..4].copy_from_slice(&next.to_be_bytes());
            injected[12..].iter_mut().for_each(|b| *b = dice.roll() as u8);
            socket.send_to(&injected, server.address).expect("loopback");
        }
        pair.go_on(Duration::from_millis(10));
    }
    pair.assert_whole("injection");
}

/// What a publisher that declares 460 kbit/s and sends ten times that does to others.
pub struct Excess {
    /// Bytes sent, and forwarded to a viewer, of those declared.
    pub sent: f64,
    pub forwarded: f64,
    /// Of the others, medians: while it kept to its rate, and while it did not.
    pub quiet: Duration,
    pub under: Duration,
    pub loss: f64,
}

/// Packets of 1,150 bytes.
const DECLARED_BPS: u64 = 460_000;
const DECLARED_INTERVAL: Duration = Duration::from_millis(20);

pub fn beyond_declared(rounds: usize, time: Duration) -> Excess {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let offer = |c: &mut Client, now| declaring(&c.offer(true, 0, now), DECLARED_BPS);
    let mut people = vec![
        Live::join_with(server.address, "excess", PUBLISHER, offer),
        Live::join(server.address, "excess", 22, false, 1),
    ];
    let took = until(&mut people, Duration::from_secs(10), |p| p[1].sees(1));
    assert!(took.is_some(), "the viewer sees the publisher");
    assert!(people[0].answer.contains("b=TIAS:460000\r\n"), "it is told what it said");
    people[0].client.sending.as_mut().expect("it sends").packet_bytes = Some(1_150);
    let (excess, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let pumping = std::thread::spawn({
        let (excess, stop) = (excess.clone(), stop.clone());
        move || pump(&mut people, &excess, &stop)
    });
    let (mut quiet, mut under, mut missing, mut frames) = (Vec::new(), Vec::new(), 0, 0);
    for _ in 0..rounds {
        excess.store(false, Ordering::Relaxed);
        quiet.push(room.measure(time).p99);
        excess.store(true, Ordering::Relaxed);
        let figures = room.measure(time);
        under.push(figures.p99);
        missing += figures.missing;
        frames += figures.frames;
    }
    stop.store(true, Ordering::Relaxed);
    let (sent, forwarded) = pumping.join().expect("they go on");
    let dropped = server.metric("trackyard_dropped", "media_rate");
    assert!(dropped > 100.0, "{dropped}: what is too much is counted");
    room.assert_nothing_foreign("a publisher beyond its rate");
    let loss = missing as f64 / frames as f64;
    Excess { sent, forwarded, quiet: median(quiet), under: median(under), loss }
}

/// Lets the two go on, at ten times the rate while that is wanted: bytes sent and forwarded
/// meanwhile, of those declared for that time.
fn pump(people: &mut [Live], excess: &AtomicBool, stop: &AtomicBool) -> (f64, f64) {
    let slot = people[1].client.slot_ssrc();
    let (mut sent, mut came, mut declared) = (0, 0, 0.0);
    while !stop.load(Ordering::Relaxed) {
        let sender = people[0].client.sending.as_mut().expect("it sends");
        let excess = excess.load(Ordering::Relaxed);
        sender.interval = DECLARED_INTERVAL / if excess { 10 } else { 1 };
        let (began, packets, bytes) = (Instant::now(), sender.seq, people[1].bytes_in[&slot]);
        until(people, Duration::from_millis(50), |_| false);
        if excess {
            sent += 1_150 * (people[0].client.sending.as_ref().expect("it sends").seq - packets);
            came += people[1].bytes_in[&slot] - bytes;
            declared += began.elapsed().as_secs_f64() * DECLARED_BPS as f64 / 8.0;
        }
    }
    (sent as f64 / declared, came as f64 / declared)
}

#[test]
fn a_publisher_beyond_its_declared_rate_is_felt_by_nobody_else() {
    let it = beyond_declared(2, Duration::from_secs(2));
    println!(
        "{:.1} times its declared rate: {:.2} times forwarded; others' p99 {:?}, {:?} without; \
         {:.4} of theirs lost",
        it.sent, it.forwarded, it.under, it.quiet, it.loss
    );
    // Twice, the spare, and a second's worth of both that was saved up.
    assert!(it.forwarded < 4.5, "{}", it.forwarded);
    assert!(it.sent > 1.5 * it.forwarded, "{} of {}", it.forwarded, it.sent);
    assert!(it.loss < 0.02, "{}", it.loss);
    assert!(it.under < it.quiet + Duration::from_millis(60), "{:?}, {:?}", it.under, it.quiet);
}
