//! Floor 0: what every floor may use and nothing of the field itself.

pub mod counters;
pub mod deadlines;
pub mod ids;
pub mod limits;
pub mod rng;
