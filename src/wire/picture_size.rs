//! How large the pictures are that follow, as the first packet of a keyframe tells.

use super::bits::Bits;
use super::codec::Codec;
use super::payload::{av1, h264, vp8, vp9};

/// Width and height in pixels; of several spatial layers, of the largest that is told of. `None` if
/// the packet does not tell: it starts no keyframe, is cut short, or is audio.
pub fn picture_size(codec: Codec, payload: &[u8]) -> Option<(u16, u16)> {
    let size = match codec {
        Codec::Opus => None,
        Codec::Vp8 => of_vp8(payload),
        Codec::Vp9 { .. } => of_vp9(payload),
        Codec::H264 { .. } => of_h264(h264::parameter_set(payload)?),
        Codec::Av1 { .. } => of_av1(av1::sequence_header(payload)?),
    };
    size.filter(|(width, height)| *width > 0 && *height > 0)
}

/// RFC 6386 §9.1: behind the three bytes of the frame tag a start code, then width and height in 14
/// bits each, under two of scale.
fn of_vp8(payload: &[u8]) -> Option<(u16, u16)> {
    if !vp8::starts_keyframe(payload)? {
        return None;
    }
    let frame = payload.get(vp8::Descriptor::parse(payload)?.bytes..)?;
    let [0x9d, 0x01, 0x2a, w, x, h, y] = *frame.get(3..)?.first_chunk()? else { return None };
    let side = |bytes| u16::from_le_bytes(bytes) & 0x3fff;
    Some((side([w, x]), side([h, y])))
}

/// From the scalability structure if it tells, else from the frame.
fn of_vp9(payload: &[u8]) -> Option<(u16, u16)> {
    let said = vp9::Descriptor::parse(payload)?;
    if !said.starts_keyframe() {
        return None;
    }
    let told = said.structure.and_then(|structure| structure.size);
    told.or_else(|| of_vp9_frame(payload.get(said.bytes..)?))
}

/// uncompressed_header (VP9 bitstream specification §6.2), of profiles 0 and 2, which are those of
/// 4:2:0.
fn of_vp9_frame(frame: &[u8]) -> Option<(u16, u16)> {
    const FRAME_MARKER: u32 = 2;
    const SYNC_CODE: u32 = 0x49_83_42;
    const SRGB: u32 = 7;
    let mut bits = Bits::new(frame);
    let marker = bits.number(2)?;
    let (profile_low, profile_high) = (bits.bit()?, bits.bit()?);
    if marker != FRAME_MARKER || profile_low {
        return None;
    }
    let (shows_existing, is_delta) = (bits.bit()?, bits.bit()?);
    let (_show_frame, _error_resilient) = (bits.bit()?, bits.bit()?);
    if shows_existing || is_delta || bits.number(24)? != SYNC_CODE {
        return None;
    }
    if profile_high {
        let _ten_or_twelve_bits = bits.bit()?;
    }
    if bits.number(3)? == SRGB {
        return None;
    }
    let _color_range = bits.bit()?;
    side_minus_one(&mut bits, 16).zip(side_minus_one(&mut bits, 16))
}

/// seq_parameter_set_data (ITU-T H.264 §7.3.2.1.1), of the bytes behind the NAL unit's header.
fn of_h264(parameter_set: &[u8]) -> Option<(u16, u16)> {
    let (bytes, length) = h264::unescaped(parameter_set);
    let mut bits = Bits::new(bytes.get(..length)?);
    let profile = bits.number(8)?;
    let _constraints_and_level = bits.number(16)?;
    let _id = bits.exp_golomb()?;
    let is_high =
        matches!(profile, 44 | 83 | 86 | 100 | 110 | 118 | 122 | 128 | 134 | 135 | 138 | 139 | 244);
    let chroma = if is_high { read_chroma(&mut bits)? } else { 1 };
    let _max_frame_num = bits.exp_golomb()?;
    skip_picture_order(&mut bits)?;
    let (_max_references, _gaps) = (bits.exp_golomb()?, bits.bit()?);
    let (columns, rows) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let is_progressive = bits.bit()?;
    let fields = if is_progressive { 1 } else { 2 };
    if !is_progressive {
        let _adapts_to_fields = bits.bit()?;
    }
    let _direct_inference = bits.bit()?;
    let mut crop = [0u32; 4];
    if bits.bit()? {
        for side in &mut crop {
            *side = bits.exp_golomb()?;
        }
    }
    let [left, right, top, bottom] = crop.map(u64::from);
    // Table 6-1; cropping is in units of chroma samples, and of two lines where there are fields.
    let (unit_x, unit_y) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let side = |blocks: u32, times: u64, cropped: u64| {
        let pixels = (u64::from(blocks) + 1) * 16 * times;
        u16::try_from(pixels.checked_sub(cropped)?).ok()
    };
    let width = side(columns, 1, (left + right) * unit_x)?;
    Some((width, side(rows, fields, (top + bottom) * unit_y * fields)?))
}

