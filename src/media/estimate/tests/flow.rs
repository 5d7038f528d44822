//! A sender with its estimator, and its receiver: pictures and sound, pacing, probes, feedback.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::link::{Link, MS, SECOND};
use super::published::Published;
use crate::base::bitrate::Bitrate;
use crate::base::rng::Rng;
use crate::media::estimate::{Estimator, Probe};
use crate::media::transport_cc::{Arrivals, SendHistory, Signal};
use crate::wire::rtcp::{self, Packet};

/// What there is to send, beside sound of 32 kbit/s.
#[derive(Clone)]
pub enum Source {
    /// Pictures of as many kbit/s as the estimate allows, up to this.
    Elastic(u64),
    /// The highest of these rates in kbit/s that the estimate allows.
    Layers(Vec<u64>),
    /// So many kbit/s, whatever the estimate.
    Fixed(u64),
}

pub enum Control {
    Ours(Box<Estimator>),
    Published(Box<Published>),
}

pub struct Flow {
    pub control: Control,
    pub source: Source,
    /// Towards what it probes; none: never.
    pub goal: Option<Bitrate>,
    /// A picture leaves over some milliseconds, or at once.
    pub is_paced: bool,
    /// Pictures between two keyframes, which have six times the size; 0: none.
    pub keyframes: u64,
    pub feedback_interval: u64,
    /// Of each hundred feedbacks so many are lost.
    pub feedback_lost: u64,
    /// From when to when no feedback comes.
    pub mute: (u64, u64),
    /// Millionths that the receiver's clock is too fast.
    pub drift: u64,
    /// Between two pictures.
    pub picture_interval: u64,
    pub starts: u64,
    pub probes: Vec<(u64, Bitrate)>,
    pub samples: Vec<Sample>,
    history: SendHistory,
    arrivals: Arrivals,
    waiting: VecDeque<usize>,
    credit: f64,
    /// When it began, and what may leave.
    probe: Option<(Probe, u64, f64)>,
    pictures: u64,
    said: VecDeque<(u64, Vec<u8>)>,
    next_feedback: u64,
    arrived_bytes: u64,
    rng: Rng,
}

/// How things stand each 50 ms.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub at: u64,
    pub estimate: u64,
    /// All bytes that came until then.
    pub arrived: u64,
    /// Milliseconds.
    pub queue: u64,
}

impl Flow {
    pub fn new(source: Source) -> Flow {
        let most = match &source {
            Source::Elastic(most) | Source::Fixed(most) => *most,
            Source::Layers(layers) => *layers.last().unwrap(),
        };
        Flow {
            control: Control::Ours(Box::default()),
            source,
            goal: Some(Bitrate::from_kbps(most + 40)),
            is_paced: true,
            keyframes: 0,
            feedback_interval: 100 * MS,
            feedback_lost: 0,
            mute: (0, 0),
            drift: 0,
            picture_interval: 33 * MS,
            starts: 0,
            probes: Vec::new(),
            samples: Vec::new(),
            history: SendHistory::default(),
            arrivals: Arrivals::default(),
            waiting: VecDeque::new(),
            credit: 0.0,
            probe: None,
            pictures: 0,
            said: VecDeque::new(),
            next_feedback: 0,
            arrived_bytes: 0,
            rng: Rng::from_seed([3; 32]),
        }
    }

    pub fn published(most: u64) -> Flow {
        let control = Control::Published(Box::default());
        Flow { control, goal: None, ..Flow::new(Source::Elastic(most)) }
    }

    pub fn seeded(mut self, seed: u8) -> Flow {
        self.rng = Rng::from_seed([seed; 32]);
        self
    }

    pub fn estimator(&mut self) -> &mut Estimator {
        match &mut self.control {
            Control::Ours(estimator) => estimator,
            Control::Published(_) => panic!("it is the other's"),
        }
    }

    pub fn estimate(&self) -> u64 {
        match &self.control {
            Control::Ours(estimator) => estimator.estimate().bps() / 1_000,
            Control::Published(other) => other.rate() as u64 / 1_000,
        }
    }

