//! Who sends a track in several encodings, over a path that loses, reorders and repeats.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::dice::Dice;
use crate::rtp::{Rtp, nearest};
use crate::sources::{Encoder, Format, Frame, Layout};

pub const PAYLOAD_TYPE: u8 = 96;
pub const RTX_PAYLOAD_TYPE: u8 = 97;
pub const MID_ID: u8 = 4;
const RID_ID: u8 = 10;
const REPAIRED_RID_ID: u8 = 11;
pub const DESCRIPTOR_ID: u8 = 12;
pub const RIDS: [&str; 3] = ["a", "b", "c"];
pub const FRAME_EVERY: Duration = Duration::from_millis(33);

/// How a path treats packets, of a thousand each.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    pub loses: u64,
    pub delays: u64,
    pub repeats: u64,
    /// Of what was lost, what is never sent again.
    pub gives_up: u64,
}

/// A datagram to be.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub at: Duration,
    pub index: u64,
    pub rtp: Rtp,
    /// Which packet of which stream arrives with it, and of which frame.
    pub brings: (u32, u64),
    pub part: Option<(u32, usize)>,
}

pub struct Publisher {
    pub format: Format,
    pub layout: Layout,
    pub encodings: Vec<Encoding>,
    /// By their ids.
    pub frames: Vec<Frame>,
    /// When each packet of each stream reached the server, padding among them.
    pub arrivals: HashMap<(u32, u64), Option<Duration>>,
    pub weather: Weather,
    pub dice: Dice,
    pub requests: u64,
    pub keyframes: u64,
    given_up: HashSet<(u32, u64)>,
    next_frame: Duration,
    lives: u32,
}

pub struct Encoding {
    number: u8,
    encoder: Option<Encoder>,
    pub ssrc: u32,
    rtx: u32,
    next_seq: u64,
    next_rtx: u64,
    timestamp_base: u32,
    keyframe_at: Option<Duration>,
    pub report_at: Option<Duration>,
    pub lives: Vec<Life>,
    sent: HashMap<u64, Leaving>,
}

/// One stream of an encoding.
#[derive(Debug)]
pub struct Life {
    pub ssrc: u32,
    pub from: Duration,
    pub to: Option<Duration>,
    /// When the next began.
    pub replaced: Option<Duration>,
}

impl Publisher {
    pub fn new(format: Format, layout: Layout, encodings: u8, seed: u64) -> Publisher {
        let encoding = |number| Encoding {
            number,
            encoder: None,
            ssrc: 0,
            rtx: 0,
            next_seq: 0,
            next_rtx: 0,
            timestamp_base: 0,
            keyframe_at: None,
            report_at: None,
            lives: Vec::new(),
            sent: HashMap::new(),
        };
        Publisher {
            format,
            layout,
            encodings: (0..encodings).map(encoding).collect(),
            frames: Vec::new(),
            arrivals: HashMap::new(),
            weather: Weather::default(),
            dice: Dice::new(seed),
            requests: 0,
            keyframes: 0,
            given_up: HashSet::new(),
            next_frame: Duration::ZERO,
            lives: 0,
        }
    }

    pub fn is_on(&self, encoding: u8) -> bool {
        self.encodings[usize::from(encoding)].encoder.is_some()
    }

    /// Begins to send an encoding, or goes on in another stream.
    pub fn turn_on(&mut self, encoding: u8, now: Duration) {
        self.turn_off(encoding, now);
        self.lives += 1;
        let chance = self.dice.any();
        let mut encoder = Encoder::new(self.format, self.layout, encoding, chance as u16);
        encoder.picture_id_bits = if self.layout.sync_every == 3 { 7 } else { 15 };
        let own = &mut self.encodings[usize::from(encoding)];
        own.encoder = Some(encoder);
        own.ssrc = 0x0100_0000 + self.lives * 2;
        own.rtx = own.ssrc + 1;
        // Near to where half of 16 bits end, now and then.
        own.next_seq = match self.lives % 4 {
            1 => 32_700 - (chance >> 54),
            _ => (chance >> 32) % 32_768,
        };
        own.next_rtx = chance >> 52;
        own.timestamp_base = (chance >> 16) as u32;
        own.keyframe_at = None;
        own.report_at = Some(now + Duration::from_millis(120));
        if let Some(last) = own.lives.last_mut() {
            last.replaced = Some(now);
        }
        own.lives.push(Life { ssrc: own.ssrc, from: now, to: None, replaced: None });
        own.sent.clear();
    }

