//! A publisher as a browser is one: a camera in three encodings with its sound, sender reports, and
//! keyframes when they are asked for.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use trackyard::wire::rtcp::{self, Packet, SenderInfo};
use trackyard::wire::rtp::{Fixed, Writer};

use crate::camera::{ENCODINGS, Encoder, FRAME};
use crate::endpoint::{Endpoint, RIDS, is_media};

const SOUND: Duration = Duration::from_millis(20);
const SOUND_BYTES: usize = 80;
const REPORT: Duration = Duration::from_secs(1);
/// NTP at the beginning of a run.
const NTP: u64 = 3_900_000_000 << 32;

/// One stream that leaves.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    seq: u64,
    timestamp: u32,
    packets: u32,
    bytes: u32,
}

pub struct Publisher {
    pub endpoint: Endpoint,
    pub keyframe_requests: u64,
    encoders: Vec<Encoder>,
    /// Of each encoding, and of the sound.
    streams: Vec<Stream>,
    began: Instant,
    next_frame: Instant,
    next_sound: Instant,
    next_report: Instant,
}

impl Publisher {
    /// `times`: how much larger its rates are than usual.
    pub fn new(address: SocketAddr, times: f64, now: Instant, rng: &mut Rng) -> Publisher {
        let stream = |rng: &mut Rng| Stream {
            ssrc: rng.u32(1..),
            seq: rng.u64(..30_000),
            timestamp: rng.u32(..),
            packets: 0,
            bytes: 0,
        };
        let encoders = ENCODINGS.iter().enumerate().map(|(place, (_, _, rate))| {
            Encoder::new(place as u8, (*rate as f64 * times) as u64, rng.fork())
        });
        let encoders = encoders.collect();
        Publisher {
            endpoint: Endpoint::new(address, now),
            keyframe_requests: 0,
            encoders,
            streams: (0..=RIDS.len()).map(|_| stream(rng)).collect(),
            began: now,
            next_frame: now,
            next_sound: now + Duration::from_millis(7),
            next_report: now,
        }
    }

    pub fn deadline(&self) -> Instant {
        let own = self.next_frame.min(self.next_sound).min(self.next_report);
        self.endpoint.deadline.min(own)
    }

    pub fn receive(&mut self, now: Instant, source: SocketAddr, datagram: &mut [u8]) {
        if !is_media(datagram) {
            return self.endpoint.receive(now, source, datagram);
        }
        let Some((inbound, _)) = self.endpoint.session() else { return };
        let Ok(compound) = inbound.open_rtcp(datagram) else { return };
        for packet in rtcp::read(compound) {
            let Packet::Pli { media, .. } = packet else { continue };
            let place = self.streams.iter().position(|stream| stream.ssrc == media);
            if let Some(encoder) = place.and_then(|place| self.encoders.get_mut(place)) {
                encoder.want_keyframe();
                self.keyframe_requests += 1;
            }
        }
    }

    pub fn poll(&mut self, now: Instant) {
        self.endpoint.poll(now);
        let is_ready = self.endpoint.session().is_some();
        if self.next_frame <= now {
            self.next_frame += FRAME;
            for place in (0..self.encoders.len()).filter(|_| is_ready) {
                let payloads = self.encoders[place].frame(now);
                let last = payloads.len() - 1;
                for (at, payload) in payloads.iter().enumerate() {
                    self.send(now, place, at == last, payload);
                }
            }
        }
        if self.next_sound <= now {
            self.next_sound += SOUND;
            if is_ready {
                self.send(now, self.encoders.len(), false, &[0x78; SOUND_BYTES]);
            }
        }
        if self.next_report <= now {
            self.next_report += REPORT;
            (0..self.streams.len()).filter(|_| is_ready).for_each(|at| self.report(now, at));
        }
    }

    fn is_sound(&self, at: usize) -> bool {
        at == self.encoders.len()
    }

    fn timestamp(&self, now: Instant, at: usize) -> u32 {
        let clock = if self.is_sound(at) { 48_000 } else { 90_000 };
        let ticks = (now - self.began).as_micros() as u64 * clock / 1_000_000;
        self.streams[at].timestamp.wrapping_add(ticks as u32)
    }

    fn send(&mut self, now: Instant, at: usize, marker: bool, payload: &[u8]) {
        let is_sound = self.is_sound(at);
        let timestamp = self.timestamp(now, at);
        let line = self.endpoint.lines[usize::from(is_sound)].clone();
        let stream = &mut self.streams[at];
        let fixed = Fixed {
            payload_type: line.payload_type,
            marker,
            seq: stream.seq as u16,
            timestamp,
            ssrc: stream.ssrc,
        };
        let mut packet = Vec::new();
        let mut writer = Writer::begin(&mut packet, fixed, false);
        writer.element(line.extension("sdes:mid"), line.mid.as_bytes());
        if let Some(rid) = RIDS.get(at) {
            writer.element(line.extension("sdes:rtp-stream-id"), rid.as_bytes());
        }
        let header = writer.end();
        packet.extend_from_slice(payload);
        let (index, _) = (stream.seq, stream.seq += 1);
        stream.packets += 1;
        stream.bytes = stream.bytes.wrapping_add(payload.len() as u32);
        let (_, outbound) = self.endpoint.session().expect("it is ready");
        assert!(outbound.seal_rtp(&mut packet, 0, header, index), "a whole header");
        self.endpoint.outgoing.push(packet);
    }

    fn report(&mut self, now: Instant, at: usize) {
        let since = now - self.began;
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        let ntp = NTP + (since.as_secs() << 32 | fraction);
        let timestamp = self.timestamp(now, at);
        let Stream { ssrc, packets, bytes, .. } = self.streams[at];
        let mut compound = Vec::new();
        let info = SenderInfo { ntp, timestamp, packets, bytes };
        rtcp::sender_report(&mut compound, ssrc, &info, []);
        self.endpoint.say(compound);
    }
}
