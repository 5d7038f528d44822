//! The template dependency structure (AV1 RTP specification §A.8.2).

use super::References;
use crate::wire::bits::Bits;
use crate::wire::frame::{Frame, LAYERS_MAX, Layer, Targets};

/// What the descriptors of a coded video sequence refer to: templates of frames, and the decode
/// targets that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structure {
    /// The id of the first template.
    offset: u8,
    templates: Vec<Template>,
    /// Of each decode target, the highest layers of what is in it.
    targets: Vec<Layer>,
    chains: u8,
    /// Of each spatial layer, where they are given.
    sizes: [Option<(u16, u16)>; LAYERS_MAX as usize],
    /// The decode targets that are sent.
    active: u32,
    /// Which decode target serves each layer, spatial ones one after another.
    serving: Serving,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub indications: Indications,
    pub references: References,
    /// What a frame of it is, by the targets that are active.
    pub frame: Frame,
}

/// The decode target indications of a frame, two bits each, of decode target 0 the lowest
/// (table A.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Indications(u64);

const NOT_PRESENT: u64 = 0;
const SWITCH: u64 = 2;

/// Ids of templates are six bits.
const TEMPLATES_MAX: usize = 64;

impl Indications {
    pub fn read(bits: &mut Bits<'_>, targets: u8) -> Option<Indications> {
        let mut all = 0;
        for target in 0..targets {
            all |= u64::from(bits.number(2)?) << (2 * target);
        }
        Some(Indications(all))
    }

    fn of(self, target: u8) -> u64 {
        self.0 >> (2 * target) & 3
    }
}

impl Structure {
    pub fn read(bits: &mut Bits<'_>) -> Option<Structure> {
        let offset = bits.small(6)?;
        let targets = bits.small(5)? + 1;
        let mut templates = read_layers(bits)?;
        for template in &mut templates {
            template.indications = Indications::read(bits, targets)?;
        }
        for template in &mut templates {
            while bits.bit()? {
                template.references.push(bits.number(4)? as u16 + 1)?;
            }
        }
        let chains = read_chains(bits, targets, templates.len())?;
        let sizes = match bits.bit()? {
            true => read_sizes(bits, &templates)?,
            false => Default::default(),
        };
        let targets = (0..targets).map(|target| highest(&templates, target)).collect();
        let (active, serving) = (0, Default::default());
        let mut read = Structure { offset, templates, targets, chains, sizes, active, serving };
        read.activate(u32::MAX);
        Some(read)
    }

    /// From here on these decode targets are sent, of which 0 is the lowest bit: who wants another
    /// is served by one that is.
    pub fn activate(&mut self, mask: u32) {
        self.active = mask & self.every_target();
        self.serving = self.serving(self.active);
        let mut templates = std::mem::take(&mut self.templates);
        for template in &mut templates {
            template.frame =
                by_indications(template.frame.layer, template.indications, &self.serving);
        }
        self.templates = templates;
    }

    /// How many decode targets there are: 1 to 32.
    pub fn targets(&self) -> u8 {
        self.targets.len() as u8
    }

    pub fn chains(&self) -> u8 {
        self.chains
    }

    /// The decode targets that are sent.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// The template of an id.
    pub(super) fn template(&self, id: u8) -> Option<&Template> {
        self.templates.get(usize::from(id.wrapping_sub(self.offset) % TEMPLATES_MAX as u8))
    }

    /// The highest layers of a decode target.
    pub fn target(&self, target: u8) -> Option<Layer> {
        self.targets.get(usize::from(target)).copied()
    }

    /// The decode target that serves a layer: the highest of those that are not above it in either
    /// dimension, by the spatial layer first; if there is none, the lowest of all.
    pub fn serves(&self, layer: Layer) -> u8 {
        self.serving.get(place(layer)).copied().unwrap_or(0)
    }

    /// Whether all frames of `other` are of `target`, too, as far as templates tell.
    pub fn covers(&self, target: u8, other: u8) -> bool {
        let has = |template: &Template, target| template.indications.of(target) != NOT_PRESENT;
        self.templates.iter().all(|template| has(template, target) || !has(template, other))
    }

    /// Width and height of the frames of a spatial layer, if they are given.
    pub fn size(&self, spatial: u8) -> Option<(u16, u16)> {
        self.sizes.get(usize::from(spatial)).copied().flatten()
    }

