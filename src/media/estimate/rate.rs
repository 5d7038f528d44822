//! The rate: up slowly while nothing waits, down at once to below what arrives
//! (draft-ietf-rmcat-gcc-02 §5.5; `libwebrtc`'s `AimdRateControl` and `LinkCapacityEstimator`).

use std::time::{Duration, Instant};

use super::Usage;
use crate::base::bitrate::Bitrate;
use crate::base::limits::{ESTIMATE_MAX, ESTIMATE_MIN, ESTIMATE_START};

/// On overuse, the rate becomes so much of what arrives (draft §5.5, β). Higher empties the
/// queue more slowly; lower wastes more of the link.
pub const DECREASE: f64 = 0.85;
/// While the capacity is unknown, up by this factor a second (draft §5.5, η). Higher finds it
/// sooner and overshoots by more; probes do that better.
const INCREASE_PER_SECOND: f64 = 1.08;
/// Near the capacity, up by a packet for each time that it takes to notice: two round trips and
/// twice so long (`libwebrtc`, `GetNearMaxIncreaseRateBpsPerSecond`).
const NOTICE: Duration = Duration::from_millis(100);
/// A packet there, at most.
const PACKET_BYTES: u64 = 1_200;
/// And at least so many bits per second each second.
const ADDED_MIN: Bitrate = Bitrate::from_kbps(4);
/// No rise beyond so much of what arrives (draft §5.5), and a bit (`libwebrtc`, 10 kbit/s). Higher
/// believes more that was not tried; lower rises not at all between two uneven pictures.
const ACKED_TIMES_MAX: f64 = 1.5;
const ACKED_SPARE: Bitrate = Bitrate::from_kbps(10);
/// The rate goes down again after a round trip, within these (`libwebrtc`,
/// `TimeToReduceFurther`). Sooner takes what was sent before for what the link carries; later lets
/// the queue grow, and takes more than its share of a link.
const DECREASE_AFTER_MIN: Duration = Duration::from_millis(10);
const DECREASE_AFTER_MAX: Duration = Duration::from_millis(200);
/// But at once, where less arrives than this share of it (`libwebrtc`, `TimeToReduceFurther`, half);
/// and while a queue grows fast this: then what arrives is known late. Higher takes what was sent
/// before for the link.
const FAR: f64 = 0.5;
const FAR_RUSHING: f64 = 0.9;
/// While less is sent than may be, a queue that grows for less than this may be others', who back
/// off as well: then the rate comes down without that less can be sent than is, a bit above it.
/// Longer and more leave the link to who fills it later; shorter and less drop a layer whenever
/// another flow finds the end of the link.
const OTHERS_WITHIN: Duration = Duration::from_millis(350);
const SENT_SPARE: f64 = 1.1;
/// A queue beyond this is emptied by sending less still: such that it would be empty in so long, but
/// never less than this share of what arrives. A link that fell to an eighth has a second of packets
/// before it when that shows, and at [`DECREASE`] alone would have them for seven more. Longer and
/// higher delay the picture; shorter and lower make it stop.
const DRAIN_BEYOND: Duration = Duration::from_millis(60);
const DRAIN_IN: Duration = Duration::from_millis(1_500);
const DRAIN_SHARE_MIN: f64 = 0.1;
/// It is empty below this.
const DRAINED: Duration = Duration::from_millis(25);
/// While so much waits, nothing rises, even when no more is added.
const HOLD_BEYOND: Duration = Duration::from_millis(100);
/// Weight of what arrives at overuse, and of a probe, in the capacity (`libwebrtc`,
/// `LinkCapacityEstimator`).
const CAPACITY_WEIGHT: f64 = 0.05;
const CAPACITY_WEIGHT_PROBE: f64 = 0.5;
/// Bounds of its variance, in kbit/s, and how many standard deviations away it is another link
/// (the same).
const VARIANCE_MIN: f64 = 0.4;
const VARIANCE_MAX: f64 = 2.5;
const DEVIATIONS: f64 = 3.0;