    pub fn turn_off(&mut self, encoding: u8, now: Duration) {
        let own = &mut self.encodings[usize::from(encoding)];
        if own.encoder.take().is_some()
            && let Some(last) = own.lives.last_mut()
        {
            last.to = Some(now);
        }
    }

    pub fn deadline(&self) -> Duration {
        self.next_frame
    }

    /// What is sent of the pictures that are due.
    pub fn poll(&mut self, now: Duration) -> Vec<Leaving> {
        let mut leaving = Vec::new();
        if now < self.next_frame {
            return leaving;
        }
        self.next_frame = now + FRAME_EVERY + self.dice.ms(0, 4);
        for number in 0..self.encodings.len() {
            self.picture(number, now, &mut leaving);
        }
        leaving
    }

    fn picture(&mut self, number: usize, now: Duration, leaving: &mut Vec<Leaving>) {
        let own = &mut self.encodings[number];
        let Some(mut encoder) = own.encoder.take() else { return };
        let key = own.keyframe_at.is_some_and(|at| at <= now);
        if key {
            own.keyframe_at = None;
        }
        let mut at = now + Duration::from_millis(2) * number as u32;
        for mut frame in encoder.picture(key, self.frames.len() as u32, now) {
            frame.ssrc = own.ssrc;
            frame.first_seq = own.next_seq;
            frame.timestamp = own.timestamp_base.wrapping_add(now.as_micros() as u32 / 100 * 9);
            let count = if frame.of_key_picture { 3 } else { 1 } + self.dice.below(2) as usize;
            let contents = encoder.packets(&frame, count, self.dice.any());
            self.keyframes += u64::from(frame.starts_keyframe());
            frame.arrived = vec![None; contents.len()];
            for (packet, content) in contents.into_iter().enumerate() {
                at += Duration::from_micros(300);
                let rtp = own.packet(&frame, content);
                leaving.push(own.leave(at, rtp, Some((frame.id, packet))));
            }
            self.frames.push(frame);
        }
        own.encoder = Some(encoder);
        if self.dice.happens(30) {
            let last = leaving.last().expect("a picture");
            let mut rtp = last.rtp.clone();
            rtp.seq = own.next_seq as u16;
            (rtp.marker, rtp.payload) = (false, Vec::new());
            rtp.extensions.retain(|(id, _)| *id != DESCRIPTOR_ID);
            leaving.push(own.leave(at, rtp, None));
        }
    }

    /// What becomes of packets on their way: when each arrives.
    pub fn travel(&mut self, leaving: Vec<Leaving>) -> Vec<Leaving> {
        let mut arriving = Vec::new();
        for mut packet in leaving {
            self.arrivals.entry(packet.brings).or_insert(None);
            if self.dice.happens(self.weather.loses) {
                continue;
            }
            packet.at += Duration::from_millis(10);
            if self.dice.happens(self.weather.repeats) {
                let mut again = packet.clone();
                again.at += self.dice.ms(0, 30);
                arriving.push(again);
            }
            if self.dice.happens(self.weather.delays) {
                packet.at += self.dice.ms(1, 45);
            }
            arriving.push(packet);
        }
        arriving
    }

    pub fn arrived(&mut self, packet: &Leaving, now: Duration) {
        self.arrivals.entry(packet.brings).and_modify(|at| _ = at.get_or_insert(now));
        if let Some((frame, part)) = packet.part {
            self.frames[frame as usize].arrived[part].get_or_insert(now);
        }
    }

