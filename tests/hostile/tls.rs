//! TLS handshakes by the thousand: each costs the server a signature, and the attacker nothing,
//! who sends a hello that was recorded once.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::common::live::{Signalling, tls};
use crate::flood::Dice;
use crate::room::Room;
use crate::server::Server;
use crate::websocket::from;

/// A refusal is a record with an alert; a server's hello and certificate are far longer.
const ALERT_BYTES: usize = 64;
/// Begun by one thread and not looked at.
const OPEN_MAX: usize = 100;

/// What a client says first.
fn hello(server: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    tls(server).conn.write_tls(&mut bytes).expect("a Vec takes every write");
    bytes
}

pub struct Handshakes {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(u64, u64)>>,
    began: Instant,
}

impl Handshakes {
    /// At most so many a second, each from somewhere in 127.0.0.0/8.
    pub fn start(server: SocketAddr, per_second: u64) -> Handshakes {
        const THREADS: u64 = 4;
        let (hello, stop) = (hello(server), Arc::new(AtomicBool::new(false)));
        let one = |n| {
            let (hello, stop) = (hello.clone(), stop.clone());
            std::thread::spawn(move || attack(server, &hello, &stop, (per_second / THREADS, n)))
        };
        Handshakes { threads: (0..THREADS).map(one).collect(), stop, began: Instant::now() }
    }

    /// Tried and answered, a second.
    pub fn stop(self) -> (f64, f64) {
        self.stop.store(true, Ordering::Relaxed);
        let counts: Vec<_> =
            self.threads.into_iter().map(|t| t.join().expect("it tries")).collect();
        let time = self.began.elapsed().as_secs_f64();
        let sum = |f: fn(&(u64, u64)) -> u64| counts.iter().map(f).sum::<u64>() as f64 / time;
        (sum(|c| c.0), sum(|c| c.1))
    }
}

/// One thread's handshakes; it looks for an answer only when many more have been begun, so that a
/// slow server makes them no fewer. Tried, and answered.
fn attack(
    server: SocketAddr,
    hello: &[u8],
    stop: &AtomicBool,
    (per_second, seed): (u64, u64),
) -> (u64, u64) {
    let (mut dice, began) = (Dice::new(seed), Instant::now());
    let (mut tried, mut answered) = (0, 0);
    let mut open: VecDeque<TcpStream> = VecDeque::new();
    let is_answered = |mut stream: TcpStream| {
        let mut answer = [0; 4_096];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
        stream.read(&mut answer).is_ok_and(|n| n > ALERT_BYTES)
    };
    while !stop.load(Ordering::Relaxed) {
        if began.elapsed().as_secs_f64() * (per_second as f64) < tried as f64 {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        }
        tried += 1;
        let [.., a, b, c] = dice.roll().to_be_bytes();
        if let Ok(mut stream) = from(Ipv4Addr::new(127, a, b, c.max(2)), server)
            && stream.write_all(hello).is_ok()
        {
            open.push_back(stream);
        }
        if open.len() > OPEN_MAX {
            answered += u64::from(open.pop_front().is_some_and(is_answered));
        }
    }
    (tried, answered + open.into_iter().filter_map(|s| is_answered(s).then_some(())).count() as u64)
}

#[test]
fn handshakes_hold_up_neither_signalling_nor_media() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let quiet = room.measure(Duration::from_secs(1));
    let attack = Handshakes::start(server.address, 2_000);
    let under = room.measure(Duration::from_secs(3));
    let mut client = Signalling::open(server.address);
    client.join("elsewhere", "comes in all the same");
    let (tried, answered) = attack.stop();
    println!(
        "{tried:.0} handshakes/s tried, {answered:.0}/s answered: {under:?}; without: {quiet:?}"
    );
    assert!(answered > 50.0, "the attack took place: {answered}/s");
    assert!(under.ping_p99 < quiet.ping_p99 + Duration::from_millis(150), "{under:?}, {quiet:?}");
    assert!(under.loss() < 0.02, "{under:?}");
    room.assert_calm("handshakes");
}
