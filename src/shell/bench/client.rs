//! One client: a socket, an ICE agent that keeps its path alive, and SRTP towards the server and
//! towards the floor.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::handshake::Keys;
use super::histogram::Histogram;
use super::offer::{AUDIO_PT, TRANSPORT_ID, VIDEO_PT};
use super::outbox::Outbox;
use super::stream::{Id, Incoming, Outgoing, Place, Stamp};
use super::stun::{self, Ice};
use crate::config::BenchMedia;
use crate::media::srtp::{self, Inbound, Outbound, Profile};
use crate::media::transport_cc::Arrivals;
use crate::wire::rtcp::{SenderInfo, receiver_report, sender_report, source_description};
use crate::wire::rtp::Header;

/// Whom the clients send to and receive from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Server,
    Floor,
}

pub struct Client {
    /// Away while the receiving buffers are around it.
    pub socket: Option<UdpSocket>,
    pub address: SocketAddr,
    /// Which of the measured cases it belongs to.
    pub case: usize,
    pub id: Id,
    pub ice: Ice,
    /// Receivers of each packet that it sends; none if it only receives.
    pub audience: u64,
    /// Whether it gets what others send.
    pub receives: bool,
    pub server: Link,
    pub floor: Option<Link>,
    checks: u64,
}

/// SRTP with one other side.
pub struct Link {
    pub remote: SocketAddr,
    pub video: Outgoing,
    pub audio: Outgoing,
    /// Media time since the last keyframe began.
    since_keyframe: Duration,
    profile: Profile,
    inbound: Inbound,
    outbound: Outbound,
    incoming: Vec<Incoming>,
    /// Which of them came last.
    last: usize,
    /// The next number of all that is sent, if it is numbered.
    transport: u16,
    /// When what is numbered came.
    arrivals: Arrivals,
}

/// When something came.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since the Unix epoch, as the kernel stamped it.
    pub wall: Duration,
    /// When it was read.
    pub read: Instant,
}

/// What was counted since it was taken last.
#[derive(Debug, Clone)]
pub struct Tally {
    /// Packets of media.
    pub sent: u64,
    /// That should have come, and did.
    pub expected: u64,
    pub received: u64,
    /// RTCP that came.
    pub reports: u64,
    /// Media in another payload type than was sent: retransmissions, probes.
    pub others: u64,
    /// From when a publisher wrote a packet until it was in a subscriber's socket, of a sample.
    pub latency: Histogram,
    /// Of the sample: forged, or not what the room sends.
    pub wrong: u64,
    /// Frames, and those that were sent too late.
    pub bursts: u64,
    pub late: u64,
    until_sample: u32,
}

/// One packet in so many is opened and looked at. A prime, so that it is another one of each burst.
const SAMPLE: u32 = 17;
/// Joins wait no longer for a picture, and nobody has to listen to requests.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(1);
const VIDEO_HZ: f64 = 90_000.0;
pub const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
const AUDIO_TICKS: u32 = 960;
/// 64 kbit/s of Opus.
const AUDIO_PACKET_BYTES: usize = 12 + 160;
const CNAME: &str = "bench";
/// Between 1900 and 1970.
const NTP_SECONDS: u64 = 2_208_988_800;
/// Transactions below are for joining.
const FIRST_CHECK: u64 = 1 << 32;

impl Client {
    pub fn new(
        socket: UdpSocket,
        address: SocketAddr,
        case: usize,
        id: Id,
        server: Link,
    ) -> Client {
        Client {
            socket: Some(socket),
            address,
            case,
            id,
            ice: Ice::default(),
            audience: 0,
            receives: false,
            server,
            floor: None,
            checks: FIRST_CHECK,
        }
    }

    /// A check that keeps a path alive (RFC 7675).
    pub fn check(&mut self, target: Target, out: &mut Outbox) {
        self.checks += 1;
        let check = stun::check(&self.ice, self.checks);
        if let Some(link) = self.link(target) {
            out.begin(link.remote).0.extend(check);
        }
    }

