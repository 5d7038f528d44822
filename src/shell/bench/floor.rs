//! The floor: the least that forwarding costs. Receives as a worker does, opens, copies, seals and
//! sends as a worker does, and nothing else: no negotiation, no RTCP, no timers, no choice. A check
//! for consent it verifies and answers.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use super::outbox::Outbox;
use super::stream::Incoming;
use super::{Done, Failed, failed};
use crate::media::srtp::{self, Inbound, Outbound, Profile};
use crate::shell::udp::{self, UdpBatch};
use crate::wire::rtp::Header;
use crate::wire::stun::{self, Check};

/// Who is there, one line of JSON on standard input.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Of [`Profile::ALL`].
    pub profile: usize,
    pub clients: Vec<PlannedClient>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct PlannedClient {
    pub address: SocketAddr,
    pub room: usize,
    /// Gets all that others in its room send.
    pub receives: bool,
    /// As DTLS would export it.
    pub material: Vec<u8>,
    /// What its checks are signed with.
    pub password: String,
}

struct Peer {
    address: SocketAddr,
    password: String,
    room: usize,
    receives: bool,
    inbound: Inbound,
    outbound: Outbound,
    incoming: Vec<Incoming>,
}

#[derive(Default)]
struct Room {
    peers: Vec<usize>,
    packets: Vec<Opened>,
}

/// A packet in the batch's buffer.
struct Opened {
    from: usize,
    bytes: Range<usize>,
    header_bytes: usize,
    index: u64,
}

struct Floor {
    udp: UdpBatch,
    outbox: Outbox,
    peers: Vec<Peer>,
    by_address: HashMap<SocketAddr, usize>,
    rooms: Vec<Room>,
    /// Rooms with packets.
    dirty: Vec<usize>,
    bytes: Vec<u8>,
}

const UDP: Token = Token(0);
const INPUT: Token = Token(1);
/// As many as a worker takes in one turn.
const DATAGRAMS_PER_TURN: usize = 256;
/// Datagrams that are sealed before they are sent, but for one subscriber's last: they stay in the
/// cache until the kernel copies them.
const DATAGRAMS_PER_SEND: usize = 256;

/// Forwards until standard input ends. Says its address in one line.
pub fn run() -> Done<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(failed("standard input"))?;
    let plan: Plan = serde_json::from_str(&line).map_err(failed("standard input"))?;
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let socket = udp::bind(listen, 1).map_err(failed("UDP"))?.remove(0);
    let address = socket.local_addr().map_err(failed("UDP"))?;
    let own = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let mut floor = Floor::new(&plan, UdpBatch::new(socket, own).map_err(failed("UDP"))?)?;
    println!("{address}");
    floor.serve().map_err(failed("the floor"))
}

impl Floor {
    fn new(plan: &Plan, udp: UdpBatch) -> Done<Floor> {
        let wrong = || Failed("a plan that is none".to_owned());
        let profile = *Profile::ALL.get(plan.profile).ok_or_else(wrong)?;
        let count = plan.clients.iter().map(|c| c.room + 1).max().unwrap_or(0);
        let mut floor = Floor {
            udp,
            outbox: Outbox::default(),
            peers: Vec::new(),
            by_address: HashMap::new(),
            rooms: (0..count).map(|_| Room::default()).collect(),
            dirty: Vec::new(),
            bytes: Vec::new(),
        };
        for PlannedClient { address, room, receives, material, password } in &plan.clients {
            let keys = srtp::session(profile, material, false);
            let (inbound, outbound) = keys.ok_or_else(wrong)?;
            floor.by_address.insert(*address, floor.peers.len());
            floor.rooms[*room].peers.push(floor.peers.len());
            floor.peers.push(Peer {
                address: *address,
                password: password.clone(),
                room: *room,
                receives: *receives,
                inbound,
                outbound,
                incoming: Vec::new(),
            });
        }
        Ok(floor)
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut poll = Poll::new()?;
        let (fd, input) = (self.udp.as_raw_fd(), io::stdin().as_raw_fd());
        poll.registry().register(&mut SourceFd(&fd), UDP, Interest::READABLE)?;
        poll.registry().register(&mut SourceFd(&input), INPUT, Interest::READABLE)?;
        let mut events = Events::with_capacity(8);
        loop {
            match poll.poll(&mut events, None) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            if events.iter().any(|event| event.token() == INPUT) {
                return io::stdin().read_to_end(&mut Vec::new()).map(drop);
            }
            while self.receive()? {
                self.forward();
            }
            self.forward();
        }
    }

    /// Whether the socket may hold more.
    fn receive(&mut self) -> io::Result<bool> {
        let mut datagrams = 0;
        while datagrams < DATAGRAMS_PER_TURN {
            if !self.udp.receive()? {
                return Ok(false);
            }
            let Floor { udp, outbox, peers, by_address, rooms, dirty, bytes } = self;
            datagrams += udp.deliver(|remote, _, datagram| {
                let Some(from) = by_address.get(&remote).copied() else { return };
                if let Some(check) = stun::check(datagram) {
                    return peers[from].answer(&check, outbox);
                }
                let room = peers[from].room;
                let Some(packet) = peers[from].open(from, datagram, bytes) else { return };
                let packets = &mut rooms[room].packets;
                if packets.is_empty() {
                    dirty.push(room);
                }
                packets.push(packet);
            });
        }
        Ok(true)
    }

    /// Each subscriber once, with all that came for it.
    fn forward(&mut self) {
        while let Some(room) = self.dirty.pop() {
            let Room { peers, packets } = &mut self.rooms[room];
            for at in peers.iter() {
                let peer = &self.peers[*at];
                if !peer.receives {
                    continue;
                }
                for packet in packets.iter().filter(|packet| packet.from != *at) {
                    let (datagram, start) = self.outbox.begin(peer.address);
                    datagram.extend_from_slice(&self.bytes[packet.bytes.clone()]);
                    let (header, index) = (packet.header_bytes, packet.index);
                    let sealed = peer.outbound.seal_rtp(datagram, start, header, index);
                    assert!(sealed, "what was opened has a header, and an index below 2^48");
                }
                if self.outbox.len() >= DATAGRAMS_PER_SEND {
                    self.outbox.send(&mut self.udp);
                }
            }
            packets.clear();
        }
        self.outbox.send(&mut self.udp);
        self.bytes.clear();
    }
}

impl Peer {
    fn answer(&self, check: &Check<'_>, out: &mut Outbox) {
        let sign = |parts: &[&[u8]]| stun::sign(self.password.as_bytes(), parts);
        if check.is_genuine(sign) {
            let (datagram, _) = out.begin(self.address);
            stun::append_response(datagram, &check.transaction, self.address, sign);
        }
    }

    /// Opens a packet of RTP, and copies it behind the others of the batch.
    fn open(&mut self, from: usize, datagram: &mut [u8], batch: &mut Vec<u8>) -> Option<Opened> {
        let Header { payload_type, seq, ssrc, bytes: header_bytes, .. } = Header::parse(datagram)?;
        if (64..96).contains(&payload_type) {
            return None;
        }
        let at = self.incoming.iter().position(|stream| stream.ssrc == ssrc);
        let at = at.unwrap_or_else(|| {
            self.incoming.push(Incoming::new(ssrc, seq));
            self.incoming.len() - 1
        });
        let index = self.incoming[at].take(seq);
        let end = self.inbound.open_rtp(datagram, header_bytes, index)?;
        let start = batch.len();
        batch.extend_from_slice(&datagram[..end]);
        Some(Opened { from, bytes: start..batch.len(), header_bytes, index })
    }
}
