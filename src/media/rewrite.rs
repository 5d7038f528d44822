//! One slot's outgoing stream: whatever track sits in it, the receiver sees one SSRC with
//! continuous sequence numbers, timestamps that only move forward, and continuous picture ids.

use std::time::Instant;

use super::packet::{Head, Packet};
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

/// What is different in a packet as the slot sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// Extended: above the 16 bits of the header stands the rollover counter of SRTP.
    pub seq: u64,
    pub timestamp: u32,
    /// Where it differs: offset, width and value of the PictureID; offset and value of TL0PICIDX;
    /// the frame number of the dependency descriptor.
    picture_id: Option<(usize, u32, u16)>,
    tl0_pic_idx: Option<(usize, u8)>,
    frame_number: Option<u16>,
}

impl Rewritten {
    /// Writes the slot's counters into a copy of the payload.
    pub fn patch_payload(&self, payload: &mut [u8]) {
        if let Some((offset, bits, id)) = self.picture_id {
            payload::write_picture_id(payload, offset, bits, id);
        }
        if let Some((offset, tl0)) = self.tl0_pic_idx {
            payload::write_tl0_pic_idx(payload, offset, tl0);
        }
    }

    /// Writes the slot's frame number into a copy of the dependency descriptor.
    pub fn patch_descriptor(&self, descriptor: &mut [u8]) {
        if let (Some(number), [_, high, low, ..]) = (self.frame_number, descriptor) {
            [*high, *low] = number.to_be_bytes();
        }
    }
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
    pub fn rewrite(&mut self, packet: &Packet<'_>) -> Result<Rewritten, DropReason> {
        if !self.source.as_ref().is_none_or(|source| source.is_of(&packet.head)) {
            self.restart();
        }
        let source = match self.source.take() {
            Some(source) => source,
            None if packet.head.starts_keyframe => self.begin(packet),
            None => return Err(DropReason::AwaitingKeyframe),
        };
        let source = self.source.insert(source);
        let rewritten = source.rewrite(packet).ok_or(DropReason::Stale)?;
        if rewritten.seq > self.last_seq {
            self.last_seq = rewritten.seq;
            self.last_timestamp = rewritten.timestamp;
            self.last_sent = Some(packet.head.received);
            let counters = &packet.head.counters;
            if let Some((_, _, id)) = counters.picture_id {
                self.last_picture_id = id.wrapping_add(source.picture_id_delta);
            }
            if let Some((_, tl0)) = counters.tl0_pic_idx {
                self.last_tl0 = tl0.wrapping_add(source.tl0_delta);
            }
            if let Some(number) = frame_number(packet) {
                self.last_frame_number = number.wrapping_add(source.frame_number_delta);
            }
        }
        Ok(rewritten)
    }

    /// Which packet of the present track left under that number: stream and number of the
    /// publisher's. `None` for one that has not left yet, or of a track before.
    pub fn origin(&self, seq: u16) -> Option<(u32, u64)> {
        let source = self.source.as_ref()?;
        let back = (self.last_seq as u16).wrapping_sub(seq);
        let sent = self.last_seq.checked_sub(back.into())?;
        let number = sent.wrapping_sub(source.seq_delta);
        (back < 1 << 15 && number >= source.first_seq).then_some((source.ssrc, number))
    }

    /// A packet of the present track once more, as it left before.
    pub fn again(&self, packet: &Packet<'_>) -> Option<Rewritten> {
        self.source.as_ref().filter(|source| source.is_of(&packet.head))?.rewrite(packet)
    }

    /// The timestamp of what would be captured now, as far as the last packet's arrival tells;
    /// `None` while nothing is sent.
    pub fn timestamp_at(&self, now: Instant) -> Option<u32> {
        let (sent, source) = (self.last_sent?, self.source.as_ref()?);
        let elapsed = now.saturating_duration_since(sent).as_micros();
        let ticks = elapsed * u128::from(source.codec.clock_hz()) / 1_000_000;
        Some(self.last_timestamp.wrapping_add(ticks as u32))
    }

    /// The clock of the present track's timestamps; `None` while nothing is sent.
    pub fn clock_hz(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.codec.clock_hz())
    }

    /// The timestamp that goes with one of the publisher's; `None` while nothing is sent.
    pub fn timestamp(&self, ssrc: u32, timestamp: u32) -> Option<u32> {
        let source = self.source.as_ref().filter(|source| source.ssrc == ssrc)?;
        Some(timestamp.wrapping_add(source.timestamp_delta))
    }

    /// The differences that put `packet` right behind what was sent last.
    fn begin(&self, packet: &Packet<'_>) -> Source {
        let head = &packet.head;
        let clock_hz = head.codec.clock_hz();
        let next_timestamp = match self.last_sent {
            None => self.last_timestamp,
            Some(sent) => {
                let elapsed = head.received.saturating_duration_since(sent);
                let ticks = (elapsed.as_micros() * u128::from(clock_hz) / 1_000_000) as u32;
                self.last_timestamp.wrapping_add(ticks.max(1))
            }
        };
        Source {
            ssrc: head.ssrc,
            take: head.take,
            codec: head.codec,
            first_seq: head.seq,
            seq_delta: (self.last_seq + 1).wrapping_sub(head.seq),
            timestamp_delta: next_timestamp.wrapping_sub(head.timestamp),
            picture_id_delta: (head.counters.picture_id)
                .map_or(0, |(_, _, id)| self.last_picture_id.wrapping_add(1).wrapping_sub(id)),
            tl0_delta: (head.counters.tl0_pic_idx)
                .map_or(0, |(_, tl0)| self.last_tl0.wrapping_add(1).wrapping_sub(tl0)),
            frame_number_delta: frame_number(packet)
                .map_or(0, |n| self.last_frame_number.wrapping_add(1).wrapping_sub(n)),
        }
    }
}

