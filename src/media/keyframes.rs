//! When to ask a publisher for a keyframe: merged over all who need one, throttled, and asked
//! again until one came.

use std::time::{Duration, Instant};

use crate::base::limits::KEYFRAME_REQUEST_INTERVAL;

/// The keyframe requests of one publisher's stream.
#[derive(Debug, Default)]
pub struct KeyframeRequests {
    /// Somebody needs one, and none has come since.
    wanted: bool,
    /// When the last request left; requests are at least [`KEYFRAME_REQUEST_INTERVAL`] apart.
    asked: Option<Instant>,
}

impl KeyframeRequests {
    /// Somebody needs a keyframe that begins after now.
    pub fn want(&mut self) {
        self.wanted = true;
    }

    /// The first packet of a keyframe came: all who waited have it. Whoever needs one from here
    /// on (a subscriber that missed this very one) says so again.
    pub fn arrived(&mut self) {
        self.wanted = false;
    }

    /// Whether to ask the publisher now.
    pub fn is_due(&self, now: Instant) -> bool {
        self.deadline(now).is_some_and(|at| at <= now)
    }

    /// A request left for the publisher.
    pub fn asked(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// When [`Self::is_due`] next says yes.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        if !self.wanted {
            return None;
        }
        Some(self.asked.map_or(now, |asked| asked + KEYFRAME_REQUEST_INTERVAL))
    }
}

/// How long a waiting subscription trusts that its request is under way before it says it again,
/// so that a letter lost in a full mailbox costs no black picture.
pub const REPEAT_AFTER: Duration = KEYFRAME_REQUEST_INTERVAL;

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(requests: &mut KeyframeRequests, now: Instant) -> bool {
        let due = requests.is_due(now);
        if due {
            requests.asked(now);
        }
        due
    }

    #[test]
    fn many_wants_are_one_request_until_it_is_answered() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(!poll(&mut requests, start));
        for _ in 0..200 {
            requests.want();
        }
        assert!(poll(&mut requests, start));
        assert!(!poll(&mut requests, start));
        let again = start + KEYFRAME_REQUEST_INTERVAL;
        assert_eq!(requests.deadline(start), Some(again));
        assert!(poll(&mut requests, again), "asked again until one came");
        requests.arrived();
        assert_eq!(requests.deadline(again), None);
    }

    #[test]
    fn a_want_just_after_a_keyframe_waits_for_the_interval() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        requests.want();
        assert!(poll(&mut requests, start));
        requests.arrived();
        requests.want();
        assert!(!poll(&mut requests, start + Duration::from_millis(1)));
        assert!(poll(&mut requests, start + KEYFRAME_REQUEST_INTERVAL));
    }
}
