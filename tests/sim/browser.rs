//! A participant with the SDK's behaviour (`src/web/sdk`): joins, offers, makes slots where some
//! are missing, resumes after its WebSocket dropped, restarts ICE, and begins anew when told to.
//! Its back-offs and patience are the SDK's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use str0m::crypto::CryptoProvider;
use trackyard::wire::codec::Kind;
use trackyard::wire::http::Request;

use super::conns::Up;
use super::media::Media;
use super::net::ClientId;

mod offers;
mod socket;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const PING_EVERY: Duration = ms(5_000);
const SILENCE_MAX: Duration = ms(12_000);
const PROBE: Duration = ms(2_500);
const OPEN_TIMEOUT: Duration = ms(5_000);
const OPEN_TIMEOUT_KEPT: Duration = ms(2_500);
const REQUEST_TIMEOUT: Duration = ms(10_000);
const BACKOFF_FIRST: Duration = ms(250);
const BACKOFF_KEPT_MAX: Duration = ms(600);
const BACKOFF_MAX: Duration = ms(4_000);
const DISCONNECTED: Duration = ms(2_000);
const RESTART: Duration = ms(8_000);
const RESTARTS_BEFORE_REBUILD: u32 = 2;
const CONNECT: Duration = ms(10_000);
const REFUSALS_MAX: u32 = 4;
const SPARE_SLOTS: usize = 2;
/// Our close code for a connection that is given up (`signal.js`).
const GIVEN_UP: u16 = 4_000;

/// What a client asks its world to do with WebSockets; datagrams wait in `Media::outgoing`.
#[derive(Debug)]
pub enum Ask {
    /// Open a WebSocket, known as that one to the client.
    Open(u64),
    Text(u64, String),
    /// Close with a code.
    Close(u64, u16),
    /// One HTTP exchange on a connection of its own.
    Http(u64, Request),
    /// Read nothing any more.
    Stall,
    /// Anything at all.
    Say(u64, Up),
}

/// What a participant is to send, as its person wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wishes {
    pub video: bool,
    pub audio: bool,
    pub simulcast: bool,
    pub video_muted: bool,
    pub audio_muted: bool,
    /// What is muted is sent all the same.
    pub sly: bool,
    /// The picture moves and somebody speaks.
    pub moving: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Join,
    Resume,
    Offer,
    Update,
    Ping,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Socket {
    Down,
    Opening(u64, Instant),
    Open(u64),
}

/// A track that another participant sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteTrack {
    pub kind: Kind,
    pub muted: bool,
    broken: bool,
}

/// Another participant, as this one knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remote {
    pub name: String,
    pub tracks: BTreeMap<String, RemoteTrack>,
}

pub struct Browser {
    pub id: ClientId,
    pub room: String,
    pub name: String,
    pub wishes: Wishes,
    pub media: Option<Media>,
    pub roster: BTreeMap<String, Remote>,
    /// Which track sits in which mid, as told.
    pub table: BTreeMap<String, String>,
    pub asks: Vec<Ask>,
    /// Peer connections and sessions that were begun.
    pub rebuilds: u32,
    pub joins: u32,
    pub resumes: u32,
    /// Its offers name a certificate that it does not have.
    pub lies_about_certificate: bool,
    /// Errors that no fault of the network explains.
    pub complaints: Vec<String>,
    crypto: Arc<CryptoProvider>,
    local: SocketAddr,
    socket: Socket,
    sockets: u64,
    joined: bool,
    session: Option<String>,
    grace: Duration,
    kept_until: Option<Instant>,
    delay: Duration,
    calm_at: Option<Instant>,
    retry_at: Option<Instant>,
    heard: Instant,
    pinged: Instant,
    probe: Option<(Instant, Instant)>,
    next_request: u64,
    waiting: BTreeMap<u64, (Asked, Instant)>,
    /// Mutes that were said and not yet confirmed.
    unconfirmed: BTreeMap<u64, (String, bool)>,
    missing: (usize, usize),
    wants_round: bool,
    round: bool,
    pause_until: Option<Instant>,
    refusals: u32,
    answered: bool,
    was_up: bool,
    watch_at: Option<Instant>,
    restarts: u32,
    origin: Option<String>,
    own_mids: BTreeMap<String, bool>,
    over: bool,
    state_seen: (bool, bool),
}

impl Browser {
    pub fn new(
        id: ClientId,
        (room, name): (&str, String),
        wishes: Wishes,
        crypto: &Arc<CryptoProvider>,
        (local, now): (SocketAddr, Instant),
    ) -> Browser {
        let mut browser = Browser {
            id,
            room: room.into(),
            name,
            wishes,
            media: None,
            roster: BTreeMap::new(),
            table: BTreeMap::new(),
            asks: Vec::new(),
            rebuilds: 0,
            joins: 0,
            resumes: 0,
            lies_about_certificate: false,
            complaints: Vec::new(),
            crypto: crypto.clone(),
            local,
            socket: Socket::Down,
            sockets: 0,
            joined: false,
            session: None,
            grace: Duration::ZERO,
            kept_until: None,
            delay: BACKOFF_FIRST,
            calm_at: None,
            retry_at: None,
            heard: now,
            pinged: now,
            probe: None,
            next_request: 1,
            waiting: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            missing: (0, 0),
            wants_round: false,
            round: false,
            pause_until: None,
            refusals: 0,
            answered: false,
            was_up: false,
            watch_at: None,
            restarts: 0,
            origin: None,
            own_mids: BTreeMap::new(),
            over: false,
            state_seen: (false, false),
        };
        browser.open(now);
        browser
    }

