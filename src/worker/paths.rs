//! The addresses from which one peer's valid ICE checks came: how many there may be, which one
//! may be forgotten, and when media moves from one to another.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::mux::FourTuple;
use crate::base::bucket::Bucket;
use crate::base::counters::DropReason;
use crate::base::ids::WorkerId;
use crate::base::limits::{
    CHECKS_REMEMBERED, NEW_ADDRESSES, PATH_DEAD_AFTER, PATH_SILENT_AFTER, PEER_ADDRESSES_MAX,
    PEER_ADDRESSES_PER_UFRAG,
};
use crate::wire::stun::Check;

/// An address from which a valid ICE check came.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    pub tuple: FourTuple,
    /// The worker to which the kernel gives its datagrams.
    pub via: WorkerId,
    /// When its last check came.
    pub checked: Instant,
    /// When the last check or authenticated packet came.
    pub heard: Instant,
    /// Whether the last check nominated it, and whether any did.
    pub nominates: bool,
    pub nominated: bool,
    /// PRIORITY of its last check (RFC 8445 §7.1.1).
    pub priority: u32,
    /// `str0m` was told to ignore it; it must be told otherwise before it sees a check.
    pub set_aside: bool,
    /// When `str0m` answered a check on it; none once there is something new for it to see.
    pub shown: Option<Instant>,
}

impl Path {
    /// Whether `str0m` would forget the path if it saw neither the check that comes now nor the
    /// one after it, were that as far from it as it is from the last.
    fn fades(&self, now: Instant) -> bool {
        let gap = now.saturating_duration_since(self.checked);
        self.shown.is_none_or(|shown| now + 2 * gap >= shown + PATH_DEAD_AFTER)
    }
}

/// All of them.
#[derive(Debug)]
pub struct Paths {
    list: Vec<Path>,
    /// The first halves of the transaction ids of the last checks, oldest first.
    seen: VecDeque<u64>,
    /// New addresses since the ufrag was minted, each of which `str0m` keeps until a restart.
    admitted: usize,
    budget: Bucket,
}

/// What media should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Stay,
    /// Look again then.
    At(Instant),
    /// To that path.
    To(FourTuple),
}

impl Paths {
    /// None yet.
    pub fn new() -> Paths {
        let (list, seen) = (Vec::new(), VecDeque::new());
        Paths { list, seen, admitted: 0, budget: Bucket::default() }
    }

    /// A genuine check came on `tuple`: the path that gave way to it, if it is a new one and one
    /// had to; or why it must not reach `str0m`. `sends_to` never gives way.
    pub fn check(
        &mut self,
        tuple: FourTuple,
        via: WorkerId,
        check: &Check<'_>,
        sends_to: Option<FourTuple>,
        now: Instant,
    ) -> Result<Option<Path>, DropReason> {
        let [a, b, c, d, e, f, g, h, ..] = check.transaction;
        let id = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let known = self.list.iter_mut().find(|p| p.tuple == tuple);
        let is_new = known.is_none();
        let mut evicted = None;
        if let Some(path) = known {
            if path.nominates != check.nominates || check.controlled || path.fades(now) {
                path.shown = None;
            }
            path.checked = now;
            path.heard = path.heard.max(now);
            path.via = via;
            path.nominates = check.nominates;
            path.nominated |= check.nominates;
            path.priority = check.priority;
        } else {
            // A transaction is sent from one address (RFC 8489 §6.2.1).
            if self.seen.contains(&id) {
                return Err(DropReason::StunReplay);
            }
            evicted = self.admit(sends_to, now)?;
            let (nominates, nominated) = (check.nominates, check.nominates);
            let (checked, heard) = (now, now);
            self.list.push(Path {
                tuple,
                via,
                checked,
                heard,
                nominates,
                nominated,
                priority: check.priority,
                set_aside: false,
                shown: None,
            });
        }
        // Sent again by the client itself, it is the same transaction.
        if is_new || self.seen.back() != Some(&id) {
            if self.seen.len() >= CHECKS_REMEMBERED {
                self.seen.pop_front();
            }
            self.seen.push_back(id);
        }
        Ok(evicted)
    }

    /// Makes place for a new address.
    fn admit(
        &mut self,
        sends_to: Option<FourTuple>,
        now: Instant,
    ) -> Result<Option<Path>, DropReason> {
        let dead = |p: &Path| {
            now.saturating_duration_since(p.checked) >= PATH_DEAD_AFTER && Some(p.tuple) != sends_to
        };
        let full = self.list.len() >= PEER_ADDRESSES_MAX;
        let oldest = self.list.iter().enumerate().filter(|(_, p)| dead(p));
        let oldest = oldest.min_by_key(|(_, p)| p.checked).map(|(at, _)| at);
        if full && oldest.is_none()
            || self.admitted >= PEER_ADDRESSES_PER_UFRAG
            || !self.budget.take(now, NEW_ADDRESSES)
        {
            return Err(DropReason::AddressLimit);
        }
        self.admitted += 1;
        Ok(oldest.filter(|_| full).map(|at| self.list.swap_remove(at)))
    }

