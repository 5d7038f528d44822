//! The streams that a client sends: whose packet is it, was it there before, and what is in it.

use std::time::Instant;

use str0m::media::Mid;

use super::peer::PeerTrack;
use crate::base::counters::DropReason;
use crate::base::ids::TrackId;
use crate::base::limits::{STREAM_SILENCE_MAX, STREAMS_PER_PEER_MAX};
use crate::media::clock::{PublisherClock, StreamAnchor, StreamClock};
use crate::media::extensions::{ExtensionIds, Received};
use crate::media::layers::Layers;
use crate::media::nack::Missing;
use crate::media::packet::{Head, Packet};
use crate::media::reception::Reception;
use crate::media::srtp::{Inbound, ReceiveIndex};
use crate::media::transport_cc::Arrivals;
use crate::wire::codec::{Codec, Kind};
use crate::wire::payload;
use crate::wire::rtcp::{self, ReportBlock, SenderInfo};
use crate::wire::rtp::Header;
use crate::wire::sdp::AnnouncedStream;

/// All of them. Bounded: of more than [`STREAMS_PER_PEER_MAX`], the one unused longest has to show
/// itself again.
#[derive(Debug)]
pub struct Streams {
    list: Vec<Stream>,
    payload_types: Box<[PayloadType; 128]>,
    ids: ExtensionIds,
    announced: Vec<AnnouncedStream>,
    /// Of all packets, over all streams.
    pub arrivals: Arrivals,
    /// The client's clock, as its reports tell it.
    clock: PublisherClock,
    /// How many streams began so far.
    begun: u32,
}

/// What a payload type was negotiated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayloadType {
    Unknown,
    /// `repeats`: the client takes NACKs for it (RFC 4585 §4.2).
    Media {
        codec: Codec,
        repeats: bool,
    },
    /// Retransmissions (RFC 4588) of that other payload type.
    Rtx {
        of: u8,
    },
}

/// With as many again as one stream may miss, it still fits a datagram.
const NACK_BYTES_ENOUGH: usize = 100;

/// A packet that was sent again is of a stream whose newest is not further from it, where nothing
/// else tells: half a second of the fastest.
const RTX_NEAR: u64 = 512;

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    /// Which of all that began it is: one that was forgotten and comes back is another.
    number: u32,
    index: ReceiveIndex,
    /// The m-line's track and which of its encodings, as soon as they are known.
    place: Option<(TrackId, u8)>,
    /// It carries retransmissions of another one.
    is_rtx: bool,
    /// Which one, as soon as it is known.
    repairs: Option<u32>,
    reception: Reception,
    missing: Missing,
    clock: StreamClock,
    layers: Layers,
    last: Instant,
}

/// A packet that is the client's, and of a track.
#[derive(Debug)]
pub struct Taken<'a> {
    pub track: TrackId,
    pub packet: Packet<'a>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            list: Vec::new(),
            payload_types: Box::new([PayloadType::Unknown; 128]),
            ids: ExtensionIds::default(),
            announced: Vec::new(),
            arrivals: Arrivals::default(),
            clock: PublisherClock::default(),
            begun: 0,
        }
    }
}

impl Streams {
    /// A description was agreed on. [`Self::keep`] follows.
    pub fn agree(
        &mut self,
        payload_types: impl Iterator<Item = (u8, PayloadType)>,
        ids: ExtensionIds,
        announced: Vec<AnnouncedStream>,
    ) {
        *self.payload_types = [PayloadType::Unknown; 128];
        for (number, payload_type) in payload_types {
            if let Some(place) = self.payload_types.get_mut(usize::from(number)) {
                *place = payload_type;
            }
        }
        (self.ids, self.announced) = (ids, announced);
    }

    /// Which stream is of which track is asked anew where a track is not as it was before. Of the
    /// others it need not be said again: clients do so only until they are reported on.
    pub fn keep(&mut self, before: &[PeerTrack], now: &[PeerTrack]) {
        let Streams { list, announced, .. } = self;
        for stream in list {
            stream.place = stream.place.filter(|(id, _)| {
                let old = before.iter().find(|track| track.id == *id);
                let new = now.iter().find(|track| track.id == *id);
                old.zip(new).is_some_and(|(old, new)| {
                    let elsewhere =
                        |a: &AnnouncedStream| a.ssrc == stream.ssrc && a.mid != new.name;
                    old.rids == new.rids && !announced.iter().any(elsewhere)
                })
            });
        }
    }

