//! Two workers with clients that speak real ICE, DTLS and RTP, while others send them junk, forged
//! and replayed datagrams, letters come out of order and time leaps: tables agree after each step,
//! nothing panics or spins, no stranger gets a byte, and when all have left nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use trackyard::base::rng::Rng;
use trackyard::room::mail::{
    Address, Outgoing, PeerLetter, Role, RoomLetter, RoomSettings, Seat, ToGate, ToWorker,
    TrackLetter, TrackRef, TrackState, Update,
};
use trackyard::wire::codec::Kind;
use trackyard::wire::demux::{Protocol, classify};
use trackyard::wire::signal::{LeaveReason, PublishLimits, Source, Want};
use trackyard::worker::{Crypto, Worker, WorkerConfig};

use client::Client;

#[path = "../../tests/common/client.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod client;
#[path = "../../tests/common/vp8.rs"]
#[allow(dead_code, reason = "other tests need more of it")]
mod vp8;

const WORKERS: usize = 2;
/// Handshakes are what an input costs most.
const CLIENTS_MAX: u64 = 4;
const STEPS_MAX: usize = 60;
const TURNS_MAX: usize = 200;

#[derive(Debug, Arbitrary)]
enum Step {
    Join {
        send: bool,
        slots: u8,
    },
    Leave {
        who: u8,
    },
    /// Everybody goes on for so long.
    Run {
        ms: u8,
    },
    /// Nobody hears of anything meanwhile.
    Leap {
        ms: u16,
    },
    Junk {
        from: u8,
        worker: u8,
        first: u8,
        bytes: [u8; 24],
    },
    /// A check for a live ufrag by somebody who does not know the password.
    Forge {
        from: u8,
        worker: u8,
        who: u8,
        bytes: [u8; 8],
    },
    /// What a client sent before, from its own address or another.
    Replay {
        from: u8,
        worker: u8,
        back: u8,
    },
    Flip {
        worker: u8,
        back: u8,
        at: u16,
        bits: u8,
    },
    Lose {
        datagrams: u8,
    },
    RestartIce {
        who: u8,
    },
    RestartByLetter {
        who: u8,
    },
    Update {
        who: u8,
        muted: bool,
    },
    Assign {
        who: u8,
        mid: u8,
        track: u8,
    },
    Track {
        worker: u8,
        track: u8,
        to: u8,
        what: u8,
    },
    Route {
        worker: u8,
        from: u8,
        owner: u8,
    },
    Close {
        who: u8,
    },
}

pub fn check(data: &[u8]) {
    let mut world = World::new();
    for step in super::steps(data).take(STEPS_MAX) {
        world.step(step);
        world.deliver();
        world.holds();
    }
    world.end();
}

struct World {
    now: Instant,
    workers: Vec<Worker>,
    server: SocketAddr,
    joined: u64,
    clients: BTreeMap<u64, Client>,
    /// What clients sent, with the address from which.
    sent: Vec<(SocketAddr, Vec<u8>)>,
    /// Addresses from which a valid check may have come.
    checked: BTreeSet<SocketAddr>,
    losing: u8,
    peers: [u64; WORKERS],
    rooms: usize,
}

