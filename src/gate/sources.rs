//! Where connections come from, and how much each source may do.
//!
//! A source is an IPv4 address or an IPv6 /64, which is what one customer gets. It has an entry
//! while it has connections or has used up some of its rates; then nothing of it is left.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use super::{ConnId, Gate, GateOutput};
use crate::base::bucket::Bucket;
use crate::base::deadlines::Deadlines;
use crate::base::limits::{CONNS_PER_SOURCE, CONNS_PER_SOURCE_MAX, JOINS_PER_SOURCE, SOURCES_MAX};

/// Why a connection was closed before its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TurnedAway {
    /// There are as many connections as there may be.
    Full,
    /// Its source has as many as one may have.
    SourceFull,
    /// Its source opened too many in too little time.
    SourceRate,
}

impl TurnedAway {
    /// As it stands in metrics.
    pub fn label(self) -> &'static str {
        match self {
            TurnedAway::Full => "full",
            TurnedAway::SourceFull => "source_full",
            TurnedAway::SourceRate => "source_rate",
        }
    }
}

/// All sources, and whose each connection is.
#[derive(Debug)]
pub(super) struct Sources {
    exempt: Vec<IpAddr>,
    conns: HashMap<ConnId, IpAddr>,
    by_key: HashMap<IpAddr, Source>,
    /// Those without connections, by the time at which their rates are whole again.
    resting: Deadlines<IpAddr>,
}

#[derive(Debug, Default)]
struct Source {
    conns: usize,
    opened: Bucket,
    joined: Bucket,
}

impl Sources {
    pub fn new(exempt: Vec<IpAddr>) -> Sources {
        Sources {
            exempt,
            conns: HashMap::new(),
            by_key: HashMap::new(),
            resting: Deadlines::default(),
        }
    }

    /// Sources that are remembered.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Where a connection comes from.
    pub fn of(&self, conn: ConnId) -> Option<IpAddr> {
        self.conns.get(&conn).copied()
    }

    /// When [`Sources::forget`] has something to do.
    pub fn next(&self) -> Option<Instant> {
        self.resting.next()
    }

    /// Forgets those that have rested.
    pub fn forget(&mut self, now: Instant) {
        while let Some(key) = self.resting.pop_due(now) {
            self.by_key.remove(&key);
        }
    }

    /// Notes a connection, unless its source may have no more.
    pub fn open(&mut self, now: Instant, conn: ConnId, remote: IpAddr) -> Result<(), TurnedAway> {
        let remote = remote.to_canonical();
        if self.exempt.contains(&remote) {
            self.conns.insert(conn, remote);
            return Ok(());
        }
        let key = key_of(remote);
        let source = self.by_key.entry(key).or_default();
        let result = if source.conns >= CONNS_PER_SOURCE_MAX {
            Err(TurnedAway::SourceFull)
        } else if !source.opened.take(now, CONNS_PER_SOURCE) {
            Err(TurnedAway::SourceRate)
        } else {
            source.conns += 1;
            self.conns.insert(conn, remote);
            Ok(())
        };
        self.rest(now, key);
        self.make_room();
        result
    }

    /// The connection is gone.
    pub fn close(&mut self, now: Instant, conn: ConnId) {
        let Some(remote) = self.conns.remove(&conn) else {
            return;
        };
        let key = key_of(remote);
        // None when exempt.
        if let Some(source) = self.by_key.get_mut(&key) {
            source.conns -= 1;
            self.rest(now, key);
        }
    }

    /// Takes one session from what the connection's source may begin; false when that is used up.
    pub fn join(&mut self, now: Instant, conn: ConnId) -> bool {
        let source = self.of(conn).and_then(|remote| self.by_key.get_mut(&key_of(remote)));
        source.is_none_or(|source| source.joined.take(now, JOINS_PER_SOURCE))
    }

    /// Arms the time at which a source is forgotten; none while it has connections.
    fn rest(&mut self, now: Instant, key: IpAddr) {
        let Some(source) = self.by_key.get(&key) else {
            return;
        };
        if source.conns > 0 {
            self.resting.clear(key);
        } else {
            let rested = source.opened.full_at(now).max(source.joined.full_at(now));
            self.resting.set(key, rested);
        }
    }

    /// Those with connections stay: they are fewer than [`SOURCES_MAX`], as connections are.
    fn make_room(&mut self) {
        while self.by_key.len() > SOURCES_MAX
            && let Some(key) = self.resting.pop_first()
        {
            self.by_key.remove(&key);
        }
    }

