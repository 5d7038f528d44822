//! What is remembered of one track: the frames of its last two and a half seconds.

use std::time::{Duration, Instant};

use super::{
    FRAME, FRAMES_PER_REPORT_MAX, FRAMES_PER_SECOND, SPEAKING_FRAMES, SPEAKING_HOLD, Summary,
};
use crate::base::ids::TrackId;

/// Reports may be so late before what they are about counts as silence: an interval between them and
/// some for the way.
const LATE: Duration = Duration::from_millis(140);
/// Longer than all frames that are remembered.
const FORGOTTEN: Duration = Duration::from_secs(3);
/// Of a new level, one part in so many is taken over with each report.
const SMOOTH: u16 = 4;
/// An unheard voice is let in after so many frames of the last ten: the first syllable is lost with
/// more, a click costs somebody a place with fewer.
const ENTER_FRAMES: u32 = 3;
/// Who is dominant keeps it until a pause: at most one frame with a voice in so many of the other's in
/// the last 300 ms. Lower takes a soft syllable for one; higher waits for who types.
const PAUSED_SHARE: u32 = 3;
/// And one in so many in the last 800 ms against one that talked over it, which is somebody with the
/// second number of frames in the last two and a half seconds. A lower second shows a new speaker who
/// began early later; a higher one goes to and fro between two who talk over each other.
const PAUSED_SHARE_OVER: u32 = 6;
const OVER_FRAMES: u32 = 50;
/// Unless the other one spoke for so many frames more in the last two and a half seconds: then the
/// choice was wrong.
const LONG_LEAD_FRAMES: u32 = 20;
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
        self.told_end = summary.voiced == 0;
        if self.told_end {
            return self.pass(now);
        }
        let frames = u32::from(summary.frames.min(FRAMES_PER_REPORT_MAX));
        self.pass(now.checked_sub(FRAME * frames).unwrap_or(now));
        // Reports in a bunch are about one time after the other.
        let voiced = u128::from(summary.voiced) & !(u128::MAX << frames);
        self.frames = self.frames << frames | voiced;
        self.until = now;
        self.active = Some(now);
        let level = u16::from(summary.level.min(SILENT));
        let begins = self.level >= u16::from(SILENT) * SMOOTH;
        self.level = if begins { level * SMOOTH } else { self.level - self.level / SMOOTH + level };
    }

    /// Time passed to this moment without a voice.
    fn pass(&mut self, to: Instant) {
        let passed = to.saturating_duration_since(self.until);
        // All is forgotten long before that, and what follows costs nothing with small numbers.
        let frames = passed.min(FORGOTTEN).subsec_nanos() / FRAME.subsec_nanos();
        let frames = frames + passed.min(FORGOTTEN).as_secs() as u32 * FRAMES_PER_SECOND;
        self.frames = self.frames.checked_shl(frames).unwrap_or(0);
        self.until = if passed < FORGOTTEN { self.until + FRAME * frames } else { to };
    }

    /// Time passed; says whether it began or ended to speak.
    pub fn advance(&mut self, now: Instant) -> bool {
        if self.frames == 0 && !self.speaking {
            return false;
        }
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

    /// Whether it is not heard and should be.
    pub fn is_newcomer(&self) -> bool {
        !self.heard && self.onset() >= ENTER_FRAMES
    }

    /// For how long there was no voice.
    pub fn silent_for(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.active.unwrap_or(self.added))
    }

    /// Whether it speaks now, and the one that is dominant does not: of late, or for long.
    pub fn leads(&self, holder: &Voice) -> bool {
        let paused = |frames, share| holder.count(frames) * share <= self.count(frames);
        let over = self.long() >= OVER_FRAMES && self.long() < holder.long() + LONG_LEAD_FRAMES;
        self.track != holder.track
            && paused(15, PAUSED_SHARE)
            && (!over || paused(40, PAUSED_SHARE_OVER))
    }

    fn count(&self, frames: u32) -> u32 {
        (self.frames & !(u128::MAX << frames)).count_ones()
    }

    /// Frames with a voice in the last 200 ms.
    fn onset(&self) -> u32 {
        self.count(10)
    }

    /// Frames with a voice in the last half second.
    pub fn medium(&self) -> u32 {
        self.count(25)
    }

    /// Frames with a voice in the last 2,560 ms.
    fn long(&self) -> u32 {
        self.frames.count_ones()
    }
}
