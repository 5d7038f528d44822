//! VP8 (RFC 7741).

use super::{Encoder, Frame};

/// Packets of a frame: the descriptor of §4.2, at the first the frame's own head (§4.3).
pub fn packets(by: &Encoder, frame: &Frame, bodies: Vec<Vec<u8>>, tl0: u8) -> Vec<Vec<u8>> {
    let id = by.base.wrapping_add(frame.picture as u16);
    // TL0PICIDX counts the frames of temporal layer 0; the encoder's is one ahead behind one.
    let tl0 = tl0.wrapping_sub(1);
    let is_sync = frame.temporal > 0
        && frame.is_sync_round
        && frame.references.iter().all(|r| is_of_lowest(frame, r.picture));
    let with_layers = by.layout.temporal > 1;
    let packet = |(at, body): (usize, Vec<u8>)| {
        let mut out = vec![0x80 | u8::from(at == 0) << 4];
        if frame.temporal == 2 && by.layout.sync_every == 1 {
            out[0] |= 0x20;
        }
        out.push(if with_layers { 0xe0 } else { 0x80 });
        match by.picture_id_bits {
            7 => out.push(id as u8 & 0x7f),
            _ => out.extend((id | 0x8000).to_be_bytes()),
        }
        if with_layers {
            out.extend([tl0, frame.temporal << 6 | u8::from(is_sync) << 5]);
        }
        if at == 0 {
            out.push(u8::from(!frame.of_key_picture));
        }
        out.extend(body);
        out
    };
    bodies.into_iter().enumerate().map(packet).collect()
}

/// Whether a picture before is of temporal layer 0: those are four apart, or two.
fn is_of_lowest(frame: &Frame, picture: u32) -> bool {
    let begin = frame.picture - frame.phase;
    let turns = if frame.temporal == 2 { 4 } else { 2 };
    (picture - begin).is_multiple_of(turns)
}
