//! A subscriber as a browser is one: says what came and when, asks for what is missing, and shows
//! what can be shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trackyard::media::srtp::{Inbound, ReceiveIndex};
use trackyard::media::transport_cc::Arrivals;
use trackyard::wire::rtcp::{self, ReportBlock};
use trackyard::wire::rtp::Header;

use crate::camera::Vp8;
use crate::endpoint::{Endpoint, is_media};
use crate::picture::{Held, Picture};

/// Transport-wide feedback takes so much of what comes, within these intervals (`libwebrtc`,
/// `RemoteEstimatorProxy`).
const FEEDBACK_SHARE: f64 = 0.05;
const FEEDBACK_BYTES: f64 = 68.0;
const FEEDBACK_MS: (f64, f64) = (50.0, 250.0);
/// Between two looks at what is missing (`libwebrtc`, `NackRequester`, and the two below).
const NACK_EVERY: Duration = Duration::from_millis(20);
const NACK_TRIES_MAX: u32 = 10;
const NACK_PACKETS_MAX: usize = 1_000;
const REPORT: Duration = Duration::from_secs(1);
/// Of its own reports.
const OWN_SSRC: u32 = 0x5eed;

/// One video slot.
#[derive(Debug)]
pub struct Slot {
    pub picture: Picture,
    ssrc: u32,
    rtx_ssrc: u32,
    index: ReceiveIndex,
    rtx_index: ReceiveIndex,
    /// The highest number that came.
    highest: Option<u64>,
    missing: BTreeMap<u64, Missing>,
    /// Of the present report: packets that came, and the highest before it.
    came: u64,
    reported: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Missing {
    asked: Option<Instant>,
    tries: u32,
}

pub struct Subscriber {
    pub endpoint: Endpoint,
    pub slots: Vec<Slot>,
    /// Packets of sound that came.
    pub sounds: u64,
    arrivals: Arrivals,
    round_trip: Duration,
    began: Instant,
    next_feedback: Option<Instant>,
    next_nack: Instant,
    next_report: Instant,
    /// Bytes a second, smoothed, and those since the last feedback.
    rate: f64,
    bytes: usize,
    told: Instant,
}

impl Slot {
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    fn receive(&mut self, now: Instant, inbound: &Inbound, header: &Header, datagram: &mut [u8]) {
        let is_resent = header.ssrc == self.rtx_ssrc;
        let index = if is_resent { &mut self.rtx_index } else { &mut self.index };
        let Some(number) = index.guess(header.seq) else { return };
        let opened = inbound.open_rtp(datagram, header.bytes, number);
        let end = opened.expect("sealed by the server");
        index.accept(number);
        let end = header.payload_end(&datagram[..end]).expect("padding within");
        let payload = &datagram[header.bytes..end];
        if !is_resent {
            self.came += 1;
            return self.take(now, number, header, payload, false);
        }
        // Alone it is padding; else the number under which it left first stands before it.
        let Some(([high, low], payload)) = payload.split_first_chunk() else { return };
        let (Some(highest), seq) = (self.highest, u16::from_be_bytes([*high, *low])) else {
            return;
        };
        let behind = seq.wrapping_sub(highest as u16).cast_signed();
        self.take(now, highest.wrapping_add_signed(behind.into()), header, payload, true);
    }

    fn take(&mut self, now: Instant, seq: u64, header: &Header, payload: &[u8], is_resent: bool) {
        let highest = *self.highest.get_or_insert(seq);
        for missing in highest + 1..seq {
            self.missing.insert(missing, Missing::default());
        }
        self.highest = Some(highest.max(seq));
        self.missing.remove(&seq);
        let Some(vp8) = Vp8::read(payload) else { return };
        let held = Held { timestamp: header.timestamp, marker: header.marker, vp8, is_resent };
        self.picture.take(now, seq, held);
    }

    /// The numbers to ask for now.
    fn ask(&mut self, now: Instant, round_trip: Duration) -> Vec<u16> {
        if self.missing.len() > NACK_PACKETS_MAX {
            self.missing.clear();
            self.picture.give_up(now);
        }
        self.missing.retain(|_, missing| missing.tries < NACK_TRIES_MAX);
        let due = self.missing.iter_mut().filter(|(_, missing)| {
            missing.asked.is_none_or(|at| now.saturating_duration_since(at) >= round_trip)
        });
        let due = due.map(|(seq, missing)| {
            *missing = Missing { asked: Some(now), tries: missing.tries + 1 };
            *seq as u16
        });
        due.collect()
    }

    /// What a report says of it.
    fn block(&mut self) -> Option<ReportBlock> {
        let highest = self.highest?;
        let before = self.reported.replace(highest).unwrap_or(highest.saturating_sub(self.came));
        let expected = (highest - before).max(1);
        let lost = expected.saturating_sub(std::mem::take(&mut self.came));
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: (lost * 256 / expected).min(255) as u8,
            lost: 0,
            highest_seq: highest as u32,
            jitter: 0,
            last_report: 0,
            delay: 0,
        })
    }
}

