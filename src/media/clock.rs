//! Which RTP timestamp of a stream stands for which moment, so that sender reports to subscribers
//! (RFC 3550 §6.4.1) keep a publisher's voice and picture together.
//!
//! A publisher's own reports name moments by its own clock. That clock is read against ours once
//! for all its streams: whatever is wrong with the reading is wrong for all of them alike, and
//! nothing comes apart.

use std::time::{Duration, Instant};

/// Clocks run apart by less: parts in a million.
const DRIFT_PPM: u32 = 100;
/// A report that took so much longer than those before either was held up or tells that the
/// publisher's clock was set back. So many in turn are the latter.
const STEP: Duration = Duration::from_secs(1);
const STEP_REPORTS: u32 = 4;

/// A publisher's wall clock as we read it.
#[derive(Debug, Default)]
pub struct PublisherClock {
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// When it was `ntp` there it was `at` here, if that report took no time: others tell how much
    /// less than this one took.
    ntp: u64,
    at: Instant,
    /// The last report.
    updated: Instant,
    /// How many in turn took much longer, and the one of them that took least.
    stepped: Option<(u32, u64, Instant)>,
}

/// A moment on our clock and the timestamp that stands for it. Enough to tell another worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    pub at: Instant,
    pub timestamp: u32,
}

/// The same for a stream of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamAnchor {
    /// Which encoding of the track it is.
    pub encoding: u8,
    pub ssrc: u32,
    pub anchor: Anchor,
}

/// What is known of one stream's timestamps: the publisher's last report of it, its time and the
/// timestamp.
#[derive(Debug, Default)]
pub struct StreamClock {
    report: Option<(u64, u32)>,
}

impl PublisherClock {
    /// A report of any of its streams came. The one that took least time tells most; what it says
    /// is trusted a little less with time, as clocks run apart.
    pub fn report(&mut self, ntp: u64, now: Instant) {
        let Some(reading) = &mut self.reading else {
            self.reading = Some(Reading { ntp, at: now, updated: now, stepped: None });
            return;
        };
        reading.at += now.saturating_duration_since(reading.updated) * DRIFT_PPM / 1_000_000;
        reading.updated = now;
        let excess = since(now, reading.local(ntp));
        if excess <= 0 {
            (reading.ntp, reading.at, reading.stepped) = (ntp, now, None);
            return;
        }
        if excess < STEP.as_nanos() as i64 {
            reading.stepped = None;
            return;
        }
        let (reports, least_ntp, least_at) = reading.stepped.unwrap_or((0, ntp, now));
        let took_less = since(now, least_at) < nanos(ntp, least_ntp);
        let least = if took_less { (ntp, now) } else { (least_ntp, least_at) };
        reading.stepped = Some((reports + 1, least.0, least.1));
        if reports + 1 >= STEP_REPORTS {
            (reading.ntp, reading.at, reading.stepped) = (least.0, least.1, None);
        }
    }

    /// The moment on our clock when it was `ntp` there; `None` before a report.
    fn local(&self, ntp: u64) -> Option<Instant> {
        self.reading.as_ref().map(|reading| reading.local(ntp))
    }
}

impl Reading {
    fn local(&self, ntp: u64) -> Instant {
        offset(self.at, nanos(ntp, self.ntp))
    }
}

impl StreamClock {
    /// A report of this stream came. One without a wall clock (RFC 3550 §6.4.1) says nothing.
    pub fn report(&mut self, ntp: u64, timestamp: u32) {
        self.report = Some((ntp, timestamp)).filter(|(ntp, _)| *ntp != 0);
    }

    /// As the publisher's clock is read now; `None` before a report.
    pub fn anchor(&self, publisher: &PublisherClock) -> Option<Anchor> {
        let (ntp, timestamp) = self.report?;
        Some(Anchor { at: publisher.local(ntp)?, timestamp })
    }
}

impl Anchor {
    /// The timestamp of what is captured now, or was or will be then.
    pub fn timestamp_at(self, now: Instant, clock_hz: u32) -> u32 {
        let ticks = i128::from(since(now, self.at)) * i128::from(clock_hz) / 1_000_000_000;
        self.timestamp.wrapping_add(ticks as u32)
    }
}

