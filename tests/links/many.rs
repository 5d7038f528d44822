//! Ten viewers at the ends of ten links.

use std::time::Duration;

use crate::link::{Bursts, Shape};
use crate::world::World;
use crate::{secs, seeds};

const BEGINS: f64 = 20.0;
const ENDS: f64 = 60.0;
/// Of so many links, those that come first, what is carried does not hang on when a burst or a swing
/// meets a raise: that differs as much between two runs of the same link alone.
const STEADY: usize = 7;

fn shapes() -> [Shape; 10] {
    let ms = Duration::from_millis;
    let burst = Bursts { from: secs(5.0), every: secs(4.0), length: ms(200), loss: 0.5 };
    let swings = (0..8).map(|n| (secs(10.0 + 6.0 * n as f64), [700, 2_800][n % 2]));
    [
        Shape::of(20_000),
        Shape::of(3_000),
        Shape { delay: ms(120), ..Shape::of(2_500) },
        Shape { jitter: ms(15), ..Shape::of(3_000) },
        Shape::of(900),
        Shape::of(350),
        Shape { loss: 0.05, ..Shape::of(4_000) },
        Shape { bursts: Some(burst), ..Shape::of(4_000) },
        swings.fold(Shape::of(2_800), |shape, (at, kbps)| shape.then(at, kbps)),
        Shape { loss: 0.25, ..Shape::of(1_000) },
    ]
}

/// Kilobits a second that each link carried.
fn run(seed: u64, shapes: &[Shape]) -> Vec<f64> {
    let mut world = World::new(seed);
    world.publish(1.0);
    shapes.iter().for_each(|shape| world.view(1, shape.clone()));
    world.run_until(secs(ENDS));
    let carried = |at: usize| world.viewers[at].down.carried(0, secs(BEGINS), secs(ENDS)) / 1e3;
    (0..shapes.len()).map(carried).collect()
}

#[test]
fn nobody_harms_another() {
    for seed in seeds(2) {
        let shapes = shapes();
        let together = run(seed, &shapes);
        let alone: Vec<f64> =
            shapes.iter().map(|s| run(seed, std::slice::from_ref(s))[0]).collect();
        let ratios = together.iter().zip(&alone).map(|(with, alone)| with / alone);
        let ratios: Vec<f64> = ratios.collect();
        let shown: Vec<String> = ratios.iter().map(|r| format!("{:.0}", r * 100.0)).collect();
        let alone: Vec<String> = alone.iter().map(|kbps| format!("{kbps:.0}")).collect();
        println!("many {seed}: {} % of {} kbit/s", shown.join(" "), alone.join(" "));
        let steady = &ratios[..STEADY];
        assert!(steady.iter().all(|ratio| (0.85..=1.15).contains(ratio)));
    }
}
