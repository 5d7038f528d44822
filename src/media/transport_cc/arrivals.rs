//! What came from one publisher, for its own estimate of the way to here.

use std::time::Instant;

use crate::base::limits::{FEEDBACK_ARRIVALS_MAX, FEEDBACK_INTERVAL, TRANSPORT_WINDOW};
use crate::wire::rtcp::{TransportHead, transport_feedback};

/// Microseconds of one tick of the feedback's clock.
const TICK_MICROS: u64 = 250;
/// The clock begins one step of its reference time late, so that no tick of an arrival is 0.
const FIRST_TICK: u64 = 256;

/// Packets of one peer, over all its streams, by their transport-wide sequence number.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// The tick at which each of the last [`TRANSPORT_WINDOW`] numbers came, 0 for none; the place
    /// of a packet is its number. Empty before the first.
    ticks: Vec<u32>,
    /// Where the clock begins.
    epoch: Option<Instant>,
    /// Behind the highest extended number that came.
    end: u64,
    /// The next feedback speaks of numbers from here on.
    start: u64,
    /// When the first packet came that no feedback spoke of yet, and how many did since.
    unreported: Option<(Instant, usize)>,
    feedbacks: u8,
}

impl Arrivals {
    /// A packet came. One that came before, or is older than what is remembered, is ignored.
    pub fn received(&mut self, seq: u16, now: Instant) {
        let epoch = *self.epoch.get_or_insert(now);
        if self.ticks.is_empty() {
            self.ticks.resize(TRANSPORT_WINDOW, 0);
            // A round ahead, for what may come from before.
            self.start = 1 << 16 | u64::from(seq);
            self.end = self.start;
        }
        let ahead = seq.wrapping_sub(self.end as u16).cast_signed();
        let seq = self.end.saturating_add_signed(ahead.into());
        if seq + (TRANSPORT_WINDOW as u64) < self.end {
            return;
        }
        self.advance(seq + 1);
        let since = now.saturating_duration_since(epoch).as_micros() as u64 / TICK_MICROS;
        let Some(tick) = self.ticks.get_mut(place(seq)).filter(|tick| **tick == 0) else { return };
        *tick = ((since + FIRST_TICK) as u32).max(1);
        self.start = self.start.min(seq);
        let (first, count) = self.unreported.unwrap_or((now, 0));
        self.unreported = Some((first, count + 1));
    }

    /// Makes room up to `end`, where nothing came yet.
    fn advance(&mut self, end: u64) {
        if end <= self.end {
            return;
        }
        let window = TRANSPORT_WINDOW as u64;
        for seq in self.end.max(end.saturating_sub(window))..end {
            if let Some(tick) = self.ticks.get_mut(place(seq)) {
                *tick = 0;
            }
        }
        self.end = end;
        self.start = self.start.max(end.saturating_sub(window));
    }

    /// When to send feedback: soon after the first packet that none spoke of.
    pub fn deadline(&self) -> Option<Instant> {
        let (first, count) = self.unreported?;
        Some(if count >= FEEDBACK_ARRIVALS_MAX { first } else { first + FEEDBACK_INTERVAL })
    }

    /// Appends one feedback, if there is something to say; there may be more to say then. A
    /// packet that came late is spoken of together with all that followed it, as receivers do.
    pub fn feedback(&mut self, out: &mut Vec<u8>, sender: u32, media: u32) -> bool {
        if self.unreported.is_none() {
            return false;
        }
        let mut arrived = 0;
        let mut end = self.start;
        for seq in self.start..self.end {
            if self.tick(seq).is_some() {
                (arrived, end) = (arrived + 1, seq + 1);
            }
            if arrived == FEEDBACK_ARRIVALS_MAX {
                break;
            }
        }
        let base = self.start as u16;
        let head = TransportHead { sender, media, base, feedback_count: self.feedbacks };
        let spoken_of = transport_feedback(out, head, (self.start..end).map(|seq| self.tick(seq)));
        self.start += u64::from(spoken_of);
        if self.start == self.end {
            self.unreported = None;
        }
        self.feedbacks = self.feedbacks.wrapping_add(u8::from(spoken_of > 0));
        spoken_of > 0
    }

    fn tick(&self, seq: u64) -> Option<u32> {
        self.ticks.get(place(seq)).copied().filter(|tick| *tick > 0)
    }
}

fn place(seq: u64) -> usize {
    seq as usize % TRANSPORT_WINDOW
}
