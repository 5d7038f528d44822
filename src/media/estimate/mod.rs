//! How much may be sent to one subscriber, without a queue that grows.
//!
//! Most of it is what browsers do when they send: draft-ietf-rmcat-gcc-02 and what `libwebrtc` made of
//! it. A server differs from them in one thing: it does not encode, so that what it sends comes in
//! steps, of layers, and is often far less than the link carries. So what is not used must be
//! neither forgotten nor made up, and is found by probes.
//!
//! 1. **Groups** (`groups`). Packets that left within 5 ms, or came in one burst, are one. A group
//!    speaks through the packet that took the least time.
//! 2. **Trend** (`trend`). A line through the delays of the last 20 groups. A queue grows when it rises
//!    by more than a threshold, which follows the path's noise, for 10 ms.
//! 3. **Queue** (`queue`). That is believed only when one stands: when the least delay of the last
//!    tenth of a second is above the least of the last ten.
//! 4. **Rate** (`rate`). A queue that grows: down to 0.85 times what arrives, and less while more
//!    than 60 ms wait, until they are gone. Who sends less than the estimate goes down to that
//!    first, as others on the link do. Else up, by 8 % a second while the link's end is unknown,
//!    and by a packet a round trip or so near to it; never beyond 1.5 times what arrives
//!    (`acked`), and not while the application limits what is sent (`application`).
//! 5. **Loss** (`loss`). More than the path loses by itself: down to what passed. As much is lost
//!    then: the path loses that by itself.
//! 6. **Probes** (`probe`). When the caller has use for more than the estimate (a goal), and nothing
//!    waits, 30 ms at up to three, then two times the estimate. What came of them raises it at
//!    once. One that finds nothing, or is followed by overuse, makes the next wait.
//! 7. **Silence**. Nothing is heard of what was sent: half, each second or so. When it ends, probes
//!    begin anew; so they do on a new path, from no more than the start.
//!
//! Clients without transport-wide feedback: `reports`.
//!
//! It reads no clock and allocates nothing. It is 2.4 kB, and takes some 60 ns a packet.
//!
//! **Use.** [`Estimator::sent`] for every packet that carries a transport-wide number;
//! [`Estimator::take`] for each signal and [`Estimator::update`] when a compound is over, and at
//! [`Estimator::deadline`]. While a layer could be raised, [`Estimator::wants_probe`] at each turn;
//! when it gives one, [`Estimator::probe_begins`] with the number of the next packet; then, besides
//! what leaves anyway, padding in packets of the given size, so that in total the rate is met; after
//! the duration a last one, and [`Estimator::probe_ends`]. Padding of RTP has at most 255 bytes: larger
//! packets repeat media on the retransmission stream. Whoever raises a layer for an estimate does well
//! to leave a tenth, and to lower it only for one that is below what is sent.
//!
#![doc = include_str!("constants.md")]

use std::time::{Duration, Instant};

use super::transport_cc::{PacketResult, Signal};
use crate::base::bitrate::Bitrate;
use crate::base::limits::{ESTIMATE_START, SEND_HISTORY};

mod acked;
mod application;
mod groups;
mod loss;
mod probe;
mod queue;
mod rate;
mod reports;
mod trend;

pub use probe::{Probe, ProbeId};

use acked::Acked;
use application::Application;
use groups::Groups;
use loss::{Loss, Verdict};
use probe::Probes;
use queue::Queue;
use rate::{Rate, Seen};
use reports::Reports;
use trend::Trend;

/// Delays that grow are a queue only when all packets of the last moments waited for so long: a
/// jitter delays some. Higher lets every queue grow to that; lower backs off for radios.
const QUEUE_MIN: Duration = Duration::from_millis(15);
/// A probe starts only with less than this waiting: it adds as much again.
const PROBE_QUEUE_MAX: Duration = Duration::from_millis(30);
/// And so long after the rate went down: the path shall have been seen at the lower one.
const PROBE_AFTER_LOWERED: Duration = Duration::from_millis(800);
/// A queue of which nothing was heard for so long, with nothing under way, has emptied: what was seen
/// of it keeps nobody from probing. Longer leaves who is sent nothing without a picture for longer.
const EMPTIED_AFTER: Duration = Duration::from_secs(2);
/// The round trip while it is unknown (`libwebrtc`, `kDefaultRtt`).
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// Weight of a new round trip in the mean (RFC 6298 §2).
const ROUND_TRIP_WEIGHT: f64 = 0.125;
/// When nothing is heard of what was sent for so long and two round trips, the rate becomes half, and
/// again after as long: nothing may come through, or everything waits. Longer than the longest
/// interval of `libwebrtc`'s receivers for feedback (250 ms), twice. Shorter takes two
/// feedbacks that were lost for an outage.
const SILENCE: Duration = Duration::from_millis(600);
/// But never below this for silence alone: what is sent must be enough to be heard of again.
const SILENCE_MIN: Bitrate = Bitrate::from_kbps(100);

