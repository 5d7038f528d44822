//! A bottleneck: a queue with a limit before a link whose rate follows a schedule, then the way,
//! with its loss and its jitter. Time is in microseconds.

use std::collections::VecDeque;

use crate::base::rng::Rng;

pub const MS: u64 = 1_000;
pub const SECOND: u64 = 1_000_000;

pub struct Link {
    /// From when on how many kbit/s.
    pub rates: Vec<(u64, u64)>,
    pub queue_bytes_max: usize,
    /// Each way.
    pub delay: u64,
    pub jitter: u64,
    /// From, to, share lost after the queue.
    pub losses: Vec<(u64, u64, f64)>,
    /// What comes is held until the next multiple of this, as radios do; 0: not.
    pub bunches: u64,
    rng: Rng,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    free_at: u64,
    under_way: VecDeque<(u64, Queued)>,
}

#[derive(Debug, Clone, Copy)]
pub struct Queued {
    pub flow: usize,
    pub seq: u16,
    pub bytes: usize,
    at: u64,
}

impl Link {
    /// Of so many kbit/s, with 30 ms each way and a queue of 300 ms.
    pub fn new(kbps: u64) -> Link {
        Link {
            rates: vec![(0, kbps)],
            queue_bytes_max: (kbps * 300 / 8) as usize,
            delay: 30 * MS,
            jitter: 0,
            losses: Vec::new(),
            bunches: 0,
            rng: Rng::from_seed([5; 32]),
            queue: VecDeque::new(),
            queue_bytes: 0,
            free_at: 0,
            under_way: VecDeque::new(),
        }
    }

    pub fn seeded(mut self, seed: u8) -> Link {
        self.rng = Rng::from_seed([seed; 32]);
        self
    }

    pub fn rate(&self, at: u64) -> u64 {
        self.rates.iter().rev().find(|(from, _)| *from <= at).unwrap().1
    }

    /// What the last packet in the queue waits.
    pub fn waiting(&self, now: u64) -> u64 {
        let rate = self.rate(now);
        if rate == 0 {
            return if self.queue.is_empty() { 0 } else { u64::MAX };
        }
        self.queue_bytes as u64 * 8_000 / rate
    }

    pub fn send(&mut self, now: u64, flow: usize, seq: u16, bytes: usize) {
        // 28 bytes of headers are on the link and in no estimate.
        let bytes = bytes + 28;
        if self.queue_bytes + bytes > self.queue_bytes_max {
            return;
        }
        self.queue_bytes += bytes;
        self.queue.push_back(Queued { flow, seq, bytes, at: now });
    }

    /// What came until now, and when.
    pub fn receive(&mut self, now: u64) -> Vec<(u64, Queued)> {
        while let Some(head) = self.queue.front().copied() {
            let start = self.free_at.max(head.at);
            let rate = self.rate(start);
            if rate == 0 {
                // Nothing passes until the schedule says otherwise.
                let Some((resumes, _)) = self.rates.iter().find(|(at, r)| *at > start && *r > 0)
                else {
                    break;
                };
                if *resumes > now {
                    break;
                }
                self.free_at = *resumes;
                continue;
            }
            let end = start + head.bytes as u64 * 8_000 / rate;
            if end > now {
                break;
            }
            self.free_at = end;
            self.queue.pop_front();
            self.queue_bytes -= head.bytes;
            let lost = self.losses.iter().filter(|(from, to, _)| (*from..*to).contains(&end));
            let lost = lost.map(|(_, _, share)| *share).sum::<f64>();
            if self.chance() < lost {
                continue;
            }
            let jitter = if self.jitter > 0 { self.rng.next_u64() % self.jitter } else { 0 };
            let last = self.under_way.back().map_or(0, |(at, _)| *at);
            let mut came = (end + self.delay + jitter).max(last);
            if self.bunches > 0 {
                came = came.next_multiple_of(self.bunches);
            }
            self.under_way.push_back((came, head));
        }
        let count = self.under_way.iter().take_while(|(at, _)| *at <= now).count();
        self.under_way.drain(..count).collect()
    }

    fn chance(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