    /// What a browser reports once a second. `now` is since the Unix epoch.
    pub fn report(&mut self, now: Duration, out: &mut Outbox) {
        let Link { remote, video, audio, outbound, incoming, .. } = &mut self.server;
        for stream in [&*video, audio].into_iter().filter(|s| s.packets > 0) {
            let (packet, start) = out.begin(*remote);
            let info = SenderInfo {
                ntp: ntp(now),
                timestamp: stream.timestamp,
                packets: stream.packets,
                bytes: stream.bytes,
            };
            sender_report(packet, stream.ssrc, &info, []);
            source_description(packet, stream.ssrc, CNAME);
            assert!(outbound.seal_rtcp(packet, start), "far from 2^31 reports");
        }
        if !incoming.is_empty() {
            let (packet, start) = out.begin(*remote);
            receiver_report(packet, video.ssrc, incoming.iter().map(Incoming::block));
            source_description(packet, video.ssrc, CNAME);
            assert!(outbound.seal_rtcp(packet, start), "far from 2^31 reports");
        }
    }

    /// What is due of transport-wide feedback.
    pub fn feedback(&mut self, now: Instant, out: &mut Outbox) {
        let Link { remote, video, outbound, incoming, arrivals, .. } = &mut self.server;
        let media = incoming.first().map_or(0, |stream| stream.ssrc);
        while arrivals.deadline().is_some_and(|at| at <= now) {
            let (packet, start) = out.begin(*remote);
            arrivals.feedback(packet, video.ssrc, media);
            assert!(outbound.seal_rtcp(packet, start), "far from 2^31 reports");
        }
    }

    fn link(&mut self, target: Target) -> Option<&mut Link> {
        match target {
            Target::Server => Some(&mut self.server),
            Target::Floor => self.floor.as_mut(),
        }
    }

    /// The next frame of video, its packets back to back.
    pub fn send_video(
        &mut self,
        target: Target,
        media: &BenchMedia,
        now: Duration,
        out: &mut Outbox,
    ) -> u64 {
        let stamp = Stamp { from: self.id, sent: now };
        let Some(link) = self.link(target) else { return 0 };
        let interval = frame_interval(media);
        let keyframe = link.video.packets == 0 || link.since_keyframe >= KEYFRAME_INTERVAL;
        link.since_keyframe =
            if keyframe { Duration::ZERO } else { link.since_keyframe } + interval;
        for i in 0..media.burst {
            let transport = media.feedback.then(|| link.number());
            let place = Place { keyframe, first: i == 0, last: i + 1 == media.burst, transport };
            let (packet, start) = out.begin(link.remote);
            let len = media.packet_bytes - link.profile.rtp_overhead();
            let (header_bytes, index) = link.video.write(packet, len, place, stamp);
            let sealed = link.outbound.seal_rtp(packet, start, header_bytes, index);
            assert!(sealed, "far from 2^48 packets");
        }
        link.video.advance((interval.as_secs_f64() * VIDEO_HZ) as u32);
        media.burst as u64
    }

    /// The next packet of audio.
    pub fn send_audio(
        &mut self,
        target: Target,
        media: &BenchMedia,
        now: Duration,
        out: &mut Outbox,
    ) -> u64 {
        let stamp = Stamp { from: self.id, sent: now };
        let Some(link) = self.link(target) else { return 0 };
        let transport = media.feedback.then(|| link.number());
        let place = Place { keyframe: true, first: true, last: true, transport };
        let (packet, start) = out.begin(link.remote);
        let (header_bytes, index) = link.audio.write(packet, AUDIO_PACKET_BYTES, place, stamp);
        let sealed = link.outbound.seal_rtp(packet, start, header_bytes, index);
        assert!(sealed, "far from 2^48 packets");
        link.audio.advance(AUDIO_TICKS);
        1
    }

