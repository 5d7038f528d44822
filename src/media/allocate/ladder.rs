//! What may be shown of a track and what it costs, from the least to the most.

use crate::base::bitrate::Bitrate;
use crate::base::limits::ENCODINGS_MAX;
use crate::wire::frame::{LAYERS_MAX, Layer};
use crate::wire::signal::Source;

/// Steps of one ladder.
pub const STEPS_MAX: usize = ENCODINGS_MAX * PICTURES_PER_ENCODING * PICTURES_PER_ENCODING;
/// Spatial layers of an encoding, and temporal ones of each.
const PICTURES_PER_ENCODING: usize = LAYERS_MAX as usize;
/// No step costs more: sums of all slots stay far from the end of their numbers.
pub const RATE_MAX: Bitrate = Bitrate::from_kbps(1_000_000);

/// A picture counts as large enough where it is shown up to so many percent larger than it is.
/// Higher is softer; lower sends a tile of 330 lines a picture of 720.
const ENLARGED_PERCENT_MAX: u32 = 125;
/// A viewer's most frames a second may be exceeded by so many: cameras of 30 measure 31.
const FPS_SLACK: u8 = 2;
/// The short side, in pixels, from which a camera's picture shows who speaks: a quarter of 1080p.
/// Higher takes from the others' pictures for a speaker; lower leaves the speaker a thumbnail.
const READABLE_SIDE: u16 = 270;
/// A step that is no new one must save so many percent of the next better one's rate to stay, and a
/// new one the second, to come. Lower makes steps that are hardly seen and measure in turn as the
/// cheaper one; higher loses some that are worth having.
const SAVING_PERCENT: u64 = 10;
const SAVING_NEW_PERCENT: u64 = 20;
/// A camera's larger picture at less than so many percent of a smaller one's rate has just begun, or
/// lacks its publisher's uplink; new ones need 100 and one in use somewhat less.
const STARVED_PERCENT: u64 = 80;

/// A size in device pixels; zero where nothing is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    pub width: u16,
    pub height: u16,
}

impl Size {
    /// Number of pixels.
    pub fn area(self) -> u32 {
        u32::from(self.width) * u32::from(self.height)
    }
}

/// One thing that may be sent of a track: a decode target of one of its encodings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From the smallest picture, 0, to the largest.
    pub encoding: u8,
    pub layer: Layer,
    /// Of the layer and all that it depends on, measured over a second or more: a shorter time would
    /// take a keyframe for a rate.
    pub rate: Bitrate,
    /// Of the picture; zero if unknown.
    pub size: Size,
    /// Frames a second, zero if unknown.
    pub fps: u8,
}

impl Step {
    /// Its encoding's spatial layer, as a place in a table of them all.
    fn picture(&self) -> usize {
        usize::from(self.encoding) * PICTURES_PER_ENCODING + usize::from(self.layer.spatial)
    }

    fn bit(&self) -> u64 {
        1 << (self.picture() * PICTURES_PER_ENCODING + usize::from(self.layer.temporal))
    }

    fn is_valid(&self) -> bool {
        let layer = Layer::new(self.layer.spatial, self.layer.temporal);
        usize::from(self.encoding) < ENCODINGS_MAX && layer.is_some() && self.rate > Bitrate::ZERO
    }
}

/// The steps of one track, which all its subscribers share: each better than the one before, and
/// dearer. What is better depends on the source. Of a camera, frames go first, but no more than half
/// of them unless there is no smaller picture; then size. Of a screen, all frames but the fewest go
/// before any size: text is read, and it rarely moves.
#[derive(Debug)]
pub struct Ladder {
    source: Source,
    steps: Vec<Step>,
    /// Those of [`Self::steps`], one bit each, by [`Step::bit`].
    kept: u64,
}

/// Per spatial layer of each encoding, the rate with all of its temporal layers, and how many.
type Pictures = [(Bitrate, u8); ENCODINGS_MAX * PICTURES_PER_ENCODING];

impl Ladder {
    /// Nothing yet. Takes all the memory that it ever needs.
    pub fn new(source: Source) -> Ladder {
        Ladder { source, steps: Vec::with_capacity(STEPS_MAX), kept: 0 }
    }

    /// From the least to the most; each costs more than the one before.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Measured anew. Takes the decode targets that exist, in any order; those of which nothing is
    /// sent (a rate of zero) are no steps. What was a step stays one at small changes of the rates.
    pub fn rebuild(&mut self, measured: &[Step]) {
        self.steps.clear();
        let mut seen = 0;
        for step in measured.iter().filter(|step| step.is_valid()) {
            if seen & step.bit() == 0 {
                seen |= step.bit();
                self.steps.push(Step { rate: step.rate.min(RATE_MAX), ..*step });
            }
        }
        let sized = self.steps.iter().all(|step| step.size.area() > 0);
        if !sized {
            // Some that are known compare with nothing.
            self.steps.iter_mut().for_each(|step| step.size = Size::default());
        }
        self.steps.sort_unstable_by_key(|s| (s.size.area(), s.encoding, s.layer));
        if self.source != Source::Screen {
            self.leave_out_starved();
            self.leave_out_sparse();
        }
        self.leave_out_dominated();
        self.kept = self.steps.iter().fold(0, |kept, step| kept | step.bit());
    }

    fn pictures(&self) -> Pictures {
        let mut pictures = Pictures::default();
        for step in &self.steps {
            if let Some((rate, temporal)) = pictures.get_mut(step.picture()) {
                *rate = step.rate.max(*rate);
                *temporal = step.layer.temporal.max(*temporal);
            }
        }
        pictures
    }

