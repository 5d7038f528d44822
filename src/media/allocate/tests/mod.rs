//! What the allocator promises, in scenes and over seeded chance.

mod ladders;
mod promises;
mod scenes;

use std::time::{Duration, Instant};

use super::*;
use crate::base::rng::Rng;
use crate::wire::frame::Layer;

/// Sizes of a camera's three encodings, and what each costs with all of its frames.
const CAMERA: [(u16, u16, u64); 3] = [(320, 180, 150), (640, 360, 500), (1280, 720, 1_500)];
/// Of an encoding's rate, in percent, with a quarter of the frames, with half, with all.
const SHARES: [(u8, u64, u8); 3] = [(0, 40, 7), (1, 60, 15), (2, 100, 30)];

fn kbps(kbps: u64) -> Bitrate {
    Bitrate::from_kbps(kbps)
}

/// All decode targets of encodings of three temporal layers each.
fn targets(encodings: &[(u16, u16, u64)]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (encoding, (width, height, rate)) in (0..).zip(encodings) {
        for (temporal, share, fps) in SHARES {
            let (layer, size) = (Layer { spatial: 0, temporal }, size(*width, *height));
            steps.push(Step { encoding, layer, rate: kbps(rate * share / 100), size, fps });
        }
    }
    steps
}

fn size(width: u16, height: u16) -> Size {
    Size { width, height }
}

fn ladder(source: Source, steps: &[Step]) -> Ladder {
    let mut ladder = Ladder::new(source);
    ladder.rebuild(steps);
    ladder
}

fn camera() -> Ladder {
    ladder(Source::Camera, &targets(&CAMERA))
}

fn tile(place: u64, ladder: &Ladder, asked: Size) -> Demand<'_> {
    Demand {
        track: TrackId(place),
        source: Source::Camera,
        ladder,
        pinned: false,
        speaking: false,
        paused: false,
        asked,
        fps_max: None,
    }
}

/// The step that a slot got, by its height and frames.
fn shown(given: &Given, ladder: &Ladder) -> Option<(u16, u8)> {
    let Choice::Step(step) = given.choice else { return None };
    Some((ladder.steps()[step].size.height, ladder.steps()[step].fps))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Uniform below a bound.
fn below(rng: &mut Rng, bound: u64) -> u64 {
    rng.next_u64() % bound
}
