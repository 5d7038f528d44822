//! Floor 2: one stream or one subscription.

pub mod packet;
