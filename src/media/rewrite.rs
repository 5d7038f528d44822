//! One slot's outgoing stream: whatever track sits in it, the receiver sees one SSRC with
//! continuous sequence numbers, timestamps that only move forward, and continuous picture ids.

use std::sync::Arc;
use std::time::Instant;

use super::packet::Packet;
use crate::base::counters::DropReason;
use crate::wire::codec::Codec;
use crate::wire::payload;

/// The continuous side of a slot, over all tracks that sit in it.
#[derive(Debug)]
pub struct Rewriter {
    source: Option<Source>,
    /// Highest sequence number sent.
    last_seq: u64,
    /// Of the newest frame sent.
    last_timestamp: u32,
    last_sent: Option<Instant>,
    /// Counters as last sent: 15-bit picture id, TL0PICIDX, dependency descriptor frame number.
    last_picture_id: u16,
    last_tl0: u8,
    last_frame_number: u16,
}

/// How the present track's numbers become the slot's: by constant differences.
#[derive(Debug)]
struct Source {
    ssrc: u32,
    take: u32,
    codec: Codec,
    /// Packets before this sequence number belong before the keyframe that we began with.
    first_seq: u64,
    seq_delta: u64,
    timestamp_delta: u32,
    picture_id_delta: u16,
    tl0_delta: u8,
    frame_number_delta: u16,
}

/// A packet as the slot sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    pub seq: u64,
    pub timestamp: u32,
    pub payload: Arc<[u8]>,
    pub dependency_descriptor: Option<Arc<[u8]>>,
}

impl Rewriter {
    /// A slot that has sent nothing. `seq` is where its numbers begin, below 2^15 so that a
    /// receiver which loses the first packets guesses the rollover counter right (RFC 3711 §3.3.1).
    pub fn new(seq: u16, timestamp: u32) -> Rewriter {
        Rewriter {
            source: None,
            last_seq: u64::from(seq & 0x7fff),
            last_timestamp: timestamp,
            last_sent: None,
            last_picture_id: 0,
            last_tl0: 0,
            last_frame_number: 0,
        }
    }

    /// The next packets come from another track, or from the same one after a gap: wait for a
    /// place where a decoder can begin.
    pub fn restart(&mut self) {
        self.source = None;
    }

    /// Whether nothing is sent until a keyframe begins.
    pub fn awaits_keyframe(&self) -> bool {
        self.source.is_none()
    }

    /// The packet as this slot sends it, or why it is not sent.
    pub fn rewrite(&mut self, packet: &Packet) -> Result<Rewritten, DropReason> {
        let same =
            |s: &Source| (s.codec, s.ssrc, s.take) == (packet.codec, packet.ssrc, packet.take);
        if !self.source.as_ref().is_none_or(same) {
            self.restart();
        }
        let source = match self.source.take() {
            Some(source) => source,
            None if packet.starts_keyframe => self.begin(packet),
            None => return Err(DropReason::AwaitingKeyframe),
        };
        let source = &*self.source.insert(source);
        if packet.seq < source.first_seq {
            return Err(DropReason::Stale);
        }
        let rewritten = Rewritten {
            seq: packet.seq.wrapping_add(source.seq_delta),
            timestamp: packet.timestamp.wrapping_add(source.timestamp_delta),
            payload: source.payload(packet),
            dependency_descriptor: source.dependency_descriptor(packet),
        };
        self.remember(packet, &rewritten);
        Ok(rewritten)
    }

    /// The differences that put `packet` right behind what was sent last.
    fn begin(&self, packet: &Packet) -> Source {
        let clock_hz = packet.codec.clock_hz();
        let next_timestamp = match self.last_sent {
            None => self.last_timestamp,
            Some(sent) => {
                let elapsed = packet.received.saturating_duration_since(sent);
                let ticks = (elapsed.as_micros() * u128::from(clock_hz) / 1_000_000) as u32;
                self.last_timestamp.wrapping_add(ticks.max(1))
            }
        };
        let counters = Counters::read(packet);
        Source {
            ssrc: packet.ssrc,
            take: packet.take,
            codec: packet.codec,
            first_seq: packet.seq,
            seq_delta: (self.last_seq + 1).wrapping_sub(packet.seq),
            timestamp_delta: next_timestamp.wrapping_sub(packet.timestamp),
            picture_id_delta: counters
                .picture_id
                .map_or(0, |(_, _, id)| self.last_picture_id.wrapping_add(1).wrapping_sub(id)),
            tl0_delta: counters
                .tl0
                .map_or(0, |(_, tl0)| self.last_tl0.wrapping_add(1).wrapping_sub(tl0)),
            frame_number_delta: frame_number(packet)
                .map_or(0, |n| self.last_frame_number.wrapping_add(1).wrapping_sub(n)),
        }
    }

