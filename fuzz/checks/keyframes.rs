//! Keyframe requests: never unasked, never closer than their interval, and always asked again
//! until one came.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::limits::KEYFRAME_REQUEST_INTERVAL;
use trackyard::media::keyframes::KeyframeRequests;

#[derive(Debug, Arbitrary)]
enum Step {
    Want,
    Arrived,
    /// A request was due and there was nobody to ask.
    Unheard,
    Pass {
        ms: u16,
    },
    Poll,
    /// Sleep until the deadline, as the worker does, and poll.
    Due,
}

pub fn check(data: &[u8]) {
    let mut now = super::start();
    let mut requests = KeyframeRequests::default();
    let mut wanted = false;
    // Earliest time of the next request.
    let mut open_at: Option<Instant> = None;
    for step in super::steps(data) {
        match step {
            Step::Want => {
                requests.want();
                wanted = true;
            }
            Step::Arrived => {
                requests.arrived();
                wanted = false;
            }
            Step::Unheard => {
                let due = wanted && open_at.is_none_or(|at| at <= now);
                assert_eq!(requests.is_due(now), due);
            }
            Step::Pass { ms } => now += Duration::from_millis(ms.into()),
            Step::Poll | Step::Due => {
                if matches!(step, Step::Due) {
                    now = now.max(requests.deadline(now).unwrap_or(now));
                }
                let asks = wanted && open_at.is_none_or(|at| at <= now);
                assert_eq!(requests.is_due(now), asks, "at {step:?}");
                if asks {
                    requests.asked(now);
                    open_at = Some(now + KEYFRAME_REQUEST_INTERVAL);
                }
                assert!(!requests.is_due(now), "twice at once");
            }
        }
        let due = wanted.then(|| open_at.map_or(now, |at| at));
        assert_eq!(requests.deadline(now), due);
    }
}
