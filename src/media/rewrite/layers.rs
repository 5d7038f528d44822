//! Which frames of an encoding a subscriber gets, and where that may change.

use crate::media::packet::Head;
use crate::wire::frame::{Frame, LAYERS_MAX, Layer, Targets};

/// What one subscriber gets of one encoding. It changes where a decoder can follow: down as soon as
/// the next picture begins, where all of the lower layers was received; up where a frame says so.
#[derive(Debug)]
pub struct LayerFilter {
    target: Layer,
    /// Targets of which the subscriber got every frame since it could begin.
    whole: Targets,
    /// What it gets of pictures since the keyframe is of lower spatial layers, too.
    is_stacked: bool,
    /// Something may be missing of the lower spatial layers, unless they are part of it.
    has_gaps: bool,
    /// The highest layers that came: above those, all targets are the same.
    highest: Layer,
    /// The last frame from which on targets could be shown, and which.
    reached: (u64, Targets),
}

impl LayerFilter {
    /// From a keyframe on.
    pub fn new(target: Layer) -> LayerFilter {
        LayerFilter {
            target,
            whole: Targets::ALL,
            is_stacked: false,
            has_gaps: false,
            highest: Layer::LOWEST,
            reached: (0, Targets::NONE),
        }
    }

    /// What it gets now.
    pub fn target(&self) -> Layer {
        self.target
    }

    /// Whether only a keyframe leads to `wanted`: another spatial layer than what it has whole.
    pub fn needs_keyframe(&self, wanted: Layer) -> bool {
        let (own, wanted) = (self.known(self.target), self.known(wanted));
        own.spatial != wanted.spatial && !self.whole().has(wanted)
    }

    /// Some packets did not come, or not yet.
    pub fn miss(&mut self) {
        let Layer { spatial, temporal } = self.target;
        let below = |layer: Layer| layer.spatial <= spatial && layer.temporal <= temporal;
        self.whole = self.whole.and(Self::targets(below));
        self.has_gaps = true;
    }

    /// Whether a packet that follows all that came before is for the subscriber.
    pub fn take(&mut self, head: &Head, wanted: Layer) -> bool {
        let frame = &head.frame;
        self.highest.spatial = self.highest.spatial.max(frame.layer.spatial);
        self.highest.temporal = self.highest.temporal.max(frame.layer.temporal);
        let is_below = frame.is_start && frame.layer.spatial == 0 && self.target.spatial > 0;
        self.is_stacked |= is_below && !head.starts_keyframe && frame.needed.has(self.target);
        if head.starts_keyframe {
            *self = LayerFilter { highest: self.highest, ..LayerFilter::new(wanted) };
        } else if frame.is_start
            && frame.layer.spatial == 0
            && self.known(self.target) != self.known(wanted)
        {
            // Once it has begun, a picture is of one target: its end may have left already.
            self.follow(frame, self.known(wanted));
        }
        let needed = frame.needed.has(self.target);
        if !needed {
            self.whole = self.whole.without(frame.needed);
        } else if frame.is_start {
            let reached = self.reached(frame);
            if !reached.is_empty() {
                self.reached = (head.seq, reached);
            }
            self.whole = self.whole.or(reached);
        }
        needed
    }

    /// A packet that came late was left out: those that need it, unless they began since.
    pub fn leave_out(&mut self, head: &Head) {
        let (at, reached) = self.reached;
        let begun = if head.seq < at { reached } else { Targets::NONE };
        self.whole = self.whole.without(head.frame.needed.without(begun));
    }

    /// Those of all targets.
    fn targets(of: impl Fn(Layer) -> bool) -> Targets {
        let layers = (0..LAYERS_MAX).flat_map(|s| (0..LAYERS_MAX).map(move |t| (s, t)));
        let layers = layers.filter_map(|(spatial, temporal)| Layer::new(spatial, temporal));
        layers.filter(|layer| of(*layer)).fold(Targets::NONE, Targets::with)
    }

    /// The layer, or the highest that there is below it.
    fn known(&self, layer: Layer) -> Layer {
        let Layer { spatial, temporal } = self.highest;
        Layer { spatial: layer.spatial.min(spatial), temporal: layer.temporal.min(temporal) }
    }

    /// The targets of which all was received: behind a gap, of the lower spatial layers only if
    /// what it has since is of them, too.
    fn whole(&self) -> Targets {
        match self.has_gaps && !self.is_stacked {
            true => {
                let own = self.known(self.target).spatial;
                self.whole.and(Self::targets(|layer| layer.spatial >= own))
            }
            false => self.whole,
        }
    }

    /// Goes as near to `wanted` as this frame lets it.
    fn follow(&mut self, frame: &Frame, wanted: Layer) {
        let whole = self.whole().or(self.reached(frame));
        for spatial in (0..=wanted.spatial).rev() {
            for temporal in (0..=wanted.temporal).rev() {
                let layer = Layer { spatial, temporal };
                if whole.has(layer) {
                    self.target = layer;
                    return;
                }
            }
        }
        // Before a keyframe leads to another spatial layer, this one may cost less.
        let lower = Layer { temporal: wanted.temporal, ..self.target };
        if lower.temporal < self.target.temporal && whole.has(lower) {
            self.target = lower;
        }
    }

    /// Targets that can be shown from this frame on: each temporal layer stands on the one below.
    fn reached(&self, frame: &Frame) -> Targets {
        let mut reached = Targets::NONE;
        if frame.begins.is_empty() {
            return reached;
        }
        for spatial in 0..LAYERS_MAX {
            let mut below = true;
            for temporal in 0..LAYERS_MAX {
                let layer = Layer { spatial, temporal };
                let begins = below && frame.begins.has(layer);
                if begins {
                    reached = reached.with(layer);
                }
                below = begins || self.whole.has(layer);
            }
        }
        reached
    }
}
