//! Deadlines by key: set, move, take what is due. One per key.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// The deadlines of one worker. Everything is O(log n).
#[derive(Debug)]
pub struct Deadlines<K> {
    by_key: HashMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K: Copy + Ord + Hash> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines { by_key: HashMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        if let Some(old) = self.by_key.insert(key, at) {
            if old == at {
                return;
            }
            self.by_time.remove(&(old, key));
        }
        self.by_time.insert((at, key));
        debug_assert_eq!(self.by_key.len(), self.by_time.len());
    }

    /// Forgets `key`; harmless if it has no deadline.
    pub fn clear(&mut self, key: K) {
        if let Some(old) = self.by_key.remove(&key) {
            self.by_time.remove(&(old, key));
        }
    }

    /// All that have a deadline, earliest first.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.by_time.iter().map(|(_, key)| *key)
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Removes and returns one key whose deadline is not later than `now`, earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.by_time.pop_first();
        self.by_key.remove(&key);
        Some(key)
    }

    /// Removes and returns the key with the earliest deadline, due or not.
    pub fn pop_first(&mut self) -> Option<K> {
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// How many keys have a deadline.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether no key has a deadline.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn moved_deadlines_fire_once_and_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut d = Deadlines::default();
        d.set('a', at(30));
        d.set('b', at(10));
        d.set('a', at(5));
        d.set('c', at(40));
        d.clear('c');
        assert_eq!(d.next(), Some(at(5)));
        assert_eq!(d.pop_due(at(20)), Some('a'));
        assert_eq!(d.pop_due(at(20)), Some('b'));
        assert_eq!(d.pop_due(at(60)), None);
        assert!(d.is_empty());
    }
}
