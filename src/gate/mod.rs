//! Floor 4: the control gate. Sessions, HTTP routes, WHIP and WHEP resources, the page's files.
//!
//! Sans-IO: [`Gate::handle`] takes what connections and workers said, [`Gate::poll_output`] gives
//! what to say back, [`Gate::poll_timeout`] when to come back. Connections are keys that the
//! shell chose; it frames HTTP and WebSocket, the gate knows whole requests and whole messages.
//!
//! Requests that go on to a worker carry a number of the gate's own, not the client's: so each
//! answer meets exactly the request it is for, whatever ids clients choose, and a request that
//! no worker answers is answered here when its time is up.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

mod access;
mod assets;
mod census;
mod letters;
mod metrics;
mod quality;
mod refusals;
mod requests;
mod routes;
mod sessions;
mod sources;
mod whip;
mod ws;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::deadlines::Deadlines;
use crate::base::ids::{SessionId, WorkerId};
use crate::base::rng::Rng;
use crate::base::secret::Secret;
use crate::room::mail::{ToGate, ToWorker};
use crate::wire::http::{Request, Response};
use crate::wire::signal::{ErrorCode, IceServer, PublishLimits, ServerMessage};

use assets::Assets;
pub use census::Census;
pub use metrics::CloseReason;
use metrics::{GateCounters, Reports};
use requests::Requests;
use sessions::Sessions;
use sources::Sources;
pub use sources::TurnedAway;
use ws::Socket;

/// A connection, as the shell names it. Never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

/// What the gate is told once.
#[derive(Debug, Clone)]
pub struct GateConfig {
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Handed to every client.
    pub ice_servers: Vec<IceServer>,
    /// What each client may send, which it is told.
    pub limits: PublishLimits,
    /// How long a session outlives its WebSocket. Longer keeps ghosts in the roster, shorter
    /// makes a client on a bad network join anew.
    pub resume_grace: Duration,
    /// See [`crate::config::Config::metrics_token`].
    pub metrics_token: Option<Secret>,
    /// Addresses that the limits per source leave alone.
    pub exempt: Vec<IpAddr>,
    /// The program's version, for `/healthz` and `/metrics`.
    pub version: &'static str,
}

/// What happened.
#[derive(Debug)]
pub enum GateInput {
    /// A connection was accepted. May be answered by [`GateOutput::TurnAway`]; else there is one
    /// [`GateInput::Closed`] for it.
    Opened { conn: ConnId, remote: IpAddr },
    /// A connection was closed at once, and not said to be opened.
    TurnedAway(TurnedAway),
    /// A whole HTTP request. Answered by exactly one [`GateOutput::Respond`] or
    /// [`GateOutput::Upgrade`], unless the connection closes first.
    Request { conn: ConnId, request: Request },
    /// The shell refused a request by itself, because it was not well-formed.
    Rejected { status: u16 },
    /// A WebSocket text message.
    Text { conn: ConnId, text: String },
    /// A WebSocket message that is not text.
    Binary { conn: ConnId },
    /// A WebSocket message over the limit; nothing more can be read from the connection.
    TooLarge { conn: ConnId },
    /// The connection is gone. `code` is that of the WebSocket close frame it sent, if any.
    Closed { conn: ConnId, code: Option<u16>, why: CloseReason },
    /// From a worker.
    Letter(ToGate),
    /// [`Gate::poll_timeout`] has come.
    Timeout,
    /// End all sessions and take no new ones.
    Drain,
}

/// What to do.
#[derive(Debug)]
pub enum GateOutput {
    /// Answer the request that is open on the connection.
    Respond { conn: ConnId, response: Response },
    /// Answer with that response (101); from then on the connection is a WebSocket.
    Upgrade { conn: ConnId, response: Response },
    /// A text message.
    Text { conn: ConnId, text: Arc<str> },
    /// The client is in a room: messages may be as long as they get.
    Admit { conn: ConnId },
    /// Close the WebSocket, after what was said. The gate has forgotten the connection.
    Close { conn: ConnId, code: u16, reason: &'static str },
    /// Close a connection that was just accepted, without a word. The gate has forgotten it.
    TurnAway { conn: ConnId },
    /// To a worker.
    Letter(WorkerId, ToWorker),
    /// After [`GateInput::Drain`]: all workers have said everything.
    Drained,
}

/// What a deadline is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Timer {
    /// A detached participant's grace, or a WHIP/WHEP session's time to connect.
    Session(SessionId),
    /// A WebSocket's time to join.
    Socket(ConnId),
    /// A worker's time to answer.
    Request(u64),
}

/// See the module's text.
#[derive(Debug)]
pub struct Gate {
    config: GateConfig,
    rng: Rng,
    sockets: BTreeMap<ConnId, Socket>,
    sessions: Sessions,
    requests: Requests,
    sources: Sources,
    /// HTTP connections whose response a worker must give first.
    waiting: HashMap<ConnId, SessionId>,
    timers: Deadlines<Timer>,
    counters: GateCounters,
    reports: Reports,
    assets: Assets,
    /// While draining: the workers that have not said everything.
    draining: Option<BTreeSet<WorkerId>>,
    out: VecDeque<GateOutput>,
}

