//! A whole server's workers and their clients on virtual time, and the network between them.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::media::Mid;
use trackyard::base::ids::{ParticipantId, SessionId, WorkerId};
use trackyard::base::rng::Rng;
use trackyard::room::mail::{
    Address, IceCredentials, PeerLetter, Role, RoomLetter, RoomSettings, ToGate, ToWorker,
};
use trackyard::wire::signal::{LeaveReason, PublishLimits, ServerMessage};
use trackyard::worker::{Crypto, Outgoing, Worker, WorkerConfig};

use super::client::Client;

/// A server's workers and their clients, with letters and datagrams delivered at once.
pub struct World {
    pub began: Instant,
    pub now: Instant,
    pub workers: Vec<Worker>,
    pub server: SocketAddr,
    pub clients: HashMap<u64, Client>,
    /// What each session was told last: which mids hold a track.
    filled: HashMap<u64, Vec<String>>,
    /// What became of each peer that the gate heard of as gone.
    pub gone: HashMap<u64, Instant>,
    pub net: Net,
    /// The server's ICE credentials, as each session was told last.
    pub ice: HashMap<u64, IceCredentials>,
    /// Datagrams on their way, with when they come.
    flying: VecDeque<(Instant, Flight)>,
}

enum Flight {
    /// To the client of that address of its own.
    ToClient { client: SocketAddr, source: SocketAddr, bytes: Vec<u8> },
    /// To the worker that the kernel would give it to.
    ToServer { worker: usize, from: SocketAddr, local: IpAddr, bytes: Vec<u8> },
}

/// What the server's clock says when the world begins.
pub const NTP_BEGAN: u64 = 3_900_000_000 << 32;

/// Decides which datagrams are lost.
pub type Loser = Box<dyn FnMut(SocketAddr, bool, &[u8]) -> bool>;

/// Makes up datagrams, each with where it claims to come from.
pub type Forger = Box<dyn FnMut(SocketAddr, &[u8]) -> Vec<(SocketAddr, Vec<u8>)>>;

/// What happens between the server and its clients; nothing by default.
#[derive(Default)]
pub struct Net {
    /// How long each way takes.
    pub delay: Duration,
    /// A client's own address to the one that the server sees.
    pub nat: HashMap<SocketAddr, SocketAddr>,
    /// Whether a datagram is lost, by the client's own address and whether it is on its way to
    /// the server.
    pub loses: Option<Loser>,
    /// What reaches the server just before a client's datagram, given the address that it sees.
    pub forges: Option<Forger>,
    /// Datagrams to the server since they were last taken, with the address it saw, if wanted.
    pub captured: Option<Vec<(SocketAddr, Vec<u8>)>>,
    /// Bytes that the server sent to each address.
    pub bytes_out: HashMap<SocketAddr, u64>,
    /// The longest datagram that the server sent.
    pub longest: usize,
}

impl Net {
    fn lost(&mut self, client: SocketAddr, to_server: bool, bytes: &[u8]) -> bool {
        self.loses.as_mut().is_some_and(|loses| loses(client, to_server, bytes))
    }

    /// What the server sees of a client.
    pub fn outside(&self, client: SocketAddr) -> SocketAddr {
        self.nat.get(&client).copied().unwrap_or(client)
    }
}

impl World {
    pub fn new(workers: usize) -> World {
        let now = Instant::now();
        let server: SocketAddr = "127.0.0.1:8443".parse().unwrap();
        let crypto = Crypto::generate();
        let mut rng = Rng::from_seed([5; 32]);
        let worker = |id| {
            let config = WorkerConfig {
                id: WorkerId(id as u16),
                workers,
                candidates: vec![server],
                crypto: crypto.clone(),
                ntp: NTP_BEGAN,
                rooms: RoomSettings::default(),
                limits: PublishLimits::default(),
            };
            Worker::new(config, rng.fork(), now)
        };
        World {
            began: now,
            now,
            workers: (0..workers).map(worker).collect(),
            server,
            clients: HashMap::new(),
            filled: HashMap::new(),
            gone: HashMap::new(),
            net: Net::default(),
            ice: HashMap::new(),
            flying: VecDeque::new(),
        }
    }

    pub fn home(&self) -> usize {
        self.workers.len() - 1
    }

    pub fn address(&self, id: u64) -> Address {
        Address {
            participant: ParticipantId(id),
            session: SessionId(id),
            worker: WorkerId((id as usize % self.workers.len()) as u16),
            home: WorkerId(self.home() as u16),
        }
    }

