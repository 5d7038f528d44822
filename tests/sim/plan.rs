//! What a run does, drawn from its seed before it begins: who comes and goes, and what breaks.
//!
//! A plan is a number of episodes. In an episode people talk, come, go, and things break; then
//! everything is mended, and everybody must come to see whom they should; then the pictures stand
//! still for a while, which costs little to simulate.

use std::fmt;
use std::time::Duration;

use super::net::{ClientId, Quality};

/// Something that happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Join {
        id: ClientId,
        room: u8,
        simulcast: bool,
        video: bool,
        audio: bool,
    },
    Whip {
        id: ClientId,
        room: u8,
    },
    /// `only` that participant, or the whole room.
    Whep {
        id: ClientId,
        room: u8,
        only: Option<ClientId>,
    },
    Leave(ClientId),
    /// Gone from one moment to the next: a crash, a flat battery.
    Vanish(ClientId),
    Mute {
        id: ClientId,
        video: bool,
        audio: bool,
        /// What is muted is sent all the same.
        sly: bool,
    },
    /// The TCP connections are reset.
    CutSockets(ClientId),
    /// Nothing passes on the client's link until the end of the episode, or of the time.
    Partition {
        id: ClientId,
        time: Duration,
    },
    BlockUdp {
        id: ClientId,
        time: Duration,
    },
    Weather {
        id: ClientId,
        quality: Quality,
    },
    /// The NAT maps the client's port anew.
    Rebind(ClientId),
    /// From Wi-Fi to mobile: another local address, another path.
    ChangeNetwork(ClientId),
    PauseGate(Duration),
    PauseWorker {
        worker: u8,
        time: Duration,
    },
    StepClock(Duration),
    SocketFailures {
        per_mille: u32,
    },
    /// A datagram of the client's makes its worker's code panic.
    Poison(ClientId),
    /// One makes its transport's code panic.
    BreakTransport(ClientId),
    /// Somebody hostile does something from outside.
    Attack(Attack),
}

/// What somebody does who means ill: without any right, or as a participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Junk that begins like STUN, DTLS or RTP, from many addresses.
    Junk,
    /// Well-formed checks for ufrags that nobody has.
    GuessUfrags,
    /// A client's own check, sent again from other addresses.
    ReplayChecks,
    /// What a client sent lately, again, from its own address.
    ReplayOwn,
    /// A client's packets with a bit changed, from its own address.
    BadTags,
    /// A client's packets with another SSRC, from its own address.
    ForgeStreams,
    /// DTLS hellos and alerts from a client's own address.
    SpoofHandshake,
    /// Messages that are no JSON, no message, or no use, on WebSockets.
    LyingJson,
    /// A participant whose certificate is not the one that its offer names.
    WrongCertificate,
    /// A participant asks for everything again, under its own keys.
    NackFlood,
    /// A participant asks for keyframes without end.
    KeyframeFlood,
    /// A participant's reports of what it receives are untrue, or rubbish.
    FeedbackLies,
    /// A participant sends ten times as much.
    Rush,
    /// A participant sends under the SSRC of another's stream.
    StolenSsrc,
    /// A participant sends under the SSRC of a stream that it receives.
    SlotSsrc,
    /// A participant sends each frame under another SSRC.
    ManyStreams,
    /// A participant asks and asks, and reads nothing of what it is told.
    SlowReader,
}

impl Attack {
    pub const ALL: [Attack; 17] = [
        Attack::Junk,
        Attack::GuessUfrags,
        Attack::ReplayChecks,
        Attack::ReplayOwn,
        Attack::BadTags,
        Attack::ForgeStreams,
        Attack::SpoofHandshake,
        Attack::LyingJson,
        Attack::WrongCertificate,
        Attack::NackFlood,
        Attack::KeyframeFlood,
        Attack::FeedbackLies,
        Attack::Rush,
        Attack::StolenSsrc,
        Attack::SlotSsrc,
        Attack::ManyStreams,
        Attack::SlowReader,
    ];
}

#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// In order of their time since the episode's begin.
    pub acts: Vec<(Duration, Act)>,
    pub busy: Duration,
    pub quiet: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub workers: usize,
    pub episodes: Vec<Episode>,
}

/// Draws a plan; knows who is there while it does.
struct Drawing {
    chance: fastrand::Rng,
    next: ClientId,
    participants: Vec<(ClientId, u8)>,
    whips: Vec<(ClientId, u8)>,
    wheps: Vec<(ClientId, u8)>,
    rooms: u8,
}

/// Participants at once; more costs time, and finds nothing that these do not.
const PARTICIPANTS_MAX: usize = 5;

impl Plan {
    pub fn draw(seed: u64) -> Plan {
        let mut chance = fastrand::Rng::with_seed(seed);
        let workers = [1, 2, 3, 3][chance.usize(..4)];
        let rooms = chance.u8(1..=2);
        let count = chance.usize(2..=4);
        let mut drawing = Drawing {
            chance,
            next: 1,
            participants: Vec::new(),
            whips: Vec::new(),
            wheps: Vec::new(),
            rooms,
        };
        let episodes = (0..count).map(|at| drawing.episode(at == 0)).collect();
        Plan { seed, workers, episodes }
    }
}