    /// What leaves in the millisecond that begins now, and what came back until then.
    fn step(&mut self, now: u64, at: Instant, own: usize, link: &mut Link) {
        if now < self.starts {
            return;
        }
        self.hear(now, at);
        self.make(now - self.starts);
        if self.probe.is_none()
            && let (Control::Ours(estimator), Some(goal)) = (&mut self.control, self.goal)
            && let Some(probe) = estimator.wants_probe(at, goal)
        {
            estimator.probe_begins(probe.id, self.history.next());
            self.probes.push((now, probe.rate));
            self.probe = Some((probe, now, 0.0));
        }
        self.pace(now, at, own, link);
        self.pad(now, at, own, link);
        if let Control::Ours(estimator) = &mut self.control
            && estimator.deadline().is_some_and(|due| due <= at)
        {
            estimator.update(at);
        }
    }

    fn hear(&mut self, now: u64, at: Instant) {
        while self.said.front().is_some_and(|(due, _)| *due <= now) {
            let (_, compound) = self.said.pop_front().unwrap();
            for packet in rtcp::read(&compound) {
                let Packet::TransportFeedback(feedback) = packet else { panic!("{packet:?}") };
                match &mut self.control {
                    Control::Ours(estimator) => {
                        let tell = |result| estimator.take(Signal::Packet(result));
                        self.history.feedback(&feedback, at, tell);
                    }
                    Control::Published(other) => {
                        let tell = |result| other.take(&result);
                        self.history.feedback(&feedback, at, tell);
                    }
                }
            }
            match &mut self.control {
                Control::Ours(estimator) => estimator.update(at),
                Control::Published(other) => other.update(at),
            }
        }
    }

    /// A picture each 33 ms, of about the size that the rate gives, and sound each 20.
    fn make(&mut self, since: u64) {
        if since.is_multiple_of(20 * MS) {
            self.waiting.push_back(80);
        }
        if !since.is_multiple_of(self.picture_interval) {
            return;
        }
        let allowed = self.estimate().saturating_sub(40);
        let kbps = match &self.source {
            Source::Elastic(most) => allowed.min(*most),
            Source::Fixed(kbps) => *kbps,
            Source::Layers(layers) => {
                layers.iter().rev().find(|l| **l <= allowed).copied().unwrap_or(0)
            }
        };
        let mut bytes = (kbps * self.picture_interval / MS / 8) as usize;
        if self.keyframes > 0 {
            // On average the rate stays.
            bytes = bytes * self.keyframes as usize / (self.keyframes as usize + 5);
            bytes *= if self.pictures.is_multiple_of(self.keyframes) { 6 } else { 1 };
        }
        self.pictures += 1;
        bytes = bytes * (80 + self.rng.next_u64() as usize % 41) / 100;
        while bytes > 0 {
            let part = bytes.min(1_150);
            bytes -= part;
            self.waiting.push_back(part);
        }
    }

    fn pace(&mut self, now: u64, at: Instant, own: usize, link: &mut Link) {
        // 2.5 times the estimate, as libwebrtc does.
        let per_ms = self.estimate() as f64 / 8.0 * 2.5;
        self.credit = (self.credit + per_ms).min(per_ms.max(1_200.0));
        while let Some(bytes) = self.waiting.front().copied() {
            if self.is_paced && self.credit <= 0.0 {
                break;
            }
            self.waiting.pop_front();
            self.send(now, at, own, link, bytes);
        }
    }

    fn pad(&mut self, now: u64, at: Instant, own: usize, link: &mut Link) {
        let Some((probe, began, credit)) = &mut self.probe else { return };
        *credit += probe.rate.bps() as f64 / 8e3;
        let (probe, is_over) = (*probe, now - *began >= probe.duration.as_micros() as u64);
        while let Some((.., credit)) = &self.probe
            && (is_over || *credit > 0.0)
        {
            self.send(now, at, own, link, probe.packet_bytes);
            if is_over {
                let end = self.history.next();
                self.estimator().probe_ends(at, probe.id, end);
                self.probe = None;
            }
        }
    }

    fn send(&mut self, now: u64, at: Instant, own: usize, link: &mut Link, bytes: usize) {
        self.credit -= bytes as f64;
        // All that leaves is part of a probe.
        if let Some((.., credit)) = &mut self.probe {
            *credit -= bytes as f64;
        }
        let seq = self.history.sent(at, bytes);
        if let Control::Ours(estimator) = &mut self.control {
            estimator.sent(at, bytes);
        }
        link.send(now, own, seq, bytes);
    }

