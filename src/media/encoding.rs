//! One encoding of a track on its way through: the track itself, or one of its simulcast streams.

use super::cache::PacketCache;
use super::clock::StreamAnchor;
use crate::wire::frame::Layer;

/// What a worker keeps of it.
#[derive(Debug)]
pub struct Encoding {
    /// Packets of this turn, and those that may be asked for again.
    pub cache: PacketCache,
    /// Which of its timestamps stands for which moment.
    pub anchor: Option<StreamAnchor>,
}

impl Encoding {
    /// Nothing came of it yet. `repeats`: whether packets may be asked for again.
    pub fn new(repeats: bool) -> Encoding {
        Encoding { cache: PacketCache::new(repeats), anchor: None }
    }
}

/// Which encoding of a track a subscriber gets, and up to which of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub encoding: u8,
    pub layer: Layer,
}
