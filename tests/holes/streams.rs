//! What publishers send: numbers that wrap and jump, SSRCs that collide, too much, too long.

use std::collections::HashMap;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use trackyard::base::counters::DropReason;
use trackyard::base::limits::STREAMS_PER_PEER_MAX;
use trackyard::room::mail::Role;
use trackyard::wire::rtcp;

use crate::common;
use crate::common::client::declaring;
use crate::common::world::World;
use crate::{SECOND, two_in_a_call};

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
    // A stream beside its own.
    let ssrc = (*api.stream_tx_by_mid(mid, None).expect("it sends").ssrc() ^ 1).to_be_bytes();
    let before = Instant::now();
    for turn in 0..500u32 {
        for n in 0..100 {
            let mut packet = vec![0x80, 96];
            packet.extend(((turn * 100 + n) as u16).to_be_bytes());
            packet.extend([0; 4]);
            packet.extend(ssrc);
            packet.resize(1_184, 7);
            let client = world.clients.get_mut(&1).unwrap();
            let datagram = client.protect_rtp(&packet, u64::from(turn * 100 + n));
            world.inject(address, &datagram);
        }
        world.pass(Duration::from_millis(10));
    }
    let (dropped, took) = (world.dropped(DropReason::MediaRate), before.elapsed());
    println!("10,000 packets a second for 5 s: {dropped} of 50,000 dropped, {took:?} in all");
    assert!(dropped > 10_000, "{dropped}");
    let gap = world.clients[&3].media_gap;
    assert!(gap < Duration::from_millis(100), "{gap:?}");
}

/// Bytes a second that come to a viewer of one who declares 460 kbit/s and sends so many packets
/// of 1,150 bytes a second; and how many of them were dropped for it.
fn forwarded_of_declared(packets_a_second: u64) -> (u64, u64) {
    let mut world = World::new(1);
    world.join_with(Role::Participant, 1, |c, now| declaring(&c.offer(true, 0, now), 460_000));
    world.join(2, true, 0);
    world.join(3, false, 2);
    world.until(Duration::from_secs(2), World::all_see);
    let sender = world.clients.get_mut(&1).unwrap().sending.as_mut().unwrap();
    sender.interval = SECOND / packets_a_second as u32;
    sender.packet_bytes = Some(1_150);
    world.clients.get_mut(&3).unwrap().media_gap = Duration::ZERO;
    let out = |w: &World| w.clients[&3].payload_bytes;
    let before = out(&world);
    world.pass(10 * SECOND);
    let mut judges = world.clients[&3].slots.values();
    let other = judges.find(|j| j.label == Some(2)).expect("the other publisher");
    assert!(other.faults.is_empty() && other.frames > 200, "{other:?}");
    assert!(world.clients[&3].media_gap < Duration::from_millis(60));
    let nacks = world.workers[0].counters_mut().nacks_sent;
    assert_eq!(nacks, 0, "what is dropped for its rate is not asked for again");
    ((out(&world) - before) / 10, world.dropped(DropReason::MediaRate))
}

#[test]
fn a_publisher_beyond_its_declared_rate_is_held_to_twice_that() {
    let (_, dropped) = forwarded_of_declared(50);
    assert_eq!(dropped, 0, "of one who keeps to it");
    let (bytes, dropped) = forwarded_of_declared(500);
    println!("declared 57,500 B/s, sent 575,000: {bytes} B/s forwarded, {dropped} packets dropped");
    // Of the other publisher come 6,000; and a second's worth was saved up.
    assert!(bytes < 6_000 + (2 * 57_500 + 32 * 1_024) * 11 / 10, "{bytes}");
    assert!(dropped > 3_000, "{dropped}");
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

#[test]
fn no_number_is_sealed_twice_for_a_stream_that_was_forgotten() {
    let mut world = two_in_a_call(1);
    let (publisher, viewer) = (world.clients[&1].address, world.clients[&2].address);
    // Nothing of its own comes between.
    world.clients.get_mut(&1).unwrap().sending.as_mut().unwrap().interval = 3_600 * SECOND;
    world.pass(Duration::from_millis(200));
    let (send, sent) = channel();
    world.net.loses = Some(Box::new(move |client, to_server, bytes| {
        if !to_server && client == viewer && bytes[1] & 0x7f == 96 {
            send.send((bytes[2..4].to_vec(), bytes.to_vec())).unwrap();
        }
        false
    }));
    // The same number twice, and between them more streams than are remembered, of which nothing
    // is forwarded: that payload type is nothing's.
    let streams = (0..=STREAMS_PER_PEER_MAX as u32).map(|n| (1_000 + n, 20, 1));
    for (ssrc, kind, fill) in [(999u32, 96, 7u8)].into_iter().chain(streams).chain([(999, 96, 8)]) {
        let mut packet = vec![0x80, kind, 0, 100, 0, 0, 0, 0];
        packet.extend(ssrc.to_be_bytes());
        // A keyframe begins (RFC 7741 §4.2).
        packet.extend([0x10, 0]);
        packet.resize(100, fill);
        let datagram = world.clients.get_mut(&1).unwrap().protect_rtp(&packet, 100);
        world.inject(publisher, &datagram);
        world.pass(Duration::from_millis(10));
    }
    let mut contents = HashMap::new();
    for (seq, bytes) in sent.try_iter() {
        let before = contents.insert(seq.clone(), bytes.clone());
        assert!(before.is_none_or(|before| before == bytes), "{seq:?} has two contents");
    }
    assert_eq!(contents.len(), 2, "both came");
}

#[test]
fn a_straggler_of_a_stream_that_is_over_takes_no_keyframe_requests() {
    let mut world = two_in_a_call(1);
    let address = world.clients[&1].address;
    let own = world.clients.get_mut(&1).unwrap().sent_ssrc().expect("it sends");
    // It begins after the one that goes on.
    let mut packet = vec![0x80, 96, 0, 100, 0, 0, 0, 0];
    packet.extend(999u32.to_be_bytes());
    packet.resize(100, 7);
    let datagram = world.clients.get_mut(&1).unwrap().protect_rtp(&packet, 100);
    world.inject(address, &datagram);
    world.pass(Duration::from_millis(700));
    world.clients.get_mut(&1).unwrap().heard = Some(Vec::new());
    world.clients.get_mut(&2).unwrap().ask_for_keyframes();
    world.pass(SECOND);
    let heard = world.clients.get_mut(&1).unwrap().heard.take().expect("it was asked for");
    let asked = heard.iter().flat_map(|compound| rtcp::read(compound));
    let asked = asked.filter_map(|packet| match packet {
        rtcp::Packet::Pli { media, .. } => Some(media),
        _ => None,
    });
    let asked: Vec<u32> = asked.collect();
    assert!(!asked.is_empty() && asked.iter().all(|media| *media == own), "{asked:?}, not {own}");
}