impl Source {
    fn is_of(&self, head: &Head) -> bool {
        (self.codec, self.ssrc, self.take) == (head.codec, head.ssrc, head.take)
    }

    /// `None` for a packet from before the keyframe that we began with.
    fn rewrite(&self, packet: &Packet<'_>) -> Option<Rewritten> {
        let head = &packet.head;
        let counters = &head.counters;
        (head.seq >= self.first_seq).then(|| Rewritten {
            seq: head.seq.wrapping_add(self.seq_delta),
            timestamp: head.timestamp.wrapping_add(self.timestamp_delta),
            picture_id: (counters.picture_id)
                .filter(|_| self.picture_id_delta != 0)
                .map(|(at, bits, id)| (at, bits, id.wrapping_add(self.picture_id_delta))),
            tl0_pic_idx: (counters.tl0_pic_idx)
                .filter(|_| self.tl0_delta != 0)
                .map(|(at, tl0)| (at, tl0.wrapping_add(self.tl0_delta))),
            frame_number: frame_number(packet)
                .filter(|_| self.frame_number_delta != 0)
                .map(|number| number.wrapping_add(self.frame_number_delta)),
        })
    }
}

/// The frame number in the mandatory fields of a dependency descriptor (AV1 RTP specification
/// §A.8.1): two bits, six bits of template id, then sixteen of frame number.
fn frame_number(packet: &Packet<'_>) -> Option<u16> {
    match *packet.descriptor {
        [_, high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::extensions::Extensions;

    /// A packet with bytes of its own.
    #[derive(Clone)]
    struct Owned {
        head: Head,
        payload: Vec<u8>,
        descriptor: Vec<u8>,
    }

    impl Owned {
        fn new(at: Instant, seq: u64, timestamp: u32, codec: Codec, payload: &[u8]) -> Owned {
            let head = Head {
                ssrc: 1,
                take: 0,
                seq,
                timestamp,
                marker: true,
                codec,
                starts_keyframe: payload::starts_keyframe(codec, payload),
                frame: payload::frame(codec, payload),
                counters: payload::counters(codec, payload),
                extensions: Extensions::default(),
                received: at,
            };
            Owned { head, payload: payload.to_vec(), descriptor: Vec::new() }
        }

        fn packet(&self) -> Packet<'_> {
            Packet { head: self.head, payload: &self.payload, descriptor: &self.descriptor }
        }
    }

    fn vp8(at: Instant, seq: u64, timestamp: u32, picture_id: u16, keyframe: bool) -> Owned {
        let [high, low] = (picture_id | 0x8000).to_be_bytes();
        let payload = [0x90, 0xe0, high, low, picture_id as u8, 0x20, u8::from(!keyframe)];
        Owned::new(at, seq, timestamp, Codec::Vp8, &payload)
    }

    /// The numbers of a packet as it left.
    #[derive(Debug, PartialEq, Eq)]
    struct Left {
        seq: u64,
        timestamp: u32,
        payload: Vec<u8>,
        descriptor: Vec<u8>,
    }

    fn leave(rewritten: &Rewritten, owned: &Owned) -> Left {
        let (mut payload, mut descriptor) = (owned.payload.clone(), owned.descriptor.clone());
        rewritten.patch_payload(&mut payload);
        rewritten.patch_descriptor(&mut descriptor);
        Left { seq: rewritten.seq, timestamp: rewritten.timestamp, payload, descriptor }
    }

    fn send(slot: &mut Rewriter, owned: &Owned) -> Result<Left, DropReason> {
        slot.rewrite(&owned.packet()).map(|rewritten| leave(&rewritten, owned))
    }

    fn picture_id(left: &Left) -> u16 {
        payload::counters(Codec::Vp8, &left.payload).picture_id.unwrap().2
    }

    #[test]
    fn nothing_leaves_before_a_keyframe() {
        let now = Instant::now();
        let mut slot = Rewriter::new(7, 0);
        let waiting = Err(DropReason::AwaitingKeyframe);
        assert_eq!(send(&mut slot, &vp8(now, 1, 0, 1, false)), waiting);
        assert!(slot.awaits_keyframe());
        let first = send(&mut slot, &vp8(now, 2, 3000, 2, true)).unwrap();
        assert_eq!(first.seq, 8);
        assert!(!slot.awaits_keyframe());
        assert_eq!(send(&mut slot, &vp8(now, 1, 0, 1, false)), Err(DropReason::Stale));
    }

    #[test]
    fn a_switch_leaves_no_seam() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut slot = Rewriter::new(100, 5_000);
        send(&mut slot, &vp8(at(0), 10, 90_000, 500, true)).unwrap();
        let before = send(&mut slot, &vp8(at(33), 11, 93_000, 501, false)).unwrap();
        slot.restart();
        let waiting = Err(DropReason::AwaitingKeyframe);
        assert_eq!(send(&mut slot, &vp8(at(40), 9_000, 7, 40, false)), waiting);
        let after = send(&mut slot, &vp8(at(133), 9_001, 1_000, 41, true)).unwrap();
        assert_eq!(after.seq, before.seq + 1);
        assert_eq!(after.timestamp, before.timestamp + 9_000, "100 ms at 90 kHz");
        assert_eq!(picture_id(&after), picture_id(&before) + 1);
        let next = send(&mut slot, &vp8(at(166), 9_002, 4_000, 42, false)).unwrap();
        assert_eq!((next.seq, next.timestamp), (after.seq + 1, after.timestamp + 3_000));
        assert_eq!(picture_id(&next), picture_id(&after) + 1);
    }

    #[test]
    fn what_was_left_out_while_muted_leaves_no_seam() {
        let start = Instant::now();
        let mut slot = Rewriter::new(100, 5_000);
        let before = send(&mut slot, &vp8(start, 10, 90_000, 500, true)).unwrap();
        let again = |seq, keyframe| {
            let mut owned = vp8(start + Duration::from_millis(900), seq, 171_000, 510, keyframe);
            owned.head.take = 1;
            owned
        };
        assert_eq!(send(&mut slot, &again(19, false)), Err(DropReason::AwaitingKeyframe));
        let after = send(&mut slot, &again(20, true)).unwrap();
        assert_eq!((after.seq, after.timestamp), (before.seq + 1, before.timestamp + 81_000));
        assert_eq!(picture_id(&after), picture_id(&before) + 1);
    }

    #[test]
    fn loss_and_reordering_stay_visible() {
        let now = Instant::now();
        let mut slot = Rewriter::new(0, 0);
        let first = send(&mut slot, &vp8(now, 10, 0, 0, true)).unwrap();
        let third = send(&mut slot, &vp8(now, 12, 0, 2, false)).unwrap();
        let second = send(&mut slot, &vp8(now, 11, 0, 1, false)).unwrap();
        assert_eq!((second.seq, third.seq), (first.seq + 1, first.seq + 2));
    }

    #[test]
    fn a_packet_leaves_again_as_it_left() {
        let now = Instant::now();
        let mut slot = Rewriter::new(0x7fff, 0);
        let packets: Vec<Owned> = (65_530..65_560)
            .map(|n| vp8(now, n, n as u32, n as u16 & 0x7fff, n == 65_530))
            .collect();
        let left: Vec<Left> = packets.iter().map(|p| send(&mut slot, p).unwrap()).collect();
        for (owned, left) in packets.iter().zip(&left) {
            assert_eq!(slot.origin(left.seq as u16), Some((1, owned.head.seq)));
            assert_eq!(leave(&slot.again(&owned.packet()).unwrap(), owned), *left);
        }
        let (first, last) = (left[0].seq as u16, left[29].seq as u16);
        assert_eq!(slot.origin(first.wrapping_sub(1)), None, "before the keyframe");
        assert_eq!(slot.origin(last.wrapping_add(1)), None, "not sent yet");
        assert_eq!(slot.timestamp(1, 65_560), Some(left[29].timestamp.wrapping_add(1)));
        assert_eq!(slot.timestamp(2, 0), None);
        slot.restart();
        assert_eq!(slot.origin(last), None, "of a track that is gone");
        assert_eq!(slot.again(&packets[0].packet()), None);
    }

    #[test]
    fn frame_numbers_of_the_dependency_descriptor_continue() {
        let now = Instant::now();
        let packet = |seq, number: u16| {
            let mut owned = Owned::new(now, seq, 0, Codec::Av1 { profile: 0 }, &[0x08]);
            owned.descriptor = vec![0xc0, (number >> 8) as u8, number as u8, 1];
            owned
        };
        let number = |left: &Left| u16::from_be_bytes([left.descriptor[1], left.descriptor[2]]);
        let mut slot = Rewriter::new(0, 0);
        let a = send(&mut slot, &packet(1, 65_535)).unwrap();
        let b = send(&mut slot, &packet(2, 0)).unwrap();
        assert_eq!(number(&b), number(&a).wrapping_add(1));
        slot.restart();
        let c = send(&mut slot, &packet(900, 77)).unwrap();
        assert_eq!(number(&c), number(&b).wrapping_add(1));
        assert_eq!(c.descriptor[3], 1, "the rest passes as it is");
    }
}
