//! What must hold at every step, and where it is looked at.
//!
//! | invariant | looked at by |
//! |---|---|
//! | no packet crosses rooms or returns to its publisher | [`Observer`]: the label in each payload, against the room of whoever it is sent to |
//! | none forwarded before the fingerprint is verified | [`Observer`]: media leaves only for clients to whom the handshake's last message was sent; the certificate is judged before that. A participant with another certificate than it offered (`hostile`) is never heard of |
//! | none sent to an address without a validated check | [`Observer`]: every datagram out, against the addresses from which a client's own check came |
//! | per output stream a sequence number has one content | [`Observer`]: a window of hashes for each stream |
//! | numbers contiguous over switches | [`Observer`] at each change of the label; [`super::picture`] for picture ids and frames |
//! | timestamps monotone per frame | [`Observer`] (one timestamp, one frame), [`super::picture`] |
//! | layer changes only at legal points | [`Observer`], [`super::picture`]: a stream begins with a keyframe (there are no layers yet) |
//! | one track at most per slot, and it exists | `Room::check_invariants`, `Worker::check_invariants` |
//! | muted or unsubscribed sends nothing | [`super::model`] (nobody perceives it, though whoever is sly sends on), `Worker::check_invariants` (subscribers are the slots that hold the track) |
//! | every queue within its constant | `server::check_inbox` (the real mailboxes), [`super::conns`] (bytes towards a client), `Worker::check_invariants` (streams, addresses, checks and tracks of a peer), `Census::waiting` (nothing outlives a turn) |
//! | PLI towards a publisher within its budget | [`Observer`]: the requests to each client in any second |
//! | RTX towards a subscriber within its budget | [`Observer`]: after each packet, bytes resent against the share of bytes sent |
//! | every map bijective with what it indexes | `Worker::check_invariants`, `Gate::check_invariants`; across workers [`super::world::World::check_calm`] |
//! | a closed session leaves no timer, entry or live byte | [`super::world::World::is_empty`] at each run's end; [`super::system`] |
//! | unauthenticated input leaves nothing and gets no more out than it brought | [`Observer`]: nothing at all is sent to an address without a valid check; the tables are empty at the end |
//! | the next deadline is later than now | [`super::world`], after each turn |
//! | mailbox: sent = received + dropped | [`super::world::World::check_calm`] over the real mailboxes |
//! | every subscription has its keyframe in time on a healthy link | [`super::watch`] for each subscription, every 50 ms while pictures move; [`super::model`] at each checkpoint, also where something broke |
//! | a panic is contained to its room, and planted | [`super::world::World::check_calm`] counts panics; the model judges the other rooms |

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trackyard::base::limits::{PATH_SILENT_AFTER, RESEND_BURST_BYTES, RESEND_SHARE};

use trackyard::media::srtp::{self, Inbound, ReceiveIndex};
use trackyard::wire::rtp::Header;

use super::crypto::{Overheard, PROFILE};
use super::net::ClientId;
use super::picture::{begins_keyframe, read_sound, read_vp8};

/// Payload types of `str0m`'s offers, which the server takes over.
const VP8: u8 = 96;
const VP8_RTX: u8 = 97;
const OPUS: u8 = 111;
/// A client checks its path at least this often (RFC 7675 §5.1).
const NEXT_CHECK: Duration = Duration::from_secs(6);
/// Sequence numbers whose content is remembered.
const WINDOW: u64 = 512;
/// What `media::resend` counts for a packet besides its payload.
const OVERHEAD_BYTES: u64 = 80;
/// Keyframe requests to one video in any second.
const PLI_PER_SECOND_MAX: usize = 2;

/// One stream towards one client.
#[derive(Debug, Default)]
struct Stream {
    highest: Option<u64>,
    contents: BTreeMap<u64, u64>,
    label: Option<ClientId>,
    timestamp: u32,
    frame: u32,
}

