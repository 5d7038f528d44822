//! How clients show what they receive, how it fares, and who may read that.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::requests::{Asked, Request};
use super::sessions::Session;
use super::ws::{Refusal, refuse};
use super::{ConnId, Gate};
use crate::base::ids::{ParticipantId, SessionId, TrackId};
use crate::base::limits::{WANTS_MAX, WANTS_PER_SESSION};
use crate::room::mail::{RoomLetter, RoomReport, ToWorker};
use crate::wire::signal::{Cause, ErrorCode, RequestId, ServerMessage, SlotQuality, TrackWant};

/// Changes of one slot that are remembered.
const CHANGES_MAX: usize = 8;

/// How one slot fares, and fared of late.
#[derive(Debug)]
pub(super) struct Fare {
    now: SlotQuality,
    since: Instant,
    /// The youngest last.
    before: VecDeque<(Instant, Cause, bool)>,
}

/// One session as `GET /api/rooms/{room}` shows it.
#[derive(Debug, Serialize)]
struct ViewerReport<'a> {
    id: ParticipantId,
    name: &'a str,
    role: &'static str,
    slots: Vec<SlotReport<'a>>,
}

#[derive(Debug, Serialize)]
struct SlotReport<'a> {
    mid: &'a str,
    track: TrackId,
    cause: Cause,
    paused: bool,
    for_ms: u64,
    before: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    cause: Cause,
    paused: bool,
    began_ms_ago: u64,
}

/// A room as `GET /api/rooms` shows it.
#[derive(Debug, Serialize)]
pub(super) struct RoomView<'a> {
    #[serde(flatten)]
    report: &'a RoomReport,
    /// How many of its viewers' pictures are as they are for which reason.
    causes: BTreeMap<Cause, usize>,
}

impl Gate {
    /// A client says how it shows tracks of others.
    pub(super) fn want(
        &mut self,
        now: Instant,
        conn: ConnId,
        id: Option<RequestId>,
        wants: Vec<TrackWant>,
    ) -> Result<(), Refusal> {
        let session = self.joined_for_request(conn)?;
        if wants.len() > WANTS_MAX {
            return refuse(ErrorCode::BadMessage, format!("at most {WANTS_MAX} tracks at once"));
        }
        let (address, room, session) = (session.address, session.room.clone(), session.id);
        let bucket = self.sessions.get_mut(session).map(|s| &mut s.wants);
        if bucket.is_some_and(|bucket| !bucket.take(now, WANTS_PER_SESSION)) {
            return refuse(ErrorCode::RateLimited, "too many of these; wait a second");
        }
        let request = self.ask(now, Request { session, conn, id, asked: Asked::Want });
        let participant = address.participant;
        let letter = RoomLetter::Want { participant, wants, request };
        self.post(address.home, ToWorker::Room(room, letter));
        Ok(())
    }

    /// A client says how long a track's first picture took.
    pub(super) fn rendered(
        &mut self,
        conn: ConnId,
        id: Option<RequestId>,
        millis: u32,
    ) -> Result<(), Refusal> {
        self.joined(conn)?;
        self.counters.rendered.observe(Duration::from_millis(millis.into()));
        if let Some(id) = id {
            self.say(conn, &ServerMessage::Ok { id });
        }
        Ok(())
    }

    /// A worker says how slots of a session fare from now on.
    pub(super) fn quality(&mut self, now: Instant, id: SessionId, slots: Vec<SlotQuality>) {
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        for slot in &slots {
            let fresh = Fare {
                now: slot.clone(),
                since: now,
                before: VecDeque::with_capacity(CHANGES_MAX + 1),
            };
            let fare = session.fares.entry(slot.mid.clone()).or_insert(fresh);
            if fare.now == *slot {
                continue;
            }
            if fare.now.track == slot.track {
                fare.before.push_back((fare.since, fare.now.cause, fare.now.paused));
                if fare.before.len() > CHANGES_MAX {
                    fare.before.pop_front();
                }
            } else {
                fare.before.clear();
            }
            (fare.now, fare.since) = (slot.clone(), now);
        }
        let (name, room) = (&session.name, &session.room);
        for SlotQuality { mid, track, cause, paused } in &slots {
            log::debug!(
                "quality room={room:?} name={name:?} mid={mid} {track} {cause:?} paused={paused}"
            );
        }
        if let Some(conn) = session.link.filter(|_| session.caught_up) {
            self.say(conn, &ServerMessage::Quality { slots });
        }
    }

    /// The same to a client that may have missed it.
    pub(super) fn repeat_quality(&mut self, id: SessionId, conn: ConnId) {
        let Some(session) = self.sessions.get(id).filter(|s| !s.fares.is_empty()) else {
            return;
        };
        let slots = session.fares.values().map(|fare| fare.now.clone()).collect();
        self.say(conn, &ServerMessage::Quality { slots });
    }

    /// How many pictures are as they are for which reason, in each room.
    pub(super) fn causes(&self) -> BTreeMap<&str, BTreeMap<Cause, usize>> {
        let mut rooms: BTreeMap<&str, BTreeMap<Cause, usize>> = BTreeMap::new();
        for session in self.sessions.iter() {
            let causes = rooms.entry(&session.room).or_default();
            for fare in session.fares.values() {
                *causes.entry(fare.now.cause).or_default() += 1;
            }
        }
        rooms
    }

    /// All rooms, in the order of their names.
    pub(super) fn room_views(&self) -> Vec<RoomView<'_>> {
        let mut rooms: Vec<&RoomReport> = self.reports.rooms().collect();
        rooms.sort_by(|a, b| a.room.cmp(&b.room));
        let mut causes = self.causes();
        let mut views = Vec::new();
        for report in rooms {
            let causes = causes.remove(&*report.room).unwrap_or_default();
            views.push(RoomView { report, causes });
        }
        views
    }

    /// One room with all who are in it, and how their pictures fare; `None` if nobody is.
    pub(super) fn room_detail(&self, room: &str, now: Instant) -> Option<serde_json::Value> {
        let here = self.sessions.iter().filter(|session| session.entered && *session.room == *room);
        let viewers: Vec<ViewerReport<'_>> = here.map(|session| viewer(session, now)).collect();
        let is_there = !viewers.is_empty();
        is_there.then(|| serde_json::json!({ "room": room, "participants": viewers }))
    }
}

fn viewer(session: &Session, now: Instant) -> ViewerReport<'_> {
    let ago = |at: Instant| {
        let millis = now.saturating_duration_since(at).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX)
    };
    let slot = |fare| {
        let fare: &Fare = fare;
        let change = |(at, cause, paused): &(Instant, Cause, bool)| Change {
            cause: *cause,
            paused: *paused,
            began_ms_ago: ago(*at),
        };
        SlotReport {
            mid: &fare.now.mid,
            track: fare.now.track,
            cause: fare.now.cause,
            paused: fare.now.paused,
            for_ms: ago(fare.since),
            before: fare.before.iter().map(change).collect(),
        }
    };
    ViewerReport {
        id: session.address.participant,
        name: &session.name,
        role: session.role.label(),
        slots: session.fares.values().map(slot).collect(),
    }
}