impl Subscriber {
    /// `round_trip`: after which it asks again.
    pub fn new(address: SocketAddr, round_trip: Duration, now: Instant) -> Subscriber {
        Subscriber {
            endpoint: Endpoint::new(address, now),
            slots: Vec::new(),
            sounds: 0,
            arrivals: Arrivals::default(),
            round_trip,
            began: now,
            next_feedback: None,
            next_nack: now,
            next_report: now + REPORT,
            rate: 0.0,
            bytes: 0,
            told: now,
        }
    }

    pub fn answer(&mut self, sdp: &str) {
        self.endpoint.answer(sdp);
        for line in self.endpoint.lines.iter().filter(|line| line.is_video) {
            let [ssrc, rtx_ssrc] = line.ssrcs[..] else { panic!("no streams: {line:?}") };
            self.slots.push(Slot {
                picture: Picture::new(self.began, self.round_trip),
                ssrc,
                rtx_ssrc,
                index: ReceiveIndex::default(),
                rtx_index: ReceiveIndex::default(),
                highest: None,
                missing: BTreeMap::new(),
                came: 0,
                reported: None,
            });
        }
    }

    pub fn deadline(&self) -> Instant {
        let pictures = self.slots.iter().filter_map(|slot| slot.picture.deadline());
        let asks = self.slots.iter().any(|slot| !slot.missing.is_empty());
        let asks = asks.then_some(self.next_nack);
        let others = [self.next_feedback, asks].into_iter().flatten();
        let next = pictures.chain(others).fold(self.next_report, Instant::min);
        next.min(self.endpoint.deadline)
    }

    pub fn receive(&mut self, now: Instant, source: SocketAddr, datagram: &mut [u8]) {
        if !is_media(datagram) {
            return self.endpoint.receive(now, source, datagram);
        }
        let Some(header) = Header::parse(datagram) else { return };
        if (64..96).contains(&header.payload_type) {
            return;
        }
        let id = self.endpoint.lines.first().map_or(0, |l| l.extension("wide-cc-extensions-01"));
        let number = header.elements(datagram).find(|(element, _)| *element == id);
        if let Some((_, [high, low])) = number {
            self.arrivals.received(u16::from_be_bytes([*high, *low]), now);
            self.bytes += datagram.len();
            self.next_feedback.get_or_insert(now + Duration::from_millis(50));
        }
        let Some((inbound, _)) = self.endpoint.session() else { return };
        let of = |slot: &&mut Slot| slot.ssrc == header.ssrc || slot.rtx_ssrc == header.ssrc;
        match self.slots.iter_mut().find(of) {
            Some(slot) => slot.receive(now, inbound, &header, datagram),
            None => self.sounds += 1,
        }
    }

    pub fn poll(&mut self, now: Instant) {
        self.endpoint.poll(now);
        let mut compound = Vec::new();
        let mut is_new = false;
        for slot in &mut self.slots {
            if let Some(decoded) = slot.picture.play(now) {
                slot.missing = slot.missing.split_off(&(decoded + 1));
            }
            if slot.picture.pleads(now) {
                rtcp::pli(&mut compound, OWN_SSRC, slot.ssrc);
            }
            is_new |= slot.missing.values().any(|missing| missing.tries == 0);
        }
        if self.next_nack <= now || is_new {
            self.next_nack = now + NACK_EVERY;
            for slot in &mut self.slots {
                let numbers = slot.ask(now, self.round_trip);
                if !numbers.is_empty() {
                    log::trace!("missing: {numbers:?}");
                }
                rtcp::nack(&mut compound, OWN_SSRC, slot.ssrc, numbers);
            }
        }
        if self.next_feedback.is_some_and(|at| at <= now) {
            self.feedback(now, &mut compound);
        }
        if self.next_report <= now {
            self.next_report = now + REPORT;
            let blocks = self.slots.iter_mut().filter_map(Slot::block).collect::<Vec<_>>();
            rtcp::receiver_report(&mut compound, OWN_SSRC, blocks);
        }
        if !compound.is_empty() {
            let mut whole = Vec::new();
            rtcp::receiver_report(&mut whole, OWN_SSRC, []);
            whole.extend(compound);
            self.endpoint.say(whole);
        }
    }

    fn feedback(&mut self, now: Instant, compound: &mut Vec<u8>) {
        while self.arrivals.feedback(compound, OWN_SSRC, self.slots[0].ssrc) {}
        let since = (now - std::mem::replace(&mut self.told, now)).as_secs_f64();
        let fresh = std::mem::take(&mut self.bytes) as f64 / since.max(0.01);
        self.rate = 0.8 * self.rate + 0.2 * fresh;
        let ms = 1e3 * FEEDBACK_BYTES / (FEEDBACK_SHARE * self.rate.max(1.0));
        let ms = ms.clamp(FEEDBACK_MS.0, FEEDBACK_MS.1);
        self.next_feedback = Some(now + Duration::from_secs_f64(ms / 1e3));
    }
}
