//! Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01), both
//! ways: [`Arrivals`] is what a publisher is told, [`SendHistory`] what a subscriber tells.
//!
//! What an estimate of a subscriber's bandwidth is made from reaches it as [`Signal`]s, one after
//! the other, and in no other way (see [`super::estimate`]).

use std::time::Duration;

mod arrivals;
mod history;

pub use arrivals::Arrivals;
pub use history::{Heard, PacketResult, SendHistory};

/// What a subscriber says of the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// What became of one packet. Each is told of once; in one feedback, those that arrived in
    /// the order of their numbers, then those that did not.
    Packet(PacketResult),
    /// REMB: its own estimate, of all streams together.
    Estimate { bits_per_second: u64 },
    /// A report block: of one stream, in 256ths of what was sent since the last; and the round trip
    /// as far as the block names a sender report of ours.
    Report { fraction_lost: u8, round_trip: Option<Duration> },
}

#[cfg(test)]
mod tests;