impl World {
    fn new() -> World {
        static CRYPTO: OnceLock<Crypto> = OnceLock::new();
        let crypto = CRYPTO.get_or_init(Crypto::generate);
        let now = super::start();
        let server: SocketAddr = ([127, 0, 0, 1], 8443).into();
        let mut rng = Rng::from_seed([5; 32]);
        let worker = |id: usize| {
            let config = WorkerConfig {
                id: WorkerId(id as u16),
                workers: WORKERS,
                candidates: vec![server],
                crypto: crypto.clone(),
                ntp: 3_900_000_000 << 32,
                rooms: RoomSettings::default(),
                limits: PublishLimits::default(),
            };
            Worker::new(config, rng.fork(), now)
        };
        World {
            now,
            workers: (0..WORKERS).map(worker).collect(),
            server,
            joined: 0,
            clients: BTreeMap::new(),
            sent: Vec::new(),
            checked: BTreeSet::new(),
            losing: 0,
            peers: [0; WORKERS],
            rooms: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join { send, slots } => self.join(send, usize::from(slots % 4)),
            Step::Leave { who } => {
                if let Some(id) = self.who(who) {
                    self.leave(id);
                }
            }
            Step::Run { ms } => self.run(Duration::from_millis(u64::from(ms) * 4)),
            Step::Leap { ms } => {
                self.now += Duration::from_millis(u64::from(ms) * 2);
                self.timeouts();
            }
            Step::Lose { datagrams } => self.losing = datagrams % 16,
            Step::RestartIce { who } => {
                if let Some(id) = self.who(who) {
                    let sdp = self.client(id).restart_ice();
                    self.offer(id, sdp);
                }
            }
            Step::Junk { .. } | Step::Forge { .. } | Step::Replay { .. } | Step::Flip { .. } => {
                self.attack(step);
            }
            letter => self.letters(letter),
        }
    }

    fn attack(&mut self, step: Step) {
        let (from, worker, bytes) = match step {
            Step::Junk { from, worker, first, bytes } => {
                (self.address_of(from), worker, [&[first], &bytes[..]].concat())
            }
            Step::Forge { from, worker, who, bytes } => {
                let Some(ufrag) = self.ufrag(who) else { return };
                (self.address_of(from), worker, forged(&ufrag, &bytes))
            }
            Step::Replay { from, worker, back } => {
                let Some((_, bytes)) = self.sent.iter().rev().nth(back.into()).cloned() else {
                    return;
                };
                let from = self.address_of(from);
                if matches!(classify(&bytes), Protocol::StunRequest { .. }) {
                    self.checked.insert(from);
                }
                (from, worker, bytes)
            }
            Step::Flip { worker, back, at, bits } => {
                let Some((from, mut bytes)) = self.sent.iter().rev().nth(back.into()).cloned()
                else {
                    return;
                };
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= bits;
                (from, worker, bytes)
            }
            other => unreachable!("{other:?} is no attack"),
        };
        let worker = usize::from(worker) % WORKERS;
        self.workers[worker].handle_datagram(self.now, from, self.server.ip(), &mut bytes.to_vec());
    }

    fn letters(&mut self, step: Step) {
        match step {
            Step::RestartByLetter { who } => {
                let (ufrag, pwd) = ("restarted".to_owned(), "p".repeat(24));
                self.peer(who, PeerLetter::RestartIce { ufrag, pwd });
            }
            Step::Update { who, muted } => {
                let Some(id) = self.who(who) else { return };
                let mid = self.client(id).sending.as_ref().map(|s| s.mid.to_string());
                let mid = mid.unwrap_or_default();
                let update = Update { mid, muted, limited: None, request: Some(1) };
                let (address, room) = (address(id), "room".into());
                self.peer(who, PeerLetter::Update { address, room, update });
            }
            Step::Assign { who, mid, track } => {
                let Some(id) = self.who(who) else { return };
                let mids: Vec<String> =
                    self.client(id).slots.keys().map(|mid| mid.to_string()).collect();
                // A track that has ended meanwhile: all that may be late in a letter of a room.
                let mid = mids.get(usize::from(mid) % 4).cloned().unwrap_or("none".into());
                let ended = TrackRef {
                    id: TrackId(track.into()),
                    kind: Kind::Video,
                    source: Source::Camera,
                    worker: WorkerId((track % 2).into()),
                };
                let seat = (track & 0x80 == 0).then_some(Seat {
                    track: ended,
                    state: TrackState::default(),
                    want: Want::default(),
                });
                self.peer(who, PeerLetter::Assign { mid, seat });
            }
            Step::Track { worker, track, to, what } => {
                let to = WorkerId(u16::from(to) % WORKERS as u16);
                let letter = match what % 3 {
                    0 => TrackLetter::RequestKeyframe { encoding: 0 },
                    what => TrackLetter::Relay { to, wanted: what == 1 },
                };
                let letter = ToWorker::Track(TrackId(track.into()), letter);
                self.letter(usize::from(worker) % WORKERS, letter);
            }
            Step::Route { worker, from, owner } => {
                let worker = usize::from(worker) % WORKERS;
                let other = WorkerId((1 - worker) as u16);
                let (remote, local) = (stranger(from), self.server.ip());
                let owner = (owner & 1 == 0).then_some(other);
                self.letter(worker, ToWorker::Route { remote, local, owner });
            }
            Step::Close { who } => self.peer(who, PeerLetter::Close),
            other => unreachable!("{other:?} is no letter"),
        }
    }

