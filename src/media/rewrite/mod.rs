//! One slot's outgoing stream: whatever track sits in it, and whichever of its encodings and layers
//! are chosen, the receiver sees one SSRC with continuous sequence numbers, timestamps that only
//! move forward, and continuous picture ids.
//!
//! What is left out of a source closes up: the packets behind it move forward in the numbers. What
//! is missing in a source keeps its numbers, since it may come late, and the receiver may ask for
//! it. If it comes and is to be left out, its number is filled with a packet that has no payload.

use std::time::Instant;

use super::clock::StreamAnchor;
use super::packet::{Head, Packet};
use crate::base::counters::DropReason;
use crate::wire::codec::Codec;
use crate::wire::dependency_descriptor::active::{DESCRIPTOR_MAX, Mask, Sent};
use crate::wire::frame::Layer;
use crate::wire::payload;

mod layers;
mod runs;

use layers::LayerFilter;
use runs::{Run, Runs};

/// The continuous side of a slot, over all tracks that sit in it.
#[derive(Debug)]
pub struct Rewriter {
    source: Option<Source>,
    /// Highest sequence number sent.
    last_seq: u64,
    /// The same of those that had a payload.
    last_content: u64,
    /// Of the newest frame sent.
    last_timestamp: u32,
    last_sent: Option<Instant>,
    /// Counters as last sent: 15-bit picture id, TL0PICIDX, dependency descriptor frame number.
    last_picture_id: u16,
    last_tl0: u8,
    last_frame_number: u16,
    /// The last source that ended: its SSRC, clock, and what its timestamps differed by.
    ended: Option<(u32, u32, u32)>,
    /// What the next source's timestamps differ by, if it is known.
    next_timestamp_delta: Option<u32>,
    runs: Runs,
}

/// How the present source's numbers become the slot's: by differences, which are constant but for
/// those in its [`Runs`].
#[derive(Debug)]
struct Source {
    ssrc: u32,
    take: u32,
    codec: Codec,
    /// Packets before this sequence number belong before the keyframe that we began with.
    first_seq: u64,
    /// The highest that was seen.
    last_seq: u64,
    timestamp_delta: u32,
    /// The timestamp of its first packet, and what that became, which may be later than it should.
    first_timestamp: (u32, u32),
    tl0_delta: u8,
    frame_number_delta: u16,
    filter: LayerFilter,
    /// Of the frame that was left out last.
    left_out: Option<u16>,
    /// Of its decode targets, those that the publisher sends, and what the subscriber was told.
    sent: Option<Box<Sent>>,
    told: Option<Mask>,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Send(Rewritten),
    /// Left out, after its number was kept for it: a packet without payload takes that.
    Fill(Rewritten),
    /// Left out; the reason is for the counters.
    Skip(DropReason),
}

