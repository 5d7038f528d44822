//! What a client says in RTCP about what it receives and sends, and what is done about it.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::time::{Duration, Instant};

use super::Worker;
use super::guard::AtWork;
use super::mux::{FourTuple, PeerKey};
use super::peer::Peer;
use super::slot::Slot;
use crate::base::bucket::Bucket;
use crate::base::counters::DropReason;
use crate::base::ids::TrackId;
use crate::base::limits::RTCP_PER_PEER;
use crate::media::resend::ResendBudget;
use crate::media::srtp::NotOpened;
use crate::media::transport_cc::{SendHistory, Signal};
use crate::wire::rtcp::{self, Extended, Packet, ReportBlock};

/// A peer's RTCP.
#[derive(Debug)]
pub struct Feedback {
    rate: Bucket,
    /// Of ourselves as the receiver of what the client sends.
    pub ssrc: u32,
    /// What may still be sent again to it.
    pub resends: ResendBudget,
    /// When what left for it left.
    pub history: SendHistory,
    /// The last report, and when the next is due while something flows.
    pub reported: Option<Instant>,
    pub report_due: Option<Instant>,
    /// Asks how long its time was under way: who, the middle of that time, and when it came.
    pub reference: Option<(u32, u32, Instant)>,
    /// What its timer is set to.
    pub armed: Option<Instant>,
}

impl Feedback {
    /// Nothing said or heard yet.
    pub fn new(ssrc: u32) -> Feedback {
        Feedback {
            rate: Bucket::default(),
            ssrc,
            resends: ResendBudget::default(),
            history: SendHistory::default(),
            reported: None,
            report_due: None,
            reference: None,
            armed: None,
        }
    }
}

/// Whether a datagram is RTCP (RFC 5761 §4, with or without the marker bit).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, kind, ..] if matches!(kind & 0x7f, 64..=95))
}

impl Worker {
    /// A datagram of RTCP, opened in place and acted on.
    pub(super) fn take_rtcp(
        &mut self,
        now: Instant,
        key: PeerKey,
        tuple: FourTuple,
        datagram: &mut [u8],
    ) {
        self.at_work = AtWork::Peer(key);
        let compound = match self.open_rtcp(now, key, tuple, datagram) {
            Ok(compound) => compound,
            Err(reason) => return self.counters.drop(reason, 1),
        };
        let mut tells = false;
        for packet in rtcp::read(compound) {
            tells |= matches!(
                packet,
                Packet::TransportFeedback(_)
                    | Packet::Remb { .. }
                    | Packet::SenderReport { .. }
                    | Packet::ReceiverReport { .. }
            );
            match packet {
                Packet::SenderReport { ssrc, info, blocks } => {
                    let streams = &mut self.peers[key.0].streams;
                    streams.sender_report(ssrc, &info, now);
                    for (track, anchor) in streams.anchors() {
                        self.tracks.anchor(track, anchor, &mut self.handoff);
                    }
                    self.take_blocks(key, blocks.iter(), now);
                }
                Packet::ReceiverReport { blocks, .. } => {
                    self.take_blocks(key, blocks.iter(), now);
                }
                Packet::Nack { media, missing, .. } => {
                    self.answer_nack(key, media, missing.iter(), now);
                }
                Packet::Pli { media, .. } => self.want_picture(key, media, now),
                Packet::Fir { entries, .. } => {
                    entries.iter().for_each(|(media, _)| self.want_picture(key, media, now));
                }
                Packet::TransportFeedback(feedback) => {
                    let Peer { feedback: own, downlink, .. } = &mut self.peers[key.0];
                    let tell = |result| downlink.take(Signal::Packet(result));
                    let heard = own.history.feedback(&feedback, now, tell);
                    self.counters.feedback_arrived += heard.arrived;
                    self.counters.feedback_lost += heard.lost;
                    self.counters.drop(DropReason::FeedbackUnknown, heard.unknown);
                }
                Packet::Remb { bits_per_second, .. } => {
                    let downlink = &mut self.peers[key.0].downlink;
                    downlink.take(Signal::Estimate { bits_per_second });
                }
                Packet::ExtendedReport { sender, blocks } => {
                    for block in blocks.iter() {
                        if let Extended::ReferenceTime { ntp } = block {
                            let feedback = &mut self.peers[key.0].feedback;
                            feedback.reference = Some((sender, (ntp >> 16) as u32, now));
                        }
                    }
                }
                Packet::SourceDescription | Packet::Bye { .. } => {}
                _ => self.counters.drop(DropReason::RtcpUnused, 1),
            }
        }
        if tells {
            self.heard_of_path(key, now);
        }
    }

