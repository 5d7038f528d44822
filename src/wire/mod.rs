//! Floor 1: bytes to types and back. Nothing here has state.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::indexing_slicing,
    clippy::string_slice
)]

pub mod bandwidth;
pub mod bits;
pub mod chunked;
pub mod codec;
pub mod date;
pub mod demux;
pub mod dependency_descriptor;
pub mod dtls;
pub mod frame;
pub mod http;
pub mod names;
pub mod payload;
pub mod picture_size;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sdpfrag;
pub mod signal;
pub mod stun;
pub mod ufrag;
