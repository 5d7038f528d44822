//! What an SFU must know of a payload: does a decoder find its feet here, and where stand the
//! counters that must stay continuous when a slot changes its track. Nothing is decoded.

use super::codec::Codec;

/// Whether a decoder that has seen nothing yet can begin with this packet: the first packet of a
/// keyframe. Audio always can.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => vp8_starts_keyframe(payload).unwrap_or(false),
        Codec::Vp9 { .. } => vp9_starts_keyframe(payload).unwrap_or(false),
        Codec::H264 { .. } => h264_starts_keyframe(payload).unwrap_or(false),
        Codec::Av1 { .. } => av1_starts_keyframe(payload).unwrap_or(false),
    }
}

/// The counters of a payload that must stay continuous, wherever its codec keeps them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Offset, width in bits (7 or 15) and value of the PictureID.
    pub picture_id: Option<(usize, u32, u16)>,
    /// Offset and value of TL0PICIDX.
    pub tl0_pic_idx: Option<(usize, u8)>,
}

/// Reads them; none where the payload has none or is cut short.
pub fn counters(codec: Codec, payload: &[u8]) -> Counters {
    match codec {
        Codec::Vp8 => vp8_counters(payload).map_or(Counters::default(), |(counters, _)| counters),
        Codec::Vp9 { .. } => Counters { picture_id: vp9_picture_id(payload), tl0_pic_idx: None },
        _ => Counters::default(),
    }
}

/// A VP8 payload descriptor (RFC 7741 §4.2): its counters and its bytes; `None` if it is cut short.
pub fn vp8_counters(payload: &[u8]) -> Option<(Counters, usize)> {
    let mut counters = Counters::default();
    if payload.first()? & 0x80 == 0 {
        return Some((counters, 1));
    }
    let extension = *payload.get(1)?;
    let mut at = 2;
    if extension & 0x80 != 0 {
        counters.picture_id = Some(picture_id(payload, &mut at)?);
    }
    if extension & 0x40 != 0 {
        counters.tl0_pic_idx = Some((at, *payload.get(at)?));
        at += 1;
    }
    if extension & 0x30 != 0 {
        payload.get(at)?;
        at += 1;
    }
    Some((counters, at))
}

/// Offset, width in bits (7 or 15) and value of the PictureID in a VP9 payload descriptor
/// (RFC 9628 §4.2); `None` if it has none or is cut short.
pub fn vp9_picture_id(payload: &[u8]) -> Option<(usize, u32, u16)> {
    if payload.first()? & 0x80 == 0 {
        return None;
    }
    picture_id(payload, &mut 1)
}

/// The M bit picks 7 or 15 bits, alike in VP8 and VP9.
fn picture_id(payload: &[u8], at: &mut usize) -> Option<(usize, u32, u16)> {
    let start = *at;
    let first = *payload.get(start)?;
    if first & 0x80 == 0 {
        *at += 1;
        return Some((start, 7, u16::from(first)));
    }
    let second = *payload.get(start + 1)?;
    *at += 2;
    Some((start, 15, u16::from_be_bytes([first & 0x7f, second])))
}

/// Writes a picture id of the width that was read there; nothing where there is no place for it.
pub fn write_picture_id(payload: &mut [u8], offset: usize, bits: u32, value: u16) {
    let Some(place) = payload.get_mut(offset..) else { return };
    match (bits, place) {
        (7, [only, ..]) => *only = value as u8 & 0x7f,
        (15, [first, second, ..]) => {
            let [high, low] = (value & 0x7fff).to_be_bytes();
            (*first, *second) = (0x80 | high, low);
        }
        _ => debug_assert!(false, "written where it was read"),
    }
}

/// Writes a TL0PICIDX where one was read.
pub fn write_tl0_pic_idx(payload: &mut [u8], offset: usize, value: u8) {
    if let Some(place) = payload.get_mut(offset) {
        *place = value;
    }
}

/// RFC 7741 §4.2 and §4.3: S set, partition 0, and the P bit of the frame's first byte clear.
fn vp8_starts_keyframe(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let begins_frame = first & 0x10 != 0 && first & 0x07 == 0;
    let frame = payload.get(vp8_counters(payload)?.1)?;
    Some(begins_frame && frame & 0x01 == 0)
}

/// RFC 9628 §4.2: not inter-picture predicted, beginning of a frame, lowest spatial layer.
fn vp9_starts_keyframe(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let (has_id, predicted, has_layers, begins) =
        (first & 0x80 != 0, first & 0x40 != 0, first & 0x20 != 0, first & 0x08 != 0);
    if predicted || !begins {
        return Some(false);
    }
    let mut at = 1;
    if has_id {
        picture_id(payload, &mut at)?;
    }
    if has_layers {
        let spatial = payload.get(at)? >> 1 & 0x07;
        return Some(spatial == 0);
    }
    Some(true)
}