    /// What the server asks for; what is sent again.
    pub fn heard(&mut self, compound: &[u8], now: Duration) -> Vec<Leaving> {
        let mut rest = compound;
        let mut leaving = Vec::new();
        while rest.len() >= 4 {
            let bytes = 4 + 4 * usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            let (packet, behind) = rest.split_at(bytes);
            rest = behind;
            let (format, kind) = (packet[0] & 31, packet[1]);
            if kind != 205 && kind != 206 || bytes < 12 {
                continue;
            }
            let media = u32::from_be_bytes(packet[8..12].try_into().expect("four"));
            match (kind, format) {
                (206, 1) => self.asked_for_keyframe(media, now),
                (205, 1) => {
                    for entry in packet[12..].chunks_exact(4) {
                        let first = u16::from_be_bytes([entry[0], entry[1]]);
                        let more = u16::from_be_bytes([entry[2], entry[3]]);
                        let more = (0..16).filter(|bit| more >> bit & 1 != 0).map(|bit| bit + 1);
                        for back in std::iter::once(0).chain(more) {
                            leaving.extend(self.again(media, first.wrapping_add(back), now));
                        }
                    }
                }
                _ => {}
            }
        }
        leaving
    }

    fn asked_for_keyframe(&mut self, media: u32, now: Duration) {
        self.requests += 1;
        let wait = self.dice.ms(40, 120);
        if let Some(own) = self.encodings.iter_mut().find(|own| own.ssrc == media) {
            own.keyframe_at.get_or_insert(now + wait);
        }
    }

    /// A retransmission (RFC 4588), unless that packet is never sent again.
    fn again(&mut self, media: u32, seq: u16, now: Duration) -> Option<Leaving> {
        let gives_up = self.dice.happens(self.weather.gives_up);
        let wait = self.dice.ms(10, 90);
        let own = self.encodings.iter_mut().find(|own| own.ssrc == media)?;
        let index = nearest(own.next_seq, seq);
        let original = own.sent.get(&index)?;
        if gives_up {
            self.given_up.insert((media, index));
        }
        if self.given_up.contains(&(media, index)) || original.rtp.payload.is_empty() {
            return None;
        }
        let mut rtp = original.rtp.clone();
        (rtp.payload_type, rtp.ssrc, rtp.seq) = (RTX_PAYLOAD_TYPE, own.rtx, own.next_rtx as u16);
        rtp.payload.splice(..0, seq.to_be_bytes());
        for (id, _) in &mut rtp.extensions {
            if *id == RID_ID {
                *id = REPAIRED_RID_ID;
            }
        }
        let index = own.next_rtx;
        own.next_rtx += 1;
        Some(Leaving { at: now + wait, index, rtp, ..original.clone() })
    }

    /// Sender reports that are due: SSRC, and the timestamp of that moment.
    pub fn reports(&mut self, now: Duration) -> Vec<(u32, u32)> {
        let due = |own: &&mut Encoding| {
            own.encoder.is_some() && own.report_at.is_some_and(|at| at <= now)
        };
        let report = |own: &mut Encoding| {
            own.report_at = Some(now + Duration::from_secs(1));
            let timestamp = (now.as_micros() as u64 / 100 * 9) as u32;
            (own.ssrc, own.timestamp_base.wrapping_add(timestamp))
        };
        self.encodings.iter_mut().filter(due).map(report).collect()
    }
}

impl Encoding {
    fn packet(&mut self, frame: &Frame, content: crate::sources::Content) -> Rtp {
        let mut extensions = vec![(MID_ID, b"0".to_vec())];
        extensions.push((RID_ID, RIDS[usize::from(self.number)].into()));
        if !content.descriptor.is_empty() {
            extensions.push((DESCRIPTOR_ID, content.descriptor));
        }
        Rtp {
            payload_type: PAYLOAD_TYPE,
            marker: content.marker,
            seq: self.next_seq as u16,
            timestamp: frame.timestamp,
            ssrc: self.ssrc,
            extensions,
            payload: content.payload,
        }
    }

    fn leave(&mut self, at: Duration, rtp: Rtp, part: Option<(u32, usize)>) -> Leaving {
        let index = self.next_seq;
        self.next_seq += 1;
        let leaving = Leaving { at, index, rtp, brings: (self.ssrc, index), part };
        self.sent.insert(index, leaving.clone());
        self.sent.remove(&index.wrapping_sub(1_000));
        leaving
    }
}
