//! WHIP publishers and WHEP viewers: a POST, a peer connection, and another POST when it is lost.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::CryptoProvider;
use trackyard::wire::codec::Kind;
use trackyard::wire::http::Response;

use super::browser::Ask;
use super::conns::{HTTP_PATIENCE, request};
use super::media::{Media, Slot};
use super::net::ClientId;

/// What an encoder or a player does when its connection is down for so long: begins anew.
const LOST_FOR: Duration = Duration::from_secs(5);
const CONNECT_IN: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// A player offers this many slots of each kind.
pub const PLAYER_SLOTS: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    Whip,
    Whep { only: Option<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting(Instant),
    Posting(u64, Instant),
    Answered,
    Over,
}

pub struct Http {
    pub id: ClientId,
    pub room: String,
    pub name: String,
    pub role: Role,
    pub moving: bool,
    pub media: Option<Media>,
    pub asks: Vec<Ask>,
    pub posts: u32,
    crypto: Arc<CryptoProvider>,
    local: SocketAddr,
    state: State,
    location: Option<String>,
    conns: u64,
    /// When it must be up, or begins anew.
    patience: Option<Instant>,
}

impl Http {
    pub fn new(
        id: ClientId,
        (room, name, role): (&str, String, Role),
        crypto: &Arc<CryptoProvider>,
        (local, now): (SocketAddr, Instant),
    ) -> Http {
        let mut http = Http {
            id,
            room: room.into(),
            name,
            role,
            moving: true,
            media: None,
            asks: Vec::new(),
            posts: 0,
            crypto: crypto.clone(),
            local,
            state: State::Waiting(now),
            location: None,
            conns: 0,
            patience: None,
        };
        http.poll(now);
        http
    }

    pub fn is_settled(&self) -> bool {
        self.state == State::Answered && self.media.as_ref().is_some_and(Media::up)
    }

    fn path(&self) -> String {
        let room = self.room.replace(' ', "%20");
        match &self.role {
            Role::Whip => format!("/whip/{room}/{}", self.name),
            Role::Whep { only: None } => format!("/whep/{room}"),
            Role::Whep { only: Some(name) } => format!("/whep/{room}/{name}"),
        }
    }

    fn post(&mut self, now: Instant) {
        self.give_up(now);
        let mut media = Media::new(&self.crypto, self.id, self.local, now);
        match self.role {
            Role::Whip => {
                media.add_sender(Kind::Audio, false);
                media.add_sender(Kind::Video, false);
            }
            Role::Whep { .. } => {
                media.add_slots(Kind::Audio, PLAYER_SLOTS);
                media.add_slots(Kind::Video, PLAYER_SLOTS);
            }
        }
        let sdp = media.offer(now).expect("something to offer");
        self.media = Some(media);
        self.conns += 1;
        self.posts += 1;
        let line = format!("POST {}", self.path());
        let post = request(&line, "Content-Type: application/sdp\r\n", &sdp);
        self.asks.push(Ask::Http(self.conns, post));
        self.state = State::Posting(self.conns, now + HTTP_PATIENCE);
    }

    /// Ends what was before.
    fn give_up(&mut self, now: Instant) {
        if let Some(media) = &mut self.media {
            media.close(now);
        }
        if let Some(location) = self.location.take() {
            self.conns += 1;
            let delete = request(&format!("DELETE {location}"), "", "");
            self.asks.push(Ask::Http(self.conns, delete));
        }
    }

    pub fn on_response(&mut self, now: Instant, name: u64, response: &Response) {
        if !matches!(self.state, State::Posting(of, _) if of == name) {
            return;
        }
        if response.status != 201 {
            self.state = State::Waiting(now + RETRY);
            return;
        }
        let location = response.headers.iter().find(|(n, _)| *n == "Location");
        self.location = location.map(|(_, value)| value.to_string());
        assert!(self.location.is_some(), "a created resource has a place");
        let sdp = String::from_utf8(response.body.to_vec()).expect("a description");
        let media = self.media.as_mut().expect("it was offered");
        media.answer(&sdp).unwrap_or_else(|e| panic!("an answer that does not fit: {e}: {sdp}"));
        media.poll(now);
        self.state = State::Answered;
        self.patience = Some(now + CONNECT_IN);
    }

    pub fn on_close(&mut self, now: Instant, name: u64) {
        if matches!(self.state, State::Posting(of, _) if of == name) {
            self.state = State::Waiting(now + RETRY);
        }
    }

    pub fn change_network(&mut self, now: Instant, local: SocketAddr) {
        self.local = local;
        self.state = State::Waiting(now + RETRY);
    }

    pub fn leave(&mut self, now: Instant) {
        self.give_up(now);
        self.state = State::Over;
    }

    pub fn poll(&mut self, now: Instant) {
        if let Some(media) = &mut self.media {
            media.senders.iter_mut().for_each(|s| s.moving = self.moving);
            media.poll(now);
        }
        match self.state {
            State::Waiting(at) if at <= now => self.post(now),
            State::Posting(_, until) if until <= now => self.state = State::Waiting(now + RETRY),
            State::Answered => {
                if self.media.as_ref().is_some_and(Media::up) {
                    self.patience = None;
                } else {
                    let until = *self.patience.get_or_insert(now + LOST_FOR);
                    if until <= now {
                        self.patience = None;
                        self.state = State::Waiting(now + RETRY);
                    }
                }
            }
            _ => {}
        }
    }

    pub fn deadline(&self) -> Instant {
        let media = self.media.as_ref().filter(|_| self.state != State::Over);
        let state = match self.state {
            State::Waiting(at) | State::Posting(_, at) => Some(at),
            State::Answered => self.patience,
            State::Over => None,
        };
        let all = [media.map(Media::deadline), state].into_iter().flatten().min();
        all.unwrap_or(super::epoch() + Duration::from_secs(100_000_000))
    }
}

/// What the slots of a peer connection show.
impl Media {
    pub fn perceives(&self, now: Instant, window: Duration) -> BTreeSet<(ClientId, Kind)> {
        let fresh = |last: Option<(u32, Instant)>| last.filter(|(_, at)| *at + window >= now);
        let seen = self.slots.values().filter_map(|slot| match slot {
            Slot::Video(v) => fresh(v.shown).map(|(label, _)| (label, Kind::Video)),
            Slot::Sound(s) => fresh(s.heard).map(|(label, _)| (label, Kind::Audio)),
        });
        seen.collect()
    }

    /// What no lossy network explains.
    pub fn faults(&self) -> Vec<&String> {
        let videos = self.slots.values().filter_map(|slot| match slot {
            Slot::Video(video) => Some(video),
            Slot::Sound(_) => None,
        });
        videos.flat_map(|v| &v.faults).collect()
    }
}
