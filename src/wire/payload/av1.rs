//! AV1 (AV1 RTP specification).

/// AV1 RTP specification §4.4: the N bit opens a coded video sequence.
pub fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    Some(payload.first()? & 0x08 != 0)
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