/// What is different in a packet as the slot sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewritten {
    /// Extended: above the 16 bits of the header stands the rollover counter of SRTP.
    pub seq: u64,
    pub timestamp: u32,
    /// The last of a picture, among what is sent of it.
    pub marker: bool,
    /// Where it differs: offset, width and value of the PictureID; offset and value of TL0PICIDX;
    /// the frame number of the dependency descriptor.
    picture_id: Option<(usize, u32, u16)>,
    tl0_pic_idx: Option<(usize, u8)>,
    frame_number: Option<u16>,
    active: Option<Mask>,
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

    /// The dependency descriptor as it tells of the decode targets that the slot sends, which may
    /// take more `room`. What [`Self::patch_descriptor`] writes is still to come.
    pub fn descriptor<'d>(
        &self,
        descriptor: &'d [u8],
        room: &'d mut Option<[u8; DESCRIPTOR_MAX]>,
    ) -> &'d [u8] {
        let Some(active) = self.active else { return descriptor };
        active.write(descriptor, room.insert([0; DESCRIPTOR_MAX])).unwrap_or(descriptor)
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
            last_content: 0,
            last_timestamp: timestamp,
            last_sent: None,
            last_picture_id: 0,
            last_tl0: 0,
            last_frame_number: 0,
            ended: None,
            next_timestamp_delta: None,
            runs: Runs::default(),
        }
    }

    /// The next packets come from another source, or from the same one after a gap: wait for a
    /// place where a decoder can begin.
    pub fn restart(&mut self) {
        if let Some(source) = self.source.take() {
            self.ended = Some((source.ssrc, source.codec.clock_hz(), source.timestamp_delta));
        }
        self.next_timestamp_delta = None;
    }

    /// The next packets come from another encoding of what is shown, whose timestamps stand for the
    /// same moments as far as the anchors of both tell.
    pub fn switch(&mut self, from: Option<StreamAnchor>, to: Option<StreamAnchor>) {
        self.restart();
        self.next_timestamp_delta = from.zip(to).and_then(|(from, to)| {
            let (_, clock_hz, delta) = self.ended.filter(|(ssrc, ..)| *ssrc == from.ssrc)?;
            let same = from.anchor.timestamp_at(to.anchor.at, clock_hz);
            Some(same.wrapping_add(delta).wrapping_sub(to.anchor.timestamp))
        });
    }

    /// Whether nothing is sent until a keyframe begins.
    pub fn awaits_keyframe(&self) -> bool {
        self.source.is_none()
    }

    /// Whether that is the packet with which the present source began.
    pub fn began_with(&self, head: &Head) -> bool {
        self.source.as_ref().is_some_and(|own| own.is_of(head) && own.first_seq == head.seq)
    }

    /// Whether `wanted` can be had only from a keyframe on.
    pub fn needs_keyframe(&self, wanted: Layer) -> bool {
        self.source.as_ref().is_none_or(|source| source.filter.needs_keyframe(wanted))
    }

    /// What is sent of the present source; `None` while nothing is.
    pub fn target(&self) -> Option<Layer> {
        self.source.as_ref().map(|source| source.filter.target())
    }

    /// The packet as this slot sends it, of which layers up to `wanted` are wanted.
    pub fn rewrite(&mut self, packet: &Packet<'_>, wanted: Layer) -> Outcome {
        if let Some(source) = &self.source
            && !source.is_of(&packet.head)
        {
            let ahead = packet.head.take.wrapping_sub(source.take).cast_signed();
            if source.ssrc != packet.head.ssrc && source.codec == packet.head.codec && ahead < 0 {
                return Outcome::Skip(DropReason::Stale);
            }
            self.restart();
        }
        if self.source.is_none() {
            if !packet.head.starts_keyframe {
                return Outcome::Skip(DropReason::AwaitingKeyframe);
            }
            self.begin(packet, wanted);
        }
        let Some(source) = &mut self.source else {
            return Outcome::Skip(DropReason::AwaitingKeyframe);
        };
        let outcome = source.pass(packet, wanted, &mut self.runs);
        if let Outcome::Send(sent) | Outcome::Fill(sent) = outcome {
            self.last_seq = self.last_seq.max(sent.seq);
        }
        if let Outcome::Send(sent) = outcome
            && sent.seq > self.last_content
        {
            self.last_content = sent.seq;
            self.remember(packet, &sent);
        }
        outcome
    }

    /// What the next source continues.
    fn remember(&mut self, packet: &Packet<'_>, sent: &Rewritten) {
        let counters = &packet.head.counters;
        self.last_timestamp = sent.timestamp;
        self.last_sent = Some(packet.head.received);
        if let Some((_, _, id)) = sent.picture_id.or(counters.picture_id) {
            self.last_picture_id = id;
        }
        if let Some((_, tl0)) = sent.tl0_pic_idx.or(counters.tl0_pic_idx) {
            self.last_tl0 = tl0;
        }
        if let Some(number) = sent.frame_number.or_else(|| frame_number(packet)) {
            self.last_frame_number = number;
        }
    }

    /// Which packet of the present source left under that number: stream and number of the
    /// publisher's. `None` for one that has not left yet, or of a source before.
    pub fn origin(&self, seq: u16) -> Option<(u32, u64)> {
        let source = self.source.as_ref()?;
        let back = (self.last_seq as u16).wrapping_sub(seq);
        let sent = self.last_seq.checked_sub(back.into())?;
        let number = self.runs.origin(sent)?;
        (back < 1 << 15 && number >= source.first_seq).then_some((source.ssrc, number))
    }

    /// A packet of the present source once more, as it left before.
    pub fn again(&self, packet: &Packet<'_>) -> Option<Rewritten> {
        let source = self.source.as_ref().filter(|source| source.is_of(&packet.head))?;
        let run = self.runs.of(packet.head.seq).filter(|_| packet.head.seq >= source.first_seq)?;
        (packet.head.frame.needed.has(run.target)).then(|| source.rewritten(packet, run))
    }

    /// The timestamp of what would be captured now, as far as the last packet's arrival tells;
    /// `None` while nothing is sent.
    pub fn timestamp_at(&self, now: Instant) -> Option<u32> {
        let (sent, source) = (self.last_sent?, self.source.as_ref()?);
        let elapsed = now.saturating_duration_since(sent).as_micros();
        let ticks = elapsed * u128::from(source.codec.clock_hz()) / 1_000_000;
        Some(self.last_timestamp.wrapping_add(ticks as u32))
    }

    /// The clock of the present source's timestamps; `None` while nothing is sent.
    pub fn clock_hz(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.codec.clock_hz())
    }

    /// The timestamp that goes with one of the publisher's; `None` while nothing is sent.
    pub fn timestamp(&self, ssrc: u32, timestamp: u32) -> Option<u32> {
        let source = self.source.as_ref().filter(|source| source.ssrc == ssrc)?;
        Some(timestamp.wrapping_add(source.timestamp_delta))
    }

    /// The differences that put `packet` right behind what was sent last.
    fn begin(&mut self, packet: &Packet<'_>, wanted: Layer) {
        let head = &packet.head;
        let picture_id_delta = (head.counters.picture_id)
            .map_or(0, |(_, _, id)| self.last_picture_id.wrapping_add(1).wrapping_sub(id));
        self.runs.begin(Run {
            first: head.seq,
            end: u64::MAX,
            seq_delta: (self.last_seq + 1).wrapping_sub(head.seq),
            picture_id_delta,
            target: wanted,
            tells: None,
        });
        let (timestamp, should_be) = self.first_timestamp(head);
        self.source = Some(Source {
            ssrc: head.ssrc,
            take: head.take,
            codec: head.codec,
            first_seq: head.seq,
            last_seq: head.seq.saturating_sub(1),
            timestamp_delta: should_be.wrapping_sub(head.timestamp),
            first_timestamp: (head.timestamp, timestamp),
            tl0_delta: (head.counters.tl0_pic_idx)
                .map_or(0, |(_, tl0)| self.last_tl0.wrapping_add(1).wrapping_sub(tl0)),
            frame_number_delta: frame_number(packet)
                .map_or(0, |n| self.last_frame_number.wrapping_add(1).wrapping_sub(n)),
            filter: LayerFilter::new(wanted),
            left_out: None,
            sent: None,
            told: None,
        });
    }

    /// The timestamp of a source's first packet: of the moment that it is known to stand for, else
    /// as much later than the last as it came. And what it should be, if that moment was shown
    /// already, in the other encoding: it is another picture, and comes behind that.
    fn first_timestamp(&mut self, head: &Head) -> (u32, u32) {
        let Some(sent) = self.last_sent else {
            return (self.last_timestamp, self.last_timestamp);
        };
        let clock_hz = head.codec.clock_hz();
        let elapsed = head.received.saturating_duration_since(sent).as_micros();
        let ticks = (elapsed * u128::from(clock_hz) / 1_000_000) as u32;
        let guess = self.last_timestamp.wrapping_add(ticks.max(1));
        let Some(delta) = self.next_timestamp_delta.take() else { return (guess, guess) };
        let known = head.timestamp.wrapping_add(delta);
        if known.wrapping_sub(guess).cast_signed().unsigned_abs() > clock_hz * ANCHORS_AGREE_S {
            return (guess, guess);
        }
        let ahead = known.wrapping_sub(self.last_timestamp).cast_signed();
        (if ahead > 0 { known } else { self.last_timestamp.wrapping_add(1) }, known)
    }
}

