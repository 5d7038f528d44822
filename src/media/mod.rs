//! Floor 2: one stream or one subscription.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod allocate;
pub mod batch;
pub mod cache;
pub mod clock;
pub mod encoding;
pub mod estimate;
pub mod extensions;
pub mod keyframes;
pub mod layers;
pub mod measure;
pub mod nack;
pub mod pacer;
pub mod packet;
pub mod reception;
pub mod resend;
pub mod rewrite;
pub mod speakers;
pub mod srtp;
pub mod transport_cc;
