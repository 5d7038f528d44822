//! The worker core on virtual time: rooms over one and over several workers, no socket anywhere.
#![allow(clippy::disallowed_methods, reason = "a test makes up its first instant")]

mod common;

use std::time::Duration;

use common::world::World;
use trackyard::base::ids::ParticipantId;
use trackyard::room::mail::{PeerLetter, Role, RoomLetter, ToGate, ToWorker};
use trackyard::worker::Outgoing;

#[test]
fn two_see_each_other() {
    for workers in [1, 2, 4] {
        let mut world = World::new(workers);
        world.join(1, true, 1);
        world.join(2, true, 1);
        world.until(Duration::from_secs(2), World::all_see);
        world.assert_no_faults();
    }
}

#[test]
fn a_late_joiner_sees_within_a_second() {
    for workers in [1, 4] {
        let mut world = World::new(workers);
        for id in 1..=3 {
            world.join(id, true, 3);
        }
        world.until(Duration::from_secs(2), World::all_see);
        world.join(4, false, 3);
        let took = world.until(Duration::from_secs(2), World::all_see);
        assert!(took < Duration::from_secs(1), "{took:?} with {workers} workers");
        world.assert_no_faults();
    }
}

#[test]
fn a_slot_that_changes_its_track_has_no_seam() {
    for workers in [1, 4] {
        let mut world = World::new(workers);
        world.join(1, false, 1);
        world.join(2, true, 0);
        world.join(3, true, 0);
        let label = |world: &World| world.clients[&1].slots.values().next().and_then(|j| j.label);
        world.until(Duration::from_secs(2), |w| label(w) == Some(2) && w.all_see());
        world.leave(2);
        world.clients.get_mut(&1).unwrap().slots.values_mut().for_each(|j| j.expect_anew());
        let took = world.until(Duration::from_secs(2), |w| label(w) == Some(3) && w.all_see());
        assert!(took < Duration::from_secs(1), "{took:?}");
        world.assert_no_faults();
    }
}

#[test]
fn nobody_stays_black_however_fast_they_come_and_go() {
    for workers in [1, 4] {
        let mut world = World::new(workers);
        for round in 0..20 {
            let base = 100 * round;
            for id in 1..=8 {
                world.join(base + id, true, 7);
            }
            let took = world.until(Duration::from_secs(2), World::all_see);
            assert!(took < Duration::from_secs(1), "round {round}: {took:?}");
            for id in 1..=4 {
                world.leave(base + id);
                world.join(base + 50 + id, true, 7);
            }
            let took = world.until(Duration::from_secs(2), World::all_see);
            assert!(took < Duration::from_secs(1), "round {round}, second half: {took:?}");
            world.assert_no_faults();
            let ids: Vec<u64> = world.clients.keys().copied().collect();
            ids.into_iter().for_each(|id| world.leave(id));
        }
    }
}

#[test]
fn an_ice_restart_keeps_the_worker_in_the_ufrag() {
    let mut world = World::new(4);
    world.join(1, true, 1);
    world.join(2, true, 1);
    world.until(Duration::from_secs(2), World::all_see);
    let client = world.clients.get_mut(&2).unwrap();
    client.slots.values_mut().for_each(|j| j.expect_anew());
    let sdp = client.restart_ice();
    world.offer(2, sdp);
    for client in world.clients.values_mut() {
        client.ask_for_keyframes();
    }
    world.until(Duration::from_secs(2), World::all_see);
    world.assert_no_faults();
}

/// The answer to an offer that a real browser made: `sendonly` audio and video, then `recvonly`.
fn answer_to(offer: &str) -> String {
    let mut world = World::new(1);
    let address = world.address(1);
    let join =
        RoomLetter::Join { address, name: "n".into(), role: Role::Participant, request: None };
    world.letter(0, ToWorker::Room("room".into(), join));
    let offer = PeerLetter::Offer {
        address,
        room: "room".into(),
        role: Role::Participant,
        request: None,
        sdp: offer.to_string(),
        tracks: Vec::new(),
    };
    world.workers[0].handle_letter(world.now, ToWorker::Peer(ParticipantId(1), offer));
    let answer = world.workers[0].take_letters().find_map(|letter| match letter {
        Outgoing::Gate(ToGate::Answered { answer, .. }) => Some(answer.sdp),
        _ => None,
    });
    answer.expect("an answer")
}

#[test]
fn browsers_get_every_codec_and_extension_that_we_pass() {
    let offers = [
        ("Chromium 156", include_str!("offers/chromium.sdp")),
        ("Firefox 153", include_str!("offers/firefox.sdp")),
    ];
    for (browser, offer) in offers {
        let answer = answer_to(offer);
        let sections: Vec<&str> = answer.split("\r\nm=").skip(1).collect();
        assert_eq!(sections.len(), 4, "{browser}: {answer}");
        let directions = ["recvonly", "recvonly", "sendonly", "sendonly"];
        for (section, direction) in sections.iter().zip(directions) {
            assert!(section.contains(&format!("a={direction}\r\n")), "{browser}: {section}");
            for needed in [
                "a=rtcp-mux",
                "a=setup:passive",
                "a=candidate:",
                "a=end-of-candidates",
                "transport-wide-cc",
                "sdes:mid",
            ] {
                assert!(section.contains(needed), "{browser}: no {needed} in {section}");
            }
        }
        for audio in sections.iter().filter(|s| s.starts_with("audio")) {
            for needed in
                ["opus/48000/2", "usedtx=1", "useinbandfec=1", "ssrc-audio-level", "transport-cc"]
            {
                assert!(audio.contains(needed), "{browser}: no {needed} in {audio}");
            }
        }
        for video in sections.iter().filter(|s| s.starts_with("video")) {
            for needed in [
                "VP8/90000",
                "VP9/90000",
                "AV1/90000",
                "rtx/90000",
                "nack pli",
                "ccm fir",
                "transport-cc",
            ] {
                let offered = offer.contains(needed);
                assert!(video.contains(needed) || !offered, "{browser}: no {needed} in {video}");
            }
            // Every profile and mode of H264 that was offered for this direction.
            let offered = offer.matches("H264/90000").count();
            assert!(video.contains("H264/90000") || offered == 0, "{browser}: {video}");
            assert!(!video.contains("ulpfec"), "{browser}: {video}");
        }
        let first = |sdp: &str| {
            let line = sdp.lines().find(|l| l.starts_with("m=video")).expect("a video").to_string();
            line.split(' ').nth(3).expect("a payload type").to_string()
        };
        assert_eq!(first(&answer), first(offer), "{browser}: what the client prefers stays first");
    }
}
