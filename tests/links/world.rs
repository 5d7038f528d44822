//! One worker, its publishers and subscribers, and the links between them, on virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use trackyard::base::ids::{ParticipantId, SessionId, WorkerId};
use trackyard::room::mail::{
    Address, PeerLetter, Role, RoomLetter, RoomSettings, ToGate, ToWorker,
};
use trackyard::wire::signal::PublishLimits;
use trackyard::worker::{Crypto, Outgoing, Worker, WorkerConfig};

use crate::endpoint::is_media;
use crate::link::{Link, Shape};
use crate::publisher::Publisher;
use crate::subscriber::Subscriber;
use crate::watch::Sent;

/// Between two turns of the worker that nothing but its own timers asks for: what a sleeping
/// thread is late by.
const TURN: Duration = Duration::from_micros(500);
/// From a publisher to the server, and back.
const UPLINK_KBPS: u64 = 15_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Publisher(usize),
    Subscriber(usize),
}

/// A datagram on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flight {
    at: Instant,
    /// Those of one moment stay in their order.
    count: u64,
    who: Who,
    to_server: bool,
    bytes: Vec<u8>,
}

/// A subscriber with its path.
pub struct Viewer {
    pub subscriber: Subscriber,
    pub down: Link,
    pub up: Link,
    /// What the server sent to it.
    pub sent: Sent,
}

pub struct World {
    pub began: Instant,
    pub now: Instant,
    pub worker: Worker,
    pub publishers: Vec<(Publisher, Link)>,
    pub viewers: Vec<Viewer>,
    server: SocketAddr,
    flying: BinaryHeap<Reverse<Flight>>,
    count: u64,
    turn: Instant,
    rng: Rng,
}

impl World {
    pub fn new(seed: u64) -> World {
        crate::trace::begin();
        fastrand::seed(seed);
        let now = crate::epoch();
        let server: SocketAddr = "10.0.0.1:8443".parse().expect("an address");
        let config = WorkerConfig {
            id: WorkerId(0),
            workers: 1,
            candidates: vec![server],
            crypto: Crypto::with(crate::crypto::provider()),
            ntp: 3_900_000_000 << 32,
            rooms: RoomSettings::default(),
            limits: PublishLimits::default(),
        };
        let chance = trackyard::base::rng::Rng::from_seed([seed as u8; 32]);
        World {
            began: now,
            now,
            worker: Worker::new(config, chance, now),
            publishers: Vec::new(),
            viewers: Vec::new(),
            server,
            flying: BinaryHeap::new(),
            count: 0,
            turn: now,
            rng: Rng::with_seed(seed),
        }
    }

    /// Since the beginning.
    pub fn time(&self) -> Duration {
        self.now - self.began
    }

    /// A camera whose rates are so many times the usual ones.
    pub fn publish(&mut self, times: f64) {
        let place = self.publishers.len();
        let address = SocketAddr::new([10, 0, 1, place as u8 + 1].into(), 5_000);
        let publisher = Publisher::new(address, times, self.now, &mut self.rng);
        let shape = Shape { delay: Duration::from_millis(10), ..Shape::of(UPLINK_KBPS) };
        let shape = Shape { queue: Duration::from_secs(5), ..shape };
        let up = Link::new(shape, self.began, self.rng.fork());
        self.publishers.push((publisher, up));
        let offer = self.publishers[place].0.endpoint.offer_camera();
        self.join(Who::Publisher(place), offer);
    }

    /// A viewer with so many video slots, at the end of such a link; what it says takes as long, and
    /// as much of it is lost.
    pub fn view(&mut self, videos: usize, down: Shape) {
        let place = self.viewers.len();
        let address = SocketAddr::new([10, 0, 2, place as u8 + 1].into(), 5_000);
        let round_trip = (2 * down.delay + down.jitter).max(Duration::from_millis(60));
        let up = Shape { rates: vec![(Duration::ZERO, 10_000_000)], ..down.clone() };
        let mut link = |shape| Link::new(shape, self.began, self.rng.fork());
        self.viewers.push(Viewer {
            subscriber: Subscriber::new(address, round_trip, self.now),
            down: link(down),
            up: link(up),
            sent: Sent::default(),
        });
        let offer = self.viewers[place].subscriber.endpoint.offer_slots(videos, 1);
        self.join(Who::Subscriber(place), offer);
    }

    fn address(who: Who) -> Address {
        let id = match who {
            Who::Publisher(at) => 2 * at as u64,
            Who::Subscriber(at) => 2 * at as u64 + 1,
        };
        let (worker, home) = (WorkerId(0), WorkerId(0));
        Address { participant: ParticipantId(id), session: SessionId(id), worker, home }
    }

    fn join(&mut self, who: Who, sdp: String) {
        let address = World::address(who);
        let (name, role) = (format!("{who:?}"), Role::Participant);
        let join = RoomLetter::Join { address, name, role: role.clone(), request: None };
        self.worker.handle_letter(self.now, ToWorker::Room("room".into(), join));
        let room = "room".into();
        let offer =
            PeerLetter::Offer { address, room, role, request: None, sdp, tracks: Vec::new() };
        self.worker.handle_letter(self.now, ToWorker::Peer(address.participant, offer));
        self.turn();
    }

