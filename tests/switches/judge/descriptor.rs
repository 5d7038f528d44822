//! The dependency descriptor by the AV1 RTP specification, appendix A, as a receiver reads it that
//! knows nothing but what came.

use std::time::Duration;

use super::Case;
use crate::bits::Reader;
use crate::publisher::DESCRIPTOR_ID;
use crate::sources::Frame;

#[derive(Debug, Clone, Default, PartialEq)]
struct Template {
    layer: (u8, u8),
    indications: Vec<u32>,
    differences: Vec<u32>,
    chains: Vec<u32>,
}

#[derive(Debug, Clone, Default)]
struct Structure {
    offset: u32,
    targets: u32,
    templates: Vec<Template>,
}

/// Frames while the same decode targets were said to be sent.
struct Told<'a> {
    active: u32,
    frames: Vec<&'a Frame>,
}

struct Descriptor {
    is_start: bool,
    is_end: bool,
    number: u16,
    structure: Option<Structure>,
    active: Option<u32>,
    template: Template,
}

fn read(bytes: &[u8], known: Option<&Structure>) -> Option<Descriptor> {
    let mut bits = Reader::new(bytes);
    let (is_start, is_end) = (bits.get(1)? == 1, bits.get(1)? == 1);
    let (id, number) = (bits.get(6)?, bits.get(16)? as u16);
    let (mut structure, mut active, mut own) = (None, None, [0; 3]);
    if bytes.len() > 3 {
        let has = [bits.get(1)?, bits.get(1)?];
        own = [bits.get(1)?, bits.get(1)?, bits.get(1)?];
        if has[0] == 1 {
            let read = read_structure(&mut bits)?;
            active = Some((1u64 << read.targets) as u32).map(|all| all.wrapping_sub(1));
            structure = Some(read);
        }
        if has[1] == 1 {
            active = Some(bits.get(structure.as_ref().or(known)?.targets)?);
        }
    }
    let by = structure.as_ref().or(known)?;
    let at = (id + 64 - by.offset) % 64;
    let mut template = by.templates.get(at as usize)?.clone();
    if own[0] == 1 {
        template.indications = (0..by.targets).map(|_| bits.get(2)).collect::<Option<_>>()?;
    }
    if own[1] == 1 {
        template.differences.clear();
        loop {
            let size = bits.get(2)?;
            if size == 0 {
                break;
            }
            template.differences.push(bits.get(4 * size)? + 1);
        }
    }
    if own[2] == 1 {
        let chains = template.chains.len();
        template.chains = (0..chains).map(|_| bits.get(8)).collect::<Option<_>>()?;
    }
    bits.is_over().then_some(Descriptor { is_start, is_end, number, structure, active, template })
}

fn read_structure(bits: &mut Reader<'_>) -> Option<Structure> {
    let (offset, targets) = (bits.get(6)?, bits.get(5)? + 1);
    let mut templates = vec![Template::default()];
    loop {
        let mut next = templates.last()?.clone();
        match bits.get(2)? {
            0 => {}
            1 => next.layer.1 += 1,
            2 => next.layer = (next.layer.0 + 1, 0),
            _ => break,
        }
        templates.push(next);
    }
    for template in &mut templates {
        template.indications = (0..targets).map(|_| bits.get(2)).collect::<Option<_>>()?;
    }
    for template in &mut templates {
        while bits.get(1)? == 1 {
            template.differences.push(bits.get(4)? + 1);
        }
    }
    let chains = bits.get_below(targets + 1)?;
    if chains > 0 {
        // Which chain protects each target.
        (0..targets).try_for_each(|_| bits.get_below(chains).map(|_| ()))?;
        for template in &mut templates {
            template.chains = (0..chains).map(|_| bits.get(4)).collect::<Option<_>>()?;
        }
    }
    if bits.get(1)? == 1 {
        let spatial = templates.iter().map(|t| t.layer.0).max()?;
        for _ in 0..=spatial {
            bits.get(16)?;
            bits.get(16)?;
        }
    }
    Some(Structure { offset, targets, templates })
}

