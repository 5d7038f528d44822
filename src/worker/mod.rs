//! Floor 4: all that one core owns. Sans-IO: datagrams, letters and time go in; transmits,
//! letters and the next deadline come out.
//!
//! A turn of the shell is: any number of [`Worker::handle_datagram`], [`Worker::handle_letter`]
//! and [`Worker::handle_timeout`], then [`Worker::route`] and [`Worker::flush`] until it has no more, which visits each
//! subscriber once with all that came in for it; transmits are taken away after each, and letters
//! at the end.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod census;
mod clock;
mod convert;
mod crypto;
mod downlink;
mod feedback;
mod forward;
mod guard;
mod handoff;
mod ingress;
mod letters;
mod load;
mod mux;
mod negotiate;
mod paths;
mod peer;
mod quality;
mod reports;
mod slot;
mod streams;
pub mod tap;
mod tracks;
mod transmits;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::vec::Drain;

use slab::Slab;

use crate::base::counters::Counters;
use crate::base::deadlines::Deadlines;
use crate::base::ids::{ParticipantId, TrackId, WorkerId};
use crate::base::rng::Rng;
use crate::media::allocate::{Ladder, Step};
use crate::room::Rooms;
use crate::room::mail::{HandedDatagram, RoomSettings, ToGate, ToWorker};
use crate::wire::signal::{PublishLimits, Source};

pub use crate::room::mail::Outgoing;
pub use census::Census;
pub use crypto::Crypto;

use clock::Clock;
use forward::Visit;
use guard::AtWork;
use handoff::Handoff;
use load::Load;
use mux::{Mux, PeerKey};
use peer::Peer;
use tracks::Tracks;
pub use transmits::{Datagram, Transmit, Transmits};

/// What a worker is made of.
#[derive(Clone)]
pub struct WorkerConfig {
    pub id: WorkerId,
    /// How many there are, at least one.
    pub workers: usize,
    /// The addresses given to clients, best first; at least one. A datagram's local address is
    /// matched to one of these; behind a NAT, where none matches, the first is meant.
    pub candidates: Vec<SocketAddr>,
    pub crypto: Crypto,
    /// The NTP time (RFC 3550 §4) when it starts.
    pub ntp: u64,
    /// Of the rooms whose home it is.
    pub rooms: RoomSettings,
    /// What clients may send.
    pub limits: PublishLimits,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Timer {
    /// `str0m` asked to be called.
    Peer(PeerKey),
    /// The path that media takes may have fallen silent.
    Path(PeerKey),
    /// Something is to be said in RTCP.
    Feedback(PeerKey),
    /// What its path carries is spent anew.
    Allocate(PeerKey),
    /// Pictures that waited for their turn may leave.
    Pace(PeerKey),
    /// Nothing may have been heard of a publisher for too long.
    Silence(PeerKey),
    /// A keyframe of an encoding was asked for and has not come.
    Keyframe(TrackId, u8),
    /// A room has something to decide by itself.
    Rooms,
    Report,
}

/// Between two reports to the gate.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Longer than between two packets of whoever talks, and of one who is silent and says so.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// One core's share of the server.
pub struct Worker {
    config: WorkerConfig,
    rng: Rng,
    mux: Mux,
    peers: Slab<Peer>,
    by_participant: HashMap<ParticipantId, PeerKey>,
    tracks: Tracks,
    rooms: Rooms,
    deadlines: Deadlines<Timer>,
    /// When anything but a check for consent (RFC 7675) came last.
    stirred: Instant,
    counters: Counters,
    transmits: Transmits,
    clock: Clock,
    /// Used while feedback is written.
    numbers: Vec<u16>,
    /// Used while tracks are measured, and for slots without one.
    steps: Vec<Step>,
    no_ladder: Ladder,
    load: Load,
    /// The visits of this turn, and how many of them were made.
    visits: Vec<Visit>,
    visited: usize,
    /// Letters as they are written, to whomever.
    letters: Vec<Outgoing>,
    /// Those of them that are to this worker itself: opened before the turn ends.
    to_self: VecDeque<ToWorker>,
    /// Datagrams that other workers handed over.
    handed_in: VecDeque<HandedDatagram>,
    /// Those that leave.
    outbox: Vec<Outgoing>,
    /// What is being worked on, so that a panic is felt by that alone.
    at_work: AtWork,
    /// What leaves for other workers at the end of the turn.
    handoff: Handoff,
}

impl Worker {
    /// A worker with no peers. `now` is when its first report counts from.
    pub fn new(config: WorkerConfig, rng: Rng, now: Instant) -> Worker {
        assert!(!config.candidates.is_empty(), "the shell announces at least one address");
        assert!(config.id.index() < config.workers);
        let mut deadlines = Deadlines::default();
        deadlines.set(Timer::Report, now);
        Worker {
            handoff: Handoff::new(config.id, config.workers),
            clock: Clock::new(now, config.ntp),
            rooms: Rooms::new(config.rooms),
            config,
            rng,
            mux: Mux::default(),
            peers: Slab::new(),
            by_participant: HashMap::new(),
            tracks: Tracks::default(),
            deadlines,
            stirred: now,
            counters: Counters::default(),
            transmits: Transmits::default(),
            numbers: Vec::new(),
            steps: Vec::new(),
            no_ladder: Ladder::new(Source::Camera),
            load: Load::new(now),
            visits: Vec::new(),
            visited: 0,
            letters: Vec::new(),
            to_self: VecDeque::new(),
            handed_in: VecDeque::new(),
            outbox: Vec::new(),
            at_work: AtWork::Nothing,
        }
    }

