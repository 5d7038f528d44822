//! What has a name of its own: figures, and what the drawn plans do not say.

use std::time::Duration;

use super::net::ClientId;
use super::picture::Video;
use super::plan::{Act, Plan};
use super::replay::replayable;
use super::run::{Run, carry_out};
use super::system::{Owner, live_bytes};
use super::world::{Setup, World};

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn join(run: &mut Run, id: ClientId, room: u8) {
    run.act(&Act::Join { id, room, simulcast: false, video: true, audio: true });
}

/// A run with that many participants in room 0, who all see each other.
pub fn settled(seed: u64, workers: usize, people: ClientId) -> Run {
    super::quiet_panics();
    let mut run = Run::new(Setup { seed, workers, loud: false });
    (1..=people).for_each(|id| join(&mut run, id, 0));
    run.world.run_for(secs(1));
    run.checkpoint();
    run
}

/// The longest time between two pictures that anybody saw from the others, since the last call.
fn longest_gap(world: &mut World, of: ClientId) -> Duration {
    let now = world.now;
    let gaps = world.with(of, |client, _| {
        let slots = client.media_mut().expect("it is connected").slots.values_mut();
        let videos = slots.filter_map(|slot| slot.video()).filter(|v| v.shown.is_some());
        videos.map(|v: &mut Video| v.take_gap(now)).max()
    });
    gaps.flatten().expect("it sees somebody")
}

#[test]
fn sim_replays_to_the_byte() {
    super::quiet_panics();
    let mut hashes = Vec::new();
    for seed in [3, 15, 38] {
        let plan = Plan::draw(seed);
        let (first, second) = (carry_out(&plan, false), carry_out(&plan, false));
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
        hashes.push(first.hash);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 3, "other seeds, other runs");
}

#[test]
fn sim_people_see_the_same_with_one_and_three_workers() {
    super::quiet_panics();
    for seed in 100..106 {
        let plan = Plan::draw(seed);
        let one = carry_out(&Plan { workers: 1, ..plan.clone() }, false);
        let three = carry_out(&Plan { workers: 3, ..plan }, false);
        assert_eq!(one.views, three.views, "seed {seed}");
    }
}

#[test]
fn sim_after_a_workers_panic_all_are_back_within_five_seconds() {
    replayable(|| {
        let mut run = settled(1, 3, 3);
        join(&mut run, 4, 1);
        join(&mut run, 5, 1);
        run.checkpoint();
        longest_gap(&mut run.world, 4);
        run.act(&Act::Poison(1));
        run.world.run_for(Duration::from_millis(300));
        assert!(run.model.compare(&run.world).is_err(), "it was felt");
        let took = run.checkpoint() + Duration::from_millis(300);
        let other = longest_gap(&mut run.world, 4);
        eprintln!("back after {took:?}; the other room's longest gap {other:?}");
        assert!(took <= secs(5), "{took:?}");
        assert!(other < Duration::from_millis(300), "the other room felt it: {other:?}");
        run.end();
    });
}

#[test]
fn sim_a_broken_transport_is_felt_by_nobody_else() {
    replayable(|| {
        let mut run = settled(8, 2, 3);
        run.act(&Act::BreakTransport(1));
        run.world.run_for(Duration::from_millis(300));
        assert!(run.model.compare(&run.world).is_err(), "it was felt");
        run.checkpoint();
        let faults: u64 = run
            .world
            .server
            .threads
            .iter_mut()
            .map(|t| t.worker.counters_mut().transport_faults)
            .sum();
        assert_eq!(faults, 1);
        let joins = |id| run.world.clients[&id].browser().expect("a participant").rebuilds;
        assert_eq!((joins(2), joins(3)), (1, 1), "nobody else began anew");
        run.end();
    });
}

#[test]
fn sim_media_follow_a_nat_that_forgot() {
    replayable(|| {
        for seed in 1..=8 {
            let mut run = settled(seed, 1 + seed as usize % 3, 2);
            longest_gap(&mut run.world, 2);
            run.act(&Act::Rebind(2));
            run.world.run_for(secs(10));
            let gap = longest_gap(&mut run.world, 2);
            eprintln!("seed {seed}: longest gap {gap:?}, with the wait for the next check");
            // A client checks every few seconds; media follow within one of the first check.
            assert!(gap < secs(7), "{gap:?}");
            run.end();
        }
    });
}

