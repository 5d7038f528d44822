//! Where a client is: checks, addresses, and clients that vanish.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trackyard::base::counters::DropReason;
use trackyard::base::ids::WorkerId;
use trackyard::media::batch::PacketBatch;
use trackyard::room::mail::{Role, ToWorker};

use crate::common::stun;
use crate::common::world::World;
use crate::{SECOND, is_check, outside, resident_bytes, two_in_a_call};

fn captured_check(world: &mut World, id: u64) -> Vec<u8> {
    let from = world.net.outside(world.clients[&id].address);
    world.net.captured = Some(Vec::new());
    world.pass(Duration::from_secs(4));
    let captured = world.net.captured.take().expect("it was asked for");
    let check = captured.into_iter().rev().find(|(a, b)| *a == from && is_check(b));
    check.expect("a client checks every few seconds").1
}

#[test]
fn a_check_replayed_from_20_000_addresses_costs_nothing_lasting() {
    for workers in [1, 3] {
        let mut world = two_in_a_call(workers);
        let check = captured_check(&mut world, 2);
        let before = (resident_bytes(), Instant::now());
        let sent: u64 = world.net.bytes_out.values().sum();
        for n in 0..20_000 {
            world.inject(outside(n), &check);
        }
        let took = before.1.elapsed();
        world.deliver();
        let grown = resident_bytes().saturating_sub(before.0);
        let out = world.net.bytes_out.values().sum::<u64>() - sent;
        println!("20,000 replays, {workers} workers: {took:?} CPU, {} KiB more", grown / 1_024);
        assert_eq!(world.dropped(DropReason::StunReplay), 20_000);
        assert!(out < 2_000, "{out} bytes of answers");
        world.clients.values_mut().for_each(|c| c.media_gap = Duration::ZERO);
        world.pass(Duration::from_secs(2));
        world.assert_no_faults();
        assert!(world.clients.values().all(|c| c.media_gap < Duration::from_millis(100)));
    }
}

#[test]
fn fresh_checks_from_ever_new_addresses_evict_no_living_path() {
    let mut world = two_in_a_call(1);
    let ice = world.ice[&2].clone();
    let own = world.clients.get_mut(&2).unwrap().rtc.direct_api().local_ice_credentials().ufrag;
    let (begun, resident) = (Instant::now(), resident_bytes());
    world.clients.values_mut().for_each(|c| c.media_gap = Duration::ZERO);
    for n in 0..20_000 {
        let check = stun::check(&ice.ufrag, &ice.pwd, &own, u64::from(n), false);
        world.inject(outside(n), &check);
        if n % 10 == 0 {
            world.pass(Duration::from_millis(20));
        }
    }
    println!(
        "20,000 fresh checks in 40 s: {:?} with the call, {} KiB more",
        begun.elapsed(),
        resident_bytes().saturating_sub(resident) / 1_024
    );
    let admitted = 20_000 - world.dropped(DropReason::AddressLimit);
    assert!(admitted < 30, "{admitted} addresses in 40 s");
    world.pass(Duration::from_secs(2));
    let gap = world.clients[&2].media_gap;
    assert!(gap < Duration::from_millis(150), "a gap of {gap:?}");
}

/// From the first check that the server sees from a client's new address to media there.
fn follow(world: &mut World, id: u64, to: SocketAddr) -> Duration {
    let own = world.clients[&id].address;
    world.net.nat.insert(own, to);
    world.net.captured = Some(Vec::new());
    world.until(Duration::from_secs(10), |w| {
        let captured = w.net.captured.iter().flatten();
        captured.into_iter().any(|(from, bytes)| *from == to && is_check(bytes))
    });
    world.net.captured = None;
    let before = world.clients[&id].packets;
    world.until(Duration::from_secs(20), |w| w.clients[&id].packets > before)
}

#[test]
fn media_follows_a_client_to_another_address() {
    for workers in [1, 3] {
        let mut world = two_in_a_call(workers);
        world.pass(Duration::from_secs(5));
        let home = world.clients[&2].address;
        for (name, to) in [("NAT rebinding", outside(1)), ("another", outside(2)), ("back", home)] {
            let gap = follow(&mut world, 2, to);
            println!("{name}, {workers} workers: media after {gap:?} from the first check");
            assert!(gap < Duration::from_secs(1), "{name}: {gap:?}");
            world.pass(Duration::from_secs(3));
            world.clients.get_mut(&2).unwrap().media_gap = Duration::ZERO;
            world.pass(Duration::from_secs(20));
            let gap = world.clients[&2].media_gap;
            assert!(gap < Duration::from_millis(200), "{name}: {gap:?} once it is there");
        }
    }
}

