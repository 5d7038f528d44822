//! What viewers say back: too often, too much, and not true.

use std::time::{Duration, Instant};

use trackyard::base::counters::DropReason;
use trackyard::base::rng::Rng;

use crate::common::rtcp;
use crate::common::world::World;
use crate::{SECOND, two_in_a_call};

#[test]
fn two_hundred_joins_ask_the_publisher_twice_a_second() {
    let mut world = World::new(2);
    world.join(1, true, 0);
    world.join(2, false, 1);
    world.until(Duration::from_secs(2), |w| w.clients[&2].sees(&w.mids(2)));
    let joins: Vec<u64> = (100..300).collect();
    for id in &joins {
        world.join(*id, false, 1);
        world.pass(Duration::from_millis(5));
    }
    let took = world
        .until(Duration::from_secs(2), |w| joins.iter().all(|id| w.clients[id].sees(&w.mids(*id))));
    let asked = world.clients[&1].asked.clone();
    let most =
        asked.iter().map(|a| asked.iter().filter(|b| *a <= **b && **b - *a < SECOND).count());
    let most = most.max().unwrap_or(0);
    println!("200 joins in a second: {most} requests in a second at most, last picture {took:?}");
    assert!(took < SECOND, "{took:?}");
    assert!((1..=2).contains(&most), "{most} in a second");
    world.assert_no_faults();
}

/// One who sends and one who watches, for `seconds`; with a flood of NACKs or without. Gives the
/// bytes sent to the one who watches, and how much the first NACK brought for each of its bytes.
fn flooded(seconds: u32, flood: bool) -> (u64, u64) {
    let mut world = World::new(1);
    world.join(1, true, 0);
    world.join(2, false, 1);
    world.until(Duration::from_secs(2), |w| w.clients[&2].sees(&w.mids(2)));
    let address = world.clients[&2].address;
    let out = |world: &World| world.net.bytes_out[&address];
    let mut amplification = 0;
    for turn in 0..seconds * 200 {
        if let Some(sender) = &mut world.clients.get_mut(&1).unwrap().sending {
            sender.keyframe_wanted = true;
        }
        world.pass(Duration::from_millis(5));
        for burst in 0..if flood && turn > 200 { 20 } else { 0 } {
            let client = world.clients.get_mut(&2).unwrap();
            let (ssrc, newest) = (client.slot_ssrc(), client.highest_seq);
            let datagram = client.protect_rtcp(&rtcp::nack(ssrc, newest, 25));
            let before = out(&world);
            world.inject(address, &datagram);
            world.deliver();
            if turn == 201 && burst == 0 {
                amplification = (out(&world) - before) / datagram.len() as u64;
            }
        }
    }
    (out(&world), amplification)
}

#[test]
fn a_flood_of_nacks_brings_a_quarter_more_at_most() {
    let (media, _) = flooded(10, false);
    let (with_flood, amplification) = flooded(10, true);
    let ratio = with_flood as f64 / media as f64;
    println!(
        "4,000 NACKs a second: {ratio:.3} times the media; the first brought {amplification}x"
    );
    assert!(ratio <= 1.25, "{ratio}");
    assert!(ratio > 1.1, "what was asked for first is sent again: {ratio}");
    assert!(amplification < 600, "{amplification}");
}

/// How many of the packets that were sent came, with a share of them lost on the way.
fn received_in_spite_of(loss_percent: u32) -> f64 {
    let mut world = World::new(1);
    world.join(1, true, 0);
    world.join(2, false, 1);
    world.until(Duration::from_secs(2), |w| w.clients[&2].sees(&w.mids(2)));
    let (address, mut chance) = (world.clients[&2].address, 7u32);
    world.net.loses = Some(Box::new(move |client, to_server, bytes| {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let media = bytes[0] >= 128 && (96..=127).contains(&(bytes[1] & 0x7f));
        !to_server && client == address && media && (chance >> 8) % 100 < loss_percent
    }));
    let before = (world.clients[&2].packets, world.clients[&1].sending.as_ref().unwrap().seq);
    world.pass(Duration::from_secs(60));
    let (client, sender) = (&world.clients[&2], world.clients[&1].sending.as_ref().unwrap());
    (client.packets - before.0) as f64 / (sender.seq - before.1) as f64
}

