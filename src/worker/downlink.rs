//! What one subscriber's path carries, and what is made of it: which layer of each picture, when it
//! leaves, and the probes that find out whether there is more.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::time::{Duration, Instant};

use super::forward::Visit;
use super::guard::AtWork;
use super::load::shed;
use super::mux::PeerKey;
use super::peer::Peer;
use super::quality::Seen;
use super::slot::Slot;
use super::tracks::{Track, Tracks};
use super::{Timer, Worker};
use crate::base::bitrate::Bitrate;
use crate::base::ids::TrackId;
use crate::base::limits::{ALLOCATION_INTERVAL, UNPROVED_MAX};
use crate::media::allocate::{Allocator, Choice as Given, Demand, Ladder, PauseReason, Size};
use crate::media::encoding::Choice;
use crate::media::estimate::{Bound, Estimator, Probe, Source as Told};
use crate::media::pacer::{PACE, Pacer};
use crate::media::transport_cc::Signal;
use crate::room::mail::{Outgoing, ToGate, TrackRef};
use crate::wire::codec::Kind;
use crate::wire::signal::{SlotQuality, Source};

/// One peer's.
#[derive(Debug)]
pub struct Downlink {
    pub estimator: Estimator,
    pub pacer: Pacer,
    allocator: Allocator,
    /// Used while it allocates.
    demands: Vec<Demand<'static>>,
    /// When its timers go off.
    allocates: Option<Instant>,
    paces: Option<Instant>,
    /// When it was allocated last.
    allocated: Option<Instant>,
    /// The path was found to be full; and when something left last: what was true of it is forgotten
    /// after a while without.
    is_proved: bool,
    left: Option<Instant>,
    probe: Option<Probing>,
    /// What there would be a use for, and whether probes are finding out whether it is there.
    goal: Option<Bitrate>,
    climbs: bool,
    /// Bytes that left since the estimator was told of them, and all since the last allocation, of
    /// which sound.
    untold: usize,
    pub sound_bytes: u64,
    left_bytes: u64,
    sound: Bitrate,
}

/// A probe under way.
#[derive(Debug)]
struct Probing {
    probe: Probe,
    began: Instant,
    bytes: u64,
}

/// Between two steps of a probe.
const PROBE_STEP: Duration = Duration::from_millis(5);
/// Pictures leave at no less than so many times what was chosen of them, whatever the estimate:
/// what was chosen though it is not known to fit must get out.
const PACE_CHOSEN: f64 = 1.5;

impl Default for Downlink {
    fn default() -> Self {
        let mut pacer = Pacer::default();
        pacer.set_rate(UNPROVED_MAX);
        Downlink {
            estimator: Estimator::default(),
            pacer,
            allocator: Allocator::default(),
            demands: Vec::new(),
            allocates: None,
            paces: None,
            allocated: None,
            is_proved: false,
            left: None,
            probe: None,
            goal: None,
            climbs: false,
            untold: 0,
            sound_bytes: 0,
            left_bytes: 0,
            sound: Bitrate::ZERO,
        }
    }
}

impl Downlink {
    /// A packet of media leaves.
    pub fn sent(&mut self, now: Instant, bytes: usize) {
        self.pacer.sent(now, bytes);
        self.untold += bytes;
        if let Some(probing) = &mut self.probe {
            probing.bytes += bytes as u64;
        }
    }

    /// Tells the estimator of what left in this visit.
    pub fn tell(&mut self, now: Instant) {
        let bytes = std::mem::take(&mut self.untold);
        self.left_bytes += bytes as u64;
        if bytes > 0 {
            let before = self.left.replace(now);
            let is_old = |at| now.saturating_duration_since(at) > PROOF_KEPT;
            self.is_proved &= !before.is_some_and(is_old);
            self.estimator.sent(now, bytes);
        }
    }

    /// So much waits on the way that what is to be left is better not sent.
    pub fn is_flooded(&self) -> bool {
        self.estimator.queue() > FLOODED
    }

    fn probed_bytes(&self) -> u64 {
        self.probe.as_ref().map_or(u64::MAX, |probing| probing.bytes)
    }

    /// The client says something of its path.
    pub fn take(&mut self, signal: Signal) {
        self.estimator.take(signal);
    }
}

