//! One RTP packet on its way through, as subscriptions see it.

use std::time::Instant;

use super::clock::Anchor;
use super::extensions::Extensions;
use crate::base::ids::TrackId;
use crate::wire::codec::Codec;
use crate::wire::payload::Counters;

/// A publisher's packet, wherever its bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    pub head: Head,
    pub payload: &'a [u8],
    /// A dependency descriptor (AV1 RTP specification, appendix A), as it came; empty if none did.
    pub descriptor: &'a [u8],
}

impl Packet<'_> {
    /// Of payload and descriptor.
    pub fn bytes(&self) -> usize {
        self.payload.len() + self.descriptor.len()
    }
}

/// What is known of a packet besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The publisher's stream; another one starts its numbers anew.
    pub ssrc: u32,
    /// Differs where a stream was unmuted, or forgotten and begun anew: its numbers have gaps then
    /// that are no loss, or come a second time, under which no subscriber may be sent anything else
    /// (RFC 3711 §9.1).
    pub take: u32,
    /// Extended sequence number of the publisher's stream.
    pub seq: u64,
    /// RTP timestamp in the codec's clock.
    pub timestamp: u32,
    pub marker: bool,
    pub codec: Codec,
    /// A decoder can begin here: the first packet of a keyframe; every packet of audio.
    pub starts_keyframe: bool,
    /// As they stand in the payload.
    pub counters: Counters,
    pub extensions: Extensions,
    /// When its datagram was received.
    pub received: Instant,
}

/// Packets on their way to another worker: one copy, in one piece.
#[derive(Debug, Default)]
pub struct PacketBatch {
    entries: Vec<BatchEntry>,
    bytes: Vec<u8>,
    anchors: Vec<(TrackId, u32, Anchor)>,
}

#[derive(Debug)]
struct BatchEntry {
    track: TrackId,
    head: Head,
    descriptor: usize,
    payload: usize,
}

impl PacketBatch {
    /// Appends a packet of a track.
    pub fn push(&mut self, track: TrackId, packet: &Packet<'_>) {
        let (descriptor, payload) = (packet.descriptor.len(), packet.payload.len());
        self.entries.push(BatchEntry { track, head: packet.head, descriptor, payload });
        self.bytes.extend_from_slice(packet.descriptor);
        self.bytes.extend_from_slice(packet.payload);
    }

    /// All of them, in the order in which they were appended.
    pub fn iter(&self) -> impl Iterator<Item = (TrackId, Packet<'_>)> {
        let mut rest = &self.bytes[..];
        self.entries.iter().filter_map(move |entry| {
            let (descriptor, tail) = rest.split_at_checked(entry.descriptor)?;
            let (payload, tail) = tail.split_at_checked(entry.payload)?;
            rest = tail;
            Some((entry.track, Packet { head: entry.head, payload, descriptor }))
        })
    }

    /// Appends which timestamp of a track's stream (SSRC) stands for which moment.
    pub fn anchor(&mut self, track: TrackId, ssrc: u32, anchor: Anchor) {
        self.anchors.push((track, ssrc, anchor));
    }

    /// All that were appended.
    pub fn anchors(&self) -> impl Iterator<Item = (TrackId, u32, Anchor)> {
        self.anchors.iter().copied()
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.anchors.is_empty()
    }
}
