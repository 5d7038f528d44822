//! Payload descriptors: what is read lies inside the payload, what is written is read again and
//! changes nothing else, and more bytes behind a descriptor never change what it said.

use trackyard::wire::codec::Codec;
use trackyard::wire::frame::{Layer, Targets};
use trackyard::wire::payload::{self, counters, frame, starts_keyframe, vp8, vp9};
use trackyard::wire::picture_size::picture_size;

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
    if let Some((width, height)) = picture_size(codec, payload) {
        assert!(starts && width > 0 && height > 0, "{width}x{height}");
    }
    layers(codec, payload);
    let longer = [payload, &[0xff]].concat();
    match codec {
        Codec::Vp8 => {
            let Some(said) = vp8::Descriptor::parse(payload) else { return };
            assert!(said.bytes <= payload.len(), "a descriptor that was cut short");
            assert_eq!(vp8::Descriptor::parse(&longer), Some(said));
            written(codec, payload, said.bytes, value);
        }
        Codec::Vp9 { .. } => {
            let Some(said) = vp9::Descriptor::parse(payload) else { return };
            assert!(said.bytes <= payload.len(), "a descriptor that was cut short");
            assert_eq!(vp9::Descriptor::parse(&longer), Some(said));
            written(codec, payload, said.bytes, value);
            for highest in 0..8 {
                let (known, unknown) = (said.frame(Some(highest)), said.frame(None));
                assert!(known.needed.without(unknown.needed).is_empty(), "more than all");
                assert!(known.begins.without(unknown.begins).is_empty(), "more than all");
            }
        }
        _ => assert_eq!(counters(codec, payload), payload::Counters::default()),
    }
}

/// Whoever begins with a frame needs it, but for a keyframe, which begins all.
fn layers(codec: Codec, payload: &[u8]) {
    let frame = frame(codec, payload);
    assert_eq!(frame.begins == Targets::ALL, starts_keyframe(codec, payload));
    assert!(frame.is_start || frame.begins.is_empty(), "begun in its midst");
    let begins_in_vain = !frame.begins.without(frame.needed).is_empty();
    assert!(!begins_in_vain || frame.begins == Targets::ALL, "begun by what is not forwarded");
    assert!(frame.needed.has(frame.layer), "not needed by those of its own layer");
    assert!(Layer::new(frame.layer.spatial, frame.layer.temporal).is_some());
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

/// Another picture id is written where one was, and nothing else comes of it.
fn written(codec: Codec, payload: &[u8], descriptor: usize, value: u16) {
    let before = counters(codec, payload);
    if let Some((offset, _)) = before.tl0_pic_idx {
        assert!(offset < descriptor);
    }
    let Some(place) = before.picture_id else { return };
    assert!(place.0 + bytes_of(place.1) <= descriptor);
    let (written, rewritten) = write(payload, place, value);
    let after = counters(codec, &written);
    assert_eq!(after.picture_id, Some(rewritten));
    assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx);
    assert_eq!(frame(codec, &written), frame(codec, payload));
    assert_eq!(starts_keyframe(codec, &written), starts_keyframe(codec, payload));
}

/// The payload with another picture id, and what must be read there then.
fn write(payload: &[u8], place: (usize, u32, u16), value: u16) -> (Vec<u8>, (usize, u32, u16)) {
    let (offset, bits, old) = place;
    let mask = (1u16 << bits) - 1;
    assert!(old <= mask);
    let mut written = payload.to_vec();
    payload::write_picture_id(&mut written, offset, bits, value);
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
