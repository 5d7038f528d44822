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
            encoding: 0,
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

/// A picture of temporal layer `temporal`, in one packet.
fn layered(number: u64, temporal: u8, is_sync: bool) -> Owned {
    let mut owned = vp8(Instant::now(), number, number as u32 * 3_000, number as u16, number == 0);
    owned.payload[5] = temporal << 6 | u8::from(is_sync) << 5;
    owned.head.frame = payload::frame(Codec::Vp8, &owned.payload);
    owned.head.counters = payload::counters(Codec::Vp8, &owned.payload);
    owned
}

/// Temporal layers as they come in turn, with the sync bits of the first round.
fn picture(number: u64) -> Owned {
    let temporal = [0, 2, 1, 2][number as usize % 4];
    layered(number, temporal, temporal > 0 && number % 8 < 4)
}

const fn temporal(temporal: u8) -> Layer {
    Layer { spatial: 0, temporal }
}

#[test]
fn what_is_left_out_closes_up() {
    let mut slot = Rewriter::new(0, 0);
    let mut left = Vec::new();
    for number in 0..32 {
        let wanted = if (8..16).contains(&number) { temporal(0) } else { temporal(1) };
        let owned = picture(number);
        match slot.rewrite(&owned.packet(), wanted) {
            Outcome::Send(sent) => left.push((number, leave(&sent, &owned))),
            outcome => assert_eq!(outcome, Outcome::Skip(DropReason::Layer), "{number}"),
        }
    }
    let numbers: Vec<u64> = left.iter().map(|(number, _)| *number).collect();
    // Up again where its layer says that it stands on the lowest alone.
    let sent = [0, 2, 4, 6, 8, 12, 16, 18, 20, 22, 24, 26, 28, 30];
    assert_eq!(numbers, sent);
    for (at, (number, sent)) in left.iter().enumerate() {
        assert_eq!(sent.seq, 1 + at as u64);
        assert_eq!(picture_id(sent), 1 + at as u16);
        assert_eq!(slot.origin(sent.seq as u16), Some((1, *number)));
        let owned = picture(*number);
        assert_eq!(leave(&slot.again(&owned.packet()).unwrap(), &owned), *sent);
    }
    assert_eq!(slot.again(&picture(9).packet()), None, "it was left out");
}

#[test]
fn an_upper_layer_begins_where_it_stands_on_what_was_received() {
    let mut slot = Rewriter::new(0, 0);
    let sent = |slot: &mut Rewriter, owned: &Owned, wanted| {
        matches!(slot.rewrite(&owned.packet(), wanted), Outcome::Send(_))
    };
    assert!(sent(&mut slot, &layered(0, 0, false), temporal(0)));
    assert!(!sent(&mut slot, &layered(1, 1, true), temporal(0)));
    assert!(!sent(&mut slot, &layered(2, 1, false), temporal(2)), "it may need picture 1");
    assert!(!sent(&mut slot, &layered(3, 2, true), temporal(2)), "layer 1 was not received");
    assert!(sent(&mut slot, &layered(4, 0, false), temporal(2)));
    assert!(!sent(&mut slot, &layered(5, 2, true), temporal(2)), "nor since");
    assert!(sent(&mut slot, &layered(6, 1, true), temporal(2)));
    assert!(!sent(&mut slot, &layered(7, 2, false), temporal(2)));
    assert!(sent(&mut slot, &layered(8, 0, false), temporal(2)));
    assert!(sent(&mut slot, &layered(9, 2, true), temporal(2)));
    assert!(sent(&mut slot, &layered(10, 1, false), temporal(2)));
    assert!(sent(&mut slot, &layered(11, 2, false), temporal(2)));
    assert!(!sent(&mut slot, &layered(12, 2, false), temporal(0)), "down at once");
}

#[test]
fn a_number_that_was_kept_for_what_is_left_out_is_filled() {
    let mut slot = Rewriter::new(0, 0);
    let give = |slot: &mut Rewriter, number| slot.rewrite(&picture(number).packet(), temporal(0));
    let Outcome::Send(first) = give(&mut slot, 0) else { panic!("a keyframe") };
    // 1 to 3 are missing; so is 5, and 6 is left out.
    let Outcome::Send(fourth) = give(&mut slot, 4) else { panic!("the lowest layer") };
    assert_eq!(fourth.seq, first.seq + 4);
    assert_eq!(give(&mut slot, 6), Outcome::Skip(DropReason::Layer));
    let Outcome::Send(eighth) = give(&mut slot, 8) else { panic!("the lowest layer") };
    assert_eq!(eighth.seq, fourth.seq + 3, "5 and 7 are missing, 6 is not");
    for (number, seq) in [(1, 1), (2, 2), (5, 5), (7, 6)] {
        let Outcome::Fill(filled) = give(&mut slot, number) else { panic!("{number}") };
        assert_eq!(filled.seq, first.seq + seq);
    }
    assert_eq!(give(&mut slot, 6), Outcome::Skip(DropReason::Stale), "its number is not its own");
    let mut padding = picture(9);
    padding.payload.clear();
    assert_eq!(slot.rewrite(&padding.packet(), temporal(0)), Outcome::Skip(DropReason::Padding));
    let Outcome::Send(last) = give(&mut slot, 12) else { panic!("the lowest layer") };
    assert_eq!(last.seq, eighth.seq + 3, "10 and 11 are missing");
}

