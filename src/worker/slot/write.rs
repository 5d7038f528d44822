//! How a slot's packets are built and sealed.

use super::{Sending, Slot};
use crate::base::counters::DropReason;
use crate::base::limits::DATAGRAM_OUT_BYTES_MAX;
use crate::media::packet::Packet;
use crate::media::rewrite::Rewritten;
use crate::wire::codec::Kind;
use crate::wire::rtp::{Fixed, Writer};

/// Where a packet stands in a stream.
pub(super) struct Place {
    pub fixed: Fixed,
    /// For SRTP: rollover counter and sequence number.
    pub index: u64,
    /// Of a retransmission: the number under which it left first.
    pub original: Option<u16>,
}

/// A packet that is begun in the arena.
struct Begun {
    start: usize,
    /// Where its transport-wide number stands, if it has one.
    number: Option<usize>,
}

impl Slot {
    /// Builds a packet in the arena and seals it; its bytes, or `None` if it cannot leave.
    pub(super) fn write(
        &self,
        packet: &Packet<'_>,
        rewritten: &Rewritten,
        place: Place,
        to: &mut Sending<'_>,
    ) -> Option<usize> {
        let (ids, head) = (&self.agreed.ids, &packet.head);
        let mut room = None;
        let descriptor = rewritten.descriptor(packet.descriptor, &mut room);
        let long = ids.dependency_descriptor != 0 && descriptor.len() > 16;
        let (mut writer, begun) = self.begin(place.fixed, long, to);
        head.extensions.write(ids, &mut writer);
        if ids.dependency_descriptor != 0 && !descriptor.is_empty() {
            let at = writer.element(ids.dependency_descriptor, descriptor);
            rewritten.patch_descriptor(at);
        }
        let header = writer.end();
        let arena = to.transmits.arena();
        if let Some(original) = place.original {
            arena.extend(original.to_be_bytes());
        }
        let payload = arena.len();
        arena.extend_from_slice(packet.payload);
        rewritten.patch_payload(arena.get_mut(payload..).unwrap_or_default());
        self.finish(&begun, header, place.index, to)
    }

    /// Sends a packet of about so many bytes that is nothing but padding (RFC 3550 §5.1), on the
    /// stream of retransmissions, where it makes no gap in what is shown. `false` without that.
    pub fn pad(&mut self, bytes: usize, to: &mut Sending<'_>) -> bool {
        let codec = self.agreed.codecs.iter().find_map(|codec| codec.rtx);
        let Some((payload_type, ssrc)) = codec.zip(self.agreed.rtx_ssrc) else { return false };
        let fixed = Fixed {
            payload_type,
            marker: false,
            seq: self.rtx_seq as u16,
            timestamp: self.rewriter.timestamp_at(to.now).unwrap_or(0),
            ssrc,
        };
        let (writer, begun) = self.begin(fixed, false, to);
        let header = writer.end();
        let overhead = header + to.outbound.rtp_overhead();
        let padding = bytes.saturating_sub(overhead).clamp(1, 255) as u8;
        let arena = to.transmits.arena();
        if let Some(first) = arena.get_mut(begun.start) {
            *first |= 0x20;
        }
        arena.resize(arena.len() + usize::from(padding) - 1, 0);
        arena.push(padding);
        let index = self.rtx_seq;
        self.rtx_seq += 1;
        self.finish(&begun, header, index, to).is_some()
    }

    /// Begins a packet, up to the extensions that all have.
    fn begin<'w>(
        &self,
        fixed: Fixed,
        needs_two_bytes: bool,
        to: &'w mut Sending<'_>,
    ) -> (Writer<'w>, Begun) {
        let ids = &self.agreed.ids;
        let start = to.transmits.end();
        let send_time = to.send_time;
        let arena = to.transmits.arena();
        let mut writer = Writer::begin(arena, fixed, needs_two_bytes || ids.needs_two_bytes());
        let numbered = writer.element(ids.transport_sequence_number, &[0; 2]).len() == 2;
        // Behind the fixed part, the extension's own head, and the element's.
        let number = start + 12 + 4 + if writer.is_two_byte() { 2 } else { 1 };
        if !numbered {
            writer.element(ids.absolute_send_time, &send_time);
        }
        writer.element(ids.mid, self.agreed.name.as_bytes());
        (writer, Begun { start, number: numbered.then_some(number) })
    }

    /// Numbers and seals what was begun, whose header ends at `header`.
    fn finish(
        &self,
        begun: &Begun,
        header: usize,
        index: u64,
        to: &mut Sending<'_>,
    ) -> Option<usize> {
        let arena = to.transmits.arena();
        let bytes = arena.len() - begun.start + to.outbound.rtp_overhead();
        if bytes > DATAGRAM_OUT_BYTES_MAX {
            to.transmits.abandon();
            to.counters.drop(DropReason::Oversize, 1);
            return None;
        }
        let number = begun.number.and_then(|at| arena.get_mut(at..at + 2));
        if let Some(place) = number {
            place.copy_from_slice(&to.history.sent(to.now, bytes).to_be_bytes());
        }
        if !to.outbound.seal_rtp(arena, begun.start, header, index) {
            return None;
        }
        let bytes = to.transmits.finish(to.local, to.remote);
        to.downlink.sent(to.now, bytes);
        if self.agreed.kind == Kind::Audio {
            to.downlink.sound_bytes += bytes as u64;
        }
        Some(bytes)
    }
}
