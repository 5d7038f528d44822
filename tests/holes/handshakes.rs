//! Datagrams that race a client's DTLS handshake.

use std::time::Duration;

use crate::common::world::World;
use crate::{SECOND, is_check};

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