#[test]
fn sim_a_websocket_that_drops_costs_no_picture() {
    replayable(|| {
        let mut run = settled(2, 3, 3);
        for id in 1..=3 {
            longest_gap(&mut run.world, id);
        }
        run.act(&Act::CutSockets(2));
        run.checkpoint();
        run.world.run_for(secs(3));
        for id in 1..=3 {
            let gap = longest_gap(&mut run.world, id);
            assert!(gap < Duration::from_millis(250), "{id}: {gap:?}");
        }
        let browser = run.world.clients[&2].browser().expect("a participant");
        assert_eq!((browser.resumes, browser.joins, browser.rebuilds), (1, 1, 1));
        run.end();
    });
}

#[test]
fn sim_an_hour_that_is_missing_ends_nothing_for_good() {
    replayable(|| {
        let mut run = settled(4, 2, 3);
        run.act(&Act::Whip { id: 8, room: 0 });
        run.act(&Act::Whep { id: 9, room: 0, only: None });
        run.checkpoint();
        for _ in 0..3 {
            run.act(&Act::StepClock(secs(3_600)));
            run.checkpoint();
        }
        run.end();
    });
}

/// `SIM_JOINS` says how many join and leave.
#[test]
fn sim_those_who_left_leave_no_byte() {
    replayable(|| {
        let mut run = Run::new(Setup { seed: 6, workers: 2, loud: false });
        let joins = number("SIM_JOINS", 1_000) as ClientId;
        let mut next = 1;
        // Tables stay as large as the most that they ever held. So first many are there at once:
        // what those who follow add is not that.
        churn(&mut run, &mut next, 40, 4);
        churn(&mut run, &mut next, 10, 10);
        let before = live_bytes(Owner::Server);
        churn(&mut run, &mut next, 10, joins / 10);
        let left = live_bytes(Owner::Server) - before;
        eprintln!("{left} live bytes left of {before} after {joins} joins and leaves");
        assert_eq!(left, 0);
    });
}

/// So many join, are there together for a second, and leave or vanish, so many times.
fn churn(run: &mut Run, next: &mut ClientId, together: ClientId, rounds: ClientId) {
    for round in 0..rounds {
        let ids: Vec<ClientId> = (*next..*next + together).collect();
        *next += together;
        for id in &ids {
            join(run, *id, (id % 4) as u8);
        }
        run.world.run_for(secs(1));
        for id in ids {
            let act = if (id + round) % 7 == 0 { Act::Vanish(id) } else { Act::Leave(id) };
            run.act(&act);
        }
    }
    run.end();
    run.world.run_for(secs(120));
    run.world.forget_the_past();
}

/// `SIM_HOURS` says how long; a day is `SIM_HOURS=24`.
#[test]
fn sim_a_day_leaves_memory_and_timers_flat() {
    replayable(|| {
        let mut run = settled(7, 2, 2);
        // So much is sent that what is remembered of it is as long as it may become.
        run.world.run_for(secs(60));
        let hours = number("SIM_HOURS", 6);
        let mut samples = Vec::new();
        for _ in 0..hours {
            // A camera that shows nothing for so long that its timestamps go half around is beyond
            // what RTP can say.
            run.move_pictures(true);
            run.world.run_for(secs(1));
            run.move_pictures(false);
            run.world.run_for(secs(3_599));
            run.world.forget_the_past();
            let server = &run.world.server;
            let workers: Vec<_> = server.threads.iter().map(|t| t.worker.census()).collect();
            samples.push((live_bytes(Owner::Server), workers, server.gate.census()));
        }
        let bytes: Vec<i64> = samples.iter().map(|(bytes, ..)| *bytes).collect();
        eprintln!("{hours} h: live bytes after each {bytes:?}");
        let (first, last) = (&samples[1], &samples[samples.len() - 1]);
        assert_eq!((&first.1, first.2), (&last.1, last.2), "tables and timers");
        assert!(last.0 <= first.0, "it grows: {bytes:?}");
        run.move_pictures(true);
        run.checkpoint();
        run.end();
    });
}