    fn whose(id: u64) -> Who {
        let at = id as usize / 2;
        if id.is_multiple_of(2) { Who::Publisher(at) } else { Who::Subscriber(at) }
    }

    fn letters(&mut self) {
        for letter in self.worker.take_letters().collect::<Vec<_>>() {
            match letter {
                Outgoing::Gate(ToGate::Answered { session, answer, .. }) => {
                    match World::whose(session.0) {
                        Who::Publisher(at) => self.publishers[at].0.endpoint.answer(&answer.sdp),
                        Who::Subscriber(at) => self.viewers[at].subscriber.answer(&answer.sdp),
                    }
                }
                Outgoing::Gate(ToGate::Refused { message, .. }) => panic!("{message}"),
                Outgoing::Gate(_) => {}
                Outgoing::Worker(..) => panic!("there is one worker"),
            }
        }
    }

    /// What the worker has to say at this moment.
    fn turn(&mut self) {
        for datagram in self.worker.flush_all(self.now) {
            let (bytes, to) = (datagram.bytes, datagram.remote);
            let is_of = |viewer: &Viewer| viewer.subscriber.endpoint.address == to;
            let (who, at) = match self.viewers.iter().position(is_of) {
                Some(place) => {
                    let viewer = &mut self.viewers[place];
                    viewer.sent.take(self.now, &bytes);
                    (Who::Subscriber(place), viewer.down.pass(self.now, 0, bytes.len()))
                }
                None => {
                    let is_of = |(p, _): &(Publisher, Link)| p.endpoint.address == to;
                    let place = self.publishers.iter().position(is_of).expect("somebody's");
                    let delay = self.publishers[place].1.shape.delay;
                    (Who::Publisher(place), Some(self.now + delay))
                }
            };
            self.fly(at, who, false, bytes);
        }
        self.letters();
        self.turn = self.worker.poll_timeout().unwrap_or(self.now + TURN).max(self.now + TURN);
    }

    fn fly(&mut self, at: Option<Instant>, who: Who, to_server: bool, bytes: Vec<u8>) {
        if let Some(at) = at {
            self.count += 1;
            let count = self.count;
            self.flying.push(Reverse(Flight { at, count, who, to_server, bytes }));
        }
    }

    fn arrive(&mut self, flight: Flight) {
        let Flight { who, to_server, mut bytes, .. } = flight;
        match (who, to_server) {
            (Who::Publisher(at), true) => {
                let from = self.publishers[at].0.endpoint.address;
                self.worker.handle_datagram(self.now, from, self.server.ip(), &mut bytes);
            }
            (Who::Subscriber(at), true) => {
                let from = self.viewers[at].subscriber.endpoint.address;
                self.worker.handle_datagram(self.now, from, self.server.ip(), &mut bytes);
            }
            (Who::Publisher(at), false) => {
                self.publishers[at].0.receive(self.now, self.server, &mut bytes);
            }
            (Who::Subscriber(at), false) => {
                self.viewers[at].subscriber.receive(self.now, self.server, &mut bytes);
            }
        }
    }

    /// What the clients have to say at this moment.
    fn clients(&mut self) {
        let now = self.now;
        let mut left = Vec::new();
        for (at, (publisher, up)) in self.publishers.iter_mut().enumerate() {
            if publisher.deadline() <= now {
                publisher.poll(now);
            }
            for bytes in std::mem::take(&mut publisher.endpoint.outgoing) {
                left.push((up.pass(now, 0, bytes.len()), Who::Publisher(at), bytes));
            }
        }
        for (at, viewer) in self.viewers.iter_mut().enumerate() {
            if viewer.subscriber.deadline() <= now {
                viewer.subscriber.poll(now);
            }
            for bytes in std::mem::take(&mut viewer.subscriber.endpoint.outgoing) {
                // Connecting is not what is measured.
                let is_media = is_media(&bytes);
                let way = viewer.up.pass(now, 0, bytes.len());
                let way = if is_media { way } else { Some(now + viewer.up.shape.delay) };
                left.push((way, Who::Subscriber(at), bytes));
            }
        }
        for (way, who, bytes) in left {
            self.fly(way, who, true, bytes);
        }
    }

    /// Lets time pass until so long after the beginning.
    pub fn run_until(&mut self, end: Duration) {
        let end = self.began + end;
        loop {
            let publishers = self.publishers.iter().map(|(publisher, _)| publisher.deadline());
            let viewers = self.viewers.iter().map(|viewer| viewer.subscriber.deadline());
            let flying = self.flying.peek().map(|Reverse(flight)| flight.at);
            let next = publishers.chain(viewers).chain(flying).fold(self.turn, Instant::min);
            if next > end {
                return self.now = end;
            }
            self.now = next.max(self.now);
            crate::trace::at(self.time());
            let mut is_stirred = self.turn <= self.now;
            while let Some(Reverse(flight)) = self.flying.peek()
                && flight.at <= self.now
            {
                let Some(Reverse(flight)) = self.flying.pop() else { break };
                is_stirred |= flight.to_server;
                self.arrive(flight);
            }
            self.clients();
            if is_stirred {
                self.worker.handle_timeout(self.now);
                self.turn();
            }
        }
    }
}