/// RFC 6184 §5: a sequence parameter set or the beginning of an IDR picture, alone, aggregated
/// (STAP-A) or fragmented (FU-A).
fn h264_starts_keyframe(payload: &[u8]) -> Option<bool> {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    let opens = |nal: u8| nal & 0x1f == SPS || nal & 0x1f == IDR;
    let first = *payload.first()?;
    match first & 0x1f {
        24 => {
            let mut rest = payload.get(1..)?;
            while let Some((size, tail)) = rest.split_first_chunk() {
                let size = usize::from(u16::from_be_bytes(*size));
                if opens(*tail.first()?) {
                    return Some(true);
                }
                rest = tail.get(size..)?;
            }
            Some(false)
        }
        28 => {
            let fu = *payload.get(1)?;
            Some(fu & 0x80 != 0 && opens(fu))
        }
        _ => Some(opens(first)),
    }
}

/// AV1 RTP specification §4.4: the N bit opens a coded video sequence.
fn av1_starts_keyframe(payload: &[u8]) -> Option<bool> {
    Some(payload.first()? & 0x08 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vp8_descriptor_in_all_its_lengths() {
        assert!(starts_keyframe(Codec::Vp8, &[0x10, 0x00]));
        assert!(!starts_keyframe(Codec::Vp8, &[0x10, 0x01]));
        assert!(!starts_keyframe(Codec::Vp8, &[0x00, 0x00]));
        assert!(!starts_keyframe(Codec::Vp8, &[0x11, 0x00]));
        let full = [0x90, 0xf0, 0x81, 0x02, 0x07, 0x20, 0x00];
        let (read, bytes) = vp8_counters(&full).unwrap();
        assert_eq!(read.picture_id, Some((2, 15, 0x102)));
        assert_eq!(read.tl0_pic_idx, Some((4, 7)));
        assert_eq!(bytes, 6);
        assert!(starts_keyframe(Codec::Vp8, &full));
        for cut in 0..full.len() {
            assert!(!starts_keyframe(Codec::Vp8, &full[..cut]), "cut at {cut}");
        }
        assert_eq!(vp8_counters(&full[..5]), None, "cut before TID, Y and KEYIDX");
        let mut short_id = [0x90, 0x80, 0x05, 0x00];
        assert_eq!(counters(Codec::Vp8, &short_id).picture_id, Some((2, 7, 5)));
        write_picture_id(&mut short_id, 2, 7, 200);
        assert_eq!(short_id[2], 200 & 0x7f);
    }

    #[test]
    fn vp9_begins_only_on_the_lowest_layer() {
        let vp9 = Codec::Vp9 { profile: 0 };
        assert!(starts_keyframe(vp9, &[0x08]));
        assert!(!starts_keyframe(vp9, &[0x48]));
        assert!(!starts_keyframe(vp9, &[0x00]));
        assert!(starts_keyframe(vp9, &[0xa8, 0x85, 0x01, 0x00]));
        assert!(!starts_keyframe(vp9, &[0xa8, 0x85, 0x01, 0x02]));
        assert_eq!(vp9_picture_id(&[0x88, 0x85, 0x01]), Some((1, 15, 0x501)));
        assert_eq!(vp9_picture_id(&[0x88, 0x85]), None);
    }

    #[test]
    fn h264_alone_aggregated_and_fragmented() {
        let h264 = Codec::H264 { profile: 0x42e0, mode: 1 };
        assert!(starts_keyframe(h264, &[0x67]));
        assert!(starts_keyframe(h264, &[0x65]));
        assert!(!starts_keyframe(h264, &[0x61]));
        assert!(starts_keyframe(h264, &[0x78, 0, 1, 0x09, 0, 1, 0x67]));
        assert!(!starts_keyframe(h264, &[0x78, 0, 1, 0x09]));
        assert!(!starts_keyframe(h264, &[0x78, 0, 9, 0x09]));
        assert!(starts_keyframe(h264, &[0x7c, 0x85]));
        assert!(!starts_keyframe(h264, &[0x7c, 0x05]));
        assert!(!starts_keyframe(h264, &[0x7c]));
    }

    #[test]
    fn av1_by_the_n_bit() {
        let av1 = Codec::Av1 { profile: 0 };
        assert!(starts_keyframe(av1, &[0x18]));
        assert!(!starts_keyframe(av1, &[0x10]));
        assert!(!starts_keyframe(av1, &[]));
    }
}
