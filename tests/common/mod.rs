//! What the tests share: synthetic clients on `str0m`, and VP8 that is easy to judge.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod client;
pub mod live;
pub mod rtcp;
pub mod stun;
pub mod vp8;
pub mod world;
