//! Every bound in one place. Each says what a larger and a smaller value costs.

use std::time::Duration;

use super::bitrate::Bitrate;
use super::bucket::Rate;

/// Worker threads. The ufrag's first two characters carry the worker (10 bits).
pub const WORKERS_MAX: usize = 64;

/// Largest UDP payload sent: what a path with the smallest MTU of IPv6 takes (1,280 bytes less 48
/// of headers); longer ones are dropped and counted rather than lost on the way. Browsers send
/// video in up to 1,215 bytes, which leave in as many; all that the server says itself stays
/// under 1,200.
pub const DATAGRAM_OUT_BYTES_MAX: usize = 1_232;
/// Largest UDP payload received. WebRTC stacks stay under 1,200 to 1,300 bytes for the
/// smallest common path MTU; larger costs arena memory, smaller truncates what peers may send.
pub const DATAGRAM_BYTES_MAX: usize = 2_048;

/// Bytes that leave in one go: then they are sent before more is built. Larger falls out of the
/// cache between sealing and sending, and makes the first wait for the last; smaller is more calls.
pub const FLUSH_BYTES: usize = 256 * 1024;

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
/// Of them from one source (an IPv4 address, an IPv6 /64), so that one that holds them open and
/// says nothing leaves the others theirs. A page takes up to six and its WebSocket one: more
/// than a thousand people behind one NAT need a proxy that is exempt.
pub const CONNS_PER_SOURCE_MAX: usize = 1_024;
/// Connections that one source may open: each costs a TLS handshake, some 0.3 ms. The burst is
/// for fifty people behind one NAT who open their pages together (seven connections each); the
/// rate leaves one source about 2 % of a core.
pub const CONNS_PER_SOURCE: Rate = Rate::per_second(600, 60);
/// Sessions that one source may begin (join, WHIP, WHEP): each costs an SDP answer, a DTLS
/// handshake and messages to everybody in the room, some 3 ms. A lecture of four hundred behind
/// one NAT may begin at once; the rate leaves one source about a tenth of a core.
pub const JOINS_PER_SOURCE: Rate = Rate::per_second(400, 30);
/// Sources with a connection or not at rest. Beyond it the one next to rest is forgotten, so its
/// buckets are full again; nobody is refused for it. An entry is some 200 bytes.
pub const SOURCES_MAX: usize = 16_384;
/// Offers of one session: up to some milliseconds each for the largest. A page makes one at a
/// time, and another when people came.
pub const OFFERS_PER_SESSION: Rate = Rate::per_second(40, 4);
/// Updates (mute) of one session, each told to everybody in the room.
pub const UPDATES_PER_SESSION: Rate = Rate::per_second(60, 10);
/// Messages of one session about how it shows others, and tracks in one: a page says it a few times a
/// second while it is resized.
pub const WANTS_PER_SESSION: Rate = Rate::per_second(40, 10);
pub const WANTS_MAX: usize = 512;
/// TLS handshakes before established connections get their turn again, some 0.3 ms each.
pub const TLS_HANDSHAKES_PER_TURN: usize = 8;
/// Time for TLS handshake and first HTTP head; then for each further head.
pub const CONN_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// An HTTP connection with nothing asked.
pub const CONN_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The server pings each WebSocket this often. Lower costs a phone's radio, see below for higher.
pub const WS_PING_INTERVAL: Duration = Duration::from_millis(1_500);
/// A WebSocket from which nothing came for so long is dropped (its session may be resumed). More
/// than two pings, so that one lost answer costs nothing. With the grace time that follows, it is
/// what others wait until somebody who vanished is gone.
pub const WS_SILENCE_MAX: Duration = Duration::from_millis(3_500);
/// How long a session outlives its WebSocket, unless configured. Longer keeps ghosts in the
/// roster, shorter makes a client on a bad network join anew.
pub const RESUME_GRACE: Duration = Duration::from_secs(6);
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

/// Encodings of one track (simulcast, RFC 8853). Browsers send three at most; each is a ring of
/// packets and a stream that a publisher may fill.
pub const ENCODINGS_MAX: usize = 3;

