//! Packets on their way to another worker.

use super::cache::Stored;
use super::clock::StreamAnchor;
use super::packet::Packet;
use crate::base::ids::TrackId;

/// Each packet is copied once, into a buffer that the receiver keeps. It puts one of its own in the
/// place, so that a batch that went and came back is filled again without anything allocated.
#[derive(Debug, Default)]
pub struct PacketBatch {
    /// From `len` on, buffers for more.
    entries: Vec<(TrackId, Stored)>,
    len: usize,
    anchors: Vec<(TrackId, StreamAnchor)>,
}

/// Buffers that an empty batch keeps: what a turn of the loop takes in.
const SPARE_MAX: usize = 256;

impl PacketBatch {
    /// Appends a packet of a track. One that is longer than what may be sent is left out.
    pub fn push(&mut self, track: TrackId, packet: &Packet<'_>) {
        if self.len == self.entries.len() {
            self.entries.push((track, Stored::empty(packet.head)));
        }
        let Some((id, stored)) = self.entries.get_mut(self.len) else { return };
        if stored.write(packet) {
            *id = track;
            self.len += 1;
        }
    }

    /// All of them, in the order in which they were appended.
    pub fn packets(&mut self) -> impl Iterator<Item = (TrackId, &mut Stored)> {
        self.entries.iter_mut().take(self.len).map(|(track, stored)| (*track, stored))
    }

    /// Appends which timestamp of a track's stream stands for which moment.
    pub fn anchor(&mut self, track: TrackId, anchor: StreamAnchor) {
        self.anchors.push((track, anchor));
    }

    /// All that were appended.
    pub fn anchors(&self) -> impl Iterator<Item = (TrackId, StreamAnchor)> {
        self.anchors.iter().copied()
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.anchors.is_empty()
    }

    /// Forgets what it carries, and keeps the buffers.
    pub fn clear(&mut self) {
        self.entries.truncate(SPARE_MAX);
        self.len = 0;
        self.anchors.clear();
    }
}
