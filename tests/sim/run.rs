//! A plan carried out, with the model beside it.

use std::time::{Duration, Instant};

use super::browser::{Browser, Wishes};
use super::client::Client;
use super::http::{Http, Role};
use super::model::{As, Model, Person, View};
use super::net::{ClientId, Quality};
use super::plan::{Act, Episode, Plan};
use super::server::Thread;
use super::watch::{LOOK_EVERY, Watch};
use super::world::{Setup, World};

/// After everything is mended, everybody sees whom they should by then. Longest is a client whose
/// WebSocket and media were both cut: silence 12 s, two ICE restarts of 8 s, a new connection.
const CONVERGE_MAX: Duration = Duration::from_secs(60);
/// After everybody left: grace, silence of sockets, and time to connect are all over.
const EMPTY_MAX: Duration = Duration::from_secs(60);

/// What a run was like.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub hash: u64,
    pub events: u64,
    pub simulated: Duration,
    /// At each checkpoint: what was seen, and how long it took to come about.
    pub views: Vec<View>,
    pub converged: Vec<Duration>,
}

pub struct Run {
    pub world: World,
    pub model: Model,
    outcome: Vec<(View, Duration)>,
    began: Instant,
    /// Partitions and blocks that end by themselves.
    ends: Vec<(Instant, ClientId)>,
    networks: u32,
    moving: bool,
    pub watch: Watch,
}

/// Carries a plan out. Panics at the first thing that is not as it must be.
pub fn carry_out(plan: &Plan, loud: bool) -> Outcome {
    super::replay::replayable(|| {
        let setup = Setup { seed: plan.seed, workers: plan.workers, loud };
        let mut run = Run::new(setup);
        for episode in &plan.episodes {
            run.episode(episode);
        }
        run.end();
        run.outcome()
    })
}

fn room(number: u8) -> String {
    format!("room {number}")
}

impl Run {
    pub fn new(setup: Setup) -> Run {
        let world = World::new(setup);
        Run {
            began: world.now,
            world,
            model: Model::default(),
            outcome: Vec::new(),
            ends: Vec::new(),
            networks: 0,
            moving: true,
            watch: Watch::default(),
        }
    }

    fn outcome(self) -> Outcome {
        Outcome {
            hash: self.world.trace.hash(),
            events: self.world.trace.events,
            simulated: self.world.now - self.began,
            views: self.outcome.iter().map(|(view, _)| view.clone()).collect(),
            converged: self.outcome.iter().map(|(_, took)| *took).collect(),
        }
    }

    fn local(&mut self, id: ClientId) -> std::net::SocketAddr {
        self.networks += 1;
        let host = [10, (self.networks >> 8) as u8, self.networks as u8, id as u8];
        (std::net::Ipv4Addr::from(host), 5_000).into()
    }

    // -- episodes

    fn episode(&mut self, episode: &Episode) {
        self.move_pictures(true);
        let start = self.world.now;
        for (at, act) in &episode.acts {
            self.run_until(start + *at);
            self.world.trace.note(self.world.now, "act", format_args!("{act:?}"));
            self.act(act);
        }
        self.run_until(start + episode.busy);
        self.checkpoint();
        self.move_pictures(false);
        self.world.run_for(episode.quiet);
    }

    /// As [`World::run_until`], with what ends by itself meanwhile.
    fn run_until(&mut self, until: Instant) {
        self.ends.sort();
        while let Some((at, id)) = self.ends.first().copied().filter(|(at, _)| *at <= until) {
            self.ends.remove(0);
            self.watch_until(at.max(self.world.now));
            self.mend(id);
        }
        self.watch_until(until);
    }

    /// As [`World::run_for`], with looks at what everybody sees.
    pub fn pass(&mut self, time: Duration) {
        self.watch_until(self.world.now + time);
    }

    /// As [`World::run_until`], with looks at what everybody sees.
    fn watch_until(&mut self, until: Instant) {
        while self.world.now < until {
            self.world.run_until(until.min(self.world.now + LOOK_EVERY));
            if self.moving {
                self.watch.look(&self.world, &self.model);
            }
        }
    }

    fn mend(&mut self, id: ClientId) {
        if let Some(link) = self.world.net.link_mut(id) {
            link.udp_blocked = false;
        }
        self.world.mend(id);
    }

    pub fn move_pictures(&mut self, moving: bool) {
        self.watch.begin();
        self.moving = moving;
        for id in self.world.clients.keys().copied().collect::<Vec<_>>() {
            self.world.with(id, |client, now| {
                client.set_moving(moving);
                client.poll(now);
            });
        }
    }

    /// Everything is mended; then all must come to be as the model says.
    pub fn checkpoint(&mut self) -> Duration {
        self.ends.clear();
        self.world.socket_failures = 0;
        for id in self.world.clients.keys().copied().collect::<Vec<_>>() {
            if let Some(link) = self.world.net.link_mut(id) {
                link.quality = Quality::GOOD;
            }
            // Pictures may stand still from here on, and an attack would go on with them.
            self.world.with(id, |client, now| {
                let senders = client.media_mut().into_iter().flat_map(|m| &mut m.senders);
                senders.for_each(|sender| (sender.restless, sender.rushes) = (0, None));
                client.poll(now);
            });
            self.mend(id);
        }
        let model = self.model.clone();
        let watch = &mut self.watch;
        let took = self.world.run_while(CONVERGE_MAX, |world| {
            watch.look(world, &model);
            model.compare(world).is_ok()
        });
        let Some(took) = took else {
            let why = self.model.compare(&self.world).expect_err("it is not");
            panic!("not as it should be after {CONVERGE_MAX:?}: {why}\n{}", self.world.describe());
        };
        self.watch.begin();
        self.world.check_calm();
        self.world.trace.note(self.world.now, "checkpoint", format_args!("after {took:?}"));
        self.outcome.push((self.model.view(), took));
        took
    }

