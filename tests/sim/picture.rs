//! What a receiver makes of one stream: the judge of video that a decoder could show, over a
//! network that loses and reorders, and of sound.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A missing packet is waited for so long (its retransmission), then a keyframe is asked for.
const PATIENCE: Duration = Duration::from_millis(300);
/// Between two PLIs of one receiver (as browsers do).
const PLI_EVERY: Duration = Duration::from_millis(500);
/// Packets kept while one is missing.
const WINDOW: usize = 600;

#[derive(Debug, Clone)]
struct Packet {
    timestamp: u32,
    marker: bool,
    begins: bool,
    keyframe: bool,
    picture_id: u16,
    label: u32,
    frame: u32,
}

/// Label and frame number that `common::vp8` writes into each payload.
pub fn read_vp8(payload: &[u8]) -> Option<(u32, u32)> {
    let begins = payload.first()? & 0x10 != 0;
    let at = if begins { 7 } else { 6 };
    let word = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    Some((word(at)?, word(at + 4)?))
}

/// Whether a decoder can begin with a packet of VP8 (RFC 7741 §4.2, §4.3).
pub fn begins_keyframe(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & 0x10 != 0)
        && payload.get(6).is_some_and(|frame| frame & 1 == 0)
}

/// One video slot.
#[derive(Debug, Default)]
pub struct Video {
    waiting: BTreeMap<u64, Packet>,
    next: Option<u64>,
    gap_since: Option<Instant>,
    last: Option<Packet>,
    /// A whole keyframe came and everything since.
    decodable: bool,
    in_keyframe: bool,
    asked: Option<Instant>,
    /// Whose frame was shown last, and when.
    pub shown: Option<(u32, Instant)>,
    pub frames: u64,
    /// The longest time between two of them.
    gap: Duration,
    /// What no lossy network explains.
    pub faults: Vec<String>,
}

impl Video {
    pub fn take(&mut self, now: Instant, seq: u64, head: (u32, bool), payload: &[u8]) {
        let Some((label, frame)) = read_vp8(payload) else {
            self.faults.push(format!("a payload that no encoder made: {payload:02x?}"));
            return;
        };
        let begins = payload[0] & 0x10 != 0;
        let packet = Packet {
            timestamp: head.0,
            marker: head.1,
            begins,
            keyframe: begins && payload[6] & 1 == 0,
            picture_id: u16::from_be_bytes([payload[2] & 0x7f, payload[3]]),
            label,
            frame,
        };
        if self.next.is_some_and(|next| seq < next) {
            return;
        }
        self.waiting.insert(seq, packet);
        self.advance(now);
    }

    fn advance(&mut self, now: Instant) {
        loop {
            let Some((seq, packet)) = self.waiting.first_key_value() else {
                self.gap_since = None;
                return;
            };
            let seq = *seq;
            if self.next.is_some_and(|next| next != seq) {
                let since = *self.gap_since.get_or_insert(now);
                if now < since + PATIENCE && self.waiting.len() < WINDOW {
                    return;
                }
                // Lost for good: on to the next keyframe that is there.
                self.decodable = false;
                self.in_keyframe = false;
                self.last = None;
            }
            self.gap_since = None;
            let packet = packet.clone();
            self.waiting.remove(&seq);
            self.next = Some(seq + 1);
            self.play(now, packet);
        }
    }

    fn play(&mut self, now: Instant, packet: Packet) {
        if let Some(last) = self.last.take() {
            let id = packet.picture_id;
            let same = last.picture_id == id && last.timestamp == packet.timestamp;
            // A frame whose stream ended within it stays unfinished: what begins anew needs no end.
            let whole = last.marker || packet.keyframe;
            let next = (last.picture_id + 1) & 0x7fff == id && whole;
            if !same && !next {
                self.faults.push(format!("{packet:?} after {last:?}"));
            }
            if (packet.timestamp.wrapping_sub(last.timestamp) as i32) < 0 {
                self.faults.push(format!("the timestamp went back: {packet:?} after {last:?}"));
            }
            let other = last.label != packet.label;
            if other && !packet.keyframe {
                self.faults.push(format!("another stream without a keyframe: {packet:?}"));
            }
            if !other && next && !packet.keyframe && packet.frame != last.frame + 1 {
                self.faults.push(format!("a frame was left out: {packet:?} after {last:?}"));
            }
        }
        if packet.begins {
            self.in_keyframe = packet.keyframe;
            if !packet.keyframe && self.shown.is_some_and(|(label, _)| label != packet.label) {
                self.decodable = false;
            }
        }
        if packet.marker && (self.in_keyframe || self.decodable) {
            self.decodable = true;
            self.frames += 1;
            let before = self.shown.map_or(now, |(_, at)| at);
            self.gap = self.gap.max(now - before);
            self.shown = Some((packet.label, now));
        }
        self.last = Some(packet);
    }

    /// The longest time without a picture since the last call.
    pub fn take_gap(&mut self, now: Instant) -> Duration {
        let since = self.shown.map_or(Duration::ZERO, |(_, at)| now - at);
        std::mem::take(&mut self.gap).max(since)
    }

    /// Whether a keyframe must be asked for now.
    pub fn wants_keyframe(&mut self, now: Instant) -> bool {
        self.advance(now);
        let started = self.next.is_some();
        let due = self.asked.is_none_or(|at| now >= at + PLI_EVERY);
        let wants = started && !self.decodable && due;
        if wants {
            self.asked = Some(now);
        }
        wants
    }

    /// When [`Video::wants_keyframe`] may say something new.
    pub fn deadline(&self) -> Option<Instant> {
        let gap = self.gap_since.map(|at| at + PATIENCE);
        let ask = (self.next.is_some() && !self.decodable)
            .then_some(self.asked.map(|at| at + PLI_EVERY))
            .flatten();
        [gap, ask].into_iter().flatten().min()
    }
}

/// One audio slot.
#[derive(Debug, Default)]
pub struct Sound {
    /// Whose sound was heard last, and when.
    pub heard: Option<(u32, Instant)>,
    pub packets: u64,
}

/// The payload of one packet of sound.
pub fn sound(label: u32, number: u32) -> Vec<u8> {
    let mut payload = vec![0x78];
    payload.extend_from_slice(&label.to_be_bytes());
    payload.extend_from_slice(&number.to_be_bytes());
    payload.resize(40, 0x5a);
    payload
}

/// The label and number in a packet of sound.
pub fn read_sound(payload: &[u8]) -> Option<(u32, u32)> {
    let word = |at: usize| Some(u32::from_be_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    (payload.first() == Some(&0x78)).then_some((word(1)?, word(5)?))
}

impl Sound {
    pub fn take(&mut self, now: Instant, payload: &[u8]) {
        if let Some((label, _)) = read_sound(payload) {
            self.heard = Some((label, now));
            self.packets += 1;
        }
    }
}
