//! Nothing is allocated to decide who gets what of a subscriber's path, and who speaks.

use std::time::{Duration, Instant};

use trackyard::base::bitrate::Bitrate;
use trackyard::base::ids::TrackId;
use trackyard::media::allocate::{Allocator, Demand, Ladder, Size, Step};
use trackyard::media::speakers::{HEARD_MAX, Levels, Speakers};
use trackyard::wire::frame::Layer;
use trackyard::wire::signal::Source;

use crate::system;

/// Three encodings of three temporal layers, at so many percent of their rates.
fn measured(percent: u64) -> Vec<Step> {
    let encodings = [(0, 180, 150), (1, 360, 500), (2, 720, 1_500)];
    let steps = encodings.into_iter().flat_map(|(encoding, height, kbps)| {
        [(0, 40), (1, 60), (2, 100)].map(|(temporal, share)| Step {
            encoding,
            layer: Layer { spatial: 0, temporal },
            rate: Bitrate::from_bps(kbps * share * percent / 10),
            size: Size { width: height / 9 * 16, height },
            fps: 30,
        })
    });
    steps.collect()
}

#[test]
fn a_budget_is_spent_without_allocating() {
    let start = Instant::now();
    let mut ladders: Vec<Ladder> = (0..50).map(|_| Ladder::new(Source::Camera)).collect();
    let rates: Vec<Vec<Step>> = (0..20).map(|turn| measured(80 + turn * 2)).collect();
    let mut allocator = Allocator::default();
    let (mut allocated, mut changes, mut last) = (0, 0, Bitrate::ZERO);
    for turn in 0..1_000u32 {
        let before = system::allocations();
        for (at, ladder) in ladders.iter_mut().enumerate() {
            ladder.rebuild(&rates[(turn as usize + at) % rates.len()]);
        }
        allocated += system::allocations() - before;
        let demands: Vec<Demand<'_>> = (0..)
            .zip(&ladders)
            .map(|(at, ladder)| Demand {
                track: TrackId(at),
                source: Source::Camera,
                ladder,
                pinned: false,
                speaking: at == u64::from(turn / 50),
                paused: false,
                asked: Size { width: 640, height: 360 },
                fps_max: None,
            })
            .collect();
        let budget = Bitrate::from_kbps(u64::from(turn / 100 % 4 * 8_000 + 1_000));
        let before = system::allocations();
        let total = allocator.allocate(budget, &demands, start + turn * Duration::from_millis(100));
        let total = total.total;
        // The first makes room for all slots.
        allocated += if turn > 0 { system::allocations() - before } else { 0 };
        (changes, last) = (changes + u32::from(total != last), total);
    }
    assert!(changes > 100, "{changes} totals were seen");
    assert_eq!(allocated, 0);
}

#[test]
fn voices_are_told_apart_without_allocating() {
    let start = Instant::now();
    let mut speakers = Speakers::new(HEARD_MAX);
    let mut levels: Vec<Levels> = (0..100).map(|_| Levels::new(48_000)).collect();
    (0..100).for_each(|id| speakers.add(TrackId(id), start));
    let (mut allocated, mut changes) = (0, 0);
    for frame in 0..5_000u32 {
        let now = start + frame * Duration::from_millis(20);
        let before = system::allocations();
        for (id, levels) in (0u32..).zip(&mut levels) {
            let speaks = id == frame / 100 * 7 % 100 && frame % 12 < 8;
            levels.packet(frame * 960, if speaks { 25 } else { 75 }, true);
            if frame % 5 == 0
                && let Some(summary) = levels.take(now)
            {
                speakers.report(TrackId(id.into()), summary, now);
            }
        }
        if speakers.deadline().is_some_and(|at| at <= now) {
            changes += u32::from(speakers.decide(now).dominant);
        }
        // The first turns make room for those who come and go.
        allocated += if frame > 1_000 { system::allocations() - before } else { 0 };
    }
    assert!(changes >= 40, "{changes} were dominant");
    assert_eq!(allocated, 0);
}
