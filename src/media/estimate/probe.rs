//! Probes: for a moment more is sent than is known to pass, to see whether it does.

use std::time::{Duration, Instant};

use super::{Arrival, PacketResult, share};
use crate::base::bitrate::Bitrate;

/// The first probe sends so many times the estimate (`libwebrtc`, `ProbeController`,
/// `first_exponential_probe_scale`), later ones so many times (`further_exponential_probe_scale`,
/// `allocation_probe_limit_by_current_scale`). Higher gets there in fewer steps, with a longer queue
/// where there is nothing to find.
const SCALE_FIRST: f64 = 3.0;
const SCALE: f64 = 2.0;
/// And so many times the goal: what is found is a bit less than what is sent.
const SCALE_GOAL: f64 = 1.1;
/// For so long. `libwebrtc` sends for 15 ms; longer sees through a radio that holds packets up for
/// ten, and costs more.
const DURATION: Duration = Duration::from_millis(30);
/// And at most, where a packet takes long.
const DURATION_MAX: Duration = Duration::from_millis(200);
/// In so many packets at least (`libwebrtc`, `kMinProbePacketsSent`), which are not shorter than
/// this, nor longer: padding is no more than 255 bytes (RFC 3550 §5.1) and its headers.
const PACKETS_MIN: u64 = 5;
const PACKET_BYTES: std::ops::RangeInclusive<usize> = 200..=280;
/// What did not come back so long after the probe is not waited for (`libwebrtc`,
/// `kMaxWaitingTimeForProbingResult`).
const RESULT_WITHIN: Duration = Duration::from_secs(1);
/// Of its packets and bytes so much must have come, and so many packets (`libwebrtc`,
/// `ProbeBitrateEstimator`). Lower believes what losses made of it.
const ARRIVED_SHARE_MIN: f64 = 0.8;
const ARRIVED_MIN: u32 = 4;
/// What comes so many times faster than it left was held up before (the same).
const CAUGHT_UP: f64 = 2.0;
/// Slower than this share of what was sent, it was too much: then a bit less than what came is
/// found (the same, 0.9 and 0.95; here the measure is finer).
const UNSATURATED: f64 = 0.92;
const SATURATED: f64 = 0.95;
/// But only by more than so long: less is jitter, and nothing is known. Higher takes a link's end for
/// noise; lower takes noise for it, and rests.
const NOISE_MICROS: i64 = 3_000;
/// A result that is so much more than the estimate is worth something.
const WORTH: f64 = 1.05;
/// And one of so much more is of another link than before: the next comes as soon as after a first
/// failure. Lower takes more than its share beside others.
const FAR: f64 = 1.5;
/// After one that found nothing it rests so long, twice as long after the next, up to this
/// (`libwebrtc`, `alr_probing_interval`, 5 s). Longer finds a link that is better again later;
/// shorter burdens one that is not.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(2);
/// After one of which nothing was heard, so long, and so often.
const AGAIN: Duration = Duration::from_millis(250);
const UNKNOWN_MAX: u32 = 4;
/// A raise that was followed by overuse in so long was wrong: others use what it found. Then it
/// rests for up to so long. Longer uses less of a link that is full; shorter takes more than its
/// share of it.
const REST_MAX_REGRET: Duration = Duration::from_secs(7);
const REGRET_WITHIN: Duration = Duration::from_secs(2);

/// An estimate that fell to this share since then is of another link (`libwebrtc`,
/// `kBitrateDropThreshold`), and it rests no longer than at first.
const DROP: f64 = 0.66;

/// Names one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeId(u32);

/// A request to send more for a moment: what leaves anyway, and padding so that it is as much as
/// this in total.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    pub id: ProbeId,
    /// At this rate, in steps of no more than some milliseconds.
    pub rate: Bitrate,
    /// For so long, with a last packet at the end.
    pub duration: Duration,
    /// So long is a packet of padding.
    pub packet_bytes: usize,
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
    /// In a row, of which nothing is known.
    unknown: u32,
    /// The estimate when it last was to rest.
    rested_at: Bitrate,
    /// Nothing was found on this path yet.
    found: bool,
    /// The last one did, and not the end of it.
    climbs: bool,
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
    highest: u64,
}

