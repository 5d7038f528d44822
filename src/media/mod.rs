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
pub mod extensions;
pub mod keyframes;
pub mod nack;
pub mod packet;
pub mod reception;
pub mod resend;
pub mod rewrite;
pub mod speakers;
pub mod srtp;
pub mod transport_cc;
