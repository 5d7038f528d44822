//! One client's transport and what it sends and receives: the only owner of its `str0m::Rtc`.

use std::net::SocketAddr;
use std::time::Instant;

use str0m::media::{KeyframeRequestKind, Mid, Pt};
use str0m::rtp::{RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, IceCreds, Input, Rtc};

use super::convert;
use super::feedback::Feedback;
use super::mux::FourTuple;
use super::paths::Paths;
use super::srtp::Streams;
use super::tap::KeySlot;
use crate::base::counters::{Counters, DropReason};
use crate::base::ids::TrackId;

use crate::base::bucket::{Bucket, Rate};
use crate::base::limits::{
    DECLARED_SPARE_BYTES, DECLARED_TIMES_MAX, MEDIA_BYTES_PER_PEER, MEDIA_PACKETS_PER_PEER,
    SENT_KEPT_FOR, SENT_PACKETS_KEPT, STREAMS_PER_PEER_MAX, TRACKS_PER_PARTICIPANT_MAX,
};
use crate::base::rng::Rng;
use crate::media::keyframes::REPEAT_AFTER;
use crate::media::packet::Packet;
use crate::media::resend::SentPackets;
use crate::media::rewrite::Rewriter;
use crate::room::mail::{Address, Role, RoomName, TrackRef};
use crate::wire::codec::{Codec, Kind};
use crate::wire::payload;
use crate::wire::signal::Source;

/// A client.
pub struct Peer {
    pub address: Address,
    pub room: RoomName,
    pub role: Role,
    pub rtc: Rtc,
    /// Of the client's DTLS certificate, as its first offer said.
    pub fingerprint: String,
    /// Our current ICE credentials.
    pub credentials: IceCreds,
    /// The last offer, as it was given to `str0m`.
    pub offer: String,
    pub paths: Paths,
    /// Its SRTP keys, once the handshake is done.
    pub keys: KeySlot,
    pub feedback: Feedback,
    /// The streams that are the client's for sure.
    pub verified: Streams,
    /// What it may send.
    media_packets: Bucket,
    media_bytes: Bucket,
    media_bytes_rate: Rate,
    pub tracks: Vec<PeerTrack>,
    pub slots: Vec<Slot>,
    /// DTLS is up.
    pub connected: bool,
    /// It is being ended; nothing that comes out of it is news.
    pub closing: bool,
    /// `str0m` panicked on it: nothing may touch its `rtc` any more.
    pub broken: bool,
    /// Where `str0m` sent DTLS or media to last: the chosen pair's far end.
    pub sends_to: Option<SocketAddr>,
    /// By payload type, as negotiated.
    codecs: [Option<Codec>; 128],
    /// The path of the datagram that `str0m` has in its hands.
    pub arrived_on: Option<FourTuple>,
    /// The publisher's streams that were seen, so that a packet finds its track without asking:
    /// the last [`STREAMS_PER_PEER_MAX`], in the order in which they came.
    streams: Vec<(Ssrc, TrackId)>,
}

/// What a peer is reached by.
pub struct Transport {
    pub rtc: Rtc,
    pub credentials: IceCreds,
    pub keys: KeySlot,
}

/// What the client sends on one m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTrack {
    pub id: TrackId,
    pub mid: Mid,
    pub name: String,
    pub kind: Kind,
    pub source: Source,
    pub muted: bool,
}

/// An m-line on which the client receives.
#[derive(Debug)]
pub struct Slot {
    pub mid: Mid,
    pub name: String,
    pub kind: Kind,
    /// What it may carry, with the payload type for it.
    pub codecs: Vec<(Codec, Pt)>,
    pub track: Option<TrackRef>,
    /// Of the outgoing stream, once something was sent.
    pub ssrc: Option<Ssrc>,
    /// What may be asked for again.
    pub sent: SentPackets,
    /// The last two sender reports, of which one may still be on its way: what their receiver calls
    /// them, and when they left.
    pub reported: [Option<(u32, Instant)>; 2],
    rewriter: Rewriter,
    /// When a keyframe was last asked for on this slot's behalf.
    asked: Option<Instant>,
}

/// What became of the packets that were given to a slot.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub packets: u64,
    /// A keyframe must be asked for (again).
    pub wants_keyframe: bool,
}

impl Peer {
    /// A client that has made its first offer; nothing is negotiated yet.
    pub fn new(address: Address, room: RoomName, role: Role, transport: Transport) -> Peer {
        let Transport { rtc, credentials, keys } = transport;
        Peer {
            address,
            room,
            role,
            rtc,
            fingerprint: String::new(),
            credentials,
            offer: String::new(),
            paths: Paths::new(),
            keys,
            feedback: Feedback::default(),
            verified: Streams::default(),
            media_packets: Bucket::default(),
            media_bytes: Bucket::default(),
            media_bytes_rate: MEDIA_BYTES_PER_PEER,
            tracks: Vec::new(),
            slots: Vec::new(),
            connected: false,
            closing: false,
            broken: false,
            sends_to: None,
            arrived_on: None,
            codecs: [None; 128],
            streams: Vec::new(),
        }
    }