#[derive(Debug, Default)]
struct Tally {
    arrived: u32,
    lost: u32,
    bytes: u64,
    lost_bytes: u64,
    /// What is smaller takes less time on the link itself, and is not compared.
    small: u64,
    first: Option<Point>,
    /// A third of the probe.
    third: i64,
    /// Of its first and last third the packet that took the least time.
    least: [Option<Point>; 2],
}

/// A packet, on both clocks, and all bytes that came before it and with it.
#[derive(Debug, Clone, Copy)]
struct Point {
    sent: i64,
    arrived: i64,
    bytes: u64,
}

impl Probes {
    /// A probe towards a goal, if it is time for one; it begins with its first packet.
    pub fn request(&mut self, now: Instant, estimate: Bitrate, goal: Bitrate) -> Option<Probe> {
        if estimate < self.rested_at.scale(DROP) {
            (self.failures, self.rested_at) = (0, estimate);
            self.next = self.next.min(Some(now + REST));
        }
        let is_due = self.next.is_none_or(|next| now >= next);
        if self.active.is_some() || !is_due || goal <= estimate {
            return None;
        }
        let scale = if self.found { SCALE } else { SCALE_FIRST };
        let rate = estimate.scale(scale).min(goal.scale(SCALE_GOAL));
        let part = (rate.bytes_in(DURATION) / PACKETS_MIN) as usize;
        let packet_bytes = part.clamp(*PACKET_BYTES.start(), *PACKET_BYTES.end());
        // At a low rate so many packets take longer.
        let all = packet_bytes as u64 * PACKETS_MIN;
        let duration = rate.time_for(all).clamp(DURATION, DURATION_MAX);
        self.minted = self.minted.wrapping_add(1);
        let probe = Probe { id: ProbeId(self.minted), rate, duration, packet_bytes };
        let third = duration.as_micros() as i64 / 3;
        let tally = Tally { third, small: packet_bytes as u64 / 2, ..Tally::default() };
        self.active = Some(Active {
            probe,
            began: now,
            ended: None,
            first: None,
            end: None,
            tally,
            highest: 0,
        });
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
        active.highest = active.highest.max(result.seq);
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
        self.regret(now, estimate, is_over);
        let active = self.active.take_if(|active| active.is_over(now))?;
        let asked = active.probe.rate;
        let found = active.tally.found(asked);
        // Nothing was heard of it, or less left than was asked for: nothing is known.
        let is_short = |f: Found| !f.is_capacity && f.rate < asked.scale(UNSATURATED);
        let is_unknown = active.is_unheard() || found.is_some_and(is_short);
        let found = found.filter(|found| found.rate > estimate.scale(WORTH));
        match found {
            None if is_unknown && self.unknown < UNKNOWN_MAX => {
                self.unknown += 1;
                self.next = Some(now + AGAIN);
            }
            // The end of the link was found, or jitter looked like it; it may have another soon.
            Some(Found { is_capacity: true, rate }) => {
                if rate > estimate.scale(FAR) {
                    self.failures = 0;
                }
                self.rest(now, estimate, REST_MAX);
            }
            None => self.rest(now, estimate, REST_MAX),
            Some(_) => (self.failures, self.unknown, self.next) = (0, 0, Some(now)),
        }
        self.climbs = found.is_some_and(|found| !found.is_capacity);
        if found.is_some() {
            (self.found, self.raised) = (true, Some(now));
        }
        found
    }

    pub fn climbs(&self) -> bool {
        self.climbs
    }

