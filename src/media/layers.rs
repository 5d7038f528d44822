//! Of which layers a stream's packets are, where that takes what packets before them said.

use crate::wire::codec::Codec;
use crate::wire::dependency_descriptor::{Descriptor, Structure, edges};
use crate::wire::frame::{Frame, Targets};
use crate::wire::payload::{self, h264, vp9};

/// What is remembered of one stream.
#[derive(Debug, Default)]
pub struct Layers {
    codec: Option<Codec>,
    /// Number of the packet that changed what is below: older ones, which come late, do not.
    learned: u64,
    /// Of VP9, what the last scalability structure said.
    highest_spatial: Option<u8>,
    /// Of H264, the newest packet, and whether parameter sets came last, without a picture yet.
    sets: Option<(u64, bool)>,
    described: Option<Box<Described>>,
}

/// What dependency descriptors refer to.
#[derive(Debug)]
struct Described {
    structure: Box<Structure>,
    /// Who needed the frames before, by the low bits of their numbers.
    recent: [Option<(u16, Targets)>; RECENT],
}

/// Frames that others may refer to and be known as decodable. Encoders refer to one of the last
/// dozen; a frame that refers further back is taken for no place to begin. A power of two, so that
/// frame numbers wrap without a seam.
const RECENT: usize = 64;
const _: () = assert!(RECENT.is_power_of_two());

impl Layers {
    /// What a packet's frame is, and whether a keyframe starts with the packet.
    ///
    /// Where there is a dependency descriptor, it alone is believed: the payload may be encrypted
    /// from end to end. While none can be understood, before the first structure, the packets are
    /// for all, and nobody begins with them. A packet without one is read by its payload, even in a
    /// stream that has them, since an encoder that takes over from another may have none to give.
    pub fn read(
        &mut self,
        seq: u64,
        codec: Codec,
        payload: &[u8],
        descriptor: &[u8],
    ) -> (Frame, bool) {
        if self.codec != Some(codec) {
            *self = Layers { codec: Some(codec), ..Layers::default() };
        }
        match codec {
            _ if !descriptor.is_empty() => self.read_descriptor(seq, descriptor),
            Codec::Vp9 { .. } => self.read_vp9(seq, payload),
            Codec::H264 { .. } => self.read_h264(seq, payload),
            _ => (payload::frame(codec, payload), payload::starts_keyframe(codec, payload)),
        }
    }

    /// A keyframe begins with its parameter sets, which may be in packets of their own. So an IDR
    /// picture without any begins nothing where they came before it, nor where they may have.
    fn read_h264(&mut self, seq: u64, payload: &[u8]) -> (Frame, bool) {
        let part = h264::part(payload);
        let before = self.sets.filter(|(last, _)| last + 1 == seq).map(|(_, leads)| leads);
        if self.sets.is_none_or(|(last, _)| seq > last) {
            let leads = part.leads || before == Some(true) && !part.has_slice;
            self.sets = Some((seq, leads));
        }
        let alone = part.begins_idr && before == Some(false);
        let starts_keyframe = part.has_set || alone;
        (Frame::plain(starts_keyframe), starts_keyframe)
    }

    fn read_vp9(&mut self, seq: u64, payload: &[u8]) -> (Frame, bool) {
        let Some(said) = vp9::Descriptor::parse(payload) else {
            return (Frame::plain(false), false);
        };
        let starts_keyframe = said.starts_keyframe();
        if (said.structure.is_some() || starts_keyframe) && seq >= self.learned {
            self.learned = seq;
            self.highest_spatial = said.structure.map(|structure| structure.highest_spatial);
        }
        (said.frame(self.highest_spatial), starts_keyframe)
    }

    fn read_descriptor(&mut self, seq: u64, descriptor: &[u8]) -> (Frame, bool) {
        let known = self.described.as_deref().map(|described| &*described.structure);
        let Some(mut said) = Descriptor::parse(descriptor, known) else {
            // Whether its picture ends with it, nobody knows.
            let (is_start, _) = edges(descriptor);
            return (Frame { is_start, ..Frame::plain(false) }, false);
        };
        if seq >= self.learned {
            self.learn(seq, &mut said);
        }
        if let Some(described) = &mut self.described {
            said.frame.begins = said.frame.begins.and(described.decodable(&said));
            described.remember(said.frame_number, said.frame.needed);
        }
        (said.frame, said.starts_keyframe)
    }

    fn learn(&mut self, seq: u64, said: &mut Descriptor) {
        match (said.structure.take(), &mut self.described) {
            (Some(structure), Some(described)) => {
                described.structure = structure;
                described.recent = [None; RECENT];
            }
            (Some(structure), none) => {
                *none = Some(Box::new(Described { structure, recent: [None; RECENT] }));
            }
            (None, Some(described)) => match said.active {
                Some(active) if active.mask != described.structure.active() => {
                    described.structure.activate(active.mask);
                }
                _ => return,
            },
            (None, None) => return,
        }
        self.learned = seq;
    }
}

