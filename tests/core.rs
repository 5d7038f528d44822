//! The worker core on virtual time: rooms over one and over several workers, no socket anywhere.
#![allow(clippy::disallowed_methods, reason = "a test makes up its first instant")]

mod common;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::client::Client;
use str0m::media::Mid;
use trackyard::base::ids::{ParticipantId, SessionId, WorkerId};
use trackyard::base::rng::Rng;
use trackyard::room::mail::{Address, PeerLetter, Role, RoomLetter, ToGate, ToWorker};
use trackyard::wire::signal::{LeaveReason, ServerMessage};
use trackyard::worker::{Crypto, Outgoing, Worker, WorkerConfig};

/// A server's workers and their clients, with letters and datagrams delivered at once.
struct World {
    now: Instant,
    workers: Vec<Worker>,
    server: SocketAddr,
    clients: HashMap<u64, Client>,
    /// What each session was told last: which mids hold a track.
    filled: HashMap<u64, Vec<String>>,
}

impl World {
    fn new(workers: usize) -> World {
        let now = Instant::now();
        let server: SocketAddr = "127.0.0.1:8443".parse().unwrap();
        let crypto = Crypto::generate();
        let mut rng = Rng::from_seed([5; 32]);
        let worker = |id| {
            let config = WorkerConfig {
                id: WorkerId(id as u16),
                workers,
                candidates: vec![server],
                crypto: crypto.clone(),
            };
            Worker::new(config, rng.fork(), now)
        };
        World {
            now,
            workers: (0..workers).map(worker).collect(),
            server,
            clients: HashMap::new(),
            filled: HashMap::new(),
        }
    }

    fn home(&self) -> usize {
        self.workers.len() - 1
    }

    fn address(&self, id: u64) -> Address {
        Address {
            participant: ParticipantId(id),
            session: SessionId(id),
            worker: WorkerId((id as usize % self.workers.len()) as u16),
            home: WorkerId(self.home() as u16),
        }
    }

    fn letter(&mut self, worker: usize, letter: ToWorker) {
        self.workers[worker].handle_letter(self.now, letter);
        self.deliver();
    }

    fn join(&mut self, id: u64, send: bool, slots: usize) {
        let address = self.address(id);
        let join = RoomLetter::Join {
            address,
            name: format!("n{id}"),
            role: Role::Participant,
            request: None,
        };
        self.letter(self.home(), ToWorker::Room("room".into(), join));
        let local = SocketAddr::new("127.0.0.1".parse::<IpAddr>().unwrap(), 20_000 + id as u16);
        let mut client = Client::new(id as u32, local, self.now);
        let sdp = client.offer(send, slots, self.now);
        self.clients.insert(id, client);
        self.offer(id, sdp);
    }

    fn offer(&mut self, id: u64, sdp: String) {
        let offer = PeerLetter::Offer {
            address: self.address(id),
            room: "room".into(),
            role: Role::Participant,
            request: None,
            sdp,
            tracks: Vec::new(),
        };
        let worker = self.address(id).worker.index();
        self.letter(worker, ToWorker::Peer(ParticipantId(id), offer));
    }

    fn leave(&mut self, id: u64) {
        let participant = ParticipantId(id);
        let leave = RoomLetter::Leave { participant, reason: LeaveReason::Left };
        self.letter(self.home(), ToWorker::Room("room".into(), leave));
        self.letter(
            self.address(id).worker.index(),
            ToWorker::Peer(participant, PeerLetter::Close),
        );
        self.clients.remove(&id);
        self.filled.remove(&id);
    }

