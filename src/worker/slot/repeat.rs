//! What leaves a slot a second time (RFC 4588).

use super::write::Place;
use super::{Sending, Slot};
use crate::media::packet::Packet;
use crate::wire::rtp::Fixed;

/// A retransmission's headers, tag and original sequence number: more than it has of them.
const RESEND_OVERHEAD_BYTES: usize = 12 + 4 + 48 + 2 + 16;

impl Slot {
    /// Sends a packet of its track once more (RFC 4588 §4), if it may; whether it did.
    pub fn resend(&mut self, packet: &Packet<'_>, to: &mut Sending<'_>) -> bool {
        let Some(seq) = self.rewriter.again(packet).map(|rewritten| rewritten.seq as u16) else {
            return false;
        };
        // What it is in bytes is known once it is written; this is no less.
        let bytes = packet.payload.len() + packet.descriptor.len() + RESEND_OVERHEAD_BYTES;
        to.resends.grant(self.agreed.ssrc, seq, bytes, to.now) && self.repeat(packet, to).is_some()
    }

    fn repeat(&mut self, packet: &Packet<'_>, to: &mut Sending<'_>) -> Option<usize> {
        let rewritten = self.rewriter.again(packet)?;
        let payload_type = self.codec(packet.head.codec)?.rtx?;
        let (seq, ssrc) = (rewritten.seq as u16, self.agreed.rtx_ssrc?);
        let fixed = Fixed {
            payload_type,
            marker: rewritten.marker,
            seq: self.rtx_seq as u16,
            timestamp: rewritten.timestamp,
            ssrc,
        };
        let place = Place { fixed, index: self.rtx_seq, original: Some(seq) };
        self.rtx_seq += 1;
        self.write(packet, &rewritten, place, to)
    }
}
