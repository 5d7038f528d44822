//! RTCP (RFC 3550 §6, RFC 4585 §6): compound packets read as views that borrow from the datagram,
//! and packets written behind one another into a buffer. Nothing is allocated on either way, and
//! the work is linear in the bytes, whatever they say. The crate `rtcp-types` was weighed: it knows
//! no REMB, and its builders allocate (seven times, and twenty times as long, for a NACK of forty).

mod read;
mod transport;
mod write;

pub use read::{
    Extended, ExtendedBlocks, FirEntries, Numbers, Packet, ReportBlocks, Ssrcs, packets, read,
};
pub use transport::{Arrivals, TransportFeedback, TransportHead, transport_feedback};
pub use write::{
    bye, fir, nack, pli, receiver_report, reference_time, remb, sender_report, source_description,
    times_since_reference,
};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
/// Feedback about packets, whatever is in them (RFC 4585 §6.2).
const TRANSPORT_FEEDBACK: u8 = 205;
/// RFC 4585 §6.2.1.
const FORMAT_NACK: u8 = 1;
/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
const FORMAT_TRANSPORT_WIDE: u8 = 15;
/// Feedback about what is in the packets (RFC 4585 §6.3).
const PAYLOAD_FEEDBACK: u8 = 206;
/// RFC 4585 §6.3.1.
const FORMAT_PLI: u8 = 1;
/// RFC 5104 §4.3.1.
const FORMAT_FIR: u8 = 4;
/// Of applications (RFC 4585 §6.4); of them only REMB (draft-alvestrand-rmcat-remb-03 §2.2).
const FORMAT_APPLICATION: u8 = 15;
const REMB: [u8; 4] = *b"REMB";
/// RFC 3611.
const EXTENDED_REPORT: u8 = 207;
/// RFC 3611 §4.4.
const BLOCK_REFERENCE_TIME: u8 = 4;
/// RFC 3611 §4.5.
const BLOCK_TIMES_SINCE_REFERENCE: u8 = 5;

/// SSRCs, or report blocks, in one packet: its count has five bits.
const COUNT_MAX: usize = 31;

/// What a sender says of its own stream (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// When this was written: seconds since 1900 in the upper half, their fraction in the lower.
    pub ntp: u64,
    /// The same time as the stream's timestamps tell it.
    pub timestamp: u32,
    /// Sent so far.
    pub packets: u32,
    /// Payload bytes of them.
    pub bytes: u32,
}

/// What a receiver says of one stream (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths of what was expected.
    pub fraction_lost: u8,
    /// Lost in all; 24 bits with a sign, for what comes twice counts as received.
    pub lost: i32,
    /// The highest sequence number, with its rounds in the upper half.
    pub highest_seq: u32,
    /// In the stream's clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the sender report that came last; 0: none came.
    pub last_report: u32,
    /// Since that came, in 65,536ths of a second.
    pub delay: u32,
}

/// How long ago a receiver's reference time came (RFC 3611 §4.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SinceReference {
    /// The receiver.
    pub ssrc: u32,
    /// The middle 32 bits of its reference time.
    pub last_reference: u32,
    /// Since that came, in 65,536ths of a second.
    pub delay: u32,
}

#[cfg(test)]
mod tests;
