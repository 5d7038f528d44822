//! The dependency descriptor (AV1 RTP specification 1.0, appendix A): what a header extension tells
//! of a frame's layers without its payload, which may be of any codec and may be encrypted.
//!
//! Packets refer to templates, which a keyframe's first packet brings along and which have to be
//! kept ([`Structure`]); most descriptors are three bytes.

pub mod active;
mod structure;
#[cfg(test)]
mod tests;

use super::bits::Bits;
use super::frame::{Frame, Targets};
use structure::Indications;
pub use structure::Structure;

/// Bytes of the mandatory fields, which every descriptor begins with.
const MANDATORY_BYTES: usize = 3;

/// What a packet's descriptor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    pub frame_number: u16,
    /// `begins` are those with a switch indication, on a first packet alone: "all subsequent frames
    /// for that Decode target will be decodable if the frame containing the indication is
    /// decodable" (§A.2). Whether it is depends on [`Self::references`].
    pub frame: Frame,
    pub references: References,
    /// The first packet of a frame that refers to no other, and brings a structure along: of a
    /// coded video sequence.
    pub starts_keyframe: bool,
    /// To be kept, and given to the descriptors after this one.
    pub structure: Option<Box<Structure>>,
    pub active: Option<Active>,
}

/// How far back in frame numbers the frames are that one refers to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct References {
    count: u8,
    back: [u16; References::MAX],
}

impl References {
    /// AV1 has seven at most, VP9 three.
    const MAX: usize = 8;

    /// `None` if there are too many.
    fn push(&mut self, back: u16) -> Option<()> {
        *self.back.get_mut(usize::from(self.count))? = back;
        self.count += 1;
        Some(())
    }

    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.back.iter().take(self.count.into()).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// active_decode_targets_bitmask: which decode targets are sent. It holds until another is told
/// (§A.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// Decode target 0 is the lowest bit.
    pub mask: u32,
    /// The bit of the descriptor that it begins at, and how many it has.
    pub at: usize,
    pub count: u8,
}

/// Whether a packet is its frame's first, and its last: what is known even if nothing else of the
/// descriptor is understood.
pub fn edges(bytes: &[u8]) -> (bool, bool) {
    let first = bytes.first().copied().unwrap_or(0);
    (first & 0x80 != 0, first & 0x40 != 0)
}

/// What else the extended fields announce (§A.8.2).
#[derive(Debug, Clone, Copy, Default)]
struct Custom {
    indications: bool,
    references: bool,
    chains: bool,
}

impl Descriptor {
    /// Reads a descriptor, by the structure that came last before it unless it brings its own.
    /// `None` if it is cut short, refers to a template that is not known, or has more layers than
    /// there may be.
    pub fn parse(bytes: &[u8], known: Option<&Structure>) -> Option<Descriptor> {
        let mut bits = Bits::new(bytes);
        let (is_start, is_end) = (bits.bit()?, bits.bit()?);
        let template = bits.small(6)?;
        let frame_number = bits.number(16)? as u16;
        let (mut structure, mut active) = (None, None);
        let mut custom = Custom::default();
        if bytes.len() > MANDATORY_BYTES {
            let (has_structure, has_active) = (bits.bit()?, bits.bit()?);
            (custom.indications, custom.references) = (bits.bit()?, bits.bit()?);
            custom.chains = bits.bit()?;
            if has_structure {
                structure = Some(Box::new(Structure::read(&mut bits)?));
            }
            if has_active {
                let count = structure.as_deref().or(known)?.targets();
                let at = bits.at();
                active = Some(Active { mask: bits.number(count.into())?, at, count });
            }
        }
        if let (Some(structure), Some(active)) = (&mut structure, active) {
            structure.activate(active.mask);
        }
        let by = structure.as_deref().or(known)?;
        let template = by.template(template)?;
        let own = match custom.indications {
            true => Some(Indications::read(&mut bits, by.targets())?),
            false => None,
        };
        let mut references = template.references;
        if custom.references {
            references = read_references(&mut bits)?;
        }
        if custom.chains {
            for _ in 0..by.chains() {
                bits.number(8)?;
            }
        }
        let active_mask = active.map_or(by.active(), |active| active.mask);
        let mut frame = match own {
            None if active_mask == by.active() => template.frame,
            own => by.frame(template.frame.layer, own.unwrap_or(template.indications), active_mask),
        };
        (frame.is_start, frame.is_end) = (is_start, is_end);
        if !is_start {
            frame.begins = Targets::NONE;
        }
        let starts_keyframe = is_start && structure.is_some() && references.is_empty();
        Some(Descriptor { frame_number, frame, references, starts_keyframe, structure, active })
    }
}

/// frame_fdiffs (§A.8.2): each is preceded by its size in steps of four bits, and 0 ends them.
fn read_references(bits: &mut Bits<'_>) -> Option<References> {
    let mut references = References::default();
    loop {
        let size = bits.number(2)?;
        if size == 0 {
            return Some(references);
        }
        references.push(bits.number(4 * size)? as u16 + 1)?;
    }
}