    fn regret(&mut self, now: Instant, estimate: Bitrate, is_over: bool) {
        let Some(raised) = self.raised else { return };
        let is_past = now.saturating_duration_since(raised) > REGRET_WITHIN;
        if is_over && !is_past {
            self.rest(now, estimate, REST_MAX_REGRET);
        }
        if is_over || is_past {
            self.raised = None;
        }
    }

    fn rest(&mut self, now: Instant, estimate: Bitrate, most: Duration) {
        self.rested_at = estimate;
        let rest = REST.saturating_mul(1 << self.failures.min(8)).min(most);
        self.failures += 1;
        self.unknown = 0;
        self.next = Some(now + rest);
    }

    /// Nothing is known of the path any more: the next is due at once.
    pub fn renew(&mut self) {
        let minted = self.minted;
        *self = Probes { minted, ..Probes::default() };
    }
}

impl Active {
    /// How many packets it has, once it ended.
    fn packets(&self) -> Option<u64> {
        Some(self.end?.saturating_sub(self.first?))
    }

    fn told(&self) -> u64 {
        u64::from(self.tally.arrived + self.tally.lost)
    }

    /// All was heard of it that will be.
    fn is_over(&self, now: Instant) -> bool {
        let is_passed = self.end.is_some_and(|end| self.highest >= end);
        let is_told = self.packets().is_some_and(|packets| self.told() >= packets);
        let waited = now.saturating_duration_since(self.ended.unwrap_or(self.began));
        is_passed || is_told || waited >= RESULT_WITHIN
    }

    /// Feedback was lost, or none is given.
    fn is_unheard(&self) -> bool {
        self.packets().is_none_or(|packets| share(self.told(), packets) < ARRIVED_SHARE_MIN)
    }
}

impl Point {
    fn rate_since(&self, before: &Point) -> Bitrate {
        let span = super::micros(self.arrived - before.arrived);
        Bitrate::of(self.bytes - before.bytes, span)
    }
}

impl Tally {
    fn arrived(&mut self, arrival: &Arrival) {
        let &Arrival { sent, arrived, bytes, .. } = arrival;
        self.arrived += 1;
        self.bytes += bytes;
        let point = Point { sent, arrived, bytes: self.bytes };
        let since = sent - self.first.get_or_insert(point).sent;
        let [early, late] = &mut self.least;
        let least = match since {
            since if since < self.third => early,
            since if since >= 2 * self.third => late,
            _ => return,
        };
        let is_less = least.is_none_or(|least| arrived - sent < least.arrived - least.sent);
        if is_less && bytes >= self.small {
            *least = Some(point);
        }
    }

    /// What came from the packet that took the least time of the first third to that of the last
    /// third. (The published estimator has the first and the last packet; but jitter only adds to
    /// delay, and packets that left together say nothing of the link until others come after them.)
    /// What else left meanwhile may have made it more than was asked for; no more is found.
    fn found(&self, asked: Bitrate) -> Option<Found> {
        let all = self.arrived + self.lost;
        let packets_share = share(self.arrived.into(), all.into());
        let bytes_share = share(self.bytes, self.bytes + self.lost_bytes);
        if self.arrived < ARRIVED_MIN || packets_share.min(bytes_share) < ARRIVED_SHARE_MIN {
            return None;
        }
        let [early, late] = self.least;
        let (early, late) = (early?, late?);
        let (sent, came) = (late.sent - early.sent, late.arrived - early.arrived);
        if sent <= 0 || (came as f64) * CAUGHT_UP < sent as f64 {
            return None;
        }
        let is_capacity = (sent as f64) < came as f64 * UNSATURATED && came - sent > NOISE_MICROS;
        let rate = match is_capacity {
            true => late.rate_since(&early).scale(SATURATED),
            // Nothing waits at the end: all that left before has come, too.
            false => late.rate_since(&early).max(late.rate_since(&self.first?)),
        };
        Some(Found { rate: rate.min(asked), is_capacity })
    }
}
