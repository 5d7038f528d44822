//! From a track's packets to its subscribers, and from their needs to its publisher.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::time::{Duration, Instant};

use super::guard::AtWork;
use super::mux::PeerKey;
use super::peer::Peer;
use super::slot::Line;
use super::tracks::{Origin, TrackKey};
use super::{Datagram, Timer, Worker};
use crate::base::counters::DropReason;
use crate::base::ids::{ParticipantId, TrackId};
use crate::base::limits::{
    ALLOCATION_INTERVAL, DATAGRAM_OUT_BYTES_MAX, ENCODINGS_MAX, FLUSH_BYTES,
};
use crate::media::encoding::Choice;
use crate::media::packet::{Head, Packet};
use crate::room::mail::{Outgoing, RoomLetter, ToWorker, TrackLetter, TrackRef};
use crate::wire::codec::Kind;

/// Between two reports of what a microphone hears. Shorter is more letters; longer shows a new
/// speaker later.
const LEVELS_INTERVAL: Duration = Duration::from_millis(60);

/// One slot that gets one track's packets of this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    pub peer: PeerKey,
    pub line: Line,
    pub track: TrackKey,
}

impl Worker {
    /// A packet of a track that a peer of this worker publishes.
    pub(super) fn take_packet(&mut self, id: TrackId, mut packet: Packet<'_>, now: Instant) {
        let Some(local) = self.tracks.local(id) else {
            return;
        };
        if local.muted {
            return self.counters.drop(DropReason::Muted, 1);
        }
        // Both only grow, so their sum is never again what it was.
        packet.head.take = packet.head.take.wrapping_add(local.take);
        let codec = packet.head.codec;
        let news = local.codec != Some(codec);
        local.codec = Some(codec);
        let encoding = packet.head.encoding;
        if packet.head.starts_keyframe && codec.kind() == Kind::Video {
            self.counters.keyframes += 1;
            local.keyframes[usize::from(encoding)].arrived();
            self.deadlines.clear(Timer::Keyframe(id, encoding));
        } else if !self.tracks.has_begun(id, encoding) {
            // There was nobody to ask before there was a stream.
            self.ask_publisher((id, encoding), now);
        }
        if codec.kind() == Kind::Audio {
            self.hear(id, &packet.head, now);
        }
        if news && let Some(local) = self.tracks.local(id) {
            let peer = &self.peers[local.peer.0];
            let letter =
                ToWorker::Room(peer.room.clone(), RoomLetter::TrackCodec { track: id, codec });
            self.letters.push(Outgoing::Worker(peer.address.home, letter));
        }
        if packet.bytes() > DATAGRAM_OUT_BYTES_MAX {
            self.counters.drop(DropReason::Oversize, 1);
        } else if !self.tracks.push(id, &packet) {
            self.counters.drop(DropReason::TrackFull, 1);
        }
    }

    /// A packet of sound says how loud it is: its room hears of voices in it.
    fn hear(&mut self, id: TrackId, head: &Head, now: Instant) {
        let Some(local) = self.tracks.local(id) else { return };
        let (Some(levels), Some(level)) = (&mut local.levels, head.extensions.audio_level) else {
            return;
        };
        levels.packet(head.timestamp, level & 0x7f, level & 0x80 != 0);
        let due = |at| now.saturating_duration_since(at) >= LEVELS_INTERVAL;
        if !local.told_levels.is_none_or(due) {
            return;
        }
        local.told_levels = Some(now);
        if let Some(summary) = levels.take(now) {
            let Peer { room, address, .. } = &self.peers[local.peer.0];
            let letter = RoomLetter::Levels { track: id, summary };
            let letter = ToWorker::Room(room.clone(), letter);
            self.letters.push(Outgoing::Worker(address.home, letter));
        }
    }

    /// Near the end of the turn: finds who gets what of all that came in.
    pub fn route(&mut self, now: Instant) {
        self.guard(now, |worker| worker.settle(now));
        self.plan_visits();
    }

    /// End of the turn, after [`Worker::route`]: each subscriber is visited once with all packets
    /// that came for it. `true` if there is more than is sent at once: send what there is, and call
    /// again before anything else comes in.
    pub fn flush(&mut self, now: Instant) -> bool {
        while self.visited < self.visits.len() {
            if self.transmits.end() >= FLUSH_BYTES {
                return true;
            }
            let peer = self.visits[self.visited].peer;
            let rest = self.visits[self.visited..].iter();
            let count = rest.take_while(|visit| visit.peer == peer).count();
            let visits = self.visited..self.visited + count;
            self.visited = visits.end;
            self.guard(now, |worker| {
                for at in visits {
                    worker.serve(worker.visits[at], now);
                }
            });
        }
        self.visited = 0;
        self.visits.clear();
        self.tracks.settle();
        self.guard(now, |worker| worker.settle(now));
        self.handoff.post(&mut self.outbox);
        false
    }

    /// Who gets something in this turn, by peer, so that each is visited once; and what other
    /// workers get.
    fn plan_visits(&mut self) {
        for key in self.tracks.dirty() {
            let Some(track) = self.tracks.at(*key) else {
                continue;
            };
            let subscribers = track.subscribers.iter();
            self.visits.extend(subscribers.map(|&(peer, line)| Visit { peer, line, track: *key }));
            if let Origin::Local(local) = &track.origin {
                for worker in &local.relays {
                    self.counters.packets_relayed += track.fresh_count() as u64;
                    if let Some(batch) = self.handoff.packets(*worker) {
                        let fresh = track.encodings.iter().flat_map(|e| e.cache.fresh());
                        fresh.for_each(|packet| batch.push(track.id, &packet));
                    }
                }
            }
        }
        // Subscribers came in any order; the tracks of one stay in the order in which they got
        // their first packet.
        self.visits.sort_by_key(|visit| visit.peer);
    }