/// Of two encodings' clocks that differ by more seconds, one is read wrongly.
const ANCHORS_AGREE_S: u32 = 2;
/// A source that begins with moments which were shown already goes on so much slower until it comes
/// to others. Larger catches up sooner; smaller keeps pictures at their distance from each other.
const CATCHES_UP: u32 = 16;

impl Source {
    fn is_of(&self, head: &Head) -> bool {
        (self.codec, self.ssrc, self.take) == (head.codec, head.ssrc, head.take)
    }

    /// What is sent for a timestamp: as much later as all, but behind what was sent before this
    /// source. Both grow with it, so it never goes back; and it is the same for all of a picture,
    /// in whatever order that comes.
    fn timestamp(&self, timestamp: u32) -> u32 {
        let known = timestamp.wrapping_add(self.timestamp_delta);
        let (first, sent) = self.first_timestamp;
        let since = timestamp.wrapping_sub(first);
        let behind = sent.wrapping_add(since / CATCHES_UP);
        let is_shown = since.cast_signed() >= 0 && behind.wrapping_sub(known).cast_signed() > 0;
        if is_shown { behind } else { known }
    }

    fn pass(&mut self, packet: &Packet<'_>, wanted: Layer, runs: &mut Runs) -> Outcome {
        let head = &packet.head;
        // From before the keyframe that we began with, or older than what is remembered.
        let Some(run) = runs.of(head.seq).filter(|_| head.seq >= self.first_seq) else {
            return Outcome::Skip(DropReason::Stale);
        };
        if head.seq <= self.last_seq {
            let sent = self.rewritten(packet, run);
            if packet.payload.is_empty() {
                return Outcome::Fill(sent);
            }
            if !head.frame.needed.has(run.target) {
                self.filter.leave_out(head);
                return Outcome::Fill(sent);
            }
            if let Some(sent) = Sent::read(packet.descriptor, self.sent.as_deref()) {
                // It goes as it is: what is true is told with the next.
                (self.sent, self.told) = (Some(Box::new(sent)), None);
            }
            return Outcome::Send(sent);
        }
        let target = run.target;
        if head.seq > self.last_seq + 1 {
            self.filter.miss();
        }
        // Padding is of no frame.
        let needed = !packet.payload.is_empty() && self.filter.take(head, wanted);
        self.last_seq = head.seq;
        let tells = self.learn(packet).filter(|_| needed);
        if !needed {
            self.leave_out(head, runs);
            let layered = !packet.payload.is_empty();
            return Outcome::Skip(if layered { DropReason::Layer } else { DropReason::Padding });
        }
        let mut run = *run;
        if self.filter.target() != target || tells.is_some() {
            run = Run { first: head.seq, target: self.filter.target(), tells, ..run };
            runs.open(head.seq, run);
            self.told = tells.or(self.told);
        }
        Outcome::Send(self.rewritten(packet, &run))
    }

