//! Every bound in one place. Each says what a larger and a smaller value costs.

use std::time::Duration;

/// Worker threads. The ufrag's first two characters carry the worker (10 bits).
pub const WORKERS_MAX: usize = 64;

/// Largest UDP payload received or sent. WebRTC stacks stay under 1,200 to 1,300 bytes for the
/// smallest common path MTU; larger costs arena memory, smaller truncates what peers may send.
pub const DATAGRAM_BYTES_MAX: usize = 2_048;

/// A session description. 64 KiB holds some thirty video slots of a browser; a larger one only
/// costs parsing time (linear in m-lines).
pub const SDP_BYTES_MAX: usize = 60 * 1024;
/// m-lines in one description.
pub const SDP_M_LINES_MAX: usize = 128;
/// Candidate lines in one description; all are ignored (ICE-lite), so this bounds only scanning.
pub const SDP_CANDIDATES_MAX: usize = 32;

/// One WebSocket message. Holds the largest offer as JSON.
pub const WS_MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// One WebSocket message before `join` or `resume` was accepted.
pub const WS_MESSAGE_BYTES_BEFORE_JOIN: usize = 16 * 1024;
/// What may wait to be written to one connection before it is closed as too slow.
pub const CONN_OUT_BYTES_MAX: usize = 1024 * 1024;
/// An HTTP head (request line and headers).
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Headers in one HTTP head.
pub const HTTP_HEADERS_MAX: usize = 64;
/// An HTTP body: an SDP offer at most.
pub const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;
/// TCP connections at once; beyond it new ones are closed at once and counted.
pub const CONNS_MAX: usize = 4_096;
/// Time for TLS handshake and first HTTP head; then for each further head.
pub const CONN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An HTTP connection with nothing asked.
pub const CONN_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The server pings each WebSocket this often.
pub const WS_PING_INTERVAL: Duration = Duration::from_secs(5);
/// A WebSocket from which nothing came for so long is dropped (its session may be resumed).
pub const WS_SILENCE_MAX: Duration = Duration::from_secs(15);
/// A WebSocket that opened and did not join.
pub const WS_JOIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Room names and display names, in characters.
pub const NAME_CHARS_MAX: usize = 64;
/// Participants and viewers in one room.
pub const ROOM_MEMBERS_MAX: usize = 1_000;
/// Rooms in the process.
pub const ROOMS_MAX: usize = 10_000;
/// Sessions in the process.
pub const SESSIONS_MAX: usize = 10_000;
/// Tracks that one participant may publish.
pub const TRACKS_PER_PARTICIPANT_MAX: usize = 16;

/// Addresses from which one peer's valid ICE checks may come at a time; the one unused longest
/// gives way to a new one. A phone has two or three; more only feeds a replay.
pub const PEER_ADDRESSES_MAX: usize = 8;
/// A WHIP or WHEP session that did not connect in this time, or whose peer was lost.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two keyframe requests to one publisher's stream, asked again until one came. Lower
/// costs the publisher's bitrate in bursts of joins (RFC 4585 §6.3.1 leaves it to the sender);
/// higher delays the first picture of whoever came just after a keyframe.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(400);

/// Letters that may wait in one mailbox lane; media beyond it is dropped and counted, control
/// waits at the sender.
pub const MAILBOX_LETTERS_MAX: usize = 16_384;
/// Packets of media that may wait in one mailbox.
pub const MAILBOX_PACKETS_MAX: usize = 16_384;

const _: () = assert!(SDP_BYTES_MAX < WS_MESSAGE_BYTES_MAX);
const _: () = assert!(SDP_BYTES_MAX <= HTTP_BODY_BYTES_MAX);
const _: () = assert!(WS_MESSAGE_BYTES_MAX < CONN_OUT_BYTES_MAX);
const _: () = assert!(WORKERS_MAX <= 1024);