    /// What a payload type was negotiated for.
    pub fn payload_type(&self, number: u8) -> PayloadType {
        let known = self.payload_types.get(usize::from(number));
        known.copied().unwrap_or(PayloadType::Unknown)
    }

    /// Opens a datagram in place. Nothing changes for one that is forged or was there before.
    /// Gives its header and where what is in it ends.
    pub fn open(
        &mut self,
        inbound: &Inbound,
        datagram: &mut [u8],
        now: Instant,
    ) -> Result<(Header, u64, usize), DropReason> {
        let header = Header::parse(datagram).ok_or(DropReason::RtpForged)?;
        let known = self.list.iter().position(|stream| stream.ssrc == header.ssrc);
        let first = ReceiveIndex::default();
        let known_stream = known.and_then(|at| self.list.get(at));
        let index = known_stream.map_or(&first, |stream| &stream.index);
        let index = index.guess(header.seq).ok_or(DropReason::RtpReplay)?;
        let end = inbound.open_rtp(datagram, header.bytes, index).ok_or(DropReason::RtpForged)?;
        let stream = match known {
            Some(at) => self.list.get_mut(at),
            None => self.begin(header.ssrc, now),
        };
        if let Some(stream) = stream {
            stream.index.accept(index);
            stream.last = now;
        }
        Ok((header, index, end))
    }

    fn begin(&mut self, ssrc: u32, now: Instant) -> Option<&mut Stream> {
        if self.list.len() >= STREAMS_PER_PEER_MAX {
            let stalest = self.list.iter().enumerate().min_by_key(|(_, stream)| stream.last);
            let at = stalest.map(|(at, _)| at)?;
            self.list.swap_remove(at);
        }
        self.begun = self.begun.wrapping_add(1);
        self.list.push(Stream {
            ssrc,
            number: self.begun,
            index: ReceiveIndex::default(),
            place: None,
            is_rtx: false,
            repairs: None,
            reception: Reception::default(),
            missing: Missing::default(),
            clock: StreamClock::default(),
            layers: Layers::default(),
            last: now,
        });
        self.list.last_mut()
    }

    /// An opened packet is not used. It is not missing for that: whoever sends too much is not asked
    /// for more.
    pub fn skip(&mut self, (header, index, _): (Header, u64, usize), now: Instant) {
        let payload_type = self.payload_type(header.payload_type);
        let stream = self.list.iter_mut().find(|stream| stream.ssrc == header.ssrc);
        if let (PayloadType::Media { repeats: true, .. }, Some(stream)) = (payload_type, stream) {
            stream.missing.received(index, now);
        }
    }

