//! Attacks and accidents that are known to break media servers, each on virtual time. Figures are
//! printed (`--nocapture`).
#![allow(clippy::disallowed_methods, reason = "a test makes up its first instant, and takes time")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::stun;
use common::world::World;
use trackyard::base::counters::DropReason;
use trackyard::room::mail::Role;

fn outside(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 40_000))
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).expect("a number");
    pages * 4_096
}

fn two_in_a_call(workers: usize) -> World {
    let mut world = World::new(workers);
    world.join(1, true, 1);
    world.join(2, true, 1);
    world.until(Duration::from_secs(2), World::all_see);
    world
}

fn is_check(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 1])
}

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

const SECOND: Duration = Duration::from_secs(1);

/// How an attacker's datagrams meet a handshake.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Race {
    /// From addresses without a check, and from the client's before its own was seen.
    Unvalidated,
    /// From the client's address at any time, but for a ClientHello ahead of its own.
    OnPath,
}

fn junk(hello: &[u8]) -> Vec<Vec<u8>> {
    let mut old = hello.to_vec();
    // Another version in the ClientHello itself, behind the two headers.
    old[26] = 0xff;
    let mut garbage = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 40];
    garbage.extend([0xa5; 40]);
    let certificate = |seq: u8| {
        let mut record = vec![22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 8, 0, 12];
        record.extend([14, 0, 0, 0, 0, seq, 0, 0, 0, 0, 0, 0]);
        record
    };
    let alert = |kind, what| vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 7, 0, 2, kind, what];
    let mut all = vec![alert(2, 40), alert(1, 0), garbage, old];
    all.extend((0..20).map(certificate));
    all.extend([3, 13, 14, 40, hello.len() - 1].map(|cut| hello[..cut].to_vec()));
    all.push(vec![20, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1, 1]);
    all.push([&[22, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 5, 0, 30][..], &[3; 30]].concat());
    all
}

fn attacked_handshakes(race: Race, count: u64) -> u64 {
    let mut world = World::new(2);
    world.net.captured = Some(Vec::new());
    world.join(1, true, 1);
    world.until(SECOND, |w| w.clients[&1].connected);
    let captured = world.net.captured.take().expect("it was asked for");
    let hello = captured.iter().find(|(_, b)| b[0] == 22).expect("a ClientHello").1.clone();
    let junk = junk(&hello);
    let mut complete = 0;
    for n in 0..count {
        let (junk, hello, mut seen) = (junk.clone(), hello.clone(), (false, false));
        world.net.forges = Some(Box::new(move |from, bytes| {
            let mut forged = Vec::new();
            let mut elsewhere = from;
            elsewhere.set_port(9);
            let mut add = |from| {
                forged.extend(junk.iter().map(|j| (from, j.clone())));
            };
            add(elsewhere);
            if race == Race::OnPath || !seen.0 {
                add(from);
            }
            if !seen.0 || seen.1 && race == Race::OnPath {
                forged.push((from, hello.clone()));
            }
            forged.push((elsewhere, hello.clone()));
            seen.0 |= is_check(bytes);
            seen.1 |= bytes[0] == 22;
            forged
        }));
        let id = 10 + n;
        world.join(id, true, 1);
        let start = world.now;
        let limit = Duration::from_secs(5);
        world.until(limit, |w| w.clients[&id].connected || w.now - start > limit - SECOND);
        complete += u64::from(world.clients[&id].connected);
        world.leave(id);
    }
    complete
}

#[test]
fn a_thousand_handshakes_survive_the_hello_race() {
    let complete = attacked_handshakes(Race::Unvalidated, 1_000);
    println!("{complete} of 1,000 attacked handshakes complete");
    assert_eq!(complete, 1_000);
}

