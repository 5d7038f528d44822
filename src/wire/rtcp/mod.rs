//! RTCP as an SFU must look into it (RFC 3550 §6, RFC 4585 §6): compound packets taken apart, and
//! what in them may be acted on.

mod filter;

pub use filter::{
    LeftOut, begins_with_sender_report, keep_allowed, reception_reports, sender_reports,
};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
/// RFC 3611.
const EXTENDED_REPORT: u8 = 207;
/// Generic NACK: transport-layer feedback (205), format 1 (RFC 4585 §6.2.1).
const TRANSPORT_FEEDBACK: u8 = 205;
const FORMAT_NACK: u8 = 1;
/// Requests for a keyframe: payload-specific feedback (206), formats 1 (RFC 4585 §6.3.1) and 4
/// (RFC 5104 §4.3.1).
const PAYLOAD_FEEDBACK: u8 = 206;
const FORMAT_PLI: u8 = 1;
const FORMAT_FIR: u8 = 4;

/// The packets of a compound, in order. Ends at the first that is malformed.
pub fn packets(mut compound: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [first, _, l0, l1] = *compound.first_chunk::<4>()?;
        let bytes = 4 * (usize::from(u16::from_be_bytes([l0, l1])) + 1);
        let (packet, rest) = compound.split_at_checked(bytes)?;
        compound = rest;
        (first >> 6 == 2).then_some(packet)
    })
}
