//! One publisher, its viewers, and the server's workers between them, on virtual time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trackyard::base::ids::{ParticipantId, SessionId, WorkerId};
use trackyard::base::rng::Rng;
use trackyard::media::encoding::Choice;
use trackyard::room::mail::{
    Address, PeerLetter, Role, RoomLetter, RoomSettings, ToGate, ToWorker,
};
use trackyard::wire::signal::PublishLimits;
use trackyard::worker::{Crypto, Outgoing, Worker, WorkerConfig};

use crate::endpoint::{Endpoint, Media};
use crate::publisher::{DESCRIPTOR_ID, Leaving, PAYLOAD_TYPE, Publisher, RIDS, RTX_PAYLOAD_TYPE};
use crate::sources::Format;
use crate::viewer::Viewer;

const PUBLISHER: u64 = 1;
/// What the publisher's clock says when the world begins.
const NTP_BEGAN: u64 = 3_900_000_000 << 32;

pub struct World {
    pub began: Instant,
    pub now: Duration,
    pub workers: Vec<Worker>,
    server: SocketAddr,
    endpoints: BTreeMap<u64, Endpoint>,
    pub publisher: Publisher,
    pub viewers: Vec<Viewer>,
    /// The publisher's packets on their way, by when they arrive.
    flying: BTreeMap<(Duration, u64), Leaving>,
    flown: u64,
    pub trace: bool,
}

fn lines(format: Format, simulcast: bool, receives: bool) -> String {
    let (name, parameters) = match format {
        Format::Vp8 => ("VP8", ""),
        Format::H264 => (
            "H264",
            "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n",
        ),
        Format::Vp9 | Format::Vp9Flexible => ("VP9", "a=fmtp:96 profile-id=0\n"),
        Format::Av1 | Format::Opaque => ("AV1", "a=fmtp:96 level-idx=5;profile=0;tier=0\n"),
    };
    let mut lines = format!(
        "a=extmap-allow-mixed\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\n\
         a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\n\
         a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\n\
         a=extmap:{DESCRIPTOR_ID} https://aomediacodec.github.io/av1-rtp-spec/\
         #dependency-descriptor-rtp-header-extension\n\
         a=rtpmap:{PAYLOAD_TYPE} {name}/90000\n{parameters}a=rtcp-fb:96 ccm fir\n\
         a=rtcp-fb:96 nack\na=rtcp-fb:96 nack pli\n\
         a=rtpmap:{RTX_PAYLOAD_TYPE} rtx/90000\na=fmtp:97 apt=96\n"
    );
    lines += if receives { "a=recvonly\n" } else { "a=sendonly\na=msid:- v\n" };
    if simulcast {
        RIDS.iter().for_each(|rid| lines += &format!("a=rid:{rid} send\n"));
        lines += &format!("a=simulcast:send {}\n", RIDS.join(";"));
    }
    lines
}

impl World {
    pub fn new(workers: usize, viewers: usize, publisher: Publisher) -> World {
        #[allow(clippy::disallowed_methods, reason = "a test makes up its first instant")]
        let began = Instant::now();
        let server: SocketAddr = "127.0.0.1:8443".parse().expect("an address");
        let crypto = Crypto::generate();
        let mut rng = Rng::from_seed([7; 32]);
        let worker = |id| {
            let config = WorkerConfig {
                id: WorkerId(id as u16),
                workers,
                candidates: vec![server],
                crypto: crypto.clone(),
                ntp: NTP_BEGAN,
                rooms: RoomSettings::default(),
                limits: PublishLimits::default(),
            };
            Worker::new(config, rng.fork(), began)
        };
        let workers = (0..workers).map(worker).collect();
        let mut world = World {
            began,
            now: Duration::ZERO,
            workers,
            server,
            endpoints: BTreeMap::new(),
            publisher,
            viewers: (0..viewers).map(|n| Viewer::new(n as u64 + 2)).collect(),
            flying: BTreeMap::new(),
            flown: 0,
            trace: false,
        };
        let (format, count) = (world.publisher.format, world.publisher.encodings.len());
        world.join(PUBLISHER, &lines(format, count > 1, false));
        for id in 0..viewers as u64 {
            world.join(id + 2, &lines(format, false, true));
        }
        while !world.endpoints.values().all(|endpoint| endpoint.is_connected) {
            world.step(Duration::from_secs(5));
            assert!(world.now < Duration::from_secs(5), "all connect");
        }
        world
    }

    fn at(&self) -> Instant {
        self.began + self.now
    }

    fn address(&self, id: u64) -> Address {
        Address {
            participant: ParticipantId(id),
            session: SessionId(id),
            worker: self.owner(id),
            home: WorkerId(0),
        }
    }

    fn owner(&self, id: u64) -> WorkerId {
        WorkerId((id as usize % self.workers.len()) as u16)
    }

    fn join(&mut self, id: u64, lines: &str) {
        let (address, role) = (self.address(id), Role::Participant);
        let letter = RoomLetter::Join { address, name: format!("n{id}"), role, request: None };
        let at = self.at();
        self.workers[0].handle_letter(at, ToWorker::Room("room".into(), letter));
        let local = SocketAddr::new(self.server.ip(), 20_000 + id as u16);
        let mut endpoint = Endpoint::new(local, self.at());
        let sdp = endpoint.offer("96 97", lines);
        self.endpoints.insert(id, endpoint);
        let offer = PeerLetter::Offer {
            address,
            room: "room".into(),
            role: Role::Participant,
            request: None,
            sdp,
            tracks: Vec::new(),
        };
        let letter = ToWorker::Peer(ParticipantId(id), offer);
        self.workers[address.worker.index()].handle_letter(self.began + self.now, letter);
        self.deliver();
    }

