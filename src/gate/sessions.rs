//! The table of sessions, and how one begins and ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::quality::Fare;
use super::refusals::refusal;
use super::requests::{Asked, Request};
use super::whip::Resource;
use super::{ConnId, Gate, GateOutput, Timer, close_code};
use crate::base::bucket::Bucket;
use crate::base::ids::{ParticipantId, SessionId, WorkerId};
use crate::base::limits::{CONNECT_TIMEOUT, SESSIONS_MAX};
use crate::room::mail::{Address, PeerLetter, Role, RoomLetter, RoomName, ToWorker};
use crate::wire::signal::{ErrorCode, LeaveReason, RequestId, ServerMessage, TrackDescription};

/// One participant over all its WebSockets, or one WHIP or WHEP resource.
#[derive(Debug)]
pub(super) struct Session {
    pub id: SessionId,
    /// Who knows it may resume the session, or change and delete the resource: 130 random bits.
    pub secret: String,
    pub address: Address,
    pub room: RoomName,
    pub name: String,
    pub role: Role,
    /// The room's home let it in.
    pub entered: bool,
    /// The WebSocket, while there is one.
    pub link: Option<ConnId>,
    /// The `link` knows the room as it is, so events may follow.
    pub caught_up: bool,
    /// The gate's numbers of what workers have yet to answer.
    pub requests: BTreeSet<u64>,
    pub offer_in_flight: Option<u64>,
    pub offer_queued: Option<QueuedOffer>,
    pub offers: Bucket,
    pub updates: Bucket,
    pub wants: Bucket,
    /// How its slots fare, by mid.
    pub fares: BTreeMap<String, Fare>,
    /// For WHIP and WHEP.
    pub resource: Option<Resource>,
}

/// An offer that came while another was being answered.
#[derive(Debug)]
pub(super) struct QueuedOffer {
    pub conn: ConnId,
    pub id: Option<RequestId>,
    pub sdp: String,
    pub tracks: Vec<TrackDescription>,
}

/// What a session begins as.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub conn: ConnId,
    pub id: Option<RequestId>,
    pub room: String,
    pub name: String,
    pub role: Role,
    pub resource: Option<Resource>,
}

/// All sessions, by identity and by secret.
#[derive(Debug)]
pub(super) struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
    by_secret: HashMap<String, SessionId>,
    /// Sessions whose peer each worker owns.
    loads: Vec<usize>,
    minted: u64,
}

impl Sessions {
    pub fn new(workers: usize) -> Sessions {
        Sessions {
            by_id: BTreeMap::new(),
            by_secret: HashMap::new(),
            loads: vec![0; workers],
            minted: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values()
    }

    pub fn get(&self, id: SessionId) -> Option<&Session> {
        self.by_id.get(&id)
    }

    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.by_id.get_mut(&id)
    }

    pub fn by_secret(&self, secret: &str) -> Option<&Session> {
        self.get(*self.by_secret.get(secret)?)
    }

    pub fn take_all(&mut self) -> Vec<Session> {
        self.by_secret.clear();
        self.loads.fill(0);
        std::mem::take(&mut self.by_id).into_values().collect()
    }

    fn mint(&mut self) -> SessionId {
        self.minted += 1;
        SessionId(self.minted)
    }

    /// The worker with the fewest peers; the lowest of several.
    fn idlest(&self) -> WorkerId {
        let least = self.loads.iter().enumerate().min_by_key(|(_, load)| **load);
        WorkerId(least.map_or(0, |(index, _)| index as u16))
    }

    fn insert(&mut self, session: Session) {
        if let Some(load) = self.loads.get_mut(session.address.worker.index()) {
            *load += 1;
        }
        self.by_secret.insert(session.secret.clone(), session.id);
        self.by_id.insert(session.id, session);
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.by_id.remove(&id)?;
        self.by_secret.remove(&session.secret);
        if let Some(load) = self.loads.get_mut(session.address.worker.index()) {
            *load -= 1;
        }
        Some(session)
    }
}

/// The worker that holds a room: the same in every run and on every machine, so FNV-1a (64 bits)
/// and not the standard library's hash, which promises neither.
fn home_of(room: &str, workers: usize) -> WorkerId {
    WorkerId((super::fnv1a(room.as_bytes()) % workers as u64) as u16)
}