/// An encoding of a camera of which nothing came for so long was turned off, and of a screen, which
/// may stand still. Longer freezes the picture of who gets it; shorter takes a pause of the network
/// for one.
pub const ENCODING_SILENCE_MAX: Duration = Duration::from_millis(800);
pub const SCREEN_SILENCE_MAX: Duration = Duration::from_secs(5);
/// A stream that was silent for so long is not asked for keyframes until something comes of it:
/// whoever still needs one says so then. Longer asks in vain for encodings that were turned off;
/// shorter gives up on a publisher whose network pauses.
pub const STREAM_SILENCE_MAX: Duration = Duration::from_secs(5);
/// Between two times that a subscriber's path is spent anew while nothing but rates changes. Shorter
/// follows publishers sooner; longer costs less.
pub const ALLOCATION_INTERVAL: Duration = Duration::from_millis(250);
/// The least of each track is sent up to so much in total, though not known to fit: a picture need
/// not wait for a probe, and none is taken away without a word. Higher floods bad lines; lower
/// leaves large single streams black.
pub const UNPROVED_MAX: Bitrate = Bitrate::from_kbps(6_000);
/// A picture's packet that could not leave for so long is dropped, with those behind it, up to the
/// next keyframe; but not the keyframe itself, and behind one it is so much longer as that took. Longer shows what is old; shorter loses pictures that were about to leave.
pub const PACED_MAX: Duration = Duration::from_millis(400);

/// Addresses from which one peer's valid ICE checks may come at a time; one that is dead gives way
/// to a new one. A phone has two or three; more only feeds a replay.
pub const PEER_ADDRESSES_MAX: usize = 8;
/// New addresses of one peer: those of a start at once, then one a second. A phone
/// that changes its network makes one or two; more only feeds a replay.
pub const NEW_ADDRESSES: Rate = Rate::per_second(8, 1);
/// Addresses of one peer over the life of a ufrag, about 300 bytes each that only an ICE restart
/// gives back. Fewer would make a phone on a train restart.
pub const PEER_ADDRESSES_PER_UFRAG: usize = 128;
/// Transaction ids of a peer's last checks, 8 bytes each: a replay of one of them from another
/// address is known. At a browser's one check in 2.5 s these are 42 minutes.
pub const CHECKS_REMEMBERED: usize = 1_024;
/// A path without a check for so long is dead, and forgotten by `str0m`, whose own time this is.
/// Browsers check at least every 6 s (RFC 7675 §5.1).
pub const PATH_DEAD_AFTER: Duration = Duration::from_secs(15);
/// A WHIP client of which nothing was heard for so long is gone, ahead of [`PATH_DEAD_AFTER`]. One
/// that sends media is heard all the time; one that only checks for consent, 6 s apart at most
/// (RFC 7675 §5.1), outlives a late check. Shorter ends it for a moment without a network.
pub const PUBLISHER_SILENCE_MAX: Duration = Duration::from_secs(9);
/// Media leaves a path on which nothing was heard for so long, if another was checked since.
/// Longer is a longer gap after a change of networks; shorter moves it for a few lost packets.
pub const PATH_SILENT_AFTER: Duration = Duration::from_millis(500);
/// A WHIP or WHEP session that did not connect in this time, or whose peer was lost.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// A retransmission is not repeated for so long while the round trip is unknown, then for one.
/// Shorter doubles what a client asks for twice; longer delays the second attempt at a packet that
/// was lost twice.
pub const RESEND_AFTER: Duration = Duration::from_millis(80);
/// And these bound the round trip, which is measured by what the client says: nobody asks again
/// within the first, and after the second it is too late to ask a third time.
pub const RESEND_AFTER_MIN: Duration = Duration::from_millis(10);
pub const RESEND_AFTER_MAX: Duration = Duration::from_millis(300);
/// Of the bytes of media to a subscriber, one in so many more may be retransmissions: in total at
/// most 1.25 times the media. Smaller feeds a flood of NACKs; larger stops mending at less loss.
pub const RESEND_SHARE: u64 = 4;
/// Unused bytes of that share which a subscriber may save up for a burst of loss.
pub const RESEND_BURST_BYTES: u64 = 128 * 1024;
/// Retransmissions to one subscriber in one turn.
pub const RESENDS_PER_TURN: usize = 64;
/// For how long a video track's packets are kept to be sent again. Longer takes memory with the
/// track's rate (150 kB for each Mbit/s); a retransmission that comes later than this comes too late
/// to be shown.
pub const CACHE_KEPT_FOR: Duration = Duration::from_secs(1);
/// And how many of them, which bounds both what a turn may bring of one track and its memory
/// (1.3 MB): at 1,000 packets a second, the second above. A power of two.
pub const CACHE_PACKETS_MAX: usize = 1_024;
/// Runs of packets that one slot remembers to have left in a row, 24 bytes each: where layers are
/// left out, one for each picture that is sent. Fewer than the pictures of [`CACHE_KEPT_FOR`]
/// would make what they were unknown when it is asked for again.
pub const REWRITE_RUNS_MAX: usize = 64;
/// Retransmissions to one subscriber that are remembered, so that none is repeated within a round
/// trip. Of more, some may be; the budget bounds them all the same. A power of two.
pub const RESENDS_REMEMBERED: usize = 256;
/// Packets of media from one peer: 16 tracks of which some are 4K. More only feeds a flood, and
/// costs every subscriber of its room; fewer breaks bursts of large keyframes.
pub const MEDIA_PACKETS_PER_PEER: Rate = Rate::per_second(4_000, 8_000);
/// And their bytes: 64 Mbit/s.
pub const MEDIA_BYTES_PER_PEER: Rate = Rate::per_second(4_000_000, 8_000_000);
/// Of the rate that a peer declares for what it sends (`b=TIAS` or `b=AS`), so many times are
/// taken, a second's worth at once. Browsers send half as much again while they probe; more leaves
/// a peer that lies more of its room's share.
pub const DECLARED_TIMES_MAX: u64 = 2;
/// And bytes a second beyond that: retransmissions and headers are much of a small rate.
pub const DECLARED_SPARE_BYTES: u64 = 32 * 1024;
/// Datagrams of RTCP from one peer. A browser with 50 videos sends a report for each a second,
/// transport feedback 20 times, and NACKs at most every 20 ms for those that lose.
pub const RTCP_PER_PEER: Rate = Rate::per_second(1_000, 1_000);