    /// All that is due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.guard(now, |worker| worker.due(now));
    }

    fn due(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.pop_due(now) {
            match timer {
                Timer::Peer(key) => self.tick(key, now),
                Timer::Path(key) => self.weigh_paths(key, now),
                Timer::Feedback(key) => self.give_feedback(key, now),
                Timer::Allocate(key) => self.allocate(key, now),
                Timer::Pace(key) => self.pace(key, now),
                Timer::Silence(key) => self.listen(key, now),
                Timer::Keyframe(track, encoding) => self.ask_publisher((track, encoding), now),
                Timer::Rooms => self.decide(now),
                Timer::Report => self.report(now),
            }
        }
        self.settle(now);
    }

    /// Datagrams to send, in order; the caller takes them away.
    pub fn transmits(&mut self) -> &mut Transmits {
        &mut self.transmits
    }

    /// Letters to deliver, in order.
    pub fn take_letters(&mut self) -> Drain<'_, Outgoing> {
        self.outbox.drain(..)
    }

    /// The earliest deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Whether for a while nothing came but checks for consent on known paths: then nobody minds
    /// if the next waits for others.
    pub fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.stirred) >= IDLE_AFTER
    }

    /// For what the shell counts on the worker's behalf.
    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    fn report(&mut self, now: Instant) {
        self.at_work = AtWork::Nothing;
        self.deadlines.set(Timer::Report, now + REPORT_INTERVAL);
        self.handoff.rest();
        self.weigh(now);
        self.counters.peers = self.peers.len() as u64;
        self.counters.rooms = self.rooms.len() as u64;
        self.letters.push(Outgoing::Gate(ToGate::Report {
            worker: self.config.id,
            counters: Box::new(self.counters),
            rooms: self.rooms.report(),
        }));
    }

    /// Looks at how busy it was; where that was too much, clients get less from now on.
    fn weigh(&mut self, now: Instant) {
        let busy = Duration::from_micros(self.counters.turns.sum());
        if !self.load.take(now, busy) {
            return;
        }
        let level = self.load.level();
        let id = self.config.id;
        match level {
            0 => log::warn!("{id} has time again for all that its clients want"),
            _ => log::warn!("{id} has too much to do: level {level} of what it leaves out"),
        }
        self.counters.shed_level = level.into();
        let keys: Vec<PeerKey> = self.peers.iter().map(|(index, _)| PeerKey(index)).collect();
        for key in keys {
            self.will_allocate(key, now);
        }
    }

    /// How many ufrags, 4-tuples, deadlines and waiting datagrams it keeps. For tests.
    pub fn kept(&self) -> [usize; 4] {
        let (ufrags, tuples) = self.mux.sizes();
        [ufrags, tuples, self.deadlines.len(), self.handoff.waiting().0]
    }

    /// Panics if the worker's tables do not agree with each other. For tests and simulation.
    #[expect(clippy::indexing_slicing, clippy::expect_used, reason = "that is what it is for")]
    pub fn check_invariants(&self) {
        self.rooms.check_invariants();
        assert_eq!(self.by_participant.len(), self.peers.len());
        for (participant, key) in &self.by_participant {
            let peer = &self.peers[key.0];
            assert_eq!(peer.address.participant, *participant);
            assert_eq!(self.mux.peer_of_ufrag(&peer.credentials.ufrag), Some(*key));
            peer.check_invariants();
            assert_eq!(self.mux.entries_of(*key), (1, peer.paths.iter().count()));
        }
        for timer in self.deadlines.keys() {
            let alive = match timer {
                Timer::Peer(key)
                | Timer::Path(key)
                | Timer::Feedback(key)
                | Timer::Allocate(key)
                | Timer::Pace(key)
                | Timer::Silence(key) => self.peers.contains(key.0),
                Timer::Keyframe(id, _) => self.tracks.get(id).is_some(),
                Timer::Rooms | Timer::Report => true,
            };
            assert!(alive, "{timer:?} is of nobody");
        }
        self.tracks.check_invariants();
        for track in self.tracks.iter() {
            for (key, line) in &track.subscribers {
                let peer = self.peers.get(key.0).expect("a subscriber is a peer");
                let slot = peer.slots.iter().find(|s| s.agreed.line == *line);
                assert!(slot.is_some(), "a subscriber has the slot");
            }
        }
    }
}
