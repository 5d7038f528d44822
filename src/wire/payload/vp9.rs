//! VP9 (RFC 9628).

use super::{Counters, picture_id};
use crate::wire::frame::{Frame, LAYERS_MAX, Layer, Targets};

/// A payload descriptor (RFC 9628 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// P: the frame refers to other pictures.
    pub is_predicted: bool,
    /// B and E: the packet is the first, or the last, of its frame.
    pub is_start: bool,
    pub is_end: bool,
    /// Z: no frame of a higher spatial layer depends on this one.
    pub is_unused_above: bool,
    pub counters: Counters,
    pub indices: Option<Indices>,
    /// The scalability structure, if it is here.
    pub structure: Option<Structure>,
    /// Its own; the payload of VP9 comes behind it.
    pub bytes: usize,
}

/// The layer indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Indices {
    /// TID and SID, 0 to 7 each.
    pub temporal: u8,
    pub spatial: u8,
    /// U: see [`Descriptor::frame`].
    pub switches_up: bool,
}

/// What is used of a scalability structure (RFC 9628 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure {
    /// N_S: the highest spatial layer.
    pub highest_spatial: u8,
    /// Width and height of the largest layer, if they are given.
    pub size: Option<(u16, u16)>,
}

/// References that a frame has at most (RFC 9628 §4.2, P_DIFF).
const REFERENCES_MAX: usize = 3;

impl Descriptor {
    /// `None` if it is cut short, or has more references than there may be.
    pub fn parse(payload: &[u8]) -> Option<Descriptor> {
        let first = *payload.first()?;
        let has = |bit: u8| first & bit != 0;
        let (is_predicted, is_flexible) = (has(0x40), has(0x10));
        let mut counters = Counters::default();
        let mut at = 1;
        if has(0x80) {
            counters.picture_id = Some(picture_id(payload, &mut at)?);
        }
        let mut indices = None;
        if has(0x20) {
            let byte = *payload.get(at)?;
            at += 1;
            let (temporal, spatial) = (byte >> 5, byte >> 1 & 0x07);
            indices = Some(Indices { temporal, spatial, switches_up: byte & 0x10 != 0 });
            if !is_flexible {
                counters.tl0_pic_idx = Some((at, *payload.get(at)?));
                at += 1;
            }
        }
        if is_predicted && is_flexible {
            at = behind_references(payload, at)?;
        }
        let structure = if has(0x02) { Some(Structure::parse(payload, &mut at)?) } else { None };
        Some(Descriptor {
            is_predicted,
            is_start: has(0x08),
            is_end: has(0x04),
            is_unused_above: has(0x01),
            counters,
            indices,
            structure,
            bytes: at,
        })
    }

    /// Not inter-picture predicted, beginning of a frame, lowest spatial layer: a key picture.
    pub fn starts_keyframe(&self) -> bool {
        let is_lowest = self.indices.is_none_or(|indices| indices.spatial == 0);
        !self.is_predicted && self.is_start && is_lowest
    }

    /// What it says of its frame. `highest_spatial` is what the stream's last [`Structure`] said,
    /// if there was any; this packet's own comes before it.
    ///
    /// - Needed by those of the same spatial layer or a higher one and the same temporal layer or
    ///   a higher one, but with Z set by those of the same spatial layer alone. The frames of the
    ///   highest spatial layer have Z set as well, since there is none above that could depend on
    ///   them; whoever asked for more than there is needs them nonetheless. So Z counts only below
    ///   a highest layer that is known.
    /// - Without P, "up-switching to a current spatial layer's frame is possible from a directly
    ///   lower spatial layer frame". Of its spatial layer the temporal layer of the frame begins,
    ///   which is the lowest: those above may go on to refer to older pictures.
    /// - With U, "subsequent higher temporal-layer pictures will not depend on any picture before
    ///   the current picture with TID value greater than" the frame's. Whoever has all of that TID
    ///   may therefore begin any *higher* one. The frame's own does not begin with it: nothing is
    ///   said of whether the frame refers to an older one of its TID, and of the highest TID every
    ///   frame may have U set. Nothing is lost by that: the pictures below, which whoever wants to
    ///   switch up has, tell it as well. U is told of the picture, but every spatial layer goes by
    ///   its own frame's, so that one which says otherwise of itself is believed.
    pub fn frame(&self, highest_spatial: Option<u8>) -> Frame {
        let starts_keyframe = self.starts_keyframe();
        let mut frame =
            Frame { is_start: self.is_start, is_end: self.is_end, ..Frame::plain(starts_keyframe) };
        let Some(indices) = self.indices else { return frame };
        let within = |index: u8| index.min(LAYERS_MAX - 1);
        frame.layer =
            Layer { spatial: within(indices.spatial), temporal: within(indices.temporal) };
        let highest = self.structure.map(|structure| structure.highest_spatial);
        let highest = highest.or(highest_spatial);
        let of_spatial = match highest {
            Some(highest) if indices.spatial < highest => own_spatial(frame.layer.spatial),
            _ => Targets::from(Layer { temporal: 0, ..frame.layer }),
        };
        frame.needed = Targets::from(frame.layer);
        if self.is_unused_above {
            frame.needed = frame.needed.and(of_spatial);
        }
        // Of layers above those that are told apart, none begins: they all are the highest.
        let is_told_apart = indices.spatial < LAYERS_MAX && indices.temporal < LAYERS_MAX;
        if self.is_start && !starts_keyframe && is_told_apart {
            let mut begins = Targets::NONE;
            if !self.is_predicted {
                begins = begins.or(of_temporal(indices.temporal));
            }
            if indices.switches_up
                && let Some(above) = Layer::new(0, indices.temporal + 1)
            {
                begins = begins.or(Targets::from(above));
            }
            frame.begins = begins.and(of_spatial);
        }
        frame
    }
}

