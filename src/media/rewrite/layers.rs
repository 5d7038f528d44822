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
}

impl LayerFilter {
    /// From a keyframe on.
    pub fn new(target: Layer) -> LayerFilter {
        LayerFilter { target, whole: Targets::ALL }
    }

    /// What it gets now.
    pub fn target(&self) -> Layer {
        self.target
    }

    /// Whether only a keyframe leads to `wanted`: another spatial layer than what it has whole.
    pub fn needs_keyframe(&self, wanted: Layer) -> bool {
        wanted.spatial != self.target.spatial && !self.whole.has(wanted)
    }

    /// Whether a packet that follows all that came before is for the subscriber.
    pub fn take(&mut self, head: &Head, wanted: Layer) -> bool {
        let frame = &head.frame;
        if head.starts_keyframe {
            self.whole = Targets::ALL;
            self.target = wanted;
        } else if frame.is_start && self.target != wanted {
            self.follow(frame, wanted);
        }
        let needed = frame.needed.has(self.target);
        if !needed {
            self.whole = self.whole.without(frame.needed);
        } else if frame.is_start {
            self.whole = self.whole.or(self.reached(frame));
        }
        needed
    }

    /// Goes as near to `wanted` as this frame lets it.
    fn follow(&mut self, frame: &Frame, wanted: Layer) {
        let whole = self.whole.or(self.reached(frame));
        // A picture that was begun with one spatial layer as its last ends with that, unless this
        // frame is the very one that leads up.
        let may_change = |spatial| {
            spatial == self.target.spatial
                || frame.layer.spatial == 0
                || spatial == frame.layer.spatial && spatial > self.target.spatial
        };
        let spatials = (0..=wanted.spatial).rev().filter(|spatial| may_change(*spatial));
        for spatial in spatials {
            for temporal in (0..=wanted.temporal).rev() {
                let layer = Layer { spatial, temporal };
                if whole.has(layer) {
                    self.target = layer;
                    return;
                }
            }
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