pub fn check(case: &Case<'_>, faults: &mut Vec<String>) {
    let mut structure: Option<Structure> = None;
    let mut last: Option<u16> = None;
    for run in &case.runs {
        let mut delta: Option<u16> = None;
        let mut active = u32::MAX;
        let mut told: Vec<Told<'_>> = Vec::new();
        for shown in &run.shown {
            let frame = shown.frame;
            let mut fault = |what: String| faults.push(format!("frame {}: {what}", frame.id));
            for (index, rtp) in &shown.packets {
                let said = rtp.extension(DESCRIPTOR_ID);
                let Some(said) = said.and_then(|bytes| read(bytes, structure.as_ref())) else {
                    fault(format!("packet {index}: no descriptor that can be read: {said:?}"));
                    continue;
                };
                let part = usize::from(rtp.payload[rtp.payload.len() - 3]);
                if (said.is_start, said.is_end) != (part == 0, part + 1 == shown.parts) {
                    fault(format!("packet {index} has other ends"));
                }
                let own = said.number.wrapping_sub(frame.number as u16);
                if delta.is_none() && last.is_some_and(|l| l.wrapping_add(1) != said.number) {
                    fault(format!("frame number {} after {last:?}", said.number));
                }
                if *delta.get_or_insert(own) != own {
                    fault(format!("frame number {} in a run of {delta:?}", said.number));
                }
                last = Some(said.number);
                let begins = frame.starts_keyframe() && part == 0;
                if said.structure.is_some() != begins {
                    fault(format!("packet {index}: a structure, or none"));
                }
                (active, structure) =
                    (said.active.unwrap_or(active), said.structure.clone().or(structure));
                is_true(frame, &said.template, &mut fault);
            }
            match told.last_mut().filter(|told| told.active == active) {
                Some(told) => told.frames.push(frame),
                None => told.push(Told { active, frames: vec![frame] }),
            }
        }
        told.iter().for_each(|told| is_active(case, told, run.ends, faults));
    }
}

/// What is said of a frame is so.
fn is_true(frame: &Frame, said: &Template, fault: &mut impl FnMut(String)) {
    if said.layer != (frame.spatial, frame.temporal) {
        fault(format!("of layer {:?}", said.layer));
    }
    let back: Vec<u32> = frame.references.iter().map(|r| frame.number - r.number).collect();
    if said.differences != back {
        fault(format!("refers to {:?} frames back, not {back:?}", said.differences));
    }
}

/// Frames that came while the same decode targets were said to be sent: each is of one of those,
/// and none of what they need is missing.
fn is_active(case: &Case<'_>, told: &Told<'_>, ends: Duration, faults: &mut Vec<String>) {
    let layout = &case.publisher.layout;
    let targets =
        (0..u32::from(layout.spatial * layout.temporal)).filter(|t| told.active >> t & 1 == 1);
    let layer = |t: u32| (t as u8 / layout.temporal, t as u8 % layout.temporal);
    let targets: Vec<(u8, u8)> = targets.map(layer).collect();
    let (Some(first), Some(last)) = (told.frames.first(), told.frames.last()) else { return };
    let mut fault = |frame: &Frame, what: &str| {
        let name = (frame.spatial, frame.temporal, frame.picture);
        faults
            .push(format!("frame {} {name:?} {what} while {:b} are active", frame.id, told.active));
    };
    // What came late tells of targets that were chosen since, or of none yet.
    if !super::choices::is_in_order(case, first) {
        return;
    }
    // A change that was taken back before anything else was sent is not told, and one is not told of
    // what comes late.
    let changes = |frame: &Frame| {
        let around = Duration::from_millis(500);
        let near = |at: Duration| at <= frame.captured + around && frame.captured <= at + around;
        case.viewer.chosen.iter().any(|chosen| near(chosen.at))
    };
    for frame in &told.frames {
        let is_needed = targets.iter().any(|target| layout.needs(*target, frame));
        if frame.id > first.id
            && !is_needed
            && super::choices::is_in_order(case, frame)
            && !changes(frame)
        {
            fault(frame, "came");
        }
    }
    for frame in case.between(first, last) {
        let is_needed = targets.iter().any(|target| layout.needs(*target, frame));
        let came = told.frames.iter().any(|came| came.id == frame.id);
        if is_needed && !came && !changes(frame) && !case.lacks(frame, ends) {
            fault(frame, "is missing");
        }
    }
}