    /// Takes in what a packet says of the decode targets; what it has to say to the subscriber, if
    /// that does not know it.
    fn learn(&mut self, packet: &Packet<'_>) -> Option<Mask> {
        if packet.descriptor.is_empty() {
            return None;
        }
        if let Some(sent) = Sent::read(packet.descriptor, self.sent.as_deref()) {
            self.told = Some(Mask { mask: sent.published, count: sent.count });
            self.sent = Some(Box::new(sent));
        }
        let own = self.sent.as_deref()?.up_to(self.filter.target());
        Some(own).filter(|own| Some(*own) != self.told)
    }

    /// What follows closes up to what was before.
    fn leave_out(&mut self, head: &Head, runs: &mut Runs) {
        let Some(last) = runs.last() else { return };
        // Elsewhere the numbers of pictures say which ones they need.
        let id = head.counters.picture_id.filter(|_| self.codec == Codec::Vp8).map(|(_, _, id)| id);
        let is_another = id.is_some() && id != self.left_out;
        self.left_out = id.or(self.left_out);
        let run = Run {
            first: head.seq + 1,
            end: u64::MAX,
            seq_delta: last.seq_delta.wrapping_sub(1),
            picture_id_delta: last.picture_id_delta.wrapping_sub(is_another.into()),
            target: self.filter.target(),
            tells: None,
        };
        runs.open(head.seq, run);
    }

    fn rewritten(&self, packet: &Packet<'_>, run: &Run) -> Rewritten {
        let head = &packet.head;
        let (counters, frame) = (&head.counters, &head.frame);
        Rewritten {
            seq: head.seq.wrapping_add(run.seq_delta),
            timestamp: self.timestamp(head.timestamp),
            marker: head.marker || frame.is_end && frame.layer.spatial == run.target.spatial,
            picture_id: (counters.picture_id)
                .filter(|_| run.picture_id_delta != 0)
                .map(|(at, bits, id)| (at, bits, id.wrapping_add(run.picture_id_delta))),
            tl0_pic_idx: (counters.tl0_pic_idx)
                .filter(|_| self.tl0_delta != 0)
                .map(|(at, tl0)| (at, tl0.wrapping_add(self.tl0_delta))),
            frame_number: frame_number(packet)
                .filter(|_| self.frame_number_delta != 0)
                .map(|number| number.wrapping_add(self.frame_number_delta)),
            active: run.tells.filter(|_| head.seq == run.first && !packet.descriptor.is_empty()),
        }
    }
}

/// The frame number in the mandatory fields of a dependency descriptor (AV1 RTP specification
/// §A.8.2).
fn frame_number(packet: &Packet<'_>) -> Option<u16> {
    match *packet.descriptor {
        [_, high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
