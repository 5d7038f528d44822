//! VP9 (RFC 9628).

use super::{Encoder, Format, Frame};

/// Packets of a layer frame, with the descriptor of §4.2.
pub fn packets(by: &Encoder, frame: &Frame, bodies: Vec<Vec<u8>>, tl0: u8) -> Vec<Vec<u8>> {
    let is_flexible = by.format == Format::Vp9Flexible;
    let id = by.base.wrapping_add(frame.picture as u16) & 0x7fff;
    let layout = &by.layout;
    let older: Vec<u32> = (frame.references.iter())
        .filter(|r| r.picture != frame.picture)
        .map(|r| frame.picture - r.picture)
        .collect();
    let depends_below = frame.references.iter().any(|r| r.picture == frame.picture);
    // "Subsequent higher temporal-layer pictures will not depend on any picture before this."
    let switches_up = frame.temporal < layout.temporal - 1 && frame.is_sync_round;
    let is_used_above = !frame.is_highest && (!layout.key || frame.of_key_picture);
    let last = bodies.len() - 1;
    let packet = |(at, body): (usize, Vec<u8>)| {
        let with_structure = frame.starts_keyframe() && at == 0;
        let mut out = vec![
            0xa0 | u8::from(!older.is_empty()) << 6
                | u8::from(is_flexible) << 4
                | u8::from(at == 0) << 3
                | u8::from(at == last) << 2
                | u8::from(with_structure) << 1
                | u8::from(!is_used_above),
        ];
        out.extend((id | 0x8000).to_be_bytes());
        out.push(
            frame.temporal << 5
                | u8::from(switches_up) << 4
                | frame.spatial << 1
                | u8::from(depends_below),
        );
        if is_flexible {
            for (n, back) in older.iter().enumerate() {
                out.push((*back as u8) << 1 | u8::from(n + 1 < older.len()));
            }
        } else {
            out.push(tl0.wrapping_sub(1));
        }
        if with_structure {
            structure(by, is_flexible, &mut out);
        }
        out.extend(body);
        out
    };
    bodies.into_iter().enumerate().map(packet).collect()
}

/// The scalability structure (§4.2.1): sizes, and outside of flexible mode the group of pictures.
fn structure(by: &Encoder, is_flexible: bool, out: &mut Vec<u8>) {
    out.push((by.layout.spatial - 1) << 5 | 0x10 | u8::from(!is_flexible) << 3);
    for spatial in 0..by.layout.spatial {
        let side = 320u16 << spatial;
        out.extend(side.to_be_bytes());
        out.extend((side / 2).to_be_bytes());
    }
    if !is_flexible {
        let turns = super::round(by.layout.temporal);
        out.push(turns.len() as u8);
        for (at, temporal) in turns.iter().enumerate() {
            let back = match (temporal, at) {
                (0, _) => turns.len() as u8,
                (2, 3) => 1,
                _ => at as u8,
            };
            out.extend([temporal << 5 | 0x10 | 1 << 2, back]);
        }
    }
}
