//! A participant with the SDK's behaviour (`src/web/sdk`): joins, offers, makes slots where some
//! are missing, resumes after its WebSocket dropped, restarts ICE, and begins anew when told to.
//! Its back-offs and patience are the SDK's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use str0m::crypto::CryptoProvider;
use trackyard::wire::codec::Kind;
use trackyard::wire::http::Request;

use super::conns::Up;
use super::media::Media;
use super::net::ClientId;

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

    // -- the WebSocket

    fn kept(&self, now: Instant) -> bool {
        self.kept_until.is_some_and(|until| now < until)
    }

    fn open(&mut self, now: Instant) {
        self.sockets += 1;
        let timeout = if self.kept(now) { OPEN_TIMEOUT_KEPT } else { OPEN_TIMEOUT };
        self.socket = Socket::Opening(self.sockets, now + timeout);
        self.asks.push(Ask::Open(self.sockets));
    }

    pub fn on_open(&mut self, now: Instant, socket: u64) {
        if !matches!(self.socket, Socket::Opening(of, _) if of == socket) {
            return;
        }
        self.socket = Socket::Open(socket);
        (self.heard, self.pinged) = (now, now);
        match &self.session {
            Some(session) => {
                let message = json!({"type": "resume", "session": session});
                self.request(now, Asked::Resume, message);
            }
            None => self.ask_to_join(now),
        }
    }

    fn ask_to_join(&mut self, now: Instant) {
        let message = json!({"type": "join", "room": self.room, "name": self.name});
        self.request(now, Asked::Join, message);
    }

    pub fn on_close(&mut self, now: Instant, socket: u64) {
        let ours = match self.socket {
            Socket::Open(of) | Socket::Opening(of, _) => of == socket,
            Socket::Down => false,
        };
        if ours {
            self.fall(now, None);
        }
    }

    /// The connection is gone or given up.
    fn fall(&mut self, now: Instant, code: Option<u16>) {
        if let (Socket::Open(of) | Socket::Opening(of, _), Some(code)) = (self.socket, code) {
            self.asks.push(Ask::Close(of, code));
        }
        self.socket = Socket::Down;
        self.waiting.clear();
        for (mid, muted) in std::mem::take(&mut self.unconfirmed).into_values() {
            self.own_mids.insert(mid, !muted);
        }
        self.probe = None;
        if self.round {
            // The offer is made again, with what was asked for since.
            (self.round, self.wants_round) = (false, true);
        }
        if self.over {
            return;
        }
        if std::mem::take(&mut self.joined) {
            self.kept_until = Some(now + self.grace);
        }
        let pause = if self.kept(now) { self.delay.min(BACKOFF_KEPT_MAX) } else { self.delay };
        self.retry_at = Some(now + pause.mul_f64(0.5 + fastrand::f64()));
        self.delay = (2 * self.delay).min(BACKOFF_MAX);
        self.calm_at = None;
    }

    fn send(&mut self, message: &Value) {
        if let Socket::Open(of) = self.socket {
            self.asks.push(Ask::Text(of, message.to_string()));
        }
    }

    fn request(&mut self, now: Instant, asked: Asked, mut message: Value) {
        let id = self.next_request;
        self.next_request += 1;
        message["id"] = json!(id);
        if asked != Asked::Ping {
            self.waiting.insert(id, (asked, now + REQUEST_TIMEOUT));
        }
        self.send(&message);
    }

    // -- messages

    pub fn on_text(&mut self, now: Instant, socket: u64, text: &str) {
        if self.socket != Socket::Open(socket) {
            return;
        }
        self.heard = now;
        let message: Value = serde_json::from_str(text).expect("the server writes JSON");
        let asked = message["id"].as_u64().and_then(|id| self.waiting.remove(&id));
        if let Some(id) = message["id"].as_u64() {
            self.unconfirmed.remove(&id);
        }
        match (asked.map(|(asked, _)| asked), message["type"].as_str().unwrap_or_default()) {
            (Some(asked), "error") => self.refused(now, asked, &message),
            (Some(Asked::Join | Asked::Resume), "joined") => self.enter(now, &message),
            (Some(Asked::Offer), "answer") => self.take_answer(now, &message),
            (Some(_), _) | (None, "pong" | "candidate" | "ok" | "answer" | "joined") => {}
            (None, "closing") => {}
            (None, _) => self.event(now, &message),
        }
    }

    fn refused(&mut self, now: Instant, asked: Asked, message: &Value) {
        let code = message["code"].as_str().unwrap_or_default();
        match (asked, code) {
            (Asked::Resume, "session_gone") => self.ask_to_join(now),
            (Asked::Join | Asked::Resume, _) => self.fall(now, Some(1_000)),
            (Asked::Offer, "internal" | "server_busy") if self.refusals < REFUSALS_MAX => {
                self.refusals += 1;
                (self.round, self.wants_round) = (false, true);
                self.pause_until = Some(now + BACKOFF_MAX * self.refusals);
            }
            (Asked::Offer, _) => {
                self.complaints.push(message.to_string());
                self.round = false;
                if let Some(media) = &mut self.media {
                    media.rollback();
                }
            }
            _ => {}
        }
    }

    fn enter(&mut self, now: Instant, joined: &Value) {
        let resumed = joined["resumed"] == true;
        self.joined = true;
        self.calm_at = Some(now + PING_EVERY);
        self.session = joined["session"].as_str().map(str::to_owned);
        self.grace = ms(joined["resume_grace_ms"].as_u64().unwrap_or(0));
        self.roster.clear();
        for view in joined["participants"].as_array().into_iter().flatten() {
            self.arrive(view);
        }
        if resumed {
            self.resumes += 1;
            self.seat(now, &joined["slots"]);
            self.missing = self.unplaced();
            self.want_slots(now);
            self.say_mutes(now);
            self.pump(now);
            self.check(now);
        } else {
            self.joins += 1;
            self.table.clear();
            self.missing = (0, 0);
            self.rebuild(now);
        }
    }

    fn event(&mut self, now: Instant, message: &Value) {
        let participant = message["participant"].as_str().unwrap_or_default().to_owned();
        match message["type"].as_str().unwrap_or_default() {
            "participant_joined" => self.arrive(&message["participant"]),
            "participant_left" => {
                self.roster.remove(&participant);
            }
            "track_added" | "track_updated" => {
                if let Some(remote) = self.roster.get_mut(&participant) {
                    put(remote, &message["track"]);
                }
            }
            "track_removed" => {
                if let Some(remote) = self.roster.get_mut(&participant) {
                    remote.tracks.remove(message["track"].as_str().unwrap_or_default());
                }
            }
            "track_error" => {
                let id = message["track"].as_str().unwrap_or_default();
                let tracks = self.roster.values_mut().filter_map(|r| r.tracks.get_mut(id));
                tracks.for_each(|t| t.broken = true);
                self.complaints.push(message.to_string());
            }
            "slots" => {
                let count = |kind: &str| message["missing"][kind].as_u64().unwrap_or(0) as usize;
                self.missing = (count("audio"), count("video"));
                self.seat(now, &message["slots"]);
                self.want_slots(now);
            }
            _ => self.complaints.push(message.to_string()),
        }
    }

    fn arrive(&mut self, view: &Value) {
        let id = view["id"].as_str().expect("a participant has an id").to_owned();
        let name = view["name"].as_str().unwrap_or_default().to_owned();
        let mut remote = Remote { name, ..Remote::default() };
        view["tracks"].as_array().into_iter().flatten().for_each(|t| put(&mut remote, t));
        self.roster.insert(id, remote);
    }

    // -- slots

    fn seat(&mut self, _now: Instant, slots: &Value) {
        self.table.clear();
        for slot in slots.as_array().into_iter().flatten() {
            if let (Some(mid), Some(track)) = (slot["mid"].as_str(), slot["track"].as_str()) {
                self.table.insert(mid.into(), track.into());
            }
        }
    }

    fn unplaced(&self) -> (usize, usize) {
        let seated: BTreeSet<&String> = self.table.values().collect();
        let tracks = self.roster.values().flat_map(|r| &r.tracks);
        let open = tracks.filter(|(id, t)| !seated.contains(id) && !t.broken);
        open.fold((0, 0), |(audio, video), (_, t)| match t.kind {
            Kind::Audio => (audio + 1, video),
            Kind::Video => (audio, video + 1),
        })
    }

    /// Of the tracks that sit somewhere, how many are of that kind.
    fn seated(&self, kind: Kind) -> usize {
        let known = |id: &String| self.roster.values().find_map(|r| r.tracks.get(id));
        self.table.values().filter_map(known).filter(|t| t.kind == kind).count()
    }

    fn want_slots(&mut self, now: Instant) {
        let wanted = [
            (Kind::Audio, self.missing.0 + self.seated(Kind::Audio)),
            (Kind::Video, self.missing.1 + self.seated(Kind::Video)),
        ];
        self.want(now, wanted);
    }

    fn want(&mut self, now: Instant, wanted: [(Kind, usize); 2]) {
        let Some(media) = &mut self.media else { return };
        for (kind, wanted) in wanted {
            let have = media.slot_count(kind);
            if have < wanted {
                media.add_slots(kind, wanted + SPARE_SLOTS - have);
                self.wants_round = true;
            }
        }
        self.pump(now);
    }

    // -- negotiating

    fn rebuild(&mut self, now: Instant) {
        self.rebuilds += 1;
        let label = self.id;
        let mut media = Media::new(&self.crypto, label, self.local, now);
        if self.wishes.audio {
            media.add_sender(Kind::Audio, false);
        }
        if self.wishes.video {
            media.add_sender(Kind::Video, self.wishes.simulcast);
        }
        if let Some(mut old) = self.media.replace(media) {
            old.close(now);
            let media = self.media.as_mut().expect("just put there");
            media.outgoing.append(&mut old.outgoing);
        }
        self.own_mids.clear();
        (self.round, self.answered, self.was_up, self.restarts) = (false, false, false, 0);
        (self.origin, self.watch_at, self.state_seen) = (None, None, (false, false));
        self.waiting.retain(|_, (asked, _)| *asked != Asked::Offer);
        self.wants_round = true;
        let tracks = || self.roster.values().flat_map(|r| r.tracks.values());
        let count = |kind| tracks().filter(|t| t.kind == kind && !t.broken).count().max(1);
        let wanted = [(Kind::Audio, count(Kind::Audio)), (Kind::Video, count(Kind::Video))];
        self.want(now, wanted);
    }

    fn ready(&self) -> bool {
        self.joined && !self.over && matches!(self.socket, Socket::Open(_))
    }

    fn pump(&mut self, now: Instant) {
        let paused = self.pause_until.is_some_and(|until| now < until);
        if self.round || !self.wants_round || !self.ready() || paused {
            return;
        }
        self.pause_until = None;
        self.wants_round = false;
        let Some(media) = &mut self.media else { return };
        let Some(mut sdp) = media.offer(now) else { return };
        if self.lies_about_certificate {
            sdp = sdp.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:");
            let end = |line: &str| line.len().saturating_sub(3);
            let lines = sdp.lines().map(|l| match l.starts_with("a=fingerprint") {
                true => &l[..end(l)],
                false => l,
            });
            sdp = lines.flat_map(|l| [l, "\r\n"]).collect();
        }
        let describe = |sender: &super::media::Sender| {
            let (source, muted) = match sender.kind {
                Kind::Video => ("camera", self.wishes.video_muted),
                Kind::Audio => ("microphone", self.wishes.audio_muted),
            };
            (sender.mid.to_string(), source, muted)
        };
        let tracks: Vec<_> = media.senders.iter().map(describe).collect();
        self.own_mids = tracks.iter().map(|(mid, _, muted)| (mid.clone(), *muted)).collect();
        let tracks: Vec<_> = tracks
            .into_iter()
            .map(|(mid, source, muted)| json!({"mid": mid, "source": source, "muted": muted}))
            .collect();
        self.round = true;
        self.request(now, Asked::Offer, json!({"type": "offer", "sdp": sdp, "tracks": tracks}));
    }

    fn take_answer(&mut self, now: Instant, answer: &Value) {
        self.round = false;
        self.refusals = 0;
        let sdp = answer["sdp"].as_str().expect("an answer has a description");
        let origin = sdp.lines().find(|l| l.starts_with("o=")).map(str::to_owned);
        let forgotten = self.origin.is_some() && self.origin != origin;
        self.origin = origin;
        if forgotten {
            self.rebuild(now);
            return;
        }
        let Some(media) = &mut self.media else { return };
        if let Err(error) = media.answer(sdp) {
            self.complaints.push(format!("an answer that does not fit: {error}: {sdp}"));
            return;
        }
        media.poll(now);
        if !std::mem::replace(&mut self.answered, true) && !media.up() {
            self.watch_at = Some(now + CONNECT);
        }
        if media.has_news() {
            self.wants_round = true;
        }
        self.say_mutes(now);
        self.pump(now);
    }

    /// Tells the server of mutes that it does not know of.
    fn say_mutes(&mut self, now: Instant) {
        let wishes = self.wishes;
        let Some(media) = &mut self.media else { return };
        let mut news = Vec::new();
        for sender in &mut media.senders {
            let muted = match sender.kind {
                Kind::Video => wishes.video_muted,
                Kind::Audio => wishes.audio_muted,
            };
            sender.muted = muted;
            sender.moving = wishes.moving;
            let said = self.own_mids.get_mut(&sender.mid.to_string());
            if let Some(said) = said.filter(|said| **said != muted) {
                *said = muted;
                news.push((sender.mid.to_string(), muted));
            }
        }
        if !self.ready() {
            // Said after the resume.
            news.iter().for_each(|(mid, muted)| {
                self.own_mids.insert(mid.clone(), !muted);
            });
            return;
        }
        for (mid, muted) in news {
            let message = json!({"type": "update", "mid": mid, "muted": muted});
            self.unconfirmed.insert(self.next_request, (mid, muted));
            self.request(now, Asked::Update, message);
        }
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

fn put(remote: &mut Remote, view: &Value) {
    let id = view["id"].as_str().expect("a track has an id").to_owned();
    let kind = if view["kind"] == "audio" { Kind::Audio } else { Kind::Video };
    let track = RemoteTrack { kind, muted: view["muted"] == true, broken: false };
    remote.tracks.insert(id, track);
}
