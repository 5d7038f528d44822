//! H.264 by RFC 6184: NAL units put together again.

use super::Case;

pub fn check(case: &Case<'_>, faults: &mut Vec<String>) {
    for shown in case.runs.iter().flat_map(|run| &run.shown) {
        if !shown.is_whole() {
            continue;
        }
        let mut kinds: Vec<u8> = Vec::new();
        let mut open: Option<u8> = None;
        let mut broken = None;
        for (index, rtp) in &shown.packets {
            let payload = &rtp.payload;
            let kind = payload[0] & 0x1f;
            if open.is_some() && kind != 28 {
                broken = Some(*index);
            }
            match kind {
                24 => {
                    let mut rest = &payload[1..];
                    while rest.len() > 2 {
                        let size = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                        kinds.push(rest[2] & 0x1f);
                        rest = &rest[2 + size..];
                    }
                }
                28 => {
                    let (start, end) = (payload[1] & 0x80 != 0, payload[1] & 0x40 != 0);
                    let kind = payload[1] & 0x1f;
                    match (start, open) {
                        (true, None) => open = Some(kind),
                        (false, Some(own)) if own == kind => {}
                        _ => broken = Some(*index),
                    }
                    if end {
                        kinds.extend(open.take());
                    }
                }
                kind => kinds.push(kind),
            }
        }
        let frame = shown.frame;
        if broken.is_some() || open.is_some() {
            faults.push(format!("frame {}: fragments do not fit at {broken:?}", frame.id));
        }
        let at = |kind| kinds.iter().position(|own| *own == kind);
        let fits = match frame.of_key_picture {
            true => at(7) < at(8) && at(8) < at(5) && at(7).is_some(),
            false => at(1).is_some() && at(5).is_none(),
        };
        if !fits {
            faults.push(format!("frame {}: NAL units {kinds:?}", frame.id));
        }
    }
}