/// What the delay of packets says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Usage {
    #[default]
    Normal,
    /// A queue grows: more is sent than passes.
    Over,
    /// A queue gets shorter.
    Under,
}

/// Where the estimate comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// Nothing was heard yet.
    #[default]
    Start,
    /// Transport-wide feedback.
    Transport,
    /// The client's own estimate.
    Remb,
    /// Report blocks alone.
    Reports,
}

/// What keeps the estimate from rising.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bound {
    /// Nothing; or no more is sent.
    #[default]
    None,
    /// A queue that grows, or stands.
    Delay,
    Loss,
    /// Nothing is heard of what was sent.
    Silence,
}

/// A packet that arrived, on both clocks in microseconds; each has a beginning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Arrival {
    sent: i64,
    arrived: i64,
    bytes: u64,
}

/// The estimate of one subscriber.
#[derive(Debug, Default)]
pub struct Estimator {
    rate: Rate,
    groups: Groups,
    trend: Trend,
    queue: Queue,
    acked: Acked,
    loss: Loss,
    application: Application,
    probes: Probes,
    reports: Reports,
    source: Source,
    bound: Bound,
    round_trip: Option<Duration>,
    /// The beginning of the sender's clock.
    epoch: Option<Instant>,
    heard: Heard,
    silence: Silence,
    /// When something was last heard.
    heard_at: Option<Instant>,
}

/// What was heard since the last update, and what before.
#[derive(Debug, Default)]
struct Heard {
    /// The newest packet that arrived: when it left.
    newest: Option<Instant>,
    /// When the first that arrived came.
    first_arrived: Option<i64>,
    /// The lowest and highest number.
    seq: Option<(u64, u64)>,
    packets: u64,
    bytes: u64,
    /// Behind the highest number of all before.
    end: u64,
    has_reports: bool,
}

/// Whether anything is heard of what is sent.
#[derive(Debug, Default)]
struct Silence {
    /// When the first left after what was last heard.
    since: Option<Instant>,
    /// When the rate went down for it last.
    lowered: Option<Instant>,
}

impl Estimator {
    /// What may be sent in total, in UDP payload.
    pub fn estimate(&self) -> Bitrate {
        self.rate.current()
    }

    /// The same without what is left out for a moment to empty a queue: what layers are chosen for.
    pub fn settled(&self) -> Bitrate {
        self.rate.settled()
    }

    /// What arrives, over half a second; zero while that is unknown.
    pub fn acked(&self) -> Bitrate {
        self.acked.rate().unwrap_or(Bitrate::ZERO)
    }

