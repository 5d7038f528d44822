//! One RTP packet on its way through, as subscriptions see it.

use std::sync::Arc;
use std::time::Instant;

use crate::wire::codec::Codec;

/// A publisher's packet. Cheap to clone within a worker: the payload is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The publisher's stream; another one starts its numbers anew.
    pub ssrc: u32,
    /// How often the track was unmuted: from one to the next its numbers have gaps that are no
    /// loss.
    pub take: u32,
    /// Extended sequence number of the publisher's stream.
    pub seq: u64,
    /// RTP timestamp in the codec's clock.
    pub timestamp: u32,
    pub marker: bool,
    pub codec: Codec,
    /// A decoder can begin here: the first packet of a keyframe; every packet of audio.
    pub starts_keyframe: bool,
    pub payload: Arc<[u8]>,
    pub extensions: Extensions,
    /// When its datagram was received.
    pub received: Instant,
}

/// Header extensions that pass through an SFU unchanged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RFC 6464: level in -dBov (0 to 127 as negative) and voice activity.
    pub audio_level: Option<(i8, bool)>,
    /// 3GPP TS 26.114 §7.4.5: rotation, as its byte's low three bits.
    pub video_orientation: Option<u8>,
    /// 0 unspecified, 1 screen content (the `video-content-type` experiment of WebRTC).
    pub video_content_type: Option<u8>,
    /// Least and most playout delay in steps of 10 ms (the `playout-delay` experiment of WebRTC):
    /// how a sender of games or remote desktops asks for no jitter buffer.
    pub playout_delay: Option<(u16, u16)>,
    /// AV1 RTP specification, appendix A, as it came.
    pub dependency_descriptor: Option<Arc<[u8]>>,
}

impl Packet {
    /// A copy that shares nothing, for another worker (no shared refcount on the packet path).
    pub fn detached(&self) -> Packet {
        Packet {
            payload: Arc::from(&self.payload[..]),
            extensions: Extensions {
                dependency_descriptor: self
                    .extensions
                    .dependency_descriptor
                    .as_deref()
                    .map(Arc::from),
                ..self.extensions.clone()
            },
            ..self.clone()
        }
    }
}
