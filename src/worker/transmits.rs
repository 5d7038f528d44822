//! What leaves, as one stretch of bytes: packets are built and sealed where they are sent from, and
//! several of one size to one address are one piece for the kernel already.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// A datagram to send; its bytes are in the [`Transmits`] that it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The address that it leaves from.
    pub local: IpAddr,
    pub remote: SocketAddr,
    /// Each begins where the one before it ends.
    pub bytes: Range<usize>,
}

/// A datagram with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub local: IpAddr,
    pub remote: SocketAddr,
    pub bytes: Vec<u8>,
}

/// Datagrams to send, in order.
#[derive(Debug, Default)]
pub struct Transmits {
    arena: Vec<u8>,
    list: Vec<Transmit>,
}

impl Transmits {
    /// Appends a datagram that is ready.
    pub fn push(&mut self, local: IpAddr, remote: SocketAddr, bytes: &[u8]) {
        self.arena.extend_from_slice(bytes);
        self.finish(local, remote);
    }

    /// Where the next datagram is built, by appending: what is there already is sent, and must
    /// stay. [`Transmits::finish`] makes it leave, [`Transmits::abandon`] takes it away.
    pub fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.arena
    }

    /// What was appended to the arena is a datagram; gives its length.
    pub fn finish(&mut self, local: IpAddr, remote: SocketAddr) -> usize {
        let bytes = self.end()..self.arena.len();
        let count = bytes.len();
        self.list.push(Transmit { local, remote, bytes });
        count
    }

    /// What was appended to the arena is not sent.
    pub fn abandon(&mut self) {
        self.arena.truncate(self.end());
    }

    /// Where the next datagram begins.
    pub fn end(&self) -> usize {
        self.list.last().map_or(0, |last| last.bytes.end)
    }

    /// All of them.
    pub fn list(&self) -> &[Transmit] {
        &self.list
    }

    /// The bytes of some that follow each other.
    pub fn bytes(&self, of: Range<usize>) -> &[u8] {
        self.arena.get(of).unwrap_or_default()
    }

    /// They have left. The memory stays for the next ones.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.list.clear();
    }

    /// Takes all away, each with its bytes. For tests and simulation.
    pub fn take(&mut self) -> Vec<Datagram> {
        let datagrams = self.list.iter().map(|t| Datagram {
            local: t.local,
            remote: t.remote,
            bytes: self.bytes(t.bytes.clone()).to_vec(),
        });
        let datagrams = datagrams.collect();
        self.clear();
        datagrams
    }
}
