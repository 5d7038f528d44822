//! What is remembered of one track: the frames of its last two and a half seconds.

use std::time::{Duration, Instant};

use super::{FRAME, SPEAKING_FRAMES, SPEAKING_HOLD, Summary};
use crate::base::ids::TrackId;

/// Reports may be so late before what they are about counts as silence: an interval between them and
/// some for the way.
const LATE: Duration = Duration::from_millis(140);
/// Of a new level, one part in so many is taken over with each report.
const SMOOTH: u16 = 4;
/// In -dBov: nothing.
const SILENT: u8 = 127;

#[derive(Debug)]
pub(super) struct Voice {
    pub track: TrackId,
    /// One bit a frame, the youngest lowest: whether it held a voice.
    frames: u128,
    /// The end of the youngest frame.
    until: Instant,
    /// Of late, in quarters of -dBov.
    level: u16,
    /// The last report said that there is no voice; none comes while that is so.
    told_end: bool,
    /// When there was last a voice.
    active: Option<Instant>,
    pub speaking: bool,
    pub heard: bool,
    pub heard_since: Instant,
    added: Instant,
}

impl Voice {
    pub fn new(track: TrackId, now: Instant) -> Voice {
        Voice {
            track,
            frames: 0,
            until: now,
            level: u16::from(SILENT) * SMOOTH,
            told_end: true,
            active: None,
            speaking: false,
            heard: false,
            heard_since: now,
            added: now,
        }
    }

    /// Of late, in -dBov.
    pub fn level(&self) -> u8 {
        u8::try_from(self.level / SMOOTH).unwrap_or(SILENT)
    }

    pub fn hear(&mut self, summary: Summary, now: Instant) {
        let (frames, active) = (u32::from(summary.frames), u32::from(summary.active));
        if active == 0 {
            self.pass(now);
            self.told_end = true;
            return;
        }
        self.told_end = false;
        self.pass(now.checked_sub(FRAME * frames).unwrap_or(now));
        // Reports in a bunch are about one time after the other, but none is about the future.
        let active = active.min(frames);
        let ones = !(u128::MAX.checked_shl(active).unwrap_or(0));
        self.frames = self.frames.checked_shl(frames).unwrap_or(0) | ones;
        self.until = (self.until + FRAME * frames).min(now);
        self.active = Some(now);
        let level = u16::from(summary.level.min(SILENT));
        let begins = self.level >= u16::from(SILENT) * SMOOTH;
        self.level = if begins { level * SMOOTH } else { self.level - self.level / SMOOTH + level };
    }

    /// Time passed to this moment without a voice.
    fn pass(&mut self, to: Instant) {
        let passed = to.saturating_duration_since(self.until);
        let frames = passed.as_nanos().checked_div(FRAME.as_nanos()).unwrap_or(0);
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        self.frames = self.frames.checked_shl(frames).unwrap_or(0);
        self.until = self.until.checked_add(FRAME.saturating_mul(frames)).unwrap_or(to);
    }

    /// Time passed; says whether it began or ended to speak.
    pub fn advance(&mut self, now: Instant) -> bool {
        let late = if self.told_end { Duration::ZERO } else { LATE };
        self.pass(now.checked_sub(late).unwrap_or(now));
        let holds = self.speaking && self.silent_for(now) < SPEAKING_HOLD;
        let speaks = holds || self.onset() >= SPEAKING_FRAMES;
        if !speaks && self.frames == 0 {
            self.level = u16::from(SILENT) * SMOOTH;
        }
        std::mem::replace(&mut self.speaking, speaks) != speaks
    }

    /// Forgets what it said; says whether it spoke.
    pub fn silence(&mut self) -> bool {
        self.frames = 0;
        self.active = None;
        self.level = u16::from(SILENT) * SMOOTH;
        std::mem::replace(&mut self.speaking, false)
    }

    /// Whether anything of it has to be decided later.
    pub fn sounds(&self) -> bool {
        self.frames != 0 || self.speaking
    }

    /// For how long there was no voice.
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.active.unwrap_or(self.added))
    }

    fn count(&self, frames: u32) -> u32 {
        (self.frames & !(u128::MAX << frames)).count_ones()
    }

    /// Frames with a voice in the last 200 ms.
    pub fn onset(&self) -> u32 {
        self.count(10)
    }

    /// Frames with a voice in the last 300 ms.
    pub fn immediate(&self) -> u32 {
        self.count(15)
    }

    /// Frames with a voice in the last half second.
    pub fn medium(&self) -> u32 {
        self.count(25)
    }

    /// Whether there was a voice in the last 800 ms.
    pub fn spoke_lately(&self) -> bool {
        self.count(40) > 0
    }

    /// In how many of the last five tenths of a second there was a voice.
    pub fn tenths(&self) -> u32 {
        (0..5).map(|tenth| u32::from(self.frames >> (5 * tenth) & 0b11111 != 0)).sum()
    }
}