#[test]
fn a_spare_path_that_is_checked_takes_nothing() {
    let mut world = two_in_a_call(1);
    let ice = world.ice[&2].clone();
    let own = world.clients.get_mut(&2).unwrap().rtc.direct_api().local_ice_credentials().ufrag;
    world.clients.get_mut(&2).unwrap().media_gap = Duration::ZERO;
    for n in 0..200 {
        let check = stun::check(&ice.ufrag, &ice.pwd, &own, n, false);
        world.inject(outside(7), &check);
        world.pass(Duration::from_millis(100));
    }
    let gap = world.clients[&2].media_gap;
    assert!(gap < Duration::from_millis(150), "{gap:?}");
    assert_eq!(world.workers[0].counters_mut().path_moves, 0);
}

#[test]
fn an_ice_restart_is_hardly_seen() {
    for workers in [1, 3] {
        let mut world = two_in_a_call(workers);
        for to in [None, Some(outside(3))] {
            world.pass(Duration::from_secs(1));
            let client = world.clients.get_mut(&2).unwrap();
            client.media_gap = Duration::ZERO;
            let (own, sdp) = (client.address, client.restart_ice());
            world.net.nat.extend(to.map(|to| (own, to)));
            world.offer(2, sdp);
            world.pass(Duration::from_secs(3));
            let gap = world.clients[&2].media_gap;
            println!("ICE restart, {workers} workers, to {to:?}: a gap of {gap:?}");
            assert!(gap < Duration::from_millis(200), "{gap:?}");
        }
    }
}

#[test]
fn a_publisher_that_vanishes_is_gone_in_ten_seconds() {
    let mut world = World::new(2);
    world.join_as(Role::Whip, 1, true, 0);
    world.join(2, false, 1);
    world.until(Duration::from_secs(2), |w| w.clients[&2].sees(&w.mids(2)));
    world.pass(Duration::from_secs(30));
    assert!(world.gone.is_empty(), "while it sends");
    let vanished = world.now;
    let address = world.clients[&1].address;
    world.net.loses = Some(Box::new(move |client, _, _| client == address));
    world.until(Duration::from_secs(20), |w| w.gone.contains_key(&1));
    let took = world.gone[&1] - vanished;
    println!("a publisher that vanished was gone after {took:?}");
    assert!(took <= Duration::from_secs(10) && took > Duration::from_secs(8), "{took:?}");
    world.pass(SECOND);
    assert!(world.mids(2).is_empty(), "its track is gone too");
}

#[test]
fn a_silent_publisher_that_consents_stays() {
    let mut world = World::new(1);
    world.join_as(Role::Whip, 1, true, 0);
    world.until(Duration::from_secs(2), |w| w.clients[&1].connected);
    let ice = world.ice[&1].clone();
    let client = world.clients.get_mut(&1).unwrap();
    let (address, own) = (client.address, client.rtc.direct_api().local_ice_credentials().ufrag);
    world.net.loses = Some(Box::new(move |client, to_server, _| client == address && to_server));
    for n in 0..20 {
        let wait = [4_000, 6_000, 5_000][n as usize % 3];
        world.pass(Duration::from_millis(wait));
        let check = stun::check(&ice.ufrag, &ice.pwd, &own, n, false);
        world.inject(address, &check);
    }
    assert!(world.gone.is_empty(), "consent every 4 to 6 s is enough");
}

/// A viewer that sends no checks of its own any more; gives a way to make them.
fn viewer_without_checks(world: &mut World) -> (SocketAddr, impl Fn(u64, bool) -> Vec<u8> + use<>) {
    world.join_as(Role::Whep { only: None }, 1, false, 1);
    world.until(Duration::from_secs(2), |w| w.clients[&1].connected);
    world.pass(SECOND);
    let ice = world.ice[&1].clone();
    let client = world.clients.get_mut(&1).unwrap();
    let (address, own) = (client.address, client.rtc.direct_api().local_ice_credentials().ufrag);
    world.net.loses = Some(Box::new(move |client, to_server, _| client == address && to_server));
    (address, move |n, nominates| stun::check(&ice.ufrag, &ice.pwd, &own, n, nominates))
}

#[test]
fn consent_is_answered_like_a_check_with_news() {
    let mut world = World::new(1);
    let (address, check) = viewer_without_checks(&mut world);
    let mut answers = Vec::new();
    // Whether it nominates is news the first three times. The last is sent twice.
    for (n, nominates) in [(1, true), (2, false), (3, true), (3, true)] {
        world.inject(address, &check(n, nominates));
        let now = world.now;
        let datagrams = world.workers[0].flush_all(now);
        let [answer] = &datagrams[..] else { panic!("{datagrams:?}") };
        answers.push(answer.clone());
    }
    assert_eq!(answers[2], answers[3]);
    assert_ne!(answers[1], answers[2]);
}

