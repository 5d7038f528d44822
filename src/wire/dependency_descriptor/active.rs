//! Saying in a descriptor which decode targets are sent (AV1 RTP specification §A.4): a subscriber
//! gets fewer than the publisher sends.

use super::{MANDATORY_BYTES, Structure};
use crate::wire::bits::Bits;
use crate::wire::frame::{LAYERS_MAX, Layer};

/// The longest descriptor there may be: a header extension of two-byte form has no more.
pub const DESCRIPTOR_MAX: usize = 255;

/// Flags of the extended fields (§A.8.2): of each the bit, from the first of the descriptor on.
const STRUCTURE_FLAG: usize = 24;
const ACTIVE_FLAG: usize = 25;
const FLAGS_END: usize = 29;

/// What is known of an encoding's decode targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// How many there are.
    pub count: u8,
    /// Those that the publisher sends, of which 0 is the lowest bit.
    pub published: u32,
    /// Those that whoever gets up to each layer has all of.
    within: [u32; (LAYERS_MAX * LAYERS_MAX) as usize],
}

/// active_decode_targets_bitmask as it is to be told: of which 0 is the lowest bit, and how many
/// bits it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    pub mask: u32,
    pub count: u8,
}

impl Sent {
    /// What a descriptor says, by what was known before it; `None` if it says nothing of it.
    pub fn read(bytes: &[u8], known: Option<&Sent>) -> Option<Sent> {
        if !has(bytes, STRUCTURE_FLAG) && !has(bytes, ACTIVE_FLAG) {
            return None;
        }
        let (mut bits, structure) = behind_structure(bytes)?;
        let mut sent = match &structure {
            Some(structure) => Sent::of(structure),
            None => *known?,
        };
        if has(bytes, ACTIVE_FLAG) {
            sent.published = bits.number(sent.count.into())?;
        }
        Some(sent)
    }

    fn of(structure: &Structure) -> Sent {
        let mut within = [0; (LAYERS_MAX * LAYERS_MAX) as usize];
        for (at, mask) in (0..).zip(&mut within) {
            let layer = Layer { spatial: at / LAYERS_MAX, temporal: at % LAYERS_MAX };
            let own = structure.serves(layer);
            for target in 0..structure.targets() {
                *mask |= u32::from(structure.covers(own, target)) << target;
            }
        }
        Sent { count: structure.targets(), published: structure.active(), within }
    }

    /// What whoever gets up to a layer is to be told: those of what the publisher sends; all of
    /// that, if it is none of them.
    pub fn up_to(&self, layer: Layer) -> Mask {
        let at = usize::from(layer.spatial * LAYERS_MAX + layer.temporal);
        let mask = self.within.get(at).copied().unwrap_or(u32::MAX) & self.published;
        Mask { mask: if mask == 0 { self.published } else { mask }, count: self.count }
    }
}

fn has(bytes: &[u8], flag: usize) -> bool {
    bytes.get(flag / 8).is_some_and(|byte| byte << (flag % 8) & 0x80 != 0)
}

/// What comes behind the flags and the structure, if there is one; and that.
fn behind_structure(bytes: &[u8]) -> Option<(Bits<'_>, Option<Structure>)> {
    let mut bits = Bits::new(bytes);
    bits.number(FLAGS_END as u32)?;
    let structure = match has(bytes, STRUCTURE_FLAG) {
        true => Some(Structure::read(&mut bits)?),
        false => None,
    };
    Some((bits, structure))
}

impl Mask {
    /// Writes the descriptor as it tells of these targets; what it says else stays. `None` if it
    /// cannot: then it must go as it is.
    pub fn write<'o>(&self, bytes: &[u8], out: &'o mut [u8; DESCRIPTOR_MAX]) -> Option<&'o [u8]> {
        let mut place = Out { out, at: 0 };
        if bytes.len() <= MANDATORY_BYTES {
            place.copy(bytes, 0..8 * MANDATORY_BYTES)?;
            place.number(0b01000, 5)?;
            place.number(self.mask, self.count)?;
            return place.done();
        }
        let (mut bits, _) = behind_structure(bytes)?;
        let at = bits.at();
        if has(bytes, ACTIVE_FLAG) {
            bits.number(self.count.into())?;
        }
        place.copy(bytes, 0..ACTIVE_FLAG)?;
        place.number(1, 1)?;
        place.copy(bytes, ACTIVE_FLAG + 1..at)?;
        place.number(self.mask, self.count)?;
        place.copy(bytes, bits.at()..8 * bytes.len())?;
        place.done()
    }
}