    /// All leave, and nothing is left of them.
    pub fn end(&mut self) {
        for id in self.world.clients.keys().copied().collect::<Vec<_>>() {
            self.act(&Act::Leave(id));
        }
        let empty = self.world.run_while(EMPTY_MAX, |world| world.is_empty());
        assert!(empty.is_some(), "something is left:\n{}", self.world.describe());
        self.world.check_calm();
    }

    // -- acts

    pub fn act(&mut self, act: &Act) {
        self.excuse(act);
        match act {
            Act::Join { id, room, simulcast, video, audio } => {
                self.join(*id, *room, (*video, *audio, *simulcast));
            }
            Act::Whip { id, room } => self.http(*id, *room, As::Whip),
            Act::Whep { id, room, only } => self.http(*id, *room, As::Whep(*only)),
            Act::Leave(id) => {
                self.model.people.remove(id);
                self.mend(*id);
                self.world.leave(*id);
            }
            Act::Vanish(id) => {
                self.model.people.remove(id);
                self.world.vanish(*id);
            }
            Act::Mute { id, video, audio, sly } => self.mute(*id, (*video, *audio), *sly),
            Act::CutSockets(id) => self.world.cut_sockets(*id),
            Act::Partition { id, time } => self.partition(*id, *time, false),
            Act::BlockUdp { id, time } => self.partition(*id, *time, true),
            Act::Weather { id, quality } => {
                if let Some(link) = self.world.net.link_mut(*id) {
                    link.quality = *quality;
                }
            }
            Act::Rebind(id) => self.world.net.rebind(*id),
            Act::ChangeNetwork(id) => {
                let local = self.local(*id);
                self.world.change_network(*id, local);
            }
            Act::PauseGate(time) => self.world.pause(Thread::Gate, *time),
            Act::PauseWorker { worker, time } => {
                let worker = usize::from(*worker) % self.world.server.threads.len();
                self.world.pause(Thread::Worker(worker), *time);
            }
            Act::StepClock(by) => self.world.step_clock(*by),
            Act::SocketFailures { per_mille } => self.world.socket_failures = *per_mille,
            Act::Poison(id) => self.world.poison(*id),
            Act::BreakTransport(id) => self.world.break_transport(*id),
            Act::Attack(attack) => {
                if let Some(id) = super::hostile::attack(&mut self.world, *attack) {
                    self.watch.excuse(id);
                }
            }
        }
    }

    /// What breaks with an act explains black pictures until the next checkpoint.
    fn excuse(&mut self, act: &Act) {
        match act {
            Act::CutSockets(id)
            | Act::Partition { id, .. }
            | Act::BlockUdp { id, .. }
            | Act::Weather { id, .. }
            | Act::Rebind(id)
            | Act::ChangeNetwork(id)
            | Act::BreakTransport(id) => self.watch.excuse(*id),
            Act::PauseGate(_)
            | Act::PauseWorker { .. }
            | Act::StepClock(_)
            | Act::SocketFailures { .. }
            | Act::Poison(_) => self.watch.excuse_all(),
            _ => {}
        }
    }

    fn join(&mut self, id: ClientId, at: u8, (video, audio, simulcast): (bool, bool, bool)) {
        let place = (self.local(id), self.world.now);
        let room = room(at);
        let wishes = Wishes {
            video,
            audio,
            simulcast,
            video_muted: false,
            audio_muted: false,
            sly: false,
            moving: self.moving,
        };
        let name = format!("n{id}");
        let browser = Browser::new(id, (&room, name), wishes, &self.world.crypto, place);
        self.world.add(id, Client::Browser(Box::new(browser)));
        self.expect(id, room, As::Participant, (video, audio));
    }

    fn http(&mut self, id: ClientId, at: u8, role: As) {
        let place = (self.local(id), self.world.now);
        let room = room(at);
        let (kind, sends) = match role {
            As::Whep(only) => (Role::Whep { only: only.map(|id| format!("n{id}")) }, false),
            _ => (Role::Whip, true),
        };
        let http = Http::new(id, (&room, format!("n{id}"), kind), &self.world.crypto, place);
        self.world.add(id, Client::Http(Box::new(http)));
        self.expect(id, room, role, (sends, sends));
    }

    fn expect(&mut self, id: ClientId, room: String, role: As, (video, audio): (bool, bool)) {
        let person = Person { room, role, video, audio, video_muted: false, audio_muted: false };
        self.model.people.insert(id, person);
    }

    fn mute(&mut self, id: ClientId, (video, audio): (bool, bool), sly: bool) {
        let Some(person) = self.model.people.get_mut(&id) else { return };
        (person.video_muted, person.audio_muted) = (video, audio);
        self.world.with(id, |client, now| {
            if let Client::Browser(browser) = client {
                let muted = Wishes { video_muted: video, audio_muted: audio, ..browser.wishes };
                let wishes = Wishes { sly, ..muted };
                browser.set_wishes(now, wishes);
            }
        });
    }

    fn partition(&mut self, id: ClientId, time: Duration, only_udp: bool) {
        let Some(link) = self.world.net.link_mut(id) else { return };
        match only_udp {
            true => link.udp_blocked = true,
            false => link.cut = link.cut.or(Some(self.world.now)),
        }
        self.ends.push((self.world.now + time, id));
    }
}
