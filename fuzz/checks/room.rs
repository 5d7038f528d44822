//! Rooms fed with the letters of a gate and of workers that keep to their word: tables agree, all
//! letters are for somebody who is there, and what everybody is left with when all have gone is
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use trackyard::media::speakers::Summary;
use trackyard::room::Rooms;
use trackyard::room::mail::{
    Address, Outgoing, PeerLetter, Role, RoomLetter, RoomName, RoomSettings, SlotOffer, ToGate,
    ToWorker, TrackLetter, TrackOffer, Update,
};
use trackyard::wire::codec::Kind;
use trackyard::wire::signal::{LeaveReason, ServerMessage, Source, TrackWant, Want};

#[derive(Debug, Arbitrary)]
enum Step {
    Join {
        role: u8,
        worker: u8,
        named: u8,
    },
    /// Of so many participants, the one of that index.
    Leave {
        who: u8,
    },
    Resume {
        who: u8,
    },
    /// Bit by bit: on which m-lines it sends, and on which it receives.
    Negotiate {
        who: u8,
        fresh: bool,
        sends: u8,
        receives: u8,
        codecs: u8,
    },
    Codec {
        track: u8,
        codec: u8,
    },
    Update {
        who: u8,
        mid: u8,
        muted: bool,
    },
    /// Of the room's tracks, the one of that index.
    Want {
        who: u8,
        track: u8,
        width: u16,
        pinned: bool,
        paused: bool,
    },
    Levels {
        track: u8,
        voiced: u16,
        level: u8,
    },
    Pass {
        millis: u16,
    },
    Collapse,
    /// A letter of somebody who has left.
    Stale {
        who: u8,
        sends: u8,
    },
}

pub fn check(data: &[u8]) {
    let mut world = World { now: Some(super::start()), ..World::default() };
    if data.len() % 2 == 1 {
        let few = RoomSettings { heard_max: 2, last_n: 2, publishers_max: 3 };
        world.rooms = Rooms::new(few);
    }
    for step in super::steps(data) {
        world.step(step);
    }
    for participant in world.members.keys().copied().collect::<Vec<_>>() {
        world.leave(participant);
    }
    assert!(world.rooms.is_empty(), "an empty room ends");
    assert!(world.slots.is_empty(), "slots still hold {:?}", world.slots);
    assert!(world.relays.is_empty(), "still relayed: {:?}", world.relays);
}

struct Member {
    address: Address,
    role: Role,
    sends: BTreeMap<usize, TrackId>,
}