/// Bits on their way out, from the highest of the first byte on.
struct Out<'o> {
    out: &'o mut [u8; DESCRIPTOR_MAX],
    at: usize,
}

impl<'o> Out<'o> {
    fn number(&mut self, value: u32, count: u8) -> Option<()> {
        for bit in (0..count).rev() {
            let byte = self.out.get_mut(self.at / 8)?;
            let place = 0x80 >> (self.at % 8);
            *byte = if value >> bit & 1 != 0 { *byte | place } else { *byte & !place };
            self.at += 1;
        }
        Some(())
    }

    fn copy(&mut self, bytes: &[u8], bits: std::ops::Range<usize>) -> Option<()> {
        for bit in bits {
            self.number(has(bytes, bit).into(), 1)?;
        }
        Some(())
    }

    fn done(mut self) -> Option<&'o [u8]> {
        while !self.at.is_multiple_of(8) {
            self.number(0, 1)?;
        }
        self.out.get(..self.at / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dependency_descriptor::Descriptor;

    /// L1T2: two templates of the lower layer, one of the upper.
    const STRUCTURE: [u8; 15] =
        [0x80, 0, 1, 0x80, 1, 0x1e, 0xa8, 0x51, 0x41, 1, 0x0c, 4, 0xfc, 3, 0xbc];

    fn told(mask: Mask, bytes: &[u8]) -> Vec<u8> {
        let mut room = [0xff; DESCRIPTOR_MAX];
        mask.write(bytes, &mut room).expect("there is room").to_vec()
    }

    #[test]
    fn who_gets_the_lower_layer_is_told_of_that_alone() {
        let sent = Sent::read(&STRUCTURE, None).expect("a structure");
        assert_eq!((sent.count, sent.published), (2, 0b11));
        let (low, high) = (sent.up_to(Layer::LOWEST), sent.up_to(Layer::HIGHEST));
        assert_eq!((low.mask, high.mask), (0b01, 0b11));
        assert_eq!(Sent::read(&[0x82, 0, 2], Some(&sent)), None, "says nothing of it");
        // With the structure, and in a packet of three bytes.
        let keyframe = told(low, &STRUCTURE);
        let read = Sent::read(&keyframe, None).expect("a structure");
        assert_eq!((read.published, read.count), (0b01, 2));
        let delta = told(low, &[0x82, 0x12, 0x34]);
        assert_eq!(delta, [0x82, 0x12, 0x34, 0b0100_0010]);
        assert_eq!(Sent::read(&delta, Some(&sent)).map(|s| s.published), Some(0b01));
        // Where it is said already, it is said otherwise.
        assert_eq!(told(high, &delta), [0x82, 0x12, 0x34, 0b0100_0110]);
    }

    #[test]
    fn the_rest_is_read_as_it_was() {
        let sent = Sent::read(&STRUCTURE, None).expect("a structure");
        let before = Descriptor::parse(&STRUCTURE, None).expect("a keyframe's");
        let after = Descriptor::parse(&told(sent.up_to(Layer::LOWEST), &STRUCTURE), None);
        let after = after.expect("a keyframe's");
        assert_eq!(after.active.map(|active| active.mask), Some(0b01));
        assert_eq!(
            (after.frame_number, after.references),
            (before.frame_number, before.references)
        );
        assert!(after.starts_keyframe && after.structure.is_some());
        assert_eq!(after.frame.layer, before.frame.layer);
    }

    #[test]
    fn what_is_cut_short_goes_as_it_is() {
        for cut in 4..STRUCTURE.len() {
            let cut = &STRUCTURE[..cut];
            let mask = Mask { mask: 1, count: 2 };
            if let Some(sent) = Sent::read(cut, None) {
                assert_eq!(sent.count, 2);
            }
            let mut room = [0; DESCRIPTOR_MAX];
            let _ = mask.write(cut, &mut room);
        }
        let mut room = [0; DESCRIPTOR_MAX];
        let long = [0xff; DESCRIPTOR_MAX];
        assert_eq!(Mask { mask: 1, count: 32 }.write(&long, &mut room), None);
    }
}