    fn say(&mut self, now: u64, way: u64) {
        if now < self.next_feedback || self.arrivals.deadline().is_none() {
            return;
        }
        self.next_feedback = now + self.feedback_interval;
        let mut compound = Vec::new();
        while self.arrivals.feedback(&mut compound, 9, 7) {}
        let is_mute = (self.mute.0..self.mute.1).contains(&now);
        if self.rng.next_u64() % 100 >= self.feedback_lost && !is_mute {
            self.said.push_back((now + way, compound));
        }
    }

    /// The mean of the estimate, in kbit/s, from and to in seconds.
    pub fn estimate_over(&self, from: f64, to: f64) -> u64 {
        let all: Vec<u64> = self.over(from, to).map(|sample| sample.estimate).collect();
        all.iter().sum::<u64>() / all.len() as u64
    }

    pub fn estimate_min(&self, from: f64, to: f64) -> u64 {
        self.over(from, to).map(|sample| sample.estimate).min().unwrap()
    }

    pub fn estimate_max(&self, from: f64, to: f64) -> u64 {
        self.over(from, to).map(|sample| sample.estimate).max().unwrap()
    }

    /// The longest queue in milliseconds.
    pub fn queue_max(&self, from: f64, to: f64) -> u64 {
        self.over(from, to).map(|sample| sample.queue).max().unwrap()
    }

    pub fn queue_mean(&self, from: f64, to: f64) -> u64 {
        let all: Vec<u64> = self.over(from, to).map(|sample| sample.queue).collect();
        all.iter().sum::<u64>() / all.len() as u64
    }

    /// What arrived, in kbit/s.
    pub fn arrived_over(&self, from: f64, to: f64) -> u64 {
        let first = self.over(from, to).next().unwrap();
        let last = self.over(from, to).last().unwrap();
        (last.arrived - first.arrived) * 8_000 / (last.at - first.at)
    }

    /// When the estimate is first so high after a time, in seconds since then.
    pub fn reaches(&self, kbps: u64, after: f64) -> f64 {
        let after_us = (after * 1e6) as u64;
        let found = self.samples.iter().find(|s| s.at >= after_us && s.estimate >= kbps);
        found.map_or(f64::INFINITY, |s| (s.at - after_us) as f64 / 1e6)
    }

    /// When the estimate is first so low.
    pub fn falls(&self, kbps: u64, after: f64) -> f64 {
        let after_us = (after * 1e6) as u64;
        let found = self.samples.iter().find(|s| s.at >= after_us && s.estimate <= kbps);
        found.map_or(f64::INFINITY, |s| (s.at - after_us) as f64 / 1e6)
    }

    fn over(&self, from: f64, to: f64) -> impl Iterator<Item = &Sample> {
        let (from, to) = ((from * 1e6) as u64, (to * 1e6) as u64);
        self.samples.iter().filter(move |sample| (from..to).contains(&sample.at))
    }
}

/// Lets flows run over a link for so many seconds, from where they were.
pub fn run(link: &mut Link, flows: &mut [Flow], from: f64, to: f64) {
    let start = epoch();
    for ms in (from * 1e3) as u64..(to * 1e3) as u64 {
        let now = ms * MS;
        let at = start + Duration::from_micros(now);
        for (own, flow) in flows.iter_mut().enumerate() {
            flow.step(now, at, own, link);
        }
        for (came, packet) in link.receive(now) {
            let Some(flow) = flows.get_mut(packet.flow) else { continue };
            // A receiver's clock is its own.
            let clock = came + came * flow.drift / 1_000_000;
            flow.arrivals.received(packet.seq, start + Duration::from_micros(clock));
            flow.arrived_bytes += packet.bytes as u64;
        }
        for flow in flows.iter_mut() {
            flow.say(now, link.delay);
            if now.is_multiple_of(50 * MS) {
                let (estimate, queue) = (flow.estimate(), link.waiting(now) / MS);
                flow.samples.push(Sample { at: now, estimate, arrived: flow.arrived_bytes, queue });
            }
        }
    }
}

/// The beginning of the tests' time, the same for all that one thread does.
pub fn epoch() -> Instant {
    thread_local!(static EPOCH: Instant = Instant::now() + Duration::from_micros(SECOND));
    EPOCH.with(|epoch| *epoch)
}

/// One flow of ours over a link.
pub fn alone(mut link: Link, flow: Flow, seconds: f64) -> Flow {
    let mut flows = [flow];
    run(&mut link, &mut flows, 0.0, seconds);
    let [flow] = flows;
    flow
}
