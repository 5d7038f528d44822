//! What workers have yet to answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::sessions::Sessions;
use super::{ConnId, Gate, Timer};
use crate::base::ids::SessionId;
use crate::room::mail::Role;
use crate::wire::signal::{ErrorCode, LeaveReason, RequestId};

/// A worker that has not answered by then is stuck or lost the request, and the client is told.
/// Far above what a full queue costs, below what a person waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one session that may wait for a worker.
pub(super) const REQUESTS_PER_SESSION_MAX: usize = 64;

/// One request on its way through a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub session: SessionId,
    /// The connection it came on, which alone gets the answer.
    pub conn: ConnId,
    /// The client's number for it.
    pub id: Option<RequestId>,
    pub asked: Asked,
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Join,
    Resume,
    Offer,
    Update,
    Want,
    /// WHIP/WHEP ICE restart.
    Restart,
}

/// By the gate's own number, which travels in letters instead of the client's.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: BTreeMap<u64, Request>,
    minted: u64,
}

impl Requests {
    pub fn remove(&mut self, number: u64) -> Option<Request> {
        self.open.remove(&number)
    }

    pub fn get(&self, number: u64) -> Option<&Request> {
        self.open.get(&number)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn check_invariants(&self, sessions: &Sessions) {
        let named: usize = sessions.iter().map(|s| s.requests.len()).sum();
        debug_assert_eq!(named, self.open.len(), "every open request has its session");
    }
}

impl Gate {
    /// Notes a request of a live session; its number goes into the letter.
    pub(super) fn ask(&mut self, now: Instant, request: Request) -> Option<RequestId> {
        self.requests.minted += 1;
        let number = self.requests.minted;
        self.requests.open.insert(number, request);
        self.timers.set(Timer::Request(number), now + ANSWER_TIMEOUT);
        let session = self.sessions.get_mut(request.session);
        debug_assert!(session.is_some(), "requests are made for live sessions");
        if let Some(session) = session {
            session.requests.insert(number);
            if request.asked == Asked::Offer {
                session.offer_in_flight = Some(number);
            }
        }
        Some(number)
    }

    /// The request that an answer is for, which is over with that; `None` for an answer that
    /// nobody waits for any more.
    pub(super) fn answered(&mut self, number: Option<RequestId>) -> Option<Request> {
        let number = number?;
        let request = self.requests.remove(number)?;
        self.timers.clear(Timer::Request(number));
        if let Some(session) = self.sessions.get_mut(request.session) {
            session.requests.remove(&number);
            if session.offer_in_flight == Some(number) {
                session.offer_in_flight = None;
            }
        }
        Some(request)
    }

    /// No worker answered in time.
    pub(super) fn request_due(&mut self, now: Instant, number: u64) {
        let Some(request) = self.requests.get(number).copied() else {
            return;
        };
        log::error!("no answer from a worker to {:?}", request.asked);
        let why = "no answer in time";
        let role = self.sessions.get(request.session).map(|s| s.role.clone());
        let is_participant = role == Some(Role::Participant);
        match request.asked {
            Asked::Offer | Asked::Update | Asked::Want if is_participant => {
                self.answered(Some(number));
                self.fail_socket(request.conn, request.id, ErrorCode::Internal, why);
                self.send_queued_offer(now, request.session);
            }
            Asked::Restart => {
                self.answered(Some(number));
                self.refuse_restart(request, why);
            }
            _ => {
                let end = (LeaveReason::Closed, ErrorCode::Internal, why);
                self.end_session(request.session, end);
            }
        }
    }
}
