//! A whole turn of a worker: what came from a publisher is opened, kept, rewritten and sealed for
//! every subscriber, up to where the sockets begin. Timers do not run, and no feedback comes.

use std::net::SocketAddr;
use std::time::Duration;

use criterion::Criterion;
use trackyard::wire::demux::{Protocol, classify};
use trackyard::wire::rtp::{Fixed, Header, Writer};

use super::common::client::{Client, FRAME_INTERVAL};
use super::common::world::World;
use super::machine::ThreadTime;
use super::packet::vp8;

/// The last with the publisher are as many as a room holds.
const SUBSCRIBERS: [u64; 5] = [1, 10, 50, 200, 999];
/// Packets of one frame, which arrive together.
const PACKETS: [u64; 2] = [1, 5];
/// Between two of them on average: within what one publisher may send.
const INTERVAL: Duration = Duration::from_micros(500);

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    for subscribers in SUBSCRIBERS {
        let mut room = None;
        for packets in PACKETS {
            // A thousand handshakes take their time, so they wait until they are needed.
            let make = |room: &mut Option<Room>| {
                room.get_or_insert_with(|| Room::connect(subscribers)).frame(packets)
            };
            let work = |room: &mut Option<Room>, frame: &mut Vec<Vec<u8>>| {
                let Some(room) = room else { unreachable!("the frame was made by one") };
                room.forward(frame, subscribers);
            };
            let name = format!("{subscribers} subscribers/{packets} packets");
            let packets = subscribers * packets;
            super::bench(criterion, "forward").run((&name, packets), &mut room, make, work);
        }
    }
}

struct Room {
    world: World,
    publisher: Client,
    /// As the server sees it.
    address: SocketAddr,
    /// Of the publisher's last packet.
    header: Header,
    index: u64,
}

impl Room {
    /// One publishes, all others see it.
    fn connect(subscribers: u64) -> Room {
        let mut world = World::new(1);
        for id in 2..subscribers + 2 {
            world.join(id, false, 1);
        }
        world.join(1, true, 0);
        world.until(Duration::from_secs(10), World::all_see);
        world.net.captured = Some(Vec::new());
        world.pass(FRAME_INTERVAL);
        let publisher = world.clients.remove(&1).expect("joined above");
        let sent = world.net.captured.take().unwrap_or_default();
        let media = |(from, datagram): &&(SocketAddr, Vec<u8>)| {
            let is_rtcp = matches!(datagram.get(1), Some(192..=223));
            *from == publisher.address && classify(datagram) == Protocol::Srtp && !is_rtcp
        };
        let (address, last) = sent.iter().rfind(media).expect("a picture was sent");
        let header = Header::parse(last).expect("sent by a client");
        // It began with low numbers and has sent a few frames only.
        Room { address: *address, header, index: header.seq.into(), world, publisher }
    }

    /// The publisher's next frame, sealed.
    fn frame(&mut self, packets: u64) -> Vec<Vec<u8>> {
        let timestamp = self.header.timestamp.wrapping_add(45);
        self.header.timestamp = timestamp;
        let Header { payload_type, ssrc, .. } = self.header;
        let packet = |at| {
            self.index += 1;
            let (seq, marker) = (self.index as u16, at + 1 == packets);
            let fixed = Fixed { payload_type, marker, seq, timestamp, ssrc };
            let mut packet = Vec::new();
            Writer::begin(&mut packet, fixed, false).end();
            packet.extend(vp8(timestamp as u16 & 0x7fff, false));
            self.publisher.protect_rtp(&packet, self.index)
        };
        (0..packets).map(packet).collect()
    }

    fn forward(&mut self, frame: &mut [Vec<u8>], subscribers: u64) {
        let count = frame.len() as u32;
        self.world.now += INTERVAL * count;
        let (now, local) = (self.world.now, self.world.server.ip());
        let worker = &mut self.world.workers[0];
        let before = worker.counters_mut().packets_forwarded;
        for datagram in frame {
            worker.handle_datagram(now, self.address, local, datagram);
        }
        worker.route(now);
        while worker.flush(now) {
            worker.transmits().clear();
        }
        worker.transmits().clear();
        worker.take_letters();
        let forwarded = worker.counters_mut().packets_forwarded - before;
        assert_eq!(forwarded, subscribers * u64::from(count), "{:?}", worker.counters_mut());
    }
}
