use std::time::Duration;

use super::*;
use crate::media::clock::Anchor;
use crate::media::extensions::Extensions;
use crate::wire::frame::{Frame, Targets};

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
            encoding: 0,
            take: 0,
            seq,
            timestamp,
            marker: true,
            codec,
            starts_keyframe: payload::starts_keyframe(codec, payload),
            frame: Frame::plain(payload::starts_keyframe(codec, payload)),
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
    match slot.rewrite(&owned.packet(), Layer::HIGHEST) {
        Outcome::Send(sent) => Ok(leave(&sent, owned)),
        Outcome::Skip(reason) => Err(reason),
        Outcome::Fill(_) => panic!("all of it is wanted"),
    }
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
    let packets: Vec<Owned> =
        (65_530..65_560).map(|n| vp8(now, n, n as u32, n as u16 & 0x7fff, n == 65_530)).collect();
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
