//! One way of a path: a bottleneck whose rate follows a schedule, a queue before it that is bounded
//! in time, then the way itself, with its loss and a jitter that reorders nothing.

use std::time::{Duration, Instant};

use fastrand::Rng;

/// What a packet has on the link besides its UDP payload: UDP and IPv4.
pub const HEADERS_BYTES: usize = 28;

/// What a link is like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// From when on, since the beginning, how many bits a second; the first is from zero.
    pub rates: Vec<(Duration, u64)>,
    /// One way, without the queue.
    pub delay: Duration,
    /// What would wait longer is dropped.
    pub queue: Duration,
    pub jitter: Duration,
    /// The share that is lost of all that passes the queue.
    pub loss: f64,
    pub bursts: Option<Bursts>,
}

/// Times in which more is lost.
#[derive(Debug, Clone, Copy)]
pub struct Bursts {
    pub from: Duration,
    pub every: Duration,
    pub length: Duration,
    pub loss: f64,
}

impl Shape {
    /// Of so many kbit/s, with 25 ms of delay and a queue of 400 ms.
    pub fn of(kbps: u64) -> Shape {
        Shape {
            rates: vec![(Duration::ZERO, kbps * 1_000)],
            delay: Duration::from_millis(25),
            queue: Duration::from_millis(400),
            jitter: Duration::from_millis(2),
            loss: 0.0,
            bursts: None,
        }
    }

    /// So many kbit/s from a time on.
    pub fn then(mut self, at: Duration, kbps: u64) -> Shape {
        self.rates.push((at, kbps * 1_000));
        self
    }

    /// Bits a second at a time.
    pub fn rate(&self, at: Duration) -> u64 {
        self.rates.iter().rev().find(|(from, _)| *from <= at).map_or(0, |(_, rate)| *rate)
    }

    /// When so many bytes have passed that begin at `from`, over all changes of the rate.
    fn passed(&self, from: Duration, bytes: usize) -> Duration {
        let (mut at, mut bits) = (from, bytes as f64 * 8.0);
        let changes = self.rates.iter().map(|(change, _)| *change).filter(|change| *change > from);
        for change in changes {
            let fits = self.rate(at) as f64 * (change - at).as_secs_f64();
            if fits >= bits {
                break;
            }
            (at, bits) = (change, bits - fits);
        }
        at + Duration::from_secs_f64(bits / self.rate(at).max(1) as f64)
    }
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Arrived,
    /// The queue was full.
    Full,
    Lost,
}

/// A packet that came to the link, at a time since the beginning.
#[derive(Debug, Clone, Copy)]
pub struct Crossing {
    pub at: Duration,
    /// Who sent it, where several share the link.
    pub flow: usize,
    /// With all headers.
    pub bytes: usize,
    /// In the queue.
    pub waited: Duration,
    pub fate: Fate,
}

#[derive(Debug)]
pub struct Link {
    pub shape: Shape,
    pub crossings: Vec<Crossing>,
    began: Instant,
    free_at: Duration,
    latest: Duration,
    rng: Rng,
}

impl Link {
    pub fn new(shape: Shape, began: Instant, rng: Rng) -> Link {
        let (free_at, latest) = (Duration::ZERO, Duration::ZERO);
        Link { shape, crossings: Vec::new(), began, free_at, latest, rng }
    }

    /// When a packet of so much UDP payload arrives, if it does.
    pub fn pass(&mut self, now: Instant, flow: usize, payload_bytes: usize) -> Option<Instant> {
        let at = now - self.began;
        let bytes = payload_bytes + HEADERS_BYTES;
        let start = self.free_at.max(at);
        let waited = start - at;
        let mut crossing = Crossing { at, flow, bytes, waited, fate: Fate::Full };
        if waited > self.shape.queue {
            log::trace!("full: {bytes} bytes of {flow}");
            self.crossings.push(crossing);
            return None;
        }
        self.free_at = self.shape.passed(start, bytes);
        let is_lost = self.rng.f64() < self.loss(start);
        let jitter = self.shape.jitter.mul_f64(self.rng.f64());
        let arrives = (self.free_at + self.shape.delay + jitter).max(self.latest);
        crossing.fate = if is_lost { Fate::Lost } else { Fate::Arrived };
        self.crossings.push(crossing);
        if is_lost {
            return None;
        }
        self.latest = arrives;
        Some(self.began + arrives)
    }

    fn loss(&self, at: Duration) -> f64 {
        let burst = self.shape.bursts.filter(|bursts| {
            at.checked_sub(bursts.from).is_some_and(|since| {
                since.as_nanos() % bursts.every.as_nanos() < bursts.length.as_nanos()
            })
        });
        self.shape.loss.max(burst.map_or(0.0, |bursts| bursts.loss))
    }

    fn between(&self, from: Duration, to: Duration) -> impl Iterator<Item = &Crossing> {
        let first = self.crossings.partition_point(|crossing| crossing.at < from);
        let rest = self.crossings.get(first..).unwrap_or_default().iter();
        rest.take_while(move |crossing| crossing.at < to)
    }

    /// The longest that a packet waited, or would have.
    pub fn queue_max(&self, from: Duration, to: Duration) -> Duration {
        self.between(from, to).map(|crossing| crossing.waited).max().unwrap_or_default()
    }

    /// The share of packets that did not arrive.
    pub fn lost(&self, from: Duration, to: Duration) -> f64 {
        let (mut all, mut lost) = (0, 0);
        for crossing in self.between(from, to) {
            all += 1;
            lost += u32::from(crossing.fate != Fate::Arrived);
        }
        if all == 0 { 0.0 } else { f64::from(lost) / f64::from(all) }
    }

    /// Bits a second of one flow that got through the bottleneck.
    pub fn carried(&self, flow: usize, from: Duration, to: Duration) -> f64 {
        let of_flow = |crossing: &&Crossing| crossing.flow == flow && crossing.fate != Fate::Full;
        let bytes: usize = self.between(from, to).filter(of_flow).map(|c| c.bytes).sum();
        bytes as f64 * 8.0 / (to - from).as_secs_f64()
    }
}