#[test]
fn another_encoding_shows_the_same_moments() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let anchor = |ssrc, ms, timestamp| {
        let anchor = crate::media::clock::Anchor { at: at(ms), timestamp };
        Some(StreamAnchor { encoding: 0, ssrc, anchor })
    };
    let other = |came, seq, timestamp| {
        let mut owned = vp8(at(came), seq, timestamp, 5, true);
        owned.head.ssrc = 2;
        owned
    };
    let begun = || {
        let mut slot = Rewriter::new(0, 0);
        let first = send(&mut slot, &vp8(at(0), 10, 90_000, 1, true)).unwrap();
        (slot, first.timestamp)
    };
    // Captured at 100 ms, it comes 80 ms later than the first did.
    let (mut slot, first) = begun();
    slot.switch(anchor(1, 0, 90_000), anchor(2, 1_000, 700_000));
    let next = send(&mut slot, &other(180, 99, 700_000 - 81_000)).unwrap();
    assert_eq!(next.timestamp, first.wrapping_add(9_000));
    // The moment of the first, once more.
    let (mut slot, first) = begun();
    slot.switch(anchor(1, 0, 90_000), anchor(2, 1_000, 700_000));
    let next = send(&mut slot, &other(80, 99, 700_000 - 90_000)).unwrap();
    assert_eq!(next.timestamp, first.wrapping_add(1));
    // A clock that is set wrong tells nothing.
    let (mut slot, first) = begun();
    slot.switch(anchor(1, 0, 90_000), anchor(2, 60_000, 700_000));
    let next = send(&mut slot, &other(100, 99, 700_000)).unwrap();
    assert_eq!(next.timestamp, first.wrapping_add(9_000));
}

#[test]
fn moments_that_were_shown_already_are_caught_up_with() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let anchor = |ssrc, timestamp| {
        let anchor = crate::media::clock::Anchor { at: start, timestamp };
        Some(StreamAnchor { encoding: 0, ssrc, anchor })
    };
    let mut slot = Rewriter::new(0, 0);
    let first = send(&mut slot, &vp8(at(0), 10, 90_000, 1, true)).unwrap();
    let mut last = send(&mut slot, &vp8(at(100), 11, 99_000, 2, false)).unwrap().timestamp;
    // The other encoding's keyframe is of 60 ms before.
    slot.switch(anchor(1, 90_000), anchor(2, 700_000));
    for number in 0..20u32 {
        let timestamp = 700_000 + 9_000 - 5_400 + 3_000 * number;
        let id = 5 + number as u16;
        let mut owned = vp8(at(110 + 33 * u64::from(number)), 99, timestamp, id, number == 0);
        (owned.head.ssrc, owned.head.seq) = (2, 99 + u64::from(number));
        let sent = send(&mut slot, &owned).unwrap().timestamp;
        assert!(sent > last, "{number}: it goes on");
        let known = first.timestamp + timestamp - 700_000;
        assert_eq!(sent == known, number >= 2, "{number}: {sent}, {known}");
        last = sent;
    }
}

#[test]
fn nothing_begins_that_refers_to_what_came_late_and_was_left_out() {
    let mut slot = Rewriter::new(0, 0);
    let begins = |slot: &mut Rewriter, owned: &Owned, wanted| {
        matches!(slot.rewrite(&owned.packet(), wanted), Outcome::Send(_))
    };
    assert!(begins(&mut slot, &layered(0, 0, false), temporal(0)));
    assert!(begins(&mut slot, &layered(2, 0, false), temporal(0)), "1 is missing");
    assert!(!begins(&mut slot, &layered(3, 1, false), temporal(1)), "it may refer to 1");
    assert!(!begins(&mut slot, &layered(1, 1, false), temporal(1)), "which was left out");
    assert!(begins(&mut slot, &layered(4, 0, false), temporal(1)));
    assert!(begins(&mut slot, &layered(5, 1, true), temporal(1)), "refers to none of those");
    assert!(!begins(&mut slot, &layered(3, 1, false), temporal(1)), "nor does it come back");
    assert!(begins(&mut slot, &layered(7, 1, false), temporal(1)));
}
