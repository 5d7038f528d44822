//! Deadlines by key: set, move, take what is due. One per key.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// The deadlines of one worker. Everything is O(log n), most of it at once; once there was room for
/// all, nothing is allocated.
#[derive(Debug)]
pub struct Deadlines<K> {
    by_key: HashMap<K, Instant>,
    /// The earliest first. What was moved or forgotten stays until it comes up, or until there is
    /// more of that than of the others; it never comes first.
    by_time: BinaryHeap<Reverse<(Instant, K)>>,
}

/// So many that are no deadlines any more are of no consequence.
const STALE_MIN: usize = 64;

impl<K: Copy + Ord + Hash> Default for Deadlines<K> {
    fn default() -> Self {
        Deadlines { by_key: HashMap::new(), by_time: BinaryHeap::new() }
    }
}

impl<K: Copy + Ord + Hash> Deadlines<K> {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: K, at: Instant) {
        if self.by_key.insert(key, at) == Some(at) {
            return;
        }
        self.by_time.push(Reverse((at, key)));
        self.tidy();
    }

    /// Forgets `key`; harmless if it has no deadline.
    pub fn clear(&mut self, key: K) {
        if self.by_key.remove(&key).is_some() {
            self.tidy();
        }
    }

    /// Sees to it that the first is a deadline, and that not too many are none.
    fn tidy(&mut self) {
        if self.by_time.len() > 2 * self.by_key.len() + STALE_MIN {
            let by_key = &self.by_key;
            self.by_time.retain(|Reverse((at, key))| by_key.get(key) == Some(at));
            // One that was moved there and back stands here twice.
            if self.by_time.len() > self.by_key.len() {
                self.by_time.clear();
                self.by_time.extend(by_key.iter().map(|(key, at)| Reverse((*at, *key))));
            }
        }
        while let Some(Reverse((at, key))) = self.by_time.peek()
            && self.by_key.get(key) != Some(at)
        {
            self.by_time.pop();
        }
    }

    /// All that have a deadline, in no order.
    pub fn keys(&self) -> impl Iterator<Item = K> {
        self.by_key.keys().copied()
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.by_time.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes and returns one key whose deadline is not later than `now`, earliest first.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        self.next().filter(|at| *at <= now)?;
        self.pop_first()
    }

    /// Removes and returns the key with the earliest deadline, due or not.
    pub fn pop_first(&mut self) -> Option<K> {
        let Reverse((_, key)) = self.by_time.pop()?;
        self.by_key.remove(&key);
        self.tidy();
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

    #[test]
    fn what_was_moved_leaves_nothing() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut d = Deadlines::default();
        for round in 0..10_000u64 {
            d.set(round % 10, at(round % 7));
            d.set(round % 3, at(20 + round % 5));
            if round % 11 == 0 {
                d.clear(round % 10);
            }
            assert!(d.by_time.len() <= 2 * d.len() + STALE_MIN);
        }
        let mut left: Vec<u64> = d.keys().collect();
        let mut last = start;
        while let Some(next) = d.next() {
            assert!(next >= last);
            last = next;
            let key = d.pop_first().unwrap();
            left.retain(|other| *other != key);
        }
        assert!(left.is_empty() && d.is_empty());
    }
}