    fn remember(&mut self, packet: &Packet, sent: &Rewritten) {
        if sent.seq <= self.last_seq {
            return;
        }
        self.last_seq = sent.seq;
        self.last_timestamp = sent.timestamp;
        self.last_sent = Some(packet.received);
        let Some(source) = &self.source else { return };
        let counters = Counters::read(packet);
        if let Some((_, _, id)) = counters.picture_id {
            self.last_picture_id = id.wrapping_add(source.picture_id_delta);
        }
        if let Some((_, tl0)) = counters.tl0 {
            self.last_tl0 = tl0.wrapping_add(source.tl0_delta);
        }
        if let Some(number) = frame_number(packet) {
            self.last_frame_number = number.wrapping_add(source.frame_number_delta);
        }
    }
}

impl Source {
    /// The payload with continuous counters; shared with the publisher's where nothing differs.
    fn payload(&self, packet: &Packet) -> Arc<[u8]> {
        if self.picture_id_delta == 0 && self.tl0_delta == 0 {
            return packet.payload.clone();
        }
        let counters = Counters::read(packet);
        let mut payload = packet.payload.to_vec();
        if let Some((offset, bits, id)) = counters.picture_id {
            payload::write_picture_id(
                &mut payload,
                offset,
                bits,
                id.wrapping_add(self.picture_id_delta),
            );
        }
        if let Some((offset, tl0)) = counters.tl0 {
            payload::write_tl0_pic_idx(&mut payload, offset, tl0.wrapping_add(self.tl0_delta));
        }
        payload.into()
    }

    fn dependency_descriptor(&self, packet: &Packet) -> Option<Arc<[u8]>> {
        let descriptor = packet.extensions.dependency_descriptor.as_ref()?;
        let Some(number) = frame_number(packet).filter(|_| self.frame_number_delta != 0) else {
            return Some(descriptor.clone());
        };
        let mut bytes = descriptor.to_vec();
        if let [_, high, low, ..] = &mut bytes[..] {
            [*high, *low] = number.wrapping_add(self.frame_number_delta).to_be_bytes();
        }
        Some(bytes.into())
    }
}

/// The counters of one payload, wherever its codec keeps them.
struct Counters {
    picture_id: Option<(usize, u32, u16)>,
    tl0: Option<(usize, u8)>,
}

impl Counters {
    fn read(packet: &Packet) -> Counters {
        let none = Counters { picture_id: None, tl0: None };
        match packet.codec {
            Codec::Vp8 => payload::vp8_counters(&packet.payload)
                .map_or(none, |c| Counters { picture_id: c.picture_id, tl0: c.tl0_pic_idx }),
            Codec::Vp9 { .. } => {
                Counters { picture_id: payload::vp9_picture_id(&packet.payload), tl0: None }
            }
            _ => none,
        }
    }
}

