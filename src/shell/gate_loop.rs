//! The gate's thread: one mio loop over the listener, all connections and the mailbox.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use rustls::ServerConfig;
use slab::Slab;

use super::conn::{Conn, Pumped};
use super::mailbox::{Outbox, Receiver, Sender, WAKER};
use super::phase::{Phase, PhaseWatch};
use super::tls::reset_on_drop;
use crate::base::deadlines::Deadlines;
use crate::base::limits::{CONNS_MAX, TLS_HANDSHAKES_PER_TURN};
use crate::base::rng::Rng;
use crate::gate::{ConnId, Gate, GateConfig, GateInput, GateOutput, TurnedAway};
use crate::room::mail::{ToGate, ToWorker};

const LISTENER: Token = Token(WAKER.0 + 1);
const FIRST_CONN: usize = LISTENER.0 + 1;
/// Accepted before the other connections get their turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Without file descriptors or memory, accepting waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A worker's full mailbox is tried again after.
const RETRY: Duration = Duration::from_millis(5);
/// After draining, for the last words to go out.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// A connection's key holds its place in the slab in so many low bits.
const PLACE_BITS: u32 = 16;
const _: () = assert!(CONNS_MAX < 1 << PLACE_BITS);

/// All that the thread owns from its start.
pub struct GateSetup {
    /// With the mailbox's waker registered under [`WAKER`].
    pub poll: Poll,
    /// Bound and listening.
    pub listener: TcpListener,
    pub tls: Arc<ServerConfig>,
    pub config: GateConfig,
    pub rng: Rng,
    /// From the workers.
    pub letters: Receiver<ToGate>,
    /// To each worker, by its index.
    pub workers: Vec<Sender<ToWorker>>,
    /// Followed after each wake-up.
    pub phase: PhaseWatch,
}

/// Runs the gate until all is said after a drain, or until [`Phase::End`].
///
/// Error: the listener cannot be registered.
pub fn run(setup: GateSetup) -> io::Result<()> {
    setup.listener.set_nonblocking(true)?;
    let mut listener = mio::net::TcpListener::from_std(setup.listener);
    let registry = setup.poll.registry();
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let gate_loop = GateLoop {
        poll: setup.poll,
        listener: Some(listener),
        tls: setup.tls,
        gate: Gate::new(setup.config, setup.rng),
        letters: setup.letters,
        workers: setup.workers.into_iter().map(Outbox::new).collect(),
        phase: setup.phase,
        conns: Slab::new(),
        opened: 0,
        deadlines: Deadlines::default(),
        touched: Vec::new(),
        again: Vec::new(),
        shaking: Vec::new(),
        inputs: VecDeque::new(),
        accepting: Accepting::Waits,
        draining: false,
        ending: None,
    };
    gate_loop.run();
    Ok(())
}

/// Whether somebody may wait at the listener. Its readiness is edge-triggered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    /// Nobody until the poll says so.
    Waits,
    Ready,
    /// There were no means; again then.
    Paused(Instant),
}

struct GateLoop {
    poll: Poll,
    /// Closed once a drain is over.
    listener: Option<mio::net::TcpListener>,
    tls: Arc<ServerConfig>,
    gate: Gate,
    letters: Receiver<ToGate>,
    workers: Vec<Outbox<ToWorker>>,
    phase: PhaseWatch,
    conns: Slab<Conn>,
    /// Connections so far; makes their keys unique.
    opened: u64,
    deadlines: Deadlines<ConnId>,
    /// To be pumped in this turn.
    touched: Vec<ConnId>,
    /// To be pumped in the next.
    again: Vec<ConnId>,
    /// Of those to be pumped in this turn, those in their TLS handshake. Empty between turns.
    shaking: Vec<ConnId>,
    inputs: VecDeque<GateInput>,
    accepting: Accepting,
    draining: bool,
    /// After [`GateOutput::Drained`]: the time by which the thread ends.
    ending: Option<Instant>,
}