    /// Smoothed.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    pub fn usage(&self) -> Usage {
        match self.trend.usage() {
            Usage::Over if self.queue.standing() < QUEUE_MIN => Usage::Normal,
            _ if self.queue.rushes() => Usage::Over,
            usage => usage,
        }
    }

    pub fn bound(&self) -> Bound {
        self.bound
    }

    pub fn source(&self) -> Source {
        self.source
    }

    /// For how long packets wait somewhere on the way.
    pub fn queue(&self) -> Duration {
        self.queue.standing()
    }

    /// Less is sent than may be, so that what arrives says little of the link.
    pub fn is_limited_by_application(&self) -> bool {
        self.application.is_limited()
    }

    /// A packet leaves, of whatever kind.
    pub fn sent(&mut self, now: Instant, bytes: usize) {
        self.epoch.get_or_insert(now);
        self.application.sent(now, bytes, self.rate.current());
        self.silence.since.get_or_insert(now);
    }

    /// What the client says; [`Estimator::update`] follows when it has said it all.
    pub fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Packet(result) => self.take_packet(&result),
            Signal::Estimate { bits_per_second } if self.source != Source::Transport => {
                self.reports.remb(Bitrate::from_bps(bits_per_second));
                self.source = Source::Remb;
                self.heard.has_reports = true;
            }
            // What the client estimates is of less than what it reports of each packet.
            Signal::Estimate { .. } => {}
            Signal::Report { fraction_lost, round_trip } => {
                if let Some(round_trip) = round_trip {
                    self.measured(round_trip);
                }
                self.reports.report(fraction_lost);
                self.heard.has_reports = true;
            }
        }
    }

    fn take_packet(&mut self, result: &PacketResult) {
        self.source = Source::Transport;
        let epoch = *self.epoch.get_or_insert(result.sent);
        let sent = since(result.sent, epoch);
        let heard = &mut self.heard;
        let (low, high) = heard.seq.unwrap_or((result.seq, result.seq));
        heard.seq = Some((low.min(result.seq), high.max(result.seq)));
        heard.packets += 1;
        heard.bytes += result.bytes as u64;
        self.loss.take(result, sent);
        let Some(arrived) = result.arrived else {
            return self.probes.take(result, None);
        };
        let arrived = whole_micros(arrived);
        heard.newest = heard.newest.max(Some(result.sent));
        heard.first_arrived.get_or_insert(arrived);
        let arrival = Arrival { sent, arrived, bytes: result.bytes as u64 };
        self.acked.take(&arrival);
        self.queue.take(&arrival);
        if let Some(step) = self.groups.take(&arrival) {
            self.trend.take(step);
        }
        self.probes.take(result, Some(&arrival));
    }

    /// Everything that one compound said was taken, or a deadline passed.
    pub fn update(&mut self, now: Instant) {
        self.application.sent(now, 0, self.rate.current());
        match self.source {
            // Blocks also lose what was lost on the way to here: they count for nothing then.
            Source::Transport => self.update_transport(now),
            _ if std::mem::take(&mut self.heard.has_reports) => {
                if self.source == Source::Start {
                    self.source = Source::Reports;
                }
                let rate = self.reports.update(self.application.is_limited());
                self.bound = if rate < self.rate.current() { Bound::Loss } else { Bound::None };
                self.rate.set(rate);
            }
            _ => {}
        }
    }

    fn update_transport(&mut self, now: Instant) {
        if self.heard.packets > 0 {
            self.hear(now);
        }
        let is_over = self.usage() == Usage::Over;
        let estimate = self.rate.current();
        if let Some(found) = self.probes.update(now, estimate, is_over) {
            self.rate.probed(now, found.rate, found.is_capacity);
        }
        self.fall_silent(now);
    }

    /// A feedback was heard.
    fn hear(&mut self, now: Instant) {
        self.heard_at = Some(now);
        let end = self.heard.seq.map_or(0, |(_, high)| high.saturating_add(1)).max(self.heard.end);
        let heard = std::mem::replace(&mut self.heard, Heard { end, ..Heard::default() });
        if let (Some((low, _)), Some(from)) = (heard.seq, heard.first_arrived) {
            let missing = if heard.end > 0 { low.saturating_sub(heard.end) } else { 0 };
            // No more is remembered.
            let missing = missing.min(SEND_HISTORY as u64);
            if missing > 0 {
                self.acked
                    .presume(missing.saturating_mul(heard.bytes) / heard.packets.max(1), from);
            }
        }
        if let Some(newest) = heard.newest {
            self.measured(now.saturating_duration_since(newest));
            self.end_silence();
        }
        let is_limited = self.application.is_limited();
        let standing = self.queue.standing();
        let verdict = self.loss.update(is_limited, standing > PROBE_QUEUE_MAX);
        let usage = self.usage();
        let seen = Seen {
            usage,
            // What is always lost on the way was not too much for it.
            acked: self.acked.rate().map(|rate| rate.scale(self.loss.sent_per_arrived())),
            busy: self.acked.busy_rate().map(|rate| rate.scale(self.loss.sent_per_arrived())),
            standing,
            rushes: self.queue.rushes(),
            round_trip: self.round_trip.unwrap_or(ROUND_TRIP),
            is_limited,
            is_lossy: !matches!(verdict, None | Some(Verdict::Usual)),
        };
        self.rate.update(now, &seen);
        if let Some(Verdict::Lower(rate)) = verdict {
            self.rate.lower(now, rate);
        }
        self.bound = match verdict {
            _ if usage == Usage::Over || standing > PROBE_QUEUE_MAX => Bound::Delay,
            Some(Verdict::Unsure | Verdict::Lower(_)) => Bound::Loss,
            None if self.bound == Bound::Loss => Bound::Loss,
            _ => Bound::None,
        };
    }

    fn measured(&mut self, round_trip: Duration) {
        self.round_trip = Some(match self.round_trip {
            Some(mean) => {
                mean.mul_f64(1.0 - ROUND_TRIP_WEIGHT) + round_trip.mul_f64(ROUND_TRIP_WEIGHT)
            }
            None => round_trip,
        });
    }

    /// When [`Estimator::update`] has something to do though nothing was heard.
    pub fn deadline(&self) -> Option<Instant> {
        let since = self.silence.since.filter(|_| self.source == Source::Transport)?;
        Some(self.silence.lowered.unwrap_or(since).max(since) + self.silence_max())
    }

    fn silence_max(&self) -> Duration {
        SILENCE + 2 * self.round_trip.unwrap_or(ROUND_TRIP).min(Duration::from_secs(1))
    }

    fn fall_silent(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let rate = self.rate.current();
        self.silence.lowered = Some(now);
        self.bound = Bound::Silence;
        if rate > SILENCE_MIN {
            self.rate.lower(now, rate.scale(0.5).max(SILENCE_MIN));
        }
    }

    /// Something arrived.
    fn end_silence(&mut self) {
        let was_long = self.silence.lowered.is_some();
        self.silence = Silence::default();
        if was_long {
            // The queue and the line are of another time, and so is what was found.
            self.trend = Trend::default();
            self.groups = Groups::default();
            self.probes.renew();
        }
    }

    /// A probe towards a rate that there is a use for; none while there is no reason to believe
    /// that it would find something, or one is under way. Its first packet is told of by
    /// [`Estimator::probe_begins`], its end by [`Estimator::probe_ends`].
    pub fn wants_probe(&mut self, now: Instant, goal: Bitrate) -> Option<Probe> {
        self.empty(now);
        // The first finds out whether there is feedback: there is no other until then.
        let is_known = matches!(self.source, Source::Start | Source::Transport);
        let is_calm = self.usage() != Usage::Over
            && self.queue.standing() < PROBE_QUEUE_MAX
            && self.bound == Bound::None;
        let lowered = self.rate.lowered();
        let is_settled =
            lowered.is_none_or(|at| now.saturating_duration_since(at) >= PROBE_AFTER_LOWERED);
        if !is_known || !is_calm || !is_settled {
            return None;
        }
        self.probes.request(now, self.rate.current(), goal)
    }

    /// Forgets a queue that must have emptied since something was last heard of it.
    fn empty(&mut self, now: Instant) {
        let is_old = |at| now.saturating_duration_since(at) >= EMPTIED_AFTER;
        if self.silence.since.is_none() && self.heard_at.is_some_and(is_old) {
            self.groups = Groups::default();
            self.trend = Trend::default();
            self.queue = Queue::default();
            self.bound = Bound::None;
            self.heard_at = None;
        }
    }

    /// The last probe came through as it was sent: the next may find more.
    pub fn climbs(&self) -> bool {
        self.probes.climbs()
    }

    /// The next packet is the first of a probe, and has this extended transport-wide number.
    pub fn probe_begins(&mut self, id: ProbeId, first: u64) {
        self.probes.begins(id, first);
    }

    /// A probe was sent: the next packet, with this number, is none of it.
    pub fn probe_ends(&mut self, now: Instant, id: ProbeId, end: u64) {
        self.probes.ends(now, id, end);
    }

    /// Packets go another way from now on: what was learned of the old one is forgotten.
    pub fn path_changed(&mut self, now: Instant) {
        self.groups = Groups::default();
        self.trend = Trend::default();
        self.queue = Queue::default();
        self.acked = Acked::default();
        self.loss = Loss::default();
        self.probes.renew();
        self.silence = Silence::default();
        self.round_trip = None;
        self.bound = Bound::None;
        let rate = self.rate.current();
        self.rate = Rate::default();
        self.rate.set(rate.min(ESTIMATE_START));
        self.application.sent(now, 0, self.rate.current());
    }
}

/// Microseconds since an instant; below zero before it.
fn since(at: Instant, epoch: Instant) -> i64 {
    match at.checked_duration_since(epoch) {
        Some(after) => whole_micros(after),
        None => -whole_micros(epoch.saturating_duration_since(at)),
    }
}

/// Of a clock whose differences do not overflow.
fn whole_micros(time: Duration) -> i64 {
    let secs = time.as_secs().min(1 << 40);
    (secs * 1_000_000 + u64::from(time.subsec_micros())) as i64
}

/// A span of microseconds; below zero is none.
fn micros(span: i64) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or(0))
}

/// A part of a whole; none of nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests;
