//! Paths that lose, at random and in bursts.

use std::collections::HashSet;
use std::time::Duration;

use crate::link::{Bursts, Shape};
use crate::watch::{freezes, longest};
use crate::world::World;
use crate::{secs, seeds};

const BEGINS: f64 = 10.0;
const ENDS: f64 = 70.0;

struct Figures {
    /// Of the frames that left for the viewer, those that it could show.
    shown: f64,
    freeze: f64,
    /// The encoding that is the median of all frames.
    usual: u8,
    keyframes: u64,
    faults: usize,
}

fn run(seed: u64, shape: Shape) -> (World, Figures) {
    let mut world = World::new(seed);
    world.publish(1.0);
    world.view(1, shape);
    world.run_until(secs(ENDS));
    let (from, to) = (world.began + secs(BEGINS), world.began + secs(ENDS));
    let viewer = &world.viewers[0];
    let slot = &viewer.subscriber.slots[0];
    let picture = &slot.picture;
    let shown: HashSet<u32> = picture.shown.iter().map(|shown| shown.timestamp).collect();
    // What left last may still be on its way.
    let left = viewer
        .sent
        .frames
        .iter()
        .filter(|(at, ssrc, _)| *ssrc == slot.ssrc() && (from..to - secs(1.0)).contains(at));
    let (mut all, mut seen) = (0, 0);
    for (_, _, timestamp) in left {
        all += 1;
        seen += u32::from(shown.contains(timestamp));
    }
    let mut encodings: Vec<u8> = picture.shown.iter().map(|shown| shown.encoding).collect();
    encodings.sort_unstable();
    let figures = Figures {
        shown: f64::from(seen) / f64::from(all),
        freeze: longest(&freezes(&picture.shown, from, to)).as_secs_f64(),
        usual: encodings[encodings.len() / 2],
        keyframes: world.publishers[0].0.keyframe_requests,
        faults: picture.faults.len(),
    };
    (world, figures)
}

#[test]
fn random_loss_is_mended() {
    for seed in seeds(10) {
        let delay = Duration::from_millis(50);
        let (_, f) = run(seed, Shape { loss: 0.05, delay, ..Shape::of(4_000) });
        println!(
            "loss {seed}: shown {:.2} %, frozen {:.2} s, encoding {}, keyframes {}, faults {}",
            f.shown * 100.0,
            f.freeze,
            f.usual,
            f.keyframes,
            f.faults,
        );
        // The promise is 0.98; what is lost twice comes too late to be shown.
        assert!(f.shown >= 0.95 && f.freeze <= 0.4 && f.faults == 0);
    }
}

/// How long after each burst the picture moves again, all that came in it, and is as large as
/// before: the longest of all bursts.
fn recovers(world: &World, bursts: Bursts) -> f64 {
    let shown = &world.viewers[0].subscriber.slots[0].picture.shown;
    let mut longest = Duration::ZERO;
    let mut at = world.began + bursts.from;
    while at + bursts.every < world.now {
        let before = shown.iter().rev().find(|shown| shown.at < at).map(|shown| shown.encoding);
        let ends = at + bursts.length;
        let next = at + bursts.every;
        // From the last time on at which something was amiss.
        let within: Vec<_> = shown.iter().filter(|s| s.at >= at && s.at < next).collect();
        let stuck = freezes(shown, at, next);
        let stuck = stuck.iter().filter(|freeze| freeze.at >= at - Duration::from_millis(100));
        let moves = stuck.map(|freeze| freeze.at + freeze.length + Duration::from_millis(33)).max();
        let small = within.iter().rev().find(|shown| Some(shown.encoding) < before);
        let good = moves.max(small.map(|shown| shown.at)).unwrap_or(ends);
        longest = longest.max(good.saturating_duration_since(ends));
        at = next;
    }
    longest.as_secs_f64()
}

/// Gives how long after a burst all is well, and the longest freeze.
fn burst(name: &str, seed: u64, loss: f64) -> (f64, f64) {
    let length = Duration::from_millis(200);
    let bursts = Bursts { from: secs(12.0), every: secs(5.3), length, loss };
    let (world, f) = run(seed, Shape { bursts: Some(bursts), ..Shape::of(4_000) });
    let recovered = recovers(&world, bursts);
    println!(
        "{name} {seed}: recovered after {:.2} s, shown {:.2} %, frozen {:.2} s, encoding {}, \
         keyframes {}, faults {}",
        recovered,
        f.shown * 100.0,
        f.freeze,
        f.usual,
        f.keyframes,
        f.faults,
    );
    assert_eq!(f.faults, 0);
    (recovered, f.freeze)
}

#[test]
fn bursts_of_loss_are_over_soon() {
    for seed in seeds(10) {
        let (recovered, freeze) = burst("burst", seed, 0.2);
        assert!(recovered <= 1.0 && freeze <= 0.5);
    }
}

#[test]
fn so_are_moments_without_anything() {
    for seed in seeds(10) {
        let (recovered, freeze) = burst("gap", seed, 1.0);
        assert!(recovered <= 1.0 && freeze <= 0.5);
    }
}