    /// In the room, with signalling and media up.
    pub fn is_settled(&self) -> bool {
        self.joined && self.media.as_ref().is_some_and(Media::up)
    }

    // -- keeping ICE alive

    fn check(&mut self, now: Instant) {
        let up = self.media.as_ref().is_some_and(Media::up);
        if self.answered && !up && self.watch_at.is_none() {
            self.recover(now);
        }
    }

    fn restart(&mut self, now: Instant, local: Option<SocketAddr>) {
        let Some(media) = &mut self.media else { return };
        media.restart_ice(local);
        self.wants_round = true;
        self.watch_at = (!media.up()).then_some(now + RESTART);
        self.pump(now);
    }

    fn recover(&mut self, now: Instant) {
        if !self.ready() {
            return;
        }
        if self.round {
            self.watch_at = Some(now + DISCONNECTED);
        } else if self.restarts >= RESTARTS_BEFORE_REBUILD {
            self.rebuild(now);
        } else {
            self.restarts += 1;
            self.restart(now, None);
        }
    }

    fn watch(&mut self, now: Instant) {
        let Some(media) = &self.media else { return };
        let seen = (media.up(), media.ice_lost || media.closed);
        if seen == self.state_seen {
            return;
        }
        self.state_seen = seen;
        match seen {
            (true, _) => {
                self.was_up = true;
                self.restarts = 0;
                self.watch_at = None;
            }
            (_, true) if self.watch_at.is_none() => self.watch_at = Some(now + DISCONNECTED),
            _ => {}
        }
    }

    pub fn describe(&self) -> String {
        format!(
            "{:?} joined {} round {} wants {} answered {} watch {:?} joins {} rebuilds {} resumes {} \
             table {:?} roster {:?}",
            self.socket,
            self.joined,
            self.round,
            self.wants_round,
            self.answered,
            self.watch_at,
            self.joins,
            self.rebuilds,
            self.resumes,
            self.table,
            self.roster
        )
    }

    // -- what its person does

    pub fn set_wishes(&mut self, now: Instant, wishes: Wishes) {
        self.wishes = wishes;
        self.say_mutes(now);
    }

    /// The device is on another network: another address, and what was open is dead.
    pub fn change_network(&mut self, now: Instant, local: SocketAddr) {
        self.local = local;
        if matches!(self.socket, Socket::Open(_)) {
            self.request(now, Asked::Ping, json!({"type": "ping"}));
            self.probe = Some((now, now + PROBE));
        } else {
            self.retry_at = self.retry_at.map(|_| now);
        }
        if self.media.is_some() {
            self.restart(now, Some(local));
        }
    }

    /// Leaves properly.
    pub fn leave(&mut self, now: Instant) {
        self.send(&json!({"type": "leave"}));
        self.over = true;
        self.joined = false;
        if let Some(media) = &mut self.media {
            media.close(now);
        }
        self.fall(now, Some(1_000));
    }

    // -- time

    pub fn poll(&mut self, now: Instant) {
        if let Some(media) = &mut self.media {
            for sender in &mut media.senders {
                sender.moving = self.wishes.moving;
            }
            media.poll(now);
        }
        self.watch(now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        match self.socket {
            Socket::Opening(_, until) if until <= now => self.fall(now, Some(GIVEN_UP)),
            Socket::Open(_) if now > self.heard + SILENCE_MAX => self.fall(now, Some(GIVEN_UP)),
            Socket::Open(_) if now >= self.pinged + PING_EVERY => {
                self.pinged = now;
                self.request(now, Asked::Ping, json!({"type": "ping"}));
            }
            _ => {}
        }
        if let Some((asked, until)) = self.probe.filter(|(_, until)| *until <= now) {
            let _ = until;
            self.probe = None;
            if self.heard < asked {
                self.fall(now, Some(GIVEN_UP));
            }
        }
        if self.waiting.values().any(|(_, until)| *until <= now) {
            self.fall(now, Some(GIVEN_UP));
        }
        if due(self.retry_at) && !self.over {
            self.retry_at = None;
            self.open(now);
        }
        if due(self.calm_at) {
            self.calm_at = None;
            self.delay = BACKOFF_FIRST;
        }
        if due(self.pause_until) {
            self.pump(now);
        }
        if due(self.watch_at) {
            self.watch_at = None;
            if !self.media.as_ref().is_some_and(Media::up) {
                self.recover(now);
            }
        }
    }

    pub fn deadline(&self) -> Instant {
        let media = self.media.as_ref().map(Media::deadline);
        let socket = match self.socket {
            Socket::Down => None,
            Socket::Opening(_, until) => Some(until),
            Socket::Open(_) => {
                Some((self.pinged + PING_EVERY).min(self.heard + SILENCE_MAX + ms(1)))
            }
        };
        let waiting = self.waiting.values().map(|(_, until)| *until).min();
        let probe = self.probe.map(|(_, until)| until);
        let others = [self.retry_at, self.calm_at, self.pause_until, self.watch_at, probe];
        let all = [media, socket, waiting].into_iter().chain(others).flatten();
        all.min().unwrap_or(self.heard + Duration::from_secs(1_000_000))
    }
}
