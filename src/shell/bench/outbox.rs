//! Datagrams on their way to a socket, in memory that is used again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::base::counters::{Counters, DropReason};
use crate::shell::udp::UdpBatch;
use crate::worker::Transmits;

/// What leaves with the next call.
#[derive(Default)]
pub struct Outbox {
    transmits: Transmits,
    /// Where the last one goes, while it is being written.
    open: Option<SocketAddr>,
    counters: Counters,
}

impl Outbox {
    /// A place for a datagram: it begins at the index and ends where the buffer does.
    pub fn begin(&mut self, remote: SocketAddr) -> (&mut Vec<u8>, usize) {
        self.close();
        self.open = Some(remote);
        let start = self.transmits.end();
        (self.transmits.arena(), start)
    }

    fn close(&mut self) {
        if let Some(remote) = self.open.take() {
            self.transmits.finish(IpAddr::V4(Ipv4Addr::LOCALHOST), remote);
        }
    }

    /// Datagrams that wait.
    pub fn len(&self) -> usize {
        self.transmits.list().len() + usize::from(self.open.is_some())
    }

    /// Sends all as the server does: those to one address in a row as one message.
    pub fn send(&mut self, batch: &mut UdpBatch) {
        self.close();
        batch.send(&self.transmits, &mut self.counters);
        self.transmits.clear();
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
