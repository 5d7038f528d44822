//! What a client says about what it receives, weighed before `str0m` acts on it: `str0m` would
//! send again whatever is asked for, as often as it is asked for, and believes what it is told.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::Worker;
use super::mux::{FourTuple, PeerKey};
use super::peer::Slot;
use super::srtcp::{NotOpened, Srtcp};
use crate::base::bucket::Bucket;
use crate::base::counters::DropReason;
use crate::base::limits::RTCP_PER_PEER;
use crate::media::resend::ResendBudget;
use crate::wire::rtcp;

/// A peer's RTCP.
#[derive(Debug, Default)]
pub struct Feedback {
    rate: Bucket,
    /// From its first datagram on.
    srtcp: Option<Srtcp>,
    /// Of what we send to it, from the first sender report on.
    own_srtcp: Option<Srtcp>,
    /// What may still be sent again to it.
    pub resends: ResendBudget,
    /// The last compound, opened; and what is left of it.
    plain: Vec<u8>,
    kept: Vec<u8>,
}

/// Whether `str0m` takes a datagram for RTCP (RFC 5761 §4, with or without the marker bit).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if matches!(kind & 0x7f, 64..=95))
}

impl Worker {
    /// A datagram of RTCP as `str0m` may have it: as it is, or without what may not be sent again.
    pub(super) fn weigh_rtcp<'a>(
        &mut self,
        key: PeerKey,
        tuple: FourTuple,
        datagram: &'a [u8],
        now: Instant,
    ) -> Result<Cow<'a, [u8]>, DropReason> {
        let peer = &mut self.peers[key.0];
        let feedback = &mut peer.feedback;
        if !feedback.rate.take(now, RTCP_PER_PEER) {
            return Err(DropReason::RtcpRate);
        }
        if feedback.srtcp.is_none() {
            let keys = peer.keys.get().ok_or(DropReason::RtcpForged)?;
            let provider = &self.config.crypto.provider;
            feedback.srtcp = Srtcp::new(provider, keys.profile, &keys.material, keys.from_client);
        }
        let srtcp = feedback.srtcp.as_mut().ok_or(DropReason::RtcpForged)?;
        let index = srtcp.open(datagram, &mut feedback.plain).map_err(|e| match e {
            NotOpened::Forged => DropReason::RtcpForged,
            NotOpened::Replayed => DropReason::RtcpReplay,
        })?;
        peer.paths.heard(tuple, now);
        if let Some(round_trip) = round_trip(&feedback.plain, &peer.slots, now) {
            feedback.resends.measured(round_trip);
        }
        feedback.kept.clear();
        let (slots, resends) = (&mut peer.slots, &mut feedback.resends);
        let left_out = rtcp::keep_allowed(&feedback.plain, &mut feedback.kept, |ssrc, seq| {
            let slot = slots.iter_mut().find(|s| s.sends(ssrc));
            slot.is_some_and(|s| s.sent.grant(seq, now, resends))
        });
        if feedback.kept == feedback.plain {
            return Ok(Cow::Borrowed(datagram));
        }
        self.counters.drop(DropReason::NackRefused, left_out.retransmissions);
        self.counters.drop(DropReason::RtcpUnused, left_out.unused);
        // The sender's SSRC stands in the first packet, which may be gone.
        let sealed = srtcp.seal(&feedback.kept, index);
        Ok(Cow::Owned(sealed.unwrap_or_default()))
    }

    /// A sender report leaves, as `str0m` protected it: what it is called by the client that
    /// received it, and when it left.
    pub(super) fn note_report(&mut self, key: PeerKey, datagram: &[u8], now: Instant) {
        let peer = &mut self.peers[key.0];
        let feedback = &mut peer.feedback;
        if feedback.own_srtcp.is_none() {
            let Some(keys) = peer.keys.get() else { return };
            let provider = &self.config.crypto.provider;
            let from_client = !keys.from_client;
            feedback.own_srtcp = Srtcp::new(provider, keys.profile, &keys.material, from_client);
        }
        let Some(srtcp) = &mut feedback.own_srtcp else { return };
        if srtcp.open(datagram, &mut feedback.plain).is_err() {
            return;
        }
        for (ssrc, name) in rtcp::sender_reports(&feedback.plain) {
            if let Some(slot) = peer.slots.iter_mut().find(|s| s.sends(ssrc)) {
                slot.reported = [slot.reported[1], Some((name, now))];
            }
        }
    }
}

/// The time from a sender report to a reception report that names it, less what the client kept it
/// for (RFC 3550 §6.4.1); the longest, if there are several.
fn round_trip(compound: &[u8], slots: &[Slot], now: Instant) -> Option<Duration> {
    let measured = rtcp::reception_reports(compound).filter_map(|(ssrc, name, kept)| {
        let slot = slots.iter().find(|s| s.sends(ssrc))?;
        // A client on `str0m` rounds the name.
        let mut reported = slot.reported.iter().flatten();
        let (_, left) = reported.find(|(own, _)| own.abs_diff(name) <= 1)?;
        now.saturating_duration_since(*left).checked_sub(kept)
    });
    measured.max()
}