    /// An authenticated packet came on `tuple`.
    pub fn heard(&mut self, tuple: FourTuple, now: Instant) {
        if let Some(path) = self.get_mut(tuple) {
            path.heard = path.heard.max(now);
        }
    }

    /// When anything authenticated came last, on whatever path.
    pub fn last_heard(&self) -> Option<Instant> {
        self.list.iter().map(|p| p.heard).max()
    }

    /// When a check came last.
    pub fn last_checked(&self) -> Option<Instant> {
        self.list.iter().map(|p| p.checked).max()
    }

    /// When `str0m` last saw one of those that it need not see again.
    pub fn last_shown(&self) -> Option<Instant> {
        self.list.iter().filter_map(|p| p.shown).max()
    }

    /// Shows `str0m` the next check on each path, whatever it says.
    pub fn show_again(&mut self) {
        for path in &mut self.list {
            path.shown = None;
        }
    }

    /// The client has a new ufrag: `str0m` has forgotten all addresses, and old checks are no
    /// longer genuine. The paths stay bound, for media goes on until the new ones are checked.
    pub fn restart(&mut self) {
        self.seen.clear();
        self.admitted = 0;
        self.budget = Bucket::default();
        for path in &mut self.list {
            path.set_aside = false;
            path.nominated = false;
            path.shown = None;
        }
    }

    /// Where media should go that goes to `sends_to` now. As long as that path lives it stays
    /// there: whoever replays a check from elsewhere diverts nothing, and a client that checks
    /// from several addresses keeps the one that it chose. A path that is silent gives way to one
    /// that was checked since, and any to one that the client nominated and prefers (RFC 8445
    /// §8.1.1), unless the client says with each check which one it wants.
    pub fn weigh(&self, sends_to: FourTuple, now: Instant) -> Move {
        let chosen = self.list.iter().find(|p| p.tuple == sends_to);
        let others = || self.list.iter().filter(|p| p.tuple != sends_to && !p.set_aside);
        let Some(newest) = others().max_by_key(|p| p.checked) else {
            return Move::Stay;
        };
        let Some(chosen) = chosen else {
            return Move::To(newest.tuple);
        };
        let rank = |p: &Path| (p.nominated, p.priority);
        let best = others().filter(|p| p.nominated).max_by_key(|p| rank(p));
        if let Some(best) = best
            && rank(best) > rank(chosen)
            && (best.nominates || !chosen.nominates)
        {
            return Move::To(best.tuple);
        }
        let wanted = newest.nominates || !chosen.nominates;
        if newest.checked <= chosen.heard || !wanted || chosen.set_aside {
            return Move::Stay;
        }
        let due = chosen.heard + PATH_SILENT_AFTER;
        if due <= now { Move::To(newest.tuple) } else { Move::At(due) }
    }

    /// Sets aside every path that was silent before `tuple` was checked, and names them.
    pub fn set_aside_for(&mut self, tuple: FourTuple, now: Instant) -> Vec<SocketAddr> {
        let silent = |p: &&mut Path| {
            p.tuple != tuple
                && !p.set_aside
                && now.saturating_duration_since(p.heard) >= PATH_SILENT_AFTER
        };
        let silent = self.list.iter_mut().filter(silent);
        silent
            .map(|path| {
                path.set_aside = true;
                path.tuple.remote
            })
            .collect()
    }

    /// The path to a client's address, on whichever of ours.
    pub fn by_remote(&self, remote: SocketAddr) -> Option<FourTuple> {
        self.list.iter().map(|p| p.tuple).find(|tuple| tuple.remote == remote)
    }

    /// The path on `tuple`.
    pub fn get_mut(&mut self, tuple: FourTuple) -> Option<&mut Path> {
        self.list.iter_mut().find(|p| p.tuple == tuple)
    }

    /// Another peer owns `tuple` now.
    pub fn remove(&mut self, tuple: FourTuple) {
        self.list.retain(|p| p.tuple != tuple);
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Path> {
        self.list.iter()
    }

    /// Panics if a bound does not hold.
    pub fn check_invariants(&self) {
        assert!(self.list.len() <= PEER_ADDRESSES_MAX);
        assert!(self.seen.len() <= CHECKS_REMEMBERED);
        assert!(self.admitted <= PEER_ADDRESSES_PER_UFRAG);
    }
}

/// How long a peer of whom nothing was heard keeps its 4-tuple from another: longer than between
/// two packets of one that is at work, shorter than a port is kept from reuse.
pub const TUPLE_KEPT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