    fn open_rtcp<'a>(
        &mut self,
        now: Instant,
        key: PeerKey,
        tuple: FourTuple,
        datagram: &'a mut [u8],
    ) -> Result<&'a [u8], DropReason> {
        let peer = &mut self.peers[key.0];
        if !peer.has_session() {
            return Err(DropReason::RtcpForged);
        }
        let session = peer.session().ok_or(DropReason::RtcpForged)?;
        let compound = session.inbound.open_rtcp(datagram).map_err(|e| match e {
            NotOpened::Forged => DropReason::RtcpForged,
            NotOpened::Replayed => DropReason::RtcpReplay,
        })?;
        peer.paths.heard(tuple, now);
        match peer.feedback.rate.take(now, RTCP_PER_PEER) {
            true => Ok(compound),
            false => Err(DropReason::RtcpRate),
        }
    }

    /// The round trip is as long as the longest that a compound's blocks say.
    fn take_blocks(
        &mut self,
        key: PeerKey,
        blocks: impl Iterator<Item = ReportBlock>,
        now: Instant,
    ) {
        let Peer { slots, feedback, downlink, .. } = &mut self.peers[key.0];
        let mut longest = None;
        for block in blocks.filter(|block| slots.iter().any(|s| s.agreed.ssrc == block.ssrc)) {
            let round_trip = round_trip(&block, slots, now);
            longest = longest.max(round_trip);
            let fraction_lost = block.fraction_lost;
            downlink.take(Signal::Report { fraction_lost, round_trip });
        }
        if let Some(longest) = longest {
            feedback.resends.measured(longest);
        }
    }

    /// Sends again what may be sent again.
    fn answer_nack(
        &mut self,
        key: PeerKey,
        media: u32,
        missing: impl Iterator<Item = u16>,
        now: Instant,
    ) {
        let peer = &mut self.peers[key.0];
        let slot = peer.slots.iter().find(|slot| slot.agreed.ssrc == media);
        let place = slot.map(|slot| (slot.agreed.line, slot.track));
        let track = place.and_then(|(_, track)| self.tracks.get(track?.id));
        let encodings = track.map_or(&[][..], |track| &track.encodings);
        let send_time = self.clock.send_time(now);
        let (mut refused, mut resent) = (0, 0);
        let out = (&mut self.transmits, &mut self.counters);
        match place.and_then(|(line, _)| peer.sending(line, now, send_time, out)) {
            Some((slot, mut to)) => {
                for seq in missing {
                    let packet = || {
                        let (ssrc, number) = slot.origin(seq)?;
                        slot.present(encodings)?.cache.get(ssrc, number)
                    };
                    let granted = to.resends.may_grant(now)
                        && packet().is_some_and(|packet| slot.resend(&packet, &mut to));
                    refused += u64::from(!granted);
                    resent += u64::from(granted);
                }
            }
            None => refused += missing.count() as u64,
        }
        self.counters.drop(DropReason::NackRefused, refused);
        self.counters.packets_resent += resent;
    }

    /// Asks the client for a keyframe of an encoding that it sends; `false` while no stream of it is
    /// known, or nothing can be sent yet.
    pub(super) fn request_keyframe(
        &mut self,
        key: PeerKey,
        place: (TrackId, u8),
        now: Instant,
    ) -> bool {
        let peer = &mut self.peers[key.0];
        let Some(media) = peer.streams.asked(place, now) else {
            return false;
        };
        let ssrc = peer.feedback.ssrc;
        peer.send_rtcp(&mut self.transmits, |out, _, _| {
            rtcp::pli(out, ssrc, media);
            true
        })
    }

    /// A picture is missing in the slot that sends a stream.
    fn want_picture(&mut self, key: PeerKey, media: u32, now: Instant) {
        let slot = self.peers[key.0].slots.iter().find(|slot| slot.agreed.ssrc == media);
        if let Some((track, encoding)) = slot.and_then(|slot| slot.track.zip(slot.wanted())) {
            self.want_keyframe(track, encoding, now);
        }
    }
}

/// The time from a sender report to a block that names it, less what the client kept it for
/// (RFC 3550 §6.4.1).
fn round_trip(block: &ReportBlock, slots: &[Slot], now: Instant) -> Option<Duration> {
    let slot = slots.iter().find(|slot| slot.agreed.ssrc == block.ssrc)?;
    // A client on `str0m` rounds the name.
    let mut reported = slot.reported.iter().flatten();
    let (_, left) = reported.find(|(own, _)| own.abs_diff(block.last_report) <= 1)?;
    let kept = Duration::from_micros((u64::from(block.delay) * 1_000_000) >> 16);
    now.saturating_duration_since(*left).checked_sub(kept)
}