    /// What an opened packet is, and of which track.
    pub fn read<'a>(
        &mut self,
        (header, index, end): (Header, u64, usize),
        datagram: &'a [u8],
        tracks: &[PeerTrack],
        now: Instant,
    ) -> Result<Taken<'a>, DropReason> {
        let packet = datagram.get(..end).ok_or(DropReason::RtpForged)?;
        let said = Received::read(&header, packet, &self.ids);
        if let Some(number) = said.transport_sequence_number {
            self.arrivals.received(number, now);
        }
        let end = header.payload_end(packet).ok_or(DropReason::RtpForged)?;
        let payload = packet.get(header.bytes..end).ok_or(DropReason::RtpForged)?;
        let place = self.place(&header, &said, tracks).ok_or(DropReason::UnknownStream)?;
        let (ssrc, seq, codec, payload) = match self.payload_type(header.payload_type) {
            PayloadType::Media { codec, repeats } => {
                if let Some(stream) = self.list.iter_mut().find(|s| s.ssrc == header.ssrc) {
                    stream.reception.received(index, header.timestamp, now, codec.clock_hz());
                    if repeats {
                        stream.missing.received(index, now);
                    }
                }
                (header.ssrc, index, codec, payload)
            }
            PayloadType::Rtx { of } => {
                let PayloadType::Media { codec, .. } = self.payload_type(of) else {
                    return Err(DropReason::Codec);
                };
                let ([high, low], payload) =
                    payload.split_first_chunk().ok_or(DropReason::RtxUnused)?;
                let seq = u16::from_be_bytes([*high, *low]);
                let (ssrc, seq) = self.repaired(place, header.ssrc, seq, now)?;
                (ssrc, seq, codec, payload)
            }
            PayloadType::Unknown => return Err(DropReason::Codec),
        };
        let stream = self.list.iter_mut().find(|stream| stream.ssrc == ssrc);
        let stream = stream.ok_or(DropReason::UnknownStream)?;
        let (mut frame, starts_keyframe) = stream.layers.read(seq, codec, payload, said.descriptor);
        frame.is_end |= header.marker;
        if starts_keyframe {
            stream.missing.keyframe(seq);
        }
        let (track, encoding) = place;
        let head = Head {
            ssrc,
            encoding,
            take: stream.number,
            seq,
            timestamp: header.timestamp,
            marker: header.marker,
            codec,
            starts_keyframe,
            frame,
            counters: payload::counters(codec, payload),
            extensions: said.passing,
            received: now,
        };
        Ok(Taken { track, packet: Packet { head, payload, descriptor: said.descriptor } })
    }

    /// The original of a retransmission: its stream and number, unless it is there already.
    fn repaired(
        &mut self,
        place: (TrackId, u8),
        rtx: u32,
        seq: u16,
        now: Instant,
    ) -> Result<(u32, u64), DropReason> {
        let named = self.announced.iter().find(|a| a.rtx == Some(rtx)).map(|a| a.ssrc);
        let known = self.list.iter().find(|stream| stream.ssrc == rtx).and_then(|s| s.repairs);
        let known = named.or(known).map(|ssrc| (ssrc, true));
        let found = known.or_else(|| self.repairs(place, seq));
        let (ssrc, is_sure) = found.ok_or(DropReason::RtxUnused)?;
        if is_sure && let Some(stream) = self.list.iter_mut().find(|stream| stream.ssrc == rtx) {
            stream.repairs = Some(ssrc);
        }
        let original = self
            .list
            .iter_mut()
            .find(|stream| stream.ssrc == ssrc && stream.place == Some(place) && !stream.is_rtx);
        let original = original.ok_or(DropReason::RtxUnused)?;
        let index = original.index.guess(seq).ok_or(DropReason::RtxUnused)?;
        original.index.accept(index);
        original.missing.received(index, now);
        Ok((original.ssrc, index))
    }

    /// The stream of a track's encoding that a packet which was sent again is of, and whether that
    /// is sure: of several, as a client has that changed its SSRC, one that misses it, or else the
    /// newest, if it is near to what came of that.
    fn repairs(&self, place: (TrackId, u8), seq: u16) -> Option<(u32, bool)> {
        let of_it = || self.list.iter().filter(|s| s.place == Some(place) && !s.is_rtx);
        let misses = |stream: &&Stream| {
            stream.index.guess(seq).is_some_and(|index| stream.missing.has(index))
        };
        if let Some(stream) = of_it().filter(misses).max_by_key(|stream| stream.number) {
            return Some((stream.ssrc, true));
        }
        let newest = of_it().max_by_key(|stream| stream.number)?;
        let is_near = newest.index.distance(newest.index.guess(seq)?) < RTX_NEAR;
        (is_near || of_it().count() == 1).then_some((newest.ssrc, false))
    }

    /// The track of a packet's stream (RFC 9143 §9.2): by what was announced, by its MID, or
    /// because its payload type can be of no other. Of which encoding, only its RID tells.
    fn place(
        &mut self,
        header: &Header,
        said: &Received<'_>,
        tracks: &[PeerTrack],
    ) -> Option<(TrackId, u8)> {
        let known = self.list.iter().find(|stream| stream.ssrc == header.ssrc)?.place;
        if known.is_some() {
            return known;
        }
        let by_mid = || {
            let mid = Mid::from(std::str::from_utf8(said.mid?).ok()?);
            tracks.iter().find(|track| track.mid == mid)
        };
        let announced = || {
            let of = |a: &&AnnouncedStream| a.ssrc == header.ssrc || a.rtx == Some(header.ssrc);
            let mid = &self.announced.iter().find(of)?.mid;
            tracks.iter().find(|track| track.name == *mid)
        };
        let only = || {
            let kind = match self.payload_type(header.payload_type) {
                PayloadType::Media { codec, .. } => codec.kind(),
                PayloadType::Rtx { .. } => Kind::Video,
                PayloadType::Unknown => return None,
            };
            let mut of_kind = tracks.iter().filter(|track| track.kind == kind);
            of_kind.next().filter(|_| of_kind.next().is_none())
        };
        let track = by_mid().or_else(announced).or_else(only)?;
        let encoding = match track.rids.is_empty() {
            true => 0,
            false => track.rids.iter().position(|rid| Some(rid.as_bytes()) == said.rid)?,
        };
        let place = (track.id, encoding as u8);
        let stream = self.list.iter_mut().find(|stream| stream.ssrc == header.ssrc)?;
        stream.place = Some(place);
        let payload_type = self.payload_types.get(usize::from(header.payload_type));
        stream.is_rtx = matches!(payload_type, Some(PayloadType::Rtx { .. }));
        Some(place)
    }

    /// The stream of a track's encoding that can be asked for a keyframe: the newest, unless it has
    /// long been silent, as one that the browser turned off.
    pub fn asked(&self, place: (TrackId, u8), now: Instant) -> Option<u32> {
        let ssrc = self.newest(place)?;
        let stream = self.list.iter().find(|stream| stream.ssrc == ssrc)?;
        (now.saturating_duration_since(stream.last) < STREAM_SILENCE_MAX).then_some(ssrc)
    }

    /// The stream of a track's encoding that sends media now: the one of which something came last,
    /// since a client that changed its SSRC has left the others.
    fn newest(&self, place: (TrackId, u8)) -> Option<u32> {
        let of_it = |stream: &&Stream| stream.place == Some(place) && !stream.is_rtx;
        self.list.iter().filter(of_it).max_by_key(|stream| stream.last).map(|s| s.ssrc)
    }

    /// When something is to be said of them: what is missing, or what came.
    pub fn deadline(&self) -> Option<Instant> {
        let missing = self.list.iter().filter_map(|stream| stream.missing.deadline());
        missing.chain(self.arrivals.deadline()).min()
    }

    /// Appends NACKs for what is to be asked for again now, until they fill a datagram; `numbers` is
    /// used for it. Whether there were any: then there may be more.
    pub fn nacks(
        &mut self,
        now: Instant,
        sender: u32,
        numbers: &mut Vec<u16>,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        for stream in &mut self.list {
            numbers.clear();
            stream.missing.due(now, numbers);
            rtcp::nack(out, sender, stream.ssrc, numbers.iter().copied());
            if out.len() - start > NACK_BYTES_ENOUGH {
                break;
            }
        }
        out.len() > start
    }

    /// A track's encoding of which something was given up: only a keyframe mends that.
    pub fn take_given_up(&mut self) -> Option<(TrackId, u8)> {
        let mut given_up = self
            .list
            .iter_mut()
            .filter_map(|stream| stream.missing.take_given_up().then_some(stream.place).flatten());
        given_up.next()
    }

    /// One of them; 0 if there is none.
    pub fn any(&self) -> u32 {
        self.list.first().map_or(0, |stream| stream.ssrc)
    }

    /// What is said of those of which something came since `since`.
    pub fn blocks(
        &mut self,
        since: Option<Instant>,
        now: Instant,
    ) -> impl Iterator<Item = ReportBlock> {
        let heard = self.list.iter_mut().filter(move |stream| Some(stream.last) > since);
        heard.filter_map(move |stream| stream.reception.block(stream.ssrc, now))
    }

    /// A sender report of one of them came. See [`Self::anchors`].
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, now: Instant) {
        let Some(stream) = self.list.iter_mut().find(|stream| stream.ssrc == ssrc) else {
            return;
        };
        stream.reception.sender_report(info.ntp, now);
        if info.ntp != 0 {
            self.clock.report(info.ntp, now);
        }
        stream.clock.report(info.ntp, info.timestamp);
    }

    /// Which timestamp stands for which moment in each stream of a track that was reported. A
    /// report of one may tell that the client's clock was read wrongly for all: unless all are told
    /// anew, voice and picture come apart until the next report of the other.
    pub fn anchors(&self) -> impl Iterator<Item = (TrackId, StreamAnchor)> {
        let media = self.list.iter().filter(|stream| !stream.is_rtx);
        media.filter_map(|s| {
            let (track, encoding) = s.place?;
            let anchor = s.clock.anchor(&self.clock)?;
            Some((track, StreamAnchor { encoding, ssrc: s.ssrc, anchor }))
        })
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::clock::Anchor;
    use crate::wire::frame::Layer;
    use crate::wire::rtp::{Fixed, Writer};
    use std::time::Duration;

    /// Reports of voice and picture that were captured together, of which the first come late.
    #[test]
    fn voice_and_picture_are_read_by_the_same_clock() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut streams = Streams::default();
        for (ssrc, is_rtx) in [(1, false), (2, false), (3, true)] {
            let stream = streams.begin(ssrc, start).expect("there is room");
            (stream.place, stream.is_rtx) = (Some((TrackId(u64::from(ssrc.min(2))), 0)), is_rtx);
        }
        assert_eq!(streams.anchors().count(), 0);
        for (ssrc, at, comes) in [(1, 0, 400), (2, 0, 380), (3, 0, 390), (1, 1_000, 1_020)] {
            let (ntp, timestamp) = ((100 << 32) + ((at << 32) / 1_000), at as u32 * 90);
            let info = SenderInfo { ntp, timestamp, ..SenderInfo::default() };
            streams.sender_report(ssrc, &info, start + ms(comes));
        }
        let anchors: Vec<(TrackId, StreamAnchor)> = streams.anchors().collect();
        let anchor = |ssrc, at, timestamp| {
            let anchor = Anchor { at: start + ms(at), timestamp };
            (TrackId(u64::from(ssrc)), StreamAnchor { encoding: 0, ssrc, anchor })
        };
        // The report that took 20 ms tells when the others were made, too.
        let expected = [anchor(1, 1_020, 90_000), anchor(2, 20, 0)];
        assert_eq!(anchors, expected);
    }

    /// A client that changed its SSRC sends packets of the stream before once more.
    #[test]
    fn what_is_sent_again_is_of_the_stream_that_misses_it() {
        let start = Instant::now();
        let place = (TrackId(1), 0);
        let mut streams = Streams::default();
        for (ssrc, numbers) in [(1, [100, 102]), (2, [5_000, 5_002])] {
            let stream = streams.begin(ssrc, start).expect("there is room");
            stream.place = Some(place);
            for number in numbers {
                stream.index.accept(number);
                stream.missing.received(number, start);
            }
        }
        assert_eq!(streams.repairs(place, 101), Some((1, true)));
        assert_eq!(streams.repairs(place, 5_001), Some((2, true)));
        assert_eq!(streams.repairs(place, 4_990), Some((2, false)), "asked for no more");
        assert_eq!(streams.repairs(place, 5_002), None, "it is there");
        assert_eq!(streams.repairs(place, 20_000), None, "of neither");
    }

    /// What its descriptors say goes before its payload, which says the contrary, and the marker
    /// ends a frame whatever they say.
    #[test]
    fn a_packet_is_of_the_layers_that_its_stream_told() {
        let now = Instant::now();
        let mut streams = Streams::default();
        let media = PayloadType::Media { codec: Codec::Av1 { profile: 0 }, repeats: false };
        let ids = ExtensionIds { dependency_descriptor: 3, ..Default::default() };
        streams.agree([(96, media)].into_iter(), ids, Vec::new());
        streams.begin(7, now).expect("there is room").place = Some((TrackId(1), 0));
        let mut read = |seq, marker, descriptor: &[u8], payload: &[u8]| {
            let (mut packet, ssrc) = (Vec::new(), 7);
            let fixed = Fixed { payload_type: 96, marker, seq, timestamp: 0, ssrc };
            let mut writer = Writer::begin(&mut packet, fixed, true);
            writer.element(3, descriptor);
            writer.end();
            packet.extend_from_slice(payload);
            let header = Header::parse(&packet).expect("whole");
            let opened = (header, seq.into(), packet.len());
            let taken = streams.read(opened, &packet, &[], now).expect("of a track");
            (taken.packet.head.frame, taken.packet.head.starts_keyframe)
        };
        // L1T2: two templates of the lower layer, one of the upper.
        let structure = [0x80, 0, 1, 0x80, 1, 0x1e, 0xa8, 0x51, 0x41, 1, 0x0c, 4, 0xfc, 3, 0xbc];
        let (frame, starts_keyframe) = read(1, false, &structure, &[0x10]);
        assert!(starts_keyframe && frame.is_start && !frame.is_end);
        let (frame, starts_keyframe) = read(2, true, &[0x82, 0, 2], &[0x18]);
        assert_eq!((frame.layer, frame.is_end), (Layer { spatial: 0, temporal: 1 }, true));
        assert!(!starts_keyframe && !frame.needed.has(Layer::LOWEST));
    }
}
