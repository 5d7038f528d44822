//! An m-line on which a client receives: whatever track sits in it, one stream leaves.

mod repeat;
mod write;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use str0m::media::Mid;

use super::clock::Clock;
use super::downlink::Downlink;
use super::quality::Told;
use super::transmits::Transmits;
use crate::base::counters::{Counters, DropReason};
use crate::base::limits::PACED_MAX;
use crate::base::rng::Rng;
use crate::media::cache::PacketCache;
use crate::media::clock::StreamAnchor;
use crate::media::encoding::{Choice, Encoding};
use crate::media::extensions::ExtensionIds;
use crate::media::keyframes::REPEAT_AFTER;
use crate::media::packet::{Head, Packet};
use crate::media::resend::ResendBudget;
use crate::media::rewrite::{Outcome, Rewriter};
use crate::media::srtp::Outbound;
use crate::media::transport_cc::SendHistory;
use crate::room::mail::{Seat, TrackRef};
use crate::wire::codec::{Codec, Kind};
use crate::wire::frame::Layer;
use crate::wire::rtcp::SenderInfo;
use crate::wire::rtp::Fixed;
use crate::wire::signal::{Cause, Want};

use write::Place;

/// The place of an m-line in a client's descriptions, which it keeps (RFC 3264 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(pub u16);

/// A codec that a slot may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotCodec {
    pub codec: Codec,
    pub payload_type: u8,
    /// Of its retransmissions (RFC 4588).
    pub rtx: Option<u8>,
}

/// What was negotiated for a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    pub line: Line,
    pub mid: Mid,
    pub name: String,
    pub kind: Kind,
    pub codecs: Vec<SlotCodec>,
    /// Of the stream that leaves, and of its retransmissions.
    pub ssrc: u32,
    pub rtx_ssrc: Option<u32>,
    /// Of both (RFC 3550 §6.5.1).
    pub cname: String,
    pub ids: ExtensionIds,
}

/// A slot.
#[derive(Debug)]
pub struct Slot {
    pub agreed: Agreed,
    pub track: Option<TrackRef>,
    /// How its client shows the track.
    pub want: Want,
    /// What its client was told of how it fares.
    pub told: Option<Told>,
    /// Since when the client wants what sits in it, and whether its first picture has left.
    pub since: Instant,
    begun: bool,
    /// The last two sender reports, of which one may still be on its way: what their receiver calls
    /// them, and when they left.
    pub reported: [Option<(u32, Instant)>; 2],
    /// What of its track is to be sent; `None`: nothing.
    wanted: Option<Choice>,
    /// Whatever else is chosen changes nothing.
    is_held: bool,
    /// The encoding that is sent, and which of its packets, by their count, is next.
    present: Option<(u8, u64)>,
    /// From which packet of the wanted encoding on a keyframe is looked for; `None`: from those of
    /// this turn.
    watched: Option<u64>,
    /// The picture that it began with (SSRC and timestamp), and how late that left.
    first: Option<(u32, u32)>,
    behind: Duration,
    rewriter: Rewriter,
    /// Of the next retransmission, extended.
    rtx_seq: u64,
    /// Sent so far, and their payload's bytes.
    packets: u32,
    bytes: u32,
    /// Of the packets, those that the last sender report counted.
    reported_packets: u32,
    /// When a keyframe was last asked for on this slot's behalf.
    asked: Option<Instant>,
}

/// Where a peer's packets go, and with what.
pub struct Sending<'a> {
    pub now: Instant,
    pub local: IpAddr,
    pub remote: SocketAddr,
    pub outbound: &'a Outbound,
    /// Gives the next packet its number, where transport-wide numbers were negotiated.
    pub history: &'a mut SendHistory,
    pub resends: &'a mut ResendBudget,
    pub downlink: &'a mut Downlink,
    /// The `abs-send-time` of now.
    pub send_time: [u8; 3],
    pub transmits: &'a mut Transmits,
    pub counters: &'a mut Counters,
}

/// What became of the packets that were given to a slot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub packets: u64,
    /// A keyframe of that encoding must be asked for (again).
    pub wants_keyframe: Option<u8>,
    /// The rest may leave then.
    pub rest_at: Option<Instant>,
}