/// Sees every datagram that goes into and comes out of the server. It knows the keys that the toy
/// handshake agrees on, so it reads all of them.
#[derive(Default)]
pub struct Observer {
    rooms: BTreeMap<ClientId, String>,
    /// Clients who must never be heard of, nor hear anything.
    outcasts: BTreeSet<ClientId>,
    /// ICE checks that clients made, by a hash of their bytes.
    genuine: HashMap<u64, ClientId>,
    /// Where a genuine check came from, and whose it was.
    validated: BTreeMap<SocketAddr, ClientId>,
    /// Clients to whom the handshake's last message was sent.
    verified: BTreeSet<ClientId>,
    last_checks: BTreeMap<ClientId, Vec<u8>>,
    streams: BTreeMap<(ClientId, u32), Stream>,
    /// Keyframe requests to each client: it has one video.
    requests: BTreeMap<ClientId, VecDeque<Instant>>,
    /// What may yet be sent again to each client, in bytes.
    resends: BTreeMap<ClientId, u64>,
    overheard: BTreeMap<ClientId, Overheard>,
    ears: BTreeMap<ClientId, Ear>,
    /// What clients sent last, for whoever wants to send it again.
    pub recent: VecDeque<(SocketAddr, Vec<u8>)>,
    pub checks: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Addresses from which clients themselves send.
    own: BTreeMap<SocketAddr, ClientId>,
    /// When something that a client itself sent reached the server last, and since when it does
    /// without a pause.
    heard: BTreeMap<ClientId, (Instant, Instant)>,
}

/// Opens what is sent to a client.
struct Ear {
    inbound: Inbound,
    indices: BTreeMap<u32, ReceiveIndex>,
}

impl Ear {
    fn new(keys: &[u8]) -> Ear {
        let (inbound, _) = srtp::session(PROFILE, keys, true).expect("keys of that profile");
        Ear { inbound, indices: BTreeMap::new() }
    }

    /// The packet of RTP in a datagram, and the bytes of its header.
    fn rtp(&mut self, to: ClientId, datagram: &[u8]) -> (Vec<u8>, usize) {
        let header = Header::parse(datagram).expect("a whole header");
        let index = self.indices.entry(header.ssrc).or_default();
        let (seq, ssrc) = (header.seq, header.ssrc);
        let extended = index.guess(seq);
        let extended = extended.unwrap_or_else(|| panic!("{seq} of {ssrc} to {to} twice"));
        let mut packet = datagram.to_vec();
        let end = self.inbound.open_rtp(&mut packet, header.bytes, extended);
        packet.truncate(end.unwrap_or_else(|| panic!("{seq} of {ssrc} to {to} cannot be opened")));
        index.accept(extended);
        (packet, header.bytes)
    }

    fn rtcp(&mut self, to: ClientId, datagram: &[u8]) -> Vec<u8> {
        let mut compound = datagram.to_vec();
        let opened = self.inbound.open_rtcp(&mut compound);
        opened.unwrap_or_else(|e| panic!("RTCP to {to} cannot be opened: {e:?}")).to_vec()
    }
}