    fn who(&self, who: u8) -> Option<u64> {
        self.clients.keys().copied().cycle().nth(who.into())
    }

    fn client(&mut self, id: u64) -> &mut Client {
        self.clients.get_mut(&id).expect("a client by its own id")
    }

    fn address_of(&self, from: u8) -> SocketAddr {
        let client = self.who(from).filter(|_| from & 1 == 0);
        client.map_or(stranger(from), |id| self.clients[&id].address)
    }

    /// The server's ufrag of a client, as it stands in the client's checks.
    fn ufrag(&self, who: u8) -> Option<String> {
        let address = self.clients[&self.who(who)?].address;
        let mut own = self.sent.iter().rev().filter(|(from, _)| *from == address);
        own.find_map(|(_, bytes)| match classify(bytes) {
            Protocol::StunRequest { local_ufrag } => Some(local_ufrag.to_owned()),
            _ => None,
        })
    }

    fn join(&mut self, send: bool, slots: usize) {
        if self.joined >= CLIENTS_MAX || (!send && slots == 0) {
            return;
        }
        self.joined += 1;
        let id = self.joined;
        let name = format!("n{id}");
        let (address, role) = (address(id), Role::Participant);
        self.room(RoomLetter::Join { address, name, role, request: None });
        let local: SocketAddr = ([127, 0, 0, 1], 20_000 + id as u16).into();
        self.checked.insert(local);
        let mut client = Client::new(id as u32, local, self.now);
        let sdp = client.offer(send, slots, self.now);
        self.clients.insert(id, client);
        self.offer(id, sdp);
    }

    fn offer(&mut self, id: u64, sdp: String) {
        let offer = PeerLetter::Offer {
            address: address(id),
            room: "room".into(),
            role: Role::Participant,
            request: None,
            sdp,
            tracks: Vec::new(),
        };
        let worker = address(id).worker.index();
        self.letter(worker, ToWorker::Peer(ParticipantId(id), offer));
    }

    fn leave(&mut self, id: u64) {
        self.clients.remove(&id);
        let participant = ParticipantId(id);
        self.room(RoomLetter::Leave { participant, reason: LeaveReason::Left });
        let close = ToWorker::Peer(participant, PeerLetter::Close);
        self.letter(address(id).worker.index(), close);
    }

    fn peer(&mut self, who: u8, letter: PeerLetter) {
        if let Some(id) = self.who(who) {
            let letter = ToWorker::Peer(ParticipantId(id), letter);
            self.letter(address(id).worker.index(), letter);
        }
    }

    fn room(&mut self, letter: RoomLetter) {
        self.letter(0, ToWorker::Room("room".into(), letter));
    }

    fn letter(&mut self, worker: usize, letter: ToWorker) {
        self.workers[worker].handle_letter(self.now, letter);
        self.deliver();
    }

