//! What a track's audio levels (RFC 6464) come to in a short time, told apart from its own noise.

use std::time::{Duration, Instant};

use super::{FRAME, FRAMES_PER_REPORT_MAX, FRAMES_PER_SECOND};

/// Louder than a track's noise by so many decibels is a voice. Higher misses soft voices in loud
/// rooms; lower takes every chair for one. Speech rises and falls by 20 dB and more.
pub const ABOVE_NOISE_DB: u8 = 10;
/// Quieter than this, in -dBov, is no voice, however silent the room: breath and cloth.
pub const VOICE_MIN: u8 = 55;
/// Noise is never taken for louder than this, in -dBov, so that who sings without a pause is heard.
pub const NOISE_MAX: u8 = 30;
/// Noise is the quietest packet among the last one to two times so many: 1.5 to 3 s of 20 ms. Longer
/// takes a fan that begins for a voice for longer; shorter takes a vowel for noise.
pub const NOISE_PACKETS: u8 = 75;
/// Frames in a packet at most: 120 ms of Opus (RFC 6716 §2.1.4).
const PACKET_FRAMES_MAX: u32 = 6;
/// In -dBov, what a muted microphone says (RFC 6464 §3): of the room it says nothing.
const DIGITAL_SILENCE: u8 = 127;

/// The voice in one track since it was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The time that it is about, in frames of 20 ms; at most [`FRAMES_PER_REPORT_MAX`].
    pub frames: u8,
    /// Of those, how many held a voice.
    pub active: u8,
    /// How loud it was on average, in -dBov.
    pub level: u8,
}

/// The levels of one track, at the worker that receives it. A room that spans workers so hears of
/// those who speak every 20 to 100 ms, and nothing of the others.
#[derive(Debug)]
pub struct Levels {
    noise: Noise,
    /// The sender knows voice from noise: it set the bit once.
    tells_voices: bool,
    /// Of timestamps, in a frame.
    frame: u32,
    /// The last timestamp, its distance from the one before, and how much sound a packet has, in the
    /// same unit.
    last: Option<u32>,
    apart: u32,
    length: u32,
    /// Since the last summary: packets with a voice, the sum of their levels, and their sound.
    active: u16,
    sum: u32,
    sound: u32,
    told: Option<Instant>,
    /// The last summary told of a voice.
    spoke: bool,
}

/// The quietest packets, in -dBov, of two halves of the window.
#[derive(Debug, Default)]
struct Noise {
    present: u8,
    before: u8,
    packets: u8,
}

impl Levels {
    /// Of a stream whose timestamps count at this rate, in Hz.
    pub fn new(clock_rate: u32) -> Levels {
        let frame = (clock_rate / FRAMES_PER_SECOND).max(1);
        Levels {
            noise: Noise::default(),
            tells_voices: false,
            frame,
            last: None,
            apart: 0,
            length: frame,
            active: 0,
            sum: 0,
            sound: 0,
            told: None,
            spoke: false,
        }
    }

    /// A packet came: its RTP timestamp, level in -dBov, and bit of voice activity.
    pub fn packet(&mut self, timestamp: u32, level: u8, voice: bool) {
        let level = level.min(DIGITAL_SILENCE);
        // A packet is as long as two are apart, and where nothing is sent for a while they are
        // further apart, but hardly as far twice.
        let apart = self.last.map_or(0, |last| timestamp.wrapping_sub(last));
        let is_length = apart < self.length || apart == self.apart;
        if is_length && (1..=self.frame.saturating_mul(PACKET_FRAMES_MAX)).contains(&apart) {
            self.length = apart;
        }
        (self.last, self.apart) = (Some(timestamp), apart);
        self.tells_voices |= voice;
        let noise = self.noise.hear(level);
        let is_voice = level <= VOICE_MIN && level.saturating_add(ABOVE_NOISE_DB) <= noise;
        if is_voice && (voice || !self.tells_voices) {
            self.active = self.active.saturating_add(1);
            self.sum = self.sum.saturating_add(level.into());
            self.sound = self.sound.saturating_add(self.length);
        }
    }

    /// What came since the last time; the end of a voice is told once. `None` if there was no voice
    /// in it and none before: nobody need be told.
    pub fn take(&mut self, now: Instant) -> Option<Summary> {
        let told = self.told.replace(now);
        let (active, sum, sound) = (self.active, self.sum, self.sound);
        (self.active, self.sum, self.sound) = (0, 0, 0);
        let spoke = std::mem::replace(&mut self.spoke, active > 0);
        if active == 0 && !spoke {
            return None;
        }
        let level = sum.checked_div(active.into()).unwrap_or(DIGITAL_SILENCE.into());
        let passed = told.map_or(Duration::MAX, |told| now.saturating_duration_since(told));
        let sound = sound.div_ceil(self.frame).min(FRAMES_PER_REPORT_MAX.into()) as u8;
        // Packets come in bunches: what was delayed is told with what was not.
        let frames = frames(passed).max(sound).max(1);
        Some(Summary { frames, active: sound, level: level as u8 })
    }
}

/// A time in frames, to the nearest, as far as a report goes.
fn frames(time: Duration) -> u8 {
    let most = FRAME * u32::from(FRAMES_PER_REPORT_MAX);
    let frames = (time.min(most) + FRAME / 2).as_nanos().checked_div(FRAME.as_nanos());
    frames.and_then(|frames| u8::try_from(frames).ok()).unwrap_or(0).min(FRAMES_PER_REPORT_MAX)
}

impl Noise {
    /// Takes a level, says how loud the noise is; both in -dBov.
    fn hear(&mut self, level: u8) -> u8 {
        if level < DIGITAL_SILENCE {
            self.present = self.present.max(level);
            self.packets += 1;
            if self.packets >= NOISE_PACKETS {
                *self = Noise { present: level, before: self.present, packets: 0 };
            }
        }
        self.present.max(self.before).max(NOISE_MAX)
    }
}