/// What may be sent, by delay and what arrives.
#[derive(Debug, Default)]
pub struct Rate {
    current: Current,
    state: State,
    capacity: Capacity,
    /// When it last rose or could have, and went down.
    changed: Option<Instant>,
    lowered: Option<Instant>,
    /// Since when a queue grows.
    over_since: Option<Instant>,
    /// Where it goes when the queue that is being emptied is empty.
    drained: Option<Bitrate>,
}

#[derive(Debug, Clone, Copy)]
struct Current(Bitrate);

impl Default for Current {
    fn default() -> Current {
        Current(ESTIMATE_START)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Hold,
    Increase,
}

/// What the path shows at one feedback.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub usage: Usage,
    /// Over half a second, and over the last moments.
    pub acked: Option<Bitrate>,
    pub busy: Option<Bitrate>,
    pub standing: Duration,
    /// And it grows faster than any noise.
    pub rushes: bool,
    pub round_trip: Duration,
    /// The application sends less than it may.
    pub is_limited: bool,
    /// More is lost than the path loses by itself.
    pub is_lossy: bool,
}

impl Rate {
    pub fn current(&self) -> Bitrate {
        self.current.0
    }

    /// And when the queue that is being emptied is empty.
    pub fn settled(&self) -> Bitrate {
        self.drained.map_or(self.current.0, |drained| drained.max(self.current.0))
    }

    /// When it last went down.
    pub fn lowered(&self) -> Option<Instant> {
        self.lowered
    }

    pub fn set(&mut self, rate: Bitrate) {
        self.current = Current(rate.clamp(ESTIMATE_MIN, ESTIMATE_MAX));
    }

    /// A feedback was heard.
    pub fn update(&mut self, now: Instant, seen: &Seen) {
        if seen.usage != Usage::Over {
            self.over_since = None;
        }
        match seen.usage {
            Usage::Over => self.decrease(now, seen),
            // The queue gets shorter: it shall be empty before more is sent.
            Usage::Under => self.hold(now),
            Usage::Normal if seen.standing > HOLD_BEYOND || seen.is_lossy => self.hold(now),
            Usage::Normal if self.state == State::Hold => {
                self.state = State::Increase;
                self.changed = Some(now);
            }
            Usage::Normal => self.increase(now, seen),
        }
        if seen.standing < DRAINED
            && let Some(rate) = self.drained.take()
        {
            self.set(rate.max(self.current.0));
        }
    }

    fn hold(&mut self, now: Instant) {
        self.state = State::Hold;
        self.changed = Some(now);
    }

    fn increase(&mut self, now: Instant, seen: &Seen) {
        let since = now.saturating_duration_since(self.changed.replace(now).unwrap_or(now));
        let since = since.as_secs_f64().min(1.0);
        let Some(acked) = seen.acked else { return };
        if self.capacity.is_below(acked) {
            self.capacity = Capacity::default();
        }
        let limit = acked.scale(ACKED_TIMES_MAX) + ACKED_SPARE;
        // What is not sent is not tried. What a probe found beyond the limit stays.
        if seen.is_limited || self.current.0 >= limit {
            return;
        }
        let added = match self.capacity.is_known() {
            true => self.added_near_capacity(seen.round_trip).scale(since),
            false => self.current.0.scale(INCREASE_PER_SECOND.powf(since) - 1.0),
        };
        self.set((self.current.0 + added).min(limit));
    }

    /// Bits per second each second: a packet of a picture at 30 a second in the time that it takes
    /// to notice a queue.
    fn added_near_capacity(&self, round_trip: Duration) -> Bitrate {
        let picture = self.current.0.bytes_in(Duration::from_secs(1) / 30);
        let packets = picture.div_ceil(PACKET_BYTES).max(1);
        Bitrate::of(picture / packets, 2 * (round_trip + NOTICE)).max(ADDED_MIN)
    }