#[test]
fn an_honest_receiver_with_loss_recovers() {
    for loss in [5, 10] {
        let received = 100.0 * received_in_spite_of(loss);
        println!("{loss} % lost: {received:.2} % came in the end");
        assert!(received > 99.0, "{received}");
    }
}

#[test]
fn a_packet_is_sent_again_once_in_a_round_trip() {
    for (delay, early, due) in [(20, 35, 41), (100, 195, 201), (1, 5, 11)] {
        let mut world = World::new(1);
        world.net.delay = Duration::from_millis(delay);
        world.join(1, true, 0);
        world.join(2, false, 1);
        world.pass(Duration::from_secs(8));
        let (address, start) = (world.clients[&2].address, world.now);
        let client = world.clients.get_mut(&2).unwrap();
        let nack = rtcp::nack(client.slot_ssrc(), client.highest_seq, 1);
        let mut refused_at = |after| {
            world.pass(start + Duration::from_millis(after) - world.now);
            let before = world.dropped(DropReason::NackRefused);
            let datagram = world.clients.get_mut(&2).unwrap().protect_rtcp(&nack);
            world.inject(address, &datagram);
            world.dropped(DropReason::NackRefused) - before
        };
        let refused = [0, early, due].map(&mut refused_at);
        println!("a round trip of {} ms: {refused:?} of 17 refused", 2 * delay);
        assert_eq!(refused, [0, 17, 0], "with {delay} ms each way");
    }
}

#[test]
fn a_flood_of_feedback_is_bounded() {
    let mut world = two_in_a_call(1);
    let address = world.clients[&2].address;
    world.clients.get_mut(&1).unwrap().asked.clear();
    world.clients.values_mut().for_each(|c| c.media_gap = Duration::ZERO);
    for _ in 0..300 {
        for _ in 0..20 {
            let client = world.clients.get_mut(&2).unwrap();
            let pli = rtcp::pli(client.slot_ssrc());
            let datagram = client.protect_rtcp(&pli);
            world.inject(address, &datagram);
            world.inject(address, &datagram);
        }
        world.pass(Duration::from_millis(10));
    }
    let asked = world.clients[&1].asked.len();
    println!("2,000 PLIs a second for 3 s: {asked} reached the publisher");
    assert!((3..=7).contains(&asked), "{asked}");
    assert!(world.dropped(DropReason::RtcpRate) > 1_000);
    assert!(world.dropped(DropReason::RtcpReplay) > 1_000);
    let gap = world.clients[&1].media_gap;
    assert!(gap < Duration::from_millis(100), "others have {gap:?}");
}

#[test]
fn lies_about_what_came_are_felt_by_nobody() {
    let mut world = World::new(1);
    world.join(1, true, 1);
    world.join(2, false, 1);
    world.join(3, false, 1);
    let both = |w: &World| [2, 3].iter().all(|id| w.clients[id].sees(&w.mids(*id)));
    world.until(Duration::from_secs(2), both);
    let mut rng = Rng::from_seed([3; 32]);
    world.clients.values_mut().for_each(|c| c.media_gap = Duration::ZERO);
    let (began, mut told) = (Instant::now(), 0);
    for turn in 0..40 {
        // A viewer of what it receives, and the publisher of what it sends.
        let liar = 1 + turn % 2;
        let client = world.clients.get_mut(&liar).unwrap();
        let (address, media) = (client.address, client.sent_ssrc());
        let media = media.unwrap_or_else(|| client.slot_ssrc());
        for lie in rtcp::lies(media, &mut rng) {
            let datagram = world.clients.get_mut(&liar).unwrap().protect_rtcp(&lie);
            world.inject(address, &datagram);
            told += 1;
        }
        world.pass(Duration::from_millis(100));
    }
    println!("{told} lies: {:?} with the call", began.elapsed());
    assert_eq!(world.workers[0].counters_mut().panics, 0);
    assert!(world.dropped(DropReason::RtcpUnused) > 200);
    for id in [2, 3] {
        let gap = world.clients[&id].media_gap;
        assert!(gap < Duration::from_millis(100), "{id} has {gap:?}");
    }
    world.assert_no_faults();
}
