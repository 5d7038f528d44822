//! One RTP packet on its way through, as subscriptions see it.

use std::time::Instant;

use super::extensions::Extensions;
use crate::wire::codec::Codec;
use crate::wire::frame::Frame;
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
    /// Which encoding of its track (simulcast), from 0 in the order of the offer.
    pub encoding: u8,
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
    /// Of which layers it is.
    pub frame: Frame,
    /// As they stand in the payload.
    pub counters: Counters,
    pub extensions: Extensions,
    /// When its datagram was received.
    pub received: Instant,
}
