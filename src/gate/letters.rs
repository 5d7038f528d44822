//! What workers say, passed on to the clients it is for.

use std::sync::Arc;
use std::time::Instant;

use super::requests::{Asked, Request};
use super::{Gate, GateOutput, Timer};
use crate::base::ids::SessionId;
use crate::room::mail::{Answer, Role, ToGate};
use crate::wire::sdpfrag::first_mid;
use crate::wire::signal::{
    ErrorCode, LeaveReason, ParticipantView, RequestId, ServerMessage, SlotView,
};

impl Gate {
    /// Takes one letter.
    pub(super) fn letter(&mut self, now: Instant, letter: ToGate) {
        match letter {
            ToGate::Joined { session, request, others, slots, .. } => {
                self.entered(now, session, request, others, slots)
            }
            ToGate::Refused { session, request, code, message } => {
                self.refused(now, session, request, code, message)
            }
            ToGate::Answered { request, answer, .. } => self.offer_answered(now, request, answer),
            ToGate::Restarted { session, result } => self.restarted(session, result),
            ToGate::Event { to, message } => self.event(&to, message),
            ToGate::Quality { session, slots } => self.quality(now, session, slots),
            ToGate::Emptied { session, mid } => {
                if let Some(session) = self.sessions.get_mut(session) {
                    session.fares.remove(&mid);
                }
            }
            ToGate::Connected { session } => self.connected(session),
            ToGate::PeerGone { session, reason, why } => self.peer_gone(session, reason, why),
            ToGate::RoomEnded { sessions } => {
                sessions.into_iter().for_each(|id| self.break_session(id, ErrorCode::Internal));
            }
            ToGate::Report { worker, counters, rooms } => {
                self.reports.take(worker, *counters, rooms)
            }
            ToGate::Drained { worker } => self.drained(worker),
        }
    }

    fn entered(
        &mut self,
        now: Instant,
        id: SessionId,
        number: Option<RequestId>,
        others: Vec<ParticipantView>,
        slots: Vec<SlotView>,
    ) {
        let Some(request) = self.answered(number) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        let resumed = request.asked == Asked::Resume;
        session.entered = true;
        if session.link != Some(request.conn) {
            return;
        }
        let verb = if resumed { "resumed" } else { "join" };
        log::info!(
            "{verb} room={:?} name={:?} {} role={} peer={} home={}",
            session.room,
            session.name,
            session.address.participant,
            session.role.label(),
            session.address.worker,
            session.address.home,
        );
        self.counters.entered(&session.role, resumed);
        if session.role != Role::Participant {
            self.offer_of_resource(now, request);
            return;
        }
        session.caught_up = true;
        let joined = ServerMessage::Joined {
            id: request.id,
            room: session.room.to_string(),
            participant: session.address.participant,
            session: session.secret.clone(),
            resumed,
            resume_grace_ms: self.config.resume_grace.as_millis() as u64,
            ice_servers: self.config.ice_servers.clone(),
            limits: self.config.limits,
            participants: others,
            slots,
        };
        self.timers.clear(Timer::Socket(request.conn));
        self.out.push_back(GateOutput::Admit { conn: request.conn });
        self.say(request.conn, &joined);
        if resumed {
            self.repeat_quality(id, request.conn);
        }
    }

    fn refused(
        &mut self,
        now: Instant,
        id: SessionId,
        number: Option<RequestId>,
        code: ErrorCode,
        message: String,
    ) {
        let Some(Request { conn, id: theirs, asked, .. }) = self.answered(number) else {
            // What nobody asked for is for whoever is attached.
            if number.is_none()
                && let Some(conn) = self.sessions.get(id).and_then(|s| s.link)
            {
                self.fail_socket(conn, None, code, message);
            }
            return;
        };
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        log::info!(
            "refused {asked:?} room={:?} name={:?} code={} {message:?}",
            session.room,
            session.name,
            code.as_str()
        );
        let is_participant = session.role == Role::Participant;
        match asked {
            Asked::Join => {
                if is_participant {
                    self.fail_socket(conn, theirs, code, message);
                } else {
                    self.refuse_resource(conn, code, &message);
                }
                self.forget_session(id, code, "refused");
            }
            Asked::Resume => {
                self.fail_socket(conn, theirs, ErrorCode::SessionGone, message);
                let end = (LeaveReason::Closed, code, "the room has forgotten it");
                self.end_session(id, end);
            }
            Asked::Offer if !is_participant => {
                self.refuse_resource(conn, code, &message);
                self.end_session(id, (LeaveReason::Closed, code, "its offer was refused"));
            }
            Asked::Offer | Asked::Update | Asked::Want | Asked::Restart => {
                if session.link == Some(conn) {
                    self.fail_socket(conn, theirs, code, message);
                }
                self.send_queued_offer(now, id);
            }
        }
    }

    fn offer_answered(&mut self, now: Instant, number: Option<RequestId>, answer: Answer) {
        let Some(request) = self.answered(number) else {
            return;
        };
        let Some(session) = self.sessions.get(request.session) else {
            return;
        };
        if session.role != Role::Participant {
            self.resource_created(request, answer);
            return;
        }
        if session.link == Some(request.conn) {
            let mid = first_mid(&answer.sdp).unwrap_or("0").to_owned();
            let reply =
                ServerMessage::Answer { id: request.id, sdp: answer.sdp, tracks: answer.tracks };
            self.say(request.conn, &reply);
            // The empty one says that these were all (RFC 8838 §13).
            let all = answer.ice.candidates.into_iter().chain([String::new()]);
            for candidate in all {
                let mid = mid.clone();
                self.say(request.conn, &ServerMessage::Candidate { candidate, mid });
            }
        }
        self.send_queued_offer(now, request.session);
    }

    fn event(&mut self, to: &[SessionId], message: ServerMessage) {
        match message {
            // Replies to one session: the number is ours, the client wants its own.
            ServerMessage::Ok { id } => {
                if let Some(request) = self.answered(Some(id))
                    && let Some(id) = request.id
                    && self.sockets.contains_key(&request.conn)
                {
                    self.say(request.conn, &ServerMessage::Ok { id });
                }
            }
            message => {
                let text: Arc<str> = message.to_json().into();
                for session in to.iter().filter_map(|id| self.sessions.get(*id)) {
                    let Some(conn) = session.link.filter(|_| session.caught_up) else {
                        continue;
                    };
                    let text = text.clone();
                    self.out.push_back(GateOutput::Text { conn, text });
                }
            }
        }
    }

    fn connected(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        self.counters.connected += 1;
        if session.role != Role::Participant {
            self.timers.clear(Timer::Session(id));
        }
    }

    fn peer_gone(&mut self, id: SessionId, reason: LeaveReason, why: &'static str) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        log::info!(
            "peer gone room={:?} name={:?} {} reason={reason:?} ({why})",
            session.room,
            session.name,
            session.address.participant
        );
        if session.role != Role::Participant {
            self.end_session(id, (reason, ErrorCode::Internal, why));
            return;
        }
        // A participant offers anew; an offer that broke the peer gets no other answer.
        if reason == LeaveReason::Closed
            && let Some(request) = self.answered(session.offer_in_flight)
        {
            self.fail_socket(request.conn, request.id, ErrorCode::Internal, why);
        }
    }
}
