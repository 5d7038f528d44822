//! AV1 by its RTP specification §4.4: OBUs put together again.

use super::Case;

pub fn check(case: &Case<'_>, faults: &mut Vec<String>) {
    for shown in case.runs.iter().flat_map(|run| &run.shown).filter(|shown| shown.is_whole()) {
        let frame = shown.frame;
        let mut continues = false;
        for (at, (index, rtp)) in shown.packets.iter().enumerate() {
            let head = rtp.payload[0];
            let (z, y, n) = (head & 0x80 != 0, head & 0x40 != 0, head & 0x08 != 0);
            if z != continues {
                faults.push(format!("packet {index}: its fragments do not fit"));
            }
            if n != (at == 0 && frame.starts_keyframe()) {
                faults.push(format!("packet {index}: a sequence begins, or not"));
            }
            if n && rtp.payload[2] >> 3 & 15 != 1 {
                faults.push(format!("packet {index}: no sequence header"));
            }
            continues = y;
        }
        if continues {
            faults.push(format!("frame {}: has no end", frame.id));
        }
    }
}
