//! Probes: for a moment more is sent than is known to pass, to see whether it does.

use std::time::{Duration, Instant};

use super::{Arrival, PacketResult};
use crate::base::bitrate::Bitrate;

/// The first probe sends so many times the estimate (`libwebrtc`, `ProbeController`,
/// `first_exponential_probe_scale`), later ones so many times (`further_exponential_probe_scale`,
/// `allocation_probe_limit_by_current_scale`). Higher gets there in fewer steps, with a longer queue
/// where there is nothing to find.
const SCALE_FIRST: f64 = 3.0;
const SCALE: f64 = 2.0;
/// And so many times the goal: what is found is a bit less than what is sent.
const SCALE_GOAL: f64 = 1.1;
/// For so long, so many packets at least, and no bytes less. `libwebrtc` sends for 15 ms; longer
/// sees through a radio that holds packets up for ten, and costs more.
const DURATION: Duration = Duration::from_millis(30);
const PACKETS_MIN: usize = 5;
const BYTES_MIN: usize = 1_500;
/// What did not come back so long after the probe is not waited for (`libwebrtc`,
/// `kMaxWaitingTimeForProbingResult`).
const RESULT_WITHIN: Duration = Duration::from_secs(1);
/// Of its packets and bytes so much must have come, and so many packets (`libwebrtc`,
/// `ProbeBitrateEstimator`). Lower believes what losses made of it.
const ARRIVED_SHARE_MIN: f64 = 0.8;
const ARRIVED_MIN: u32 = 4;
/// When delay falls by so much of the time in which they left, they were held up before (the same:
/// they come twice as fast as they left).
const CAUGHT_UP: f64 = 0.5;
/// Slower than this share of what was sent, it was too much: then a bit less than what came is
/// found (the same, 0.9 and 0.95; here the measure is finer).
const UNSATURATED: f64 = 0.95;
const SATURATED: f64 = 0.95;
/// A result that is so much more than the estimate is worth something.
const WORTH: f64 = 1.05;
/// After one that found nothing it rests so long, twice as long after the next, up to this
/// (`libwebrtc`, `alr_probing_interval`, 5 s). Longer finds a link that is better again later;
/// shorter burdens one that is not.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(5);
/// A raise that was followed by overuse in so long was wrong.
const REGRET_WITHIN: Duration = Duration::from_secs(2);

/// Names one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeId(u32);

/// A request to send more for a moment: media that waits, else padding. What leaves in between for
/// other reasons is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub id: ProbeId,
    /// At this rate, in steps of no more than some milliseconds.
    pub rate: Bitrate,
    /// So many bytes in total, in at least so many packets.
    pub bytes: usize,
    pub packets_min: usize,
}

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub rate: Bitrate,
    /// Less came than was sent: it is what the link carries.
    pub is_capacity: bool,
}

/// Probes of one path, one at a time.
#[derive(Debug, Default)]
pub struct Probes {
    minted: u32,
    active: Option<Active>,
    /// Not before.
    next: Option<Instant>,
    failures: u32,
    /// Nothing was found on this path yet.
    found: bool,
    /// When one raised the estimate.
    raised: Option<Instant>,
}

#[derive(Debug)]
struct Active {
    probe: Probe,
    began: Instant,
    ended: Option<Instant>,
    first: Option<u64>,
    end: Option<u64>,
    tally: Tally,
    /// The highest number that was told of.
    told: u64,
}

#[derive(Debug, Default)]
struct Tally {
    arrived: u32,
    lost: u32,
    bytes: u64,
    lost_bytes: u64,
    /// When the first and the last left.
    sent: Option<(i64, i64)>,
    /// Bytes that left with the last: they are outside of the time in between.
    last_bytes: u64,
    /// When the first half of the probe is over, after the first.
    half: i64,
    largest: u64,
    /// Of each half the packet that took the least time: when it left, and the time.
    least: [Option<(i64, i64)>; 2],
}

impl Probes {
    /// A probe towards a goal, if it is time for one; it begins with its first packet.
    pub fn request(&mut self, now: Instant, estimate: Bitrate, goal: Bitrate) -> Option<Probe> {
        let is_due = self.next.is_none_or(|next| now >= next);
        if self.active.is_some() || !is_due || goal <= estimate {
            return None;
        }
        let scale = if self.found { SCALE } else { SCALE_FIRST };
        let rate = estimate.scale(scale).min(goal.scale(SCALE_GOAL));
        let bytes = (rate.bytes_in(DURATION) as usize).max(BYTES_MIN);
        self.minted = self.minted.wrapping_add(1);
        let probe = Probe { id: ProbeId(self.minted), rate, bytes, packets_min: PACKETS_MIN };
        let half = rate.time_for(bytes as u64 / 2).as_micros() as i64;
        let tally = Tally { half, ..Tally::default() };
        self.active =
            Some(Active { probe, began: now, ended: None, first: None, end: None, tally, told: 0 });
        Some(probe)
    }

    /// The packet with this number is the first of a probe.
    pub fn begins(&mut self, id: ProbeId, first: u64) {
        if let Some(active) = self.active.as_mut().filter(|active| active.probe.id == id) {
            active.first.get_or_insert(first);
        }
    }

