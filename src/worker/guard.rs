//! Rooms fail alone: a panic while a peer or a room is worked on ends that room, is counted, and
//! its clients join again; the worker and the other rooms go on. A panic that is of no room leaves
//! nothing here to be trusted: all rooms of this worker end that way.
//!
//! A panic within `str0m`, which reads what a client wrote, leaves only that client's `Rtc` broken:
//! that client is lost, so that nobody can end a room by what they send.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::Worker;
use super::mux::PeerKey;
use crate::room::mail::{Outgoing, RoomLetter, RoomName, ToWorker};
use crate::wire::signal::LeaveReason;

/// What a worker's hands are on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AtWork {
    #[default]
    Nothing,
    Peer(PeerKey),
    Room(RoomName),
}

/// Does what is `str0m`'s alone to do; `None` if it panicked, and its `Rtc` is not to be used again.
pub fn contained<R>(call: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

impl Worker {
    /// A peer whose `Rtc` panicked is lost.
    pub(super) fn break_off(&mut self, key: PeerKey, now: Instant) {
        self.counters.transport_faults += 1;
        let Some(peer) = self.peers.get_mut(key.0) else {
            return;
        };
        peer.broken = true;
        log::error!("{} is lost: a fault in its transport (see above)", peer.address.participant);
        self.lose(key, LeaveReason::Lost, "a fault in its transport", now);
    }

    /// Does one piece of work; if it panics, the room that it was about ends.
    pub(super) fn guard(&mut self, now: Instant, work: impl FnOnce(&mut Worker)) {
        self.at_work = AtWork::Nothing;
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.counters.panics += 1;
        // What was half built must not lead the next datagram.
        self.transmits.abandon();
        match self.broken_room() {
            Some(room) => {
                log::error!("room {room:?} ends: a fault on {} (see above)", self.config.id);
                self.end_room(room, now);
            }
            None => {
                log::error!(
                    "all rooms on {} end: a fault outside of any (see above)",
                    self.config.id
                );
                let here = self.peers.iter().map(|(_, p)| p.room.clone());
                let rooms: BTreeSet<RoomName> = here.chain(self.rooms.names()).collect();
                rooms.into_iter().for_each(|room| self.end_room(room, now));
            }
        }
    }

    fn broken_room(&mut self) -> Option<RoomName> {
        match std::mem::take(&mut self.at_work) {
            AtWork::Nothing => None,
            AtWork::Room(name) => Some(name),
            AtWork::Peer(key) => self.peers.get(key.0).map(|p| p.room.clone()),
        }
    }

    /// Drops the room's peers here without touching what is inside them, and lets the home end
    /// the rest.
    fn end_room(&mut self, room: RoomName, now: Instant) {
        let home = self.peers.iter().find(|(_, p)| p.room == room).map(|(_, p)| p.address.home);
        let here = self.peers.iter().filter(|(_, p)| p.room == room);
        let keys: Vec<PeerKey> = here.map(|(index, _)| PeerKey(index)).collect();
        for key in keys {
            self.forget(key);
        }
        let home = home.unwrap_or(self.config.id);
        let letter = ToWorker::Room(room, RoomLetter::Collapse);
        self.letters.push(Outgoing::Worker(home, letter));
        // What is left of this turn is of other rooms.
        let settled = catch_unwind(AssertUnwindSafe(|| self.settle(now)));
        if settled.is_err() {
            self.counters.panics += 1;
            log::error!("a second fault on {} while a room ended", self.config.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::{Crypto, WorkerConfig};
    use super::*;
    use crate::base::ids::{ParticipantId, SessionId, WorkerId};
    use crate::base::rng::Rng;
    use crate::room::mail::{Address, PeerLetter, Role, RoomSettings, ToGate};
    use crate::wire::signal::PublishLimits;

    fn worker(now: Instant) -> Worker {
        let candidates: Vec<SocketAddr> = vec!["127.0.0.1:9".parse().unwrap()];
        let crypto = Crypto::generate();
        let config = WorkerConfig {
            id: WorkerId(0),
            workers: 1,
            candidates,
            crypto,
            ntp: 0,
            rooms: RoomSettings::default(),
            limits: PublishLimits::default(),
        };
        Worker::new(config, Rng::from_seed([1; 32]), now)
    }

    fn join(worker: &mut Worker, room: &str, id: u64, now: Instant) {
        worker.handle_letter(now, join_letter(room, id));
    }

    fn join_letter(room: &str, id: u64) -> ToWorker {
        let home = WorkerId(0);
        let (participant, session) = (ParticipantId(id), SessionId(id));
        let address = Address { participant, session, worker: home, home };
        let (name, role) = (id.to_string(), Role::Participant);
        ToWorker::Room(room.into(), RoomLetter::Join { address, name, role, request: None })
    }

    fn rooms(worker: &Worker) -> Vec<String> {
        worker.rooms.report().into_iter().map(|r| r.room).collect()
    }

    #[test]
    #[cfg(debug_assertions)]
    fn what_waited_behind_a_fault_is_done() {
        let now = Instant::now();
        let mut worker = worker(now);
        join(&mut worker, "bad", 1, now);
        worker.guard(now, |worker| {
            // Nobody joins twice: a debug assertion of the room.
            for letter in [join_letter("bad", 1), join_letter("good", 2)] {
                worker.letters.push(Outgoing::Worker(WorkerId(0), letter));
            }
            worker.settle(now);
        });
        assert_eq!(worker.counters.panics, 1);
        assert_eq!(rooms(&worker), ["good"]);
    }

    #[test]
    fn an_offer_that_breaks_str0m_is_felt_by_nobody_else() {
        // Two H264 payload types become one: "Pt locked multiple times".
        let offer = include_bytes!("../../fuzz/corpus/offer/payload_type_claimed_twice");
        let now = Instant::now();
        let mut worker = worker(now);
        join(&mut worker, "room", 1, now);
        join(&mut worker, "room", 2, now);
        worker.take_letters();
        let home = WorkerId(0);
        let (participant, session) = (ParticipantId(1), SessionId(1));
        let offer = PeerLetter::Offer {
            address: Address { participant, session, worker: home, home },
            room: "room".into(),
            role: Role::Participant,
            request: Some(7),
            sdp: String::from_utf8_lossy(offer).into(),
            tracks: Vec::new(),
        };
        worker.handle_letter(now, ToWorker::Peer(participant, offer));
        worker.check_invariants();
        let letters = worker.take_letters().collect::<Vec<_>>();
        let refused = |l: &Outgoing| matches!(l, Outgoing::Gate(ToGate::Refused { .. }));
        assert!(matches!(&letters[..], [one] if refused(one)), "{letters:?}");
        assert_eq!((worker.counters.panics, worker.counters.transport_faults), (0, 1));
        assert_eq!((worker.census().participants, rooms(&worker).len()), (0, 1));
    }

    #[test]
    fn a_fault_of_no_room_ends_all_of_the_worker() {
        let now = Instant::now();
        let mut worker = worker(now);
        join(&mut worker, "one", 1, now);
        join(&mut worker, "two", 2, now);
        worker.guard(now, |_| panic!("planted"));
        assert!(rooms(&worker).is_empty());
        worker.check_invariants();
        join(&mut worker, "one", 3, now);
        assert_eq!(rooms(&worker), ["one"]);
    }

    #[test]
    fn a_fault_in_one_room_is_not_felt_in_another() {
        let now = Instant::now();
        let mut worker = worker(now);
        join(&mut worker, "bad", 1, now);
        join(&mut worker, "bad", 2, now);
        join(&mut worker, "good", 3, now);
        worker.take_letters();
        worker.guard(now, |worker| {
            worker.at_work = AtWork::Room("bad".into());
            panic!("planted");
        });
        assert_eq!(rooms(&worker), ["good"]);
        assert_eq!(worker.counters.panics, 1);
        let ended: Vec<SessionId> = worker
            .take_letters()
            .filter_map(|letter| match letter {
                Outgoing::Gate(ToGate::RoomEnded { sessions }) => Some(sessions),
                _ => None,
            })
            .flatten()
            .collect();
        assert_eq!(ended, [SessionId(1), SessionId(2)]);
        worker.check_invariants();
        join(&mut worker, "bad", 4, now);
        assert_eq!(worker.rooms.len(), 2, "the room may begin anew");
    }
}
