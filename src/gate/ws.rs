//! WebSocket clients: what each signalling message does.

use std::time::Instant;

use super::requests::{Asked, REQUESTS_PER_SESSION_MAX, Request};
use super::sessions::{Newcomer, QueuedOffer, Session};
use super::{ConnId, Gate, GateOutput, Timer, close_code};
use crate::base::ids::SessionId;
use crate::base::limits::{
    OFFERS_PER_SESSION, SDP_BYTES_MAX, SDP_M_LINES_MAX, UPDATES_PER_SESSION, WS_JOIN_TIMEOUT,
};
use crate::room::mail::{PeerLetter, Role, RoomLetter, ToWorker, Update};
use crate::wire::http::Response;
use crate::wire::names::{NAME_RULE, display_name, room_name};
use crate::wire::signal::{
    self, ClientMessage, ErrorCode, LeaveReason, Limited, RequestId, ServerMessage,
    TrackDescription,
};

/// A client that makes so many errors in a row does not understand us, and is closed.
const ERRORS_IN_ROW_MAX: u32 = 50;
/// A candidate line; real ones have some 150 bytes.
const CANDIDATE_BYTES_MAX: usize = 512;

/// One WebSocket.
#[derive(Debug, Default)]
pub(super) struct Socket {
    /// From its `join` or `resume` on; the session's `link` is this connection.
    pub session: Option<SessionId>,
    errors_in_row: u32,
}

/// Why a message was refused.
pub(super) type Refusal = (ErrorCode, String);

pub(super) fn refuse<T>(code: ErrorCode, message: impl Into<String>) -> Result<T, Refusal> {
    Err((code, message.into()))
}

impl Gate {
    /// Makes a WebSocket of a connection whose handshake was checked.
    pub(super) fn upgrade(&mut self, now: Instant, conn: ConnId, response: Response) {
        self.sockets.insert(conn, Socket::default());
        self.timers.set(Timer::Socket(conn), now + WS_JOIN_TIMEOUT);
        self.counters.response(response.status);
        self.out.push_back(GateOutput::Upgrade { conn, response });
    }

    /// A text message.
    pub(super) fn text(&mut self, now: Instant, conn: ConnId, text: &str) {
        if !self.sockets.contains_key(&conn) {
            return;
        }
        let (id, result) = match signal::Request::parse(text) {
            Ok(request) => (request.id, self.message(now, conn, request)),
            Err(error) => (error.id, refuse(error.code, error.message)),
        };
        match result {
            Ok(()) => {
                if let Some(socket) = self.sockets.get_mut(&conn) {
                    socket.errors_in_row = 0;
                }
            }
            Err((code, message)) => self.refuse_message(conn, id, code, message),
        }
    }

    /// Everything is text here.
    pub(super) fn binary(&mut self, conn: ConnId) {
        let message = "binary messages are not understood; send one JSON object as text";
        self.refuse_message(conn, None, ErrorCode::BadMessage, message.into());
    }

    /// A message over the limit: the rest of the stream is lost with it.
    pub(super) fn too_large(&mut self, now: Instant, conn: ConnId) {
        let why = "the message is too large";
        self.fail_socket(conn, None, ErrorCode::TooLarge, why);
        let session = self.sockets.get(&conn).and_then(|s| s.session);
        self.close_socket(conn, close_code::TOO_BIG, why);
        if let Some(session) = session {
            self.detach(now, session);
        }
    }

    /// Tells a client that what it asked failed.
    pub(super) fn fail_socket(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        code: ErrorCode,
        message: impl Into<String>,
    ) {
        if self.sockets.contains_key(&conn) {
            self.counters.error(code);
            let message = message.into();
            self.say(conn, &ServerMessage::Error { code, message, id });
        }
    }