    fn serve(&mut self, Visit { peer: key, line, track }: Visit, now: Instant) {
        self.at_work = AtWork::Peer(key);
        // Either may have ended in this very turn, or something else have taken its place.
        let (Some(peer), Some(track)) = (self.peers.get_mut(key.0), self.tracks.at(track)) else {
            return;
        };
        let send_time = self.clock.send_time(now);
        let out = (&mut self.transmits, &mut self.counters);
        let Some((slot, mut sending)) = peer.sending(line, now, send_time, out) else {
            return;
        };
        if slot.track.is_none_or(|sits| sits.id != track.id) {
            return;
        }
        let sent = slot.send(&track.encodings, &mut sending);
        let wanted = slot.track.zip(sent.wants_keyframe);
        let is_video = track.source.kind() == Kind::Video;
        let misses = slot.misses(&track.encodings);
        self.counters.packets_forwarded += sent.packets;
        peer.downlink.tell(now);
        if sent.packets > 0 && peer.feedback.armed.is_none() {
            self.will_report(key, now);
        }
        if is_video {
            let soon = if sent.packets > 0 { ALLOCATION_INTERVAL } else { Duration::ZERO };
            if sent.packets > 0 || misses {
                self.will_allocate(key, now + soon);
            }
        }
        if let Some(at) = sent.rest_at {
            self.will_pace(key, at);
        }
        if let Some((track, encoding)) = wanted {
            self.want_keyframe(track, encoding, now);
        }
    }

    /// [`Worker::route`] and [`Worker::flush`] to its end; all that leaves, each with its bytes. For tests and simulation.
    pub fn flush_all(&mut self, now: Instant) -> Vec<Datagram> {
        let mut datagrams = Vec::new();
        self.route(now);
        while self.flush(now) {
            datagrams.extend(self.transmits.take());
        }
        datagrams.extend(self.transmits.take());
        datagrams
    }

    /// Sends a participant that of what sits in its slot, whatever its path carries. For tests.
    pub fn hold(&mut self, participant: ParticipantId, mid: &str, choice: Option<Choice>) {
        let key = self.by_participant.get(&participant).copied();
        let slots = key.and_then(|key| Some(&mut self.peers.get_mut(key.0)?.slots));
        let slot = slots.and_then(|slots| slots.iter_mut().find(|slot| slot.agreed.name == mid));
        if let Some(slot) = slot {
            slot.hold(choice);
        }
    }

    /// A subscriber cannot show a track before a keyframe comes.
    pub(super) fn want_keyframe(&mut self, track: TrackRef, encoding: u8, now: Instant) {
        if track.kind == Kind::Audio {
            return;
        }
        if track.worker == self.config.id {
            self.want_own_keyframe((track.id, encoding), now);
        } else {
            let letter = ToWorker::Track(track.id, TrackLetter::RequestKeyframe { encoding });
            self.letters.push(Outgoing::Worker(track.worker, letter));
        }
    }

    pub(super) fn want_own_keyframe(&mut self, place: (TrackId, u8), now: Instant) {
        let kind = self.tracks.get(place.0).map(|track| track.source.kind());
        if let Some(local) = self.tracks.local(place.0).filter(|_| kind == Some(Kind::Video))
            && let Some(keyframes) = local.keyframes.get_mut(usize::from(place.1))
        {
            keyframes.want();
            self.ask_publisher(place, now);
        }
    }

    /// From now on a track's packets are dropped, or forwarded again. What it sends may overtake
    /// the word that it is unmuted, so subscribers begin with the next keyframe, which is asked
    /// for; whoever came meanwhile must have one anyway.
    pub(super) fn set_muted(&mut self, id: TrackId, muted: bool, now: Instant) {
        let Some(local) = self.tracks.local(id).filter(|l| l.muted != muted) else {
            return;
        };
        local.muted = muted;
        local.take = local.take.wrapping_add(u32::from(!muted));
        for encoding in 0..ENCODINGS_MAX as u8 {
            if muted {
                self.deadlines.clear(Timer::Keyframe(id, encoding));
            } else if self.tracks.has_begun(id, encoding) {
                self.want_own_keyframe((id, encoding), now);
            }
        }
    }

    /// Sends a keyframe request if one is due, and comes back until a keyframe came.
    pub(super) fn ask_publisher(&mut self, place: (TrackId, u8), now: Instant) {
        let (id, encoding) = place;
        // A keyframe of a muted track would be dropped.
        let Some(local) = self.tracks.local(id).filter(|l| !l.muted) else {
            return;
        };
        let Some(keyframes) = local.keyframes.get(usize::from(encoding)) else { return };
        let (key, due) = (local.peer, keyframes.is_due(now));
        self.at_work = AtWork::Peer(key);
        let asked = due && self.request_keyframe(key, place, now);
        if asked {
            self.counters.keyframe_requests += 1;
        }
        let Some(local) = self.tracks.local(id) else {
            return;
        };
        let keyframes = &mut local.keyframes[usize::from(encoding)];
        if asked {
            keyframes.asked(now);
        }
        let timer = Timer::Keyframe(id, encoding);
        match keyframes.deadline(now) {
            // No stream is known that could be asked: its first packet comes back here.
            Some(_) if due && !asked => self.deadlines.clear(timer),
            Some(at) => self.deadlines.set(timer, at),
            None => self.deadlines.clear(timer),
        }
    }
}
