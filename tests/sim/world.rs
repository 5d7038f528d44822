//! Everything at once: the server's threads, the network, the clients, on one queue of events.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;
use trackyard::base::limits::RESUME_GRACE;
use trackyard::base::rng::Rng;
use trackyard::gate::{CloseReason, ConnId, GateInput};
use trackyard::worker::Transmit;

use super::alloc::of_server;
use super::client::Client;
use super::conns::{Conns, Down, Up};
use super::invariants::Observer;
use super::net::{ClientId, Net};
use super::server::{Server, Thread, Turn};
use super::trace::Trace;

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
    pub chance: fastrand::Rng,
    hostile: ClientId,
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
            chance: fastrand::Rng::with_seed(setup.seed ^ 0x5eed),
            hostile: 0,
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
            self.server.threads[at].worker.check_invariants();
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

    fn transmit(&mut self, transmit: Transmit) {
        let Transmit { remote, bytes, .. } = transmit;
        self.observer.sent(self.server_now(), remote, &bytes);
        self.trace.packet(self.now, [1, remote.port().into(), bytes.len() as u64]);
        if self.chance.u32(..1_000) < self.socket_failures {
            self.socket_failed += 1;
            return;
        }
        let Some((id, _)) = self.net.inward(remote) else { return };
        for at in self.passage(id) {
            self.push(at, Event::ToClient { remote, bytes: bytes.clone() });
        }
    }

    /// When copies of a datagram arrive at the other end of a client's link.
    fn passage(&mut self, id: ClientId) -> Vec<Instant> {
        let Some(link) = self.net.link(id) else { return Vec::new() };
        if link.cut.is_some() || link.udp_blocked {
            return Vec::new();
        }
        let quality = link.quality;
        let mut roll = |of: u32| of > 0 && self.chance.u32(..1_000) < of;
        if roll(quality.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(roll(quality.duplication));
        let late = roll(quality.reorder);
        (0..copies)
            .map(|_| {
                let jitter = self.chance.u64(..=quality.jitter.as_micros() as u64);
                let late = if late { Duration::from_millis(30) } else { Duration::ZERO };
                self.now + quality.delay + Duration::from_micros(jitter) + late
            })
            .collect()
    }

    /// A datagram is sent to the server from a public address, whoever sends it.
    pub fn inject(&mut self, remote: SocketAddr, bytes: Vec<u8>) {
        let at = self.now + Duration::from_millis(5);
        self.push(at, Event::ToServer { remote, bytes });
    }

    fn arrive(&mut self, remote: SocketAddr, bytes: Vec<u8>) {
        self.observer.received(self.server_now(), remote, &bytes);
        self.trace.packet(self.now, [0, remote.port().into(), bytes.len() as u64]);
        // As SO_REUSEPORT does: by the source, never by the owner.
        let hash = u64::from(remote.port()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let at = (hash % self.server.threads.len() as u64) as usize;
        self.server.arrive(at, remote, bytes);
        let soon = self.soon();
        self.schedule(Thread::Worker(at), soon);
    }

    // -- signalling

    fn tell_gate(&mut self, inputs: Vec<GateInput>) {
        let turn = self.server.gate_turn(self.now + self.skew, inputs);
        self.finish(Thread::Gate, turn);
    }

    fn gate_paused(&self) -> Option<Instant> {
        let paused = self.schedules.get(&Thread::Gate)?.paused?;
        (paused > self.now).then_some(paused)
    }

    fn signalling_up(&mut self, conn: ConnId, up: Up) {
        if let Some(until) = self.gate_paused() {
            self.push(until, Event::Up(conn, up));
            return;
        }
        if let Some(id) = self.conns.owner(conn)
            && self.net.link(id).is_some_and(|l| l.cut.is_some())
        {
            self.conns.hold_up(conn, up);
            return;
        }
        self.trace.note(self.now, "up", format_args!("{conn:?} {}", up.summary()));
        let inputs = self.conns.arrived(self.now, conn, up);
        if !inputs.is_empty() {
            self.tell_gate(inputs);
        }
    }

    fn signalling_down(&mut self, conn: ConnId, down: Down) {
        let Some(id) = self.conns.owner(conn) else { return };
        if self.net.link(id).is_some_and(|l| l.cut.is_some()) {
            self.conns.hold_down(conn, down);
            return;
        }
        self.trace.note(self.now, "down", format_args!("{conn:?} {}", down.summary()));
        let Some(down) = self.conns.delivered(conn, down) else { return };
        if let Some(client) = self.clients.get_mut(&id) {
            client.signalling(self.now, self.conns.name(conn), down);
            self.after_client(id);
        }
    }

    fn look_for_silence(&mut self, conn: ConnId) {
        let owner = self.conns.owner(conn);
        let cut = owner.and_then(|id| self.net.link(id)).and_then(|link| link.cut);
        let reached = cut.unwrap_or(self.now);
        if let Some(reason) = self.conns.silent(self.now, conn, reached) {
            self.trace.note(self.now, "silent", format_args!("{conn:?}"));
            self.tell_gate(vec![GateInput::Closed { conn, code: None, why: reason }]);
        }
        self.after_conns();
    }

    /// What connections have to carry.
    fn after_conns(&mut self) {
        for (conn, id, down) in self.conns.take_down() {
            let delay = self.net.link(id).map_or(Duration::from_millis(10), |l| l.quality.delay);
            let at = self.conns.down_at(conn, self.now + delay);
            self.push(at, Event::Down(conn, down));
        }
        for (conn, id, up) in self.conns.take_up() {
            let delay = self.net.link(id).map_or(Duration::from_millis(10), |l| l.quality.delay);
            let at = self.conns.up_at(conn, self.now + delay);
            self.push(at, Event::Up(conn, up));
        }
        for (conn, at) in self.conns.take_checks() {
            self.push(at.max(self.now), Event::Silence(conn));
        }
        for conn in self.conns.take_ended() {
            let why = CloseReason::Done;
            self.tell_gate(vec![GateInput::Closed { conn, code: None, why }]);
        }
        if let Some(conn) = self.conns.take_overfull() {
            let why = CloseReason::OutFull;
            self.tell_gate(vec![GateInput::Closed { conn, code: None, why }]);
        }
    }

    // -- clients

    pub fn add(&mut self, id: ClientId, client: Client) {
        self.net.add(id);
        self.observer.add(id, client.room());
        self.clients.insert(id, client);
        self.after_client(id);
    }

    /// The client is gone from one moment to the next.
    pub fn vanish(&mut self, id: ClientId) {
        self.clients.remove(&id);
        self.net.remove(id);
        self.conns.orphan(self.now, id);
    }

    /// Does something with a client and carries out what it then asks for.
    pub fn with<R>(
        &mut self,
        id: ClientId,
        act: impl FnOnce(&mut Client, Instant) -> R,
    ) -> Option<R> {
        let now = self.now;
        let result = act(self.clients.get_mut(&id)?, now);
        self.after_client(id);
        Some(result)
    }

    fn after_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        for ask in client.take_asks() {
            self.conns.ask(self.now, id, ask);
        }
        let datagrams = client.take_datagrams();
        let deadline = client.deadline().max(self.now + Duration::from_micros(100));
        for (local, bytes) in datagrams {
            let Some(public) = self.net.outward(id, local) else { continue };
            self.observer.spoken(id, public, &bytes);
            for at in self.passage(id) {
                self.push(at, Event::ToServer { remote: public, bytes: bytes.clone() });
            }
        }
        if self.wakes.get(&id).is_none_or(|at| deadline < *at || *at < self.now) {
            self.wakes.insert(id, deadline);
            self.push(deadline, Event::Client(id));
        }
        self.after_conns();
    }

    /// A client says goodbye and is gone.
    pub fn leave(&mut self, id: ClientId) {
        self.with(id, |client, now| client.leave(now));
        self.clients.remove(&id);
        self.net.remove(id);
        self.conns.abandon(id);
    }

    /// The client's TCP connections are reset.
    pub fn cut_sockets(&mut self, id: ClientId) {
        self.conns.reset(id);
        self.after_conns();
    }

    /// The client is on another network: its old addresses and connections are dead.
    pub fn change_network(&mut self, id: ClientId, local: SocketAddr) {
        self.net.rebind(id);
        self.conns.orphan(self.now, id);
        self.with(id, |client, now| client.change_network(now, local));
    }

    /// A datagram comes from the client at which its worker panics.
    pub fn poison(&mut self, id: ClientId) {
        let local = self.clients.get(&id).and_then(|c| c.media()).map(|m| m.local);
        let Some(remote) = local.and_then(|local| self.net.outward(id, local)) else { return };
        self.poisoned += 1;
        self.inject(remote, super::crypto::POISON.to_vec());
    }

    // -- what is left

    /// A number for somebody of whom the model does not know.
    pub fn mint_hostile(&mut self) -> ClientId {
        self.hostile += 1;
        1_000_000 + self.hostile
    }

    /// Sessions that those may have.
    pub fn hostile_sessions(&self) -> usize {
        self.hostile as usize
    }

    /// Nobody is there, and nothing of them.
    pub fn is_empty(&self) -> bool {
        let workers = self.server.threads.iter().all(|t| t.worker.census() == Default::default());
        workers && self.server.gate.census() == Default::default() && self.conns.open_here() == 0
    }

    /// What must hold while nothing is under way.
    pub fn check_calm(&mut self) {
        let settled = |world: &World| {
            let post = world.server.post;
            post.sent == post.received + post.dropped
        };
        let mut tries = 0;
        while !settled(self) {
            tries += 1;
            assert!(tries < 5_000, "letters were lost: {:?}", self.server.post);
            self.run_for(Duration::from_millis(1));
        }
        let panics: u64 =
            self.server.threads.iter_mut().map(|t| t.worker.counters_mut().panics).sum();
        assert!(panics <= self.poisoned, "{panics} panics, {} planted", self.poisoned);
        for (id, client) in &self.clients {
            let faults = client.media().map(|m| m.faults()).unwrap_or_default();
            assert!(faults.is_empty(), "{id} was sent what no decoder can show: {faults:?}");
            if let Some(browser) = client.browser().filter(|b| !b.lies_about_certificate) {
                assert!(browser.complaints.is_empty(), "{id}: {:?}", browser.complaints);
            }
        }
    }

    /// The simulator itself forgets what it need not know any more, so that what is live is the
    /// server's and its clients'.
    pub fn forget_the_past(&mut self) {
        self.observer.forget(&self.clients.keys().copied().collect());
        self.queue.shrink_to_fit();
        self.server.threads.iter_mut().for_each(|t| t.socket.shrink_to_fit());
    }

    /// For whoever has to find out why.
    pub fn describe(&mut self) -> String {
        let mut text = format!("{:?}, {:?}\n", self.server.gate.census(), self.server.post);
        for thread in &mut self.server.threads {
            text += &format!("{:?}\n{:?}\n", thread.worker.census(), thread.worker.counters_mut());
        }
        for (id, client) in &self.clients {
            text += &format!("{id}: settled {}, {:?}\n", client.is_settled(), self.net.link(*id));
            if let Some(media) = client.media() {
                text += &format!("  {}\n", media.describe());
            }
            if let Some(browser) = client.browser() {
                text += &format!("  {}\n", browser.describe());
            }
        }
        text
    }

    /// What was held up while a link was cut goes on.
    pub fn mend(&mut self, id: ClientId) {
        if let Some(link) = self.net.link_mut(id) {
            link.cut = None;
        }
        self.conns.release(id);
        self.after_conns();
    }

    /// The server's clock jumps ahead.
    pub fn step_clock(&mut self, by: Duration) {
        self.skew += by;
        for thread in self.threads() {
            self.schedule(thread, self.now);
        }
    }
}
