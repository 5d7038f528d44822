//! Thousands of switches between the encodings and layers of a track, of every codec, over a path
//! that loses, reorders and repeats; and everything that viewers get is judged by a reading of its
//! own. `SWITCH_SEEDS=a..b` sweeps over others, `SWITCH_SEED=n` runs one and tells what happens.

mod bits;
mod dice;
mod endpoint;
mod judge;
mod publisher;
mod rtp;
mod sources;
mod viewer;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use trackyard::media::encoding::Choice;
use trackyard::wire::frame::Layer;

use judge::{Verdict, judge};
use publisher::{Publisher, Weather};
use sources::{Format, Layout};
use world::World;

const VIEWERS: usize = 4;
const SWITCHES: usize = 27;

/// What is sent: a name, its format, encodings, layers.
type SourceKind = (&'static str, Format, u8, (u8, u8, bool, u32));

/// What is sent, in turn.
const KINDS: [SourceKind; 15] = [
    ("VP8 simulcast", Format::Vp8, 3, (1, 3, false, 1)),
    ("VP8 simulcast, few syncs", Format::Vp8, 3, (1, 3, false, 2)),
    ("VP8 simulcast, short ids", Format::Vp8, 3, (1, 2, false, 3)),
    ("H264 simulcast", Format::H264, 3, (1, 1, false, 1)),
    ("VP9 simulcast", Format::Vp9, 3, (1, 3, false, 1)),
    ("VP9 L1T3", Format::Vp9Flexible, 1, (1, 3, false, 2)),
    ("VP9 L2T3", Format::Vp9Flexible, 1, (2, 3, false, 1)),
    ("VP9 L3T3", Format::Vp9Flexible, 1, (3, 3, false, 1)),
    ("VP9 L3T3_KEY", Format::Vp9Flexible, 1, (3, 3, true, 1)),
    ("AV1 simulcast", Format::Av1, 3, (1, 3, false, 1)),
    ("AV1 L1T3", Format::Av1, 1, (1, 3, false, 2)),
    ("AV1 L3T3", Format::Av1, 1, (3, 3, false, 1)),
    ("AV1 L3T3_KEY", Format::Av1, 1, (3, 3, true, 1)),
    ("encrypted L3T3", Format::Opaque, 1, (3, 3, false, 1)),
    ("encrypted simulcast", Format::Opaque, 3, (1, 3, false, 1)),
];

/// What all worlds of a kind came to.
#[derive(Debug, Default)]
struct Tally {
    switches: usize,
    faults: Vec<String>,
    frames: u64,
    cut: u64,
    requests: u64,
    keyframes: u64,
    repeated: (u64, u64),
    settled: Vec<Duration>,
    unsettled: u64,
}

impl Tally {
    fn add(&mut self, seed: u64, verdict: Verdict) {
        let faults = verdict.faults.into_iter();
        self.faults.extend(faults.map(|fault| format!("SWITCH_SEED={seed}: {fault}")));
        self.frames += verdict.frames;
        self.cut += verdict.cut;
        self.settled.extend(verdict.settled);
        self.unsettled += verdict.unsettled;
    }
}

fn scenario(seed: u64, trace: bool, tally: &mut Tally) {
    // `str0m` draws from it.
    fastrand::seed(seed);
    let (name, format, encodings, (spatial, temporal, key, sync_every)) =
        KINDS[seed as usize % KINDS.len()];
    let layout = Layout { spatial, temporal, key, sync_every };
    let publisher = Publisher::new(format, layout, encodings, seed);
    let mut world = World::new(1 + (seed / KINDS.len() as u64 % 2) as usize, VIEWERS, publisher);
    world.trace = trace;
    let dice = &mut world.publisher.dice;
    world.publisher.weather = dice.of(&[
        Weather::default(),
        Weather { delays: 100, repeats: 30, ..Weather::default() },
        Weather { loses: 10, delays: 30, repeats: 10, gives_up: 0 },
        Weather { loses: 30, delays: 30, repeats: 10, gives_up: 300 },
    ]);
    if trace {
        println!("{seed}: {name}, {:?}, {} workers", world.publisher.weather, world.workers.len());
    }
    let now = world.now;
    for encoding in 0..encodings {
        // Some begin late.
        if encoding == 0 || world.publisher.dice.happens(800) {
            world.publisher.turn_on(encoding, now);
        }
    }
    let mut next = [now; VIEWERS];
    let mut change = now + world.publisher.dice.ms(1_000, 4_000);
    while world.viewers.iter().any(|viewer| viewer.chosen.len() <= SWITCHES) {
        for (viewer, next) in next.iter_mut().enumerate() {
            if *next <= world.now {
                *next = world.now + choose(&mut world, viewer);
            }
        }
        if change <= world.now {
            change = world.now + world.publisher.dice.ms(500, 5_000);
            disturb(&mut world);
        }
        let end = next.iter().min().expect("viewers").min(&change).max(&world.now);
        world.pass_until(*end);
    }
    let end = world.now + Duration::from_secs(2);
    world.pass_until(end);
    finish(&mut world, seed, tally);
}

fn finish(world: &mut World, seed: u64, tally: &mut Tally) {
    world.workers.iter().for_each(|worker| worker.check_invariants());
    let panics: u64 = world.workers.iter_mut().map(|w| w.counters_mut().panics).sum();
    if panics > 0 {
        tally.faults.push(format!("SWITCH_SEED={seed}: {panics} panics"));
    }
    for viewer in &world.viewers {
        let verdict = judge(viewer, &world.publisher, world.now);
        if world.trace {
            println!("viewer {}:", viewer.id);
            viewer.chosen.iter().for_each(|c| println!("  {:?} {:?}", c.at, c.choice));
            verdict.faults.iter().for_each(|fault| println!("  FAULT {fault}"));
            tell(world, viewer);
        }
        tally.switches += viewer.chosen.len();
        tally.repeated.0 += viewer.asked;
        tally.repeated.1 += viewer.repeated;
        tally.add(seed, verdict);
    }
    if world.trace {
        for worker in &mut world.workers {
            let counters = worker.counters_mut();
            println!("{counters:?}");
        }
    }
    tally.requests += world.publisher.requests;
    tally.keyframes += world.publisher.keyframes;
}

/// What became of some frames (`SWITCH_FRAMES=a..b`).
fn tell(world: &World, viewer: &viewer::Viewer) {
    let Some(ids) = range("SWITCH_FRAMES") else { return };
    for frame in world.publisher.frames.iter().filter(|f| ids.contains(&f.id.into())) {
        println!(
            "  frame {} of {} ({:x}), layer {}.{}, picture {}, key {}, {:?}: {:?}",
            frame.id,
            frame.encoding,
            frame.ssrc,
            frame.spatial,
            frame.temporal,
            frame.picture,
            frame.of_key_picture,
            frame.captured,
            frame.arrived,
        );
        for (index, got) in &viewer.got {
            if let Some((_, part, _)) =
                sources::read_stamp(&got.rtp.payload).filter(|s| s.0 == frame.id)
            {
                let (at, marker) = (got.at, got.rtp.marker);
                let descriptor = got.rtp.extension(publisher::DESCRIPTOR_ID).unwrap_or_default();
                println!("    {part} as {index} at {at:?}, marker {marker}, {descriptor:02x?}");
            }
        }
    }
}

/// Another choice for a viewer, and for how long.
fn choose(world: &mut World, viewer: usize) -> Duration {
    let (count, layout) = (world.publisher.encodings.len() as u64, world.publisher.layout);
    let dice = &mut world.publisher.dice;
    let layer = match dice.below(4) {
        0 => Layer::HIGHEST,
        _ => Layer {
            spatial: dice.below(layout.spatial.into()) as u8,
            temporal: dice.below(layout.temporal.into()) as u8,
        },
    };
    let choice = Choice { encoding: dice.below(count) as u8, layer };
    let choice = Some(choice).filter(|_| !dice.happens(80));
    let lasts = match dice.below(8) {
        0 => dice.ms(1, 60),
        1..=5 => dice.ms(100, 1_500),
        _ => dice.ms(1_500, 3_000),
    };
    world.hold(viewer, choice);
    lasts
}

/// An encoding ends, comes back, or goes on in another stream.
fn disturb(world: &mut World) {
    let now = world.now;
    let publisher = &mut world.publisher;
    let encoding = publisher.dice.below(publisher.encodings.len() as u64) as u8;
    let is_only = publisher.encodings.len() == 1;
    match (publisher.is_on(encoding), publisher.dice.below(3)) {
        (true, 0) if !is_only => publisher.turn_off(encoding, now),
        (true, 1) => publisher.turn_on(encoding, now),
        (false, _) => publisher.turn_on(encoding, now),
        _ => {}
    }
}

fn seeds() -> Range<u64> {
    let default = 0..15 * 7;
    let number = |text: &str| text.parse::<u64>().expect("a number");
    if let Ok(one) = std::env::var("SWITCH_SEED") {
        return number(&one)..number(&one) + 1;
    }
    range("SWITCH_SEEDS").unwrap_or(default)
}

/// What a variable says, as `0..100`.
fn range(name: &str) -> Option<Range<u64>> {
    let range = std::env::var(name).ok()?;
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let (from, to) = range.split_once("..").expect("a range as 0..100");
    Some(number(from)..number(to))
}

#[test]
fn every_switch_leaves_a_stream_that_decodes() {
    let mut tallies: BTreeMap<usize, Tally> = BTreeMap::new();
    let trace = std::env::var("SWITCH_SEED").is_ok();
    for seed in seeds() {
        let tally = tallies.entry(seed as usize % KINDS.len()).or_default();
        scenario(seed, trace, tally);
    }
    let mut all = 0;
    for (kind, tally) in &mut tallies {
        tally.settled.sort();
        let part = |n: usize| tally.settled.get(tally.settled.len() * n / 100).copied();
        println!(
            "{:26} {:5} switches, {:6} frames, {:3} cut, {:4} requests, {:4} keyframes, \
             {:?} repeated, settled in {:?} (half), {:?} (99%), {} not, {} faults",
            KINDS[*kind].0,
            tally.switches,
            tally.frames,
            tally.cut,
            tally.requests,
            tally.keyframes,
            tally.repeated,
            part(50).unwrap_or_default(),
            part(99).unwrap_or_default(),
            tally.unsettled,
            tally.faults.len(),
        );
        all += tally.switches;
    }
    println!("{all} switches");
    let faults: Vec<&String> = tallies.values().flat_map(|t| t.faults.iter().take(6)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