    /// A frame of other indications, or while others are active.
    pub(super) fn frame(&self, layer: Layer, indications: Indications, active: u32) -> Frame {
        match active & self.every_target() {
            active if active == self.active => by_indications(layer, indications, &self.serving),
            active => by_indications(layer, indications, &self.serving(active)),
        }
    }

    fn every_target(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.targets()))
    }

    /// Of no decode target at all, all might be meant as well: whoever wants one is not served by
    /// none.
    fn serving(&self, active: u32) -> Serving {
        let active = if active == 0 { self.every_target() } else { active };
        let sent = || (0u8..).zip(&self.targets).filter(|(target, _)| active >> target & 1 != 0);
        let lowest = sent().min_by_key(|(_, layer)| **layer).map_or(0, |(target, _)| target);
        let mut serving = Serving::default();
        for (spatial, places) in (0..).zip(serving.chunks_exact_mut(LAYERS_MAX.into())) {
            for (temporal, place) in (0..).zip(places) {
                let within = sent().filter(|(_, l)| l.spatial <= spatial && l.temporal <= temporal);
                *place = within.max_by_key(|(_, l)| **l).map_or(lowest, |(target, _)| target);
            }
        }
        serving
    }
}

type Serving = [u8; (LAYERS_MAX * LAYERS_MAX) as usize];

fn place(layer: Layer) -> usize {
    usize::from(layer.spatial * LAYERS_MAX + layer.temporal)
}

/// Who needs a frame, and who may begin with it, by what it is to the decode target that each is
/// served by.
fn by_indications(layer: Layer, indications: Indications, serving: &Serving) -> Frame {
    let (mut needed, mut begins) = (Targets::NONE, Targets::NONE);
    for (spatial, targets) in (0..).zip(serving.chunks_exact(LAYERS_MAX.into())) {
        for (temporal, target) in (0..).zip(targets) {
            let Some(viewed) = Layer::new(spatial, temporal) else { continue };
            match indications.of(*target) {
                NOT_PRESENT => {}
                SWITCH => (needed, begins) = (needed.with(viewed), begins.with(viewed)),
                _ => needed = needed.with(viewed),
            }
        }
    }
    Frame { layer, needed, begins, is_start: false, is_end: false }
}

/// template_layers: each template's layer follows from the one before.
fn read_layers(bits: &mut Bits<'_>) -> Option<Vec<Template>> {
    let mut templates = Vec::new();
    let mut layer = Layer::LOWEST;
    while templates.len() < TEMPLATES_MAX {
        templates.push(Template {
            indications: Indications::default(),
            references: References::default(),
            frame: Frame { layer, ..Frame::plain(false) },
        });
        layer = match bits.number(2)? {
            0 => layer,
            1 => Layer::new(layer.spatial, layer.temporal + 1)?,
            2 => Layer::new(layer.spatial + 1, 0)?,
            _ => return Some(templates),
        };
    }
    None
}

/// template_chains: how many there are. What is in them is for receivers, who lose packets on their
/// way alone.
fn read_chains(bits: &mut Bits<'_>, targets: u8, templates: usize) -> Option<u8> {
    let chains = bits.below(u32::from(targets) + 1)?;
    if chains > 0 {
        for _ in 0..targets {
            bits.below(chains)?;
        }
        for _ in 0..templates {
            for _ in 0..chains {
                bits.number(4)?;
            }
        }
    }
    u8::try_from(chains).ok()
}

/// render_resolutions. A side of 65,536, which fits no other format either, is a pixel less.
fn read_sizes(
    bits: &mut Bits<'_>,
    templates: &[Template],
) -> Option<[Option<(u16, u16)>; LAYERS_MAX as usize]> {
    let mut sizes = [None; LAYERS_MAX as usize];
    let highest = templates.iter().map(|template| template.frame.layer.spatial).max()?;
    for size in sizes.iter_mut().take(usize::from(highest) + 1) {
        let (width, height) = (bits.number(16)? as u16, bits.number(16)? as u16);
        *size = Some((width.saturating_add(1), height.saturating_add(1)));
    }
    Some(sizes)
}

/// decode_target_layers.
fn highest(templates: &[Template], target: u8) -> Layer {
    let within = templates.iter().filter(|t| t.indications.of(target) != NOT_PRESENT);
    within.fold(Layer::LOWEST, |highest, template| Layer {
        spatial: highest.spatial.max(template.frame.layer.spatial),
        temporal: highest.temporal.max(template.frame.layer.temporal),
    })
}
