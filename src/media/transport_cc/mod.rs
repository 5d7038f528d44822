//! Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01), both
//! ways: [`Arrivals`] is what a publisher is told, [`SendHistory`] what a subscriber tells.
//!
//! What an estimate of a subscriber's bandwidth is made from reaches it as [`Signal`]s, one after
//! the other, and in no other way. Whoever takes them has `fn take(&mut self, signal: Signal)`:
//! [`Tally`], which counts, is the first.

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

/// Counts what signals say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub arrived_packets: u64,
    pub arrived_bytes: u64,
    pub lost_packets: u64,
    pub lost_bytes: u64,
    /// The last that was said.
    pub estimate_bps: Option<u64>,
    pub round_trip: Option<Duration>,
}

impl Tally {
    pub fn take(&mut self, signal: Signal) {
        match signal {
            Signal::Packet(PacketResult { bytes, arrived: Some(_), .. }) => {
                self.arrived_packets += 1;
                self.arrived_bytes += bytes as u64;
            }
            Signal::Packet(PacketResult { bytes, arrived: None, .. }) => {
                self.lost_packets += 1;
                self.lost_bytes += bytes as u64;
            }
            Signal::Estimate { bits_per_second } => self.estimate_bps = Some(bits_per_second),
            Signal::Report { round_trip, .. } => {
                self.round_trip = round_trip.or(self.round_trip);
            }
        }
    }
}

#[cfg(test)]
mod tests;
