//! Floor 2: one stream or one subscription.

pub mod keyframes;
pub mod packet;
pub mod rewrite;