impl Drawing {
    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.chance.u64(range))
    }

    fn mint(&mut self) -> ClientId {
        self.next += 1;
        self.next - 1
    }

    fn episode(&mut self, first: bool) -> Episode {
        let busy = self.millis(4_000..12_000);
        let mut acts = Vec::new();
        if first {
            for _ in 0..self.chance.usize(2..=4) {
                let at = self.millis(0..1_500);
                acts.push((at, self.join()));
            }
        }
        for _ in 0..self.chance.usize(1..=5) {
            let at = self.millis(1_500..busy.as_millis() as u64);
            if let Some(act) = self.act() {
                acts.push((at, act));
            }
        }
        // Mostly short; now and then an hour.
        let quiet = match self.chance.u32(..12) {
            0 => self.millis(1_800_000..3_600_000),
            1..4 => self.millis(300_000..900_000),
            _ => self.millis(20_000..200_000),
        };
        acts.sort_by_key(|(at, _)| *at);
        Episode { acts, busy, quiet }
    }

    fn join(&mut self) -> Act {
        let (id, room) = (self.mint(), self.chance.u8(..self.rooms));
        self.participants.push((id, room));
        let flags = self.chance.u8(..);
        Act::Join {
            id,
            room,
            simulcast: flags & 7 == 0,
            video: flags & 0x18 != 0,
            audio: flags & 0x60 != 0,
        }
    }

    fn anybody(&mut self) -> Option<ClientId> {
        let all = self.participants.iter().chain(&self.whips).chain(&self.wheps);
        let all: Vec<ClientId> = all.map(|(id, _)| *id).collect();
        (!all.is_empty()).then(|| all[self.chance.usize(..all.len())])
    }

    fn participant(&mut self) -> Option<ClientId> {
        let count = self.participants.len();
        (count > 0).then(|| self.participants[self.chance.usize(..count)].0)
    }

    fn forget(&mut self, id: ClientId) {
        for list in [&mut self.participants, &mut self.whips, &mut self.wheps] {
            list.retain(|(other, _)| *other != id);
        }
    }

    fn act(&mut self) -> Option<Act> {
        let roll = self.chance.u32(..100);
        Some(match roll {
            ..12 if self.participants.len() < PARTICIPANTS_MAX => self.join(),
            ..18 => self.http()?,
            18..24 => {
                let id = self.anybody()?;
                self.forget(id);
                Act::Leave(id)
            }
            24..29 => {
                let id = self.anybody()?;
                self.forget(id);
                Act::Vanish(id)
            }
            29..38 => Act::Mute {
                id: self.participant()?,
                video: self.chance.bool(),
                audio: self.chance.bool(),
                sly: self.chance.bool(),
            },
            38..71 => self.network()?,
            71..79 => self.machine()?,
            79 => Act::Poison(self.participant()?),
            80..82 => Act::BreakTransport(self.participant()?),
            _ => Act::Attack(Attack::ALL[self.chance.usize(..Attack::ALL.len())]),
        })
    }

    fn http(&mut self) -> Option<Act> {
        let (id, room) = (self.mint(), self.chance.u8(..self.rooms));
        if self.chance.bool() && self.whips.is_empty() {
            self.whips.push((id, room));
            return Some(Act::Whip { id, room });
        }
        if self.wheps.len() >= 2 {
            return None;
        }
        let here: Vec<ClientId> = self
            .participants
            .iter()
            .chain(&self.whips)
            .filter(|(_, other)| *other == room)
            .map(|(id, _)| *id)
            .collect();
        let one =
            (self.chance.bool() && !here.is_empty()).then(|| here[self.chance.usize(..here.len())]);
        self.wheps.push((id, room));
        Some(Act::Whep { id, room, only: one })
    }

    fn network(&mut self) -> Option<Act> {
        let id = self.anybody()?;
        Some(match self.chance.u32(..8) {
            0 => Act::CutSockets(id),
            1 => Act::Partition { id, time: self.millis(200..25_000) },
            2 => Act::BlockUdp { id, time: self.millis(200..20_000) },
            3 => Act::Rebind(id),
            4 => Act::ChangeNetwork(id),
            _ => Act::Weather { id, quality: self.weather() },
        })
    }

    fn weather(&mut self) -> Quality {
        let mut some = |most: u32| if self.chance.bool() { self.chance.u32(..most) } else { 0 };
        let (loss, duplication, reorder) = (some(150), some(100), some(200));
        Quality {
            delay: self.millis(1..250),
            jitter: self.millis(0..60),
            loss,
            duplication,
            reorder,
        }
    }

    fn machine(&mut self) -> Option<Act> {
        Some(match self.chance.u32(..4) {
            0 => Act::PauseGate(self.millis(50..4_000)),
            1 => Act::PauseWorker { worker: self.chance.u8(..4), time: self.millis(50..4_000) },
            2 => Act::SocketFailures { per_mille: self.chance.u32(1..200) },
            _ if self.chance.bool() => Act::StepClock(Duration::from_secs(3_600)),
            _ => Act::StepClock(self.millis(100..60_000)),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} with {} workers", self.seed, self.workers)?;
        for (at, episode) in self.episodes.iter().enumerate() {
            writeln!(f, "  episode {at}: busy {:?}, then quiet {:?}", episode.busy, episode.quiet)?;
            for (when, act) in &episode.acts {
                writeln!(f, "    {when:>9.3?} {act:?}")?;
            }
        }
        Ok(())
    }
}
