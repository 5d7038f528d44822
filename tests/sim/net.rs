//! The network between clients and server: a link for each client with delay, loss and the like,
//! behind a NAT that may forget its mappings.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// Names a client for the length of a run.
pub type ClientId = u32;

/// What happens to a client's datagrams. Probabilities are in 1/1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quality {
    pub delay: Duration,
    pub jitter: Duration,
    pub loss: u32,
    pub duplication: u32,
    pub reorder: u32,
}

impl Quality {
    pub const GOOD: Quality = Quality {
        delay: Duration::from_millis(12),
        jitter: Duration::from_millis(1),
        loss: 0,
        duplication: 0,
        reorder: 0,
    };
}

/// From a client, or to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    Up,
    Down,
}

/// One client's way to the world.
#[derive(Debug)]
pub struct Link {
    pub quality: Quality,
    /// Nothing passes, in either direction, since then.
    pub cut: Option<Instant>,
    /// Nothing passes on UDP.
    pub udp_blocked: bool,
    /// When the last datagram arrives that keeps its place.
    pub latest: BTreeMap<Way, Instant>,
    /// Public address of each local one.
    nat: BTreeMap<SocketAddr, SocketAddr>,
}

#[derive(Debug, Default)]
pub struct Net {
    links: BTreeMap<ClientId, Link>,
    /// Public address to the client and its local address.
    public: BTreeMap<SocketAddr, (ClientId, SocketAddr)>,
    ports: u32,
}

impl Net {
    /// Connects a client.
    pub fn add(&mut self, id: ClientId) {
        let quality = Quality::GOOD;
        let nat = BTreeMap::new();
        let latest = BTreeMap::new();
        let link = Link { quality, cut: None, udp_blocked: false, latest, nat };
        self.links.insert(id, link);
    }

    /// The client is gone with all its mappings.
    pub fn remove(&mut self, id: ClientId) {
        self.links.remove(&id);
        self.public.retain(|_, (owner, _)| *owner != id);
    }

    pub fn link(&self, id: ClientId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub fn link_mut(&mut self, id: ClientId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// What the server sees of a local address, mapped when new.
    pub fn outward(&mut self, id: ClientId, local: SocketAddr) -> Option<SocketAddr> {
        let link = self.links.get_mut(&id)?;
        let ports = &mut self.ports;
        let public = *link.nat.entry(local).or_insert_with(|| fresh(ports));
        self.public.insert(public, (id, local));
        Some(public)
    }

    /// Whose a public address is.
    pub fn inward(&self, public: SocketAddr) -> Option<(ClientId, SocketAddr)> {
        self.public.get(&public).copied()
    }

    /// The NAT forgets: what leaves next has another public address, what comes to the old is lost.
    pub fn rebind(&mut self, id: ClientId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.nat.clear();
        }
        self.public.retain(|_, (owner, _)| *owner != id);
    }

    /// An address that nobody else has, for whoever forges one.
    pub fn forged(&mut self) -> SocketAddr {
        fresh(&mut self.ports)
    }
}

fn fresh(ports: &mut u32) -> SocketAddr {
    *ports += 1;
    let host = Ipv4Addr::new(198, 18, (*ports >> 14) as u8, (*ports >> 6) as u8);
    SocketAddr::new(host.into(), 1_024 + (*ports % 60_000) as u16)
}
