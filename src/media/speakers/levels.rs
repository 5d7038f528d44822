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
/// In -dBov, digital silence (RFC 6464 §3). A muted microphone says so, which tells nothing of its
/// room; and one whose noise is taken out, between words, which tells that there is none.
const DIGITAL_SILENCE: u8 = 127;
/// Of so many packets at most is a silence between words; a mute is longer.
const SILENT_PACKETS_MAX: u8 = 25;
/// After a longer one, the noise is not known for so many packets, and taken for the second, in -dBov.
/// More lets a fan at an opened microphone become dominant; fewer is deaf to the first syllable.
const UNKNOWN_PACKETS: u8 = 12;
const NOISE_UNKNOWN: u8 = 65;
/// In -dBov, what counts as the noise where it is taken out.
const SUPPRESSED: u8 = 90;

/// The voice in one track since it was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The time that it is about, in frames of 20 ms; at most [`FRAMES_PER_REPORT_MAX`].
    pub frames: u8,
    /// Of those, which held a voice: one bit each, the youngest lowest.
    pub voiced: u16,
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
    /// Since the last summary: packets with a voice, and the sum of their levels; frames of all, and
    /// which of them held one.
    active: u16,
    sum: u32,
    frames: u32,
    voiced: u16,
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
    /// Packets of digital silence since there was a sound; and of sound since a longer one.
    silent: u8,
    sounds: u8,
    /// Sounds have come after short silences: noise is taken out between words.
    suppresses: bool,
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
            frames: 0,
            voiced: 0,
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
        let is_voice = is_voice && (voice || !self.tells_voices);
        // What was not sent held none. A packet that was overtaken is taken for the next.
        let unsent = apart.saturating_sub(self.length).checked_div(self.frame).unwrap_or(0);
        let late = unsent > u32::MAX / self.frame / 2;
        self.push(if late { 0 } else { unsent }, false);
        self.push(self.length.div_ceil(self.frame), is_voice);
        if is_voice {
            self.active = self.active.saturating_add(1);
            self.sum = self.sum.saturating_add(level.into());
        }
    }

    fn push(&mut self, frames: u32, is_voice: bool) {
        let frames = frames.min(FRAMES_PER_REPORT_MAX.into());
        let ones = if is_voice { (1 << frames) - 1 } else { 0 };
        self.voiced = self.voiced << frames | ones;
        self.frames = self.frames.saturating_add(frames);
    }

    /// What came since the last time; the end of a voice is told once. `None` if there was no voice
    /// in it and none before: nobody need be told.
    pub fn take(&mut self, now: Instant) -> Option<Summary> {
        let told = self.told.replace(now);
        let (active, sum) = (std::mem::take(&mut self.active), std::mem::take(&mut self.sum));
        let (came, voiced) = (std::mem::take(&mut self.frames), std::mem::take(&mut self.voiced));
        let spoke = std::mem::replace(&mut self.spoke, active > 0);
        if active == 0 && !spoke {
            return None;
        }
        let level = sum.checked_div(active.into()).unwrap_or(DIGITAL_SILENCE.into());
        let passed = frames(told.map_or(FRAME, |told| now.saturating_duration_since(told)));
        // Packets come in bunches: what was delayed is told with what was not. What did not come by
        // now was not sent.
        let came = came.min(FRAMES_PER_REPORT_MAX.into()) as u8;
        let frames = passed.max(came).max(1);
        let voiced = voiced << (frames - came) & ((1 << frames) - 1);
        Some(Summary { frames, voiced, level: level as u8 })
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
            self.suppresses |= (1..=SILENT_PACKETS_MAX).contains(&self.silent);
            if self.silent > SILENT_PACKETS_MAX {
                *self = Noise { suppresses: self.suppresses, ..Noise::default() };
            }
            self.silent = 0;
            self.sounds = self.sounds.saturating_add(1);
            self.take(level);
        } else {
            self.silent = self.silent.saturating_add(1);
            if self.suppresses && self.silent <= SILENT_PACKETS_MAX {
                self.take(SUPPRESSED);
            }
        }
        let assumed = if self.sounds <= UNKNOWN_PACKETS { NOISE_UNKNOWN } else { NOISE_MAX };
        self.present.max(self.before).max(assumed)
    }

    fn take(&mut self, level: u8) {
        self.present = self.present.max(level);
        self.packets += 1;
        if self.packets >= NOISE_PACKETS {
            (self.before, self.present, self.packets) = (self.present, level, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: u8 = 70;
    const VOICE: u8 = 30;

    struct Stream {
        levels: Levels,
        timestamp: u32,
        now: Instant,
    }

    /// Of packets of so many frames, after some noise.
    fn stream(length: u32) -> Stream {
        let mut stream = Stream { levels: Levels::new(48_000), timestamp: 0, now: Instant::now() };
        stream.send(&[QUIET; 40], length);
        stream.levels.take(stream.now);
        stream
    }

    impl Stream {
        fn send(&mut self, levels: &[u8], length: u32) {
            for level in levels {
                self.timestamp = self.timestamp.wrapping_add(length * 960);
                self.now += FRAME * length;
                self.levels.packet(self.timestamp, *level, true);
            }
        }

        fn take(&mut self) -> Option<(u8, u16, u8)> {
            self.levels.take(self.now).map(|s| (s.frames, s.voiced, s.level))
        }
    }

    #[test]
    fn a_voice_is_told_by_frames_and_its_end_once() {
        let mut stream = stream(1);
        stream.send(&[QUIET, 20, 40, QUIET, 30], 1);
        assert_eq!(stream.take(), Some((5, 0b01101, 30)));
        stream.send(&[QUIET; 5], 1);
        assert_eq!(stream.take(), Some((5, 0, 127)));
        stream.send(&[QUIET; 5], 1);
        assert_eq!(stream.take(), None);
    }

    #[test]
    fn packets_may_be_long_or_not_sent_at_all() {
        let mut long = stream(3);
        long.send(&[VOICE, QUIET], 3);
        assert_eq!(long.take(), Some((6, 0b111000, VOICE)));
        let mut gaps = stream(1);
        gaps.send(&[VOICE, VOICE], 1);
        gaps.timestamp += 2 * 960;
        gaps.now += 2 * FRAME;
        gaps.send(&[VOICE], 1);
        assert_eq!(gaps.take(), Some((5, 0b11001, VOICE)));
        gaps.send(&[VOICE], 1);
        gaps.now += 4 * FRAME;
        assert_eq!(gaps.take(), Some((5, 0b10000, VOICE)), "then nothing was sent");
    }

    #[test]
    fn a_bunch_that_was_delayed_is_told_whole() {
        let mut stream = stream(1);
        stream.send(&[VOICE; 8], 1);
        stream.now -= 3 * FRAME;
        assert_eq!(stream.take(), Some((8, 0xff, VOICE)));
        stream.send(&[VOICE; 20], 1);
        assert_eq!(stream.take(), Some((10, 0x3ff, VOICE)), "at most");
    }

    #[test]
    fn packets_in_any_order_do_no_harm() {
        let mut overtaken = stream(1);
        for at in [1, 3, 2, 4] {
            overtaken.levels.packet(overtaken.timestamp + at * 960, VOICE, true);
        }
        overtaken.now += 4 * FRAME;
        assert_eq!(overtaken.take(), Some((6, 0b101101, VOICE)));
        let mut stream = stream(1);
        for timestamp in [5, 4, 0, u32::MAX, 1 << 31, 7] {
            stream.levels.packet(timestamp, VOICE, true);
        }
        stream.now += 5 * FRAME;
        let (frames, ..) = stream.take().expect("a voice");
        assert!(frames <= FRAMES_PER_REPORT_MAX);
        let mut odd = Levels::new(0);
        odd.packet(1, QUIET, false);
        odd.packet(2, VOICE, false);
        assert!(odd.take(stream.now).is_some());
    }

    #[test]
    fn the_bit_counts_once_it_was_set() {
        let mut stream = stream(1);
        stream.levels.packet(stream.timestamp + 960, VOICE, false);
        assert_eq!(stream.take(), None);
        let mut mute = Levels::new(48_000);
        mute.packet(0, QUIET, false);
        mute.packet(960, VOICE, false);
        assert!(mute.take(stream.now).is_some(), "it never was");
    }

    #[test]
    fn noise_is_what_is_quietest_for_a_time() {
        let mut stream = stream(1);
        // A fan begins: for a while it is louder than the room was.
        stream.send(&[45; 150], 1);
        assert!(stream.take().is_some());
        stream.take();
        stream.send(&[45, 43, 45, 46, 45], 1);
        assert_eq!(stream.take(), None);
        stream.send(&[30; 5], 1);
        assert_eq!(stream.take(), Some((5, 0b11111, 30)));
        // Who sings without a pause is heard.
        stream.send(&[15; 300], 1);
        stream.take();
        stream.send(&[15; 5], 1);
        assert_eq!(stream.take(), Some((5, 0b11111, 15)));
        stream.send(&[90; 200], 1);
        stream.take();
        stream.take();
        stream.send(&[60; 5], 1);
        assert_eq!(stream.take(), None, "breath");
    }

    #[test]
    fn digital_silence_between_words_is_no_noise_and_a_mute_is_nothing() {
        let mut stream = stream(1);
        stream.send(&[45; 400], 1);
        stream.send(&[127; 400], 1);
        stream.take();
        stream.take();
        // The room may be another one: it is not known for a moment.
        stream.send(&[45; 5], 1);
        assert_eq!(stream.take(), Some((5, 0b11111, 45)));
        stream.send(&[45; 7], 1);
        stream.take();
        stream.send(&[45; 5], 1);
        assert_eq!(stream.take(), Some((5, 0, 127)));
        let mut suppressed = Stream { levels: Levels::new(48_000), ..self::stream(1) };
        for _ in 0..3 {
            suppressed.send(&[30; 10], 1);
            suppressed.send(&[127; 10], 1);
        }
        suppressed.take();
        suppressed.send(&[30; 5], 1);
        assert_eq!(suppressed.take(), Some((5, 0b11111, 30)));
    }
}
