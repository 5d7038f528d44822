//! Nothing is allocated for a packet that passes: from its datagram to those that leave for each
//! subscriber, once all buffers have grown to what the stream needs.

#![allow(clippy::disallowed_methods, reason = "what the tests share reads clocks and has threads")]

#[path = "../common/mod.rs"]
mod common;
mod decisions;
#[path = "../sim/system.rs"]
#[allow(dead_code, reason = "the simulator counts bytes by owner, too")]
mod system;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::world::World;
use trackyard::room::mail::Outgoing;

const VIEWERS: u64 = 10;

/// A call in which the publisher's datagrams of RTP are kept back, and where they are.
fn call(workers: usize, publisher: u64) -> (World, Receiver<Vec<u8>>, SocketAddr) {
    let mut world = World::new(workers);
    world.join(publisher, true, 0);
    for id in 0..VIEWERS {
        world.join(publisher + 1 + id, false, 1);
    }
    world.until(Duration::from_secs(2), World::all_see);
    world.pass(Duration::from_secs(5));
    let publisher = world.clients[&publisher].address;
    let (keep, held) = channel();
    world.net.loses = Some(Box::new(move |client, to_server, bytes| {
        let is_rtp = bytes[0] >= 128 && !(192..=223).contains(&bytes[1]);
        let hold = to_server && client == publisher && is_rtp;
        hold && keep.send(bytes.to_vec()).is_ok()
    }));
    (world, held, publisher)
}

/// The rest of a worker's turn: what it allocated, and how many datagrams left.
fn turn(world: &mut World, index: usize, letters: &mut Vec<Outgoing>) -> (u64, u64) {
    let (now, worker) = (world.now, &mut world.workers[index]);
    let before = system::allocations();
    worker.route(now);
    let more = worker.flush(now);
    letters.extend(worker.take_letters());
    let allocated = system::allocations() - before;
    assert!(!more, "ten datagrams leave at once");
    let (source, mut left) = (world.server, 0);
    for datagram in world.workers[index].transmits().take() {
        left += 1;
        let mut clients = world.clients.values_mut();
        let client = clients.find(|c| c.address == datagram.remote);
        client.expect("a viewer").receive(now, source, &datagram.bytes);
    }
    (allocated, left)
}

#[test]
fn a_packet_that_passes_allocates_nothing() {
    // The last is of the second of two workers, and its packets come to the first.
    for (workers, publisher) in [(1, 1), (2, 3), (2, 5)] {
        let (mut world, held, address) = call(workers, publisher);
        let came_to = usize::from(address.port() / 3) % workers;
        let (mut packets, mut left, mut allocations) = (0, 0, 0);
        let mut letters = Vec::with_capacity(64);
        for round in 0..400 {
            world.pass(Duration::from_millis(10));
            let (now, local) = (world.now, world.server.ip());
            for mut datagram in held.try_iter() {
                packets += 1;
                let before = system::allocations();
                world.workers[came_to].handle_datagram(now, address, local, &mut datagram);
                let mut allocated = system::allocations() - before;
                let mut next = Some(came_to);
                while let Some(index) = next.take() {
                    let (more, sent) = turn(&mut world, index, &mut letters);
                    (allocated, left) = (allocated + more, left + sent);
                    for letter in letters.drain(..) {
                        let Outgoing::Worker(to, letter) = letter else { panic!("{letter:?}") };
                        next = Some(to.index());
                        let before = system::allocations();
                        world.workers[to.index()].handle_letter(now, letter);
                        allocated += system::allocations() - before;
                    }
                }
                // The first packets make the buffers that go to and fro.
                allocations += if round < 10 { 0 } else { allocated };
            }
        }
        let what = format!("{workers} workers, publisher {publisher}");
        println!("{what}: {packets} packets came, {left} left: {allocations} allocations");
        assert!(packets > 50 && left == packets * VIEWERS, "{what}: {packets} {left}");
        assert_eq!(allocations, 0, "{what}");
        let handed: u64 = world.workers.iter_mut().map(|w| w.counters_mut().datagrams_handed).sum();
        let relayed: u64 = world.workers.iter_mut().map(|w| w.counters_mut().packets_relayed).sum();
        assert!(relayed >= packets || workers == 1, "{what}: {relayed}");
        assert!(handed >= packets || publisher != 5, "{what}: {handed}");
        world.assert_no_faults();
    }
}
