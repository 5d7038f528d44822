//! The packets of one SSRC: RTP whose payload says who sent it, and when.

use std::time::Duration;

use super::offer::{AUDIO_PT, TRANSPORT_ID, VIDEO_PT};
use crate::wire::rtcp::ReportBlock;
use crate::wire::rtp::{Fixed, Writer};

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

const STAMP_BYTES: usize = 16;
const MAGIC: u32 = 0x5472_6b79;
const FILLING: u8 = 0x55;

/// Where a packet stands in its frame.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub keyframe: bool,
    pub first: bool,
    pub last: bool,
    /// Its number among all that the client sends, if they have one.
    pub transport: Option<u16>,
}

impl Outgoing {
    pub fn new(ssrc: u32, is_video: bool) -> Outgoing {
        // Sequence numbers begin below 2^15 (RFC 3711 §3.3.1).
        let index = u64::from(ssrc % 30_000);
        Outgoing { ssrc, is_video, index, timestamp: ssrc, picture_id: 1, packets: 0, bytes: 0 }
    }

    /// Appends the next packet, so many bytes long before it is sealed; how many of them are its
    /// header, and the index to seal it with.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        len: usize,
        place: Place,
        stamp: Stamp,
    ) -> (usize, u64) {
        let index = self.index;
        let start = out.len();
        let fixed = Fixed {
            payload_type: if self.is_video { VIDEO_PT } else { AUDIO_PT },
            marker: place.last && self.is_video,
            seq: index as u16,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut writer = Writer::begin(out, fixed, false);
        if let Some(number) = place.transport {
            writer.element(TRANSPORT_ID, &number.to_be_bytes());
        }
        let header_bytes = writer.end();
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
        self.bytes = self.bytes.wrapping_add((len - header_bytes) as u32);
        (header_bytes, index)
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

    /// What a report says of it, as far as it is known here.
    pub fn block(&self) -> ReportBlock {
        ReportBlock {
            ssrc: self.ssrc,
            lost: self.lost().min(0x7f_ffff) as i32,
            highest_seq: self.highest as u32,
            ..ReportBlock::default()
        }
    }

    /// Packets that are missing since the first.
    fn lost(&self) -> u64 {
        (self.highest + 1 - self.first).saturating_sub(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::payload;
    use crate::wire::rtp::Header;

    #[test]
    fn a_packet_is_what_the_server_thinks_it_is() {
        let mut stream = Outgoing::new(7, true);
        let from = Id { room: 3, member: 500 };
        let stamp = Stamp { from, sent: Duration::from_nanos(123_456_789_012) };
        let cases = [(true, true, None), (true, false, Some(77)), (false, true, Some(78))];
        for (first, keyframe, transport) in cases {
            let mut packet = vec![1, 2];
            let place = Place { keyframe, first, last: !first, transport };
            let (header_bytes, index) = stream.write(&mut packet, 100, place, stamp);
            let packet = &packet[2..];
            assert_eq!(packet.len(), 100);
            let header = Header::parse(packet).expect("whole");
            assert_eq!((header.bytes, header.seq), (header_bytes, index as u16));
            let number = header.elements(packet).find(|(id, _)| *id == TRANSPORT_ID);
            let value = transport.map(u16::to_be_bytes);
            assert_eq!(number.map(|(_, value)| value), value.as_ref().map(|v| &v[..]));
            let body = &packet[header_bytes..];
            assert_eq!(payload::starts_keyframe(Codec::Vp8, body), first && keyframe);
            assert!(payload::counters(Codec::Vp8, body).picture_id.is_some());
            assert_eq!(Stamp::read(body), Some(stamp));
            let mut broken = body.to_vec();
            broken[40] ^= 1;
            assert_eq!(Stamp::read(&broken), None);
            assert_eq!(Stamp::read(&body[..10]), None);
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