    /// Reads the payload types that were negotiated, and forgets which stream was which track.
    pub fn refresh_codecs(&mut self) {
        self.codecs = [None; 128];
        self.streams.clear();
        for params in self.rtc.codec_config().params() {
            if let Some(place) = self.codecs.get_mut(usize::from(*params.pt())) {
                *place = convert::codec(&params.spec());
            }
        }
    }

    /// What the peer may send to its client on `mid`: codecs with their payload types.
    pub fn sendable(&self, mid: Mid) -> Vec<(Codec, Pt)> {
        let Some(media) = self.rtc.media(mid) else {
            return Vec::new();
        };
        let usable = media.remote_pts().iter().filter_map(|pt| {
            let codec = self.codecs.get(usize::from(**pt)).copied().flatten()?;
            Some((codec, *pt))
        });
        usable.collect()
    }

    /// The client says at what rate it sends at most, or nothing about it.
    pub fn declares(&mut self, bps: Option<u64>) {
        let bytes = bps.map(|bps| (bps / 8).saturating_mul(DECLARED_TIMES_MAX));
        let bytes = bytes.map(|bytes| u32::try_from(bytes.saturating_add(DECLARED_SPARE_BYTES)));
        let declared = bytes.map(|bytes| bytes.unwrap_or(u32::MAX));
        let rate = declared.map(|bytes| Rate::per_second(bytes, bytes));
        let lower = rate.filter(|rate| rate.interval > MEDIA_BYTES_PER_PEER.interval);
        self.media_bytes_rate = lower.unwrap_or(MEDIA_BYTES_PER_PEER);
    }

