//! Whether a viewer gets what was chosen: soon, all of it, and nothing else.

use std::collections::HashSet;
use std::time::Duration;

use trackyard::media::encoding::Choice;

use super::{Case, Verdict};
use crate::sources::Frame;

/// Within so long what was chosen is shown, where nothing was lost: a keyframe was asked for half a
/// second ago and may be asked for again now, which takes another 120 ms, and a path both ways.
pub const SETTLES_IN: Duration = Duration::from_millis(1_500);
/// A picture that had begun is finished.
const PICTURE: Duration = Duration::from_millis(100);

/// What a choice is of that encoding.
pub fn layer(case: &Case<'_>, choice: Choice) -> (u8, u8) {
    let layout = &case.publisher.layout;
    let Choice { layer, .. } = choice;
    (layer.spatial.min(layout.spatial - 1), layer.temporal.min(layout.temporal - 1))
}

pub fn check(case: &Case<'_>, verdict: &mut Verdict) {
    let chosen = &case.viewer.chosen;
    let whole = case.runs.iter().flat_map(|run| &run.shown).filter(|shown| shown.is_whole());
    let whole: HashSet<u32> = whole.map(|shown| shown.frame.id).collect();
    for (at, now) in chosen.iter().enumerate() {
        let ends = chosen.get(at + 1).map_or(case.ended, |next| next.at);
        let Some(choice) = now.choice else {
            paused(case, now.at, ends, verdict);
            continue;
        };
        let before = at.checked_sub(1).and_then(|at| chosen.get(at)?.choice);
        if let Some(before) = before {
            goes_down_at_once(case, (before, choice), (now.at, ends), verdict);
        }
        settles(case, choice, (now.at, ends), &whole, verdict);
    }
}

fn paused(case: &Case<'_>, from: Duration, to: Duration, verdict: &mut Verdict) {
    let came = |packet: &&super::Packet<'_>| from < packet.at && packet.at < to;
    if let Some(packet) = case.packets.iter().find(came) {
        verdict
            .faults
            .push(format!("{} came at {:?}, while nothing was wanted", packet.index, packet.at));
    }
}

/// When a choice is what is shown, then all of it is, and nothing else.
fn settles(
    case: &Case<'_>,
    choice: Choice,
    (from, to): (Duration, Duration),
    whole: &HashSet<u32>,
    verdict: &mut Verdict,
) {
    let layer = layer(case, choice);
    let shown = case.runs.iter().flat_map(|run| &run.shown);
    let mut shown = shown.filter(|shown| shown.frame.encoding == choice.encoding);
    // Of a key picture, the lower spatial layers are for all.
    let is_top =
        |f: &Frame| (f.spatial, f.temporal) == layer && (f.is_highest || !f.of_key_picture);
    let first = shown.find(|shown| {
        let arrived = shown.frame.first_arrival();
        is_top(shown.frame) && from < shown.first_at && shown.first_at < to && arrived > Some(from)
    });
    let Some(first) = first else {
        if can_settle(case, choice, from, to) {
            verdict.faults.push(format!("{choice:?} of {from:?} is not shown by {to:?}"));
        }
        verdict.unsettled += 1;
        return;
    };
    let took = first.first_at - from;
    verdict.settled.push(took);
    if took > SETTLES_IN && can_settle(case, choice, from, first.first_at) {
        verdict.faults.push(format!("{choice:?} of {from:?} took {took:?}"));
    }
    let came: HashSet<u32> = case.packets.iter().filter_map(|p| Some(p.of?.0.id)).collect();
    let begins = first.frame;
    let run = case.runs.iter().find(|run| run.shown.iter().any(|s| s.first_at == first.first_at));
    let ends = run.map_or(to, |run| run.ends);
    for frame in &case.publisher.frames[begins.id as usize..] {
        if frame.ssrc != begins.ssrc || frame.picture == begins.picture {
            continue;
        }
        let (Some(first), Some(last)) = (frame.first_arrival(), frame.last_arrival()) else {
            continue;
        };
        let within = first > begins.last_arrival().unwrap_or(first) && last < to.min(ends);
        if !within || !frame.is_whole() {
            continue;
        }
        let needs = case.publisher.layout.needs(layer, frame);
        let name = (frame.spatial, frame.temporal, frame.picture);
        if needs && !whole.contains(&frame.id) {
            let said =
                format!("frame {} {name:?} is missing in {choice:?} since {from:?}", frame.id);
            verdict.faults.push(said);
        }
        if !needs && came.contains(&frame.id) && is_in_order(case, frame) {
            let said = format!("frame {} {name:?} is not of {choice:?} since {from:?}", frame.id);
            verdict.faults.push(said);
        }
    }
}

