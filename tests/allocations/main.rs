//! Nothing is allocated for a packet that passes: from its datagram to those that leave for each
//! subscriber, once all buffers have grown to what the stream needs.

#![allow(clippy::disallowed_methods, reason = "what the tests share reads clocks and has threads")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../sim/system.rs"]
#[allow(dead_code, reason = "the simulator counts bytes by owner, too")]
mod system;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::world::World;

const VIEWERS: u64 = 10;

/// A call in which the publisher's datagrams of RTP are kept back, and where they are.
fn call() -> (World, Receiver<Vec<u8>>, SocketAddr) {
    let mut world = World::new(1);
    world.join(1, true, 0);
    for id in 0..VIEWERS {
        world.join(2 + id, false, 1);
    }
    world.until(Duration::from_secs(2), World::all_see);
    world.pass(Duration::from_secs(5));
    let publisher = world.clients[&1].address;
    let (keep, held) = channel();
    world.net.loses = Some(Box::new(move |client, to_server, bytes| {
        let is_rtp = bytes[0] >= 128 && !(192..=223).contains(&bytes[1]);
        let hold = to_server && client == publisher && is_rtp;
        hold && keep.send(bytes.to_vec()).is_ok()
    }));
    (world, held, publisher)
}

#[test]
fn a_packet_that_passes_allocates_nothing() {
    let (mut world, held, publisher) = call();
    let (mut packets, mut left, mut allocations) = (0, 0, 0);
    for _ in 0..400 {
        world.pass(Duration::from_millis(10));
        let (now, local) = (world.now, world.server.ip());
        for mut datagram in held.try_iter() {
            packets += 1;
            let worker = &mut world.workers[0];
            let before = system::allocations();
            worker.handle_datagram(now, publisher, local, &mut datagram);
            worker.route(now);
            let more = worker.flush(now);
            allocations += system::allocations() - before;
            assert!(!more, "ten datagrams leave at once");
            let source = world.server;
            for datagram in world.workers[0].transmits().take() {
                left += 1;
                let mut clients = world.clients.values_mut();
                let client = clients.find(|c| c.address == datagram.remote);
                client.expect("a viewer").receive(now, source, &datagram.bytes);
            }
        }
    }
    println!("{packets} packets came, {left} left: {allocations} allocations");
    assert!(packets > 50 && left == packets * VIEWERS, "{packets} {left}");
    assert_eq!(allocations, 0);
    world.assert_no_faults();
}
