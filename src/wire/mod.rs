//! Floor 1: bytes to types and back. Nothing here has state.

pub mod codec;
pub mod demux;
pub mod payload;
pub mod sdp;
pub mod signal;
pub mod ufrag;