impl Slot {
    /// An empty slot; where its numbers begin is random (RFC 3550 §5.1), below 2^15 so that a
    /// receiver which loses the first packets guesses the rollover counter right (RFC 3711 §3.3.1).
    pub fn new(agreed: Agreed, rng: &mut Rng, now: Instant) -> Slot {
        let (chance, more) = (rng.next_u64(), rng.next_u64());
        Slot {
            agreed,
            track: None,
            want: Want::default(),
            told: None,
            since: now,
            begun: false,
            reported: [None; 2],
            wanted: None,
            is_held: false,
            present: None,
            watched: None,
            first: None,
            behind: Duration::ZERO,
            rewriter: Rewriter::new((chance >> 32) as u16, chance as u32),
            rtx_seq: more & 0x7fff,
            packets: 0,
            bytes: 0,
            reported_packets: 0,
            asked: None,
        }
    }

    /// The same slot, with what was agreed on since.
    pub fn with(self, agreed: Agreed) -> Slot {
        Slot { agreed, ..self }
    }

    /// Puts another track (or none) in.
    pub fn assign(&mut self, seat: Option<&Seat>, now: Instant) {
        self.track = seat.map(|seat| seat.track);
        self.want = seat.map(|seat| seat.want).unwrap_or_default();
        self.wanted = self.track.filter(|_| self.want.is_seen()).map(|_| WHATEVER);
        (self.told, self.since, self.begun) = (None, now, false);
        self.begin_anew();
    }

    /// Its client shows the track so.
    pub fn set_want(&mut self, want: Want, now: Instant) {
        if want.is_seen() && !self.want.is_seen() {
            (self.since, self.begun) = (now, false);
        }
        self.want = want;
    }

    /// Takes whatever comes first of its track.
    pub fn await_any(&mut self) {
        if self.wanted.is_none() {
            self.choose(Some(WHATEVER));
        }
    }

    /// Whether there is a picture that its client can show.
    pub fn is_showing(&self) -> bool {
        self.present.is_some()
    }

    fn begin_anew(&mut self) {
        self.rewriter.restart();
        (self.present, self.watched, self.asked) = (None, None, None);
    }

    /// Says what of its track is to be sent from now on, or as soon as a decoder can follow;
    /// `None`: nothing.
    pub fn choose(&mut self, choice: Option<Choice>) {
        if !self.is_held {
            self.turn_wish(choice);
        }
    }

    /// Chooses for good, whatever [`Self::choose`] says later. For tests.
    pub fn hold(&mut self, choice: Option<Choice>) {
        self.is_held = true;
        self.turn_wish(choice);
    }

    fn turn_wish(&mut self, choice: Option<Choice>) {
        let encoding = |choice: Option<Choice>| choice.map(|choice| choice.encoding);
        if encoding(choice) != encoding(self.wanted) {
            (self.watched, self.asked) = (None, None);
        }
        self.wanted = choice;
        if choice.is_none() {
            self.begin_anew();
        }
    }

    /// The encoding that is to be sent.
    pub fn wanted(&self) -> Option<u8> {
        self.wanted.map(|choice| choice.encoding)
    }

