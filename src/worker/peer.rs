//! One client's transport and what it sends and receives: the only owner of its `str0m::Rtc`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use str0m::media::Mid;
use str0m::{Candidate, IceCreds, Input, Reason, Rtc};

use super::convert;
use super::downlink::Downlink;
use super::feedback::Feedback;
use super::mux::FourTuple;
use super::paths::Paths;
use super::slot::{Line, Sending, Slot};
use super::streams::{Streams, Taken};
use super::tap::KeySlot;
use super::transmits::Transmits;
use crate::base::bucket::{Bucket, Rate};
use crate::base::counters::{Counters, DropReason};
use crate::base::ids::TrackId;
use crate::base::limits::{
    DECLARED_SPARE_BYTES, DECLARED_TIMES_MAX, MEDIA_BYTES_PER_PEER, MEDIA_PACKETS_PER_PEER,
    PATH_DEAD_AFTER, SDP_M_LINES_MAX, STREAMS_PER_PEER_MAX, TRACKS_PER_PARTICIPANT_MAX,
};
use crate::media::srtp::{self, Inbound, Outbound};
use crate::room::mail::{Address, Role, RoomName};
use crate::wire::codec::Kind;
use crate::wire::signal::Source;
use crate::wire::{rtcp, sdp};

/// A client.
pub struct Peer {
    pub address: Address,
    pub room: RoomName,
    pub role: Role,
    /// Apart, since a packet that passes has no use for its ten kilobytes.
    pub rtc: Box<Rtc>,
    /// Of the client's DTLS certificate, as its first offer said.
    pub fingerprint: String,
    /// Our current ICE credentials.
    pub credentials: IceCreds,
    /// The last offer, as it passed the gate.
    pub offer: String,
    pub paths: Paths,
    /// What the handshake agreed on, once it is done.
    pub keys: KeySlot,
    /// Made of that, when it is first needed.
    session: Option<Session>,
    pub feedback: Feedback,
    pub downlink: Downlink,
    pub streams: Streams,
    /// What it may send.
    media_packets: Bucket,
    media_bytes: Bucket,
    media_bytes_rate: Rate,
    pub tracks: Vec<PeerTrack>,
    pub slots: Vec<Slot>,
    /// By m-line: which slot it is.
    lines: Vec<Option<u16>>,
    /// DTLS is up.
    pub connected: bool,
    /// It is being ended; nothing that comes out of it is news.
    pub closing: bool,
    /// `str0m` panicked on it: nothing may touch its `rtc` any more.
    pub broken: bool,
    /// Where DTLS and media go.
    pub sends_to: Option<FourTuple>,
}

/// SRTP with the client.
#[derive(Debug)]
pub struct Session {
    pub inbound: Inbound,
    pub outbound: Outbound,
}

/// What a peer is reached by.
pub struct Transport {
    pub rtc: Box<Rtc>,
    pub credentials: IceCreds,
    pub keys: KeySlot,
    /// Of ourselves as the receiver of what the client sends.
    pub ssrc: u32,
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
    /// Of its encodings (RFC 8853); empty if there is but one.
    pub rids: Vec<String>,
}