impl Gate {
    /// Makes a session and asks the room's home to let it in.
    pub(super) fn begin_session(
        &mut self,
        now: Instant,
        newcomer: Newcomer,
    ) -> Result<SessionId, (ErrorCode, &'static str)> {
        if self.draining.is_some() {
            return Err((ErrorCode::Shutdown, "the server is ending"));
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err((ErrorCode::ServerBusy, "the server has no room for more"));
        }
        if !self.sources.join(now, newcomer.conn) {
            return Err((
                ErrorCode::RateLimited,
                "too many sessions from this address; wait a second",
            ));
        }
        let address = Address {
            participant: ParticipantId::mint(&mut self.rng),
            session: self.sessions.mint(),
            worker: self.sessions.idlest(),
            home: home_of(&newcomer.room, self.config.workers),
        };
        let session = Session {
            id: address.session,
            secret: self.rng.token(26),
            address,
            room: Arc::from(newcomer.room),
            name: newcomer.name,
            role: newcomer.role,
            entered: false,
            link: Some(newcomer.conn),
            caught_up: false,
            requests: BTreeSet::new(),
            offer_in_flight: None,
            offer_queued: None,
            offers: Bucket::default(),
            updates: Bucket::default(),
            wants: Bucket::default(),
            fares: BTreeMap::new(),
            resource: newcomer.resource,
        };
        let (room, name, role) = (session.room.clone(), session.name.clone(), session.role.clone());
        if role != Role::Participant {
            let due = now + CONNECT_TIMEOUT;
            self.timers.set(Timer::Session(session.id), due);
        }
        self.sessions.insert(session);
        let request = self.ask(
            now,
            Request {
                session: address.session,
                conn: newcomer.conn,
                id: newcomer.id,
                asked: Asked::Join,
            },
        );
        let join = RoomLetter::Join { address, name, role, request };
        self.post(address.home, ToWorker::Room(room, join));
        Ok(address.session)
    }

    /// Ends a session everywhere: tells its room and its peer, and answers what is open with the
    /// code. Its WebSocket stays open and may join again.
    pub(super) fn end_session(
        &mut self,
        id: SessionId,
        (reason, code, why): (LeaveReason, ErrorCode, &'static str),
    ) {
        let Some(session) = self.forget_session(id, code, why) else {
            return;
        };
        let participant = session.address.participant;
        log::info!(
            "leave room={:?} name={:?} {participant} role={} reason={reason:?} ({why})",
            session.room,
            session.name,
            session.role.label(),
        );
        let leave = RoomLetter::Leave { participant, reason };
        self.post(session.address.home, ToWorker::Room(session.room, leave));
        self.post(session.address.worker, ToWorker::Peer(participant, PeerLetter::Close));
    }

    /// Removes a session, telling no worker: they do not know of it, or the caller tells them.
    pub(super) fn forget_session(
        &mut self,
        id: SessionId,
        code: ErrorCode,
        why: &'static str,
    ) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        self.timers.clear(Timer::Session(id));
        self.fail_requests(&session, code, why);
        if let Some(conn) = session.link {
            self.waiting.remove(&conn);
            if let Some(socket) = self.sockets.get_mut(&conn) {
                socket.session = None;
            }
        }
        Some(session)
    }

    /// A participant's grace, or a WHIP or WHEP session's time to connect, is over.
    pub(super) fn session_due(&mut self, id: SessionId) {
        let why = match self.sessions.get(id).map(|s| &s.role) {
            Some(Role::Participant) => "did not come back",
            _ => "did not connect",
        };
        self.end_session(id, (LeaveReason::Lost, ErrorCode::SessionGone, why));
    }

    /// Closes a WebSocket from this side. Its session, if any, is the caller's business.
    pub(super) fn close_socket(&mut self, conn: ConnId, code: u16, reason: &'static str) {
        if self.sockets.remove(&conn).is_some() {
            self.timers.clear(Timer::Socket(conn));
            let close = GateOutput::Close { conn, code, reason };
            self.out.push_back(close);
        }
    }

    /// A session that broke on our side: tells its client, who may join again.
    pub(super) fn break_session(&mut self, id: SessionId, code: ErrorCode) {
        let link = self.sessions.get(id).and_then(|s| s.link);
        let why = "the server ended the session";
        self.end_session(id, (LeaveReason::Closed, code, why));
        if let Some(conn) = link.filter(|conn| self.sockets.contains_key(conn)) {
            self.say(conn, &ServerMessage::Closing { reason: code });
            self.close_socket(conn, close_code::SESSION_ENDED, why);
        }
    }

    /// Answers everything that a removed session had open.
    pub(super) fn fail_requests(&mut self, session: &Session, code: ErrorCode, why: &'static str) {
        for number in &session.requests {
            let Some(request) = self.requests.remove(*number) else {
                continue;
            };
            self.timers.clear(Timer::Request(*number));
            match session.role {
                Role::Participant => self.fail_socket(request.conn, request.id, code, why),
                _ if self.waiting.remove(&request.conn).is_some() => {
                    let response = refusal(code, why);
                    self.respond(request.conn, response);
                }
                _ => {}
            }
        }
        if let Some(offer) = &session.offer_queued {
            self.fail_socket(offer.conn, offer.id, code, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_has_one_home_for_ever() {
        assert_eq!(home_of("standup", 1), WorkerId(0));
        assert_eq!(super::super::fnv1a(b"standup"), 0x0ae7_7f43_7dca_5f96);
        let mut seen = [0; 4];
        for i in 0..400 {
            seen[home_of(&format!("room {i}"), 4).index()] += 1;
        }
        assert!(seen.iter().all(|n| (60..140).contains(n)), "{seen:?}");
    }
}
