//! A slot's outgoing stream over several sources that come, go, lose, reorder and repeat packets:
//! sequence numbers continue and are never used twice for different content, timestamps move
//! forward, counters continue, and nothing else of a payload changes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::counters::DropReason;
use trackyard::media::extensions::Extensions;
use trackyard::media::packet::{Head, Packet};
use trackyard::media::rewrite::{Outcome, Rewriter, Rewritten};
use trackyard::wire::codec::Codec;
use trackyard::wire::frame::{Frame, Layer};
use trackyard::wire::payload::{self, starts_keyframe};

/// A packet with bytes of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owned {
    head: Head,
    payload: Vec<u8>,
    descriptor: Vec<u8>,
}

impl Owned {
    fn packet(&self) -> Packet<'_> {
        Packet { head: self.head, payload: &self.payload, descriptor: &self.descriptor }
    }

    fn with(&self, payload: &[u8], now: Instant) -> Owned {
        let codec = self.head.codec;
        let head = Head {
            starts_keyframe: starts_keyframe(codec, payload),
            frame: payload::frame(codec, payload),
            counters: payload::counters(codec, payload),
            received: now,
            ..self.head
        };
        Owned { head, payload: payload.to_vec(), descriptor: self.descriptor.clone() }
    }
}

/// A packet as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
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

#[derive(Debug, Arbitrary)]
enum Step {
    /// The source's next packet; `lost` ones never reach the slot.
    Next {
        source: u8,
        new_frame: bool,
        keyframe: bool,
        lost: bool,
    },
    /// A packet that the source sent before: late, or for the second time.
    Late {
        source: u8,
        back: u8,
    },
    /// Nobody keeps a source from sending this.
    Junk {
        source: u8,
        seq: u32,
        timestamp: u32,
        payload: [u8; 6],
        length: u8,
    },
    Restart,
    Pass {
        ms: u16,
    },
}

pub fn check(data: &[u8]) {
    let Some((chance, data)) = data.split_first_chunk() else { return };
    let mut world = World::new(u64::from_be_bytes(*chance));
    for step in super::steps(data) {
        world.step(step);
    }
}

/// A publisher's stream that keeps to the rules.
struct Source {
    template: Owned,
    picture_id: u16,
    sent: Vec<Owned>,
}

/// How a source's numbers became the slot's, since the keyframe that it began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Epoch {
    ssrc: u32,
    codec: Codec,
    first_seq: u64,
    seq_delta: u64,
    timestamp_delta: u32,
}

struct World {
    now: Instant,
    slot: Rewriter,
    sources: Vec<Source>,
    epoch: Option<Epoch>,
    /// All that left, by its sequence number.
    out: BTreeMap<u64, (Owned, Left)>,
    /// Of everything that the slot may have begun with.
    begin: (u64, u32),
}

impl World {
    fn new(chance: u64) -> World {
        let now = super::start();
        let (seq, timestamp) = (chance as u16, (chance >> 16) as u32);
        let source = |index: u32| Source::new(index, chance.rotate_left(8 * index), now);
        World {
            now,
            slot: Rewriter::new(seq, timestamp),
            sources: (0..4).map(source).collect(),
            epoch: None,
            out: BTreeMap::new(),
            begin: (u64::from(seq & 0x7fff), timestamp),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Next { source, new_frame, keyframe, lost } => {
                let now = self.now;
                let packet = self.source(source).next(new_frame, keyframe, now);
                if !lost {
                    self.give(packet);
                }
            }
            Step::Late { source, back } => {
                let sent = self.source(source).sent.iter().rev().nth(back.into()).cloned();
                let Some(packet) = sent else { return };
                let mut packet = packet;
                packet.head.received = self.now;
                self.give(packet);
            }
            Step::Junk { source, seq, timestamp, payload, length } => {
                let payload = &payload[..usize::from(length) % 7];
                let now = self.now;
                let mut junk = self.source(source).template.with(payload, now);
                (junk.head.seq, junk.head.timestamp) = (seq.into(), timestamp);
                self.junk(junk);
            }
            Step::Restart => {
                self.slot.restart();
                self.epoch = None;
                assert!(self.slot.awaits_keyframe());
            }
            Step::Pass { ms } => self.now += Duration::from_millis(ms.into()),
        }
    }

    fn source(&mut self, index: u8) -> &mut Source {
        &mut self.sources[usize::from(index) % 4]
    }

    /// Lengths stay; what numbers come of it is the sender's business, in a slot of its own.
    fn junk(&self, packet: Owned) {
        let mut slot = Rewriter::new(0, 0);
        for (before, _) in self.out.values().rev().take(2) {
            let _ = slot.rewrite(&before.packet(), Layer::HIGHEST);
        }
        for _ in 0..2 {
            if let Outcome::Send(sent) = slot.rewrite(&packet.packet(), Layer::HIGHEST) {
                assert_eq!(leave(&sent, &packet).payload.len(), packet.payload.len());
            }
        }
    }