#[test]
fn a_worker_is_idle_while_nothing_comes_but_checks_for_consent() {
    let mut world = World::new(1);
    let (address, check) = viewer_without_checks(&mut world);
    let idle = |world: &World| world.workers[0].is_idle(world.now);
    let consent = |world: &mut World, numbers: std::ops::Range<u64>| {
        for n in numbers {
            world.pass(2 * SECOND + SECOND / 2);
            world.inject(address, &check(n, true));
        }
    };
    // Enough for some to be seen by `str0m`.
    consent(&mut world, 0..8);
    assert!(idle(&world));
    let elsewhere = "192.0.2.200:5000".parse().unwrap();
    let junk: [(_, &[u8]); 3] = [
        (address, &[20; 40]), // DTLS
        (address, &[0xff; 40]),
        (elsewhere, &check(100, true)),
    ];
    for (from, bytes) in junk {
        world.inject(from, bytes);
        assert!(!idle(&world), "{bytes:?}");
        consent(&mut world, 8..9);
        assert!(idle(&world));
    }
    let now = world.now;
    world.workers[0].handle_letter(now, ToWorker::Datagrams(Vec::new()));
    assert!(idle(&world), "checks that another worker received");
    let relay = ToWorker::Relay { from: WorkerId(1), packets: PacketBatch::default() };
    world.workers[0].handle_letter(now, relay);
    assert!(!idle(&world));
}

#[test]
fn a_viewer_lives_as_long_as_it_consents_and_outlives_a_long_outage() {
    for wait in [500, 2_500, 6_000, 13_000] {
        let mut world = World::new(1);
        let (address, check) = viewer_without_checks(&mut world);
        let consent = |world: &mut World, numbers: std::ops::Range<u64>| {
            for n in numbers {
                world.pass(Duration::from_millis(wait));
                let answered = world.net.bytes_out.get(&address).copied();
                world.inject(address, &check(n, true));
                world.deliver();
                assert!(world.net.bytes_out.get(&address).copied() > answered, "{wait}, {n}");
            }
        };
        consent(&mut world, 0..40);
        // With what the next one waits.
        world.pass(Duration::from_millis(14_500 - wait));
        assert!(world.gone.is_empty(), "{wait}");
        consent(&mut world, 40..50);
        let vanished = world.now;
        world.until(Duration::from_secs(20), |w| w.gone.contains_key(&1));
        let took = world.gone[&1] - vanished;
        let about = Duration::from_millis(14_900)..Duration::from_millis(15_100);
        assert!(about.contains(&took), "{wait}: {took:?}");
        world.assert_no_faults();
    }
}

#[test]
fn a_ufrag_without_its_password_leaves_no_address_anywhere() {
    for workers in [1, 3] {
        let mut world = two_in_a_call(workers);
        let (ice, own) = (world.ice[&2].clone(), "abcd");
        let kept = |world: &World| world.workers.iter().map(|w| w.kept()).collect::<Vec<_>>();
        let before = kept(&world);
        let sent: u64 = world.net.bytes_out.values().sum();
        let (clock, mut brought) = (Instant::now(), 0);
        for n in 0..9_000 {
            let from = outside(n);
            let mut forged = stun::check(&ice.ufrag, "wrong", own, n.into(), true);
            if n % 3 == 1 {
                forged = stun::check("aaabcdefghijklmn", "wrong", own, n.into(), true);
            }
            let dtls = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            for bytes in [forged, dtls, vec![0x80; 300], vec![0x90, 201, 0, 1, 0, 0, 0, 0]] {
                brought += bytes.len();
                world.inject(from, &bytes);
            }
            if n % 100 == 0 {
                world.deliver();
            }
        }
        world.deliver();
        println!("36,000 datagrams of strangers, {workers} workers: {:?}", clock.elapsed());
        assert_eq!(kept(&world), before);
        let out = world.net.bytes_out.values().sum::<u64>() - sent;
        assert!(out < 5_000, "{out} bytes out, none of them to strangers, for {brought} in");
        assert!((0..9_000).all(|n| !world.net.bytes_out.contains_key(&outside(n))));
    }
}

#[test]
fn a_viewer_whose_address_is_anothers_now_is_gone_in_time() {
    let mut world = World::new(1);
    let (address, _) = viewer_without_checks(&mut world);
    world.pass(Duration::from_secs(3));
    // Another client behind the same NAT was given its port.
    world.join(2, false, 1);
    let own = world.clients[&2].address;
    world.net.nat.insert(own, address);
    world.until(Duration::from_secs(5), |w| w.clients[&2].connected);
    world.until(Duration::from_secs(20), |w| w.gone.contains_key(&1));
    assert!(!world.gone.contains_key(&2));
}
