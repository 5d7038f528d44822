//! Whether what is lost is lost because too much is sent.
//!
//! A link that is full loses what it cannot carry: what arrives is the same however much is sent,
//! and when less is sent, less is lost. A bad radio loses the same share of whatever is sent. Which
//! of the two it is shows when less is sent: that is the idea of `libwebrtc`'s second loss
//! controller (`loss_based_bwe_v2`), which fits both to the last seconds; here it is an experiment.
//! When more is lost than the path is known to lose, the rate goes down to what arrived; if as much
//! is lost then, the path is one that loses so much, and the rate may rise again.

use super::rate::DECREASE;
use super::{PacketResult, share};
use crate::base::bitrate::Bitrate;

/// An observation spans at least so long and so many packets (`libwebrtc`,
/// `ObservationDurationLowerBound`, 250 ms), or so long with fewer. More is surer and later; of 20
/// packets (`kLimitNumPackets`) a path that loses a twentieth often loses a tenth.
const SPAN_MICROS_MIN: i64 = 250_000;
const SPAN_MICROS_MAX: i64 = 1_000_000;
const PACKETS_MIN: u32 = 50;
/// Of what loses severely, so many are enough.
const PACKETS_SEVERE: u32 = 20;
/// What a path is thought to lose of itself before it showed (`libwebrtc`,
/// `InitialInherentLossEstimate`).
const INHERENT: f64 = 0.01;
/// And the most that it may be thought to lose. Higher goes on sending into a link that drops what
/// is too much without a queue before it; lower starves who has a bad radio. (The draft backs off
/// from 10 % on, `libwebrtc` from 5 % and more at low rates.)
const INHERENT_MAX: f64 = 0.2;
/// So much of what the last observation says goes into it: up when less was sent and as much was
/// lost, and down. Higher learns faster, and forgets a bad radio in good seconds.
const INHERENT_UP: f64 = 0.5;
const INHERENT_DOWN: f64 = 0.05;
/// More than the path loses by itself is by so much more (draft-ietf-rmcat-gcc-02 §6: below 2 % is
/// no loss), and by so many standard deviations of chance.
const EXCESS_MIN: f64 = 0.02;
const DEVIATIONS: f64 = 3.0;
/// While the application sends less than it may, no less than this is too much (draft §6: above
/// 10 %): its rate is not what filled the link.
const EXCESS_LIMITED: f64 = 0.1;
/// It must last for so many observations, unless so much is lost and a queue stands: a moment without
/// a radio loses all, and is over. More rides out longer bursts of
/// a radio; fewer leaves a link that has no queue sooner.
const PATIENCE: u32 = 2;
const SEVERE: f64 = 0.35;

/// Less than this share of what passed before does not pass any more. Higher takes a link's
/// uneven rate for a bad radio; lower does not know one that loses less than the rest.
const PASSED: f64 = 0.97;

/// What of a path's loss is whose.
#[derive(Debug)]
pub struct Loss {
    inherent: f64,
    current: Observation,
    /// Observations in a row that lost too much.
    excess: u32,
    /// What arrived when the rate last went down for loss: so much would still, were it the link.
    passed: Option<Bitrate>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Observation {
    /// When the first and the last of its packets left, and their numbers.
    sent: Option<(i64, i64)>,
    seq: (u64, u64),
    packets: u32,
    bytes: u64,
    lost_bytes: u64,
}

/// What to do about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    /// The path loses what it always loses.
    Usual,
    /// Too much, for too short a time yet.
    Unsure,
    /// Too much: send no more than this.
    Lower(Bitrate),
}

impl Default for Loss {
    fn default() -> Loss {
        let current = Observation::default();
        Loss { inherent: INHERENT, current, excess: 0, passed: None }
    }
}

impl Loss {
    /// What became of a packet, which left at `sent` (microseconds).
    pub fn take(&mut self, result: &PacketResult, sent: i64) {
        let now = &mut self.current;
        let (first, last) = now.sent.unwrap_or((sent, sent));
        now.sent = Some((first.min(sent), last.max(sent)));
        let seq = if now.packets == 0 { (result.seq, result.seq) } else { now.seq };
        now.seq = (seq.0.min(result.seq), seq.1.max(result.seq));
        now.packets += 1;
        let bytes = result.bytes as u64;
        now.bytes += bytes;
        now.lost_bytes += if result.arrived.is_none() { bytes } else { 0 };
    }

    /// A feedback was heard. Something is said once for each observation. `is_queued`: a queue stands
    /// as well, so that what is lost did not fit into it.
    pub fn update(&mut self, is_limited: bool, is_queued: bool) -> Option<Verdict> {
        let (first, last) = self.current.sent?;
        let lost = share(self.current.lost_bytes, self.current.bytes);
        let packets = if lost < SEVERE { PACKETS_MIN } else { PACKETS_SEVERE };
        let is_full = last - first >= SPAN_MICROS_MIN && self.current.packets >= packets;
        if !is_full && last - first < SPAN_MICROS_MAX {
            return None;
        }
        let seen = std::mem::take(&mut self.current);
        Some(self.judge(seen, super::micros(last - first), (is_limited, is_queued)))
    }

    /// So many times what arrives is sent, on a path that loses nothing but what it always does.
    pub fn sent_per_arrived(&self) -> f64 {
        1.0 / (1.0 - self.inherent)
    }

    fn judge(
        &mut self,
        seen: Observation,
        span: std::time::Duration,
        (is_limited, is_queued): (bool, bool),
    ) -> Verdict {
        // In bytes: a queue that is full still takes what is small.
        let lost = share(seen.lost_bytes, seen.bytes);
        // Packets that no feedback spoke of were sent all the same.
        let told = share(seen.packets.into(), (seen.seq.1 - seen.seq.0).saturating_add(1));
        let sent = Bitrate::of(seen.bytes, span).scale(1.0 / told.max(0.1));
        let margin = |share: f64| {
            let deviation = (share * (1.0 - share) / f64::from(seen.packets)).sqrt();
            EXCESS_MIN.max(DEVIATIONS * deviation)
        };
        let usual = self.inherent + margin(self.inherent.max(INHERENT));
        if lost <= usual {
            self.excess = 0;
            self.passed = None;
            self.inherent += INHERENT_DOWN * (lost - self.inherent).min(0.0);
            return Verdict::Usual;
        }
        let arrived = sent.scale(1.0 - lost);
        // Had it been too much, as much would pass as before.
        let is_inherent =
            self.passed.is_some_and(|passed| arrived < sent.min(passed).scale(PASSED));
        if (is_inherent || is_limited && lost < EXCESS_LIMITED)
            && lost < INHERENT_MAX + margin(INHERENT_MAX)
        {
            let towards = lost.min(INHERENT_MAX);
            self.inherent += INHERENT_UP * (towards - self.inherent).max(0.0);
        }
        if is_limited && lost < usual.max(EXCESS_LIMITED + margin(EXCESS_LIMITED)) {
            return Verdict::Usual;
        }
        self.excess += 1;
        if self.excess < PATIENCE && !(lost >= SEVERE && is_queued) {
            return Verdict::Unsure;
        }
        self.excess = 0;
        self.passed = Some(arrived);
        // Where so much is lost a queue is full, and must become empty.
        let share = if lost > SEVERE { DECREASE } else { self.sent_per_arrived() };
        Verdict::Lower(arrived.scale(share))
    }
}
