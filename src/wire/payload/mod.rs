//! What an SFU must know of a payload: of which layers its frame is, does a decoder find its feet
//! here, and where stand the counters that must stay continuous when a slot changes its track.
//! Nothing is decoded.

pub mod av1;
pub mod h264;
pub mod vp8;
pub mod vp9;

use super::codec::Codec;
use super::frame::Frame;

/// Whether a decoder that has seen nothing yet can begin with this packet: the first packet of a
/// keyframe. Audio always can.
pub fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Opus => true,
        Codec::Vp8 => vp8::starts_keyframe(payload).unwrap_or(false),
        Codec::Vp9 { .. } => vp9::Descriptor::parse(payload).is_some_and(|d| d.starts_keyframe()),
        Codec::H264 { .. } => h264::starts_keyframe(payload).unwrap_or(false),
        Codec::Av1 { .. } => av1::starts_keyframe(payload).unwrap_or(false),
    }
}

/// What the payload says of its frame's layers. `begins` is empty but at a frame's first packet. Of
/// VP9 more can be told with what was said before: [`vp9::Descriptor::frame`].
pub fn frame(codec: Codec, payload: &[u8]) -> Frame {
    let plain = || Frame::plain(starts_keyframe(codec, payload));
    match codec {
        // A packet is a frame.
        Codec::Opus => Frame { is_end: true, ..plain() },
        Codec::Vp8 => vp8::frame(payload).unwrap_or_else(plain),
        Codec::Vp9 { .. } => {
            vp9::Descriptor::parse(payload).map_or_else(plain, |said| said.frame(None))
        }
        Codec::H264 { .. } | Codec::Av1 { .. } => plain(),
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
    let counters = match codec {
        Codec::Vp8 => vp8::Descriptor::parse(payload).map(|said| said.counters),
        Codec::Vp9 { .. } => vp9::Descriptor::parse(payload).map(|said| said.counters),
        _ => None,
    };
    counters.unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Targets;

    const CODECS: [Codec; 5] = [
        Codec::Opus,
        Codec::Vp8,
        Codec::Vp9 { profile: 0 },
        Codec::H264 { profile: 0x42e0, mode: 1 },
        Codec::Av1 { profile: 0 },
    ];

    /// Over all payloads of two bytes, with some behind them that are as good as any.
    #[test]
    fn a_frame_begins_all_where_a_keyframe_starts() {
        for codec in CODECS {
            let mut keyframes = 0;
            for bytes in 0..=u16::MAX {
                let [first, second] = bytes.to_be_bytes();
                let payload = [first, second, 0x80, 0x20, 0x00, 0x00, 0x40, 0x00];
                let frame = frame(codec, &payload);
                let starts = starts_keyframe(codec, &payload);
                assert_eq!(frame.begins == Targets::ALL, starts, "{codec:?} {payload:02x?}");
                assert!(frame.is_start || frame.begins.is_empty());
                assert!(frame.needed.has(frame.layer));
                keyframes += u32::from(starts);
            }
            assert!(keyframes > 0, "{codec:?}");
        }
    }
}
