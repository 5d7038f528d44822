//! Two hundred join one publisher within a second: how often that is asked for a keyframe, and how
//! soon each of them sees. Figures are printed (`--nocapture`).
#![allow(clippy::disallowed_methods, reason = "a test makes up its first instant")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::world::World;

const VIEWERS: u64 = 200;
const WITHIN: Duration = Duration::from_secs(1);
/// Each way.
const LINK: Duration = Duration::from_millis(20);
/// From a request to the keyframe, as browsers take for one.
const ENCODES_IN: Duration = Duration::from_millis(100);
/// A picture of 720 lines.
const KEYFRAME_PACKETS: usize = 45;

/// When a viewer's transport was up and a track in its slot, and when it saw the first picture.
#[derive(Debug, Clone, Copy, Default)]
struct Joined {
    ready: Option<Instant>,
    saw: Option<Instant>,
}

/// Asked of the publisher, and how long each viewer waited.
fn joins(workers: usize) -> (u64, Vec<Duration>) {
    let mut world = World::new(workers);
    world.net.delay = LINK;
    world.join(1, true, 0);
    let sender = world.clients.get_mut(&1).unwrap().sending.as_mut().unwrap();
    sender.keyframe_delay = ENCODES_IN;
    sender.interval = Duration::from_millis(33);
    sender.encoder.keyframe_packets = KEYFRAME_PACKETS;
    sender.packet_bytes = Some(1_000);
    world.pass(Duration::from_secs(3));
    let asked = world.clients[&1].keyframe_requests;
    let began = world.now;
    let mut seen: BTreeMap<u64, Joined> = BTreeMap::new();
    let mut next = 0;
    while next < VIEWERS || seen.values().any(|joined| joined.saw.is_none()) {
        while next < VIEWERS && began + WITHIN * next as u32 / VIEWERS as u32 <= world.now {
            world.join(next + 2, false, 1);
            seen.insert(next + 2, Joined::default());
            next += 1;
        }
        world.pass(Duration::from_millis(1));
        assert!(world.now - began < Duration::from_secs(10), "all see");
        for (id, joined) in seen.iter_mut().filter(|(_, joined)| joined.saw.is_none()) {
            let client = &world.clients[id];
            let mids = world.mids(*id);
            if client.connected && !mids.is_empty() {
                joined.ready.get_or_insert(world.now);
            }
            if !mids.is_empty() && client.sees(&mids) {
                joined.saw = Some(world.now);
            }
        }
    }
    world.pass(Duration::from_secs(1));
    world.assert_no_faults();
    let mut waited: Vec<Duration> =
        seen.values().filter_map(|joined| Some(joined.saw? - joined.ready?)).collect();
    waited.sort();
    (world.clients[&1].keyframe_requests - asked, waited)
}

#[test]
fn two_hundred_join_within_a_second() {
    for workers in [1, 4] {
        let (asked, waited) = joins(workers);
        let part = |n: usize| waited[(waited.len() - 1) * n / 100];
        println!(
            "{workers} workers: {asked} keyframes asked for; half see within {:?}, 99% within {:?}, \
             all within {:?}",
            part(50),
            part(99),
            part(100)
        );
        assert_eq!(waited.len() as u64, VIEWERS);
        assert!(asked <= 3, "{asked} keyframes asked for");
        assert!(part(99) < Duration::from_secs(1), "{:?}", part(99));
    }
}
