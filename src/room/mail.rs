//! The letters that gate, rooms and peers exchange. Values only; between threads they travel in
//! bounded mailboxes, between a worker's own parts in a queue, and nobody sees the difference.
//!
//! A room has a *home*: the worker whose index its name hashes to, which alone holds membership
//! and slot assignment. A peer lives on the worker that the gate chose for it. So every letter
//! is addressed to a worker, and with one worker all of them come home.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::base::counters::Counters;
use crate::base::ids::{ParticipantId, SessionId, TrackId, WorkerId};
use crate::media::batch::PacketBatch;
use crate::media::speakers::{HEARD_MAX, Summary};
use crate::wire::codec::{Codec, Kind};
use crate::wire::signal::{
    ErrorCode, LeaveReason, Limited, OwnTrack, ParticipantView, RequestId, ServerMessage,
    SlotQuality, SlotView, Source, TrackDescription, TrackWant, Want,
};

/// A room's name, checked by [`crate::room::room_name`]; shared because every letter carries it.
pub type RoomName = Arc<str>;

/// What a session is and may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// A WebSocket client: publishes and subscribes, is in the roster.
    Participant,
    /// A WHIP client: publishes, is in the roster.
    Whip,
    /// A WHEP client: subscribes, is not in the roster. With a name: only to that participant.
    Whep { only: Option<String> },
}

impl Role {
    /// Whether m-lines on which this session sends become tracks.
    pub fn publishes(&self) -> bool {
        !matches!(self, Role::Whep { .. })
    }

    /// As it stands in logs and metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Role::Participant => "participant",
            Role::Whip => "whip",
            Role::Whep { .. } => "whep",
        }
    }

    /// Whether m-lines on which this session receives become slots.
    pub fn subscribes(&self) -> bool {
        !matches!(self, Role::Whip)
    }
}

/// Where a participant's letters go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    pub participant: ParticipantId,
    /// The gate's session, for answers and events.
    pub session: SessionId,
    /// The worker that owns the peer.
    pub worker: WorkerId,
    /// The worker that holds the room.
    pub home: WorkerId,
}

/// A letter on its way out of a core.
#[derive(Debug)]
pub enum Outgoing {
    Worker(WorkerId, ToWorker),
    Gate(ToGate),
}

/// A letter to a worker.
#[derive(Debug)]
pub enum ToWorker {
    /// For the room of that name, whose home the worker is.
    Room(RoomName, RoomLetter),
    /// For a peer that the worker owns.
    Peer(ParticipantId, PeerLetter),
    /// For a track whose publisher's peer the worker owns.
    Track(TrackId, TrackLetter),
    /// Datagrams that the kernel gave to another worker.
    Datagrams(Vec<HandedDatagram>),
    /// Packets of tracks that this worker has subscribers for.
    Relay {
        from: WorkerId,
        packets: PacketBatch,
    },
    /// What went to another worker in the two before, to be filled again.
    SpentDatagrams(Vec<HandedDatagram>),
    SpentPackets(PacketBatch),
    /// A validated 4-tuple is owned by that worker (or by nobody any more): hand its datagrams over.
    Route {
        remote: SocketAddr,
        local: IpAddr,
        owner: Option<WorkerId>,
    },
    /// End all sessions; no new ones come.
    Drain,
}

/// A datagram on its way to the worker that owns its peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedDatagram {
    pub received: Instant,
    pub remote: SocketAddr,
    pub local: IpAddr,
    /// The worker that received it, to be told where the 4-tuple belongs.
    pub via: WorkerId,
    pub bytes: Vec<u8>,
}

/// To a room, at its home.
#[derive(Debug)]
pub enum RoomLetter {
    /// Enter; answered by [`ToGate::Joined`] or [`ToGate::Refused`].
    Join { address: Address, name: String, role: Role, request: Option<RequestId> },
    /// A session came back: answer with [`ToGate::Joined`] again.
    Resume { participant: ParticipantId, request: Option<RequestId> },
    /// Gone. The home tells everybody; closing the peer is the sender's business.
    Leave { participant: ParticipantId, reason: LeaveReason },
    /// What a participant sends and where it receives, complete, after each negotiation.
    /// `fresh` says that the peer is new: nothing sits in its slots yet.
    Negotiated {
        participant: ParticipantId,
        fresh: bool,
        tracks: Vec<TrackOffer>,
        slots: Vec<SlotOffer>,
    },
    /// Something broke while this room was worked on: it ends, and everybody is told.
    Collapse,
    /// A track's packets come in this codec.
    TrackCodec { track: TrackId, codec: Codec },
    /// The participant muted or unmuted a track; answered by `ok` or an error.
    Update { participant: ParticipantId, update: Update },
    /// How a participant shows tracks of others; answered by `ok`.
    Want { participant: ParticipantId, wants: Vec<TrackWant>, request: Option<RequestId> },
    /// What was heard of a microphone.
    Levels { track: TrackId, summary: Summary },
}

/// What a participant says of what it sends on `mid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    pub mid: String,
    pub muted: bool,
    /// `None`: as before.
    pub limited: Option<Limited>,
    pub request: Option<RequestId>,
}

