//! One encoding of a track on its way through: the track itself, or one of its simulcast streams.

use super::allocate::Step;
use super::cache::PacketCache;
use super::clock::StreamAnchor;
use super::measure::LayerRates;
use crate::wire::frame::Layer;

/// What a worker keeps of it.
#[derive(Debug)]
pub struct Encoding {
    /// Packets of this turn, and those that may be asked for again.
    pub cache: PacketCache,
    /// Which of its timestamps stands for which moment.
    pub anchor: Option<StreamAnchor>,
    pub rates: LayerRates,
}

impl Encoding {
    /// Nothing came of it yet. `repeats`: whether packets may be asked for again.
    pub fn new(repeats: bool) -> Encoding {
        Encoding { cache: PacketCache::new(repeats), anchor: None, rates: LayerRates::default() }
    }
}

/// Which encoding of a track a subscriber gets, and up to which of its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    pub encoding: u8,
    pub layer: Layer,
}

impl Choice {
    /// That step of a ladder.
    pub fn of(step: &Step) -> Choice {
        Choice { encoding: step.encoding, layer: step.layer }
    }
}