impl Worker {
    /// All of what a compound says of the path was taken.
    pub(super) fn heard_of_path(&mut self, key: PeerKey, now: Instant) {
        let downlink = &mut self.peers[key.0].downlink;
        let before = downlink.estimator.estimate();
        downlink.estimator.update(now);
        let after = downlink.estimator.estimate();
        // Where there is nothing but reports, nobody can probe: a picture that was paused stayed so.
        let can_probe = downlink.estimator.source() == Told::Transport;
        let is_full = after < before && downlink.estimator.bound() != Bound::None;
        downlink.is_proved |= is_full && can_probe;
        // A raise waits for the last of several probes, so that one is enough.
        let climbs = downlink.estimator.climbs() && downlink.goal.is_some_and(|goal| after < goal);
        let climbed = std::mem::replace(&mut downlink.climbs, climbs);
        if !climbs && (climbed || after > before.scale(PROBED)) {
            downlink.allocator.confirm(after - downlink.sound);
        }
        // What no longer fits is lowered at once; what would fit can wait.
        let is_less = after < before.scale(LESS);
        let soon = downlink.allocated.map_or(now, |at| at + ALLOCATION_INTERVAL / 2);
        self.will_allocate(key, if is_less { now } else { soon.max(now) });
    }

    /// The path is spent anew at that time, or before.
    pub(super) fn will_allocate(&mut self, key: PeerKey, at: Instant) {
        let downlink = &mut self.peers[key.0].downlink;
        if downlink.allocates.is_none_or(|set| at < set) {
            downlink.allocates = Some(at);
            self.deadlines.set(Timer::Allocate(key), at);
        }
    }

    /// Decides anew what each slot of a peer gets.
    pub(super) fn allocate(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key.0) else { return };
        self.at_work = AtWork::Peer(key);
        peer.downlink.allocates = None;
        peer.downlink.estimator.update(now);
        for slot in &peer.slots {
            if let Some(track) = slot.track.and_then(|track| self.tracks.get_mut(track.id)) {
                track.measure(now, &mut self.steps);
            }
        }
        let Spent { goal, again, is_busy, has_paused, news } =
            peer.spend(&self.tracks, &self.no_ladder, self.load.level(), now);
        let downlink = &mut peer.downlink;
        // Of what is paused nothing flows, and it would be for ever if nobody probed.
        let flows = std::mem::take(&mut downlink.left_bytes) > 0 || has_paused;
        let deadline = downlink.estimator.deadline().filter(|_| flows);
        // What is probed for is all that there is a use for: one step at a time takes as many waits.
        let goal = goal.map(|goal| goal.max(downlink.allocator.goal()) + downlink.sound);
        let goal = goal.filter(|_| flows);
        downlink.goal = goal;
        let next = (flows || is_busy).then_some(now + ALLOCATION_INTERVAL);
        let next = [again, deadline, next].into_iter().flatten().min();
        if !news.is_empty() {
            let session = peer.address.session;
            self.letters.push(Outgoing::Gate(ToGate::Quality { session, slots: news }));
        }
        if let Some(goal) = goal {
            self.probe(key, goal, now);
        }
        if let Some(next) = next {
            self.will_allocate(key, next.max(now + MIN_INTERVAL));
        }
    }

    /// Begins a probe, if it is time for one.
    fn probe(&mut self, key: PeerKey, goal: Bitrate, now: Instant) {
        let Peer { downlink, feedback, .. } = &mut self.peers[key.0];
        if downlink.probe.is_some() {
            return;
        }
        let Some(probe) = downlink.estimator.wants_probe(now, goal) else { return };
        downlink.estimator.probe_begins(probe.id, feedback.history.next());
        downlink.probe = Some(Probing { probe, began: now, bytes: 0 });
        self.will_pace(key, now);
    }

    /// What waits for its turn leaves at that time, or a step of a probe.
    pub(super) fn will_pace(&mut self, key: PeerKey, at: Instant) {
        let downlink = &mut self.peers[key.0].downlink;
        if downlink.paces.is_none_or(|set| at < set) {
            downlink.paces = Some(at);
            self.deadlines.set(Timer::Pace(key), at);
        }
    }

    /// Lets what waited leave, the oldest first, and what a probe needs beside it.
    pub(super) fn pace(&mut self, key: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(key.0) else { return };
        self.at_work = AtWork::Peer(key);
        peer.downlink.paces = None;
        let mut waiting: Vec<(Instant, Visit)> = Vec::new();
        for slot in &peer.slots {
            let key_of = |track: TrackRef| self.tracks.key(track.id);
            let Some(track) = slot.track.and_then(key_of) else { continue };
            if let Some(since) = self.tracks.at(track).and_then(|t| slot.waits(&t.encodings)) {
                waiting.push((since, Visit { peer: key, line: slot.agreed.line, track }));
            }
        }
        waiting.sort_by_key(|(since, _)| *since);
        self.visits.extend(waiting.into_iter().map(|(_, visit)| visit));
        self.step_probe(key, now);
    }

    /// Sends what a probe lacks of its rate by now.
    fn step_probe(&mut self, key: PeerKey, now: Instant) {
        let Some(Probing { probe, began, .. }) = self.peers[key.0].downlink.probe else { return };
        let time = now.saturating_duration_since(began);
        let is_end = time >= probe.duration;
        let due = probe.rate.bytes_in(time.min(probe.duration));
        let mut has_padding = true;
        while has_padding && self.peers[key.0].downlink.probed_bytes() < due {
            has_padding = self.pad(key, probe.packet_bytes, now);
        }
        if is_end && has_padding {
            // What comes last tells that all before has come.
            self.pad(key, probe.packet_bytes, now);
        }
        let Peer { downlink, feedback, .. } = &mut self.peers[key.0];
        downlink.tell(now);
        if is_end || !has_padding {
            log::trace!(
                "probe at {} for {:?}: {} bytes in {time:?}, padded {has_padding}",
                probe.rate,
                probe.duration,
                downlink.probed_bytes()
            );
            downlink.probe = None;
            downlink.estimator.probe_ends(now, probe.id, feedback.history.next());
        } else {
            self.will_pace(key, now + PROBE_STEP);
        }
    }

    /// Sends padding; `false` if there is no stream for it.
    fn pad(&mut self, key: PeerKey, bytes: usize, now: Instant) -> bool {
        let send_time = self.clock.send_time(now);
        let mut slots = self.peers[key.0].slots.iter();
        let Some(slot) = slots.find(|slot| slot.agreed.rtx_ssrc.is_some()) else { return false };
        let line = slot.agreed.line;
        let out = (&mut self.transmits, &mut self.counters);
        let Some((slot, mut to)) = self.peers[key.0].sending(line, now, send_time, out) else {
            return false;
        };
        slot.pad(bytes, &mut to)
    }
}