    fn refuse_message(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        code: ErrorCode,
        message: String,
    ) {
        let Some(socket) = self.sockets.get_mut(&conn) else {
            return;
        };
        socket.errors_in_row += 1;
        let enough = socket.errors_in_row > ERRORS_IN_ROW_MAX;
        log::debug!("refused {}: {message:?}", code.as_str());
        self.fail_socket(conn, id, code, message);
        if enough {
            if let Some(session) = self.sockets.get(&conn).and_then(|s| s.session) {
                let end = (LeaveReason::Closed, code, "too many errors");
                self.end_session(session, end);
            }
            self.close_socket(conn, close_code::POLICY, "too many errors in a row");
        }
    }

    fn message(
        &mut self,
        now: Instant,
        conn: ConnId,
        request: signal::Request,
    ) -> Result<(), Refusal> {
        let id = request.id;
        match request.message {
            ClientMessage::Join { room, name, .. } => self.join(now, conn, id, &room, &name),
            ClientMessage::Resume { session } => self.resume(now, conn, id, &session),
            ClientMessage::Offer { sdp, tracks } => self.offer(now, conn, id, sdp, tracks),
            ClientMessage::Candidate { candidate, .. } => self.candidate(conn, id, &candidate),
            ClientMessage::Update { mid, muted, limited } => {
                self.update(now, conn, id, (mid, muted, limited))
            }
            ClientMessage::Want { tracks } => self.want(now, conn, id, tracks),
            ClientMessage::Rendered { ms, .. } => self.rendered(conn, id, ms),
            ClientMessage::Leave => self.leave(conn, id),
            ClientMessage::Ping => {
                self.joined(conn)?;
                self.say(conn, &ServerMessage::Pong { id });
                Ok(())
            }
        }
    }

    fn session_of(&self, conn: ConnId) -> Option<&Session> {
        self.sessions.get(self.sockets.get(&conn)?.session?)
    }

    /// The session of a client that was told `joined`.
    pub(super) fn joined(&self, conn: ConnId) -> Result<&Session, Refusal> {
        match self.session_of(conn) {
            Some(session) if session.caught_up => Ok(session),
            Some(_) => refuse(ErrorCode::NotJoined, "wait for \"joined\" first"),
            None => refuse(ErrorCode::NotJoined, "join a room first"),
        }
    }

    /// As [`Gate::joined`], for what goes on to a worker.
    pub(super) fn joined_for_request(&self, conn: ConnId) -> Result<&Session, Refusal> {
        let session = self.joined(conn)?;
        if session.requests.len() >= REQUESTS_PER_SESSION_MAX {
            return refuse(ErrorCode::ServerBusy, "too many requests wait for answers");
        }
        Ok(session)
    }

    fn join(
        &mut self,
        now: Instant,
        conn: ConnId,
        id: Option<RequestId>,
        room: &str,
        name: &str,
    ) -> Result<(), Refusal> {
        if self.session_of(conn).is_some() {
            return refuse(ErrorCode::AlreadyJoined, "this WebSocket has joined a room");
        }
        let (Some(room), Some(name)) = (room_name(room), display_name(name)) else {
            return refuse(ErrorCode::BadName, NAME_RULE);
        };
        let newcomer = Newcomer {
            conn,
            id,
            room: room.to_owned(),
            name: name.to_owned(),
            role: Role::Participant,
            resource: None,
        };
        let session = self.begin_session(now, newcomer);
        let session = session.map_err(|(code, why)| (code, why.to_owned()))?;
        self.sockets.entry(conn).or_default().session = Some(session);
        Ok(())
    }

