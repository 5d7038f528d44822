//! Floor 0: what every floor may use and nothing of the field itself.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod bitrate;
pub mod bucket;
pub mod counters;
pub mod deadlines;
pub mod histogram;
pub mod ids;
pub mod limits;
pub mod rng;
pub mod secret;