fn keep(kept: &mut VecDeque<(SocketAddr, Vec<u8>)>, most: usize, from: SocketAddr, bytes: &[u8]) {
    if kept.len() >= most {
        kept.pop_front();
    }
    kept.push_back((from, bytes.to_vec()));
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn is_check(bytes: &[u8]) -> bool {
    bytes.len() >= 20 && bytes[..2] == [0, 1]
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

impl Observer {
    pub fn add(&mut self, id: ClientId, room: &str) {
        self.rooms.insert(id, room.into());
    }

    pub fn cast_out(&mut self, id: ClientId) {
        self.outcasts.insert(id);
    }

    /// Forgets whatever is not about clients who are there now.
    pub fn forget(&mut self, present: &BTreeSet<ClientId>) {
        let kept = std::mem::take(self);
        let alive = |id: &ClientId| present.contains(id);
        let emptied = |stream: Stream| Stream { contents: BTreeMap::new(), ..stream };
        let streams = kept.streams.into_iter().filter(|((id, _), _)| alive(id));
        *self = Observer {
            rooms: kept.rooms.clone().into_iter().filter(|(id, _)| alive(id)).collect(),
            validated: kept.validated.clone().into_iter().filter(|(_, id)| alive(id)).collect(),
            last_checks: kept.last_checks.into_iter().filter(|(id, _)| alive(id)).collect(),
            verified: kept.verified.iter().copied().filter(alive).collect(),
            own: kept.own.clone().into_iter().filter(|(_, id)| alive(id)).collect(),
            streams: streams.map(|(key, stream)| (key, emptied(stream))).collect(),
            overheard: kept.overheard.into_iter().filter(|(id, _)| alive(id)).collect(),
            ears: kept.ears.into_iter().filter(|(id, _)| alive(id)).collect(),
            heard: kept.heard.clone().into_iter().filter(|(id, _)| alive(id)).collect(),
            ..Observer::default()
        };
    }

    /// A client sent this, and it left its NAT from that address.
    pub fn spoken(&mut self, id: ClientId, public: SocketAddr, bytes: &[u8]) {
        if is_check(bytes) {
            self.genuine.insert(digest(bytes), id);
            self.last_checks.insert(id, bytes.to_vec());
            keep(&mut self.checks, 8, public, bytes);
        }
        keep(&mut self.recent, 64, public, bytes);
        self.own.insert(public, id);
    }

    /// A datagram reached the server.
    pub fn received(&mut self, now: Instant, remote: SocketAddr, bytes: &[u8]) {
        if let Some(id) = self.own.get(&remote) {
            let (last, since) = self.heard.entry(*id).or_insert((now, now));
            if *last + PATH_SILENT_AFTER <= now {
                *since = now;
            }
            *last = now;
        }
        if is_check(bytes)
            && let Some(id) = self.genuine.get(&digest(bytes))
        {
            self.validated.insert(remote, *id);
        }
    }

    /// The server sent a datagram.
    pub fn sent(&mut self, now: Instant, remote: SocketAddr, bytes: &[u8]) {
        let to = self.validated.get(&remote).copied();
        let to = to.unwrap_or_else(|| {
            panic!("{} bytes to {remote}, from where no valid check came", bytes.len())
        });
        if self.overheard.entry(to).or_default().hear(bytes) {
            // Another peer: what was asked of and sent to the one before is over.
            self.requests.remove(&to);
            self.resends.remove(&to);
            self.ears.remove(&to);
        }
        match bytes[0] {
            20..=63 if bytes.starts_with(&[22, 254, 253, 4]) => {
                self.verified.insert(to);
            }
            128..=191 => {
                assert!(self.verified.contains(&to), "media to {to} before its certificate");
                let own = self.own.get(&remote) == Some(&to);
                assert!(own || !self.is_alive(to, now), "media of {to} is diverted to {remote}");
                let keys = self.overheard.get(&to).and_then(|o| o.agreed.as_deref());
                let keys = keys.unwrap_or_else(|| panic!("media to {to} without keys"));
                let ear = self.ears.entry(to).or_insert_with(|| Ear::new(keys));
                match bytes[1] {
                    200..=207 => {
                        let compound = ear.rtcp(to, bytes);
                        self.rtcp(now, to, &compound);
                    }
                    _ => {
                        let (packet, header) = ear.rtp(to, bytes);
                        self.rtp(to, &packet, header);
                    }
                }
            }
            _ => {}
        }
    }

    /// A thread of the server stands still until then, and hears nobody.
    pub fn deaf(&mut self, until: Instant) {
        self.heard.values_mut().for_each(|(_, since)| *since = until.max(*since));
    }

    /// Where checks come from while nothing comes from a client's own address is, for all that the
    /// server can know, its new address; and it takes until the client's next check to know better.
    fn is_alive(&self, id: ClientId, now: Instant) -> bool {
        let heard = self.heard.get(&id);
        heard.is_some_and(|(last, since)| {
            now < *last + PATH_SILENT_AFTER && now >= *since + NEXT_CHECK
        })
    }

    fn rtp(&mut self, to: ClientId, bytes: &[u8], header: usize) {
        assert!(!self.outcasts.contains(&to), "media to {to}, who proved nothing");
        let payload = &bytes[header..];
        if bytes[0] & 32 != 0 {
            // A probe: padding alone, on the retransmission stream.
            assert_eq!(bytes[1] & 127, VP8_RTX);
            assert_eq!(payload.last().map(|count| usize::from(*count)), Some(payload.len()));
            return;
        }
        let (label, frame) = match bytes[1] & 127 {
            VP8 => read_vp8(payload),
            VP8_RTX if payload.len() > 2 => read_vp8(&payload[2..]),
            OPUS => read_sound(payload),
            // Padding on the retransmission stream.
            VP8_RTX => return,
            pt => panic!("payload type {pt} to {to}"),
        }
        .unwrap_or_else(|| panic!("a payload that nobody made, to {to}"));
        assert_ne!(label, to, "a packet came back to its publisher");
        assert!(!self.outcasts.contains(&label), "a packet of {label}, who proved nothing");
        let (theirs, ours) = (self.rooms.get(&label), self.rooms.get(&to));
        assert_eq!(theirs, ours, "a packet of {label} crossed rooms to {to}");
        let resends = self.resends.entry(to).or_default();
        match bytes[1] & 127 {
            VP8_RTX => {
                let again = payload.len() as u64 + OVERHEAD_BYTES;
                let left = resends.checked_sub(again);
                *resends = left.unwrap_or_else(|| panic!("too much is sent again to {to}"));
                return;
            }
            VP8 => {
                let share = (payload.len() as u64 + OVERHEAD_BYTES) / RESEND_SHARE;
                *resends = (*resends + share).min(RESEND_BURST_BYTES);
            }
            _ => {}
        }
        let seq = u16::from_be_bytes([bytes[2], bytes[3]]);
        let stream = self.streams.entry((to, word(bytes, 8))).or_default();
        stream.take(seq, (word(bytes, 4), bytes[1] & 128 != 0), (label, frame), payload);
    }

    fn rtcp(&mut self, now: Instant, to: ClientId, bytes: &[u8]) {
        let mut rest = bytes;
        while rest.len() >= 4 {
            let length = 4 + 4 * usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            assert!(length <= rest.len(), "a compound that does not add up");
            if rest[1] == 206 && rest[0] & 31 == 1 {
                self.request(now, to);
            }
            rest = &rest[length..];
        }
    }

    /// The streams towards a client, with the highest number sent.
    pub fn streams_to(&self, id: ClientId) -> Vec<(u32, u64)> {
        let streams = self.streams.range((id, 0)..=(id, u32::MAX));
        streams.filter_map(|((_, ssrc), s)| Some((*ssrc, s.highest?))).collect()
    }

    /// The client's last ICE check.
    pub fn last_check(&self, id: ClientId) -> Option<&[u8]> {
        self.last_checks.get(&id).map(Vec::as_slice)
    }

    /// A client's SRTP keys.
    pub fn keys_of(&self, id: ClientId) -> Option<&[u8]> {
        self.overheard.get(&id)?.agreed.as_deref()
    }

    fn request(&mut self, now: Instant, to: ClientId) {
        // What another worker handed over is handled as of when it came: a little before now.
        let second = Duration::from_millis(995);
        let requests = self.requests.entry(to).or_default();
        requests.push_back(now);
        while requests.front().is_some_and(|at| *at + second <= now) {
            requests.pop_front();
        }
        let seconds: Vec<_> = requests.iter().map(|at| now - *at).collect();
        assert!(requests.len() <= PLI_PER_SECOND_MAX, "requests to {to}: {seconds:?} ago");
    }
}

impl Stream {
    fn take(
        &mut self,
        seq: u16,
        (timestamp, _marker): (u32, bool),
        (label, frame): (ClientId, u32),
        payload: &[u8],
    ) {
        // Extended by the nearest number to the highest so far; begins well above zero.
        let highest = self.highest.unwrap_or(1 << 20 | u64::from(seq));
        let delta = seq.wrapping_sub(highest as u16) as i16;
        let extended = highest.wrapping_add_signed(delta.into());
        let content = digest(payload);
        let old = self.contents.insert(extended, content);
        assert!(old.is_none_or(|old| old == content), "number {seq} has two contents");
        while self.contents.first_key_value().is_some_and(|(at, _)| *at + WINDOW < extended) {
            self.contents.pop_first();
        }
        if self.highest.is_some() && extended <= highest {
            return;
        }
        // Sound begins anywhere; a picture where a decoder can begin.
        if self.label != Some(label) && read_sound(payload).is_none() {
            assert!(begins_keyframe(payload), "{label} begins in the midst of a picture");
        }
        if let Some(last) = self.label {
            if last != label {
                assert_eq!(extended, highest + 1, "a gap where {label} follows {last}");
            }
            let ahead = timestamp.wrapping_sub(self.timestamp) as i32;
            assert!(ahead >= 0, "the timestamp went back by {} at {seq}", -ahead);
            let same = last == label && frame == self.frame;
            assert_eq!(
                same,
                ahead == 0,
                "{frame} after {} of {label}: one timestamp, one frame",
                self.frame
            );
        }
        self.highest = Some(extended);
        (self.label, self.timestamp, self.frame) = (Some(label), timestamp, frame);
    }
}