    fn resume(
        &mut self,
        now: Instant,
        conn: ConnId,
        id: Option<RequestId>,
        secret: &str,
    ) -> Result<(), Refusal> {
        if self.session_of(conn).is_some() {
            return refuse(ErrorCode::AlreadyJoined, "this WebSocket has joined a room");
        }
        let session = self.sessions.by_secret(secret);
        let session = session.filter(|s| s.entered && s.role == Role::Participant);
        let Some(session) = session else {
            return refuse(ErrorCode::SessionGone, "no such session; join again");
        };
        if session.requests.len() >= REQUESTS_PER_SESSION_MAX {
            return refuse(ErrorCode::ServerBusy, "too many requests wait for answers");
        }
        let (session_id, old) = (session.id, session.link);
        if let Some(old) = old {
            self.take_away(session_id, old);
        }
        let Some(session) = self.sessions.get_mut(session_id) else {
            return refuse(ErrorCode::SessionGone, "no such session; join again");
        };
        session.link = Some(conn);
        session.caught_up = false;
        let (address, room) = (session.address, session.room.clone());
        self.timers.clear(Timer::Session(session_id));
        self.sockets.entry(conn).or_default().session = Some(session_id);
        let request = Request { session: session_id, conn, id, asked: Asked::Resume };
        let resume = RoomLetter::Resume {
            participant: address.participant,
            request: self.ask(now, request),
        };
        self.post(address.home, ToWorker::Room(room, resume));
        Ok(())
    }

    /// The WebSocket that had the session: what it asked will not be answered there any more.
    fn take_away(&mut self, session: SessionId, old: ConnId) {
        let why = "the session was resumed elsewhere";
        let numbers = self.sessions.get(session).map(|s| s.requests.clone());
        for number in numbers.unwrap_or_default() {
            if let Some(request) = self.requests.get(number).filter(|r| r.conn == old) {
                let id = request.id;
                self.fail_socket(old, id, ErrorCode::SessionGone, why);
            }
        }
        let session = self.sessions.get_mut(session);
        if let Some(offer) = session.and_then(|s| s.offer_queued.take()) {
            self.fail_socket(offer.conn, offer.id, ErrorCode::SessionGone, why);
        }
        self.close_socket(old, close_code::RESUMED_ELSEWHERE, "resumed elsewhere");
    }

    fn offer(
        &mut self,
        now: Instant,
        conn: ConnId,
        id: Option<RequestId>,
        sdp: String,
        tracks: Vec<TrackDescription>,
    ) -> Result<(), Refusal> {
        let session = self.joined_for_request(conn)?;
        if sdp.len() > SDP_BYTES_MAX || tracks.len() > SDP_M_LINES_MAX {
            return refuse(
                ErrorCode::BadSdp,
                format!("an offer takes {SDP_BYTES_MAX} bytes and {SDP_M_LINES_MAX} tracks"),
            );
        }
        if session.offer_queued.as_ref().is_some_and(|o| o.conn == conn) {
            return refuse(ErrorCode::ServerBusy, "two offers wait for their answers");
        }
        let session = session.id;
        let offer = QueuedOffer { conn, id, sdp, tracks };
        if let Some(session) = self.sessions.get_mut(session) {
            if !session.offers.take(now, OFFERS_PER_SESSION) {
                return refuse(ErrorCode::RateLimited, "too many offers; wait a second");
            }
            session.offer_queued = Some(offer);
        }
        self.send_queued_offer(now, session);
        Ok(())
    }

    /// Sends the offer that waits, unless another is still being answered.
    pub(super) fn send_queued_offer(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        if session.offer_in_flight.is_some() {
            return;
        }
        let Some(offer) = session.offer_queued.take() else {
            return;
        };
        if session.link != Some(offer.conn) {
            return;
        }
        let request = Request { session: id, conn: offer.conn, id: offer.id, asked: Asked::Offer };
        self.post_offer(now, request, offer.sdp, offer.tracks);
    }

    /// Sends an offer to the session's peer.
    pub(super) fn post_offer(
        &mut self,
        now: Instant,
        request: Request,
        sdp: String,
        tracks: Vec<TrackDescription>,
    ) {
        let number = self.ask(now, request);
        let Some(session) = self.sessions.get(request.session) else {
            return;
        };
        let address = session.address;
        let offer = PeerLetter::Offer {
            address,
            room: session.room.clone(),
            role: session.role.clone(),
            request: number,
            sdp,
            tracks,
        };
        let letter = ToWorker::Peer(address.participant, offer);
        self.post(address.worker, letter);
    }

