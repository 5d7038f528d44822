//! H.264 (RFC 6184, packetization mode 1).

use super::Frame;

const SLICE: u8 = 0x61;
const IDR: u8 = 0x65;
const SPS: [u8; 4] = [0x67, 0x42, 0xe0, 0x1f];
const PPS: [u8; 3] = [0x68, 0xce, 0x3c];

/// Packets of a frame: parameter sets before a keyframe, and the slice alone, aggregated or in
/// fragments.
pub fn packets(frame: &Frame, chance: u64, bodies: impl Fn(usize) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let head = if frame.of_key_picture { IDR } else { SLICE };
    let count = 1 + (chance >> 20) as usize % if frame.of_key_picture { 4 } else { 3 };
    let is_aggregated = chance >> 30 & 1 == 0;
    let bodies = bodies(count);
    let mut out = Vec::new();
    for (at, body) in bodies.into_iter().enumerate() {
        let sets = frame.of_key_picture && at == 0;
        if count == 1 {
            let unit = [&[head][..], &body].concat();
            out.push(match (sets, is_aggregated) {
                (true, _) => aggregate(&[&SPS, &PPS, &unit]),
                (false, true) => aggregate(&[&[0x09, 0xf0], &unit]),
                (false, false) => unit,
            });
            continue;
        }
        // FU-A (§5.8); parameter sets go before it in a packet of their own.
        let (start, end) = (at == usize::from(frame.of_key_picture), at + 1 == count);
        if sets {
            out.push([&aggregate(&[&SPS, &PPS])[..], &tail(&body)].concat());
            continue;
        }
        if frame.of_key_picture && count == 2 {
            out.push([&[head][..], &body].concat());
            continue;
        }
        let fu = head & 0x1f | u8::from(start) << 7 | u8::from(end) << 6;
        out.push([&[head & 0xe0 | 28, fu][..], &body].concat());
    }
    out
}

/// Supplemental information that carries the stamp, where nothing else would.
fn tail(body: &[u8]) -> Vec<u8> {
    let unit = [&[0x06][..], &body[body.len() - super::STAMP_BYTES..]].concat();
    [&(unit.len() as u16).to_be_bytes()[..], &unit].concat()
}

/// STAP-A (§5.7.1).
fn aggregate(units: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0x78];
    for unit in units {
        out.extend((unit.len() as u16).to_be_bytes());
        out.extend_from_slice(unit);
    }
    out
}