    /// And the one before this was its last.
    pub fn ends(&mut self, now: Instant, id: ProbeId, end: u64) {
        if let Some(active) = self.active.as_mut().filter(|active| active.probe.id == id) {
            active.end.get_or_insert(end);
            active.ended.get_or_insert(now);
        }
    }

    /// What became of a packet; `arrival` if it arrived.
    pub fn take(&mut self, result: &PacketResult, arrival: Option<&Arrival>) {
        let Some(active) = &mut self.active else { return };
        let Some(first) = active.first.filter(|first| *first <= result.seq) else { return };
        active.told = active.told.max(result.seq);
        if active.end.is_some_and(|end| result.seq >= end) || result.seq < first {
            return;
        }
        match arrival {
            Some(arrival) => active.tally.arrived(arrival),
            None => {
                active.tally.lost += 1;
                active.tally.lost_bytes += result.bytes as u64;
            }
        }
    }

    /// A feedback was heard, or time passed. Gives what a probe found that is more than the
    /// estimate.
    pub fn update(&mut self, now: Instant, estimate: Bitrate, is_over: bool) -> Option<Found> {
        self.regret(now, is_over);
        let active = self.active.as_ref()?;
        let is_told = active.first.zip(active.end).is_some_and(|(first, end)| {
            u64::from(active.tally.arrived + active.tally.lost) >= end.saturating_sub(first)
                || active.told >= end
        });
        let waited = now.saturating_duration_since(active.ended.unwrap_or(active.began));
        if !is_told && waited < RESULT_WITHIN {
            return None;
        }
        let found = active.tally.found(active.probe.rate);
        let is_more = |found: &Found| found.rate > estimate.scale(WORTH);
        self.active = None;
        let Some(found) = found.filter(is_more) else {
            self.rest(now);
            return None;
        };
        self.found = true;
        self.raised = Some(now);
        // The end of the link was found; it may have another in a while.
        match found.is_capacity {
            true => self.rest(now),
            false => (self.failures, self.next) = (0, Some(now)),
        }
        Some(found)
    }

    fn regret(&mut self, now: Instant, is_over: bool) {
        let Some(raised) = self.raised else { return };
        let is_past = now.saturating_duration_since(raised) > REGRET_WITHIN;
        if is_over && !is_past {
            self.rest(now);
        }
        if is_over || is_past {
            self.raised = None;
        }
    }

    fn rest(&mut self, now: Instant) {
        let rest = REST.saturating_mul(1 << self.failures.min(8)).min(REST_MAX);
        self.failures += 1;
        self.next = Some(now + rest);
    }

    /// Nothing is known of the path any more: the next is due at once.
    pub fn renew(&mut self) {
        let minted = self.minted;
        *self = Probes { minted, ..Probes::default() };
    }
}

/// What leaves within so long of each other does so at one time, in microseconds.
const TOGETHER: i64 = 500;

impl Tally {
    fn arrived(&mut self, arrival: &Arrival) {
        let &Arrival { sent, arrived, bytes, .. } = arrival;
        self.arrived += 1;
        self.bytes += bytes;
        let (first, last) = self.sent.unwrap_or((sent, sent));
        if sent > last + TOGETHER {
            self.last_bytes = 0;
        }
        self.last_bytes += bytes;
        self.sent = Some((first.min(sent), last.max(sent)));
        // What is small takes less time on the link itself.
        if 10 * self.largest < 7 * bytes {
            self.least = [None; 2];
        }
        self.largest = self.largest.max(bytes);
        if 10 * bytes < 7 * self.largest {
            return;
        }
        let delay = arrived - sent;
        let [early, late] = &mut self.least;
        let least = if sent - first < self.half { early } else { late };
        if least.is_none_or(|(_, least)| delay < least) {
            *least = Some((sent, delay));
        }
    }

    /// On a link that carries less than what is sent, delay grows by the same for each packet:
    /// by so much for each second of sending as the rate is higher than the link's. Of the packets
    /// of each half, the one with the least delay says so, as jitter only adds to it. (The
    /// published estimator divides the bytes by the time between first and last arrival.)
    /// What else left meanwhile may have made it more than was asked for; no more is found.
    fn found(&self, asked: Bitrate) -> Option<Found> {
        let all = self.arrived + self.lost;
        let share = super::share(self.arrived.into(), all.into());
        let bytes_share = super::share(self.bytes, self.bytes + self.lost_bytes);
        if self.arrived < ARRIVED_MIN || share.min(bytes_share) < ARRIVED_SHARE_MIN {
            return None;
        }
        let span = super::micros(self.sent?.1 - self.sent?.0);
        let sent = Bitrate::of(self.bytes - self.last_bytes, span).min(asked);
        let [early, late] = self.least;
        let (early, late) = (early?, late?);
        let growth = (late.1 - early.1) as f64 / (late.0 - early.0).max(1) as f64;
        let came = 1.0 / (1.0 + growth.max(0.0));
        if growth < -CAUGHT_UP || span > RESULT_WITHIN {
            return None;
        }
        let is_capacity = came < UNSATURATED;
        let share = if is_capacity { came * SATURATED } else { came };
        Some(Found { rate: sent.scale(share), is_capacity })
    }
}