    /// The server is ICE-lite (RFC 8445 §2.5): it learns addresses from checks, so a well-formed
    /// candidate is enough.
    fn candidate(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        candidate: &str,
    ) -> Result<(), Refusal> {
        self.joined(conn)?;
        let is_one = candidate.is_empty() || candidate.starts_with("candidate:");
        if !is_one || candidate.len() > CANDIDATE_BYTES_MAX {
            let message = "a candidate is empty or begins with \"candidate:\"";
            return refuse(ErrorCode::BadCandidate, message);
        }
        if let Some(id) = id {
            self.say(conn, &ServerMessage::Ok { id });
        }
        Ok(())
    }

    fn update(
        &mut self,
        now: Instant,
        conn: ConnId,
        id: Option<RequestId>,
        (mid, muted, limited): (String, bool, Option<Limited>),
    ) -> Result<(), Refusal> {
        let session = self.joined_for_request(conn)?;
        let (address, room, session) = (session.address, session.room.clone(), session.id);
        let updates = self.sessions.get_mut(session).map(|s| &mut s.updates);
        if updates.is_some_and(|updates| !updates.take(now, UPDATES_PER_SESSION)) {
            return refuse(ErrorCode::RateLimited, "too many updates; wait a second");
        }
        let request = self.ask(now, Request { session, conn, id, asked: Asked::Update });
        let update =
            PeerLetter::Update { address, room, update: Update { mid, muted, limited, request } };
        self.post(address.worker, ToWorker::Peer(address.participant, update));
        Ok(())
    }

    fn leave(&mut self, conn: ConnId, id: Option<RequestId>) -> Result<(), Refusal> {
        let Some(session) = self.session_of(conn).map(|s| s.id) else {
            return refuse(ErrorCode::NotJoined, "join a room first");
        };
        let end = (LeaveReason::Left, ErrorCode::SessionGone, "left");
        self.end_session(session, end);
        if let Some(id) = id {
            self.say(conn, &ServerMessage::Ok { id });
        }
        self.close_socket(conn, close_code::NORMAL, "left");
        Ok(())
    }

    /// The WebSocket is gone. `code` is of the close frame it sent, if any.
    pub(super) fn socket_closed(&mut self, now: Instant, conn: ConnId, code: Option<u16>) {
        let clean = [Some(close_code::NORMAL), Some(close_code::GOING_AWAY)].contains(&code);
        let socket = self.sockets.remove(&conn);
        self.timers.clear(Timer::Socket(conn));
        match socket.and_then(|s| s.session) {
            Some(session) if clean => {
                let end = (LeaveReason::Left, ErrorCode::SessionGone, "closed");
                self.end_session(session, end);
            }
            Some(session) => self.detach(now, session),
            None => {}
        }
    }

    /// Keeps a session whose WebSocket ended otherwise than by a clean close, for a while. One
    /// whose secret the client never learnt is ended instead.
    fn detach(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.link = None;
        session.caught_up = false;
        session.offer_queued = None;
        if !session.entered {
            let end = (LeaveReason::Lost, ErrorCode::SessionGone, "gone");
            self.end_session(id, end);
            return;
        }
        log::info!(
            "dropped room={:?} name={:?} {}; kept for {:?}",
            session.room,
            session.name,
            session.address.participant,
            self.config.resume_grace
        );
        let due = now + self.config.resume_grace;
        self.timers.set(Timer::Session(id), due);
    }

    /// A WebSocket's time to join is over.
    pub(super) fn socket_due(&mut self, now: Instant, conn: ConnId) {
        if self.session_of(conn).is_some() {
            // Its home has not answered yet; if it refuses, the client gets more time.
            self.timers.set(Timer::Socket(conn), now + WS_JOIN_TIMEOUT);
            return;
        }
        let why = "nothing joined in time";
        self.fail_socket(conn, None, ErrorCode::NotJoined, why);
        self.close_socket(conn, close_code::POLICY, why);
    }
}