/// All those of one spatial layer, and of one temporal layer.
fn own_spatial(spatial: u8) -> Targets {
    let layers = (0..LAYERS_MAX).filter_map(|temporal| Layer::new(spatial, temporal));
    layers.fold(Targets::NONE, Targets::with)
}

fn of_temporal(temporal: u8) -> Targets {
    let layers = (0..LAYERS_MAX).filter_map(|spatial| Layer::new(spatial, temporal));
    layers.fold(Targets::NONE, Targets::with)
}

/// P_DIFFs, of which each tells by its N bit whether another follows.
fn behind_references(payload: &[u8], start: usize) -> Option<usize> {
    let references = payload.get(start..)?.iter().take(REFERENCES_MAX);
    let more = references.take_while(|byte| **byte & 0x01 != 0).count();
    (more < REFERENCES_MAX && start + more < payload.len()).then_some(start + more + 1)
}

impl Structure {
    fn parse(payload: &[u8], at: &mut usize) -> Option<Structure> {
        let first = *payload.get(*at)?;
        *at += 1;
        let highest_spatial = first >> 5;
        let mut size = None;
        if first & 0x10 != 0 {
            for _ in 0..=highest_spatial {
                let sizes = payload.get(*at..)?.first_chunk::<4>()?;
                let [w, x, h, y] = *sizes;
                *at += sizes.len();
                let layer = (u16::from_be_bytes([w, x]), u16::from_be_bytes([h, y]));
                size = size.max(Some(layer));
            }
        }
        if first & 0x08 != 0 {
            let pictures = *payload.get(*at)?;
            *at += 1;
            for _ in 0..pictures {
                let references = payload.get(*at)? >> 2 & 0x03;
                *at += 1 + usize::from(references);
            }
        }
        (*at <= payload.len()).then_some(Structure { highest_spatial, size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::payload::{counters, starts_keyframe};

    const VP9: Codec = Codec::Vp9 { profile: 0 };

    fn target(spatial: u8, temporal: u8) -> Layer {
        Layer::new(spatial, temporal).unwrap()
    }

    #[test]
    fn it_begins_only_on_the_lowest_layer() {
        assert!(starts_keyframe(VP9, &[0x08]));
        assert!(!starts_keyframe(VP9, &[0x48]));
        assert!(!starts_keyframe(VP9, &[0x00]));
        assert!(starts_keyframe(VP9, &[0xa8, 0x85, 0x01, 0x00, 0x00]));
        assert!(!starts_keyframe(VP9, &[0xa8, 0x85, 0x01, 0x02, 0x00]));
    }

    #[test]
    fn counters_are_found_behind_each_other() {
        let found = |payload: &[u8]| counters(VP9, payload);
        assert_eq!(found(&[0x88, 0x85, 0x01]).picture_id, Some((1, 15, 0x501)));
        assert_eq!(found(&[0x88, 0x05]).picture_id, Some((1, 7, 5)));
        assert_eq!(found(&[0x88, 0x85]), Counters::default(), "cut short");
        assert_eq!(found(&[0xa8, 0x85, 0x01, 0x00, 0x42]).tl0_pic_idx, Some((4, 0x42)));
        assert_eq!(found(&[0xa8, 0x05, 0x00, 0x42]).tl0_pic_idx, Some((3, 0x42)));
        // Flexible mode has none.
        assert_eq!(found(&[0xb8, 0x05, 0x00, 0x42]).tl0_pic_idx, None);
    }

    /// The first packet of a keyframe of three spatial layers as libwebrtc writes it, in
    /// non-flexible mode: picture id 5, sizes from 320x180 to 1280x720, a group of two pictures.
    const KEYFRAME: [u8; 24] = [
        0xaa, 0x80, 0x05, 0x00, 0x11, 0x58, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68, 0x05,
        0x00, 0x02, 0xd0, 0x02, 0x04, 0x02, 0x34, 0x01, 0x82,
    ];

    #[test]
    fn a_scalability_structure_is_read_to_its_end() {
        let said = Descriptor::parse(&KEYFRAME).unwrap();
        let structure = Structure { highest_spatial: 2, size: Some((1280, 720)) };
        assert_eq!((said.structure, said.bytes), (Some(structure), 23));
        for cut in 0..23 {
            assert_eq!(Descriptor::parse(&KEYFRAME[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Descriptor::parse(&KEYFRAME[..23]), Some(said));
    }

    #[test]
    fn references_are_passed_over() {
        let bytes = |payload: &[u8]| Descriptor::parse(payload).map(|said| said.bytes);
        assert_eq!(bytes(&[0xd8, 0x05, 0x02]), Some(3));
        assert_eq!(bytes(&[0xd8, 0x05, 0x03, 0x05, 0x06]), Some(5));
        assert_eq!(bytes(&[0xd8, 0x05, 0x03, 0x05]), None, "cut short");
        assert_eq!(bytes(&[0xd8, 0x05, 0x03, 0x05, 0x07, 0x08]), None, "four references");
        assert_eq!(bytes(&[0x98, 0x05, 0x03]), Some(2), "flexible, but not predicted");
    }

    /// P and Z as given, at the start of a frame with these layer indices in flexible mode.
    fn frame(p: bool, z: bool, (spatial, temporal): (u8, u8), u: bool, highest: u8) -> Frame {
        let first = 0xb8 | u8::from(p) << 6 | u8::from(z);
        let indices = temporal << 5 | u8::from(u) << 4 | spatial << 1;
        Descriptor::parse(&[first, 0x05, indices, 0x02]).unwrap().frame(Some(highest))
    }

    #[test]
    fn a_frame_is_needed_above_unless_it_says_otherwise() {
        let needed = |z, spatial, highest| frame(true, z, (spatial, 1), false, highest).needed;
        assert_eq!(needed(false, 0, 2), Targets::from(target(0, 1)));
        let own: Vec<u8> = (0..4).filter(|s| needed(true, 1, 2).has(target(*s, 1))).collect();
        assert_eq!(own, [1]);
        assert!(needed(true, 1, 2).has(target(1, 3)) && !needed(true, 1, 2).has(target(1, 0)));
        // The highest that there is stands for all above it.
        assert_eq!(needed(true, 2, 2), Targets::from(target(2, 1)));
        assert_eq!(needed(true, 0, 0), Targets::from(target(0, 1)));
        let unknown = Descriptor::parse(&[0xf9, 0x05, 0x20, 0x02]).unwrap().frame(None);
        assert_eq!(unknown.needed, Targets::from(target(0, 1)));
        // What the packet itself says of the highest comes first.
        let keyframe = Descriptor::parse(&KEYFRAME).unwrap();
        let below = Descriptor { is_unused_above: true, ..keyframe }.frame(Some(0));
        assert!(!below.needed.has(target(1, 0)));
    }

    #[test]
    fn begins_what_may_be_shown_from_here_on() {
        assert_eq!(frame(false, false, (0, 0), false, 2).begins, Targets::ALL);
        let begun = |p, layer, u| {
            let begins = frame(p, false, layer, u, 2).begins;
            let has = (0..4).flat_map(|s| (0..4).map(move |t| (s, t)));
            has.filter(|&(s, t)| begins.has(target(s, t))).collect::<Vec<(u8, u8)>>()
        };
        assert_eq!(begun(false, (1, 0), false), [(1, 0)]);
        assert_eq!(begun(false, (1, 0), true), [(1, 0), (1, 1), (1, 2), (1, 3)]);
        assert_eq!(begun(false, (2, 0), false), [(2, 0), (3, 0)]);
        assert_eq!(begun(true, (0, 0), false), []);
        assert_eq!(begun(true, (0, 0), true), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(begun(true, (1, 1), true), [(1, 2), (1, 3)]);
        assert_eq!(begun(true, (1, 3), true), []);
        assert_eq!(begun(false, (5, 0), true), [], "not told apart from those below");
        assert_eq!(frame(true, false, (6, 7), false, 7).layer, Layer::HIGHEST);
    }

    #[test]
    fn only_a_first_packet_begins_something() {
        let said = Descriptor::parse(&[0xb0, 0x05, 0x10]).unwrap();
        let frame = said.frame(None);
        assert_eq!((frame.begins, frame.is_start, frame.is_end), (Targets::NONE, false, false));
        assert!(Descriptor::parse(&[0xb4, 0x05, 0x10]).unwrap().frame(None).is_end);
    }
}
