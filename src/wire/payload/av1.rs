//! AV1 (AV1 RTP specification).

/// AV1 RTP specification §4.4: the N bit opens a coded video sequence.
pub fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    Some(payload.first()? & 0x08 != 0)
}

/// obu_type (AV1 specification §6.2.2).
const SEQUENCE_HEADER: u8 = 1;

/// The sequence header that opens a coded video sequence, without its OBU's header; as much of it as
/// is here.
pub fn sequence_header(payload: &[u8]) -> Option<&[u8]> {
    let (first, mut rest) = payload.split_first()?;
    let (is_continued, count) = (first & 0x80 != 0, usize::from(first >> 4 & 0x03));
    if is_continued || !starts_keyframe(payload)? {
        return None;
    }
    // The last of W elements has no length; where W is 0, all have one.
    for element in 1..=payload.len() {
        let mut size = rest.len();
        if element != count {
            size = size.min(leb128(&mut rest)?);
        }
        let (obu, behind) = rest.split_at(size.min(rest.len()));
        if let Some(header) = within(obu, SEQUENCE_HEADER) {
            return Some(header);
        }
        if element == count || behind.is_empty() {
            return None;
        }
        rest = behind;
    }
    None
}

/// What is in an OBU of that type, behind its header (AV1 specification §5.3.1).
fn within(obu: &[u8], kind: u8) -> Option<&[u8]> {
    let (header, mut rest) = obu.split_first()?;
    if header >> 3 & 0x0f != kind {
        return None;
    }
    if header & 0x04 != 0 {
        rest = rest.get(1..)?;
    }
    if header & 0x02 != 0 {
        let size = leb128(&mut rest)?;
        rest = rest.get(..size.min(rest.len()))?;
    }
    Some(rest)
}

/// leb128 (AV1 specification §4.10.5), of which more than four bytes are more than any packet.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::wire::codec::Codec;
    use crate::wire::payload::starts_keyframe;

    #[test]
    fn a_sequence_opens_by_the_n_bit() {
        let av1 = Codec::Av1 { profile: 0 };
        assert!(starts_keyframe(av1, &[0x18]));
        assert!(!starts_keyframe(av1, &[0x10]));
        assert!(!starts_keyframe(av1, &[]));
    }
}