impl Peer {
    /// A client that has made its first offer; nothing is negotiated yet.
    pub fn new(address: Address, room: RoomName, role: Role, transport: Transport) -> Peer {
        let Transport { rtc, credentials, keys, ssrc } = transport;
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
            session: None,
            feedback: Feedback::new(ssrc),
            downlink: Downlink::default(),
            streams: Streams::default(),
            media_packets: Bucket::default(),
            media_bytes: Bucket::default(),
            media_bytes_rate: MEDIA_BYTES_PER_PEER,
            tracks: Vec::new(),
            slots: Vec::new(),
            lines: Vec::new(),
            connected: false,
            closing: false,
            broken: false,
            sends_to: None,
        }
    }

    /// An offer was answered.
    pub fn agree(&mut self, offer: String, mids: &[String]) {
        let payload_types = convert::payload_types(&self.rtc).into_iter();
        let ids = convert::ids(&self.rtc, mids);
        self.streams.agree(payload_types, ids, sdp::announced_streams(&offer));
        self.offer = offer;
    }

    /// Whether the keys are there, made ready for use.
    pub fn has_session(&mut self) -> bool {
        if self.session.is_none()
            && let Some(keys) = self.keys.get()
            && let Some((inbound, outbound)) =
                srtp::session(keys.profile, &keys.material, !keys.from_client)
        {
            self.session = Some(Session { inbound, outbound });
        }
        self.session.is_some()
    }

    /// SRTP, once [`Peer::has_session`].
    pub fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
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

    /// A datagram of RTP, opened in place: what the client sent, and of which track.
    pub fn take_media<'a>(
        &mut self,
        datagram: &'a mut [u8],
        tuple: FourTuple,
        now: Instant,
    ) -> Result<Taken<'a>, DropReason> {
        if !self.has_session() {
            return Err(DropReason::RtpForged);
        }
        let session = self.session.as_ref().ok_or(DropReason::RtpForged)?;
        let bytes = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
        let opened = self.streams.open(&session.inbound, datagram, now)?;
        self.paths.heard(tuple, now);
        // What is forged uses up nothing of what the client may send.
        if !self.media_packets.take(now, MEDIA_PACKETS_PER_PEER)
            || !self.media_bytes.take_many(now, self.media_bytes_rate, bytes)
        {
            self.streams.skip(opened, now);
            return Err(DropReason::MediaRate);
        }
        self.streams.read(opened, datagram, &self.tracks, now)
    }

    /// Panics if something that it keeps is longer than it may be. For tests and simulation.
    pub fn check_invariants(&self) {
        assert!(self.streams.count() <= STREAMS_PER_PEER_MAX);
        assert!(self.tracks.len() <= TRACKS_PER_PARTICIPANT_MAX);
        assert!(self.lines.len() <= SDP_M_LINES_MAX);
        self.paths.check_invariants();
    }

    /// Its slots are those now.
    pub fn set_slots(&mut self, slots: Vec<Slot>) {
        self.slots = slots;
        self.lines.clear();
        for (at, slot) in self.slots.iter().enumerate() {
            let line = usize::from(slot.agreed.line.0);
            if self.lines.len() <= line {
                self.lines.resize(line + 1, None);
            }
            if let Some(place) = self.lines.get_mut(line) {
                *place = Some(at as u16);
            }
        }
    }

    /// One of its slots, and what its packets leave with; `None` before the client is connected.
    /// This is the one place where packets go out.
    pub fn sending<'a>(
        &'a mut self,
        line: Line,
        now: Instant,
        send_time: [u8; 3],
        (transmits, counters): (&'a mut Transmits, &'a mut Counters),
    ) -> Option<(&'a mut Slot, Sending<'a>)> {
        if !self.connected || self.broken || !self.has_session() {
            return None;
        }
        let FourTuple { remote, local } = self.sends_to?;
        let outbound = &self.session.as_ref()?.outbound;
        let at = (*self.lines.get(usize::from(line.0))?)?;
        let slot = self.slots.get_mut(usize::from(at))?;
        let (history, resends) = (&mut self.feedback.history, &mut self.feedback.resends);
        let downlink = &mut self.downlink;
        let sending = Sending {
            now,
            local,
            remote,
            outbound,
            history,
            resends,
            downlink,
            send_time,
            transmits,
            counters,
        };
        Some((slot, sending))
    }

    /// Sends a compound: a report on nothing, with which one begins (RFC 3550 §6.1) whoever would do
    /// without, and what `write` appends of the streams that it is about. `false` if that has
    /// nothing to say, or nothing can be sent yet.
    pub fn send_rtcp(
        &mut self,
        transmits: &mut Transmits,
        write: impl FnOnce(&mut Vec<u8>, &mut Streams, &mut [Slot]) -> bool,
    ) -> bool {
        if !self.connected || self.broken || !self.has_session() {
            return false;
        }
        let (Some(FourTuple { remote, local }), Some(session)) = (self.sends_to, &mut self.session)
        else {
            return false;
        };
        let start = transmits.end();
        let arena = transmits.arena();
        rtcp::receiver_report(arena, self.feedback.ssrc, []);
        let says = write(arena, &mut self.streams, &mut self.slots);
        let sealed = says && session.outbound.seal_rtcp(arena, start);
        match sealed {
            true => _ = transmits.finish(local, remote),
            false => transmits.abandon(),
        }
        sealed
    }

    /// The streams that it receives are over.
    pub fn say_bye(&mut self, transmits: &mut Transmits) {
        self.send_rtcp(transmits, |out, _, slots| {
            let over: Vec<u32> = slots.iter().map(|slot| slot.agreed.ssrc).collect();
            rtcp::bye(out, &over);
            !over.is_empty()
        });
    }

    /// Makes media go to `tuple`, and `str0m` ignore the paths that are silent.
    pub fn move_to(&mut self, tuple: FourTuple, now: Instant) -> Result<(), str0m::RtcError> {
        self.paths.show_again();
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

    /// Whether a check that was admitted on `tuple` tells `str0m` nothing that it needs to know.
    pub fn takes_as_known(&mut self, tuple: FourTuple) -> bool {
        self.connected && self.paths.get_mut(tuple).is_some_and(|p| p.shown.is_some())
    }

    /// When to call `str0m`, which asks for `at`. Where it keeps ICE and has nothing to send, it
    /// looks every 3 s for paths that it has to forget, and none is due before it was silent for
    /// long. (What SCTP sends again after more than 3 s waits with that.)
    pub fn ticks_at(&self, at: Instant, now: Instant) -> Instant {
        let idle = self.connected
            && self.rtc.last_timeout_reason() == Reason::Ice
            && at.saturating_duration_since(now) > ICE_AT_WORK;
        let shown = self.paths.last_shown().filter(|_| idle);
        shown.map_or(at, |shown| at.max(shown + PATH_DEAD_AFTER))
    }

    /// Time moves, so that what was written or asked for leaves with the next drain.
    pub fn tick(&mut self, now: Instant) -> Result<(), str0m::RtcError> {
        self.rtc.handle_input(Input::Timeout(now))
    }
}

/// ICE that has something to send asks to be called sooner than this.
const ICE_AT_WORK: Duration = Duration::from_secs(1);

/// The remote candidate that `str0m` makes of a check from `remote`, by the foundation that it
/// gives to such: equal to it for taking it away and for putting it back.
fn reflexive(remote: SocketAddr, priority: u32) -> Option<Candidate> {
    let (ip, port) = (remote.ip(), remote.port());
    let line = format!("candidate:tmp_prflx 1 udp {priority} {ip} {port} typ prflx");
    Candidate::from_sdp_string(&line).ok()
}
