//! What was sent to one subscriber, and what it says became of it.

use std::time::{Duration, Instant};

use crate::base::limits::SEND_HISTORY;
use crate::wire::rtcp::TransportFeedback;

/// Microseconds of one tick of the receiver's clock.
const TICK_MICROS: u64 = 250;

/// Packets to one peer, over all its streams, by their transport-wide sequence number.
#[derive(Debug, Default)]
pub struct SendHistory {
    /// The last [`SEND_HISTORY`] packets; the place of one is its number. Empty before the first.
    ring: Vec<Sent>,
    /// Times of sending count from here.
    epoch: Option<Instant>,
    /// The extended number of the next packet.
    next: u64,
    clock: ReceiverClock,
    forgotten: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    /// From the epoch; wraps after 71 minutes, so a packet that is older seems younger. Only a
    /// client that lies speaks of it.
    micros: u32,
    bytes: u16,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fate {
    /// There is no such packet, or it arrived.
    #[default]
    Done,
    Open,
    Lost,
}

/// What became of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketResult {
    /// Its extended transport-wide sequence number.
    pub seq: u64,
    pub sent: Instant,
    pub bytes: usize,
    /// When it came, on a clock of the receiver of which only differences matter; `None`: lost.
    pub arrived: Option<Duration>,
}

/// What one feedback said, in packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heard {
    pub arrived: u64,
    pub lost: u64,
    /// Arrived after all, but had been told lost: not told again.
    pub late: u64,
    /// Said again, as receivers do when a packet came late.
    pub repeated: u64,
    /// Never sent, or so long ago that it is not remembered.
    pub unknown: u64,
}

/// Ticks without their wrap.
#[derive(Debug, Default)]
struct ReceiverClock {
    last: Option<(u32, u64)>,
}

impl SendHistory {
    /// A packet leaves; gives the transport-wide sequence number that it shall carry.
    pub fn sent(&mut self, now: Instant, bytes: usize) -> u16 {
        if self.ring.is_empty() {
            self.ring.resize(SEND_HISTORY, Sent::default());
        }
        let micros = self.micros(now);
        let seq = self.next;
        self.next += 1;
        if let Some(place) = self.ring.get_mut(place(seq)) {
            self.forgotten += u64::from(place.fate == Fate::Open);
            let bytes = bytes.min(u16::MAX.into()) as u16;
            *place = Sent { micros, bytes, fate: Fate::Open };
        }
        seq as u16
    }

    /// The extended number of the next packet, as a [`PacketResult`] will have it.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Tells of each packet once: that it arrived, or, if a feedback leaves it out, that it is
    /// lost. The work is linear in the feedback's bytes, and in the history for what is lost.
    pub fn feedback(
        &mut self,
        feedback: &TransportFeedback,
        now: Instant,
        mut tell: impl FnMut(PacketResult),
    ) -> Heard {
        let now = (now, self.micros(now));
        let mut heard = Heard::default();
        for (seq, tick) in feedback.arrivals() {
            let arrived = self.clock.time(tick);
            let Some((seq, sent)) = self.remembered(seq) else {
                heard.unknown += 1;
                continue;
            };
            match std::mem::take(&mut sent.fate) {
                Fate::Open => {
                    heard.arrived += 1;
                    tell(sent.result(seq, now, Some(arrived)));
                }
                Fate::Lost => heard.late += 1,
                Fate::Done => heard.repeated += 1,
            }
        }
        for seq in self.spoken_of(feedback) {
            let Some(sent) = self.ring.get_mut(place(seq)) else { continue };
            if sent.fate == Fate::Open {
                sent.fate = Fate::Lost;
                heard.lost += 1;
                tell(sent.result(seq, now, None));
            }
        }
        heard
    }

    /// Packets that were followed by so many others before any feedback spoke of them, that they
    /// are not remembered.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    fn micros(&mut self, now: Instant) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        now.saturating_duration_since(epoch).as_micros() as u32
    }

    /// The oldest that is remembered.
    fn oldest(&self) -> u64 {
        self.next.saturating_sub(self.ring.len() as u64)
    }

    /// The last packet of that number, with its extended number.
    fn remembered(&mut self, seq: u16) -> Option<(u64, &mut Sent)> {
        let oldest = self.oldest();
        let seq = oldest + u64::from(seq.wrapping_sub(oldest as u16));
        let sent = self.ring.get_mut(place(seq)).filter(|_| seq < self.next)?;
        Some((seq, sent))
    }

    /// The remembered packets among those that a feedback speaks of.
    fn spoken_of(&self, feedback: &TransportFeedback) -> std::ops::Range<u64> {
        let (oldest, count) = (self.oldest(), u64::from(feedback.count));
        let ahead = u64::from(feedback.base.wrapping_sub(oldest as u16));
        let behind = u64::from((oldest as u16).wrapping_sub(feedback.base));
        // It begins within what is remembered, or before that.
        let (start, end) = if oldest + ahead < self.next {
            (oldest + ahead, oldest + ahead + count)
        } else {
            (oldest, oldest + count.saturating_sub(behind))
        };
        start..end.min(self.next)
    }
}

impl Sent {
    fn result(self, seq: u64, now: (Instant, u32), arrived: Option<Duration>) -> PacketResult {
        let age = Duration::from_micros(now.1.wrapping_sub(self.micros).into());
        let sent = now.0.checked_sub(age).unwrap_or(now.0);
        PacketResult { seq, sent, bytes: self.bytes.into(), arrived }
    }
}

impl ReceiverClock {
    fn time(&mut self, tick: u32) -> Duration {
        // Far enough from zero for what came before the first that is told of.
        let (last, ticks) = self.last.unwrap_or((tick, 1 << 32));
        let ticks = ticks.saturating_add_signed(tick.wrapping_sub(last).cast_signed().into());
        self.last = Some((tick, ticks));
        Duration::from_micros(ticks.saturating_mul(TICK_MICROS))
    }
}

fn place(seq: u64) -> usize {
    seq as usize % SEND_HISTORY
}
