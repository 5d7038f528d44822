//! What a worker does with letters, and how a peer ends.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::time::Instant;

use super::guard::AtWork;
use super::mux::{FourTuple, Owner, PeerKey};
use super::{Timer, Worker};
use crate::base::counters::DropReason;
use crate::base::ids::{ParticipantId, TrackId};
use crate::base::limits::ENCODINGS_MAX;
use crate::room::mail::{
    HandedDatagram, Outgoing, PeerLetter, RoomLetter, Seat, ToGate, ToWorker, TrackLetter,
    TrackState,
};
use crate::wire::codec::Kind;
use crate::wire::signal::LeaveReason;

impl Worker {
    /// One letter from another thread.
    pub fn handle_letter(&mut self, now: Instant, letter: ToWorker) {
        self.guard(now, |worker| {
            worker.open(now, letter);
            worker.settle(now);
        });
    }

    /// Opens letters to this worker itself and the datagrams that others handed over, until nothing
    /// is left of either. Each is taken out before it is worked on: what a fault interrupts is that
    /// one alone, and the rest is of other rooms.
    pub(super) fn settle(&mut self, now: Instant) {
        loop {
            for outgoing in self.letters.drain(..) {
                match outgoing {
                    Outgoing::Worker(id, letter) if id == self.config.id => {
                        self.to_self.push_back(letter)
                    }
                    outgoing => self.outbox.push(outgoing),
                }
            }
            if let Some(letter) = self.to_self.pop_front() {
                self.open(now, letter);
            } else if let Some(mut datagram) = self.handed_in.pop_front() {
                let HandedDatagram { received, remote, local, via, ref mut bytes } = datagram;
                self.take_datagram(received, FourTuple { remote, local }, via, bytes);
                self.handoff.spend(datagram);
            } else {
                return;
            }
        }
    }

    fn open(&mut self, now: Instant, letter: ToWorker) {
        self.at_work = AtWork::Nothing;
        if !matches!(
            letter,
            ToWorker::Datagrams(_) | ToWorker::SpentDatagrams(_) | ToWorker::SpentPackets(_)
        ) {
            self.stirred = now;
        }
        match letter {
            ToWorker::Room(name, letter) => {
                self.at_work = AtWork::Room(name.clone());
                self.rooms.handle(&name, letter, now, &mut self.letters);
                self.await_rooms();
            }
            ToWorker::Peer(participant, letter) => self.open_for_peer(participant, letter, now),
            ToWorker::Track(id, TrackLetter::RequestKeyframe { encoding }) => {
                self.want_own_keyframe((id, encoding), now);
            }
            ToWorker::Track(id, TrackLetter::State(state)) => self.set_state(id, state),
            ToWorker::Track(id, TrackLetter::Relay { to, wanted }) => {
                let Some(local) = self.tracks.local(id) else {
                    return;
                };
                local.relays.retain(|w| *w != to);
                if wanted {
                    // No keyframe is asked for yet: whoever waits there says so once it can
                    // receive, and a request spent before that holds theirs back.
                    local.relays.push(to);
                }
            }
            ToWorker::Datagrams(mut datagrams) => {
                self.handed_in.extend(datagrams.drain(..));
                self.handoff.keep_list(datagrams);
            }
            ToWorker::Relay { from, mut packets } => {
                for (id, anchor) in packets.anchors() {
                    self.tracks.anchor(id, anchor, &mut self.handoff);
                }
                for (id, packet) in packets.packets() {
                    if !self.tracks.exchange(id, packet) {
                        self.counters.drop(DropReason::UnknownStream, 1);
                    }
                }
                let letter = ToWorker::SpentPackets(packets);
                self.letters.push(Outgoing::Worker(from, letter));
            }
            ToWorker::SpentDatagrams(datagrams) => self.handoff.keep_datagrams(datagrams),
            ToWorker::SpentPackets(packets) => self.handoff.keep_batch(packets),
            ToWorker::Route { remote, local, owner } => {
                let tuple = FourTuple { remote, local };
                match owner {
                    Some(owner) => self.learn_route(tuple, owner),
                    None => self.mux.release_foreign(tuple),
                }
            }
            ToWorker::Drain => self.drain_all(now),
        }
    }

    fn learn_route(&mut self, tuple: FourTuple, owner: crate::base::ids::WorkerId) {
        if let Some(Owner::Peer(old)) = self.mux.bind(tuple, Owner::Worker(owner)) {
            self.peers[old.0].paths.remove(tuple);
        }
    }

    fn open_for_peer(&mut self, participant: ParticipantId, letter: PeerLetter, now: Instant) {
        match letter {
            PeerLetter::Offer { address, room, role, request, sdp, tracks } => {
                self.offer(
                    super::negotiate::OfferLetter { address, room, role, request, sdp, tracks },
                    now,
                );
            }
            PeerLetter::RestartIce { ufrag, pwd } => {
                self.restart_ice(participant, &ufrag, &pwd, now)
            }
            PeerLetter::Update { address, room, update } => {
                if let Some(key) = self.by_participant.get(&participant) {
                    self.mute(*key, &update.mid, update.muted, now);
                }
                let letter = ToWorker::Room(room, RoomLetter::Update { participant, update });
                self.letters.push(Outgoing::Worker(address.home, letter));
            }
            PeerLetter::Assign { mid, seat } => {
                if let Some(key) = self.by_participant.get(&participant) {
                    self.assign(*key, &mid, seat, now);
                }
            }
            PeerLetter::Want { mid, want } => {
                if let Some(key) = self.by_participant.get(&participant).copied() {
                    let mut slots = self.peers[key.0].slots.iter_mut();
                    if let Some(slot) = slots.find(|s| s.agreed.name == mid) {
                        slot.set_want(want, now);
                        self.will_allocate(key, now);
                    }
                }
            }
            PeerLetter::Close => {
                if let Some(key) = self.by_participant.get(&participant) {
                    self.at_work = AtWork::Peer(*key);
                    self.close(*key, now);
                }
            }
        }
    }

