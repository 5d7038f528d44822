//! From a track's packets to its subscribers, and from their needs to its publisher.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::collections::BTreeMap;
use std::time::Instant;

use str0m::media::Mid;

use super::guard::AtWork;
use super::mux::PeerKey;
use super::tracks::Origin;
use super::{Timer, Worker};
use crate::base::counters::DropReason;
use crate::base::ids::{TrackId, WorkerId};
use crate::media::packet::Packet;
use crate::room::mail::{Outgoing, RoomLetter, ToWorker, TrackLetter, TrackRef};
use crate::wire::codec::Kind;

impl Worker {
    /// A packet of a track that a peer of this worker publishes.
    pub(super) fn take_packet(&mut self, id: TrackId, mut packet: Packet, now: Instant) {
        let Some(local) = self.tracks.local(id) else {
            return;
        };
        if local.muted {
            return self.counters.drop(DropReason::Muted, 1);
        }
        packet.take = local.take;
        let codec = packet.codec;
        let news = local.codec != Some(codec);
        let first = local.codec.is_none();
        local.codec = Some(codec);
        if packet.starts_keyframe && codec.kind() == Kind::Video {
            self.counters.keyframes += 1;
            local.keyframes.arrived();
            self.deadlines.clear(Timer::Keyframe(id));
        } else if first {
            // There was nobody to ask before there was a stream.
            self.ask_publisher(id, now);
        }
        if news && let Some(local) = self.tracks.local(id) {
            let peer = &self.peers[local.peer.0];
            let letter =
                ToWorker::Room(peer.room.clone(), RoomLetter::TrackCodec { track: id, codec });
            self.letters.push(Outgoing::Worker(peer.address.home, letter));
        }
        self.tracks.push(id, [packet]);
    }

    /// End of the turn: each subscriber is visited once with all packets that came for it.
    pub fn flush(&mut self, now: Instant) {
        self.guard(now, |worker| worker.settle(now));
        let mut visits: BTreeMap<PeerKey, Vec<(Mid, usize)>> = BTreeMap::new();
        let mut batches: Vec<(TrackId, Vec<Packet>)> = Vec::new();
        for id in self.tracks.take_dirty() {
            let Some(track) = self.tracks.get_mut(id) else {
                continue;
            };
            let packets = std::mem::take(&mut track.inbox);
            for (key, mid) in &track.subscribers {
                visits.entry(*key).or_default().push((*mid, batches.len()));
            }
            if let Origin::Local(local) = &track.origin {
                for worker in &local.relays {
                    self.counters.packets_relayed += packets.len() as u64;
                    let copies = packets.iter().map(Packet::detached).collect();
                    self.relayed[worker.index()].push((id, copies));
                }
            }
            batches.push((id, packets));
        }
        for (key, slots) in visits {
            self.guard(now, |worker| worker.serve(key, &slots, &batches, now));
        }
        self.give_back(batches);
        self.guard(now, |worker| worker.settle(now));
        self.post();
    }

    fn serve(
        &mut self,
        key: PeerKey,
        slots: &[(Mid, usize)],
        batches: &[(TrackId, Vec<Packet>)],
        now: Instant,
    ) {
        self.at_work = AtWork::Peer(key);
        if !self.peers.contains(key.0) {
            // Its room ended in this very turn.
            return;
        }
        let mut wants = Vec::new();
        let mut written = 0;
        for (mid, batch) in slots {
            let (_, packets) = &batches[*batch];
            let peer = &mut self.peers[key.0];
            let sent = peer.send(*mid, packets, now, &mut self.counters);
            written += sent.packets;
            if sent.wants_keyframe
                && let Some(track) = peer.slot_of(*mid).and_then(|s| s.track)
            {
                wants.push(track);
            }
        }
        if written > 0 {
            self.counters.packets_forwarded += written;
            self.tick(key, now);
        }
        for track in wants {
            self.want_keyframe(track, now);
        }
    }

    /// The inboxes keep their memory for the next turn.
    fn give_back(&mut self, batches: Vec<(TrackId, Vec<Packet>)>) {
        for (id, mut packets) in batches {
            packets.clear();
            if let Some(track) = self.tracks.get_mut(id).filter(|t| t.inbox.is_empty()) {
                track.inbox = packets;
            }
        }
    }

    /// What was collected for other workers, one letter each.
    fn post(&mut self) {
        for (index, datagrams) in self.handed.iter_mut().enumerate().filter(|(_, d)| !d.is_empty())
        {
            let letter = ToWorker::Datagrams(std::mem::take(datagrams));
            self.outbox.push(Outgoing::Worker(WorkerId(index as u16), letter));
        }
        for (index, packets) in self.relayed.iter_mut().enumerate().filter(|(_, p)| !p.is_empty()) {
            let letter = ToWorker::Relay(std::mem::take(packets));
            self.outbox.push(Outgoing::Worker(WorkerId(index as u16), letter));
        }
    }

    /// A subscriber cannot show a track before a keyframe comes.
    pub(super) fn want_keyframe(&mut self, track: TrackRef, now: Instant) {
        if track.kind == Kind::Audio {
            return;
        }
        if track.worker == self.config.id {
            self.want_own_keyframe(track.id, now);
        } else {
            let letter = ToWorker::Track(track.id, TrackLetter::RequestKeyframe);
            self.letters.push(Outgoing::Worker(track.worker, letter));
        }
    }

    pub(super) fn want_own_keyframe(&mut self, id: TrackId, now: Instant) {
        if let Some(local) = self.tracks.local(id).filter(|l| l.kind == Kind::Video) {
            local.keyframes.want();
            self.ask_publisher(id, now);
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
        if muted {
            self.deadlines.clear(Timer::Keyframe(id));
        } else {
            local.take = local.take.wrapping_add(1);
            self.want_own_keyframe(id, now);
        }
    }

    /// Sends a keyframe request if one is due, and comes back until a keyframe came.
    pub(super) fn ask_publisher(&mut self, id: TrackId, now: Instant) {
        // A keyframe of a muted track would be dropped.
        let Some(local) = self.tracks.local(id).filter(|l| !l.muted) else {
            return;
        };
        let (key, due) = (local.peer, local.keyframes.is_due(now));
        self.at_work = AtWork::Peer(key);
        let asked = due && self.peers[key.0].request_keyframe(id);
        if asked {
            self.counters.keyframe_requests += 1;
            self.asking.push(key);
            local.keyframes.asked(now);
        }
        match local.keyframes.deadline(now) {
            // No stream is known that could be asked: its first packet comes back here.
            Some(_) if due && !asked => self.deadlines.clear(Timer::Keyframe(id)),
            Some(at) => self.deadlines.set(Timer::Keyframe(id), at),
            None => self.deadlines.clear(Timer::Keyframe(id)),
        }
    }
}