    /// Of its track's encodings, the one that is sent.
    pub fn present<'e>(&self, encodings: &'e [Encoding]) -> Option<&'e Encoding> {
        let (number, _) = self.present?;
        encodings.get(usize::from(number))
    }

    /// Of which encoding a keyframe must be asked for now: without one, what is wanted cannot be
    /// shown, and nobody asked lately.
    pub fn ask(&mut self, now: Instant) -> Option<u8> {
        let wanted = self.wanted.filter(|_| self.agreed.kind == Kind::Video)?;
        let is_present = self.present.is_some_and(|(number, _)| number == wanted.encoding);
        let needs = !is_present || self.rewriter.needs_keyframe(wanted.layer);
        let due = self.asked.is_none_or(|at| now.saturating_duration_since(at) >= REPEAT_AFTER);
        if needs && due {
            self.asked = Some(now);
        }
        (needs && due).then_some(wanted.encoding)
    }

    /// The codecs that it may carry.
    pub fn codec_list(&self) -> Vec<Codec> {
        self.agreed.codecs.iter().map(|c| c.codec).collect()
    }

    fn codec(&self, sent: Codec) -> Option<SlotCodec> {
        let best = self.agreed.codecs.iter().max_by_key(|own| own.codec.accepts(sent))?;
        (best.codec.accepts(sent) > 0).then_some(*best)
    }

    /// Writes what came of its track.
    pub fn send(&mut self, encodings: &[Encoding], to: &mut Sending<'_>) -> Sent {
        let mut sent = Sent::default();
        let Some(wanted) = self.wanted else { return sent };
        self.send_present(encodings, wanted, to, &mut sent);
        if self.present.is_none_or(|(number, _)| number != wanted.encoding)
            && let Some(begins) = self.find_keyframe(encodings, wanted, to)
        {
            self.turn_to(encodings, wanted, begins, to);
            let cache = self.present(encodings).map(|encoding| &encoding.cache);
            if let Some((cache, first)) = cache.and_then(|cache| Some((cache, cache.at(begins)?))) {
                sent.packets += self.pass(&first, wanted.layer, to);
                sent.packets += self.pass_early(cache, begins, wanted.layer, to);
            }
            self.send_present(encodings, wanted, to, &mut sent);
        }
        sent.wants_keyframe = self.ask(to.now);
        sent
    }

    fn send_present(
        &mut self,
        encodings: &[Encoding],
        wanted: Choice,
        to: &mut Sending<'_>,
        sent: &mut Sent,
    ) {
        let Some((number, next)) = self.present else { return };
        let Some(encoding) = encodings.get(usize::from(number)) else { return };
        // Of an encoding that is to be left, all of what was chosen of it.
        let layer =
            if number == wanted.encoding { Some(wanted.layer) } else { self.rewriter.target() };
        let cache = &encoding.cache;
        // What is too much for the path would be in the way of the keyframe that is to come.
        if number > wanted.encoding && to.downlink.is_flooded() {
            to.counters.drop(DropReason::Paced, cache.end() - next.max(cache.first()));
            self.rewriter.restart();
            self.present = None;
            return;
        }
        let is_paced = self.agreed.kind == Kind::Video;
        if is_paced && next < cache.first() {
            // What is forgotten before it left can be sent by nobody.
            to.counters.drop(DropReason::Paced, cache.end() - next);
            return self.begin_anew();
        }
        for at in next.max(cache.first())..cache.end() {
            let Some(packet) = cache.at(at) else { continue };
            if is_paced && self.is_for(&packet.head, wanted.layer) {
                let turn = to.downlink.pacer.next(to.now);
                if self.is_stale(&packet.head, to.now) {
                    to.counters.drop(DropReason::Paced, cache.end() - at);
                    return self.begin_anew();
                }
                if turn > to.now {
                    sent.rest_at = Some(turn);
                    self.present = Some((number, at));
                    return;
                }
            }
            let layer = layer.unwrap_or(wanted.layer);
            sent.packets += self.pass(&packet, layer, to);
            sent.packets += self.pass_early(cache, at, layer, to);
        }
        self.present = Some((number, cache.end()));
    }

    /// Whether a packet may be of what is sent: what is not need not wait for its turn to be left out.
    fn is_for(&self, head: &Head, wanted: Layer) -> bool {
        let needed = head.frame.needed;
        needed.has(wanted) || self.rewriter.target().is_none_or(|target| needed.has(target))
    }

    /// Whether a packet waited for so long that its picture is better left out. The picture that a
    /// decoder begins with is not: the next such one would take as long. What is behind it waits for
    /// as long as it took, until that is made up for.
    fn is_stale(&mut self, head: &Head, now: Instant) -> bool {
        let late = now.saturating_duration_since(head.received);
        if self.first == Some((head.ssrc, head.timestamp)) {
            self.behind = late;
            return false;
        }
        if late < PACED_MAX / 2 {
            self.behind = Duration::ZERO;
        }
        late > PACED_MAX + self.behind
    }

    /// If what is sent begins with a packet: those that overtook it, which are behind it in number,
    /// not in time; how many were sent.
    fn pass_early(
        &mut self,
        cache: &PacketCache,
        begins: u64,
        wanted: Layer,
        to: &mut Sending<'_>,
    ) -> u64 {
        let first = cache.at(begins).filter(|first| self.rewriter.began_with(&first.head));
        let Some(Packet { head: first, .. }) = first else { return 0 };
        let early = (begins.saturating_sub(OVERTAKING_MAX)..begins)
            .filter_map(|number| cache.at(number))
            .filter(|early| early.head.ssrc == first.ssrc && early.head.seq > first.seq);
        early.map(|packet| self.pass(&packet, wanted, to)).sum()
    }

    /// Whether what is to be sent of its track has never come, as when another encoding came first.
    pub fn misses(&self, encodings: &[Encoding]) -> bool {
        let wanted = self.wanted.and_then(|wanted| encodings.get(usize::from(wanted.encoding)));
        self.wanted.is_some() && wanted.is_none_or(|encoding| encoding.cache.end() == 0)
    }

    /// Since when the first packet waits that may leave as soon as it is its turn.
    pub fn waits(&self, encodings: &[Encoding]) -> Option<Instant> {
        let (number, next) = self.present?;
        let cache = &encodings.get(usize::from(number))?.cache;
        cache.at(next.max(cache.first())).map(|packet| packet.head.received)
    }

    /// The first packet of the wanted encoding with which a decoder can begin.
    fn find_keyframe(
        &mut self,
        encodings: &[Encoding],
        wanted: Choice,
        to: &mut Sending<'_>,
    ) -> Option<u64> {
        let cache = &encodings.get(usize::from(wanted.encoding))?.cache;
        let fresh = cache.end() - cache.fresh_count() as u64;
        let from = self.watched.replace(cache.end()).unwrap_or(fresh).max(cache.first());
        let begins = |n: &u64| cache.at(*n).is_some_and(|packet| packet.head.starts_keyframe);
        let found = (from..cache.end()).find(begins);
        if self.present.is_none() {
            let waited = found.unwrap_or(cache.end()) - from;
            to.counters.drop(DropReason::AwaitingKeyframe, waited);
        }
        found
    }

    /// What is sent from now on is the wanted encoding, from a packet on.
    fn turn_to(
        &mut self,
        encodings: &[Encoding],
        wanted: Choice,
        begins: u64,
        to: &mut Sending<'_>,
    ) {
        let anchor = |encoding: Option<&Encoding>| encoding.and_then(|encoding| encoding.anchor);
        let before = anchor(self.present(encodings));
        self.present = Some((wanted.encoding, begins + 1));
        let first = self.present(encodings).and_then(|encoding| encoding.cache.at(begins));
        self.first = first.map(|first| (first.head.ssrc, first.head.timestamp));
        self.behind = Duration::ZERO;
        if !std::mem::replace(&mut self.begun, true) && self.agreed.kind == Kind::Video {
            let took = to.now.saturating_duration_since(self.since);
            let cause = self.told.map_or(Cause::WaitingKeyframe, |told| told.cause);
            to.counters.first_frame(took, cause as usize);
        }
        self.rewriter.switch(before, anchor(self.present(encodings)));
        self.watched = None;
    }

    /// Writes a packet, if it is to be sent; how many were.
    fn pass(&mut self, packet: &Packet<'_>, wanted: Layer, to: &mut Sending<'_>) -> u64 {
        let Some(codec) = self.codec(packet.head.codec) else {
            to.counters.drop(DropReason::Codec, 1);
            return 0;
        };
        let (rewritten, packet) = match self.rewriter.rewrite(packet, wanted) {
            Outcome::Send(rewritten) => (rewritten, *packet),
            Outcome::Fill(rewritten) => {
                (rewritten, Packet { payload: &[], descriptor: &[], ..*packet })
            }
            Outcome::Skip(reason) => {
                to.counters.drop(reason, 1);
                return 0;
            }
        };
        let fixed = Fixed {
            payload_type: codec.payload_type,
            marker: rewritten.marker,
            seq: rewritten.seq as u16,
            timestamp: rewritten.timestamp,
            ssrc: self.agreed.ssrc,
        };
        let place = Place { fixed, index: rewritten.seq, original: None };
        let Some(bytes) = self.write(&packet, &rewritten, place, to) else { return 0 };
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(packet.payload.len() as u32);
        if self.agreed.kind == Kind::Video {
            to.resends.earn(bytes);
        }
        1
    }

    /// What a sender report says, if something was sent since the last; it counts as reported.
    /// `anchor`: which timestamp of the publisher's stream stands for which moment, if it said so.
    pub fn sender_info(
        &mut self,
        anchor: Option<StreamAnchor>,
        clock: &Clock,
        now: Instant,
    ) -> Option<SenderInfo> {
        if self.packets == self.reported_packets {
            return None;
        }
        let said = anchor.and_then(|StreamAnchor { ssrc, anchor, .. }| {
            let timestamp = anchor.timestamp_at(now, self.rewriter.clock_hz()?);
            self.rewriter.timestamp(ssrc, timestamp)
        });
        let timestamp = said.or_else(|| self.rewriter.timestamp_at(now))?;
        self.reported_packets = self.packets;
        let ntp = clock.ntp(now);
        self.reported = [self.reported[1], Some(((ntp >> 16) as u32, now))];
        Some(SenderInfo { ntp, timestamp, packets: self.packets, bytes: self.bytes })
    }

    /// The publisher's packet that left under that number: its stream and number.
    pub fn origin(&self, seq: u16) -> Option<(u32, u64)> {
        self.rewriter.origin(seq)
    }
}

/// The least of a track, until it is known what there is.
const WHATEVER: Choice = Choice { encoding: 0, layer: Layer::HIGHEST };
/// A keyframe's packets that came before its first and are still found: more than paths reorder.
const OVERTAKING_MAX: u64 = 64;
