//! What a camera sends: three encodings of VP8, each in three temporal layers, whose frames vary in
//! size as those of an encoder do that holds a rate.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// Between two frames.
pub const FRAME: Duration = Duration::from_micros(33_333);
/// Of a packet's payload.
const PACKET_BYTES_MAX: usize = 1_150;
/// A keyframe is so many times as large as a frame is on average.
const KEYFRAME_TIMES: f64 = 5.0;
/// Frames over which an encoder saves what a keyframe was too much.
const SAVED_OVER: f64 = 45.0;
/// Between two keyframes of one encoding (`libwebrtc`, `kMinKeyFrameSendInterval`).
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(300);
/// The temporal layer of each frame of a period, whether it needs no more than the lowest layer
/// of it, and how large it is.
const PATTERN: [(u8, bool, f64); 4] =
    [(0, false, 1.6), (2, true, 0.8), (1, true, 0.8), (2, false, 0.8)];

/// Width and height of each encoding, and its rate in bit/s.
pub const ENCODINGS: [(u16, u16, u64); 3] =
    [(320, 180, 150_000), (640, 360, 500_000), (1_280, 720, 1_700_000)];

/// Bytes of the descriptor, and of what stands before the part that tests read.
const DESCRIPTOR_BYTES: usize = 6;
const FRAME_HEAD_BYTES: usize = 10;

/// One encoder.
#[derive(Debug)]
pub struct Encoder {
    place: u8,
    /// In bits a second.
    pub rate: u64,
    number: u32,
    /// Within the period of temporal layers.
    at: usize,
    picture_id: u16,
    tl0: u8,
    wants_keyframe: bool,
    keyframe: Option<Instant>,
    /// Bytes that it must save.
    debt: f64,
    /// How much moves.
    activity: f64,
    rng: Rng,
}

/// What tests read of a packet of VP8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vp8 {
    /// It is the first of its frame.
    pub begins: bool,
    pub keyframe: bool,
    pub picture_id: u16,
    pub tl0: u8,
    pub temporal: u8,
    /// It needs only the lowest temporal layer (RFC 7741 §4.2, the Y bit).
    pub sync: bool,
    /// Which encoding, and which of its frames.
    pub encoding: u8,
    pub number: u32,
}

impl Encoder {
    pub fn new(place: u8, rate: u64, mut rng: Rng) -> Encoder {
        Encoder {
            place,
            rate,
            number: 0,
            at: 0,
            picture_id: rng.u16(..0x7fff),
            tl0: rng.u8(..),
            wants_keyframe: true,
            keyframe: None,
            debt: 0.0,
            activity: 1.0,
            rng,
        }
    }

    pub fn want_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    /// The payloads of the next frame.
    pub fn frame(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let rested = self.keyframe.is_none_or(|at| now - at >= KEYFRAME_INTERVAL);
        let keyframe = self.wants_keyframe && rested;
        if keyframe {
            (self.wants_keyframe, self.keyframe, self.at) = (false, Some(now), 0);
        }
        let (temporal, sync, share) = PATTERN[self.at];
        self.at = (self.at + 1) % PATTERN.len();
        self.number += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0 = self.tl0.wrapping_add(u8::from(temporal == 0));
        let bytes = self.size(keyframe, share);
        let head = Vp8 {
            begins: false,
            keyframe,
            picture_id: self.picture_id,
            tl0: self.tl0,
            temporal,
            sync,
            encoding: self.place,
            number: self.number,
        };
        let count = bytes.div_ceil(PACKET_BYTES_MAX).max(1);
        (0..count).map(|n| head.payload(n == 0, bytes / count)).collect()
    }

    fn size(&mut self, keyframe: bool, share: f64) -> usize {
        let mean = self.rate as f64 / 8.0 * FRAME.as_secs_f64();
        self.activity = 0.98 * self.activity + 0.02 * (0.4 + 1.2 * self.rng.f64());
        if keyframe {
            let times = KEYFRAME_TIMES * (0.85 + 0.3 * self.rng.f64());
            self.debt = mean * (times - share);
            return (mean * times) as usize;
        }
        let saved = (self.debt / SAVED_OVER).min(mean * share * 0.4);
        self.debt -= saved;
        let noise = 0.75 + 0.5 * self.rng.f64();
        ((mean * share * self.activity * noise - saved) as usize).max(60)
    }
}

impl Vp8 {
    fn payload(self, begins: bool, bytes: usize) -> Vec<u8> {
        let [high, low] = (self.picture_id | 0x8000).to_be_bytes();
        let layer = self.temporal << 6 | u8::from(self.sync) << 5;
        // X and S; then I, L, T and K (RFC 7741 §4.2).
        let mut payload = vec![0x80 | u8::from(begins) << 4, 0xf0, high, low, self.tl0, layer];
        if begins {
            let (width, height, _) = ENCODINGS[usize::from(self.encoding)];
            let ([w, x], [h, y]) = (width.to_le_bytes(), height.to_le_bytes());
            payload.extend([u8::from(!self.keyframe), 0, 0, 0x9d, 0x01, 0x2a, w, x, h, y]);
        }
        payload.push(self.encoding);
        payload.extend(self.number.to_be_bytes());
        payload.resize(bytes.max(payload.len()), 0x55);
        payload
    }

    /// `None` of what no [`Encoder`] made.
    pub fn read(payload: &[u8]) -> Option<Vp8> {
        let [first, 0xf0, high, low, tl0, layer] = *payload.first_chunk()? else { return None };
        let begins = first & 0x10 != 0;
        let at = DESCRIPTOR_BYTES + if begins { FRAME_HEAD_BYTES } else { 0 };
        let [encoding, a, b, c, d] = *payload.get(at..)?.first_chunk()?;
        Some(Vp8 {
            begins,
            keyframe: begins && payload[DESCRIPTOR_BYTES] & 1 == 0,
            picture_id: u16::from_be_bytes([high & 0x7f, low]),
            tl0,
            temporal: layer >> 6,
            sync: layer & 0x20 != 0,
            encoding,
            number: u32::from_be_bytes([a, b, c, d]),
        })
    }
}
