//! A path that swings.

use crate::camera::ENCODINGS;
use crate::link::{HEADERS_BYTES, Shape};
use crate::watch::{changes, freezes, longest};
use crate::world::World;
use crate::{secs, seeds};

const EVERY: f64 = 5.0;
const LOW_KBPS: u64 = 800;
const HIGH_KBPS: u64 = 2_500;
/// It begins to swing, and ends.
const BEGINS: f64 = 15.0;
const ENDS: f64 = 135.0;

fn swings() -> Shape {
    let count = ((ENDS - BEGINS) / EVERY) as usize;
    let rate = |n: usize| if n.is_multiple_of(2) { LOW_KBPS } else { HIGH_KBPS };
    let turns = (0..count).map(|n| (secs(BEGINS + n as f64 * EVERY), rate(n)));
    turns.fold(Shape::of(HIGH_KBPS), |shape, (at, kbps)| shape.then(at, kbps))
}

/// What the largest encoding that fits comes to on a link, with the sound and headers, in bit/s.
fn usable(kbps: u64) -> f64 {
    let headers = |rate: f64, bytes: f64| rate * (1.0 + (HEADERS_BYTES as f64 + 48.0) / bytes);
    let sound = headers(32_000.0, 80.0);
    let fits = ENCODINGS.iter().map(|(.., rate)| headers(*rate as f64, 1_000.0) + sound);
    fits.filter(|rate| *rate <= kbps as f64 * 1e3).fold(0.0, f64::max)
}

#[test]
fn a_path_that_swings_is_used() {
    for seed in seeds(2) {
        let mut world = World::new(seed);
        world.publish(1.0);
        world.view(1, swings());
        world.run_until(secs(ENDS));
        let viewer = &world.viewers[0];
        let picture = &viewer.subscriber.slots[0].picture;
        let (from, to) = (world.began + secs(BEGINS), world.began + secs(ENDS));
        let times = |n: f64| world.began + secs(BEGINS + n * EVERY);
        let count = (ENDS - BEGINS) / EVERY;
        let most = (0..count as u32)
            .map(|n| changes(&picture.shown, times(n.into()), times(f64::from(n) + 1.0)).len())
            .max();
        let used = viewer.down.carried(0, secs(BEGINS), secs(ENDS));
        let used = used * 2.0 / (usable(LOW_KBPS) + usable(HIGH_KBPS));
        let frozen = longest(&freezes(&picture.shown, from, to)).as_secs_f64();
        let most = most.unwrap_or(0);
        println!(
            "swing {seed}: used {:.1} %, changes {}, in one swing {}, frozen {:.2} s, lost {:.2} %, \
             faults {}",
            used * 100.0,
            changes(&picture.shown, from, to).len(),
            most,
            frozen,
            viewer.down.lost(secs(BEGINS), secs(ENDS)) * 100.0,
            picture.faults.len(),
        );
        // The promise is 0.8, and one.
        assert!(used >= 0.5 && most <= 2 && frozen <= 0.6 && picture.faults.is_empty());
    }
}
