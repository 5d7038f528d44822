//! Deadlines against a plain map.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::deadlines::Deadlines;

#[derive(Debug, Arbitrary)]
enum Step {
    Set { key: u8, ms: u16 },
    Clear { key: u8 },
    Pass { ms: u16 },
    PopDue,
}

pub fn check(data: &[u8]) {
    let mut now = super::start();
    let mut deadlines = Deadlines::default();
    let mut model: BTreeMap<u8, Instant> = BTreeMap::new();
    for step in super::steps(data) {
        match step {
            Step::Set { key, ms } => {
                let at = now + Duration::from_millis(ms.into());
                deadlines.set(key, at);
                model.insert(key, at);
            }
            Step::Clear { key } => {
                deadlines.clear(key);
                model.remove(&key);
            }
            Step::Pass { ms } => now += Duration::from_millis(ms.into()),
            Step::PopDue => {
                let first = model.iter().map(|(key, at)| (*at, *key)).min();
                let due = first.filter(|(at, _)| *at <= now).map(|(_, key)| key);
                assert_eq!(deadlines.pop_due(now), due);
                due.map(|key| model.remove(&key));
            }
        }
        assert_eq!(deadlines.next(), model.values().min().copied());
        assert_eq!((deadlines.len(), deadlines.is_empty()), (model.len(), model.is_empty()));
    }
}
