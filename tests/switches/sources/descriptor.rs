//! The dependency descriptor (AV1 RTP specification, appendix A), as encoders write it.

use super::{Encoder, Format, Frame, Layout};
use crate::bits::Writer;

/// What a structure says of some frames.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Template {
    pub layer: (u8, u8),
    /// Of each decode target: 0 not present, 1 discardable, 2 switch, 3 required.
    pub indications: Vec<u8>,
    pub differences: Vec<u32>,
    pub chains: Vec<u32>,
}

/// Writes the descriptors of one encoding.
#[derive(Debug)]
pub struct Describer {
    layout: Layout,
    templates: Vec<Template>,
    offset: u8,
    base: u16,
    /// The newest frame of each chain.
    chains: Vec<Option<u32>>,
}

impl Describer {
    pub fn new(layout: Layout, base: u16) -> Describer {
        let chains = vec![None; layout.spatial.into()];
        let mut own = Describer {
            layout,
            templates: Vec::new(),
            offset: (base >> 4) as u8 & 0x3f,
            base,
            chains,
        };
        // All that comes in three rounds.
        let mut encoder = Encoder::new(Format::Vp8, layout, 0, 0);
        for picture in 0..12 {
            for frame in encoder.picture(false, picture * 3, Default::default()) {
                let template = own.of(&frame);
                if !own.templates.contains(&template) {
                    own.templates.push(template);
                }
                own.sent(&frame);
            }
        }
        own.templates.sort();
        own.chains.fill(None);
        own
    }

    /// What is true of a frame.
    fn of(&self, frame: &Frame) -> Template {
        let layout = &self.layout;
        let targets = (0..layout.spatial).flat_map(|s| (0..layout.temporal).map(move |t| (s, t)));
        let indications = targets.map(|(spatial, temporal)| {
            let is_needed = layout.needs((spatial, temporal), frame);
            let is_last = spatial == frame.spatial && temporal == frame.temporal;
            // Whoever begins here has what follows, unless that refers to what was before.
            let switches = temporal == frame.temporal || frame.is_sync_round;
            match (is_needed, temporal > 0 && is_last) {
                (false, _) => 0,
                (true, true) if layout.sync_every == 1 => 1,
                (true, true) if frame.is_sync_round => 2,
                (true, true) => 3,
                (true, false) if frame.of_key_picture => 2,
                (true, false) if spatial == frame.spatial && switches => 2,
                (true, false) => 3,
            }
        });
        let back = |number: u32| frame.number - number;
        let chains = self.chains.iter().map(|newest| newest.map_or(0, back));
        Template {
            layer: (frame.spatial, frame.temporal),
            indications: indications.collect(),
            differences: frame.references.iter().map(|r| back(r.number)).collect(),
            chains: chains.collect(),
        }
    }

    /// A frame was described.
    pub fn sent(&mut self, frame: &Frame) {
        if frame.starts_keyframe() {
            self.chains.fill(None);
        }
        for (spatial, newest) in (0..).zip(&mut self.chains) {
            if frame.temporal == 0 && self.layout.needs((spatial, 0), frame) {
                *newest = Some(frame.number);
            }
        }
    }

    /// The descriptor of one of its packets, which may be its first or last.
    pub fn descriptor(&self, frame: &Frame, (start, end): (bool, bool), chance: u64) -> Vec<u8> {
        let mut truth = self.of(frame);
        if frame.starts_keyframe() {
            truth.chains.fill(0);
        }
        let is_of = |t: &&Template| t.layer == truth.layer;
        let score = |t: &&Template| {
            u8::from(t.indications == truth.indications)
                + u8::from(t.differences == truth.differences)
                + u8::from(t.chains == truth.chains)
        };
        let best = self.templates.iter().filter(is_of).max_by_key(score).expect("of its layer");
        let at = self.templates.iter().position(|t| t == best).expect("one of them");
        let id = (at as u8 + self.offset) & 0x3f;
        let number = self.base.wrapping_add(frame.number as u16);
        let mut bits = Writer::default();
        bits.put(start.into(), 1);
        bits.put(end.into(), 1);
        bits.put(id.into(), 6);
        bits.put(number.into(), 16);
        let says_all = chance >> 40 & 15 == 0;
        let differs = [
            says_all || best.indications != truth.indications,
            says_all || best.differences != truth.differences,
            says_all || best.chains != truth.chains,
        ];
        let with_structure = start && frame.starts_keyframe();
        if !with_structure && !differs.contains(&true) {
            return bits.bytes;
        }
        bits.put(with_structure.into(), 1);
        bits.put(0, 1);
        differs.iter().for_each(|differs| bits.put((*differs).into(), 1));
        if with_structure {
            self.structure(&mut bits);
        }
        if differs[0] {
            truth.indications.iter().for_each(|dti| bits.put((*dti).into(), 2));
        }
        if differs[1] {
            for back in &truth.differences {
                let size = (u32::BITS - (back - 1).leading_zeros()).div_ceil(4).max(1);
                bits.put(size, 2);
                bits.put(back - 1, 4 * size);
            }
            bits.put(0, 2);
        }
        if differs[2] {
            truth.chains.iter().for_each(|back| bits.put(*back, 8));
        }
        bits.bytes
    }

    /// template_dependency_structure (§A.8.2).
    fn structure(&self, bits: &mut Writer) {
        let targets = u32::from(self.layout.spatial * self.layout.temporal);
        bits.put(self.offset.into(), 6);
        bits.put(targets - 1, 5);
        for pair in self.templates.windows(2) {
            let next = match (pair[0].layer, pair[1].layer) {
                (a, b) if a == b => 0,
                (a, b) if a.0 == b.0 => 1,
                _ => 2,
            };
            bits.put(next, 2);
        }
        bits.put(3, 2);
        for template in &self.templates {
            template.indications.iter().for_each(|dti| bits.put((*dti).into(), 2));
        }
        for template in &self.templates {
            for back in &template.differences {
                bits.put(1, 1);
                bits.put(back - 1, 4);
            }
            bits.put(0, 1);
        }
        let chains = u32::from(self.layout.spatial);
        bits.put_below(chains, targets + 1);
        for target in 0..targets {
            bits.put_below(target / u32::from(self.layout.temporal), chains);
        }
        for template in &self.templates {
            template.chains.iter().for_each(|back| bits.put(*back, 4));
        }
        bits.put(1, 1);
        for spatial in 0..self.layout.spatial {
            bits.put((320 << spatial) - 1, 16);
            bits.put((180 << spatial) - 1, 16);
        }
    }
}
