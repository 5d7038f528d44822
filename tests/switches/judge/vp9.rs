//! VP9 by RFC 9628: the descriptor, picture ids that continue, and what frames refer to.

use super::Case;
use crate::rtp::Rtp;
use crate::sources::{Format, Frame};

struct Descriptor {
    is_predicted: bool,
    is_start: bool,
    is_end: bool,
    picture_id: u16,
    temporal: u8,
    spatial: u8,
    depends_below: bool,
    tl0: Option<u8>,
    back: Vec<u8>,
}

fn read(rtp: &Rtp) -> Option<Descriptor> {
    let mut bytes = rtp.payload.iter().copied();
    let first = bytes.next()?;
    let (high, low) = (bytes.next()?, bytes.next()?);
    let layer = bytes.next()?;
    let (is_predicted, is_flexible) = (first & 0x40 != 0, first & 0x10 != 0);
    let tl0 = if is_flexible { None } else { Some(bytes.next()?) };
    let mut back = Vec::new();
    let mut has_more = is_flexible && is_predicted;
    while has_more {
        let byte = bytes.next()?;
        back.push(byte >> 1);
        has_more = byte & 1 == 1;
    }
    (first & 0xa0 == 0xa0 && high & 0x80 != 0).then_some(Descriptor {
        is_predicted,
        is_start: first & 8 != 0,
        is_end: first & 4 != 0,
        picture_id: u16::from(high & 0x7f) << 8 | u16::from(low),
        temporal: layer >> 5,
        spatial: layer >> 1 & 7,
        depends_below: layer & 1 != 0,
        tl0,
        back,
    })
}

pub fn check(case: &Case<'_>, faults: &mut Vec<String>) {
    let mut last: Option<u16> = None;
    let mut last_tl0: Option<u8> = None;
    let mut newest_tl0: Option<u8> = None;
    for run in &case.runs {
        // A frame above one that was lost tells of that one's, too.
        last_tl0 = newest_tl0.or(last_tl0);
        let mut delta: Option<u16> = None;
        let mut lowest: Option<&Frame> = None;
        for shown in &run.shown {
            let frame = shown.frame;
            let mut fault = |what: String| faults.push(format!("frame {}: {what}", frame.id));
            for (index, rtp) in &shown.packets {
                let Some(said) = read(rtp) else {
                    fault(format!("packet {index} has no descriptor"));
                    continue;
                };
                let part = usize::from(rtp.payload[rtp.payload.len() - 3]);
                if (said.is_start, said.is_end) != (part == 0, part + 1 == shown.parts) {
                    fault(format!("packet {index} has other ends"));
                }
                if (said.spatial, said.temporal) != (frame.spatial, frame.temporal) {
                    fault(format!("packet {index} is of another layer"));
                }
                let own = said.picture_id.wrapping_sub(frame.picture as u16) & 0x7fff;
                if delta.is_none() && last.is_some_and(|l| (l + 1) & 0x7fff != said.picture_id) {
                    fault(format!("picture id {} after {last:?}", said.picture_id));
                }
                if *delta.get_or_insert(own) != own {
                    fault(format!("picture id {} in a run of {delta:?}", said.picture_id));
                }
                last = Some(said.picture_id);
                refers(case, frame, &said, &mut fault);
                let Some(tl0) = said.tl0 else { continue };
                newest_tl0 = Some(tl0);
                if frame.temporal == 0 && lowest.is_none_or(|l| l.picture != frame.picture) {
                    let is_lowest = |f: &&Frame| f.temporal == 0;
                    let lost =
                        lowest.map_or(0, |l| case.between(l, frame).filter(is_lowest).count());
                    if last_tl0.is_some_and(|l| usize::from(tl0.wrapping_sub(l)) != 1 + lost) {
                        fault(format!("TL0PICIDX {tl0} after {last_tl0:?}"));
                    }
                    (last_tl0, lowest) = (Some(tl0), Some(frame));
                }
            }
        }
    }
}

fn refers(case: &Case<'_>, frame: &Frame, said: &Descriptor, fault: &mut impl FnMut(String)) {
    let below = frame.references.iter().any(|r| r.picture == frame.picture);
    let older = frame.references.iter().filter(|r| r.picture != frame.picture);
    let back: Vec<u8> = older.map(|r| (frame.picture - r.picture) as u8).collect();
    if said.depends_below != below || said.is_predicted == back.is_empty() {
        fault("says otherwise what it depends on".into());
    }
    if case.publisher.format == Format::Vp9Flexible && said.back != back {
        fault(format!("refers to {:?} pictures back, not {back:?}", said.back));
    }
}
