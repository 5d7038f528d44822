//! Beside others on one link.

use super::flow::{Flow, Source, run};
use super::link::{Link, SECOND};

fn ours(seed: u8) -> Flow {
    Flow::new(Source::Elastic(2_900)).seeded(seed)
}

/// Our percentage of what arrived of two.
fn share(mut flows: [Flow; 2], seed: u8, from: f64, to: f64) -> u64 {
    let mut link = Link::new(3_000).seeded(seed);
    run(&mut link, &mut flows, 0.0, to);
    let [own, other] = flows.map(|flow| flow.arrived_over(from, to));
    assert!(own + other > 2_200, "together {own} and {other}");
    own * 100 / (own + other)
}

#[test]
fn the_published_model_has_its_share() {
    let mut shares = Vec::new();
    for seed in 1..9 {
        shares.push(share(
            [ours(seed), Flow::published(2_900).seeded(seed + 50)],
            seed,
            30.0,
            90.0,
        ));
    }
    are_fair(&shares, 30..=70);
}

/// Who has more changes over minutes; on average it is half.
fn are_fair(shares: &[u64], each: std::ops::RangeInclusive<u64>) {
    let mean = shares.iter().sum::<u64>() / shares.len() as u64;
    assert!((40..=60).contains(&mean), "{shares:?} %");
    assert!(shares.iter().all(|share| each.contains(share)), "{shares:?} %");
}

#[test]
fn who_comes_later_gets_a_share() {
    let mut shares = Vec::new();
    for seed in 1..5 {
        let (mut late, other) = (ours(seed), Flow::published(2_900).seeded(seed + 50));
        late.starts = 20 * SECOND;
        shares.push(share([late, other], seed, 50.0, 110.0));
        let (early, mut other) = (ours(seed), Flow::published(2_900).seeded(seed + 50));
        other.starts = 20 * SECOND;
        shares.push(share([early, other], seed, 50.0, 110.0));
    }
    are_fair(&shares, 25..=75);
}

#[test]
fn two_of_ours_share() {
    let mut shares = Vec::new();
    for seed in 1..5 {
        shares.push(share([ours(seed), ours(seed + 50)], seed, 30.0, 90.0));
        let mut late = ours(seed);
        late.starts = 20 * SECOND;
        shares.push(share([late, ours(seed + 50)], seed, 50.0, 110.0));
    }
    are_fair(&shares, 30..=70);
}
