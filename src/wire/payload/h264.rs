//! H.264 (RFC 6184).

/// nal_unit_type (ITU-T H.264 table 7-1).
const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// Of pictures, whole or in partitions.
const SLICES: std::ops::RangeInclusive<u8> = 1..=IDR;

/// Packet types of RFC 6184 §5.2 beside single NAL units.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// RFC 6184 §5: a sequence parameter set or the beginning of an IDR picture, alone, aggregated
/// (STAP-A) or fragmented (FU-A).
pub fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    payload.first()?;
    Some(units(payload).any(|(kind, _)| kind == SPS || kind == IDR))
}

/// What a packet is in its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// It has a sequence parameter set, or the beginning of an IDR picture.
    pub has_set: bool,
    pub begins_idr: bool,
    /// It has a parameter set, and nothing of a picture.
    pub leads: bool,
    /// It has something of a picture.
    pub has_slice: bool,
}

/// What is in a packet; of one that goes on with a fragment, nothing begins.
pub fn part(payload: &[u8]) -> Part {
    let mut part = Part { has_set: false, begins_idr: false, leads: false, has_slice: false };
    let kind = payload.first().map_or(0, |head| head & 0x1f);
    part.has_slice = kind == FU_A && payload.get(1).is_some_and(|fu| SLICES.contains(&(fu & 0x1f)));
    for (kind, _) in units(payload) {
        part.has_set |= kind == SPS;
        part.begins_idr |= kind == IDR;
        part.leads |= kind == SPS || kind == PPS;
        part.has_slice |= SLICES.contains(&kind);
    }
    part.leads &= !part.has_slice;
    part
}

/// The first sequence parameter set that is in a packet, without its NAL unit's header; where it is
/// fragmented, as much of it as is here.
pub fn parameter_set(payload: &[u8]) -> Option<&[u8]> {
    units(payload).find(|(kind, _)| *kind == SPS).map(|(_, bytes)| bytes)
}

/// The NAL units that begin in a packet: nal_unit_type and what is behind the header. One that is
/// longer than the packet is as long as that.
fn units(mut payload: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut is_first = true;
    let mut aggregated = false;
    std::iter::from_fn(move || {
        if std::mem::take(&mut is_first) {
            let (header, rest) = payload.split_first()?;
            payload = &[];
            match header & 0x1f {
                STAP_A => (payload, aggregated) = (rest, true),
                FU_A => {
                    let (fu, rest) = rest.split_first()?;
                    return (fu & 0x80 != 0).then_some((fu & 0x1f, rest));
                }
                kind => return Some((kind, rest)),
            }
        }
        if !aggregated {
            return None;
        }
        let (size, rest) = payload.split_first_chunk()?;
        let (unit, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*size).into()));
        payload = rest;
        let (header, unit) = unit.split_first()?;
        Some((header & 0x1f, unit))
    })
}

/// Bytes of a sequence parameter set that are looked at: what comes before the size and the cropping
/// of a picture, with long scaling lists of a length that no encoder writes.
const LOOKED_AT: usize = 256;

/// The first bytes of a NAL unit without those that keep start codes out of it (ITU-T H.264
/// §7.3.1), and how many there are.
pub fn unescaped(unit: &[u8]) -> ([u8; LOOKED_AT], usize) {
    let (mut out, mut length, mut zeros) = ([0; LOOKED_AT], 0, 0);
    for byte in unit {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        let Some(place) = out.get_mut(length) else { break };
        *place = *byte;
        length += 1;
    }
    (out, length)
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
        assert!(!starts_keyframe(h264, &[]));
    }

    #[test]
    fn what_keeps_start_codes_out_is_left_out() {
        let clear = |bytes: &[u8]| {
            let (out, length) = super::unescaped(bytes);
            out[..length].to_vec()
        };
        assert_eq!(clear(&[1, 0, 0, 3, 1, 0, 3, 0, 0, 3]), [1, 0, 0, 1, 0, 3, 0, 0]);
        assert_eq!(clear(&[0, 0, 3, 0, 0, 3, 0]), [0, 0, 0, 0, 0]);
        assert_eq!(clear(&[7; 300]), [7; super::LOOKED_AT]);
    }
}
