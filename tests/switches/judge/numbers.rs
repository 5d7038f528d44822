//! Sequence numbers without a gap that no loss explains, timestamps that follow what was captured,
//! and markers at the ends of pictures.

use std::time::Duration;

use super::{Case, Packet, Verdict};
use crate::sources::Frame;

pub fn check(case: &Case<'_>, verdict: &mut Verdict) {
    gaps(case, &mut verdict.faults);
    markers(case, verdict);
    timestamps(case, &mut verdict.faults);
}

fn said<'a>(packet: &Packet<'a>) -> Option<(&'a Frame, usize, u64)> {
    packet.of.map(|(frame, part, _)| (frame, part, frame.first_seq + part as u64))
}

fn gaps(case: &Case<'_>, faults: &mut Vec<String>) {
    let mut before: Option<(&Packet<'_>, u64)> = None;
    for packet in &case.packets {
        let Some((frame, _, seq)) = said(packet) else {
            // What was left out after its number was kept.
            if let Some((_, filled)) = &mut before {
                *filled += 1;
            }
            continue;
        };
        if let Some((last, filled)) = before.take()
            && let Some((last_frame, _, last_seq)) = said(last)
        {
            let run = case.runs.iter().rev().find(|run| run.begins <= packet.at);
            let ends = run.map_or(super::NEVER, |run| run.ends);
            let missing = packet.index - last.index - 1 - filled;
            let is_same = last_frame.ssrc == frame.ssrc;
            if is_same && seq <= last_seq && run.is_some_and(|run| run.begins <= last.at) {
                faults.push(format!("{seq} of {:x} leaves behind {last_seq}", frame.ssrc));
            }
            let lost = (last_seq + 1..seq).filter(|seq| case.is_lost(frame.ssrc, *seq, ends));
            let explained = match is_same {
                true => lost.count() as u64,
                false => behind(case, last_frame.ssrc, last_seq, packet.at),
            };
            if missing > explained {
                faults.push(format!(
                    "{missing} numbers before {} are of nothing; {explained} packets were lost \
                     between {last_seq} and {seq} of {:x} (then {:x})",
                    packet.index, last_frame.ssrc, frame.ssrc
                ));
            }
        }
        before = Some((packet, 0));
    }
}

/// Packets of a stream behind one that are missing, of those that others overtook.
fn behind(case: &Case<'_>, ssrc: u32, seq: u64, at: Duration) -> u64 {
    let lost: Vec<u64> = (seq + 1..seq + 60).filter(|n| case.is_lost(ssrc, *n, at)).collect();
    let highest = (seq + 1..seq + 60).filter(|n| !lost.contains(n)).max().unwrap_or(0);
    lost.iter().filter(|n| **n < highest).count() as u64
}

fn markers(case: &Case<'_>, verdict: &mut Verdict) {
    for pair in case.packets.windows(2) {
        let (Some((one, part, parts)), Some((next, _, _))) = (pair[0].of, pair[1].of) else {
            continue;
        };
        let same_stream = one.ssrc == next.ssrc && !case.paused(pair[0].at, pair[1].at);
        let same_picture = same_stream && one.picture == next.picture;
        let ends = part + 1 == parts;
        let (is_marked, index) = (pair[0].rtp.marker, pair[0].index);
        if is_marked && (same_picture || !ends) {
            verdict.faults.push(format!("a marker at {index}, within a picture"));
        }
        if pair[1].index != index + 1 || same_picture || is_marked {
            continue;
        }
        if same_stream && (ends || !one.of_key_picture) {
            verdict
                .faults
                .push(format!("no marker at {index}, where picture {} ends", one.picture));
        } else if !ends {
            verdict.cut += 1;
        }
    }
}

/// Of what is captured together, both ends' clocks may tell that much apart, in ticks of 90 kHz.
const TOLERANCE: i32 = 180;
/// A picture that shows a moment over again is later than it was captured, for so long.
const CATCHES_UP: Duration = Duration::from_millis(1_500);
/// Without reports, what is captured is known by when it comes.
const GUESS: i32 = 90 * 250;

fn timestamps(case: &Case<'_>, faults: &mut Vec<String>) {
    let mut last: Option<(u32, u32)> = None;
    let mut offset: Option<i32> = None;
    let mut before: Option<(u8, u32, Duration)> = None;
    for run in &case.runs {
        let Some(first) = run.shown.first() else { continue };
        // What begins anew is placed by when it came.
        let of = &first.frame;
        let continues = before.is_some_and(|(encoding, ssrc, ends)| {
            let reported = |ssrc: u32, at: Duration| {
                let life = case.publisher.frames.iter().find(|f| f.ssrc == ssrc);
                life.is_some_and(|f| f.captured + Duration::from_millis(300) < at)
            };
            let chosen = case.viewer.chosen.iter();
            let pauses = chosen.filter(|c| c.choice.is_none() && c.at <= run.begins);
            let paused = pauses.map(|c| c.at).max().is_some_and(|at| at >= ends);
            !paused
                && encoding != of.encoding
                && reported(ssrc, run.begins)
                && reported(run.ssrc, run.begins)
        });
        let (mut own, mut warned) = (None, None);
        for shown in &run.shown {
            let timestamp = shown.packets[0].1.timestamp;
            if shown.packets.iter().any(|(_, rtp)| rtp.timestamp != timestamp) {
                faults.push(format!("frame {} has several timestamps", shown.frame.id));
            }
            let captured = (shown.frame.captured.as_micros() as u64 / 100 * 9) as u32;
            let now = timestamp.wrapping_sub(captured).cast_signed();
            if let Some((before, capture)) = last {
                let ahead = timestamp.wrapping_sub(before).cast_signed();
                let is_one = capture == captured && own.is_some();
                if ahead < 0 || ahead == 0 && !is_one {
                    faults.push(format!(
                        "the timestamp of frame {} goes back by {ahead}",
                        shown.frame.id
                    ));
                }
            }
            last = Some((timestamp, captured));
            let settled = shown.first_at >= run.begins + CATCHES_UP;
            if let (Some(offset), true) = (offset, continues) {
                let by = now.wrapping_sub(offset);
                let late = (run.begins.saturating_sub(of.captured)).as_millis() as i32 * 90;
                let most = if settled { TOLERANCE } else { GUESS + late };
                if by.abs() > most {
                    warned.get_or_insert(format!(
                        "frame {} is off by {by} ticks, {:?} into the run",
                        shown.frame.id,
                        shown.first_at - run.begins
                    ));
                }
            }
            own = Some((now, settled));
        }
        let ends = run.shown.last().map_or(run.begins, |shown| shown.first_at);
        before = Some((of.encoding, run.ssrc, ends));
        faults.extend(warned);
        // What catches up tells nothing yet.
        match own {
            Some((now, true)) => offset = Some(now),
            _ if !continues => offset = None,
            _ => {}
        }
    }
}
