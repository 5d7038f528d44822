//! Floor 3: who is in a room, what they publish, and which track sits in which slot.
//!
//! [`Rooms`] is the part of a worker that is home to rooms. It takes [`RoomLetter`]s and writes
//! letters: to sessions by way of the gate, to peers and tracks by way of their workers.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod assign;
pub mod mail;
pub mod members;
mod tracks;
mod voices;
mod wants;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::base::limits::{ROOM_MEMBERS_MAX, ROOMS_MAX};
use crate::wire::signal::ErrorCode;
use mail::{
    Outgoing, PeerLetter, Role, RoomLetter, RoomName, RoomReport, RoomSettings, ToGate, ToWorker,
};
use members::Room;

/// The rooms whose home is one worker. Created on first join, removed when empty.
#[derive(Debug, Default)]
pub struct Rooms {
    settings: RoomSettings,
    rooms: BTreeMap<RoomName, Room>,
    /// When rooms have something to decide by themselves, and which.
    due: BTreeSet<(Instant, RoomName)>,
}

impl Rooms {
    /// No room yet; all will be like this.
    pub fn new(settings: RoomSettings) -> Rooms {
        Rooms { settings, ..Rooms::default() }
    }

    /// Takes one letter; what follows from it is appended to `out`. A letter for a room that has
    /// ended meanwhile needs no answer: whoever wrote it is gone too.
    pub fn handle(
        &mut self,
        name: &RoomName,
        letter: RoomLetter,
        now: Instant,
        out: &mut Vec<Outgoing>,
    ) {
        let letter = match letter {
            RoomLetter::Join { .. } => self.admit(name, letter, out),
            RoomLetter::Collapse => return self.collapse(name, out),
            letter => Some(letter),
        };
        let (Some(letter), Some(room)) = (letter, self.rooms.get_mut(name)) else { return };
        let due = room.deadline();
        room.handle(now, letter, out);
        self.settle(name, due);
    }

    /// The next time that [`Rooms::decide`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The room that is due first, if one is by `now`.
    pub fn due(&self, now: Instant) -> Option<RoomName> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, name)| name.clone())
    }

    /// Does what is due in a room.
    pub fn decide(&mut self, name: &RoomName, now: Instant, out: &mut Vec<Outgoing>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let due = room.deadline();
        room.settle(now, out);
        self.settle(name, due);
    }

    /// Something was done in a room whose deadline was `before`.
    fn settle(&mut self, name: &RoomName, before: Option<Instant>) {
        let Some(room) = self.rooms.get(name) else { return };
        let (is_empty, after) = (room.is_empty(), room.deadline());
        let after = after.filter(|_| !is_empty);
        if before != after {
            if let Some(before) = before {
                self.due.remove(&(before, name.clone()));
            }
            self.due.extend(after.map(|at| (at, name.clone())));
        }
        if is_empty {
            self.rooms.remove(name);
        }
    }

    /// Ends a room without trusting its tables.
    fn collapse(&mut self, name: &RoomName, out: &mut Vec<Outgoing>) {
        self.due.retain(|(_, due)| due != name);
        let Some(room) = self.rooms.remove(name) else { return };
        let mut sessions = Vec::new();
        for address in room.addresses() {
            sessions.push(address.session);
            let close = ToWorker::Peer(address.participant, PeerLetter::Close);
            out.push(Outgoing::Worker(address.worker, close));
        }
        out.push(Outgoing::Gate(ToGate::RoomEnded { sessions }));
    }

    /// Lets a join pass while there is room for it.
    fn admit(
        &mut self,
        name: &RoomName,
        join: RoomLetter,
        out: &mut Vec<Outgoing>,
    ) -> Option<RoomLetter> {
        let RoomLetter::Join { address, request, role, .. } = &join else {
            return Some(join);
        };
        let full = self.rooms.get(name).is_some_and(|r| r.members() >= ROOM_MEMBERS_MAX);
        let (code, message) = if full {
            (ErrorCode::RoomFull, format!("at most {ROOM_MEMBERS_MAX} in a room"))
        } else if !self.rooms.contains_key(name) && self.rooms.len() >= ROOMS_MAX {
            (ErrorCode::ServerBusy, format!("at most {ROOMS_MAX} rooms"))
        } else if *role == Role::Whip
            && self.rooms.get(name).is_some_and(|r| !r.has_place_to_publish())
        {
            let most = self.settings.publishers_max;
            (ErrorCode::TooManyPublishers, format!("at most {most} may send here"))
        } else {
            let settings = self.settings;
            self.rooms.entry(name.clone()).or_insert_with(|| Room::new(settings));
            return Some(join);
        };
        let (session, request) = (address.session, *request);
        out.push(Outgoing::Gate(ToGate::Refused { session, request, code, message }));
        None
    }

    /// Each room in numbers, in the order of their names.
    pub fn report(&self) -> Vec<RoomReport> {
        self.rooms.iter().map(|(name, room)| room.report(name)).collect()
    }

    /// The rooms' names, in order.
    pub fn names(&self) -> impl Iterator<Item = RoomName> {
        self.rooms.keys().cloned()
    }

    /// How many rooms there are.
    pub fn len(&self) -> usize {
        self.rooms.len()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Panics if a room's tables do not agree with each other.
    pub fn check_invariants(&self) {
        for room in self.rooms.values() {
            assert!(!room.is_empty(), "an empty room is removed");
            room.check_invariants();
        }
        let due =
            self.rooms.iter().filter_map(|(name, room)| Some((room.deadline()?, name.clone())));
        assert_eq!(due.collect::<BTreeSet<_>>(), self.due, "each room's deadline, and no other");
    }
}