impl GateLoop {
    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut letters = Vec::new();
        loop {
            let timeout = self.sleep(Instant::now());
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                log::error!("the gate's poll failed, the gate ends: {error}");
                return;
            }
            let now = Instant::now();
            self.take_events(&events);
            let phase = self.phase.get();
            if phase == Phase::End {
                return;
            }
            if phase == Phase::Drain && !std::mem::replace(&mut self.draining, true) {
                self.begin_drain(now);
            }
            self.letters.drain(&mut letters);
            self.inputs.extend(letters.drain(..).map(GateInput::Letter));
            if self.gate.poll_timeout().is_some_and(|due| due <= now) {
                self.inputs.push_back(GateInput::Timeout);
            }
            self.accept(now);
            self.expire(now);
            self.settle(now);
            let all_said = || self.conns.iter().all(|(_, conn)| conn.has_said_all());
            if self.ending.is_some_and(|end| now >= end || all_said()) {
                return;
            }
        }
    }

    /// How long nothing is due.
    fn sleep(&mut self, now: Instant) -> Option<Duration> {
        if !self.again.is_empty() || self.accepting == Accepting::Ready {
            return Some(Duration::ZERO);
        }
        let mut wakes = [self.gate.poll_timeout(), self.deadlines.next(), self.ending, None, None];
        if let Accepting::Paused(until) = self.accepting {
            wakes[3] = Some(until);
        }
        // All of them, not only the first that waits.
        let waiting = self.workers.iter_mut().filter_map(|w| w.retry().then_some(()));
        if waiting.count() > 0 {
            wakes[4] = Some(now + RETRY);
        }
        let due = wakes.into_iter().flatten().min()?;
        Some(due.saturating_duration_since(now))
    }

    fn take_events(&mut self, events: &Events) {
        self.touched.append(&mut self.again);
        for event in events {
            match event.token() {
                WAKER => {}
                LISTENER => {
                    if !matches!(self.accepting, Accepting::Paused(_)) {
                        self.accepting = Accepting::Ready;
                    }
                }
                // An event for the place's former owner only costs a look.
                Token(token) => {
                    if let Some(conn) = self.conns.get_mut(token - FIRST_CONN) {
                        conn.ready(event.is_readable(), event.is_writable());
                        self.touched.push(conn.id());
                    }
                }
            }
        }
    }

    fn accept(&mut self, now: Instant) {
        match self.accepting {
            Accepting::Waits => return,
            Accepting::Paused(until) if until > now => return,
            _ => {}
        }
        let was_paused = matches!(self.accepting, Accepting::Paused(_));
        self.accepting = Accepting::Ready;
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(listener) = &self.listener else {
                self.accepting = Accepting::Waits;
                return;
            };
            match listener.accept() {
                Ok((stream, remote)) => self.open(now, stream, remote.ip()),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => {
                        self.accepting = Accepting::Waits;
                        return;
                    }
                    // The client left while it waited.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        if !was_paused {
                            log::warn!("no connection can be accepted for a moment: {error}");
                        }
                        self.accepting = Accepting::Paused(now + ACCEPT_PAUSE);
                        return;
                    }
                },
            }
        }
    }

    fn open(&mut self, now: Instant, stream: mio::net::TcpStream, remote: IpAddr) {
        if self.conns.len() >= CONNS_MAX {
            reset_on_drop(&stream);
            self.inputs.push_back(GateInput::TurnedAway(TurnedAway::Full));
            return;
        }
        // Signalling is small messages that must not wait for one another's acknowledgement.
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("TCP_NODELAY: {error}");
        }
        let entry = self.conns.vacant_entry();
        let place = entry.key();
        self.opened += 1;
        let id = ConnId(self.opened << PLACE_BITS | place as u64);
        let mut conn = Conn::new(id, stream, now);
        let interest = Interest::READABLE | Interest::WRITABLE;
        let token = Token(FIRST_CONN + place);
        let registry = self.poll.registry();
        if let Err(error) = registry.register(conn.stream(), token, interest) {
            log::warn!("a connection cannot be watched: {error}");
            self.inputs.push_back(GateInput::TurnedAway(TurnedAway::Full));
            return;
        }
        self.inputs.push_back(GateInput::Opened { conn: id, remote });
        if self.draining {
            conn.serve_once();
        }
        self.deadlines.set(id, conn.deadline());
        entry.insert(conn);
    }

    fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        let place = (id.0 & ((1 << PLACE_BITS) - 1)) as usize;
        self.conns.get_mut(place).filter(|conn| conn.id() == id)
    }

    fn remove(&mut self, id: ConnId) {
        self.deadlines.clear(id);
        let place = (id.0 & ((1 << PLACE_BITS) - 1)) as usize;
        let mut conn = self.conns.remove(place);
        debug_assert_eq!(conn.id(), id);
        if let Err(error) = self.poll.registry().deregister(conn.stream()) {
            log::debug!("a connection was not watched: {error}");
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.pop_due(now) {
            let mut inputs = Vec::new();
            let Some(conn) = self.conn(id) else { continue };
            if conn.due(now, &mut inputs) {
                self.remove(id);
            } else {
                self.touched.push(id);
            }
            self.inputs.extend(inputs);
        }
    }

    /// Passes bytes and messages to and fro until nobody has more to say.
    fn settle(&mut self, now: Instant) {
        let mut handshakes = TLS_HANDSHAKES_PER_TURN;
        loop {
            let mut touched = std::mem::take(&mut self.touched);
            touched.sort_unstable();
            touched.dedup();
            for id in touched {
                // A handshake costs more than a thousand messages: those who are through go
                // first, and of the others those who came first (keys are in that order).
                match self.conn(id) {
                    Some(conn) if conn.is_shaking_hands() => self.shaking.push(id),
                    Some(_) => self.pump(now, id),
                    None => {}
                }
            }
            let later = self.shaking.split_off(self.shaking.len().min(handshakes));
            handshakes -= self.shaking.len();
            for id in std::mem::take(&mut self.shaking) {
                self.pump(now, id);
            }
            self.again.extend(later);
            if self.inputs.is_empty() && self.touched.is_empty() {
                return;
            }
            while let Some(input) = self.inputs.pop_front() {
                self.gate.handle(now, input);
                while let Some(output) = self.gate.poll_output() {
                    self.apply(now, output);
                }
            }
        }
    }

    fn pump(&mut self, now: Instant, id: ConnId) {
        let tls = self.tls.clone();
        let mut inputs = Vec::new();
        let Some(conn) = self.conn(id) else { return };
        let pumped = conn.pump(now, &tls, &mut inputs);
        let deadline = conn.deadline();
        self.inputs.extend(inputs);
        if pumped == Pumped::Over {
            self.remove(id);
            return;
        }
        self.deadlines.set(id, deadline);
        if pumped == Pumped::Again {
            self.again.push(id);
        }
    }

    fn apply(&mut self, now: Instant, output: GateOutput) {
        let mut inputs = Vec::new();
        let id = match output {
            GateOutput::Respond { conn: id, response } => {
                if let Some(conn) = self.conn(id) {
                    conn.respond(now, &response, &mut inputs);
                }
                id
            }
            GateOutput::Upgrade { conn: id, response } => {
                if let Some(conn) = self.conn(id) {
                    conn.upgrade(now, &response);
                }
                id
            }
            GateOutput::Text { conn: id, text } => {
                if let Some(conn) = self.conn(id) {
                    conn.say(&text);
                }
                id
            }
            GateOutput::Admit { conn: id } => {
                if let Some(conn) = self.conn(id) {
                    conn.admit();
                }
                id
            }
            GateOutput::Close { conn: id, code, reason } => {
                if let Some(conn) = self.conn(id) {
                    conn.close(now, code, reason, &mut inputs);
                }
                id
            }
            GateOutput::TurnAway { conn: id } => {
                if let Some(conn) = self.conn(id) {
                    conn.turn_away();
                    self.remove(id);
                }
                return;
            }
            GateOutput::Letter(worker, letter) => {
                if let Some(outbox) = self.workers.get_mut(worker.index()) {
                    outbox.post(letter);
                }
                return;
            }
            GateOutput::Drained => {
                self.ending = Some(now + LAST_WORDS);
                self.listener = None;
                return;
            }
        };
        self.inputs.extend(inputs);
        self.touched.push(id);
    }

    fn begin_drain(&mut self, now: Instant) {
        // What the gate still says goes first.
        self.inputs.push_back(GateInput::Drain);
        self.settle(now);
        let mut inputs = Vec::new();
        for (_, conn) in &mut self.conns {
            conn.drain(now, &mut inputs);
            self.touched.push(conn.id());
        }
        self.inputs.extend(inputs);
    }
}
