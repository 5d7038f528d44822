//! Everything at once: the server's threads, the network, the clients, on one queue of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;
use trackyard::base::limits::RESUME_GRACE;
use trackyard::base::rng::Rng;
use trackyard::gate::ConnId;

use super::client::Client;
use super::conns::{Conns, Down, Up};
use super::invariants::Observer;
use super::lies::{Lie, Tongue};
use super::net::{ClientId, Net};
use super::server::{Server, Thread, Turn};
use super::system::of_server;
use super::trace::Trace;

mod calm;
mod links;

/// What is to happen at a time.
#[derive(Debug)]
enum Event {
    Turn(Thread),
    ToServer {
        remote: SocketAddr,
        bytes: Vec<u8>,
    },
    ToClient {
        remote: SocketAddr,
        bytes: Vec<u8>,
    },
    Up(ConnId, Up),
    Down(ConnId, Down),
    /// The shell looks whether anything came from a WebSocket.
    Silence(ConnId),
    Client(ClientId),
    /// A client lies so many times more.
    Flood(ClientId, Lie, u32),
}

struct Queued {
    at: Instant,
    number: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A thread's schedule.
#[derive(Debug, Default, Clone, Copy)]
struct Schedule {
    turn: Option<Instant>,
    /// It does not run before then.
    paused: Option<Instant>,
    /// Turns at the present instant with nothing to do but what was due.
    idle_turns: u32,
    last: Option<Instant>,
}

pub struct World {
    pub now: Instant,
    /// How far the server's clock was stepped ahead of the clients'.
    pub skew: Duration,
    pub server: Server,
    pub net: Net,
    pub conns: Conns,
    pub clients: BTreeMap<ClientId, Client>,
    pub observer: Observer,
    pub trace: Trace,
    pub crypto: Arc<CryptoProvider>,
    /// Datagrams in 1000 that the server's socket does not take.
    pub socket_failures: u32,
    pub socket_failed: u64,
    /// Panics that were planted.
    pub poisoned: u64,
    /// Those that were planted in transports.
    pub broken: u64,
    pub chance: fastrand::Rng,
    hostile: ClientId,
    /// Of clients that lied.
    tongues: BTreeMap<ClientId, Tongue>,
    queue: BinaryHeap<Reverse<Queued>>,
    pub queued: u64,
    schedules: BTreeMap<Thread, Schedule>,
    wakes: BTreeMap<ClientId, Instant>,
}

/// How a world is made.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub seed: u64,
    pub workers: usize,
    pub loud: bool,
}