impl Described {
    /// Those who can decode a frame if they had all that is below them.
    ///
    /// A switch indication promises that all is decodable *if* the frame is, and encoders give it to
    /// every frame of which that is true: also to those that refer to frames of their own layer,
    /// which whoever comes from below never had. So every frame that it refers to must have been
    /// needed by one of the targets next below.
    fn decodable(&self, said: &Descriptor) -> Targets {
        let frames = said.references.iter().map(|back| said.frame_number.wrapping_sub(back));
        let needed = frames.map(|number| self.needed(number).unwrap_or(Targets::NONE).above());
        needed.fold(Targets::ALL, Targets::and)
    }

    /// Who needed a frame, if it came and was not long ago.
    fn needed(&self, number: u16) -> Option<Targets> {
        let (found, needed) = (*self.recent.get(usize::from(number) % RECENT)?)?;
        (found == number).then_some(needed)
    }

    fn remember(&mut self, number: u16, needed: Targets) {
        if let Some(place) = self.recent.get_mut(usize::from(number) % RECENT) {
            *place = Some((number, needed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Layer;

    const AV1: Codec = Codec::Av1 { profile: 0 };
    const VP9: Codec = Codec::Vp9 { profile: 0 };

    /// The structure of L2T2 as a browser sent it (olivermichel/webrtc-analysis), in its first
    /// frame, which is number 1. Of its templates 0 is the keyframe's lower spatial layer and 3 its
    /// upper; later ones are 1 and 4, and in the upper temporal layer 2 and 5.
    const KEYFRAME: [u8; 33] = [
        0xc0, 0x00, 0x01, 0x80, 0x03, 0x18, 0x7a, 0xaa, 0xf1, 0x30, 0xa0, 0xa0, 0x14, 0xd1, 0x41,
        0x38, 0x23, 0x04, 0x60, 0x08, 0x64, 0x22, 0x22, 0x26, 0x50, 0x09, 0xf0, 0x07, 0x70, 0x13,
        0xf0, 0x0e, 0xf0,
    ];

    fn in_words(targets: Targets) -> Vec<(u8, u8)> {
        let all = (0..4).flat_map(|s| (0..4).map(move |t| (s, t)));
        all.filter(|&(s, t)| targets.has(Layer::new(s, t).unwrap())).collect()
    }

    fn delta(layers: &mut Layers, number: u8, template: u8) -> Frame {
        let (frame, starts_keyframe) =
            layers.read(number.into(), AV1, &[0x18], &[0xc0 | template, 0, number]);
        assert!(!starts_keyframe, "the payload is not believed");
        frame
    }

    #[test]
    fn a_descriptor_is_understood_by_what_came_before() {
        let mut layers = Layers::default();
        let unknown = delta(&mut layers, 0, 1);
        assert_eq!(unknown, Frame { is_start: true, ..Frame::plain(false) });
        let (frame, starts_keyframe) = layers.read(1, AV1, &[0x10], &KEYFRAME);
        assert!(starts_keyframe && frame.begins == Targets::ALL);
        assert_eq!(delta(&mut layers, 4, 5).layer, Layer { spatial: 1, temporal: 1 });
    }

    /// Each with the indications and references of its template; see `KEYFRAME`.
    #[test]
    fn a_switch_is_one_for_those_who_can_decode_the_frame() {
        let mut layers = Layers::default();
        layers.read(1, AV1, &[], &KEYFRAME);
        let mut begins = |number, template| in_words(delta(&mut layers, number, template).begins);
        let of_spatial = |from: u8| (from..4).flat_map(|s| (0..4).map(move |t| (s, t)));
        // Refers to the frame below it, which all had.
        assert_eq!(begins(2, 3), of_spatial(1).collect::<Vec<_>>());
        assert_eq!((begins(3, 2), begins(4, 5)), (vec![], vec![]));
        // Refers to the lowest: who had nothing does not begin here.
        assert_eq!(begins(5, 1), [(0, 1), (0, 2), (0, 3)]);
        // Refers to the one before it of its own layer, too.
        let but_lowest: Vec<_> = of_spatial(1).filter(|l| *l != (1, 0)).collect();
        assert_eq!(begins(6, 4), but_lowest);
        // Number 9 was lost: nobody can decode what refers to it.
        assert_eq!(begins(10, 4), []);
        // Number 10 came, and 13 as well, but 14 refers to both.
        assert_eq!(begins(13, 1), []);
        assert_eq!(begins(14, 4), but_lowest);
        // So was number 65, where number 1 is remembered.
        assert_eq!(begins(69, 1), []);
    }

    #[test]
    fn what_comes_late_changes_nothing() {
        let mut layers = Layers::default();
        layers.read(10, AV1, &[], &KEYFRAME);
        // Extended: active targets, of which there are four, 0 and 1.
        let active = [0xc1, 0, 5, 0b0100_0001, 0b1000_0000];
        let needs = |layers: &mut Layers, descriptor: &[u8], seq| {
            in_words(layers.read(seq, AV1, &[], descriptor).0.needed)
        };
        let upper = [0xc2, 0, 3];
        assert_eq!(needs(&mut layers, &upper, 11).len(), 12);
        layers.read(20, AV1, &[], &active);
        // Template 4 is of targets 2 and 3 alone, which are served by 0 and 1 from here on.
        assert_eq!(needs(&mut layers, &[0xc4, 0, 6], 21), []);
        layers.read(19, AV1, &[], &KEYFRAME);
        assert_eq!(needs(&mut layers, &[0xc4, 0, 6], 22), [], "a keyframe of before");
        layers.read(23, AV1, &[], &KEYFRAME);
        assert_eq!(needs(&mut layers, &[0xc4, 0, 6], 24).len(), 12);
    }

    /// Parameter sets in a packet of their own, and an IDR picture in two fragments.
    #[test]
    fn a_keyframe_of_h264_begins_with_its_parameter_sets() {
        let h264 = Codec::H264 { profile: 0x42e0, mode: 1 };
        let (sets, idr, rest, slice): (&[u8], &[u8], &[u8], &[u8]) =
            (&[0x78, 0, 1, 0x67, 0, 1, 0x68], &[0x7c, 0x85], &[0x7c, 0x45], &[0x61]);
        let begins = |packets: &[(u64, &[u8])]| {
            let mut layers = Layers::default();
            let starts =
                |(seq, p): &(u64, &[u8])| layers.read(*seq, h264, p, &[]).1.then_some(*seq);
            packets.iter().filter_map(starts).collect::<Vec<u64>>()
        };
        assert_eq!(begins(&[(1, slice), (2, sets), (3, idr), (4, rest), (5, slice)]), [2]);
        assert!(begins(&[(1, slice), (3, idr), (4, rest)]).is_empty(), "the sets may be lost");
        assert_eq!(
            begins(&[(1, slice), (3, idr), (2, sets), (4, rest)]),
            [2],
            "they were overtaken"
        );
        assert_eq!(begins(&[(1, slice), (2, idr), (3, rest)]), [2], "there are none in band");
        assert_eq!(begins(&[(1, sets), (2, &[0x06]), (3, idr)]), [1]);
        assert!(begins(&[(9, idr)]).is_empty(), "nobody knows what was before");
    }

    #[test]
    fn another_codec_begins_anew() {
        let mut layers = Layers::default();
        layers.read(1, AV1, &[], &KEYFRAME);
        let (frame, starts_keyframe) = layers.read(2, Codec::Vp8, &[0x10, 0x00], &[]);
        assert_eq!((frame, starts_keyframe), (Frame::plain(true), true));
        assert_eq!(delta(&mut layers, 3, 5).layer, Layer::LOWEST, "no structure");
        assert_eq!(layers.read(4, AV1, &[0x18], &[]), (Frame::plain(true), true), "no descriptor");
    }

    #[test]
    fn the_highest_spatial_layer_of_vp9_is_remembered() {
        let mut layers = Layers::default();
        let mut needs = |seq, payload: &[u8]| {
            let needed = layers.read(seq, VP9, payload, &[]).0.needed;
            needed.has(Layer::new(1, 0).unwrap())
        };
        // Flexible mode, with Z set, of spatial layer 0; a keyframe with a structure is without P.
        let delta = [0xf9, 0x05, 0x00, 0x02];
        let keyframe = |structure: &[u8]| {
            [&[0xb8 | u8::from(!structure.is_empty()) << 1, 0x05, 0x00][..], structure].concat()
        };
        assert!(needs(1, &delta), "as nothing is known");
        assert!(needs(2, &keyframe(&[0x20])));
        assert!(!needs(3, &delta), "there is a higher one, which does not depend on it");
        assert!(needs(1, &keyframe(&[])) && !needs(4, &delta), "late");
        assert!(needs(5, &keyframe(&[0x00])) && needs(6, &delta));
        needs(7, &keyframe(&[0x20]));
        assert!(!needs(8, &delta));
        assert!(needs(9, &keyframe(&[])) && needs(10, &delta), "of which nothing is known");
    }
}