    fn mute(&mut self, key: PeerKey, mid: &str, muted: bool, now: Instant) {
        self.at_work = AtWork::Peer(key);
        let mut tracks = self.peers[key.0].tracks.iter_mut();
        if let Some(track) = tracks.find(|t| t.name == mid) {
            track.muted = muted;
            let id = track.id;
            self.set_muted(id, muted, now);
        }
    }

    /// A room says how a track stands that peers of this worker receive: they go by it when they next
    /// spend their paths, which is soon enough, and not all at once.
    fn set_state(&mut self, id: TrackId, state: TrackState) {
        if let Some(track) = self.tracks.get_mut(id) {
            track.state = state;
        }
    }

    /// The timer for what rooms decide by themselves.
    fn await_rooms(&mut self) {
        match self.rooms.deadline() {
            Some(at) => self.deadlines.set(Timer::Rooms, at),
            None => self.deadlines.clear(Timer::Rooms),
        }
    }

    /// Lets each room decide that is due.
    pub(super) fn decide(&mut self, now: Instant) {
        while let Some(name) = self.rooms.due(now) {
            self.at_work = AtWork::Room(name.clone());
            self.rooms.decide(&name, now, &mut self.letters);
        }
        self.await_rooms();
    }

    fn assign(&mut self, key: PeerKey, mid: &str, seat: Option<Seat>, now: Instant) {
        self.at_work = AtWork::Peer(key);
        let peer = &mut self.peers[key.0];
        let connected = peer.connected;
        let Some(slot) = peer.slots.iter_mut().find(|s| s.agreed.name == mid) else {
            return;
        };
        let place = (key, slot.agreed.line);
        let old = slot.track;
        let was_told = slot.told.is_some();
        slot.assign(seat.as_ref(), now);
        let asks = if connected { slot.ask(now) } else { None };
        if let Some(old) = old {
            self.tracks.unsubscribe(old.id, place);
        }
        if was_told {
            let session = self.peers[key.0].address.session;
            let letter = ToGate::Emptied { session, mid: mid.to_owned() };
            self.letters.push(Outgoing::Gate(letter));
        }
        let Some(Seat { track, state, .. }) = seat else { return };
        self.tracks.subscribe(track, self.config.id, place);
        if let Some(track) = self.tracks.get_mut(track.id) {
            track.state = state;
        }
        if let Some(encoding) = asks {
            self.want_keyframe(track, encoding, now);
        }
        if track.kind == Kind::Video {
            self.will_allocate(key, now);
        }
    }

    /// Says goodbye (RTCP BYE, DTLS close_notify) and forgets the peer.
    pub(super) fn close(&mut self, key: PeerKey, now: Instant) {
        let peer = &mut self.peers[key.0];
        peer.closing = true;
        if !peer.broken {
            peer.say_bye(&mut self.transmits);
            if let Err(error) = peer.rtc.close() {
                log::debug!("{}: closing: {error}", peer.address.participant);
            }
            self.drain(key, now);
        }
        self.forget(key);
    }

    /// The peer ended by itself: the gate decides about the session, the room about its tracks.
    pub(super) fn lose(
        &mut self,
        key: PeerKey,
        reason: LeaveReason,
        why: &'static str,
        now: Instant,
    ) {
        let Some(peer) = self.peers.get(key.0).filter(|p| !p.closing) else {
            return;
        };
        let (address, room) = (peer.address, peer.room.clone());
        let letter = RoomLetter::Negotiated {
            participant: address.participant,
            fresh: true,
            tracks: Vec::new(),
            slots: Vec::new(),
        };
        self.letters.push(Outgoing::Worker(address.home, ToWorker::Room(room, letter)));
        self.letters.push(Outgoing::Gate(ToGate::PeerGone {
            session: address.session,
            reason,
            why,
        }));
        self.close(key, now);
    }

    /// Takes a peer out of every table.
    pub(super) fn forget(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.try_remove(key.0) else {
            return;
        };
        self.by_participant.remove(&peer.address.participant);
        self.mux.remove_ufrag(&peer.credentials.ufrag);
        for path in peer.paths.iter() {
            self.release_path(key, *path);
        }
        for track in &peer.tracks {
            self.unpublish(track.id);
        }
        for slot in &peer.slots {
            if let Some(track) = slot.track {
                self.tracks.unsubscribe(track.id, (key, slot.agreed.line));
            }
        }
        self.deadlines.clear(Timer::Peer(key));
        self.deadlines.clear(Timer::Path(key));
        self.deadlines.clear(Timer::Feedback(key));
        self.deadlines.clear(Timer::Silence(key));
        self.deadlines.clear(Timer::Allocate(key));
        self.deadlines.clear(Timer::Pace(key));
    }

    pub(super) fn unpublish(&mut self, id: TrackId) {
        self.tracks.unpublish(id);
        for encoding in 0..ENCODINGS_MAX {
            self.deadlines.clear(Timer::Keyframe(id, encoding as u8));
        }
    }

    fn drain_all(&mut self, now: Instant) {
        let keys: Vec<PeerKey> = self.peers.iter().map(|(index, _)| PeerKey(index)).collect();
        for key in keys {
            self.close(key, now);
        }
        self.letters.push(Outgoing::Gate(ToGate::Drained { worker: self.config.id }));
    }
}
