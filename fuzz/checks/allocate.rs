//! A subscriber's slots, their ladders and its budget, whatever they are: never more is spent than
//! there is, who speaks comes first, and the same again is the same.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::bitrate::Bitrate;
use trackyard::base::ids::TrackId;
use trackyard::media::allocate::{
    Allocation, Allocator, Choice, Demand, Given, KEPT_PERCENT, Ladder, PauseReason, RAISE_PERCENT,
    STEPS_MAX, Size, Step,
};
use trackyard::wire::frame::Layer;
use trackyard::wire::signal::Source;

/// Longer than a budget may take to be believed.
const LASTED: Duration = Duration::from_secs(1);
const LADDERS: usize = 8;

#[derive(Debug, Arbitrary)]
struct Target {
    encoding: u8,
    layer: u8,
    bps: u32,
    width: u16,
    height: u16,
    fps: u8,
}

#[derive(Debug, Arbitrary)]
struct Tile {
    track: u8,
    flags: u8,
    width: u16,
    height: u16,
    fps_max: Option<u8>,
}

#[derive(Debug, Arbitrary)]
enum Event {
    Measure { ladder: u8, targets: Vec<Target> },
    Scale { ladder: u8, percent: u8 },
    Put { slot: u8, tile: Tile },
    Drop { slot: u8 },
    Budget { bps: u32 },
    Unbounded,
    Confirm { bps: u32 },
    Pass { ms: u16 },
    Wait,
}

struct Room {
    ladders: Vec<(Ladder, Vec<Step>)>,
    tiles: Vec<Tile>,
    /// With the time from when each held, newest last.
    budgets: Vec<(Instant, Bitrate)>,
}

pub fn check(data: &[u8]) {
    let mut now = super::start();
    let source = |at| if at % 3 == 2 { Source::Screen } else { Source::Camera };
    let ladders = (0..LADDERS).map(|at| (Ladder::new(source(at)), Vec::new())).collect();
    let mut room = Room { ladders, tiles: Vec::new(), budgets: vec![(now, Bitrate::ZERO)] };
    let mut allocator = Allocator::default();
    for event in super::steps(data) {
        let again = room.allocate(&mut allocator, now);
        match event {
            Event::Measure { ladder, targets } => room.measure(ladder, &targets),
            Event::Scale { ladder, percent } => room.scale(ladder, percent),
            Event::Put { slot, tile } => match room.tiles.get_mut(usize::from(slot)) {
                Some(place) => *place = tile,
                None => room.tiles.push(tile),
            },
            Event::Drop { slot } if room.tiles.len() > usize::from(slot) => {
                room.tiles.remove(slot.into());
            }
            Event::Drop { .. } => {}
            Event::Budget { bps } => room.budgets.push((now, Bitrate::from_bps(bps.into()))),
            Event::Unbounded => room.budgets.push((now, Bitrate::MAX)),
            Event::Confirm { bps } => allocator.confirm(Bitrate::from_bps(bps.into())),
            Event::Pass { ms } => now += Duration::from_millis(ms.into()),
            Event::Wait => now = again.unwrap_or(now),
        }
    }
    room.allocate(&mut allocator, now);
}

impl Room {
    fn measure(&mut self, ladder: u8, targets: &[Target]) {
        let (ladder, steps) = &mut self.ladders[usize::from(ladder) % LADDERS];
        *steps = targets
            .iter()
            .map(|t| Step {
                encoding: t.encoding % 4,
                layer: Layer { spatial: t.layer % 5, temporal: t.layer / 5 % 5 },
                rate: Bitrate::from_bps(t.bps.into()),
                size: Size { width: t.width, height: t.height },
                fps: t.fps,
            })
            .collect();
        rebuild(ladder, steps);
    }

    fn scale(&mut self, ladder: u8, percent: u8) {
        let (ladder, steps) = &mut self.ladders[usize::from(ladder) % LADDERS];
        for step in steps.iter_mut() {
            step.rate = step.rate.scale(f64::from(percent) / 100.0);
        }
        rebuild(ladder, steps);
    }

