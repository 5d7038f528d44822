//! VP8 (RFC 7741).

use super::{Counters, picture_id};
use crate::wire::frame::{Frame, LAYERS_MAX, Layer, Targets};

/// A payload descriptor (RFC 7741 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// S set and PID 0: the packet is its frame's first.
    pub is_start: bool,
    pub counters: Counters,
    /// TID, and the Y bit beside it.
    pub temporal: Option<Temporal>,
    /// Its own; the payload of VP8 comes behind it.
    pub bytes: usize,
}

/// The temporal layer of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Temporal {
    pub layer: u8,
    /// It depends on frames of temporal layer 0 alone.
    pub is_sync: bool,
}

impl Descriptor {
    /// `None` if it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let first = *payload.first()?;
        let is_start = first & 0x17 == 0x10;
        let mut said =
            Descriptor { is_start, counters: Counters::default(), temporal: None, bytes: 1 };
        if first & 0x80 == 0 {
            return Some(said);
        }
        let extension = *payload.get(1)?;
        said.bytes = 2;
        if extension & 0x80 != 0 {
            said.counters.picture_id = Some(picture_id(payload, &mut said.bytes)?);
        }
        if extension & 0x40 != 0 {
            said.counters.tl0_pic_idx = Some((said.bytes, *payload.get(said.bytes)?));
            said.bytes += 1;
        }
        if extension & 0x30 != 0 {
            let byte = *payload.get(said.bytes)?;
            let temporal = Temporal { layer: byte >> 6, is_sync: byte & 0x20 != 0 };
            said.temporal = (extension & 0x20 != 0).then_some(temporal);
            said.bytes += 1;
        }
        Some(said)
    }
}

/// RFC 7741 §4.2 and §4.3: S set, partition 0, and the P bit of the frame's first byte clear.
pub fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    let said = Descriptor::parse(payload)?;
    Some(said.is_start && payload.get(said.bytes)? & 0x01 == 0)
}

/// What the descriptor says of its frame; `None` if it is cut short.
///
/// A frame with its Y bit set, the layer sync, refers to temporal layer 0 alone, so whoever had all
/// below its layer can decode it, and what follows in its layer. It begins its own layer only: those
/// above may go on to refer to older frames of their own.
pub fn frame(payload: &[u8]) -> Option<Frame> {
    let said = Descriptor::parse(payload)?;
    let starts_keyframe = starts_keyframe(payload).unwrap_or(false);
    let plain = Frame { is_start: said.is_start, ..Frame::plain(starts_keyframe) };
    let Some(temporal) = said.temporal else { return Some(plain) };
    let layer = Layer::new(0, temporal.layer)?;
    let begins = match temporal {
        _ if starts_keyframe => Targets::ALL,
        Temporal { layer: 1.., is_sync: true } if said.is_start => of_temporal(temporal.layer),
        _ => Targets::NONE,
    };
    Some(Frame { layer, needed: Targets::from(layer), begins, ..plain })
}

/// Those of one temporal layer: there is one spatial layer, which all are of.
fn of_temporal(temporal: u8) -> Targets {
    let layers = (0..LAYERS_MAX).filter_map(|spatial| Layer::new(spatial, temporal));
    layers.fold(Targets::NONE, Targets::with)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::payload::{self, counters, write_picture_id};

    #[test]
    fn a_descriptor_in_all_its_lengths() {
        let starts_keyframe = |payload: &[u8]| payload::starts_keyframe(Codec::Vp8, payload);
        assert!(starts_keyframe(&[0x10, 0x00]));
        assert!(!starts_keyframe(&[0x10, 0x01]));
        assert!(!starts_keyframe(&[0x00, 0x00]));
        assert!(!starts_keyframe(&[0x11, 0x00]));
        let full = [0x90, 0xf0, 0x81, 0x02, 0x07, 0x20, 0x00];
        let said = Descriptor::parse(&full).unwrap();
        assert_eq!(said.counters.picture_id, Some((2, 15, 0x102)));
        assert_eq!(said.counters.tl0_pic_idx, Some((4, 7)));
        assert_eq!(said.temporal, Some(Temporal { layer: 0, is_sync: true }));
        assert_eq!(said.bytes, 6);
        assert!(starts_keyframe(&full));
        for cut in 0..full.len() {
            assert!(!starts_keyframe(&full[..cut]), "cut at {cut}");
        }
        assert_eq!(Descriptor::parse(&full[..5]), None, "cut before TID, Y and KEYIDX");
        let mut short_id = [0x90, 0x80, 0x05, 0x00];
        assert_eq!(counters(Codec::Vp8, &short_id).picture_id, Some((2, 7, 5)));
        write_picture_id(&mut short_id, 2, 7, 200);
        assert_eq!(short_id[2], 200 & 0x7f);
    }

    #[test]
    fn a_frame_is_of_its_temporal_layer_and_may_begin_it() {
        let of = |first: u8, temporal: u8, is_sync: bool, delta: u8| {
            let byte = temporal << 6 | u8::from(is_sync) << 5;
            frame(&[first, 0xe0, 0x81, 0x02, 0x07, byte, delta]).unwrap()
        };
        let target = |spatial, temporal| Layer::new(spatial, temporal).unwrap();
        let of_two = of_temporal(2);
        assert!(of_two.has(target(0, 2)) && of_two.has(target(3, 2)));
        assert!(!of_two.has(target(0, 1)) && !of_two.has(target(0, 3)));

        let keyframe = of(0x90, 0, false, 0);
        assert_eq!((keyframe.layer, keyframe.begins), (Layer::LOWEST, Targets::ALL));
        assert_eq!((keyframe.needed, keyframe.is_start), (Targets::ALL, true));
        let within = of(0x80, 0, false, 0);
        assert_eq!((within.begins, within.is_start), (Targets::NONE, false));
        let base = of(0x90, 0, true, 1);
        assert_eq!((base.begins, base.is_start), (Targets::NONE, true));
        let sync = of(0x90, 2, true, 1);
        assert_eq!((sync.layer, sync.needed), (target(0, 2), Targets::from(target(0, 2))));
        assert_eq!(sync.begins, of_two);
        assert_eq!(of(0x80, 2, true, 1).begins, Targets::NONE, "not its first packet");
        assert_eq!(of(0x90, 2, false, 1).begins, Targets::NONE);
        assert!(!sync.is_end);
    }

    #[test]
    fn a_frame_without_a_temporal_layer_is_for_all() {
        assert_eq!(frame(&[0x10, 0x00]), Some(Frame::plain(true)));
        assert_eq!(frame(&[0x00, 0x00]), Some(Frame::plain(false)));
        let delta = Frame { is_start: true, ..Frame::plain(false) };
        assert_eq!(frame(&[0x10, 0x01]), Some(delta));
        // KEYIDX without TID: what stands where TID would says nothing.
        assert_eq!(frame(&[0x90, 0x10, 0xe0, 0x01]), Some(delta));
    }
}