impl World {
    pub fn new(setup: Setup) -> World {
        fastrand::seed(setup.seed);
        let now = super::epoch();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&setup.seed.to_le_bytes());
        let mut rng = Rng::from_seed(seed);
        let address: SocketAddr = "203.0.113.1:8443".parse().expect("an address");
        let server = of_server(|| Server::new(setup.workers, address, RESUME_GRACE, now, &mut rng));
        let mut world = World {
            now,
            skew: Duration::ZERO,
            server,
            net: Net::default(),
            conns: Conns::default(),
            clients: BTreeMap::new(),
            observer: Observer::default(),
            trace: Trace::new(now, setup.loud),
            crypto: super::crypto::shared(),
            socket_failures: 0,
            socket_failed: 0,
            poisoned: 0,
            broken: 0,
            chance: fastrand::Rng::with_seed(setup.seed ^ 0x5eed),
            hostile: 0,
            tongues: BTreeMap::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            schedules: BTreeMap::new(),
            wakes: BTreeMap::new(),
        };
        (0..setup.workers).for_each(|i| world.schedule(Thread::Worker(i), now));
        world
    }

    // -- the queue

    fn push(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse(Queued { at, number: self.queued, event }));
    }

    /// Lets all happen that is due until `until`.
    pub fn run_until(&mut self, until: Instant) {
        while let Some(Reverse(next)) = self.queue.peek() {
            if next.at > until {
                break;
            }
            let Reverse(next) = self.queue.pop().expect("it was peeked at");
            debug_assert!(next.at >= self.now, "time goes on");
            self.now = next.at;
            self.happen(next.event);
        }
        self.now = until;
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    /// Lets time pass until `done`, looked at every 50 ms; `None` if it was not by `limit`.
    pub fn run_while(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&World) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while !done(self) {
            if self.now - start >= limit {
                return None;
            }
            self.run_for(Duration::from_millis(50));
        }
        Some(self.now - start)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn(thread) => self.turn(thread),
            Event::ToServer { remote, bytes } => self.arrive(remote, bytes),
            Event::ToClient { remote, bytes } => {
                let Some((id, local)) = self.net.inward(remote) else { return };
                self.trace.packet(self.now, [2, remote.port().into(), bytes.len() as u64]);
                let source = self.server.address;
                if let Some(client) = self.clients.get_mut(&id) {
                    client.receive(self.now, (source, local), &bytes);
                    self.after_client(id);
                }
            }
            Event::Up(conn, up) => self.signalling_up(conn, up),
            Event::Down(conn, down) => self.signalling_down(conn, down),
            Event::Flood(id, lie, left) => self.flood(id, lie, left),
            Event::Silence(conn) => self.look_for_silence(conn),
            Event::Client(id) => {
                if self.wakes.get(&id) == Some(&self.now) {
                    self.wakes.remove(&id);
                    if let Some(client) = self.clients.get_mut(&id) {
                        client.poll(self.now);
                        self.after_client(id);
                    }
                }
            }
        }
    }

    // -- the server's threads

    fn schedule(&mut self, thread: Thread, at: Instant) {
        let schedule = self.schedules.entry(thread).or_default();
        let at = schedule.paused.map_or(at, |until| at.max(until));
        if schedule.turn.is_none_or(|turn| at < turn) {
            schedule.turn = Some(at);
            self.push(at, Event::Turn(thread));
        }
    }

    fn soon(&mut self) -> Instant {
        self.now + Duration::from_micros(self.chance.u64(20..250))
    }

    /// A thread stands still for a while.
    pub fn pause(&mut self, thread: Thread, time: Duration) {
        let until = self.now + time;
        self.observer.deaf(until + self.skew);
        let schedule = self.schedules.entry(thread).or_default();
        schedule.paused = Some(until);
        schedule.turn = None;
        self.schedule(thread, until);
    }

    pub fn threads(&self) -> Vec<Thread> {
        let workers = (0..self.server.threads.len()).map(Thread::Worker);
        workers.chain([Thread::Gate]).collect()
    }

    fn server_now(&self) -> Instant {
        self.now + self.skew
    }

    fn turn(&mut self, thread: Thread) {
        let schedule = self.schedules.entry(thread).or_default();
        if schedule.turn != Some(self.now) {
            return;
        }
        schedule.turn = None;
        let now = self.now + self.skew;
        let turn = match thread {
            Thread::Worker(at) => self.server.worker_turn(at, now),
            Thread::Gate => self.server.gate_turn(now, Vec::new()),
        };
        self.finish(thread, turn);
    }

    /// What follows from a thread's turn.
    fn finish(&mut self, thread: Thread, turn: Turn) {
        let server_now = self.server_now();
        if let Thread::Worker(at) = thread {
            let worker = &self.server.threads[at].worker;
            worker.check_invariants();
            assert_eq!(worker.census().waiting, 0, "what came in a turn is done in it");
        } else {
            self.server.gate.check_invariants();
        }
        self.check_spin(thread, turn.next);
        if let Some(next) = turn.next {
            let next = next.max(server_now + Duration::from_micros(50)) - self.skew;
            self.schedule(thread, next);
        }
        for thread in turn.wake {
            let soon = self.soon();
            self.schedule(thread, soon);
        }
        for transmit in turn.transmits {
            self.transmit(transmit);
        }
        for output in turn.outputs {
            self.conns.output(output);
        }
        self.after_conns();
    }

    /// A thread that always wants to run at once never sleeps.
    fn check_spin(&mut self, thread: Thread, next: Option<Instant>) {
        let now = self.server_now();
        let schedule = self.schedules.entry(thread).or_default();
        if next.is_some_and(|next| next <= now) {
            schedule.idle_turns += 1;
            assert!(schedule.idle_turns < 100, "{thread:?} spins: due at once, again and again");
        } else {
            schedule.idle_turns = 0;
        }
        schedule.last = Some(now);
    }

    /// The server's clock jumps ahead.
    pub fn step_clock(&mut self, by: Duration) {
        self.skew += by;
        for thread in self.threads() {
            self.schedule(thread, self.now);
        }
    }
}