/// What came of spending a path.
struct Spent {
    /// The budget with which some slot would get more.
    goal: Option<Bitrate>,
    /// When to spend it anew even if nothing changes.
    again: Option<Instant>,
    /// Something is shown, or would be with more budget.
    is_busy: bool,
    /// Something waits for more budget, and so for a probe.
    has_paused: bool,
    /// What the client is to be told of its slots.
    news: Vec<SlotQuality>,
}

impl Peer {
    /// Spends its path on its slots.
    fn spend(
        &mut self,
        tracks: &Tracks,
        no_ladder: &Ladder,
        shed_level: u8,
        now: Instant,
    ) -> Spent {
        let Peer { slots, downlink, .. } = self;
        let mut demands = recycle(std::mem::take(&mut downlink.demands));
        let is_video = |slot: &&Slot| slot.agreed.kind == Kind::Video;
        let track_of = |slot: &Slot| slot.track.and_then(|track| tracks.get(track.id));
        let wanted = slots.iter().filter(is_video);
        let demands_of = wanted.map(|slot| demand(slot, track_of(slot), no_ladder));
        demands.extend(demands_of.map(|mut demand| {
            shed(&mut demand, shed_level);
            demand
        }));
        let budget = downlink.budget(&demands, now);
        let allocation = downlink.allocator.allocate(budget, &demands, now);
        let (chosen, mut again) = (allocation.total, allocation.again);
        let beyond = (chosen > downlink.estimator.estimate()).then(|| chosen.scale(RAISABLE));
        let goal = allocation.next.max(beyond);
        let video = slots.iter_mut().filter(|slot| slot.agreed.kind == Kind::Video);
        let (mut is_busy, mut has_paused, mut news) = (false, false, Vec::new());
        for ((outcome, demand), slot) in allocation.slots.iter().zip(&demands).zip(video) {
            match outcome.choice {
                Given::Step(at) => slot.choose(demand.ladder.steps().get(at).map(Choice::of)),
                // It may begin before this is asked again.
                Given::Paused(PauseReason::NothingSent) => slot.await_any(),
                Given::Paused(_) => slot.choose(None),
            }
            is_busy |= matches!(outcome.choice, Given::Step(_));
            has_paused |= outcome.choice == Given::Paused(PauseReason::AllocatorLimit);
            let seen = Seen {
                track: track_of(slot),
                demand,
                outcome: *outcome,
                budget,
                sheds: shed_level > 0,
            };
            let (told, later) = seen.judge(slot, now);
            news.extend(told);
            again = [again, later].into_iter().flatten().min();
        }
        let estimator = &downlink.estimator;
        log::trace!(
            "downlink {}: {} may leave ({:?}), {} arrives, {chosen} of pictures chosen, next {goal:?}",
            self.address.participant,
            estimator.estimate(),
            estimator.bound(),
            estimator.acked(),
        );
        downlink.demands = recycle(demands);
        downlink.allocated = Some(now);
        downlink.set_pace(chosen);
        Spent { goal, again, is_busy: is_busy || has_paused, has_paused, news }
    }
}