    /// Larger pictures that get less than smaller ones: publishers fill those first, so these look
    /// worse, and what they will cost is not known yet.
    fn leave_out_starved(&mut self) {
        let (pictures, kept) = (self.pictures(), self.kept);
        let mut least = [Bitrate::ZERO; 2];
        let mut last = None;
        self.steps.retain(|step| {
            let picture = step.picture();
            let full = pictures.get(picture).map_or(Bitrate::ZERO, |(full, _)| *full);
            if last != Some(picture) {
                last = Some(picture);
                let [_, now] = least;
                least = [now, now.max(full)];
            }
            let [smaller, _] = least;
            let needed = if kept & picture_bits(picture) == 0 { 100 } else { STARVED_PERCENT };
            full >= percent(smaller, needed)
        });
    }

    /// Pictures with a quarter of their frames or fewer, where there is a smaller one.
    fn leave_out_sparse(&mut self) {
        let pictures = self.pictures();
        let smallest = self.steps.first().map(Step::picture);
        self.steps.retain(|step| {
            let (_, all) = pictures.get(step.picture()).copied().unwrap_or_default();
            Some(step.picture()) == smallest || step.layer.temporal + 1 >= all
        });
    }

    /// Those that save next to nothing, or nothing at all, against a better one.
    fn leave_out_dominated(&mut self) {
        let kept = self.kept;
        let mut better = None;
        self.steps.reverse();
        self.steps.retain(|step| {
            let saving = if kept & step.bit() == 0 { SAVING_NEW_PERCENT } else { SAVING_PERCENT };
            let is_cheaper = |better| step.rate < percent(better, 100 - saving);
            let stays = better.is_none_or(is_cheaper);
            if stays {
                better = Some(step.rate);
            }
            stays
        });
        self.steps.reverse();
    }

    /// The rate of the first `count` steps' last; nothing for none.
    pub fn rate(&self, count: u8) -> Bitrate {
        self.step(count).map_or(Bitrate::ZERO, |step| step.rate)
    }

    /// The last of the first `count` steps.
    pub(super) fn step(&self, count: u8) -> Option<&Step> {
        self.steps.get(usize::from(count).checked_sub(1)?)
    }

    /// How many steps a viewer has use for: up to the smallest picture that covers the size asked
    /// for, with no more frames a second than it wants, but the least there is of what is sent.
    pub fn top(&self, asked: Size, fps_max: Option<u8>) -> u8 {
        let covering = self.steps.iter().find(|step| self.covers(step.size, asked));
        let largest = covering.map_or(u32::MAX, |step| step.size.area());
        let fits = |step: &Step| {
            step.size.area() <= largest
                && fps_max.is_none_or(|max| step.fps <= max.saturating_add(FPS_SLACK))
        };
        let last = self.steps.iter().rposition(fits).map_or(1, |last| last + 1);
        last.min(self.steps.len()) as u8
    }

    /// A camera's picture is cut to fill its place, so it needs both sides; a screen's is shown whole.
    fn covers(&self, picture: Size, asked: Size) -> bool {
        let reaches = |has: u16, asked: u16| {
            has > 0 && u32::from(has) * ENLARGED_PERCENT_MAX >= u32::from(asked) * 100
        };
        let width = reaches(picture.width, asked.width);
        let height = reaches(picture.height, asked.height);
        if self.source == Source::Screen { width || height } else { width && height }
    }

    /// How many of the first `top` steps make a picture of use to somebody who looks at it: of a
    /// camera, one that shows a face; of a screen, the size, with the fewest frames.
    pub(super) fn readable(&self, top: u8) -> u8 {
        let Some(most) = self.step(top) else { return 0 };
        let unknown = most.size.area() == 0;
        let is_readable = |step: &Step| match self.source {
            Source::Screen => step.picture() == most.picture(),
            _ => step.size.width.min(step.size.height) >= READABLE_SIDE,
        };
        let first = self.steps.iter().take(top.into()).position(is_readable);
        first.map_or(if unknown { top.div_ceil(2) } else { top }, |first| first as u8 + 1)
    }

    /// How many steps come nearest to the one that was chosen from an earlier ladder: itself, or the
    /// better one against which it saved too little, or else the best of those below it.
    pub(super) fn nearest(&self, last: &Step) -> u8 {
        let is_same = |s: &Step| (s.encoding, s.layer) == (last.encoding, last.layer);
        if let Some(same) = self.steps.iter().position(is_same) {
            return same as u8 + 1;
        }
        let rank = |s: &Step| (s.size.area(), s.encoding, s.layer);
        let is_as_cheap = |s: &Step| percent(s.rate, 100 - SAVING_PERCENT) <= last.rate;
        let is_next = |s: &Step| rank(s) > rank(last) && is_as_cheap(s);
        if let Some(next) = self.steps.iter().position(is_next) {
            return next as u8 + 1;
        }
        let below = self.steps.iter().filter(|s| rank(s) < rank(last)).count();
        below.max(1).min(self.steps.len()) as u8
    }
}

/// The bits of all steps of a picture.
fn picture_bits(picture: usize) -> u64 {
    0b1111 << (picture * PICTURES_PER_ENCODING)
}

/// So many percent of a rate.
pub(super) fn percent(rate: Bitrate, percent: u64) -> Bitrate {
    // A budget may be any number; a step is at most RATE_MAX.
    Bitrate::from_bps(
        (u128::from(rate.bps()) * u128::from(percent) / 100).min(u64::MAX.into()) as u64
    )
}
