//! AV1 (AV1 RTP specification §4.4).

use super::Frame;

const SEQUENCE_HEADER: u8 = 1;
const FRAME: u8 = 6;

/// Packets of a layer frame: one OBU of a frame in as many fragments, behind a sequence header at a
/// keyframe.
pub fn packets(frame: &Frame, bodies: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let last = bodies.len() - 1;
    let packet = |(at, body): (usize, Vec<u8>)| {
        let opens = frame.starts_keyframe() && at == 0;
        let count = if opens { 2 } else { 1 };
        let mut out = vec![
            u8::from(at > 0) << 7 | u8::from(at < last) << 6 | count << 4 | u8::from(opens) << 3,
        ];
        if opens {
            // An element with its size, which the last does without.
            out.extend([5, SEQUENCE_HEADER << 3, 0, 0, 0, 4]);
        }
        if at == 0 {
            out.extend([FRAME << 3 | 4, frame.temporal << 5 | frame.spatial << 3]);
        }
        out.extend(body);
        out
    };
    bodies.into_iter().enumerate().map(packet).collect()
}

/// What only those at both ends can read.
pub fn opaque(mut body: Vec<u8>, chance: u64) -> Vec<u8> {
    let end = body.len() - super::STAMP_BYTES;
    for (at, byte) in body[..end].iter_mut().enumerate() {
        *byte = chance.rotate_left(at as u32 * 7) as u8 ^ at as u8;
    }
    body
}
