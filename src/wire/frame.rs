//! What a packet's frame is among the layers of its encoding, whatever the codec: which viewers need
//! it, and which may begin with it.

/// A spatial and a temporal layer, from 0; of both, at most [`LAYERS_MAX`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    pub spatial: u8,
    pub temporal: u8,
}

/// Spatial layers of one encoding, and temporal ones.
pub const LAYERS_MAX: u8 = 4;

impl Layer {
    pub const LOWEST: Layer = Layer { spatial: 0, temporal: 0 };
    /// All of an encoding, however many layers it has.
    pub const HIGHEST: Layer = Layer { spatial: LAYERS_MAX - 1, temporal: LAYERS_MAX - 1 };

    /// `None` for one that is too high.
    pub fn new(spatial: u8, temporal: u8) -> Option<Layer> {
        (spatial < LAYERS_MAX && temporal < LAYERS_MAX).then_some(Layer { spatial, temporal })
    }

    fn bit(self) -> u16 {
        1 << (self.spatial * LAYERS_MAX + self.temporal)
    }
}

/// A set of decode targets. A decode target (AV1 RTP specification, appendix A) is what a viewer of
/// a [`Layer`] decodes: that layer and what it depends on. Where an encoding has fewer layers than
/// there are targets, the higher ones are the same as its highest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Targets(u16);

impl Targets {
    pub const NONE: Targets = Targets(0);
    pub const ALL: Targets = Targets(u16::MAX);

    /// All those that have a spatial layer of at least `layer`'s, and a temporal one.
    pub fn from(layer: Layer) -> Targets {
        let mut targets = Targets::NONE;
        for spatial in layer.spatial..LAYERS_MAX {
            for temporal in layer.temporal..LAYERS_MAX {
                targets = targets.with(Layer { spatial, temporal });
            }
        }
        targets
    }

    #[must_use]
    pub fn with(self, target: Layer) -> Targets {
        Targets(self.0 | target.bit())
    }

    pub fn has(self, target: Layer) -> bool {
        self.0 & target.bit() != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn and(self, other: Targets) -> Targets {
        Targets(self.0 & other.0)
    }

    #[must_use]
    pub fn or(self, other: Targets) -> Targets {
        Targets(self.0 | other.0)
    }

    /// Those next above one of these, in either dimension.
    #[must_use]
    pub fn above(self) -> Targets {
        const BELOW_HIGHEST_TEMPORAL: u16 = 0x7777;
        Targets((self.0 & BELOW_HIGHEST_TEMPORAL) << 1 | self.0 << LAYERS_MAX)
    }

    #[must_use]
    pub fn without(self, other: Targets) -> Targets {
        Targets(self.0 & !other.0)
    }
}

/// A packet's frame: in an encoding with spatial layers, of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    pub layer: Layer,
    /// Whose viewers need it.
    pub needed: Targets,
    /// Those that may be shown from here on, if what is below each was: at a keyframe all.
    pub begins: Targets,
    /// The packet is its first, or its last.
    pub is_start: bool,
    pub is_end: bool,
}

impl Frame {
    /// Of an encoding without layers, or of which nothing is known.
    pub const fn plain(starts_keyframe: bool) -> Frame {
        let begins = if starts_keyframe { Targets::ALL } else { Targets::NONE };
        let (layer, needed) = (Layer::LOWEST, Targets::ALL);
        Frame { layer, needed, begins, is_start: starts_keyframe, is_end: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_a_set_of_layers() {
        let layer = |spatial, temporal| Layer::new(spatial, temporal).unwrap();
        let targets = Targets::from(layer(1, 2));
        let has = (0..4).flat_map(|s| (0..4).map(move |t| (s, t)));
        let has: Vec<(u8, u8)> = has.filter(|&(s, t)| targets.has(layer(s, t))).collect();
        assert_eq!(has, [(1, 2), (1, 3), (2, 2), (2, 3), (3, 2), (3, 3)]);
        assert_eq!(Targets::from(Layer::LOWEST), Targets::ALL);
        assert!(Targets::NONE.with(Layer::HIGHEST).has(Layer::HIGHEST));
        assert!(targets.without(targets).is_empty());
        assert_eq!(Layer::new(4, 0), None);
    }

    #[test]
    fn above_a_target_is_the_next_in_either_dimension() {
        let layers = || (0..4).flat_map(|s| (0..4).map(move |t| Layer { spatial: s, temporal: t }));
        for (below, target) in layers().flat_map(|l| layers().map(move |m| (l, m))) {
            let (s, t) = (
                target.spatial as i8 - below.spatial as i8,
                target.temporal as i8 - below.temporal as i8,
            );
            let is_next = (s, t) == (1, 0) || (s, t) == (0, 1);
            assert_eq!(
                Targets::NONE.with(below).above().has(target),
                is_next,
                "{below:?} {target:?}"
            );
        }
    }
}