    fn give(&mut self, packet: Owned) {
        let head = packet.head;
        if self.epoch.is_some_and(|e| (e.ssrc, e.codec) != (head.ssrc, head.codec)) {
            self.epoch = None;
        }
        let expected = match &self.epoch {
            None if head.starts_keyframe => Ok(()),
            None => Err(DropReason::AwaitingKeyframe),
            Some(epoch) if head.seq < epoch.first_seq => Err(DropReason::Stale),
            Some(_) => Ok(()),
        };
        let result = match self.slot.rewrite(&packet.packet(), Layer::HIGHEST) {
            Outcome::Send(sent) => Ok(sent),
            Outcome::Skip(reason) => Err(reason),
            Outcome::Fill(_) => panic!("all of it is wanted"),
        };
        assert_eq!(result.as_ref().map(|_| ()).map_err(|e| *e), expected);
        assert_eq!(self.slot.awaits_keyframe(), result.is_err() && self.epoch.is_none());
        let Ok(sent) = result else { return };
        assert_eq!(self.slot.origin(sent.seq as u16), Some((head.ssrc, head.seq)));
        assert_eq!(self.slot.again(&packet.packet()), Some(sent), "once more is the same");
        let sent = leave(&sent, &packet);
        let fresh = self.epoch.is_none();
        let epoch = Epoch {
            ssrc: head.ssrc,
            codec: head.codec,
            first_seq: head.seq,
            seq_delta: sent.seq.wrapping_sub(head.seq),
            timestamp_delta: sent.timestamp.wrapping_sub(head.timestamp),
        };
        match self.epoch {
            None => self.begin(&sent, epoch),
            Some(old) => assert_eq!(Epoch { first_seq: old.first_seq, ..epoch }, old, "a seam"),
        }
        self.content(&packet, &sent, fresh);
        self.out.insert(sent.seq, (packet, sent));
    }

    /// The first packet of a source comes right behind the last of the one before.
    fn begin(&mut self, sent: &Left, epoch: Epoch) {
        let last = self.out.last_key_value().map(|(seq, (_, r))| (*seq, r.timestamp));
        assert_eq!(sent.seq, last.map_or(self.begin.0, |(seq, _)| seq) + 1);
        match last {
            None => assert_eq!(sent.timestamp, self.begin.1),
            Some((_, timestamp)) => assert!(ahead(sent.timestamp, timestamp) > 0),
        }
        self.epoch = Some(epoch);
    }

    fn content(&self, packet: &Owned, sent: &Left, fresh: bool) {
        if let Some((_, before)) = self.out.get(&sent.seq) {
            assert_eq!(sent, before, "a sequence number with other content");
        }
        let (earlier, later) =
            (self.out.range(..sent.seq).next_back(), self.out.range(sent.seq..).next());
        if let Some((_, (_, earlier))) = earlier {
            assert!(ahead(sent.timestamp, earlier.timestamp) >= 0, "time went back");
        }
        if let Some((_, (_, later))) = later {
            assert!(ahead(later.timestamp, sent.timestamp) >= 0, "time went back");
        }
        assert_eq!(sent.payload.len(), packet.payload.len());
        let changed = |at: &usize| sent.payload[*at] != packet.payload[*at];
        let changed: Vec<usize> = (0..packet.payload.len()).filter(changed).collect();
        let counters = places(packet.head.codec, &packet.payload);
        assert!(changed.iter().all(|at| counters.contains(at)), "{changed:?} {counters:?}");
        let Some((_, (_, before))) = self.out.range(..sent.seq).next_back() else { return };
        if let (Some(number), Some(before)) = (frame_number(sent), frame_number(before)) {
            assert!(!fresh || number == before.wrapping_add(1), "a gap in frame numbers");
        }
    }
}

impl Source {
    fn new(index: u32, chance: u64, now: Instant) -> Source {
        let codec = match index {
            0 | 1 => Codec::Vp8,
            2 => Codec::Vp9 { profile: 0 },
            _ => Codec::Av1 { profile: 0 },
        };
        Source {
            template: Owned {
                head: Head {
                    ssrc: index,
                    encoding: 0,
                    take: 0,
                    seq: chance & 0xffff_ffff,
                    timestamp: (chance >> 8) as u32,
                    marker: false,
                    codec,
                    starts_keyframe: false,
                    frame: Frame::plain(false),
                    counters: Default::default(),
                    extensions: Extensions::default(),
                    received: now,
                },
                payload: Vec::new(),
                descriptor: Vec::new(),
            },
            picture_id: (chance >> 16) as u16,
            sent: Vec::new(),
        }
    }

    fn next(&mut self, new_frame: bool, keyframe: bool, now: Instant) -> Owned {
        let head = &mut self.template.head;
        head.seq += 1;
        if new_frame {
            head.timestamp = head.timestamp.wrapping_add(3_000);
            self.picture_id = self.picture_id.wrapping_add(1);
        }
        let codec = head.codec;
        let keyframe = keyframe && new_frame;
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        let payload = match codec {
            Codec::Vp8 => {
                vec![
                    0x80 | u8::from(new_frame) << 4,
                    0xe0,
                    high,
                    low,
                    low,
                    0,
                    u8::from(!keyframe),
                    7,
                ]
            }
            Codec::Vp9 { .. } => {
                vec![0x80 | u8::from(!keyframe) << 6 | u8::from(new_frame) << 3, high, low, 9]
            }
            _ => vec![u8::from(keyframe) << 3, 1, 2],
        };
        if let Codec::Av1 { .. } = codec {
            self.template.descriptor = vec![0x80, self.picture_id.to_be_bytes()[0], low, 3];
        }
        self.template = self.template.with(&payload, now);
        self.sent.push(self.template.clone());
        self.template.clone()
    }
}

/// By how much `a` is ahead of `b`, over the wrap.
fn ahead(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

/// Where a payload's counters stand.
fn places(codec: Codec, payload: &[u8]) -> Vec<usize> {
    let counters = payload::counters(codec, payload);
    let picture_id =
        counters.picture_id.map_or(0..0, |(at, bits, _)| at..at + bits.div_ceil(8) as usize);
    picture_id.chain(counters.tl0_pic_idx.map(|(at, _)| at)).collect()
}

fn frame_number(sent: &Left) -> Option<u16> {
    let bytes = sent.descriptor.get(1..3)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}