    /// Letters and datagrams, until nobody has anything to say at this instant.
    fn deliver(&mut self) {
        loop {
            let mut quiet = true;
            for index in 0..self.workers.len() {
                self.workers[index].flush(self.now);
                self.workers[index].check_invariants();
                for transmit in std::mem::take(self.workers[index].transmits()) {
                    quiet = false;
                    let client = self.clients.values_mut().find(|c| c.address == transmit.remote);
                    if let Some(client) = client {
                        let source = SocketAddr::new(transmit.local, self.server.port());
                        client.receive(self.now, source, &transmit.bytes);
                    }
                }
                for letter in self.workers[index].take_letters() {
                    quiet = false;
                    match letter {
                        Outgoing::Worker(to, letter) => {
                            assert_ne!(to.index(), index, "letters to oneself stay inside");
                            self.workers[to.index()].handle_letter(self.now, letter);
                        }
                        Outgoing::Gate(letter) => self.gate(letter),
                    }
                }
            }
            let count = self.workers.len();
            for client in self.clients.values_mut() {
                for (to, bytes) in client.poll(self.now) {
                    quiet = false;
                    // As SO_REUSEPORT does: by the source, never by the owner.
                    let index = usize::from(client.address.port() / 3) % count;
                    let worker = &mut self.workers[index];
                    worker.handle_datagram(self.now, client.address, to.ip(), &bytes);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn gate(&mut self, letter: ToGate) {
        match letter {
            ToGate::Answered { session, answer, .. } => {
                let client = self.clients.get_mut(&session.0).expect("an asking client");
                client.answer(&answer.sdp);
            }
            ToGate::Event { to, message: ServerMessage::Slots { slots, .. } } => {
                let filled = slots.iter().filter(|s| s.track.is_some()).map(|s| s.mid.clone());
                let filled: Vec<String> = filled.collect();
                for session in to {
                    self.filled.insert(session.0, filled.clone());
                }
            }
            ToGate::Refused { message, .. } => panic!("{message}"),
            _ => {}
        }
    }

    /// Lets time pass until `done`, at most for `limit`; gives how long it took.
    fn until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> Duration {
        let start = self.now;
        loop {
            self.deliver();
            if done(self) {
                return self.now - start;
            }
            let timeouts = self.workers.iter().filter_map(Worker::poll_timeout);
            let next = timeouts.chain(self.clients.values().map(Client::deadline)).min();
            self.now = next.expect("reports never end").max(self.now + Duration::from_millis(1));
            if self.now - start > limit {
                self.explain();
                panic!("not done after {limit:?}");
            }
            for index in 0..self.workers.len() {
                self.workers[index].handle_timeout(self.now);
            }
        }
    }

    /// Every slot that holds a track shows a picture, and as many do as there are others sending.
    fn all_see(&self) -> bool {
        let senders = |except| {
            self.clients.iter().filter(move |(id, c)| **id != except && c.sending.is_some())
        };
        self.clients.iter().all(|(id, client)| {
            let filled = self.filled.get(id).map(Vec::as_slice).unwrap_or_default();
            let mids: Vec<Mid> = filled.iter().map(|m| Mid::from(m.as_str())).collect();
            let wanted = senders(*id).count().min(client.slots.len());
            mids.len() == wanted && client.sees(&mids)
        })
    }

    fn explain(&mut self) {
        for (id, client) in &self.clients {
            eprintln!(
                "client {id}: connected {}, filled {:?}",
                client.connected,
                self.filled.get(id)
            );
            for (mid, judge) in &client.slots {
                eprintln!("  {mid}: {judge:?}");
            }
        }
        for worker in &mut self.workers {
            eprintln!("{:?}", worker.counters_mut());
        }
    }

    fn assert_no_faults(&self) {
        for client in self.clients.values() {
            for judge in client.slots.values() {
                assert!(judge.faults.is_empty(), "{:?}", judge.faults);
            }
        }
    }
}

#[test]
fn two_see_each_other() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers);
        world.join(1, true, 1);
        world.join(2, true, 1);
        world.until(Duration::from_secs(2), World::all_see);
        world.assert_no_faults();
    }
}

#[test]
fn a_late_joiner_sees_within_a_second() {
    for workers in [1, 4] {
        let mut world = World::new(workers);
        for id in 1..=3 {
            world.join(id, true, 3);
        }
        world.until(Duration::from_secs(2), World::all_see);
        world.join(4, false, 3);
        let took = world.until(Duration::from_secs(2), World::all_see);
        assert!(took < Duration::from_secs(1), "{took:?} with {workers} workers");
        world.assert_no_faults();
    }
}

#[test]
fn a_slot_that_changes_its_track_has_no_seam() {
    for workers in [1, 4] {
        let mut world = World::new(workers);
        world.join(1, false, 1);
        world.join(2, true, 0);
        world.join(3, true, 0);
        let label = |world: &World| world.clients[&1].slots.values().next().and_then(|j| j.label);
        world.until(Duration::from_secs(2), |w| label(w) == Some(2) && w.all_see());
        world.leave(2);
        world.clients.get_mut(&1).unwrap().slots.values_mut().for_each(|j| j.expect_anew());
        let took = world.until(Duration::from_secs(2), |w| label(w) == Some(3) && w.all_see());
        assert!(took < Duration::from_secs(1), "{took:?}");
        world.assert_no_faults();
    }
}

#[test]
fn nobody_stays_black_however_fast_they_come_and_go() {
    for workers in [1, 4] {
        let mut world = World::new(workers);
        for round in 0..20 {
            let base = 100 * round;
            for id in 1..=8 {
                world.join(base + id, true, 7);
            }
            let took = world.until(Duration::from_secs(2), World::all_see);
            assert!(took < Duration::from_secs(1), "round {round}: {took:?}");
            for id in 1..=4 {
                world.leave(base + id);
                world.join(base + 50 + id, true, 7);
            }
            let took = world.until(Duration::from_secs(2), World::all_see);
            assert!(took < Duration::from_secs(1), "round {round}, second half: {took:?}");
            world.assert_no_faults();
            let ids: Vec<u64> = world.clients.keys().copied().collect();
            ids.into_iter().for_each(|id| world.leave(id));
        }
    }
}

#[test]
fn an_ice_restart_keeps_the_worker_in_the_ufrag() {
    let mut world = World::new(4);
    world.join(1, true, 1);
    world.join(2, true, 1);
    world.until(Duration::from_secs(2), World::all_see);
    let client = world.clients.get_mut(&2).unwrap();
    client.slots.values_mut().for_each(|j| j.expect_anew());
    let sdp = client.restart_ice();
    world.offer(2, sdp);
    for client in world.clients.values_mut() {
        client.ask_for_keyframes();
    }
    world.until(Duration::from_secs(2), World::all_see);
    world.assert_no_faults();
}

/// The answer to an offer that a real browser made: `sendonly` audio and video, then `recvonly`.
fn answer_to(offer: &str) -> String {
    let mut world = World::new(1);
    let address = world.address(1);
    let join =
        RoomLetter::Join { address, name: "n".into(), role: Role::Participant, request: None };
    world.letter(0, ToWorker::Room("room".into(), join));
    let offer = PeerLetter::Offer {
        address,
        room: "room".into(),
        role: Role::Participant,
        request: None,
        sdp: offer.to_string(),
        tracks: Vec::new(),
    };
    world.workers[0].handle_letter(world.now, ToWorker::Peer(ParticipantId(1), offer));
    let answer = world.workers[0].take_letters().into_iter().find_map(|letter| match letter {
        Outgoing::Gate(ToGate::Answered { answer, .. }) => Some(answer.sdp),
        _ => None,
    });
    answer.expect("an answer")
}

#[test]
fn browsers_get_every_codec_and_extension_that_we_pass() {
    let offers = [
        ("Chromium 156", include_str!("offers/chromium.sdp")),
        ("Firefox 153", include_str!("offers/firefox.sdp")),
    ];
    for (browser, offer) in offers {
        let answer = answer_to(offer);
        let sections: Vec<&str> = answer.split("\r\nm=").skip(1).collect();
        assert_eq!(sections.len(), 4, "{browser}: {answer}");
        let directions = ["recvonly", "recvonly", "sendonly", "sendonly"];
        for (section, direction) in sections.iter().zip(directions) {
            assert!(section.contains(&format!("a={direction}\r\n")), "{browser}: {section}");
            for needed in [
                "a=rtcp-mux",
                "a=setup:passive",
                "a=candidate:",
                "a=end-of-candidates",
                "transport-wide-cc",
                "sdes:mid",
            ] {
                assert!(section.contains(needed), "{browser}: no {needed} in {section}");
            }
        }
        for audio in sections.iter().filter(|s| s.starts_with("audio")) {
            for needed in
                ["opus/48000/2", "usedtx=1", "useinbandfec=1", "ssrc-audio-level", "transport-cc"]
            {
                assert!(audio.contains(needed), "{browser}: no {needed} in {audio}");
            }
        }
        for video in sections.iter().filter(|s| s.starts_with("video")) {
            for needed in [
                "VP8/90000",
                "VP9/90000",
                "AV1/90000",
                "rtx/90000",
                "nack pli",
                "ccm fir",
                "transport-cc",
            ] {
                let offered = offer.contains(needed);
                assert!(video.contains(needed) || !offered, "{browser}: no {needed} in {video}");
            }
            // Every profile and mode of H264 that was offered for this direction.
            let offered = offer.matches("H264/90000").count();
            assert!(video.contains("H264/90000") || offered == 0, "{browser}: {video}");
            assert!(
                !video.contains("ulpfec") && !video.contains("a=simulcast"),
                "{browser}: {video}"
            );
        }
        let first = |sdp: &str| {
            let line = sdp.lines().find(|l| l.starts_with("m=video")).expect("a video").to_string();
            line.split(' ').nth(3).expect("a payload type").to_string()
        };
        assert_eq!(first(&answer), first(offer), "{browser}: what the client prefers stays first");
    }
}
