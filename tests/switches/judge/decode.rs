//! Whether a decoder can follow: each frame that came whole has all that it refers to, unless that
//! was lost before the server.

use std::collections::HashMap;
use std::time::Duration;

use super::{Case, Verdict};
use crate::sources::Frame;

pub fn check(case: &Case<'_>, verdict: &mut Verdict) {
    let frames = &case.publisher.frames;
    for run in &case.runs {
        // By id: whether it came whole with all that it needs; each run begins anew.
        let mut decoded: HashMap<u32, bool> = HashMap::new();
        let mut shown: Vec<_> = run.shown.iter().collect();
        shown.sort_by_key(|shown| shown.frame.id);
        for one in shown {
            let frame = one.frame;
            let has = |r: &crate::sources::Reference| decoded.get(&r.id) == Some(&true);
            let can = one.is_whole() && frame.references.iter().all(has);
            let lacks = frame.references.iter().filter(|r| !has(r)).map(|r| r.id);
            let lacks: Vec<u32> = lacks.collect();
            decoded.insert(frame.id, can);
            verdict.frames += u64::from(can);
            if !one.is_whole() && !case.lacks(frame, run.ends) && run.ends == super::NEVER {
                verdict.faults.push(format!("frame {} came in part", frame.id));
            }
            if can || !one.is_whole() || is_excused(case, frames, frame, run.ends) {
                continue;
            }
            verdict.faults.push(format!(
                "frame {} ({}.{}, picture {}) at {:?} cannot be decoded without {lacks:?}",
                frame.id, frame.spatial, frame.temporal, frame.picture, one.first_at,
            ));
        }
    }
}

/// Whether something that a frame depends on was not there in time.
fn is_excused(case: &Case<'_>, frames: &[Frame], frame: &Frame, ends: Duration) -> bool {
    let mut open = vec![frame.id];
    let mut seen = std::collections::HashSet::new();
    while let Some(id) = open.pop() {
        let frame = &frames[id as usize];
        if case.lacks(frame, ends)
            || !super::choices::is_in_order(case, frame) && frame.of_key_picture
        {
            return true;
        }
        open.extend(frame.references.iter().map(|r| r.id).filter(|id| seen.insert(*id)));
    }
    false
}
