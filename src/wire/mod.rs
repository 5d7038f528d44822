//! Floor 1: bytes to types and back. Nothing here has state.

pub mod chunked;
pub mod codec;
pub mod http;
pub mod names;
pub mod sdpfrag;
pub mod signal;