/// Streams (SSRCs) of one peer that are known to be its own; of more, the one unused longest has to
/// show itself again. Sixteen tracks with retransmission are 32; a browser that turned its camera
/// off and on has left some behind.
pub const STREAMS_PER_PEER_MAX: usize = 128;

/// Between two keyframe requests to one publisher's stream, asked again until one came: two a
/// second however many join. Lower costs the publisher's bitrate (RFC 4585 §6.3.1 leaves it to the
/// sender); higher delays the first picture of whoever came just after a keyframe.
pub const KEYFRAME_REQUEST_INTERVAL: Duration = Duration::from_millis(500);

/// A packet of a publisher's stream is missing when so many later ones came, as in loss detection
/// of QUIC (RFC 9002 §6.1.1): in a burst, that is at once. Fewer asks in vain for what was only
/// overtaken, at the cost of a packet; more delays the picture.
pub const NACK_REORDER_PACKETS: u64 = 3;
/// Or when a later one came and so long passed. Paths that reorder do so by less.
pub const NACK_REORDER_WAIT: Duration = Duration::from_millis(10);
/// Asked again after so long while the round trip to the publisher is unknown, then after what it
/// is measured to be with its deviation, within these bounds. Shorter asks twice for what is under
/// way.
pub const NACK_REPEAT_AFTER: Duration = Duration::from_millis(100);
pub const NACK_REPEAT_AFTER_MIN: Duration = Duration::from_millis(20);
pub const NACK_REPEAT_AFTER_MAX: Duration = Duration::from_millis(500);
/// Requests for one packet. At a tenth of packets lost both ways, one in ten million is not mended
/// by so many.
pub const NACK_TRIES_MAX: u8 = 10;
/// A packet missing for so long comes too late for those who watch: a keyframe is as soon there.
pub const NACK_AGE_MAX: Duration = Duration::from_secs(1);
/// Packets missing of one stream at a time: most of a second of video, named in one datagram, and
/// 12 KiB. More burdens a path that has just lost so many with as many again.
pub const NACK_MISSING_MAX: usize = 256;