    /// Whether the client may send a packet of media so long now.
    pub fn may_send(&mut self, bytes: usize, now: Instant) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.media_packets.take(now, MEDIA_PACKETS_PER_PEER)
            && self.media_bytes.take_many(now, self.media_bytes_rate, bytes)
    }

    /// A packet that the client sent, with the track that it belongs to.
    pub fn ingest(&mut self, packet: RtpPacket) -> Result<(TrackId, Packet), DropReason> {
        let ssrc = packet.header.ssrc;
        let known = self.streams.iter().find(|(s, _)| *s == ssrc).map(|(_, track)| *track);
        let track = match known {
            Some(track) => track,
            None => self.discover(ssrc).ok_or(DropReason::UnknownStream)?,
        };
        let pt = usize::from(*packet.header.payload_type);
        let codec = self.codecs.get(pt).copied().flatten().ok_or(DropReason::Codec)?;
        Ok((
            track,
            Packet {
                ssrc: *ssrc,
                take: 0,
                seq: *packet.seq_no,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
                codec,
                starts_keyframe: payload::starts_keyframe(codec, &packet.payload),
                extensions: convert::extensions(&packet.header.ext_vals),
                payload: packet.payload,
                received: packet.timestamp,
            },
        ))
    }

    fn discover(&mut self, ssrc: Ssrc) -> Option<TrackId> {
        let mid = self.rtc.direct_api().stream_rx(&ssrc)?.mid();
        let track = self.tracks.iter().find(|t| t.mid == mid)?.id;
        if self.streams.len() >= STREAMS_PER_PEER_MAX {
            self.streams.remove(0);
        }
        self.streams.push((ssrc, track));
        Some(track)
    }

    /// Panics if something that it keeps is longer than it may be. For tests and simulation.
    pub fn check_invariants(&self) {
        assert!(self.streams.len() <= STREAMS_PER_PEER_MAX);
        assert!(self.verified.count() <= STREAMS_PER_PEER_MAX);
        assert!(self.tracks.len() <= TRACKS_PER_PARTICIPANT_MAX);
        self.paths.check_invariants();
    }

    /// Asks the client for a keyframe of a track that it sends; `false` while no stream of it is
    /// known. The request leaves with the next drain.
    pub fn request_keyframe(&mut self, track: TrackId) -> bool {
        // The newest stream: a client that changed its SSRC has left the others.
        let Some((ssrc, _)) = self.streams.iter().rev().find(|(_, t)| *t == track) else {
            return false;
        };
        match self.rtc.direct_api().stream_rx(ssrc) {
            Some(stream) => {
                stream.request_keyframe(KeyframeRequestKind::Pli);
                true
            }
            None => false,
        }
    }

    /// The slot of an m-line.
    pub fn slot_of(&mut self, mid: Mid) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|s| s.mid == mid)
    }

    /// Writes packets of the slot's track to the client, in the order given. They leave with the
    /// next drain. This is the one place where packets go out.
    pub fn send(
        &mut self,
        mid: Mid,
        packets: &[Packet],
        now: Instant,
        counters: &mut Counters,
    ) -> Sent {
        let mut sent = Sent::default();
        let Some(slot) = self.slots.iter_mut().find(|s| s.mid == mid) else {
            return sent;
        };
        if !self.connected {
            return sent;
        }
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(mid, None) else {
            return sent;
        };
        if slot.ssrc.is_none() {
            // What may be sent again is decided here, not by a ratio of its own.
            stream.set_rtx_cache(SENT_PACKETS_KEPT, SENT_KEPT_FOR, None);
            slot.ssrc = Some(stream.ssrc());
        }
        for packet in packets {
            let Some(pt) = slot.payload_type(packet.codec) else {
                counters.drop(DropReason::Codec, 1);
                continue;
            };
            let rewritten = match slot.rewriter.rewrite(packet) {
                Ok(rewritten) => rewritten,
                Err(reason) => {
                    counters.drop(reason, 1);
                    sent.wants_keyframe |= reason == DropReason::AwaitingKeyframe && slot.ask(now);
                    continue;
                }
            };
            let values =
                convert::extension_values(&packet.extensions, rewritten.dependency_descriptor);
            let nackable = slot.kind == Kind::Video;
            if nackable {
                let (seq, bytes) = (rewritten.seq as u16, rewritten.payload.len());
                slot.sent.sent(seq, bytes, now, &mut self.feedback.resends);
            }
            let write = RtpWrite::new(
                pt,
                rewritten.seq.into(),
                rewritten.timestamp,
                packet.received,
                rewritten.payload,
            );
            stream.write_rtp(write.marker(packet.marker).ext_vals(values).nackable(nackable));
            sent.packets += 1;
        }
        sent
    }

    /// Makes media go to `tuple`, and `str0m` ignore the paths that are silent.
    pub fn move_to(&mut self, tuple: FourTuple, now: Instant) -> Result<(), str0m::RtcError> {
        for remote in self.paths.set_aside_for(tuple, now) {
            if let Some(candidate) = reflexive(remote, 0) {
                self.rtc.direct_api().invalidate_candidate(&candidate);
            }
        }
        if self.paths.get_mut(tuple).is_some_and(|p| p.nominated) {
            return self.tick(now);
        }
        // A client that nominated the old path once and for all sends checks without
        // USE-CANDIDATE now; the controlling side chooses by itself.
        self.rtc.direct_api().set_ice_controlling(true);
        let result = self.tick(now);
        self.rtc.direct_api().set_ice_controlling(false);
        result
    }

    /// Lets `str0m` answer checks from `tuple` again after it was set aside.
    pub fn take_back(&mut self, tuple: FourTuple, priority: u32) {
        let Some(path) = self.paths.get_mut(tuple).filter(|p| p.set_aside) else {
            return;
        };
        path.set_aside = false;
        if let Some(candidate) = reflexive(tuple.remote, priority) {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Time moves, so that what was written or asked for leaves with the next drain.
    pub fn tick(&mut self, now: Instant) -> Result<(), str0m::RtcError> {
        self.rtc.handle_input(Input::Timeout(now))
    }
}

/// The remote candidate that `str0m` makes of a check from `remote`, by the foundation that it
/// gives to such: equal to it for taking it away and for putting it back.
fn reflexive(remote: SocketAddr, priority: u32) -> Option<Candidate> {
    let (ip, port) = (remote.ip(), remote.port());
    let line = format!("candidate:tmp_prflx 1 udp {priority} {ip} {port} typ prflx");
    Candidate::from_sdp_string(&line).ok()
}

impl Slot {
    /// An empty slot; where its numbers begin is random (RFC 3550 §5.1).
    pub fn new(
        mid: Mid,
        name: String,
        kind: Kind,
        codecs: Vec<(Codec, Pt)>,
        rng: &mut Rng,
    ) -> Slot {
        let chance = rng.next_u64();
        let rewriter = Rewriter::new((chance >> 32) as u16, chance as u32);
        let (ssrc, sent, reported) = (None, SentPackets::default(), [None; 2]);
        Slot { mid, name, kind, codecs, track: None, ssrc, sent, reported, rewriter, asked: None }
    }

    /// Whether what leaves of it has this SSRC.
    pub fn sends(&self, ssrc: u32) -> bool {
        self.ssrc.is_some_and(|own| *own == ssrc)
    }

    /// Puts another track (or none) in.
    pub fn assign(&mut self, track: Option<TrackRef>) {
        self.track = track;
        self.rewriter.restart();
        self.asked = None;
    }

    /// Whether a keyframe must be asked for now: nothing can be shown, and nobody asked lately.
    pub fn ask(&mut self, now: Instant) -> bool {
        let needs =
            self.kind == Kind::Video && self.track.is_some() && self.rewriter.awaits_keyframe();
        let due = self.asked.is_none_or(|at| now.saturating_duration_since(at) >= REPEAT_AFTER);
        if needs && due {
            self.asked = Some(now);
        }
        needs && due
    }

    fn payload_type(&self, sent: Codec) -> Option<Pt> {
        let best = self.codecs.iter().max_by_key(|(codec, _)| codec.accepts(sent))?;
        (best.0.accepts(sent) > 0).then_some(best.1)
    }

    /// The codecs that it may carry.
    pub fn codec_list(&self) -> Vec<Codec> {
        self.codecs.iter().map(|(codec, _)| *codec).collect()
    }
}
