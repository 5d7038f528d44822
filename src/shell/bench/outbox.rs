//! Datagrams on their way to a socket, in memory that is used again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::base::counters::{Counters, DropReason};
use crate::shell::udp::UdpBatch;
use crate::worker::Transmit;

/// What leaves with the next call.
#[derive(Default)]
pub struct Outbox {
    transmits: Vec<Transmit>,
    used: usize,
    counters: Counters,
}

impl Outbox {
    /// A place for a datagram: it begins at the index and ends where the buffer does.
    pub fn begin(&mut self, remote: SocketAddr) -> (&mut Vec<u8>, usize) {
        if self.used == self.transmits.len() {
            let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
            self.transmits.push(Transmit { local, remote, bytes: Vec::new() });
        }
        let transmit = &mut self.transmits[self.used];
        self.used += 1;
        transmit.remote = remote;
        transmit.bytes.clear();
        (&mut transmit.bytes, 0)
    }

    /// Datagrams that wait.
    pub fn len(&self) -> usize {
        self.used
    }

    /// Sends all as the server does: those to one address in a row as one message.
    pub fn send(&mut self, batch: &mut UdpBatch) {
        batch.send(&self.transmits[..self.used], &mut self.counters);
        self.used = 0;
    }

    /// Datagrams that the socket did not take so far.
    pub fn refused(&self) -> u64 {
        let reasons = [DropReason::SocketFull, DropReason::SendError];
        reasons.iter().map(|reason| self.counters.dropped(*reason)).sum()
    }
}

/// A batch's buffers around a socket that is never used, for [`UdpBatch::exchange`].
pub fn buffers() -> io::Result<UdpBatch> {
    UdpBatch::new(crate::shell::udp::bind_client()?, Vec::new())
}