    pub fn check_invariants(&self) {
        debug_assert!(self.by_key.len() <= SOURCES_MAX);
        debug_assert!(self.resting.len() <= self.by_key.len());
        debug_assert!(self.by_key.len() <= self.resting.len() + self.conns.len());
    }
}

/// The address whose limits count.
fn key_of(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => remote,
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

impl Gate {
    /// A connection was accepted.
    pub(super) fn opened(&mut self, now: Instant, conn: ConnId, remote: IpAddr) {
        match self.sources.open(now, conn, remote) {
            Ok(()) => self.counters.opened += 1,
            Err(why) => {
                self.counters.turned_away(why);
                self.out.push_back(GateOutput::TurnAway { conn });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn a_network_of_one_customer_is_one_source() {
        let same =
            ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"].map(|ip| key_of(ip.parse().unwrap()));
        assert_eq!(same[0], same[1]);
        assert_ne!(key_of("2001:db8:1:3::1".parse().unwrap()), same[0]);
        assert_ne!(key_of(v4(1)), key_of(v4(2)));
    }

    #[test]
    fn a_source_is_limited_alone_and_forgotten_once_rested() {
        let mut sources = Sources::new(Vec::new());
        let mut now = Instant::now();
        let (mut opened, mut refused) = (Vec::new(), 0);
        for i in 0..2_000 {
            match sources.open(now, ConnId(i), v4(1)) {
                Ok(()) => opened.push(ConnId(i)),
                Err(why) => {
                    assert_eq!(why, TurnedAway::SourceRate);
                    refused += 1;
                }
            }
        }
        assert_eq!(opened.len(), CONNS_PER_SOURCE.burst as usize);
        assert_eq!(opened.len() + refused, 2_000);
        assert!(sources.open(now, ConnId(9_000), v4(2)).is_ok(), "another source is not touched");
        let first = opened[0];
        let joins = (0..2_000).filter(|_| sources.join(now, first)).count();
        assert_eq!(joins, JOINS_PER_SOURCE.burst as usize);
        // Those with connections are kept, however long.
        now += Duration::from_secs(3_600);
        sources.forget(now);
        assert_eq!((sources.len(), sources.next()), (2, None));
        for conn in opened.into_iter().chain([ConnId(9_000)]) {
            sources.close(now, conn);
            sources.check_invariants();
        }
        sources.forget(now);
        assert_eq!(sources.len(), 0);
        assert!(sources.conns.is_empty());
    }

    #[test]
    fn no_source_takes_all_connections() {
        let mut sources = Sources::new(Vec::new());
        let mut now = Instant::now();
        let mut last = Ok(());
        for i in 0..=CONNS_PER_SOURCE_MAX as u64 {
            last = sources.open(now, ConnId(i), v4(1));
            now += CONNS_PER_SOURCE.interval;
        }
        assert_eq!(last, Err(TurnedAway::SourceFull));
        sources.close(now, ConnId(7));
        assert!(sources.open(now, ConnId(1 << 40), v4(1)).is_ok());
    }

    #[test]
    fn a_full_table_locks_nobody_out_and_keeps_who_is_connected() {
        let mut sources = Sources::new(Vec::new());
        let now = Instant::now();
        sources.open(now, ConnId(0), v4(0)).unwrap();
        for i in 1..3 * SOURCES_MAX as u64 {
            sources.open(now, ConnId(i), v4(i as u32)).unwrap();
            sources.close(now, ConnId(i));
            sources.check_invariants();
        }
        assert_eq!(sources.len(), SOURCES_MAX);
        assert!(sources.by_key.contains_key(&v4(0)));
        sources.forget(now + Duration::from_secs(60));
        assert_eq!(sources.len(), 1);
    }

    #[test]
    fn a_proxy_may_be_exempt() {
        let mut sources = Sources::new(vec![v4(1)]);
        let now = Instant::now();
        let mapped = Ipv4Addr::from(0x0a00_0001).to_ipv6_mapped().into();
        for i in 0..2_000 {
            sources.open(now, ConnId(i), mapped).unwrap();
            assert!(sources.join(now, ConnId(i)));
        }
        assert_eq!((sources.len(), sources.of(ConnId(3))), (0, Some(v4(1))));
        sources.close(now, ConnId(3));
        assert_eq!(sources.of(ConnId(3)), None);
    }
}