    /// Letters and datagrams, until nobody has anything to say at this instant.
    fn deliver(&mut self) {
        for _ in 0..TURNS_MAX {
            let mut quiet = true;
            for index in 0..WORKERS {
                for transmit in self.workers[index].flush_all(self.now) {
                    quiet = false;
                    let remote = transmit.remote;
                    assert!(self.checked.contains(&remote), "{remote} gets bytes unchecked");
                    assert!(transmit.bytes.len() <= 1_250, "{} bytes", transmit.bytes.len());
                    let client = self.clients.values_mut().find(|c| c.address == remote);
                    if let Some(client) = client {
                        client.receive(self.now, self.server, &transmit.bytes);
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
            if !self.datagrams() && quiet {
                return;
            }
        }
        panic!("they never come to rest");
    }

    /// What clients send; whether that is anything.
    fn datagrams(&mut self) -> bool {
        let mut any = false;
        for client in self.clients.values_mut() {
            for (to, bytes) in client.poll(self.now) {
                any = true;
                self.sent.push((client.address, bytes.clone()));
                if self.losing > 0 {
                    self.losing -= 1;
                    continue;
                }
                // As SO_REUSEPORT does: by the source, never by the owner.
                let worker = &mut self.workers[usize::from(client.address.port() / 2) % WORKERS];
                worker.handle_datagram(self.now, client.address, to.ip(), &mut bytes.to_vec());
            }
        }
        any
    }

    fn gate(&mut self, letter: ToGate) {
        match letter {
            ToGate::Answered { session, answer, .. } => {
                if let Some(client) = self.clients.get_mut(&session.0) {
                    client.answer(&answer.sdp);
                }
            }
            ToGate::Report { worker, counters, rooms } => {
                self.peers[worker.index()] = counters.peers;
                if worker.index() == 0 {
                    self.rooms = rooms.len();
                }
            }
            ToGate::RoomEnded { .. } => panic!("a room broke"),
            _ => {}
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            self.deliver();
            let timeouts = self.workers.iter().filter_map(Worker::poll_timeout);
            let next = timeouts.chain(self.clients.values().map(Client::deadline)).min();
            let next = next.expect("reports never end").max(self.now + Duration::from_millis(1));
            if next > until {
                break;
            }
            self.now = next;
            self.timeouts();
        }
        self.now = until;
    }

    fn timeouts(&mut self) {
        for worker in &mut self.workers {
            worker.handle_timeout(self.now);
            let next = worker.poll_timeout().expect("reports never end");
            assert!(next > self.now, "it would spin");
        }
    }

    fn holds(&mut self) {
        for worker in &mut self.workers {
            worker.check_invariants();
            assert_eq!(worker.counters_mut().panics, 0);
        }
    }

    fn end(&mut self) {
        for id in self.clients.keys().copied().collect::<Vec<_>>() {
            self.leave(id);
        }
        self.run(Duration::from_secs(2));
        self.holds();
        assert_eq!((self.peers, self.rooms), ([0; WORKERS], 0), "somebody is left");
    }
}

fn address(id: u64) -> Address {
    Address {
        participant: ParticipantId(id),
        session: SessionId(id),
        worker: WorkerId((id % WORKERS as u64) as u16),
        home: WorkerId(0),
    }
}

fn stranger(from: u8) -> SocketAddr {
    ([127, 0, 0, 1], 40_000 + u16::from(from)).into()
}

/// A Binding request with a MESSAGE-INTEGRITY that nobody computed.
fn forged(ufrag: &str, bytes: &[u8; 8]) -> Vec<u8> {
    let username = format!("{ufrag}:aaaa");
    let mut attributes = vec![0, 6, 0, username.len() as u8];
    attributes.extend_from_slice(username.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    if bytes[0] & 1 == 1 {
        attributes.extend_from_slice(&[0, 8, 0, 20]);
        attributes.extend_from_slice(&[bytes[1]; 20]);
    }
    let mut datagram = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    datagram.extend_from_slice(bytes);
    datagram.extend_from_slice(&[0; 4]);
    datagram.extend_from_slice(&attributes);
    datagram
}