    fn decrease(&mut self, now: Instant, seen: &Seen) {
        let after = seen.round_trip.clamp(DECREASE_AFTER_MIN, DECREASE_AFTER_MAX);
        let arrives = seen.busy.or(seen.acked);
        let is_soon = self.lowered.is_some_and(|at| now.saturating_duration_since(at) < after);
        let far = if seen.rushes { FAR_RUSHING } else { FAR };
        let is_far = arrives.is_some_and(|rate| rate < self.current.0.scale(far));
        if is_soon && !is_far {
            return;
        }
        let over_since = *self.over_since.get_or_insert(now);
        if arrives.is_some_and(|rate| rate < self.current.0.scale(DECREASE))
            && now.saturating_duration_since(over_since) < OTHERS_WITHIN
            && seen.standing < DRAIN_BEYOND
        {
            // What is sent is not the rate: first that comes down, to a bit above what is sent.
            let arrives = arrives.unwrap_or_default().scale(SENT_SPARE);
            self.lower(now, arrives.max(self.current.0.scale(DECREASE)));
            return self.hold(now);
        }
        // Without knowing what arrives, half (`libwebrtc`, on overuse before any throughput).
        let arrives = arrives.unwrap_or(self.current.0.scale(0.5));
        if self.capacity.is_above(arrives) {
            self.capacity = Capacity::default();
        }
        self.capacity.seen(arrives, CAPACITY_WEIGHT);
        let waiting = seen.standing.saturating_sub(DRAIN_BEYOND).as_secs_f64();
        let drain = waiting / DRAIN_IN.as_secs_f64();
        let share = (DECREASE - drain).max(DRAIN_SHARE_MIN);
        self.lower(now, arrives.scale(share));
        self.drained = (drain > 0.0).then(|| arrives.scale(DECREASE));
        self.hold(now);
    }

    /// Never up.
    pub fn lower(&mut self, now: Instant, rate: Bitrate) {
        if rate < self.current.0 {
            self.set(rate);
            self.lowered = Some(now);
        }
    }

    /// A probe found so much.
    pub fn probed(&mut self, now: Instant, rate: Bitrate, is_capacity: bool) {
        self.set(rate.max(self.current.0));
        self.changed = Some(now);
        if is_capacity {
            self.capacity.seen(rate, CAPACITY_WEIGHT_PROBE);
        } else if self.capacity.is_below(rate) {
            self.capacity = Capacity::default();
        }
    }
}

/// What the link carries, as it showed when it was too much; in kbit/s.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    mean: Option<f64>,
    /// As a share of the mean.
    variance: f64,
}

impl Default for Capacity {
    fn default() -> Capacity {
        Capacity { mean: None, variance: VARIANCE_MIN }
    }
}

impl Capacity {
    fn is_known(&self) -> bool {
        self.mean.is_some()
    }

    fn seen(&mut self, rate: Bitrate, weight: f64) {
        let rate = rate.bps() as f64 / 1e3;
        let mean = self.mean.map_or(rate, |mean| (1.0 - weight) * mean + weight * rate);
        self.mean = Some(mean);
        let off = mean - rate;
        let variance = (1.0 - weight) * self.variance + weight * off * off / mean.max(1.0);
        self.variance = variance.clamp(VARIANCE_MIN, VARIANCE_MAX);
    }

    fn deviation(&self, mean: f64) -> f64 {
        DEVIATIONS * (self.variance * mean).sqrt()
    }

    fn is_below(&self, rate: Bitrate) -> bool {
        self.mean.is_some_and(|mean| rate.bps() as f64 / 1e3 > mean + self.deviation(mean))
    }

    fn is_above(&self, rate: Bitrate) -> bool {
        self.mean.is_some_and(|mean| (rate.bps() as f64 / 1e3) < mean - self.deviation(mean))
    }
}