#[test]
fn a_handshake_survives_junk_on_its_own_path() {
    let complete = attacked_handshakes(Race::OnPath, 200);
    println!("{complete} of 200 handshakes attacked on their own path complete");
    assert_eq!(complete, 200);
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
fn a_description_beyond_its_bounds_is_refused_before_it_is_parsed() {
    use trackyard::wire::sdp::{SdpError, gate_offer};
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    let candidate = |n| format!("a=candidate:{n} 1 udp 1 10.0.0.1 {n} typ host\r\n");
    let candidates = |count| (0..count).map(candidate).collect::<String>();
    let section = |n| format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{n}\r\n");
    let sections = |count| (1..=count).map(section).collect::<String>();
    for (what, more, reason) in [
        ("20,000 candidates", candidates(20_000), SdpError::TooLarge),
        ("1,000 candidates", candidates(1_000), SdpError::TooManyCandidates),
        ("5,000 m-lines", sections(5_000), SdpError::TooLarge),
        ("1,000 m-lines", sections(1_000), SdpError::TooManyMLines),
    ] {
        let offer = format!("{head}{more}");
        let clock = Instant::now();
        assert_eq!(gate_offer(&offer), Err(reason), "{what}");
        println!("{what}, {} bytes: refused after {:?}", offer.len(), clock.elapsed());
    }
    let offer = format!("{head}{}{}", candidates(32), sections(127));
    assert_eq!(gate_offer(&offer).map(|o| o.mids.len()), Ok(128), "at the bounds it is read");
}

/// A generic NACK for as many packets up to `newest` as `entries` can name.
fn nack(media: u32, newest: u64, entries: u16) -> Vec<u8> {
    let words = 2 + entries;
    let mut packet = vec![0x81, 205];
    packet.extend(words.to_be_bytes());
    packet.extend(9u32.to_be_bytes());
    packet.extend(media.to_be_bytes());
    for n in 0..entries {
        let first = (newest as u16).wrapping_sub(17 * (n + 1) - 1);
        packet.extend(first.to_be_bytes());
        packet.extend([0xff; 2]);
    }
    packet
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
            let datagram = client.protect_rtcp(&nack(ssrc, newest, 25));
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
fn a_flood_of_feedback_is_bounded() {
    let mut world = two_in_a_call(1);
    let address = world.clients[&2].address;
    world.clients.get_mut(&1).unwrap().asked.clear();
    world.clients.values_mut().for_each(|c| c.media_gap = Duration::ZERO);
    for _ in 0..300 {
        for _ in 0..20 {
            let client = world.clients.get_mut(&2).unwrap();
            let mut pli = vec![0x81, 206, 0, 2, 0, 0, 0, 9];
            pli.extend(client.slot_ssrc().to_be_bytes());
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
fn numbers_wrap_through_publisher_and_slot() {
    let mut world = World::new(2);
    world.join(1, true, 0);
    world.join(2, false, 1);
    let sender = world.clients.get_mut(&1).unwrap().sending.as_mut().unwrap();
    (sender.seq, sender.frames) = (32_000, u32::MAX / 4_500 - 20);
    world.until(Duration::from_secs(2), |w| w.clients[&2].sees(&w.mids(2)));
    let before = world.clients[&2].packets;
    for _ in 0..18_000 {
        let sender = world.clients.get_mut(&1).unwrap().sending.as_mut().unwrap();
        sender.keyframe_wanted = true;
        world.pass(common::client::FRAME_INTERVAL);
    }
    let packets = world.clients[&2].packets - before;
    assert!(packets > 70_000, "{packets}: each stream's 16 bits were used up");
    world.assert_no_faults();
}

#[test]
fn hostile_sequence_numbers_are_felt_by_nobody_else() {
    let mut world = World::new(1);
    for id in 1..=3 {
        world.join(id, true, 2);
    }
    world.until(Duration::from_secs(2), World::all_see);
    world.clients.get_mut(&3).unwrap().media_gap = Duration::ZERO;
    let jumps: [i64; 8] = [10_000, -5_000, 40_000, 32_768, -32_768, 65_536, 1, -60_000];
    for jump in jumps.into_iter().cycle().take(64) {
        let sender = world.clients.get_mut(&1).unwrap().sending.as_mut().unwrap();
        sender.seq = sender.seq.saturating_add_signed(jump);
        sender.keyframe_wanted = jump % 3 == 0;
        world.pass(Duration::from_millis(120));
    }
    let gap = world.clients[&3].media_gap;
    assert!(gap < Duration::from_millis(100), "{gap:?}");
    assert_eq!(world.workers[0].counters_mut().panics, 0);
    let sees_two = |judge: &&common::vp8::Judge| judge.label == Some(2);
    let judge = world.clients[&3].slots.values().find(sees_two).expect("the other publisher");
    assert!(judge.faults.is_empty(), "{:?}", judge.faults);
}

#[test]
fn ssrcs_that_collide_mix_nothing_up() {
    let mut world = two_in_a_call(1);
    world.join(3, true, 2);
    world.pass(Duration::from_secs(1));
    // The first sends with the SSRC of what it receives, the third with the same.
    let taken = world.clients.get_mut(&1).unwrap().slot_ssrc();
    for id in [1, 3] {
        let client = world.clients.get_mut(&id).unwrap();
        let sender = client.sending.as_mut().unwrap();
        sender.keyframe_wanted = true;
        let (mid, rtx) = (sender.mid, 4_000_000_000 + id as u32);
        let mut api = client.rtc.direct_api();
        api.reset_stream_tx(mid, None, taken.into(), Some(rtx.into()));
    }
    world.pass(Duration::from_secs(3));
    assert_eq!(world.workers[0].counters_mut().panics, 0);
    let seen: Vec<_> = world.clients[&2].slots.values().map(|j| (j.label, j.frames)).collect();
    println!("the second sees {seen:?}");
    for judge in world.clients.values().flat_map(|c| c.slots.values()) {
        assert!(judge.faults.is_empty(), "{:?}", judge.faults);
    }
    let judge = world.clients[&1].slots.values().next().unwrap();
    assert!(judge.label.is_some_and(|from| from != 1), "nobody gets their own");
}

#[test]
fn a_publisher_beyond_any_sane_rate_hurts_nobody() {
    let mut world = World::new(1);
    for id in 1..=3 {
        world.join(id, true, 2);
    }
    world.until(Duration::from_secs(2), World::all_see);
    let address = world.clients[&1].address;
    world.clients.get_mut(&3).unwrap().media_gap = Duration::ZERO;
    let client = world.clients.get_mut(&1).unwrap();
    let (mid, mut api) = (client.sending.as_ref().unwrap().mid, client.rtc.direct_api());
    let ssrc = api.stream_tx_by_mid(mid, None).expect("it sends").ssrc().to_be_bytes();
    let before = Instant::now();
    for turn in 0..500u32 {
        for n in 0..100 {
            let mut packet = vec![0x80, 96];
            packet.extend(((turn * 100 + n) as u16).to_be_bytes());
            packet.extend([0; 4]);
            packet.extend(ssrc);
            packet.resize(1_200, 7);
            world.inject(address, &packet);
        }
        world.pass(Duration::from_millis(10));
    }
    let (dropped, took) = (world.dropped(DropReason::MediaRate), before.elapsed());
    println!(
        "10,000 packets a second for 5 s: {dropped} of 50,000 dropped unread, {took:?} in all"
    );
    assert!(dropped > 10_000, "{dropped}");
    let gap = world.clients[&3].media_gap;
    assert!(gap < Duration::from_millis(100), "{gap:?}");
}

#[test]
fn no_datagram_is_longer_than_a_path_takes() {
    let mut world = two_in_a_call(2);
    world.pass(Duration::from_secs(10));
    world.leave(1);
    println!("the longest of a call with frames of 1,000 bytes: {}", world.net.longest);
    assert!(world.net.longest <= 1_200, "{}", world.net.longest);
    assert_eq!(world.dropped(DropReason::Oversize), 0);
    world.join(3, true, 1);
    world.until(Duration::from_secs(2), World::all_see);
    let sender = world.clients.get_mut(&3).unwrap().sending.as_mut().unwrap();
    sender.packet_bytes = Some(1_400);
    world.pass(Duration::from_secs(1));
    assert!(world.dropped(DropReason::Oversize) > 10, "what is longer is dropped and counted");
    assert!(world.net.longest <= trackyard::base::limits::DATAGRAM_OUT_BYTES_MAX);
}