/// What a slot's viewer wants of its track.
fn demand<'a>(slot: &Slot, track: Option<&'a Track>, no_ladder: &'a Ladder) -> Demand<'a> {
    let want = slot.want;
    Demand {
        track: track.map_or(TrackId(0), |track| track.id),
        source: track.map_or(Source::Camera, |track| track.source),
        ladder: track.map_or(no_ladder, |track| &track.ladder),
        pinned: want.pinned,
        speaking: track.is_some_and(|track| track.state.speaking),
        paused: want.paused,
        asked: Size { width: want.width, height: want.height },
        fps_max: want.max_fps,
    }
}

impl Downlink {
    /// Pictures leave somewhat faster than they should come, so that none waits for long.
    fn set_pace(&mut self, chosen: Bitrate) {
        let chosen = chosen + self.sound;
        let estimate = self.estimator.estimate();
        let needed = estimate.max(chosen);
        match self.is_proved {
            _ if self.is_flooded() => self.pacer.set_rate_and_burst(needed, Duration::ZERO),
            true => self.pacer.set_rate_and_burst(needed.scale(PACE_PROVED), BURST_PROVED),
            false => {
                let rate = estimate.scale(PACE).max(chosen.scale(PACE_CHOSEN));
                self.pacer.set_rate(rate.max(UNPROVED_MAX));
            }
        }
    }

    /// What may be spent on pictures. As long as the path never was full, the least of all, though
    /// nobody knows whether that fits.
    fn budget(&mut self, demands: &[Demand<'_>], now: Instant) -> Bitrate {
        if let Some(since) = self.allocated.map(|at| now.saturating_duration_since(at))
            && since >= ALLOCATION_INTERVAL / 2
        {
            let fresh = Bitrate::of(std::mem::take(&mut self.sound_bytes), since);
            self.sound = self.sound.scale(1.0 - SOUND_WEIGHT) + fresh.scale(SOUND_WEIGHT);
        }
        let known = self.estimator.settled() - self.sound;
        let seen = demands.iter().filter(|d| !d.paused && d.asked.area() > 0);
        let firsts = seen.filter_map(|demand| demand.ladder.steps().first());
        let least: Bitrate = firsts.map(|step| step.rate).sum();
        let unproved = least.min(UNPROVED_MAX).scale(RAISABLE);
        if self.is_proved || known >= unproved {
            return known;
        }
        self.allocator.confirm(unproved);
        unproved
    }
}

/// The same list, empty, for borrows of another life; it keeps its memory.
#[expect(clippy::unnecessary_filter_map, reason = "a filter would keep the life as well")]
fn recycle<'b>(mut demands: Vec<Demand<'_>>) -> Vec<Demand<'b>> {
    demands.clear();
    demands.into_iter().filter_map(|_| None).collect()
}

/// Times the estimate, once the path was found to be full: a keyframe that leaves faster waits there,
/// with the sound behind it, rather than here. Higher fills the queue; lower shows a keyframe later.
const PACE_PROVED: f64 = 1.1;
/// And what leaves there at once. More stands in the queue there for as long as a keyframe takes; less
/// is smaller batches here.
const BURST_PROVED: Duration = Duration::from_millis(15);
/// What a path bore is forgotten after so long without anything on it. Longer pauses pictures for what
/// was a minute ago; shorter tries a thin line again with each pause of speech.
const PROOF_KEPT: Duration = Duration::from_secs(10);
/// Of a new measure of sound, in the mean.
const SOUND_WEIGHT: f64 = 0.2;
/// An estimate that rises by more at once was probed.
const PROBED: f64 = 1.05;
/// And one that falls by more is acted on at once.
const LESS: f64 = 0.97;
/// What a total needs to be raised to by the allocator, and a little.
const RAISABLE: f64 = 1.2;
/// With so much waiting on the way, an encoding that is to be left ends at once, rather than with the
/// keyframe of the lower one, which would come behind it. Higher delays the lower picture; lower
/// stops the higher one for every short queue.
const FLOODED: Duration = Duration::from_millis(80);
/// Between two allocations of one peer, whatever asks for them.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
