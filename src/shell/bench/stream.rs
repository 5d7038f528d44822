//! The packets of one SSRC: RTP whose payload says who sent it, and when.

use std::time::Duration;

use super::offer::{AUDIO_PT, VIDEO_PT};

/// What a publisher sends on one SSRC to one receiver.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub ssrc: u32,
    pub is_video: bool,
    /// Index of the next packet: rollover counter and sequence number.
    pub index: u64,
    pub timestamp: u32,
    picture_id: u16,
    pub packets: u32,
    pub bytes: u32,
}

/// The end of each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The client that sent it.
    pub from: Id,
    /// Since the Unix epoch.
    pub sent: Duration,
}

/// Who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    /// Of all that are measured.
    pub room: u16,
    pub member: u16,
}

/// Of RTP, without extensions (RFC 3550 §5.1).
pub const HEADER_BYTES: usize = 12;
const STAMP_BYTES: usize = 16;
const MAGIC: u32 = 0x5472_6b79;
const FILLING: u8 = 0x55;

/// Where a packet stands in its frame.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub keyframe: bool,
    pub first: bool,
    pub last: bool,
}

impl Outgoing {
    pub fn new(ssrc: u32, is_video: bool) -> Outgoing {
        // Sequence numbers begin below 2^15 (RFC 3711 §3.3.1).
        let index = u64::from(ssrc % 30_000);
        Outgoing { ssrc, is_video, index, timestamp: ssrc, picture_id: 1, packets: 0, bytes: 0 }
    }

    /// Appends the next packet, so many bytes long before it is sealed; the index to seal it with.
    pub fn write(&mut self, out: &mut Vec<u8>, len: usize, place: Place, stamp: Stamp) -> u64 {
        let index = self.index;
        let start = out.len();
        let pt = if self.is_video { VIDEO_PT } else { AUDIO_PT };
        out.extend([0x80, pt | u8::from(place.last && self.is_video) << 7]);
        out.extend((index as u16).to_be_bytes());
        out.extend(self.timestamp.to_be_bytes());
        out.extend(self.ssrc.to_be_bytes());
        if self.is_video {
            self.describe(out, place);
        }
        out.resize(start + len - STAMP_BYTES, FILLING);
        out.extend(MAGIC.to_be_bytes());
        out.extend(stamp.from.room.to_be_bytes());
        out.extend(stamp.from.member.to_be_bytes());
        out.extend((stamp.sent.as_nanos() as u64).to_be_bytes());
        self.index += 1;
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add((len - HEADER_BYTES) as u32);
        index
    }

    /// VP8 as browsers send it (RFC 7741 §4.2, §4.3): a 15-bit PictureID, TL0PICIDX, and the first
    /// bytes of a frame.
    fn describe(&self, out: &mut Vec<u8>, place: Place) {
        let [high, low] = (self.picture_id & 0x7fff | 0x8000).to_be_bytes();
        out.extend([0x80 | u8::from(place.first) << 4, 0xe0, high, low, low, 0x20]);
        match (place.first, place.keyframe) {
            (true, true) => out.extend([0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]),
            (true, false) => out.extend([0x11, 0, 0]),
            (false, _) => {}
        }
    }

    /// What follows is of a later frame, so many ticks of the stream's clock.
    pub fn advance(&mut self, ticks: u32) {
        self.timestamp = self.timestamp.wrapping_add(ticks);
        self.picture_id = self.picture_id.wrapping_add(1);
    }
}

impl Stamp {
    /// Reads the end of a payload; `None` if it is none that [`Outgoing::write`] made.
    pub fn read(payload: &[u8]) -> Option<Stamp> {
        let (filling, stamp) = payload.split_last_chunk::<STAMP_BYTES>()?;
        let [magic @ .., r0, r1, m0, m1, _, _, _, _, _, _, _, _] = *stamp;
        let from = Id { room: u16::from_be_bytes([r0, r1]), member: u16::from_be_bytes([m0, m1]) };
        let (_, sent) = stamp.split_last_chunk::<8>()?;
        // Behind the descriptor and the frame's header.
        let intact = filling.iter().skip(16).all(|byte| *byte == FILLING);
        (u32::from_be_bytes(magic) == MAGIC && intact)
            .then_some(Stamp { from, sent: Duration::from_nanos(u64::from_be_bytes(*sent)) })
    }
}

/// Bytes of a packet's header with contributing sources and extensions (RFC 3550 §5.1, §5.3.1);
/// `None` if it is cut short.
pub fn header_bytes(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let fixed = HEADER_BYTES + 4 * usize::from(first & 0x0f);
    let bytes = match first & 0x10 {
        0 => fixed,
        _ => {
            let words = packet.get(fixed + 2..fixed + 4)?;
            fixed + 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]))
        }
    };
    (bytes <= packet.len()).then_some(bytes)
}

/// What came on one SSRC, from the numbers in its headers.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub ssrc: u32,
    /// Index of the newest packet.
    pub highest: u64,
    first: u64,
    received: u64,
}

impl Incoming {
    pub fn new(ssrc: u32, seq: u16) -> Incoming {
        let first = u64::from(seq);
        Incoming { ssrc, highest: first, first, received: 0 }
    }

    /// Counts a packet; its index.
    pub fn take(&mut self, seq: u16) -> u64 {
        let ahead = seq.wrapping_sub(self.highest as u16) as i16;
        let index = self.highest.saturating_add_signed(ahead.into());
        self.highest = self.highest.max(index);
        self.received += 1;
        index
    }

    /// Packets that are missing since the first.
    pub fn lost(&self) -> u64 {
        (self.highest + 1 - self.first).saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::payload;

    #[test]
    fn a_packet_is_what_the_server_thinks_it_is() {
        let mut stream = Outgoing::new(7, true);
        let from = Id { room: 3, member: 500 };
        let stamp = Stamp { from, sent: Duration::from_nanos(123_456_789_012) };
        for (first, keyframe) in [(true, true), (true, false), (false, true)] {
            let mut packet = vec![1, 2];
            let place = Place { keyframe, first, last: !first };
            let index = stream.write(&mut packet, 100, place, stamp);
            let packet = &packet[2..];
            assert_eq!(packet.len(), 100);
            assert_eq!(packet[2..4], (index as u16).to_be_bytes());
            assert_eq!(header_bytes(packet), Some(HEADER_BYTES));
            let body = &packet[HEADER_BYTES..];
            assert_eq!(payload::starts_keyframe(Codec::Vp8, body), first && keyframe);
            assert!(payload::vp8_counters(body).is_some_and(|(c, _)| c.picture_id.is_some()));
            assert_eq!(Stamp::read(body), Some(stamp));
            let mut broken = body.to_vec();
            broken[40] ^= 1;
            assert_eq!(Stamp::read(&broken), None);
            assert_eq!(Stamp::read(&body[..10]), None);
        }
    }

    #[test]
    fn headers_are_measured() {
        let extended =
            [0x91, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0xbe, 0xde, 0, 1, 5, 6, 7, 8];
        assert_eq!(header_bytes(&extended), Some(24));
        for cut in 0..24 {
            assert_eq!(header_bytes(&extended[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn what_is_missing_is_counted_across_the_wrap() {
        let mut stream = Incoming::new(1, 65_533);
        for seq in [65_533, 65_535, 65_534, 1, 3] {
            stream.take(seq);
        }
        assert_eq!(stream.highest, 65_539);
        assert_eq!(stream.lost(), 2);
    }
}
