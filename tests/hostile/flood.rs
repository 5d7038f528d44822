//! Junk on the media port, from many addresses and ports.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::room::{Room, median};
use crate::server::Server;

const SOCKETS: u64 = 128;
/// At most so many behind the clock's back at once.
const BURST: u64 = 500;

/// A small generator: what is sent is the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn roll(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 24
    }

    /// Somewhere in 127.0.0.0/8, on a port of the system's choice.
    pub fn socket(&mut self) -> UdpSocket {
        loop {
            let [_, _, _, _, _, a, b, c] = self.roll().to_be_bytes();
            let ip = Ipv4Addr::new(127, a, b, c);
            if let Ok(socket) = UdpSocket::bind((ip, 0)) {
                socket.set_nonblocking(true).expect("a socket");
                return socket;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Junk {
    /// Binding requests with a ufrag of our form that nobody has, for either worker.
    Stun,
    /// Records of handshakes and data.
    Dtls,
    /// RTP and RTCP with any SSRC.
    Rtp,
}

impl Junk {
    pub const ALL: [Junk; 3] = [Junk::Stun, Junk::Dtls, Junk::Rtp];

    pub fn datagram(self, dice: &mut Dice) -> Vec<u8> {
        match self {
            Junk::Stun => {
                let letter = |n: u64| b"abcdefghijklmnopqrstuvwxyz234567"[(n % 32) as usize];
                let mut ufrag = vec![b'a', letter(dice.roll() % 2)];
                ufrag.extend((0..14).map(|_| letter(dice.roll())));
                binding_request(&ufrag, dice)
            }
            Junk::Dtls => {
                let mut bytes = vec![[22, 23, 20, 21][(dice.roll() % 4) as usize], 0xfe, 0xfd];
                bytes.extend((0..10).map(|_| dice.roll() as u8));
                bytes.extend([1; 120]);
                bytes
            }
            Junk::Rtp => {
                let mut bytes = vec![0x80, [96, 200][(dice.roll() % 2) as usize]];
                bytes.extend((0..10).map(|_| dice.roll() as u8));
                bytes.resize(200 + (dice.roll() % 800) as usize, 0x55);
                bytes
            }
        }
    }
}

/// A well-formed check for that ufrag, with an integrity that is not.
pub fn binding_request(ufrag: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut username = ufrag.to_vec();
    username.extend(b":evil");
    let mut attributes = vec![0x00, 0x06, 0x00, username.len() as u8];
    attributes.extend(&username);
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0x00, 0x24, 0x00, 0x04, 0x6e, 0x7f, 0x1e, 0xff]);
    attributes.extend([0x00, 0x08, 0x00, 0x14]);
    attributes.extend((0..20).map(|_| dice.roll() as u8));
    let mut bytes = vec![0x00, 0x01, 0x00, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend((0..12).map(|_| dice.roll() as u8));
    bytes.extend(attributes);
    bytes
}

/// Sends at a rate until it is stopped.
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Duration)>,
}

impl Flood {
    pub fn start(target: SocketAddr, junk: Junk, per_second: u64) -> Flood {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut dice = Dice::new(7);
            let sockets: Vec<UdpSocket> = (0..SOCKETS).map(|_| dice.socket()).collect();
            // Made beforehand: making them would cost more than sending them.
            let junk: Vec<Vec<u8>> = (0..4_096).map(|_| junk.datagram(&mut dice)).collect();
            let (began, mut sent) = (Instant::now(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
                for _ in 0..due.saturating_sub(sent).min(BURST) {
                    let bytes = &junk[(sent % junk.len() as u64) as usize];
                    // What the kernel does not take was not sent, and is missing in the figure.
                    let _ = sockets[(sent % SOCKETS) as usize].send_to(bytes, target);
                    sent += 1;
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            (sent, began.elapsed())
        });
        Flood { stop, thread }
    }

    /// Packets a second that were sent.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        let (sent, time) = self.thread.join().expect("it sends");
        sent as f64 / time.as_secs_f64()
    }
}

/// One row: p99 with and without, medians over alternating rounds, and the loss under it.
pub struct Row {
    pub quiet: Duration,
    pub flooded: Duration,
    pub loss: f64,
    pub rate: f64,
}

pub fn compare(server: &Server, room: &Room, junk: Junk, rounds: usize, time: Duration) -> Row {
    let (mut quiet, mut flooded, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut missing, mut frames) = (0, 0);
    for _ in 0..rounds {
        quiet.push(room.measure(time).p99);
        let flood = Flood::start(server.address, junk, 50_000);
        let under = room.measure(time);
        rates.push(flood.stop());
        flooded.push(under.p99);
        missing += under.missing;
        frames += under.frames;
    }
    let row = Row {
        quiet: median(quiet),
        flooded: median(flooded),
        loss: missing as f64 / frames as f64,
        rate: rates.iter().sum::<f64>() / rates.len() as f64,
    };
    println!(
        "{junk:?} junk at {:.0}/s: p99 {:?}, without it {:?}; lost {:.4} %",
        row.rate,
        row.flooded,
        row.quiet,
        row.loss * 100.0
    );
    row
}

#[test]
fn junk_delays_nobody() {
    let server = Server::start(2);
    let room = Room::open(server.address);
    for junk in Junk::ALL {
        let row = compare(&server, &room, junk, 3, Duration::from_millis(500));
        assert!(row.flooded < row.quiet + Duration::from_millis(60), "{junk:?}");
        assert!(row.loss < 0.02, "{junk:?}: {} lost", row.loss);
    }
    room.assert_calm("junk");
    for (reason, least) in [("unknown_ufrag", 1e4), ("unknown_address", 2e4)] {
        let counted = server.metric("trackyard_dropped", reason);
        assert!(counted > least, "{reason}: {counted}");
    }
}

/// Sources that send one datagram of each kind and are never seen again; bytes each left behind.
pub fn residue(server: &mut Server, sources: u64) -> f64 {
    let mut dice = Dice::new(11);
    let mut visit = |server: &Server, count: u64| {
        for n in 0..count {
            let socket = dice.socket();
            for junk in Junk::ALL {
                let _ = socket.send_to(&junk.datagram(&mut dice), server.address);
            }
            if n % 64 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    // Once for what buffers and tables take at the first use.
    visit(server, sources / 4);
    let settled = |server: &Server| {
        let read = |_| {
            std::thread::sleep(Duration::from_millis(20));
            server.resident_bytes()
        };
        (0..5).map(read).min().expect("five")
    };
    let before = settled(server);
    visit(server, sources);
    let after = settled(server);
    after.saturating_sub(before) as f64 / sources as f64
}

#[test]
fn nothing_stays_of_a_source_that_proved_nothing() {
    let mut server = Server::start(2);
    let bytes = residue(&mut server, 20_000);
    println!("20,000 sources left {bytes:.1} bytes each");
    // Below what the smallest entry of any table would take; the rest is the allocator's own.
    assert!(bytes < 16.0, "{bytes} bytes a source");
}