/// What high profiles have before the rest. Gives ChromaArrayType.
fn read_chroma(bits: &mut Bits<'_>) -> Option<u32> {
    const YUV_444: u32 = 3;
    let format = bits.exp_golomb()?;
    let is_separate = format == YUV_444 && bits.bit()?;
    let (_luma_depth, _chroma_depth) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let _transform_bypass = bits.bit()?;
    if bits.bit()? {
        let lists = if format == YUV_444 { 12 } else { 8 };
        for list in 0..lists {
            if bits.bit()? {
                skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(if is_separate { 0 } else { format })
}

/// scaling_list (ITU-T H.264 §7.3.2.1.1.1): where a next scale is 0, the rest is as the last.
fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let mut last = 8i32;
    for _ in 0..size {
        last = bits.signed_exp_golomb()?.checked_add(last)?.rem_euclid(256);
        if last == 0 {
            break;
        }
    }
    Some(())
}

fn skip_picture_order(bits: &mut Bits<'_>) -> Option<()> {
    const CYCLE_MAX: u32 = 255;
    match bits.exp_golomb()? {
        0 => {
            let _max_lsb = bits.exp_golomb()?;
        }
        1 => {
            let _always_zero = bits.bit()?;
            let (_non_reference, _top_to_bottom) = (bits.exp_golomb()?, bits.exp_golomb()?);
            let cycle = bits.exp_golomb()?;
            for _ in 0..Some(cycle).filter(|cycle| *cycle <= CYCLE_MAX)? {
                bits.exp_golomb()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// sequence_header_obu (AV1 specification §5.5.1).
fn of_av1(header: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(header);
    let _profile = bits.number(3)?;
    let (_still_picture, is_reduced) = (bits.bit()?, bits.bit()?);
    if is_reduced {
        let _level = bits.number(5)?;
    } else {
        let mut delay_bits = None;
        if bits.bit()? {
            let _timing = (bits.number(32)?, bits.number(32)?);
            if bits.bit()? {
                let _ticks_per_picture = bits.exp_golomb()?;
            }
            if bits.bit()? {
                delay_bits = Some(bits.number(5)? + 1);
                let _tick = bits.number(32)?;
                let _lengths = bits.number(10)?;
            }
        }
        skip_operating_points(&mut bits, delay_bits)?;
    }
    let (width_bits, height_bits) = (bits.number(4)? + 1, bits.number(4)? + 1);
    side_minus_one(&mut bits, width_bits).zip(side_minus_one(&mut bits, height_bits))
}

fn skip_operating_points(bits: &mut Bits<'_>, delay_bits: Option<u32>) -> Option<()> {
    let has_initial_delay = bits.bit()?;
    let points = bits.number(5)? + 1;
    for _ in 0..points {
        let _layers = bits.number(12)?;
        let level = bits.number(5)?;
        if level > 7 {
            let _tier = bits.bit()?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.bit()?
        {
            let _delays = (bits.number(delay_bits)?, bits.number(delay_bits)?, bits.bit()?);
        }
        if has_initial_delay && bits.bit()? {
            let _initial_delay = bits.number(4)?;
        }
    }
    Some(())
}

/// One of 65,536 is not told.
fn side_minus_one(bits: &mut Bits<'_>, count: u32) -> Option<u16> {
    u16::try_from(bits.number(count)? + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bits::writer::Writer;

    const VP9: Codec = Codec::Vp9 { profile: 0 };
    const H264: Codec = Codec::H264 { profile: 0x42c0, mode: 1 };
    const AV1: Codec = Codec::Av1 { profile: 0 };

    fn hex(text: &str) -> Vec<u8> {
        let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    /// As the payload's first bytes become more: nothing until the size is whole, and then the size.
    fn told(codec: Codec, payload: &[u8], size: (u16, u16)) {
        let all: Vec<_> = (0..=payload.len()).map(|n| picture_size(codec, &payload[..n])).collect();
        let first = all.iter().position(Option::is_some).expect("told in the end");
        assert!(all[first..].iter().all(|told| *told == Some(size)), "{all:?}");
    }

    /// The first bytes of what libvpx, x264, libaom and SVT-AV1 made of pictures of 322x182.
    #[test]
    fn encoders_tell_the_size_of_their_pictures() {
        let size = (322, 182);
        told(Codec::Vp8, &hex("9080053059009d012a4201b6000007088585"), size);
        told(VP9, &hex("888501824983420014100b560838241c"), size);
        told(VP9, &hex("0892498342000a0805ab031c120e0c2c"), size);
        let baseline = "6742c00dd901519e226c0440000003004000000f03c50a92";
        let high = "6764000dacd941519e226c0440000003004000000f03c50a6580";
        let yuv_444 = "67f4000d919b282a33c7c5e022000003000200000300781e28532c";
        let interlaced_422 = "677a0015bcd941533c44d80880000003008000001e0f8a14cb";
        for text in [baseline, high, yuv_444, interlaced_422] {
            told(H264, &hex(text), size);
        }
        told(AV1, &hex("180a0d200000043d06d4daf92021a004"), size);
        told(AV1, &hex("180a0b000000043d06d4fbf90040"), size);
    }

    #[test]
    fn it_is_told_by_keyframes_alone() {
        assert_eq!(picture_size(Codec::Opus, &[0xff; 40]), None);
        assert_eq!(picture_size(Codec::Vp8, &hex("9080053159009d012a4201b60000")), None, "a delta");
        assert_eq!(picture_size(Codec::Vp8, &hex("9080053059009d012b4201b60000")), None, "no code");
        assert_eq!(
            picture_size(Codec::Vp8, &hex("9080053059009d012a0000b60000")),
            None,
            "no width"
        );
        assert_eq!(
            picture_size(Codec::Vp8, &hex("9080053059009d012a42c1b64000")),
            Some((322, 182))
        );
        assert_eq!(picture_size(VP9, &hex("c88501824983420014100b56083824")), None, "predicted");
        assert_eq!(picture_size(VP9, &hex("888501824983430014100b56083824")), None, "no code");
        assert_eq!(picture_size(H264, &hex("65888084")), None);
        assert_eq!(
            picture_size(AV1, &hex("100a0b000000043d06d4fbf90040")),
            None,
            "no new sequence"
        );
    }

    #[test]
    fn the_scalability_structure_comes_before_the_frame() {
        let frame = hex("824983420014100b560838241c");
        let structure = [0x0a, 0x30, 0x01, 0x40, 0x00, 0xb4, 0x02, 0x80, 0x01, 0x68];
        told(VP9, &[&structure[..], &frame].concat(), (640, 360));
        told(VP9, &[&[0x0a, 0x00][..], &frame].concat(), (322, 182));
    }

    #[test]
    fn a_parameter_set_is_found_in_every_packet_that_may_have_it() {
        let set = hex("6742c00dd901519e226c0440000003004000000f03c50a92");
        let size = Some((322, 182));
        let length = set.len() as u8;
        let aggregated = [&[0x78, 0, 1, 0x09, 0, length][..], &set, &[0, 2, 0x68, 1]].concat();
        assert_eq!(picture_size(H264, &aggregated), size);
        let fragment = |fu: u8| [&[0x7c, fu][..], &set[1..]].concat();
        assert_eq!(picture_size(H264, &fragment(0x87)), size);
        assert_eq!(picture_size(H264, &fragment(0x07)), None, "not its beginning");
        assert_eq!(picture_size(H264, &fragment(0x85)), None, "a picture");
    }

    /// What encoders of conferences do not write, and the standard allows.
    #[test]
    fn a_parameter_set_with_all_that_may_be_in_it() {
        let set = |separate: u32, crops: bool| {
            let mut out = Writer::default();
            out.number(8, 0x67);
            out.number(24, 0x64_00_1f);
            out.exp_golomb(5);
            out.exp_golomb(3);
            out.number(1, separate);
            out.exp_golomb(2);
            out.exp_golomb(2);
            out.number(2, 0b01);
            for list in 0..12 {
                out.number(1, u32::from(list % 5 == 0));
                let scales = if list < 6 { 16 } else { 64 };
                match list {
                    // It ends early: 8, and 1, 1, 1 and -11 to it.
                    5 => [1, 1, 1, 22].iter().for_each(|code| out.exp_golomb(*code)),
                    0 | 10 => (0..scales).for_each(|_| out.exp_golomb(0)),
                    _ => {}
                }
            }
            out.exp_golomb(4);
            out.exp_golomb(1);
            out.number(1, 0);
            [7, 8, 3, 1, 2, 3].iter().for_each(|code| out.exp_golomb(*code));
            out.exp_golomb(4);
            out.number(1, 0);
            [79, 44].iter().for_each(|blocks| out.exp_golomb(*blocks));
            out.number(2, 0b11);
            out.number(1, crops.into());
            if crops {
                [1, 2, 0, 3].iter().for_each(|side| out.exp_golomb(*side));
            }
            out.number(1, 1);
            escaped(&out.bytes())
        };
        for separate in [0, 1] {
            assert_eq!(picture_size(H264, &set(separate, false)), Some((1280, 720)));
            assert_eq!(picture_size(H264, &set(separate, true)), Some((1277, 717)));
        }
    }

    /// ITU-T H.264 §7.4.1: no two zeros are followed by less than four.
    fn escaped(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for byte in bytes {
            if out.ends_with(&[0, 0]) && *byte <= 3 {
                out.push(3);
            }
            out.push(*byte);
        }
        out
    }

    /// An AV1 sequence header in its longest form.
    #[test]
    fn a_sequence_header_with_all_that_may_be_in_it() {
        let mut out = Writer::default();
        out.number(5, 0);
        out.number(1, 1);
        out.number(32, 1);
        out.number(32, 30);
        out.number(1, 1);
        out.exp_golomb(6);
        out.number(1, 1);
        out.number(5, 9);
        out.number(32, 7);
        out.number(10, 0x155);
        out.number(1, 1);
        out.number(5, 1);
        for (level, has_tier) in [(8, true), (7, false)] {
            out.number(12, 0x303);
            out.number(5, level);
            out.number(u32::from(has_tier), 1);
            out.number(1, 1);
            out.number(21, 0x1f_ffff);
            out.number(1, 1);
            out.number(4, 3);
        }
        out.number(4, 10);
        out.number(4, 11);
        out.number(11, 1919);
        out.number(12, 1079);
        let header = out.bytes();
        let size = Some((1920, 1080));
        // Alone and without a length, behind another of a length, and with an extension and a size.
        let alone = [&[0x18, 0x08][..], &header].concat();
        assert_eq!(picture_size(AV1, &alone), size);
        let behind = [&[0x28, 0x02, 0x10, 0x00, 0x08][..], &header].concat();
        assert_eq!(picture_size(AV1, &behind), size);
        let length = header.len() as u8;
        let sized = [&[0x18, 0x0e, 0x00, length][..], &header, &[1, 2]].concat();
        assert_eq!(picture_size(AV1, &sized), size);
        let counted =
            [&[0x08, 0x80 | (length + 3), 0x00, 0x0e, 0x00, length][..], &header].concat();
        assert_eq!(picture_size(AV1, &counted), size);
        assert_eq!(picture_size(AV1, &[&[0x98, 0x08][..], &header].concat()), None, "continued");
        assert_eq!(picture_size(AV1, &[&[0x08][..], &[0; 300], &counted[1..]].concat()), size);
        // Reduced, of a still picture.
        let mut out = Writer::default();
        out.number(5, 0b00011);
        out.number(5, 4);
        out.number(8, 0x77);
        out.number(16, 0xff_1f);
        let reduced = [&[0x18, 0x08][..], &out.bytes()].concat();
        assert_eq!(picture_size(AV1, &reduced), Some((256, 32)));
    }

    /// Whatever the bytes, in every codec and of every length.
    #[test]
    fn nothing_is_read_beyond_the_end() {
        let mut chance = crate::base::rng::Rng::from_seed([3; 32]);
        let starts: [(Codec, &[u8]); 6] = [
            (Codec::Vp8, &[0x90, 0x80]),
            (VP9, &[0x08]),
            (H264, &[0x67, 0x64]),
            (H264, &[0x78, 0, 40, 0x67]),
            (AV1, &[0x18, 0x0a]),
            (AV1, &[0x08]),
        ];
        for _ in 0..2_000 {
            for (codec, start) in starts {
                let rest =
                    (0..8).flat_map(|_| (chance.next_u64() & chance.next_u64()).to_be_bytes());
                let payload: Vec<u8> = start.iter().copied().chain(rest).collect();
                for cut in 0..payload.len() {
                    let _ = picture_size(codec, &payload[..cut]);
                }
            }
        }
    }
}
