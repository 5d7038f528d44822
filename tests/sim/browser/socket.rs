//! A participant's WebSocket and what it hears on it (`src/web/sdk/signal.js`, `room.js`).

use std::time::Instant;

use serde_json::{Value, json};
use trackyard::wire::codec::Kind;

use super::{
    Ask, Asked, BACKOFF_KEPT_MAX, BACKOFF_MAX, Browser, OPEN_TIMEOUT, OPEN_TIMEOUT_KEPT,
    PING_EVERY, REFUSALS_MAX, REQUEST_TIMEOUT, Remote, RemoteTrack, Socket, ms,
};

impl Browser {
    pub(super) fn kept(&self, now: Instant) -> bool {
        self.kept_until.is_some_and(|until| now < until)
    }

    pub(super) fn open(&mut self, now: Instant) {
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

    pub(super) fn ask_to_join(&mut self, now: Instant) {
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
    pub(super) fn fall(&mut self, now: Instant, code: Option<u16>) {
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

    pub(super) fn send(&mut self, message: &Value) {
        if let Socket::Open(of) = self.socket {
            self.asks.push(Ask::Text(of, message.to_string()));
        }
    }

    pub(super) fn request(&mut self, now: Instant, asked: Asked, mut message: Value) {
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

    pub(super) fn refused(&mut self, now: Instant, asked: Asked, message: &Value) {
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

    pub(super) fn enter(&mut self, now: Instant, joined: &Value) {
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

    pub(super) fn event(&mut self, now: Instant, message: &Value) {
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
            // What is shown, and to whom it is sent, is the same whatever these say.
            "quality" | "demand" | "speakers" => {}
            _ => self.complaints.push(message.to_string()),
        }
    }

    pub(super) fn arrive(&mut self, view: &Value) {
        let id = view["id"].as_str().expect("a participant has an id").to_owned();
        let name = view["name"].as_str().unwrap_or_default().to_owned();
        let mut remote = Remote { name, ..Remote::default() };
        view["tracks"].as_array().into_iter().flatten().for_each(|t| put(&mut remote, t));
        self.roster.insert(id, remote);
    }
}

fn put(remote: &mut Remote, view: &Value) {
    let id = view["id"].as_str().expect("a track has an id").to_owned();
    let kind = if view["kind"] == "audio" { Kind::Audio } else { Kind::Video };
    let track = RemoteTrack { kind, muted: view["muted"] == true, broken: false };
    remote.tracks.insert(id, track);
}