/// Whether a picture began where it should: a change waits for the beginning of the next.
pub fn is_in_order(case: &Case<'_>, frame: &Frame) -> bool {
    let lowest = &case.publisher.frames[(frame.id - u32::from(frame.spatial)) as usize];
    let first = lowest.arrived[0];
    let arrival = |seq| case.publisher.arrivals.get(&(frame.ssrc, seq)).copied().flatten();
    let mut behind = (lowest.first_seq + 1..lowest.first_seq + 25).filter_map(arrival);
    let soon = frame.captured + Duration::from_millis(30);
    // What comes before the structure of its stream is of layers that nobody knows.
    let of_life = |f: &&Frame| f.ssrc == frame.ssrc && f.starts_keyframe();
    let begins = case.publisher.frames.iter().find(of_life).and_then(|f| f.arrived[0]);
    let is_known = begins.is_some_and(|begins| Some(begins) <= frame.first_arrival());
    is_known && first.is_some_and(|first| behind.all(|at| first < at)) && !case.lacks(frame, soon)
}

/// Whether all that it takes was there in time: the encoding in one stream, and nothing lost of it.
fn can_settle(case: &Case<'_>, choice: Choice, from: Duration, to: Duration) -> bool {
    let by = from + SETTLES_IN;
    let own = &case.publisher.encodings[usize::from(choice.encoding)];
    let mut lives = own.lives.iter();
    let before = Duration::from_secs(1);
    let lives = lives.any(|life| life.from + before < from && life.to.is_none_or(|off| off > by));
    let lossless = |f: &&Frame| f.captured + before > from && f.captured < by;
    let all = case.publisher.frames.iter().filter(|f| f.encoding == choice.encoding);
    let late = Duration::from_millis(60);
    let late = |f: &Frame| f.captured + if f.of_key_picture { late / 3 } else { late };
    let in_time = |f: &Frame| f.arrived.iter().all(|at| at.is_some_and(|at| at < late(f)));
    to >= by && lives && all.filter(lossless).all(in_time)
}

/// Of an encoding whose layers are all received, the upper ones end with the picture.
fn goes_down_at_once(
    case: &Case<'_>,
    (before, now): (Choice, Choice),
    (from, to): (Duration, Duration),
    verdict: &mut Verdict,
) {
    let (old, new) = (layer(case, before), layer(case, now));
    let is_down = new.0 <= old.0 && new.1 <= old.1 && new != old;
    let layout = &case.publisher.layout;
    if before.encoding != now.encoding || !is_down {
        return;
    }
    // Where spatial layers do not depend on each other, another begins with a keyframe alone.
    let is_above = |frame: &Frame| match layout.key {
        true => frame.temporal > new.1,
        false => !layout.needs(new, frame),
    };
    for packet in &case.packets {
        let Some((frame, _, _)) = packet.of else { continue };
        let after = frame.captured > from + PICTURE && packet.at < to;
        let is_in_time = !case.lacks(frame, frame.captured + PICTURE) && is_in_order(case, frame);
        if after && is_in_time && frame.encoding == now.encoding && is_above(frame) {
            let said = format!("frame {} is above {now:?} since {from:?}", frame.id);
            verdict.faults.push(said);
        }
    }
}
