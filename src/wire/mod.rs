//! Floor 1: bytes to types and back. Nothing here has state.

pub mod chunked;
pub mod codec;
pub mod demux;
pub mod http;
pub mod names;
pub mod payload;
pub mod sdp;
pub mod sdpfrag;
pub mod signal;
pub mod ufrag;