/// A track that a peer negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackOffer {
    pub id: TrackId,
    pub mid: String,
    pub kind: Kind,
    pub source: Source,
    pub muted: bool,
}

/// A slot that a peer negotiated, with the codecs it may carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotOffer {
    pub mid: String,
    pub kind: Kind,
    pub codecs: Vec<Codec>,
}

/// To a peer, at its worker.
#[derive(Debug)]
pub enum PeerLetter {
    /// An offer: makes the peer on the first one (or when it brings another DTLS fingerprint).
    /// Answered by [`ToGate::Answered`].
    Offer {
        address: Address,
        room: RoomName,
        role: Role,
        request: Option<RequestId>,
        sdp: String,
        tracks: Vec<TrackDescription>,
    },
    /// WHIP/WHEP ICE restart (RFC 9725 §4.3.2): the client's new credentials. Answered by
    /// [`ToGate::Restarted`].
    RestartIce { ufrag: String, pwd: String },
    /// A track is muted or not, from here on; goes on to the room as [`RoomLetter::Update`]. Both
    /// this and offers reach the room through the peer's worker, so they arrive as they were sent.
    Update { address: Address, room: RoomName, update: Update },
    /// Put a track into a slot, or nothing.
    Assign { mid: String, seat: Option<Seat> },
    /// The client shows what sits in a slot differently.
    Want { mid: String, want: Want },
    /// End the peer.
    Close,
}

/// A track as a subscriber's worker must know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrackRef {
    pub id: TrackId,
    pub kind: Kind,
    pub source: Source,
    /// The publisher's worker.
    pub worker: WorkerId,
}

/// A track in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seat {
    pub track: TrackRef,
    pub state: TrackState,
    pub want: Want,
}

/// What a room knows of a track that its subscribers' workers go by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackState {
    /// Whom it shows speaks, or spoke last.
    pub speaking: bool,
    pub muted: bool,
    pub limited: Limited,
}

/// To a track, at its publisher's worker or that of subscribers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackLetter {
    /// That worker has subscribers now (or no longer): relay to it.
    Relay { to: WorkerId, wanted: bool },
    /// A subscriber needs a keyframe of that encoding.
    RequestKeyframe { encoding: u8 },
    /// It changed. At every worker that has subscribers.
    State(TrackState),
}

/// From a worker to the gate.
#[derive(Debug)]
pub enum ToGate {
    /// In the room; `others` is everybody else in the roster.
    Joined {
        session: SessionId,
        request: Option<RequestId>,
        others: Vec<ParticipantView>,
        slots: Vec<SlotView>,
        resumed: bool,
    },
    /// A request failed.
    Refused { session: SessionId, request: Option<RequestId>, code: ErrorCode, message: String },
    /// The answer to an offer.
    Answered { session: SessionId, request: Option<RequestId>, answer: Answer },
    /// The server's new ICE credentials.
    Restarted { session: SessionId, result: Result<IceCredentials, String> },
    /// One event for several sessions.
    Event { to: Vec<SessionId>, message: ServerMessage },
    /// How a subscriber's slots fare from now on; those that did not change are left out.
    Quality { session: SessionId, slots: Vec<SlotQuality> },
    /// What was said of that slot is no longer so: its track left it.
    Emptied { session: SessionId, mid: String },
    /// The transport came up.
    Connected { session: SessionId },
    /// The peer ended by itself (closed by the other side, ICE lost, or broken).
    PeerGone { session: SessionId, reason: LeaveReason, why: &'static str },
    /// A room broke: its sessions end with [`ErrorCode::Internal`], and may join again.
    RoomEnded { sessions: Vec<SessionId> },
    /// Once a second.
    Report { worker: WorkerId, counters: Box<Counters>, rooms: Vec<RoomReport> },
    /// After [`ToWorker::Drain`]: everything was said.
    Drained { worker: WorkerId },
}

/// A negotiated answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub sdp: String,
    pub tracks: Vec<OwnTrack>,
    /// What stands in `sdp`, for whoever needs it apart.
    pub ice: IceCredentials,
}

/// ICE credentials of the server's side (RFC 8839 §5.4), and the candidates that go with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IceCredentials {
    pub ufrag: String,
    pub pwd: String,
    /// As `candidate:…` values (RFC 8839 §5.1).
    pub candidates: Vec<String>,
}

/// What rooms may have and do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomSettings {
    /// Microphones of one room that are forwarded at a time: of more, the loudest.
    pub heard_max: usize,
    /// Pictures that one viewer gets at a time.
    pub last_n: usize,
    /// Participants of one room that may send.
    pub publishers_max: usize,
}

impl Default for RoomSettings {
    fn default() -> RoomSettings {
        RoomSettings { heard_max: HEARD_MAX, last_n: usize::MAX, publishers_max: usize::MAX }
    }
}

/// A room as `GET /api/rooms` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RoomReport {
    pub room: String,
    pub participants: usize,
    pub viewers: usize,
    pub tracks: usize,
}