impl Gate {
    /// A gate with no connections. Panics when there is no worker.
    pub fn new(config: GateConfig, rng: Rng) -> Gate {
        assert!(config.workers > 0, "a gate needs a worker");
        Gate {
            sessions: Sessions::new(config.workers),
            reports: Reports::new(config.workers),
            sources: Sources::new(config.exempt.clone()),
            assets: Assets::new(),
            config,
            rng,
            sockets: BTreeMap::new(),
            requests: Requests::default(),
            waiting: HashMap::new(),
            timers: Deadlines::default(),
            counters: GateCounters::default(),
            draining: None,
            out: VecDeque::new(),
        }
    }

    /// Takes one input. Afterwards call [`Gate::poll_output`] until it gives `None`.
    pub fn handle(&mut self, now: Instant, input: GateInput) {
        match input {
            GateInput::Opened { conn, remote } => self.opened(now, conn, remote),
            GateInput::TurnedAway(why) => self.counters.turned_away(why),
            GateInput::Request { conn, request } => self.request(now, conn, request),
            GateInput::Rejected { status } => self.counters.response(status),
            GateInput::Text { conn, text } => self.text(now, conn, &text),
            GateInput::Binary { conn } => self.binary(conn),
            GateInput::TooLarge { conn } => self.too_large(now, conn),
            GateInput::Closed { conn, code, why } => {
                self.counters.closed(why);
                self.sources.close(now, conn);
                self.closed(now, conn, code);
            }
            GateInput::Letter(letter) => self.letter(now, letter),
            GateInput::Timeout => self.timeout(now),
            GateInput::Drain => self.drain(),
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    /// What to do next, in order.
    pub fn poll_output(&mut self) -> Option<GateOutput> {
        self.out.pop_front()
    }

    /// When to hand in [`GateInput::Timeout`], unless something else comes first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next().into_iter().chain(self.sources.next()).min()
    }

    fn timeout(&mut self, now: Instant) {
        self.sources.forget(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Session(session) => self.session_due(session),
                Timer::Socket(conn) => self.socket_due(now, conn),
                Timer::Request(number) => self.request_due(now, number),
            }
        }
    }

    /// A connection ended by itself.
    fn closed(&mut self, now: Instant, conn: ConnId, code: Option<u16>) {
        if let Some(session) = self.waiting.remove(&conn) {
            self.http_client_gone(session, conn);
        }
        self.socket_closed(now, conn, code);
    }

    fn drain(&mut self) {
        if self.draining.is_some() {
            return;
        }
        let workers = (0..self.config.workers).map(|i| WorkerId(i as u16));
        self.draining = Some(workers.clone().collect());
        log::info!("draining: {} sessions end", self.sessions.len());
        // No Leave and no Close: the workers end everything by themselves.
        for session in self.sessions.take_all() {
            self.timers.clear(Timer::Session(session.id));
            self.fail_requests(&session, ErrorCode::Shutdown, "the server is ending");
        }
        let text: Arc<str> =
            ServerMessage::Closing { reason: ErrorCode::Shutdown }.to_json().into();
        for conn in std::mem::take(&mut self.sockets).into_keys() {
            self.timers.clear(Timer::Socket(conn));
            self.out.push_back(GateOutput::Text { conn, text: text.clone() });
            self.out.push_back(GateOutput::Close {
                conn,
                code: close_code::SERVICE_RESTART,
                reason: "the server is ending",
            });
        }
        for worker in workers {
            self.post(worker, ToWorker::Drain);
        }
    }

    fn drained(&mut self, worker: WorkerId) {
        if let Some(left) = &mut self.draining
            && left.remove(&worker)
            && left.is_empty()
        {
            self.out.push_back(GateOutput::Drained);
        }
    }

    fn post(&mut self, worker: WorkerId, letter: ToWorker) {
        self.out.push_back(GateOutput::Letter(worker, letter));
    }

    fn respond(&mut self, conn: ConnId, response: Response) {
        self.counters.response(response.status);
        self.out.push_back(GateOutput::Respond { conn, response });
    }

    fn say(&mut self, conn: ConnId, message: &ServerMessage) {
        let text = message.to_json().into();
        self.out.push_back(GateOutput::Text { conn, text });
    }

    /// Panics if the gate's tables do not agree with each other. For tests and simulation.
    #[expect(clippy::expect_used, reason = "an invariant that is broken is a bug")]
    pub fn check_invariants(&self) {
        for (conn, socket) in &self.sockets {
            if let Some(session) = socket.session {
                let session = self.sessions.get(session).expect("sockets name live sessions");
                debug_assert_eq!(session.link, Some(*conn));
            }
        }
        for timer in self.timers.keys() {
            debug_assert!(match timer {
                Timer::Session(id) => self.sessions.get(id).is_some(),
                Timer::Socket(conn) => self.sockets.contains_key(&conn),
                Timer::Request(number) => self.requests.get(number).is_some(),
            });
        }
        for session in self.waiting.values() {
            debug_assert!(self.sessions.get(*session).is_some());
        }
        self.requests.check_invariants(&self.sessions);
        self.sources.check_invariants();
    }
}

/// FNV-1a, 64 bits: for what must come out the same everywhere and need not withstand an attack.
fn fnv1a(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

/// WebSocket close codes that the gate uses (RFC 6455 §7.4.1 and the IANA registry).
mod close_code {
    pub const NORMAL: u16 = 1000;
    pub const GOING_AWAY: u16 = 1001;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const SERVICE_RESTART: u16 = 1012;
    /// Ours: another WebSocket took the session up.
    pub const RESUMED_ELSEWHERE: u16 = 4001;
    /// Ours: the session was ended.
    pub const SESSION_ENDED: u16 = 4002;
}