/// Nanoseconds from one moment to another, which may be before it.
fn since(to: Instant, from: Instant) -> i64 {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(duration) => nanos(duration),
        None => -nanos(from.saturating_duration_since(to)),
    }
}

/// The same of NTP times, which wrap.
fn nanos(to: u64, from: u64) -> i64 {
    let seconds = i128::from(to.wrapping_sub(from).cast_signed());
    // Up to 68 years in nanoseconds: 62 bits.
    ((seconds * 1_000_000_000) >> 32) as i64
}

fn offset(at: Instant, nanos: i64) -> Instant {
    let by = Duration::from_nanos(nanos.unsigned_abs());
    let moved = if nanos < 0 { at.checked_sub(by) } else { at.checked_add(by) };
    moved.unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    const AUDIO: u32 = 48_000;
    const VIDEO: u32 = 90_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn timestamps_before_and_after_an_anchor() {
        let start = Instant::now();
        let anchor = Anchor { at: start + ms(1_000), timestamp: u32::MAX - 9 };
        assert_eq!(anchor.timestamp_at(start + ms(1_000), VIDEO), u32::MAX - 9);
        assert_eq!(anchor.timestamp_at(start + ms(1_010), VIDEO), 890);
        assert_eq!(anchor.timestamp_at(start, VIDEO), u32::MAX - 9 - 90_000);
        let days = anchor.timestamp_at(start + ms(1_000) + ms(86_400_000 * 30), AUDIO);
        assert_eq!(days, ((u64::from(u32::MAX) - 9 + 48 * 86_400_000 * 30) % (1 << 32)) as u32);
    }

    #[test]
    fn nothing_is_said_before_a_report_that_knows_the_time() {
        let start = Instant::now();
        let (mut publisher, mut stream) = (PublisherClock::default(), StreamClock::default());
        assert_eq!(stream.anchor(&publisher), None);
        publisher.report(1 << 40, start);
        assert_eq!(stream.anchor(&publisher), None, "a report of another stream");
        stream.report(1 << 40, 700);
        assert_eq!(stream.anchor(&publisher), Some(Anchor { at: start, timestamp: 700 }));
        stream.report(0, 800);
        assert_eq!(stream.anchor(&publisher), None, "a report without a clock");
    }

    #[test]
    fn one_reading_serves_reports_before_and_after_it() {
        let start = Instant::now() + ms(10_000);
        let (mut publisher, mut stream) = (PublisherClock::default(), StreamClock::default());
        publisher.report(100 << 32, start);
        for (ntp, at) in [(95, start - ms(5_000)), (100, start), (107, start + ms(7_000))] {
            stream.report(ntp << 32, 9);
            assert_eq!(stream.anchor(&publisher), Some(Anchor { at, timestamp: 9 }));
        }
    }

    /// A publisher whose clock runs apart from ours, whose reports take a while that differs, and
    /// whose timestamps begin anywhere.
    struct Publisher {
        start: Instant,
        ntp: u64,
        ppm: i64,
        clock: PublisherClock,
        audio: StreamClock,
        video: StreamClock,
    }

    impl Publisher {
        fn new(ppm: i64) -> Publisher {
            let (clock, audio, video) = Default::default();
            // Its seconds begin anew while it is here.
            Publisher {
                start: Instant::now(),
                ntp: 0u64.wrapping_sub(100 << 32 | 99),
                ppm,
                clock,
                audio,
                video,
            }
        }

        /// So long from its start, by our clock, as it counts it in nanoseconds.
        fn counts(&self, time: Duration) -> u128 {
            let nanos = time.as_nanos() as i128;
            (nanos + nanos * i128::from(self.ppm) / 1_000_000) as u128
        }

        fn timestamp(&self, time: Duration, hz: u32) -> u32 {
            let ticks = self.counts(time) * u128::from(hz) / 1_000_000_000;
            (ticks as u32).wrapping_add(hz.wrapping_mul(90_001))
        }

        /// Reports of both streams, made at `time`, which take so long.
        fn report(&mut self, time: Duration, takes: [Duration; 2]) {
            let ntp = self.ntp.wrapping_add(((self.counts(time) << 32) / 1_000_000_000) as u64);
            self.audio.report(ntp, self.timestamp(time, AUDIO));
            self.clock.report(ntp, self.start + time + takes[0]);
            self.video.report(ntp, self.timestamp(time, VIDEO));
            self.clock.report(ntp, self.start + time + takes[1]);
        }

        /// How far from the truth what is said of each stream at `time` is, in nanoseconds.
        fn errors(&self, time: Duration) -> [i64; 2] {
            let error = |stream: &StreamClock, hz: u32| {
                let said = stream.anchor(&self.clock).unwrap().timestamp_at(self.start + time, hz);
                let off = said.wrapping_sub(self.timestamp(time, hz)).cast_signed();
                i64::from(off) * 1_000_000_000 / i64::from(hz)
            };
            [error(&self.audio, AUDIO), error(&self.video, VIDEO)]
        }
    }

    #[test]
    fn voice_and_picture_stay_together_over_drift_and_jitter() {
        for (seed, ppm) in [(1, 0), (2, 50), (3, -50)] {
            let mut rng = Rng::from_seed([seed; 32]);
            let mut publisher = Publisher::new(ppm);
            for second in 0..10_000u64 {
                let mut takes = || {
                    ms(30 + if rng.next_u64().is_multiple_of(4) { rng.next_u64() % 300 } else { 0 })
                };
                let takes = [takes(), takes()];
                publisher.report(ms(1_000 * second), takes);
                let [audio, video] = publisher.errors(ms(1_000 * second + 999));
                assert!(audio.abs_diff(video) < 60_000, "{audio} and {video} ns at {second} s");
                if second > 60 {
                    // What the way takes at least cannot be told from the clock.
                    let off = ((audio + 30_000_000).abs(), (video + 30_000_000).abs());
                    assert!(off.0.max(off.1) < 3_000_000, "{off:?} ns at {second} s, {ppm} ppm");
                }
            }
        }
    }

    #[test]
    fn a_report_that_was_held_up_changes_nothing() {
        let mut publisher = Publisher::new(0);
        publisher.report(ms(0), [ms(20); 2]);
        for second in 1..STEP_REPORTS.into() {
            publisher.report(ms(second * 1_000), [ms(20), ms(3_000)]);
            let [audio, video] = publisher.errors(ms(second * 1_000));
            assert!((audio + 20_000_000).abs() < 1_000_000 && audio.abs_diff(video) < 60_000);
        }
    }

    #[test]
    fn a_clock_that_is_set_is_followed() {
        for back in [true, false] {
            let mut publisher = Publisher::new(0);
            publisher.report(ms(0), [ms(20); 2]);
            let hour = 3_600 << 32;
            publisher.ntp =
                if back { publisher.ntp - hour } else { publisher.ntp.wrapping_add(hour) };
            for (second, takes) in [(1, 90), (2, 40), (3, 70)] {
                publisher.report(ms(second * 1_000), [ms(takes), ms(takes + 10)]);
            }
            let [audio, video] = publisher.errors(ms(3_500));
            assert!((audio + 40_000_000).abs() < 1_000_000, "{audio} ns");
            assert_eq!(audio.abs_diff(video) / 100_000, 0);
        }
    }

    #[test]
    fn whatever_a_publisher_reports_nothing_breaks() {
        let (start, mut rng) = (Instant::now(), Rng::from_seed([9; 32]));
        let (mut publisher, mut stream) = (PublisherClock::default(), StreamClock::default());
        for turn in 0..100_000 {
            let now = start + ms(turn);
            let ntp = rng.next_u64() >> (rng.next_u64() % 64);
            publisher.report(ntp, now);
            stream.report(rng.next_u64() | 1, 0);
            let anchor = stream.anchor(&publisher).expect("a report came");
            anchor.timestamp_at(now, VIDEO);
        }
    }
}
