//! Payload descriptors: what is read lies inside the payload, what is written is read again and
//! changes nothing else, and more bytes behind a descriptor never change what it said.

use trackyard::wire::codec::Codec;
use trackyard::wire::payload::{starts_keyframe, vp8_counters, vp9_picture_id, write_picture_id};

/// The first byte picks the codec, two more the picture id to write; the rest is the payload.
pub fn check(data: &[u8]) {
    let Some(([codec, high, low], payload)) = data.split_first_chunk() else { return };
    let codec = codec_of(*codec);
    let value = u16::from_be_bytes([*high, *low]);
    let starts = starts_keyframe(codec, payload);
    if let Some((_, shorter)) = payload.split_last()
        && starts_keyframe(codec, &payload[..shorter.len()])
    {
        assert!(starts, "more bytes unmade a keyframe");
    }
    match codec {
        Codec::Vp8 => vp8(payload, value),
        Codec::Vp9 { .. } => vp9(payload, value),
        _ => {}
    }
}

/// Any byte is some codec.
pub fn codec_of(byte: u8) -> Codec {
    match byte % 6 {
        0 => Codec::Vp8,
        1 => Codec::Vp9 { profile: byte >> 6 },
        2 => Codec::H264 { profile: 0x42e0, mode: 1 },
        3 => Codec::H264 { profile: 0x640c, mode: 0 },
        4 => Codec::Av1 { profile: 0 },
        _ => Codec::Opus,
    }
}

fn vp8(payload: &[u8], value: u16) {
    let Some((counters, length)) = vp8_counters(payload) else { return };
    assert!(length <= payload.len(), "a descriptor that was cut short");
    let longer = [payload, &[0xff]].concat();
    assert_eq!(vp8_counters(&longer), Some((counters, length)));
    if let Some((offset, _)) = counters.tl0_pic_idx {
        assert!(offset < length);
    }
    let Some(place) = counters.picture_id else { return };
    assert!(place.0 + bytes_of(place.1) <= length);
    let (written, rewritten) = write(payload, place, value);
    let (again, still) = vp8_counters(&written).expect("a descriptor stays one");
    assert_eq!(again.picture_id, Some(rewritten));
    assert_eq!((again.tl0_pic_idx, still), (counters.tl0_pic_idx, length));
    assert_eq!(starts_keyframe(Codec::Vp8, &written), starts_keyframe(Codec::Vp8, payload));
}

fn vp9(payload: &[u8], value: u16) {
    let Some(place) = vp9_picture_id(payload) else { return };
    assert!(place.0 + bytes_of(place.1) <= payload.len());
    let (written, rewritten) = write(payload, place, value);
    assert_eq!(vp9_picture_id(&written), Some(rewritten));
    let codec = Codec::Vp9 { profile: 0 };
    assert_eq!(starts_keyframe(codec, &written), starts_keyframe(codec, payload));
}

/// The payload with another picture id, and what must be read there then.
fn write(payload: &[u8], place: (usize, u32, u16), value: u16) -> (Vec<u8>, (usize, u32, u16)) {
    let (offset, bits, old) = place;
    let mask = (1u16 << bits) - 1;
    assert!(old <= mask);
    let mut written = payload.to_vec();
    write_picture_id(&mut written, offset, bits, value);
    let end = offset + bytes_of(bits);
    assert_eq!((&written[..offset], &written[end..]), (&payload[..offset], &payload[end..]));
    (written, (offset, bits, value & mask))
}

fn bytes_of(bits: u32) -> usize {
    match bits {
        7 => 1,
        15 => 2,
        other => panic!("{other} bits"),
    }
}
