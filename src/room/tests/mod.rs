//! A room that is written letters.

mod assign;
mod voices;
mod wants;

use std::collections::BTreeMap;
use std::time::Instant;

use super::Rooms;
use super::mail::*;
use crate::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use crate::wire::codec::{Codec, Kind};
use crate::wire::signal::{ErrorCode, LeaveReason, ServerMessage, Source};

struct Scene {
    rooms: Rooms,
    name: RoomName,
    now: Instant,
    out: Vec<Outgoing>,
    seated: BTreeMap<(u64, String), u64>,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            rooms: Rooms::default(),
            name: "room".into(),
            now: Instant::now(),
            out: Vec::new(),
            seated: BTreeMap::new(),
        }
    }

    fn with(settings: RoomSettings) -> Scene {
        Scene { rooms: Rooms::new(settings), ..Scene::new() }
    }

    fn handle(&mut self, letter: RoomLetter) {
        let from = self.out.len();
        self.rooms.handle(&self.name.clone(), letter, self.now, &mut self.out);
        self.rooms.check_invariants();
        self.note(from);
    }

    fn join(&mut self, id: u64, worker: u16, role: Role) {
        let address = Address {
            participant: ParticipantId(id),
            session: SessionId(id),
            worker: WorkerId(worker),
            home: WorkerId(0),
        };
        self.handle(RoomLetter::Join { address, name: format!("n{id}"), role, request: None });
    }

    /// Slots whose names begin with an "m" are for sound; tracks from 1,000 on are microphones, from
    /// 2,000 on screens.
    fn negotiate(&mut self, id: u64, tracks: &[u64], slots: &[(&str, &[Codec])]) {
        let track = |t: &u64| {
            let source = match t {
                ..1_000 => Source::Camera,
                1_000..2_000 => Source::Microphone,
                _ => Source::Screen,
            };
            let (id, kind) = (TrackId(*t), source.kind());
            TrackOffer { id, mid: t.to_string(), kind, source, muted: false }
        };
        let slot = |(mid, codecs): &(&str, &[Codec])| SlotOffer {
            mid: mid.to_string(),
            kind: if mid.starts_with('m') { Kind::Audio } else { Kind::Video },
            codecs: codecs.to_vec(),
        };
        self.handle(RoomLetter::Negotiated {
            participant: ParticipantId(id),
            fresh: false,
            tracks: tracks.iter().map(track).collect(),
            slots: slots.iter().map(slot).collect(),
        });
    }

    /// (participant, mid, track) of each assignment since the last call.
    fn assignments(&mut self) -> Vec<(u64, String, Option<u64>)> {
        let letters = std::mem::take(&mut self.out);
        letters
            .into_iter()
            .filter_map(|letter| match letter {
                Outgoing::Worker(_, ToWorker::Peer(p, PeerLetter::Assign { mid, seat })) => {
                    Some((p.0, mid, seat.map(|s| s.track.id.0)))
                }
                _ => None,
            })
            .collect()
    }

    fn relays(&mut self) -> Vec<(u64, u16, bool)> {
        let letters = std::mem::take(&mut self.out);
        letters
            .into_iter()
            .filter_map(|letter| match letter {
                Outgoing::Worker(_, ToWorker::Track(t, TrackLetter::Relay { to, wanted })) => {
                    Some((t.0, to.0, wanted))
                }
                _ => None,
            })
            .collect()
    }

    /// The tracks in a member's slots, as all letters said, in order.
    fn seats(&self, id: u64) -> Vec<u64> {
        let own = self.seated.iter().filter(|((p, _), _)| *p == id);
        let mut seats: Vec<u64> = own.map(|(_, track)| *track).collect();
        seats.sort_unstable();
        seats
    }

    /// Notes what the letters from that place on put into slots.
    fn note(&mut self, from: usize) {
        for letter in &self.out[from..] {
            let Outgoing::Worker(_, ToWorker::Peer(p, PeerLetter::Assign { mid, seat })) = letter
            else {
                continue;
            };
            let place = (p.0, mid.clone());
            match seat {
                Some(seat) => self.seated.insert(place, seat.track.id.0),
                None => self.seated.remove(&place),
            };
        }
    }

    fn events(&mut self, session: u64) -> Vec<ServerMessage> {
        let letters = std::mem::take(&mut self.out);
        letters
            .into_iter()
            .filter_map(|letter| match letter {
                Outgoing::Gate(ToGate::Event { to, message })
                    if to.contains(&SessionId(session)) =>
                {
                    Some(message)
                }
                _ => None,
            })
            .collect()
    }
}

/// For pictures.
const VP8: &[Codec] = &[Codec::Vp8];
/// For sound.
const OPUS: &[Codec] = &[Codec::Opus];