/// The frame number in the mandatory fields of a dependency descriptor (AV1 RTP specification
/// §A.8.1): two bits, six bits of template id, then sixteen of frame number.
fn frame_number(packet: &Packet) -> Option<u16> {
    let [_, high, low, ..] = **packet.extensions.dependency_descriptor.as_ref()? else {
        return None;
    };
    Some(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::packet::Extensions;
    use std::time::Duration;

    fn vp8(at: Instant, seq: u64, timestamp: u32, picture_id: u16, keyframe: bool) -> Packet {
        let [high, low] = (picture_id | 0x8000).to_be_bytes();
        let payload = [0x90, 0xe0, high, low, picture_id as u8, 0x20, u8::from(!keyframe)];
        Packet {
            ssrc: 1,
            take: 0,
            seq,
            timestamp,
            marker: true,
            codec: Codec::Vp8,
            starts_keyframe: payload::starts_keyframe(Codec::Vp8, &payload),
            payload: Arc::from(&payload[..]),
            extensions: Extensions::default(),
            received: at,
        }
    }

    fn picture_id(r: &Rewritten) -> u16 {
        payload::vp8_counters(&r.payload).unwrap().picture_id.unwrap().2
    }

    #[test]
    fn nothing_leaves_before_a_keyframe() {
        let now = Instant::now();
        let mut slot = Rewriter::new(7, 0);
        assert_eq!(slot.rewrite(&vp8(now, 1, 0, 1, false)), Err(DropReason::AwaitingKeyframe));
        assert!(slot.awaits_keyframe());
        let first = slot.rewrite(&vp8(now, 2, 3000, 2, true)).unwrap();
        assert_eq!(first.seq, 8);
        assert!(!slot.awaits_keyframe());
        assert_eq!(slot.rewrite(&vp8(now, 1, 0, 1, false)), Err(DropReason::Stale));
    }

    #[test]
    fn a_switch_leaves_no_seam() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut slot = Rewriter::new(100, 5_000);
        slot.rewrite(&vp8(at(0), 10, 90_000, 500, true)).unwrap();
        let before = slot.rewrite(&vp8(at(33), 11, 93_000, 501, false)).unwrap();
        slot.restart();
        assert_eq!(
            slot.rewrite(&vp8(at(40), 9_000, 7, 40, false)),
            Err(DropReason::AwaitingKeyframe)
        );
        let after = slot.rewrite(&vp8(at(133), 9_001, 1_000, 41, true)).unwrap();
        assert_eq!(after.seq, before.seq + 1);
        assert_eq!(after.timestamp, before.timestamp + 9_000, "100 ms at 90 kHz");
        assert_eq!(picture_id(&after), picture_id(&before) + 1);
        let next = slot.rewrite(&vp8(at(166), 9_002, 4_000, 42, false)).unwrap();
        assert_eq!((next.seq, next.timestamp), (after.seq + 1, after.timestamp + 3_000));
        assert_eq!(picture_id(&next), picture_id(&after) + 1);
    }

    #[test]
    fn what_was_left_out_while_muted_leaves_no_seam() {
        let start = Instant::now();
        let mut slot = Rewriter::new(100, 5_000);
        let before = slot.rewrite(&vp8(start, 10, 90_000, 500, true)).unwrap();
        let again = |seq, keyframe| Packet {
            take: 1,
            ..vp8(start + Duration::from_millis(900), seq, 171_000, 510, keyframe)
        };
        assert_eq!(slot.rewrite(&again(19, false)), Err(DropReason::AwaitingKeyframe));
        let after = slot.rewrite(&again(20, true)).unwrap();
        assert_eq!((after.seq, after.timestamp), (before.seq + 1, before.timestamp + 81_000));
        assert_eq!(picture_id(&after), picture_id(&before) + 1);
    }

    #[test]
    fn loss_and_reordering_stay_visible() {
        let now = Instant::now();
        let mut slot = Rewriter::new(0, 0);
        let first = slot.rewrite(&vp8(now, 10, 0, 0, true)).unwrap();
        let third = slot.rewrite(&vp8(now, 12, 0, 2, false)).unwrap();
        let second = slot.rewrite(&vp8(now, 11, 0, 1, false)).unwrap();
        assert_eq!((second.seq, third.seq), (first.seq + 1, first.seq + 2));
    }

    #[test]
    fn frame_numbers_of_the_dependency_descriptor_continue() {
        let now = Instant::now();
        let packet = |seq, number: u16| Packet {
            codec: Codec::Av1 { profile: 0 },
            payload: Arc::from(&[0x08u8][..]),
            starts_keyframe: true,
            extensions: Extensions {
                dependency_descriptor: Some(Arc::from(
                    &[0xc0, (number >> 8) as u8, number as u8, 1][..],
                )),
                ..Extensions::default()
            },
            ..vp8(now, seq, 0, 0, true)
        };
        let number = |r: &Rewritten| {
            let d = r.dependency_descriptor.as_ref().unwrap();
            u16::from_be_bytes([d[1], d[2]])
        };
        let mut slot = Rewriter::new(0, 0);
        let a = slot.rewrite(&packet(1, 65_535)).unwrap();
        let b = slot.rewrite(&packet(2, 0)).unwrap();
        assert_eq!(number(&b), number(&a).wrapping_add(1));
        slot.restart();
        let c = slot.rewrite(&packet(900, 77)).unwrap();
        assert_eq!(number(&c), number(&b).wrapping_add(1));
        assert_eq!(c.dependency_descriptor.unwrap()[3], 1, "the rest passes as it is");
    }
}
