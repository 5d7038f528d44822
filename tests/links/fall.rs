//! A path that drops and comes back.

use crate::link::Shape;
use crate::watch::{changes, freezes, longest};
use crate::world::World;
use crate::{secs, seeds};

const FALLS: f64 = 15.0;
const RETURNS: f64 = 35.0;
const ENDS: f64 = 55.0;

struct Figures {
    /// From the fall to a lower encoding, and from the return to the highest.
    lower: Option<f64>,
    top: Option<f64>,
    freeze: f64,
    queue: f64,
    lost: f64,
    faults: usize,
}

fn run(seed: u64) -> Figures {
    let mut world = World::new(seed);
    world.publish(1.0);
    world.view(1, Shape::of(3_000).then(secs(FALLS), 400).then(secs(RETURNS), 3_000));
    world.run_until(secs(ENDS));
    let at = |time: f64| world.began + secs(time);
    let viewer = &world.viewers[0];
    let picture = &viewer.subscriber.slots[0].picture;
    let shown = &picture.shown;
    let first = |from: f64, to: f64, wanted: fn(u8) -> bool| {
        let last = shown.iter().rev().find(|shown| shown.at < at(from));
        if last.is_some_and(|shown| wanted(shown.encoding)) {
            return Some(0.0);
        }
        let changes = changes(shown, at(from), at(to));
        let found = changes.iter().find(|(_, encoding)| wanted(*encoding));
        found.map(|(when, _)| (*when - at(from)).as_secs_f64())
    };
    assert_eq!(shown.iter().rev().find(|s| s.at < at(FALLS)).map(|s| s.encoding), Some(2));
    let lower = first(FALLS, RETURNS, |encoding| encoding < 2);
    let top = first(RETURNS, ENDS, |encoding| encoding == 2);
    let recovered = RETURNS + top.unwrap_or(0.0) + 2.0;
    Figures {
        lower,
        top,
        freeze: longest(&freezes(shown, at(FALLS), at(ENDS))).as_secs_f64(),
        queue: viewer.down.queue_max(secs(FALLS + 3.0), secs(RETURNS)).as_secs_f64(),
        lost: viewer.down.lost(secs(RETURNS), secs(recovered)),
        faults: picture.faults.len(),
    }
}

#[test]
fn a_path_drops_and_comes_back() {
    let (mut late, mut count) = (Vec::new(), 0);
    for seed in seeds(20) {
        let f = run(seed);
        println!(
            "fall {seed}: lower after {:.2} s, frozen {:.2} s, queue {:.0} ms; top after {:.2} s, \
             lost {:.1} %, faults {}",
            f.lower.unwrap_or(f64::INFINITY),
            f.freeze,
            f.queue * 1e3,
            f.top.unwrap_or(f64::INFINITY),
            f.lost * 100.0,
            f.faults,
        );
        let falls = f.lower.is_some_and(|after| after < 2.0) && f.freeze <= 0.55 && f.queue < 0.3;
        let returns = f.top.is_some_and(|after| after < 8.0) && f.lost < 0.02;
        assert!(falls);
        late.extend((!returns).then_some(seed));
        count += 1;
        assert_eq!(f.faults, 0);
    }
    // A probe that a keyframe meets finds less than there is, and the raise waits for the next turn.
    assert!(late.len() * 10 <= count, "{late:?} of {count}");
}