    pub fn letter(&mut self, worker: usize, letter: ToWorker) {
        self.workers[worker].handle_letter(self.now, letter);
        self.deliver();
    }

    pub fn join(&mut self, id: u64, send: bool, slots: usize) {
        self.join_as(Role::Participant, id, send, slots);
    }

    pub fn join_as(&mut self, role: Role, id: u64, send: bool, slots: usize) {
        self.join_with(role, id, |client, now| client.offer(send, slots, now));
    }

    /// With any offer.
    pub fn join_with(
        &mut self,
        role: Role,
        id: u64,
        offer: impl FnOnce(&mut Client, Instant) -> String,
    ) {
        let address = self.address(id);
        let join =
            RoomLetter::Join { address, name: format!("n{id}"), role: role.clone(), request: None };
        self.letter(self.home(), ToWorker::Room("room".into(), join));
        let local = SocketAddr::new("127.0.0.1".parse::<IpAddr>().unwrap(), 20_000 + id as u16);
        let mut client = Client::new(id as u32, local, self.now);
        let sdp = offer(&mut client, self.now);
        self.clients.insert(id, client);
        self.offer_as(role, id, sdp);
    }

    pub fn offer(&mut self, id: u64, sdp: String) {
        self.offer_as(Role::Participant, id, sdp);
    }

    pub fn offer_as(&mut self, role: Role, id: u64, sdp: String) {
        let offer = PeerLetter::Offer {
            address: self.address(id),
            room: "room".into(),
            role,
            request: None,
            sdp,
            tracks: Vec::new(),
        };
        let worker = self.address(id).worker.index();
        self.letter(worker, ToWorker::Peer(ParticipantId(id), offer));
    }

    pub fn leave(&mut self, id: u64) {
        let participant = ParticipantId(id);
        let leave = RoomLetter::Leave { participant, reason: LeaveReason::Left };
        self.letter(self.home(), ToWorker::Room("room".into(), leave));
        self.letter(
            self.address(id).worker.index(),
            ToWorker::Peer(participant, PeerLetter::Close),
        );
        self.clients.remove(&id);
        self.filled.remove(&id);
    }

    /// Letters and datagrams, until nobody has anything to say at this instant.
    pub fn deliver(&mut self) {
        loop {
            let mut quiet = true;
            while self.flying.front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, flight) = self.flying.pop_front().expect("one is due");
                quiet = false;
                self.arrive(flight);
            }
            for index in 0..self.workers.len() {
                let datagrams = self.workers[index].flush_all(self.now);
                self.workers[index].check_invariants();
                for transmit in datagrams {
                    quiet = false;
                    let (to, bytes) = (transmit.remote, &transmit.bytes);
                    *self.net.bytes_out.entry(to).or_default() += bytes.len() as u64;
                    self.net.longest = self.net.longest.max(bytes.len());
                    let mut clients = self.clients.values_mut();
                    let client = clients.find(|c| self.net.outside(c.address) == to);
                    if let Some(client) = client
                        && !self.net.lost(client.address, false, bytes)
                    {
                        let source = SocketAddr::new(transmit.local, self.server.port());
                        let (client, bytes) = (client.address, transmit.bytes);
                        let flight = Flight::ToClient { client, source, bytes };
                        self.flying.push_back((self.now + self.net.delay, flight));
                    }
                }
                for letter in self.workers[index].take_letters().collect::<Vec<_>>() {
                    quiet = false;
                    match letter {
                        Outgoing::Worker(to, letter) => {
                            assert_ne!(to.index(), index, "letters to oneself stay inside");
                            self.workers[to.index()].handle_letter(self.now, letter);
                        }
                        Outgoing::Gate(letter) => self.gate(letter),
                    }
                }
            }
            let count = self.workers.len();
            for client in self.clients.values_mut() {
                for (to, bytes) in client.poll(self.now) {
                    quiet = false;
                    // As SO_REUSEPORT does: by the source, never by the owner.
                    if self.net.lost(client.address, true, &bytes) {
                        continue;
                    }
                    let from = self.net.outside(client.address);
                    let index = usize::from(from.port() / 3) % count;
                    let forged = self.net.forges.as_mut().map(|forge| forge(from, &bytes));
                    for (from, mut bytes) in forged.unwrap_or_default() {
                        let index = usize::from(from.port() / 3) % count;
                        self.workers[index].handle_datagram(self.now, from, to.ip(), &mut bytes);
                    }
                    if let Some(captured) = &mut self.net.captured {
                        captured.push((from, bytes.clone()));
                    }
                    let flight = Flight::ToServer { worker: index, from, local: to.ip(), bytes };
                    self.flying.push_back((self.now + self.net.delay, flight));
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::ToClient { client, source, bytes } => {
                let mut clients = self.clients.values_mut();
                if let Some(client) = clients.find(|c| c.address == client) {
                    client.receive(self.now, source, &bytes);
                }
            }
            Flight::ToServer { worker, from, local, mut bytes } => {
                self.workers[worker].handle_datagram(self.now, from, local, &mut bytes);
            }
        }
    }