    fn demands(&self) -> Vec<Demand<'_>> {
        let demands = self.tiles.iter().map(|tile| {
            let at = usize::from(tile.track) % LADDERS;
            Demand {
                track: TrackId(tile.track.into()),
                source: if at % 3 == 2 { Source::Screen } else { Source::Camera },
                ladder: &self.ladders[at].0,
                pinned: tile.flags & 7 == 1,
                speaking: tile.flags & 24 == 8,
                paused: tile.flags & 224 == 32,
                asked: Size { width: tile.width, height: tile.height },
                fps_max: tile.fps_max,
            }
        });
        demands.collect()
    }

    fn allocate(&mut self, allocator: &mut Allocator, now: Instant) -> Option<Instant> {
        let budget = self.budgets.last().expect("the first").1;
        let demands = self.demands();
        let first = allocator.allocate(budget, &demands, now);
        let (total, next, again) = (first.total, first.next, first.again);
        check_sums(&first, &demands, budget);
        let given = first.slots.to_vec();
        check_favoured(&given, &demands, self.lasted(now));
        assert!(again.is_none_or(|again| again > now), "it would spin");
        let same = allocator.allocate(budget, &demands, now);
        assert_eq!((same.slots, same.total), (&given[..], total));
        assert_eq!((same.next, same.again), (next, again));
        again
    }

    /// The smallest budget that held in the time in which one is believed.
    fn lasted(&self, now: Instant) -> Bitrate {
        let ends = self.budgets.iter().skip(1).map(|(at, _)| *at).chain([now]);
        let late = self.budgets.iter().zip(ends).filter(|(_, end)| *end + LASTED >= now);
        late.map(|((_, budget), _)| *budget).min().unwrap_or_default()
    }
}

fn rebuild(ladder: &mut Ladder, measured: &[Step]) {
    ladder.rebuild(measured);
    assert!(ladder.steps().len() <= STEPS_MAX);
    assert!(ladder.steps().windows(2).all(|pair| pair[0].rate < pair[1].rate));
}

fn least(demand: &Demand<'_>) -> Bitrate {
    demand.ladder.steps().first().map_or(Bitrate::ZERO, |step| step.rate)
}

fn check_sums(allocation: &Allocation<'_>, demands: &[Demand<'_>], budget: Bitrate) {
    assert_eq!(allocation.slots.len(), demands.len());
    let rate = |(given, demand): (&Given, &Demand<'_>)| match given.choice {
        Choice::Step(step) => demand.ladder.steps()[step].rate,
        Choice::Paused(_) => Bitrate::ZERO,
    };
    let sum: Bitrate = allocation.slots.iter().zip(demands).map(rate).sum();
    assert_eq!(sum, allocation.total);
    let times = |rate: Bitrate, percent: u64| u128::from(rate.bps()) * u128::from(percent);
    assert!(times(sum, 100) <= times(budget, KEPT_PERCENT), "{sum} of {budget}");
    assert!(sum <= allocation.wanted);
    let limited = allocation.slots.iter().any(|given| given.limited);
    assert_eq!((limited, limited), (allocation.next.is_some(), sum < allocation.wanted));
    for (given, demand) in allocation.slots.iter().zip(demands) {
        let unseen = demand.paused || demand.asked.area() == 0;
        let reason = match given.choice {
            Choice::Step(_) => None,
            Choice::Paused(reason) => Some(reason),
        };
        match reason {
            Some(PauseReason::PausedByViewer) => assert!(unseen && !given.limited),
            Some(PauseReason::NothingSent) => assert!(demand.ladder.steps().is_empty()),
            Some(PauseReason::AllocatorLimit) => assert!(!unseen && given.limited),
            None => assert!(!unseen),
        }
    }
}

/// Who is pinned or speaks shows nothing only if its least does not fit beside the least of those
/// that are as much so.
fn check_favoured(given: &[Given], demands: &[Demand<'_>], lasted: Bitrate) {
    let class = |d: &Demand<'_>| (!d.pinned, !d.speaking, d.source != Source::Screen);
    for (own, demand) in given.iter().zip(demands) {
        let limit = own.choice == Choice::Paused(PauseReason::AllocatorLimit);
        if !limit || !(demand.pinned || demand.speaking) {
            continue;
        }
        let shown = given.iter().zip(demands).filter(|(given, other)| {
            matches!(given.choice, Choice::Step(_)) && class(other) <= class(demand)
        });
        let before: Bitrate = shown.map(|(_, other)| least(other)).sum();
        let needed = u128::from((before + least(demand)).bps()) * u128::from(RAISE_PERCENT);
        assert!(needed > u128::from(lasted.bps()) * 100, "{before} of {lasted}, and nothing");
    }
}
