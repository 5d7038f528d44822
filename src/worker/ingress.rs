//! From a datagram to its peer, and from a peer's `Rtc` to transmits and packets.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use str0m::net::{DatagramRecv, Protocol as Transport, Receive};
use str0m::{Event, IceConnectionState, Input, Output};

use super::feedback::is_rtcp;
use super::guard::{AtWork, contained};
use super::mux::{FourTuple, Owner, PeerKey};
use super::paths::{Move, Path, TUPLE_KEPT};
use super::streams::Taken;
use super::{Timer, Worker};
use crate::base::counters::DropReason;
use crate::base::ids::WorkerId;
use crate::base::limits::{DATAGRAM_OUT_BYTES_MAX, PATH_DEAD_AFTER, PUBLISHER_SILENCE_MAX};
use crate::room::mail::{Outgoing, Role, ToGate, ToWorker};
use crate::wire::demux::{Protocol, classify};
use crate::wire::signal::LeaveReason;
use crate::wire::stun::{self, Check};
use crate::wire::ufrag;

impl Worker {
    /// One datagram from the socket: `remote` sent it to `local`. It is opened where it is.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        local: IpAddr,
        bytes: &mut [u8],
    ) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += bytes.len() as u64;
        let via = self.config.id;
        self.guard(now, |worker| {
            worker.take_datagram(now, FourTuple { remote, local }, via, bytes)
        });
    }

    /// A datagram, whichever worker received it.
    pub(super) fn take_datagram(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        via: WorkerId,
        bytes: &mut [u8],
    ) {
        self.at_work = AtWork::Nothing;
        match classify(bytes) {
            Protocol::StunRequest { local_ufrag } => {
                let owner =
                    ufrag::worker_of(local_ufrag).filter(|w| w.index() < self.config.workers);
                match owner {
                    Some(owner) if owner != self.config.id => {
                        self.hand_over(now, tuple, via, owner, bytes)
                    }
                    Some(_) => self.check(now, tuple, via, local_ufrag, bytes),
                    None => self.refuse(DropReason::UnknownUfrag, now),
                }
            }
            // ICE-lite sends no checks, so nothing but requests concerns us (RFC 8445 §2.5).
            Protocol::StunOther => self.refuse(DropReason::MalformedStun, now),
            Protocol::Unknown => self.refuse(DropReason::UnknownProtocol, now),
            protocol @ (Protocol::Dtls | Protocol::Srtp) => {
                self.stirred = now;
                let is_dtls = protocol == Protocol::Dtls;
                match self.mux.owner(tuple) {
                    Some(Owner::Peer(key)) if is_dtls => self.receive(now, key, tuple, bytes),
                    Some(Owner::Peer(key)) if is_rtcp(bytes) => {
                        self.take_rtcp(now, key, tuple, bytes)
                    }
                    Some(Owner::Peer(key)) => self.take_rtp(now, key, tuple, bytes),
                    Some(Owner::Worker(owner)) => self.hand_over(now, tuple, via, owner, bytes),
                    None => self.counters.drop(DropReason::UnknownAddress, 1),
                }
            }
        }
    }

    fn take_rtp(&mut self, now: Instant, key: PeerKey, tuple: FourTuple, bytes: &mut [u8]) {
        self.at_work = AtWork::Peer(key);
        match self.peers[key.0].take_media(bytes, tuple, now) {
            Ok(Taken { track, packet }) => {
                self.counters.packets_in += 1;
                self.take_packet(track, packet, now);
            }
            Err(reason @ (DropReason::RtpForged | DropReason::RtpReplay)) => {
                return self.counters.drop(reason, 1);
            }
            Err(reason) => self.counters.drop(reason, 1),
        }
        self.will_report(key, now);
    }

    /// To the owner, once: what already came from another worker is not passed on again.
    fn hand_over(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        via: WorkerId,
        owner: WorkerId,
        bytes: &[u8],
    ) {
        if via != self.config.id {
            self.counters.drop(DropReason::UnknownAddress, 1);
            return;
        }
        self.counters.datagrams_handed += 1;
        self.handoff.datagram(owner, now, tuple, bytes);
    }

    /// An ICE check for one of our peers. Only one that is genuine touches anything, and only one
    /// from an address that the peer may have reaches `str0m`. One that says nothing new, as those
    /// for consent do (RFC 7675), is answered here.
    fn check(
        &mut self,
        now: Instant,
        tuple: FourTuple,
        via: WorkerId,
        local_ufrag: &str,
        bytes: &[u8],
    ) {
        let Some(key) = self.mux.peer_of_ufrag(local_ufrag) else {
            return self.refuse(DropReason::UnknownUfrag, now);
        };
        self.at_work = AtWork::Peer(key);
        let is_bound = self.mux.owner(tuple) == Some(Owner::Peer(key));
        let check = match self.admit(now, (key, tuple), via, bytes) {
            Ok(check) => check,
            Err(reason) => return self.refuse(reason, now),
        };
        if !is_bound || !self.peers[key.0].connected {
            self.stirred = now;
        }
        if self.peers[key.0].takes_as_known(tuple) {
            self.answer_check(key, tuple, &check);
        } else {
            self.show(now, key, tuple, bytes);
        }
        self.weigh_paths(key, now);
    }

    fn refuse(&mut self, reason: DropReason, now: Instant) {
        self.stirred = now;
        self.counters.drop(reason, 1);
    }

    /// Lets `str0m` see a check, and remembers whether it took it.
    fn show(&mut self, now: Instant, key: PeerKey, tuple: FourTuple, bytes: &[u8]) {
        let shown = |worker: &mut Worker, at| {
            let peer = worker.peers.get_mut(key.0);
            if let Some(path) = peer.and_then(|p| p.paths.get_mut(tuple)) {
                path.shown = at;
            }
        };
        let before = self.transmits.end();
        shown(self, Some(now));
        self.receive(now, key, tuple, bytes);
        if self.transmits.end() == before {
            shown(self, None);
        }
    }

    fn answer_check(&mut self, key: PeerKey, tuple: FourTuple, check: &Check<'_>) {
        let (hmac, password) = (self.config.crypto.hmac(), &self.peers[key.0].credentials.pass);
        let sign = |parts: &[&[u8]]| hmac.sha1_hmac(password.as_bytes(), parts);
        let FourTuple { remote, local } = tuple;
        stun::append_response(self.transmits.arena(), &check.transaction, remote, sign);
        self.transmits.finish(local, remote);
    }

    fn admit<'a>(
        &mut self,
        now: Instant,
        (key, tuple): (PeerKey, FourTuple),
        via: WorkerId,
        bytes: &'a [u8],
    ) -> Result<Check<'a>, DropReason> {
        let check = stun::check(bytes).ok_or(DropReason::MalformedStun)?;
        let peer = &mut self.peers[key.0];
        let (password, hmac) = (&peer.credentials.pass, self.config.crypto.hmac());
        if !check.is_genuine(|parts| hmac.sha1_hmac(password.as_bytes(), parts)) {
            return Err(DropReason::StunIntegrity);
        }
        let owner = self.mux.owner(tuple).filter(|o| *o != Owner::Peer(key));
        if let Some(Owner::Peer(other)) = owner
            && let Some(path) = self.peers[other.0].paths.get_mut(tuple)
            && now.saturating_duration_since(path.heard) < TUPLE_KEPT
        {
            return Err(DropReason::AddressTaken);
        }
        let peer = &mut self.peers[key.0];
        let evicted = peer.paths.check(tuple, via, &check, peer.sends_to, now)?;
        peer.take_back(tuple, check.priority);
        if let Some(path) = evicted {
            self.release_path(key, path);
        }
        if self.mux.owner(tuple) != Some(Owner::Peer(key)) {
            if let Some(Owner::Peer(other)) = self.mux.bind(tuple, Owner::Peer(key)) {
                // The client's port was used before, by a peer that is about to end.
                self.peers[other.0].paths.remove(tuple);
            }
            self.tell_route(tuple, via, Some(self.config.id));
        }
        Ok(check)
    }

    /// Lets media follow a client to another address once the present one is silent.
    pub(super) fn weigh_paths(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key.0) else {
            return;
        };
        let Some(sends_to) = peer.sends_to else {
            return;
        };
        match peer.paths.weigh(sends_to, now) {
            Move::Stay => self.deadlines.clear(Timer::Path(key)),
            Move::At(at) => self.deadlines.set(Timer::Path(key), at),
            Move::To(tuple) => {
                self.deadlines.clear(Timer::Path(key));
                let id = peer.address.participant;
                let (from, to) = (sends_to.remote, tuple.remote);
                log::info!("path {:?} {id}: from {from} to {to}", peer.room);
                peer.sends_to = Some(tuple);
                self.counters.path_moves += 1;
                peer.downlink.estimator.path_changed(now);
                if let Err(error) = peer.move_to(tuple, now) {
                    log::debug!("{id}: {error}");
                }
                self.drain(key, now);
            }
        }
    }

    pub(super) fn release_path(&mut self, key: PeerKey, path: Path) {
        self.mux.release(path.tuple, Owner::Peer(key));
        self.tell_route(path.tuple, path.via, None);
    }

    /// Tells the worker to which the kernel gives a 4-tuple's datagrams where they belong.
    fn tell_route(&mut self, tuple: FourTuple, via: WorkerId, owner: Option<WorkerId>) {
        if via != self.config.id {
            let FourTuple { remote, local } = tuple;
            let letter = ToWorker::Route { remote, local, owner };
            self.letters.push(Outgoing::Worker(via, letter));
        }
    }

    /// The candidate that a datagram was sent to (see `WorkerConfig::candidates`).
    fn candidate(&self, local: IpAddr) -> SocketAddr {
        let candidates = &self.config.candidates;
        let same = candidates.iter().find(|c| c.ip() == local);
        let family = || candidates.iter().find(|c| c.is_ipv4() == local.is_ipv4());
        *same.or_else(family).unwrap_or(&candidates[0])
    }

    fn parse<'a>(&self, tuple: FourTuple, bytes: &'a [u8]) -> Option<Receive<'a>> {
        Some(Receive {
            proto: Transport::Udp,
            source: tuple.remote,
            destination: self.candidate(tuple.local),
            contents: DatagramRecv::try_from(bytes).ok()?,
        })
    }

    /// What is for `str0m`: ICE and DTLS.
    fn receive(&mut self, now: Instant, key: PeerKey, tuple: FourTuple, bytes: &[u8]) {
        self.at_work = AtWork::Peer(key);
        let Some(receive) = self.parse(tuple, bytes) else {
            self.counters.drop(DropReason::Refused, 1);
            return;
        };
        // An error is about this datagram: whoever is on the path could have sent it, so it
        // never ends a session by itself.
        let peer = &mut self.peers[key.0];
        match contained(|| peer.rtc.handle_input(Input::Receive(now, receive))) {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                self.counters.drop(DropReason::Refused, 1);
                log::debug!("{}: a datagram was refused: {error}", peer.address.participant);
            }
            None => return self.break_off(key, now),
        }
        self.drain(key, now);
    }

    /// Calls `str0m` as it asked.
    pub(super) fn tick(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key.0) else {
            return;
        };
        match contained(|| peer.tick(now)) {
            Some(Ok(())) => {}
            Some(Err(error)) => log::debug!("{}: {error}", peer.address.participant),
            None => return self.break_off(key, now),
        }
        self.drain(key, now);
    }

    /// Takes all output of a peer's `Rtc`: transmits, packets, events, and its next deadline.
    pub(super) fn drain(&mut self, key: PeerKey, now: Instant) {
        self.at_work = AtWork::Peer(key);
        loop {
            let Some(peer) = self.peers.get_mut(key.0) else {
                return;
            };
            let Some(output) = contained(|| peer.rtc.poll_output()) else {
                return self.break_off(key, now);
            };
            match output {
                Ok(Output::Transmit(transmit)) => {
                    let bytes = &transmit.contents[..];
                    let (local, remote) = (transmit.source.ip(), transmit.destination);
                    match classify(bytes) {
                        // It has no keys for any (see `tap`).
                        Protocol::Srtp => continue,
                        // Answers to checks go wherever those came from.
                        Protocol::StunOther | Protocol::StunRequest { .. } => {}
                        Protocol::Dtls | Protocol::Unknown => {
                            let tuple = peer.paths.by_remote(remote);
                            let tuple = tuple.unwrap_or(FourTuple { remote, local });
                            peer.sends_to.get_or_insert(tuple);
                        }
                    }
                    if bytes.len() > DATAGRAM_OUT_BYTES_MAX {
                        self.counters.drop(DropReason::Oversize, 1);
                    } else {
                        self.transmits.push(local, remote, bytes);
                    }
                }
                Ok(Output::Event(event)) => self.event(key, event, now),
                Ok(Output::Timeout(at)) => {
                    if !peer.rtc.is_alive() {
                        return self.lose(key, LeaveReason::Left, "closed by the client", now);
                    }
                    let at = peer.ticks_at(at, now);
                    self.deadlines.set(Timer::Peer(key), at);
                    return;
                }
                Err(error) => {
                    log::info!("{}: {error}", peer.address.participant);
                    return self.lose(key, LeaveReason::Lost, "transport broken", now);
                }
            }
        }
    }

    fn event(&mut self, key: PeerKey, event: Event, now: Instant) {
        match event {
            Event::Connected => self.connected(key, now),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                let peer = &mut self.peers[key.0];
                let id = peer.address.participant;
                log::info!("ice {:?} {id}: no checks from the client any more", peer.room);
                peer.paths.show_again();
                if peer.role != Role::Participant {
                    self.listen(key, now);
                }
            }
            _ => {}
        }
    }

    /// Ends a WHIP or WHEP client of which nothing was heard for too long, or looks again in time.
    pub(super) fn listen(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get(key.0) else {
            return;
        };
        let paths = &peer.paths;
        let Some((heard, checked)) = paths.last_heard().zip(paths.last_checked()) else {
            // Whatever it had, another client's checks come from there now.
            return self.lose(key, LeaveReason::Lost, "no path to the client", now);
        };
        let silent = (heard + PUBLISHER_SILENCE_MAX, "nothing heard of the publisher");
        let silent = Some(silent).filter(|_| peer.role == Role::Whip);
        let dead = (checked + PATH_DEAD_AFTER, "no checks from the client");
        let (due, cause) = silent.into_iter().fold(dead, |a, b| a.min(b));
        if due <= now {
            self.lose(key, LeaveReason::Lost, cause, now);
        } else {
            self.deadlines.set(Timer::Silence(key), due);
        }
    }

    fn connected(&mut self, key: PeerKey, now: Instant) {
        let peer = &mut self.peers[key.0];
        peer.connected = true;
        let (id, room, session) =
            (peer.address.participant, peer.room.clone(), peer.address.session);
        match peer.sends_to {
            Some(FourTuple { remote, .. }) => {
                log::info!("connected {room:?} {id}: {remote}, {}", self.config.id)
            }
            None => log::info!("connected {room:?} {id}: {}", self.config.id),
        }
        if peer.role == Role::Whip {
            self.deadlines.set(Timer::Silence(key), now + PUBLISHER_SILENCE_MAX);
        }
        self.letters.push(Outgoing::Gate(ToGate::Connected { session }));
        // Nothing could have come before.
        peer.slots.iter_mut().for_each(|slot| slot.since = now);
        let slots = peer.slots.iter_mut();
        let waiting: Vec<_> = slots.filter_map(|s| s.track.zip(s.ask(now))).collect();
        for (track, encoding) in waiting {
            self.want_keyframe(track, encoding, now);
        }
    }
}
