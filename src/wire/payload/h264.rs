//! H.264 (RFC 6184).

/// nal_unit_type (ITU-T H.264 table 7-1).
const IDR: u8 = 5;
pub const SPS: u8 = 7;

/// RFC 6184 §5: a sequence parameter set or the beginning of an IDR picture, alone, aggregated
/// (STAP-A) or fragmented (FU-A).
pub fn starts_keyframe(payload: &[u8]) -> Option<bool> {
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

#[cfg(test)]
mod tests {
    use crate::wire::codec::Codec;
    use crate::wire::payload::starts_keyframe;

    #[test]
    fn alone_aggregated_and_fragmented() {
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
}