    /// Sends a viewer that of the track from now on.
    pub fn hold(&mut self, viewer: usize, choice: Option<Choice>) {
        let id = self.viewers[viewer].id;
        let owner = self.owner(id).index();
        self.workers[owner].hold(ParticipantId(id), "0", choice);
        self.viewers[viewer].chose(self.now, choice);
    }

    /// Until nobody has anything to say at this instant.
    fn deliver(&mut self) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for index in 0..self.workers.len() {
                let now = self.began + self.now;
                for transmit in self.workers[index].flush_all(now) {
                    quiet = false;
                    self.hand_over(transmit.remote, &transmit.bytes);
                }
                for letter in self.workers[index].take_letters().collect::<Vec<_>>() {
                    quiet = false;
                    match letter {
                        Outgoing::Worker(to, letter) => {
                            self.workers[to.index()].handle_letter(now, letter);
                        }
                        Outgoing::Gate(letter) => self.gate(letter),
                    }
                }
            }
            let now = self.began + self.now;
            for (id, endpoint) in &mut self.endpoints {
                for mut bytes in endpoint.poll(now) {
                    quiet = false;
                    let owner = (*id as usize) % self.workers.len();
                    let (from, to) = (endpoint.address, self.server.ip());
                    self.workers[owner].handle_datagram(now, from, to, &mut bytes);
                }
            }
        }
    }

    fn gate(&mut self, letter: ToGate) {
        match letter {
            ToGate::Answered { session, answer, .. } => {
                let endpoint = self.endpoints.get_mut(&session.0).expect("who asked");
                endpoint.answer(&answer, self.server);
            }
            ToGate::Refused { message, .. } => panic!("{message}"),
            ToGate::PeerGone { session, why, .. } => panic!("{session:?} is gone: {why}"),
            _ => {}
        }
    }

    fn hand_over(&mut self, remote: SocketAddr, bytes: &[u8]) {
        let id = u64::from(remote.port() - 20_000);
        let endpoint = self.endpoints.get_mut(&id).expect("a client's address");
        let media = endpoint.receive(self.began + self.now, self.server, bytes);
        let now = self.now;
        match media {
            Some(Media::Rtcp(compound)) if id == PUBLISHER => {
                let leaving = self.publisher.heard(&compound, now);
                self.fly(leaving);
            }
            Some(Media::Rtp(index, rtp)) => {
                let viewer = &mut self.viewers[id as usize - 2];
                let nacks = viewer.take(now, index, rtp, &mut self.publisher.dice);
                if let Some(compound) = nacks {
                    let mut sealed = endpoint.seal_rtcp(&compound);
                    let (from, to) = (endpoint.address, self.server.ip());
                    let owner = self.owner(id).index();
                    let now = self.began + self.now;
                    self.workers[owner].handle_datagram(now, from, to, &mut sealed);
                }
            }
            _ => {}
        }
    }

    fn fly(&mut self, leaving: Vec<Leaving>) {
        for packet in self.publisher.travel(leaving) {
            self.flown += 1;
            self.flying.insert((packet.at, self.flown), packet);
        }
    }

    fn send_media(&mut self) {
        if !self.endpoints[&PUBLISHER].is_connected {
            return;
        }
        let leaving = self.publisher.poll(self.now);
        self.fly(leaving);
        let (owner, at) = (self.owner(PUBLISHER).index(), self.at());
        for (ssrc, timestamp) in self.publisher.reports(self.now) {
            let ntp = NTP_BEGAN + ((self.now.as_micros() as u64) << 32) / 1_000_000;
            let mut report = vec![0x80, 200, 0, 6];
            report.extend(ssrc.to_be_bytes());
            report.extend(ntp.to_be_bytes());
            report.extend(timestamp.to_be_bytes());
            report.extend([0; 8]);
            let endpoint = self.endpoints.get_mut(&PUBLISHER).expect("it joined");
            let mut sealed = endpoint.seal_rtcp(&report);
            let (from, to) = (endpoint.address, self.server.ip());
            self.workers[owner].handle_datagram(at, from, to, &mut sealed);
        }
        while let Some(first) = self.flying.first_entry()
            && first.key().0 <= self.now
        {
            let packet = first.remove();
            self.publisher.arrived(&packet, self.now);
            let endpoint = self.endpoints.get_mut(&PUBLISHER).expect("it joined");
            let mut sealed = endpoint.seal(&packet.rtp, packet.index);
            let (from, to) = (endpoint.address, self.server.ip());
            self.workers[owner].handle_datagram(at, from, to, &mut sealed);
        }
    }

    /// To the next moment at which something happens, or to `end`.
    pub fn step(&mut self, end: Duration) {
        let timeouts = self.workers.iter().filter_map(Worker::poll_timeout);
        let own = self.endpoints.values().map(|endpoint| endpoint.deadline);
        let next = timeouts.chain(own).min().map(|at| at.saturating_duration_since(self.began));
        let media = self.flying.first_key_value().map(|((at, _), _)| *at);
        let media = media.into_iter().chain([self.publisher.deadline()]);
        let next = next.into_iter().chain(media).min().expect("frames never end");
        self.now = next.max(self.now + Duration::from_micros(200)).min(end);
        let at = self.at();
        self.send_media();
        self.workers.iter_mut().for_each(|worker| worker.handle_timeout(at));
        self.deliver();
    }

    pub fn pass_until(&mut self, end: Duration) {
        while self.now < end {
            self.step(end);
        }
    }
}
