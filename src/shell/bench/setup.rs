//! Servers with their clients, connected.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::child::{Cores, Floor, Server};
use super::client::{Client, Link};
use super::drive::Driver;
use super::floor::{Plan, PlannedClient};
use super::handshake::{self, Identity, Keys};
use super::http::Https;
use super::offer::{self, Offer};
use super::signalling::Signalling;
use super::stream::Id;
use super::stun::Ice;
use super::{Done, Failed, failed};
use crate::base::rng::Rng;
use crate::config::BenchMedia;
use crate::media::srtp::Profile;
use crate::shell::udp;

/// All servers and clients of a benchmark.
pub struct Setup {
    pub driver: Driver,
    /// What DTLS agreed on with the last client that joined.
    pub profile: Option<Profile>,
    pub cores: Cores,
    /// This program, and the one whose server is measured.
    own: PathBuf,
    program: PathBuf,
    identity: Identity,
    rng: Rng,
    rooms: u16,
    cases: usize,
}

/// A server with its clients.
pub struct Case {
    pub server: Server,
    pub https: Https,
    pub number: usize,
    clients: usize,
}

/// How a client joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Whip,
    /// With so many slots of each kind.
    Whep(usize),
    /// Sends, and has so many slots of each kind.
    Participant(usize),
}

impl Setup {
    pub fn new(driver: Driver, cores: Cores, server: Option<PathBuf>) -> Done<Setup> {
        let own = std::env::current_exe().map_err(failed("this program's path"))?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Failed(format!("no random numbers: {e}")))?;
        Ok(Setup {
            driver,
            profile: None,
            cores,
            program: server.unwrap_or_else(|| own.clone()),
            own,
            identity: Identity::generate()?,
            rng: Rng::from_seed(seed),
            rooms: 0,
            cases: 0,
        })
    }

    /// Starts a server.
    pub fn case(&mut self, workers: usize) -> Done<Case> {
        let server = self.cores.start(|| Server::start(&self.program, workers))?;
        let https = Https::new(server.address, &server.certificate())?;
        let number = self.cases;
        self.cases += 1;
        Ok(Case { server, https, number, clients: self.driver.clients.len() })
    }

    /// A room that nobody is in.
    pub fn room(&mut self) -> u16 {
        self.rooms += 1;
        self.rooms
    }

    /// The one that was made last.
    pub fn last_room(&self) -> u16 {
        self.rooms
    }

    /// Connects a client; how long it took from its offer on. `audience` is how many others get
    /// what it sends.
    pub fn join(&mut self, case: &mut Case, id: Id, role: Role, audience: usize) -> Done<Duration> {
        let socket = udp::bind_client().map_err(failed("UDP"))?;
        let address = socket.local_addr().map_err(failed("UDP"))?;
        let mut ice =
            Ice { own_ufrag: self.rng.token(8), own_pwd: self.rng.token(24), ..Ice::default() };
        // Two for each client, and none of a small number that a library may keep for itself.
        let ssrc = 1_000_000 + 2 * self.driver.clients.len() as u32;
        let (sends, slots) = match role {
            Role::Whip => (true, 0),
            Role::Whep(slots) => (false, slots),
            Role::Participant(slots) => (true, slots),
        };
        let BenchMedia { audio, feedback, .. } = self.driver.media;
        let offer = Offer {
            ice: &ice,
            fingerprint: &self.identity.fingerprint,
            video: sends.then_some(ssrc),
            audio: (sends && audio).then_some(ssrc + 1),
            video_slots: slots,
            audio_slots: if audio { slots } else { 0 },
            feedback,
        };
        let offer = offer.text();
        let (room, name) = (format!("bench-{}", id.room), format!("c{}", id.member));
        let server = case.server.address;
        let begun;
        let answer = match role {
            Role::Whip => {
                begun = Instant::now();
                case.https.offer(&format!("/whip/{room}/{name}"), &offer)?
            }
            Role::Whep(_) => {
                begun = Instant::now();
                case.https.offer(&format!("/whep/{room}"), &offer)?
            }
            Role::Participant(_) => {
                let mut signalling = Signalling::join(&case.https, server, &room, &name)?;
                begun = Instant::now();
                let answer = signalling.offer(&offer)?;
                self.driver.signals.push(signalling);
                answer
            }
        };
        if !offer::read_answer(&answer, &mut ice) {
            return Err(Failed(format!("an answer without credentials: {answer}")));
        }
        let keys = handshake::connect(&self.identity, &socket, server, &ice)?;
        let took = begun.elapsed();
        self.profile = Some(keys.profile);
        let link = link(server, &keys, ssrc)?;
        let mut client = Client::new(socket, address, case.number, id, link);
        (client.ice, client.audience) = (ice, audience as u64);
        client.receives = slots > 0;
        self.driver.add(client)?;
        // What is due in between.
        self.driver.run(Duration::ZERO)?;
        Ok(took)
    }

    /// Starts the floor for all clients of a case, with keys of its own.
    pub fn floor(&mut self, case: &Case) -> Done<Floor> {
        let profile = self.profile.ok_or_else(|| Failed("nobody joined".to_owned()))?;
        let range: Range<usize> = case.clients..self.driver.clients.len();
        let mut plan = Plan {
            profile: Profile::ALL.iter().position(|p| *p == profile).expect("one of all"),
            clients: Vec::new(),
        };
        for client in &self.driver.clients[range.clone()] {
            let material = self.rng.token(profile.material_bytes()).into_bytes();
            plan.clients.push(PlannedClient {
                address: client.address,
                room: client.id.room.into(),
                receives: client.receives,
                material,
                password: client.ice.pwd.clone(),
            });
        }
        let floor = self.cores.start(|| Floor::start(&self.own, &plan))?;
        for (client, planned) in self.driver.clients[range].iter_mut().zip(plan.clients) {
            let keys = Keys { profile, material: planned.material };
            client.floor = Some(link(floor.address, &keys, client.server.video.ssrc)?);
        }
        Ok(floor)
    }
}

fn link(remote: SocketAddr, keys: &Keys, ssrc: u32) -> Done<Link> {
    let link = Link::new(remote, keys, ssrc);
    link.ok_or_else(|| Failed("DTLS exported keys of a wrong length".to_owned()))
}