    pub fn gate(&mut self, letter: ToGate) {
        match letter {
            ToGate::Answered { session, answer, .. } => {
                let client = self.clients.get_mut(&session.0).expect("an asking client");
                client.answer(&answer.sdp);
                self.ice.insert(session.0, answer.ice);
            }
            ToGate::Event { to, message: ServerMessage::Slots { slots, .. } } => {
                let filled = slots.iter().filter(|s| s.track.is_some()).map(|s| s.mid.clone());
                let filled: Vec<String> = filled.collect();
                for session in to {
                    self.filled.insert(session.0, filled.clone());
                }
            }
            ToGate::PeerGone { session, .. } => {
                self.gone.insert(session.0, self.now);
            }
            ToGate::Refused { message, .. } => panic!("{message}"),
            _ => {}
        }
    }

    /// Lets time pass until `done`, at most for `limit`; gives how long it took.
    pub fn until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> Duration {
        let start = self.now;
        loop {
            self.deliver();
            if done(self) {
                return self.now - start;
            }
            if self.now - start > limit {
                self.explain();
                panic!("not done after {limit:?}");
            }
            self.step(None);
        }
    }

    /// To the next moment at which somebody has something to do, or to `end` if that is earlier.
    fn step(&mut self, end: Option<Instant>) {
        let timeouts = self.workers.iter().filter_map(Worker::poll_timeout);
        let flying = self.flying.front().map(|(at, _)| *at);
        let next = timeouts.chain(self.clients.values().map(Client::deadline)).chain(flying).min();
        let next = next.expect("reports never end").max(self.now + Duration::from_millis(1));
        self.now = end.map_or(next, |end| next.min(end));
        for worker in &mut self.workers {
            worker.handle_timeout(self.now);
        }
    }

    /// Lets that much time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.deliver();
            self.step(Some(end));
        }
        self.deliver();
    }

    /// A datagram of an attacker's, from an address of their choosing.
    pub fn inject(&mut self, from: SocketAddr, bytes: &[u8]) {
        let index = usize::from(from.port() / 3) % self.workers.len();
        let local = self.server.ip();
        self.workers[index].handle_datagram(self.now, from, local, &mut bytes.to_vec());
    }

    /// How often something was dropped, over all workers.
    pub fn dropped(&mut self, reason: trackyard::base::counters::DropReason) -> u64 {
        self.workers.iter_mut().map(|w| w.counters_mut().dropped(reason)).sum()
    }

    /// The mids of a session's slots that hold a track.
    pub fn mids(&self, id: u64) -> Vec<Mid> {
        let filled = self.filled.get(&id).map(Vec::as_slice).unwrap_or_default();
        filled.iter().map(|m| Mid::from(m.as_str())).collect()
    }

    /// Every slot that holds a track shows a picture, and as many do as there are others sending.
    pub fn all_see(&self) -> bool {
        let senders = |except| {
            self.clients.iter().filter(move |(id, c)| **id != except && c.sending.is_some())
        };
        self.clients.iter().all(|(id, client)| {
            let mids = self.mids(*id);
            let wanted = senders(*id).count().min(client.slots.len());
            mids.len() == wanted && client.sees(&mids)
        })
    }

    pub fn explain(&mut self) {
        for (id, client) in &self.clients {
            eprintln!(
                "client {id}: connected {}, filled {:?}",
                client.connected,
                self.filled.get(id)
            );
            for (mid, judge) in &client.slots {
                eprintln!("  {mid}: {judge:?}");
            }
        }
        for worker in &mut self.workers {
            eprintln!("{:?}", worker.counters_mut());
        }
    }

    pub fn assert_no_faults(&self) {
        for client in self.clients.values() {
            for judge in client.slots.values() {
                assert!(judge.faults.is_empty(), "{:?}", judge.faults);
            }
        }
    }
}