/// Transport-wide sequence numbers of one publisher of which it is remembered when they came, 4
/// bytes each: at the most packets that one may send, a quarter of a second. What comes later than
/// by so many is not reported.
pub const TRANSPORT_WINDOW: usize = 1_024;
/// A publisher's packet is reported after at most so long. `libwebrtc` chooses 50 to 250 ms by
/// the rate: at 100 ms its estimate follows within a round trip or two, for some 10 kbit/s.
pub const FEEDBACK_INTERVAL: Duration = Duration::from_millis(100);
/// Or when so many wait; as many are in one feedback, which so has a thousand bytes at most, and
/// fits a datagram.
pub const FEEDBACK_ARRIVALS_MAX: usize = 350;
/// Packets to one subscriber of which it is remembered when they left, 8 bytes each: half a second
/// for fifty pictures, longer for fewer. What becomes of one is told in a round trip and the
/// receiver's interval for feedback.
pub const SEND_HISTORY: usize = 2_048;

/// What may be sent to a subscriber of whose link nothing is known, as `mediasoup` has it
/// (`initialAvailableOutgoingBitrate`): a small layer and sound at once. Higher fills the queue of
/// a bad link before the first feedback; lower shows a picture only after the first probe.
pub const ESTIMATE_START: Bitrate = Bitrate::from_kbps(600);
/// No estimate is lower, whatever a client says or loses: one voice (`mediasoup` has the same).
/// Higher keeps a link congested that cannot bear it; lower silences who has a bad moment.
pub const ESTIMATE_MIN: Bitrate = Bitrate::from_kbps(30);
/// No estimate is higher, whatever a client says: some thirty videos of 3 Mbit/s. Higher lets one
/// that lies have more of the server's uplink; lower binds a viewer of a large wall.
pub const ESTIMATE_MAX: Bitrate = Bitrate::from_kbps(100_000);

/// Between two reports to a client about what it sends and receives while something flows, the
/// interval of browsers for video. Shorter measures round trips more often; longer lets sound and
/// picture drift apart until the first.
pub const RTCP_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// Letters that may wait in one mailbox lane; media beyond it is dropped and counted, control
/// waits at the sender.
pub const MAILBOX_LETTERS_MAX: usize = 16_384;
/// Packets of media that may wait in one mailbox.
pub const MAILBOX_PACKETS_MAX: usize = 16_384;

const _: () = assert!(SDP_BYTES_MAX < WS_MESSAGE_BYTES_MAX);
// A place in a ring is a number's remainder, and numbers of 16 bits name one packet of it.
const _: () = assert!(TRANSPORT_WINDOW.is_power_of_two() && TRANSPORT_WINDOW <= 1 << 15);
const _: () = assert!(SEND_HISTORY.is_power_of_two() && SEND_HISTORY <= 1 << 15);
// Bytes of a feedback: a head, two of each time, and two of each seven symbols.
const _: () = assert!(20 + 2 * FEEDBACK_ARRIVALS_MAX + 2 * TRANSPORT_WINDOW / 7 < 1_100);
const _: () = assert!(ESTIMATE_MIN.bps() < ESTIMATE_START.bps());
const _: () = assert!(ESTIMATE_START.bps() < ESTIMATE_MAX.bps());
const _: () = assert!(SDP_BYTES_MAX <= HTTP_BODY_BYTES_MAX);
const _: () = assert!(WS_MESSAGE_BYTES_MAX < CONN_OUT_BYTES_MAX);
const _: () = assert!(WORKERS_MAX <= 1024);
const _: () = assert!(CONNS_PER_SOURCE_MAX <= CONNS_MAX / 4 && CONNS_MAX < SOURCES_MAX);
const _: () = assert!(2 * WS_PING_INTERVAL.as_millis() < WS_SILENCE_MAX.as_millis());
// Somebody who vanished is gone in ten seconds.
const _: () = assert!(WS_SILENCE_MAX.as_millis() + RESUME_GRACE.as_millis() <= 9_500);
const _: () = assert!(PEER_ADDRESSES_PER_UFRAG >= PEER_ADDRESSES_MAX);
