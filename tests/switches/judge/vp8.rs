//! VP8 by RFC 7741: the descriptor, and picture ids and TL0PICIDX that count what came.

use super::Case;
use crate::rtp::Rtp;
use crate::sources::Frame;

struct Descriptor {
    is_start: bool,
    picture_id: (u32, u16),
    layers: Option<(u8, u8, bool)>,
    is_keyframe: Option<bool>,
}

fn read(rtp: &Rtp) -> Option<Descriptor> {
    let mut bytes = rtp.payload.iter().copied();
    let first = bytes.next()?;
    let flags = if first & 0x80 != 0 { bytes.next()? } else { return None };
    let is_start = first & 0x10 != 0 && first & 7 == 0;
    let picture_id = match bytes.next()? {
        high @ 128.. => (15, u16::from(high & 0x7f) << 8 | u16::from(bytes.next()?)),
        short => (7, short.into()),
    };
    let tl0 = if flags & 0x40 != 0 { Some(bytes.next()?) } else { None };
    let layer = if flags & 0x30 != 0 { Some(bytes.next()?) } else { None };
    let layers = tl0.zip(layer).map(|(tl0, layer)| (tl0, layer >> 6, layer & 0x20 != 0));
    let is_keyframe = if is_start { Some(bytes.next()? & 1 == 0) } else { None };
    Some(Descriptor { is_start, picture_id, layers, is_keyframe })
}

pub fn check(case: &Case<'_>, faults: &mut Vec<String>) {
    let mut last_id: Option<u16> = None;
    let mut last_tl0: Option<u8> = None;
    let mut newest_tl0: Option<u8> = None;
    for run in &case.runs {
        // A frame above one that was lost tells of that one's, too.
        last_tl0 = newest_tl0.or(last_tl0);
        let mut before: Option<&Frame> = None;
        let mut lowest: Option<&Frame> = None;
        for shown in &run.shown {
            let frame = shown.frame;
            let mut fault = |what: String| faults.push(format!("frame {}: {what}", frame.id));
            let Some(said) = read(shown.packets[0].1) else {
                fault("no descriptor".into());
                continue;
            };
            for (index, rtp) in &shown.packets {
                let part = rtp.payload[rtp.payload.len() - 3];
                let own = read(rtp).expect("as the first");
                if own.picture_id != said.picture_id || own.layers != said.layers {
                    fault(format!("packet {index} is of another picture"));
                }
                if own.is_start != (part == 0) {
                    fault(format!("packet {index} does not say whether it is the first"));
                }
                if own.is_keyframe.is_some_and(|key| key != frame.of_key_picture) {
                    fault("not of its kind".into());
                }
            }
            let (bits, id) = said.picture_id;
            // What was overtaken may be left out when the numbers behind it are given already.
            let by = frame.first_arrival().unwrap_or(run.ends).min(run.ends);
            let lost = |f: &&Frame| case.lacks(f, by) || case.is_overtaken(f);
            if let Some(last) = last_id {
                let ahead = id.wrapping_sub(last) & ((1 << bits) - 1);
                let lost = before.map_or(0, |b| case.between(b, frame).filter(lost).count());
                if ahead == 0 || usize::from(ahead) > 1 + lost {
                    fault(format!("picture id {id} after {last}, with {lost} lost between"));
                }
            }
            (last_id, before) = (Some(id), Some(frame));
            let Some((tl0, temporal, _)) = said.layers else { continue };
            newest_tl0 = Some(tl0);
            if temporal != frame.temporal {
                fault(format!("of layer {temporal}"));
            }
            if temporal == 0 {
                let is_lowest = |f: &&Frame| f.temporal == 0;
                let between =
                    |b: &Frame| case.between(b, frame).filter(is_lowest).filter(lost).count();
                let lost = lowest.map_or(0, between);
                if let Some(last) = last_tl0
                    && (tl0 == last || usize::from(tl0.wrapping_sub(last)) > 1 + lost)
                {
                    fault(format!("TL0PICIDX {tl0} after {last}, with {lost} lost between"));
                }
                (last_tl0, lowest) = (Some(tl0), Some(frame));
            } else if let (Some(last), Some(lowest)) = (last_tl0, lowest) {
                let is_lowest = |f: &&Frame| f.temporal == 0;
                let lost = case.between(lowest, frame).filter(is_lowest).count();
                if usize::from(tl0.wrapping_sub(last)) != lost {
                    fault(format!("of TL0PICIDX {tl0} in layer {temporal}, which is {last}"));
                }
            }
        }
    }
}