    /// A datagram that came from there. Only what the case and target that are measured sent counts.
    pub fn take(
        &mut self,
        (remote, at): (SocketAddr, Moment),
        datagram: &mut [u8],
        counting: Option<(usize, Target)>,
        tally: &mut Tally,
    ) {
        let [128..=191, second, ..] = *datagram else { return };
        let targets = [Target::Server, Target::Floor];
        let from = targets.into_iter().find(|t| self.link(*t).is_some_and(|l| l.remote == remote));
        let counts = counting == from.map(|target| (self.case, target));
        let (id, Some(link)) = (self.id, from.and_then(|target| self.link(target))) else { return };
        match second & 0x7f {
            _ if !counts => {}
            64..96 => tally.reports += 1,
            VIDEO_PT | AUDIO_PT => link.take(id, at, datagram, tally),
            _ => {
                tally.others += 1;
                // Probes are told of like all else.
                Header::parse(datagram).iter().for_each(|header| link.note(header, datagram, at));
            }
        }
    }
}

impl Link {
    /// `None` when the keys are not as long as their profile wants.
    pub fn new(remote: SocketAddr, keys: &Keys, ssrc: u32) -> Option<Link> {
        let (inbound, outbound) = srtp::session(keys.profile, &keys.material, true)?;
        Some(Link {
            remote,
            video: Outgoing::new(ssrc, true),
            audio: Outgoing::new(ssrc + 1, false),
            since_keyframe: Duration::ZERO,
            profile: keys.profile,
            inbound,
            outbound,
            incoming: Vec::new(),
            last: 0,
            transport: 0,
            arrivals: Arrivals::default(),
        })
    }

    fn number(&mut self) -> u16 {
        self.transport = self.transport.wrapping_add(1);
        self.transport
    }

    /// What it will be told of in transport-wide feedback.
    fn note(&mut self, header: &Header, datagram: &[u8], at: Moment) {
        let number = header.elements(datagram).find(|(id, _)| *id == TRANSPORT_ID);
        if let Some((_, [high, low])) = number {
            self.arrivals.received(u16::from_be_bytes([*high, *low]), at.read);
        }
    }

    fn take(&mut self, own: Id, at: Moment, datagram: &mut [u8], tally: &mut Tally) {
        let Some(header) = Header::parse(datagram) else { return };
        tally.received += 1;
        let Header { seq, ssrc, .. } = header;
        if self.incoming.get(self.last).is_none_or(|stream| stream.ssrc != ssrc) {
            let known = self.incoming.iter().position(|stream| stream.ssrc == ssrc);
            self.last = known.unwrap_or(self.incoming.len());
            if known.is_none() {
                self.incoming.push(Incoming::new(ssrc, seq));
            }
        }
        let index = self.incoming[self.last].take(seq);
        self.note(&header, datagram, at);
        tally.until_sample -= 1;
        if tally.until_sample == 0 {
            tally.until_sample = SAMPLE;
            let end = self.inbound.open_rtp(datagram, header.bytes, index);
            let stamp = end.and_then(|end| Stamp::read(&datagram[header.bytes..end]));
            match stamp {
                Some(stamp) if stamp.from.room == own.room && stamp.from != own => {
                    tally.latency.add(at.wall.saturating_sub(stamp.sent));
                }
                _ => tally.wrong += 1,
            }
        }
    }
}

impl Tally {
    pub fn new() -> Tally {
        Tally {
            sent: 0,
            expected: 0,
            received: 0,
            reports: 0,
            others: 0,
            latency: Histogram::new(),
            wrong: 0,
            bursts: 0,
            late: 0,
            until_sample: SAMPLE,
        }
    }
}

/// As reports have it: seconds since 1900 in the upper half, their fraction in the lower.
fn ntp(since_1970: Duration) -> u64 {
    let seconds = since_1970.as_secs() + NTP_SECONDS;
    let fraction = (u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

/// Between two frames of video.
pub fn frame_interval(media: &BenchMedia) -> Duration {
    let bits = 8 * media.burst * media.packet_bytes;
    Duration::from_secs_f64(bits as f64 / media.bitrate as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_second_is_half_of_the_lower_word() {
        assert_eq!(ntp(Duration::new(5, 500_000_000)), 0x83aa_7e85_8000_0000);
    }
}
