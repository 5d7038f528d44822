//! Floor 1: bytes to types and back. Nothing here has state.

pub mod codec;
pub mod signal;