#[derive(Default)]
struct World {
    rooms: Rooms,
    now: Option<Instant>,
    next: u64,
    members: BTreeMap<ParticipantId, Member>,
    gone: Vec<ParticipantId>,
    /// Which track sits in which slot, as the letters said.
    slots: BTreeMap<(ParticipantId, String), TrackId>,
    /// To which workers a track is relayed, as the letters said.
    relays: BTreeSet<(TrackId, WorkerId)>,
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Join { role, worker, named } => self.join(role, worker, named),
            Step::Leave { who } => {
                if let Some(participant) = self.member(who) {
                    self.leave(participant);
                }
            }
            Step::Resume { who } => {
                if let Some(participant) = self.member(who) {
                    self.give(RoomLetter::Resume { participant, request: Some(1) });
                }
            }
            Step::Negotiate { who, fresh, sends, receives, codecs } => {
                if let Some(participant) = self.member(who) {
                    self.negotiate(participant, fresh, (sends, receives, codecs));
                }
            }
            Step::Codec { track, codec } => {
                let track = self.track(track);
                let codec = super::payload::codec_of(codec);
                self.give(RoomLetter::TrackCodec { track, codec });
            }
            Step::Update { who, mid, muted } => {
                if let Some(participant) = self.member(who) {
                    let mid = (mid % 10).to_string();
                    let update = Update { mid, muted, limited: None, request: Some(2) };
                    self.give(RoomLetter::Update { participant, update });
                }
            }
            Step::Want { who, track, width, pinned, paused } => {
                let Some(participant) = self.member(who) else { return };
                let want = Want { width, pinned, paused, ..Want::default() };
                let wants = vec![TrackWant { track: self.track(track), want }];
                self.give(RoomLetter::Want { participant, wants, request: Some(3) });
            }
            Step::Levels { track, voiced, level } => {
                let summary = Summary { frames: 10, voiced: voiced & 0x3ff, level: level & 0x7f };
                let track = self.track(track);
                self.give(RoomLetter::Levels { track, summary });
            }
            Step::Pass { millis } => {
                self.now = self.now.map(|now| now + Duration::from_millis(millis.into()));
                let (name, mut out): (RoomName, _) = ("room".into(), Vec::new());
                if let Some(now) = self.now {
                    self.rooms.decide(&name, now, &mut out);
                }
                self.rooms.check_invariants();
                self.open(out);
            }
            Step::Collapse => self.collapse(),
            Step::Stale { who, sends } => {
                if let Some(participant) = self.gone.get(usize::from(who)).copied() {
                    self.negotiate(participant, true, (sends, sends, 0xff));
                    self.give(RoomLetter::Resume { participant, request: None });
                    self.leave(participant);
                }
            }
        }
    }

    fn track(&self, at: u8) -> TrackId {
        let tracks = self.members.values().flat_map(|m| m.sends.values());
        *tracks.cycle().nth(at.into()).unwrap_or(&TrackId(1 << 40))
    }

    fn member(&self, who: u8) -> Option<ParticipantId> {
        self.members.keys().copied().cycle().nth(who.into())
    }

    fn join(&mut self, role: u8, worker: u8, named: u8) {
        self.next += 1;
        let id = self.next;
        let role = match role % 4 {
            0 | 1 => Role::Participant,
            2 => Role::Whip,
            _ => Role::Whep { only: named.is_multiple_of(2).then(|| format!("n{}", named % 8)) },
        };
        let address = Address {
            participant: ParticipantId(id),
            session: SessionId(id),
            worker: WorkerId((worker % 3).into()),
            home: WorkerId(0),
        };
        let name = format!("n{}", id % 4);
        let member = Member { address, role: role.clone(), sends: BTreeMap::new() };
        self.members.insert(address.participant, member);
        let out = self.handle(RoomLetter::Join { address, name, role, request: Some(0) });
        let refused = |letter: &Outgoing| matches!(letter, Outgoing::Gate(ToGate::Refused { .. }));
        let is_refused = out.iter().any(refused);
        self.open(out);
        if is_refused {
            self.members.remove(&address.participant);
        }
    }

    fn leave(&mut self, participant: ParticipantId) {
        if self.members.remove(&participant).is_some() {
            self.gone.push(participant);
        }
        self.give(RoomLetter::Leave { participant, reason: LeaveReason::Left });
    }

    /// M-lines 0 to 7: of even ones audio, of odd ones video. A mid either sends or receives.
    fn negotiate(&mut self, participant: ParticipantId, fresh: bool, lines: (u8, u8, u8)) {
        let (sends, receives, codecs) = lines;
        let kind = |line: usize| if line.is_multiple_of(2) { Kind::Audio } else { Kind::Video };
        let lines = |bits: u8| (0..8).filter(move |line| bits >> line & 1 == 1);
        let mut tracks = BTreeMap::new();
        let role = self.members.get(&participant).map(|m| m.role.clone());
        for line in lines(sends).filter(|_| role.as_ref().is_none_or(Role::publishes)) {
            let known = self.members.get(&participant).filter(|_| !fresh);
            let known = known.and_then(|m| m.sends.get(&line).copied());
            self.next += 1;
            tracks.insert(line, known.unwrap_or(TrackId(self.next)));
        }
        let offer = |(line, id): (&usize, &TrackId)| TrackOffer {
            id: *id,
            mid: line.to_string(),
            kind: kind(*line),
            source: Source::of(kind(*line)),
            muted: codecs & 1 == 1,
        };
        let offers = tracks.iter().map(offer).collect();
        let slot = |line: usize| SlotOffer {
            mid: line.to_string(),
            kind: kind(line),
            codecs: (0..6).filter(|c| codecs >> c & 1 == 1).map(super::payload::codec_of).collect(),
        };
        let receiving = role.as_ref().is_none_or(Role::subscribes);
        let slots = lines(receives & !sends).filter(|_| receiving).map(slot).collect();
        if let Some(member) = self.members.get_mut(&participant) {
            member.sends = tracks;
        }
        if fresh {
            // A new peer: nothing sits in its slots yet, and nobody has to say so.
            self.slots.retain(|(p, _), _| *p != participant);
        }
        self.give(RoomLetter::Negotiated { participant, fresh, tracks: offers, slots });
    }

    fn collapse(&mut self) {
        let there = self.members.len();
        let out = self.handle(RoomLetter::Collapse);
        let ended = out.iter().find_map(|letter| match letter {
            Outgoing::Gate(ToGate::RoomEnded { sessions }) => Some(sessions.len()),
            _ => None,
        });
        assert_eq!(ended.unwrap_or(0), there);
        self.gone.extend(std::mem::take(&mut self.members).into_keys());
        (self.slots, self.relays) = Default::default();
    }

    fn handle(&mut self, letter: RoomLetter) -> Vec<Outgoing> {
        let mut out = Vec::new();
        let name: RoomName = "room".into();
        self.rooms.handle(&name, letter, self.now.unwrap_or_else(super::start), &mut out);
        self.rooms.check_invariants();
        out
    }

    fn give(&mut self, letter: RoomLetter) {
        let out = self.handle(letter);
        self.open(out);
    }

    fn open(&mut self, letters: Vec<Outgoing>) {
        for letter in letters {
            match letter {
                Outgoing::Worker(worker, ToWorker::Peer(participant, letter)) => {
                    self.peer(worker, participant, letter);
                }
                Outgoing::Worker(_, ToWorker::Track(track, TrackLetter::Relay { to, wanted })) => {
                    let changed = match wanted {
                        true => self.relays.insert((track, to)),
                        false => self.relays.remove(&(track, to)),
                    };
                    assert!(changed, "{track:?} to {to} is {wanted} already");
                }
                Outgoing::Worker(_, ToWorker::Track(..)) => {}
                Outgoing::Worker(_, other) => panic!("{other:?} from a room"),
                Outgoing::Gate(letter) => self.gate(letter),
            }
        }
    }

    fn peer(&mut self, worker: WorkerId, participant: ParticipantId, letter: PeerLetter) {
        let (mid, track) = match letter {
            PeerLetter::Assign { mid, seat } => (mid, seat.map(|seat| seat.track)),
            PeerLetter::Want { mid, .. } => {
                assert!(self.slots.contains_key(&(participant, mid)), "of a slot that is filled");
                return;
            }
            letter => panic!("{letter:?} from a room"),
        };
        if let Some(member) = self.members.get(&participant) {
            assert_eq!(worker, member.address.worker);
            assert!(member.role.subscribes());
        }
        let place = (participant, mid);
        let Some(track) = track else {
            self.slots.remove(&place);
            return;
        };
        let publisher = self.members.iter().find(|(_, m)| m.sends.values().any(|t| *t == track.id));
        let (publisher, member) = publisher.expect("a track that somebody sends");
        assert_ne!(*publisher, participant, "nobody sees themselves");
        assert_eq!(track.worker, member.address.worker);
        self.slots.insert(place, track.id);
    }

    fn gate(&self, letter: ToGate) {
        let there =
            |session: SessionId| self.members.values().any(|m| m.address.session == session);
        match letter {
            ToGate::Joined { session, others, .. } => {
                assert!(there(session));
                assert!(others.iter().all(|view| self.members.contains_key(&view.id)));
            }
            ToGate::Refused { session, .. } => assert!(there(session)),
            ToGate::Event { to, message } => {
                assert!(!to.is_empty() && to.iter().all(|session| there(*session)), "{message:?}");
                if let ServerMessage::Slots { slots, .. } = message {
                    self.told(to[0], slots.iter().filter_map(|s| Some((s.mid.clone(), s.track?))));
                }
            }
            other => panic!("{other:?} from a room"),
        }
    }

    /// What a client was told of its slots is what its worker was told.
    fn told(&self, session: SessionId, slots: impl Iterator<Item = (String, TrackId)>) {
        let holder = self.members.values().find(|m| m.address.session == session);
        let participant = holder.expect("somebody who is there").address.participant;
        let told: BTreeMap<String, TrackId> = slots.collect();
        let held = self.slots.iter().filter(|((p, _), _)| *p == participant);
        let held: BTreeMap<String, TrackId> =
            held.map(|((_, mid), track)| (mid.clone(), *track)).collect();
        assert_eq!(told, held);
    }
}
