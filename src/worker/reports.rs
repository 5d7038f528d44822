//! What a client is told in RTCP: of what it sends, what came and what is missing; of what it
//! receives, which timestamp belongs to which time.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::time::{Duration, Instant};

use super::guard::AtWork;
use super::mux::PeerKey;
use super::{Timer, Worker};
use crate::base::limits::RTCP_REPORT_INTERVAL;
use crate::media::reception::ticks;
use crate::wire::rtcp::{self, SinceReference};

/// Sender reports in one compound, each with its name: a datagram of some 1,000 bytes.
const SENDERS_PER_COMPOUND: usize = 12;
/// What one packet holds (RFC 3550 §6.4.2); a client with more streams at a time has the rest told
/// of another time.
const BLOCKS_PER_COMPOUND: usize = 31;
/// Between two times of saying something.
const FEEDBACK_PAUSE: Duration = Duration::from_millis(5);

impl Worker {
    /// Something came from a peer or left for it: sees to it that it is reported in time.
    pub(super) fn will_report(&mut self, key: PeerKey, now: Instant) {
        let peer = &mut self.peers[key.0];
        let feedback = &mut peer.feedback;
        let report = *feedback.report_due.get_or_insert(now + RTCP_REPORT_INTERVAL);
        let due = peer.streams.deadline().map_or(report, |due| due.min(report));
        if feedback.armed.is_none_or(|armed| due < armed) {
            feedback.armed = Some(due);
            self.deadlines.set(Timer::Feedback(key), due);
        }
    }

    /// Says what is due.
    pub(super) fn give_feedback(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key.0) else {
            return;
        };
        self.at_work = AtWork::Peer(key);
        peer.feedback.armed = None;
        self.ask_again(key, now);
        self.tell_arrivals(key, now);
        let feedback = &self.peers[key.0].feedback;
        if feedback.report_due.is_some_and(|due| due <= now) {
            self.report_streams(key, now);
        }
        let peer = &mut self.peers[key.0];
        let due = [peer.feedback.report_due, peer.streams.deadline()].into_iter().flatten().min();
        // What could not be said now is said later.
        peer.feedback.armed = due.map(|due| due.max(now + FEEDBACK_PAUSE));
        if let Some(due) = peer.feedback.armed {
            self.deadlines.set(Timer::Feedback(key), due);
        }
    }

    /// NACKs for what is missing of its streams.
    fn ask_again(&mut self, key: PeerKey, now: Instant) {
        let peer = &mut self.peers[key.0];
        let (sender, numbers) = (peer.feedback.ssrc, &mut self.numbers);
        while peer.send_rtcp(&mut self.transmits, |out, streams, _| {
            streams.nacks(now, sender, numbers, out)
        }) {
            self.counters.nacks_sent += 1;
        }
        while let Some(place) = self.peers[key.0].streams.take_given_up() {
            self.want_own_keyframe(place, now);
        }
    }

    /// Transport-wide feedback on what came.
    fn tell_arrivals(&mut self, key: PeerKey, now: Instant) {
        let peer = &mut self.peers[key.0];
        let sender = peer.feedback.ssrc;
        while peer.streams.arrivals.deadline().is_some_and(|due| due <= now)
            && peer.send_rtcp(&mut self.transmits, |out, streams, _| {
                // It is of all streams; the field names one of them.
                let media = streams.any();
                streams.arrivals.feedback(out, sender, media)
            })
        {}
    }

    /// Receiver reports on what it sends, the answer to a reference time, sender reports on what it
    /// receives.
    fn report_streams(&mut self, key: PeerKey, now: Instant) {
        let (peer, clock) = (&mut self.peers[key.0], self.clock);
        let (sender, since) = (peer.feedback.ssrc, peer.feedback.reported.replace(now));
        let mut asked = peer.feedback.reference.take();
        // With the first that leaves: who gets nothing need not know how far we are.
        let mut answer = |out: &mut Vec<u8>| {
            if let Some((ssrc, last_reference, came)) = asked.take() {
                let delay = ticks(now.saturating_duration_since(came), 1 << 16);
                let time = SinceReference { ssrc, last_reference, delay };
                rtcp::times_since_reference(out, sender, [time]);
            }
        };
        let mut flows = peer.send_rtcp(&mut self.transmits, |out, streams, _| {
            let mut blocks = streams.blocks(since, now).take(BLOCKS_PER_COMPOUND).peekable();
            let some = blocks.peek().is_some();
            rtcp::receiver_report(out, sender, blocks);
            if some {
                answer(out);
            }
            some
        });
        let mut at = 0;
        while peer.send_rtcp(&mut self.transmits, |out, _, slots| {
            let mut count = 0;
            for slot in slots.iter_mut().skip(at) {
                at += 1;
                let track = slot.track.and_then(|track| self.tracks.get(track.id));
                let anchor = track.and_then(|track| slot.present(&track.encodings)?.anchor);
                if let Some(info) = slot.sender_info(anchor, &clock, now) {
                    rtcp::sender_report(out, slot.agreed.ssrc, &info, []);
                    rtcp::source_description(out, slot.agreed.ssrc, &slot.agreed.cname);
                    count += 1;
                }
                if count == SENDERS_PER_COMPOUND {
                    break;
                }
            }
            if count > 0 {
                answer(out);
            }
            count > 0
        }) {
            flows = true;
        }
        peer.feedback.report_due = flows.then(|| now + RTCP_REPORT_INTERVAL);
    }
}
