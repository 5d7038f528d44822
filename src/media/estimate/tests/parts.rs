//! The parts by themselves, where a whole link does not show what each is for.

use std::time::Duration;

use super::flow::epoch;
use crate::base::bitrate::Bitrate;
use crate::media::estimate::acked::Acked;
use crate::media::estimate::groups::{Groups, Step};
use crate::media::estimate::loss::{Loss, Verdict};
use crate::media::estimate::probe::{Found, Probes};
use crate::media::estimate::queue::Queue;
use crate::media::estimate::rate::{Rate, Seen};
use crate::media::estimate::trend::Trend;
use crate::media::estimate::{Arrival, Usage};
use crate::media::transport_cc::PacketResult;

const MS: i64 = 1_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn kbps(kbps: u64) -> Bitrate {
    Bitrate::from_kbps(kbps)
}

fn arrival(sent: i64, arrived: i64) -> Arrival {
    Arrival { sent, arrived, bytes: 1_000 }
}

#[test]
fn a_picture_does_not_wait_for_itself() {
    let mut groups = Groups::default();
    // Two packets and ten in turn, all at once each time, 3 ms each on the link.
    for picture in 0..50 {
        let sent = picture * 33 * MS;
        for packet in 0..2 + 8 * (picture % 2) {
            let step = groups.take(&arrival(sent, sent + 20 * MS + packet * 3 * MS));
            assert!(step.is_none_or(|step| step.sent == step.arrived), "{step:?}");
        }
    }
}

#[test]
fn what_was_held_up_together_is_one() {
    let mut groups = Groups::default();
    let mut steps = Vec::new();
    for packet in 0..60 {
        // Each 10 ms, and each 60 ms the radio lets them go.
        let sent = packet * 10 * MS;
        let came = (sent / (60 * MS) + 1) * 60 * MS + packet % 6 * MS / 10;
        steps.extend(groups.take(&arrival(sent, came)));
    }
    assert_eq!(steps.len(), 8, "ten bunches: {steps:?}");
    assert!(steps.iter().all(|step| (step.sent, step.arrived) == (60 * MS, 60 * MS)), "{steps:?}");
    // One that was overtaken is in none.
    assert_eq!(groups.take(&arrival(0, 900 * MS)), None);
}

/// A step of 20 ms on which delay grows by so many microseconds.
fn grows(trend: &mut Trend, at: &mut i64, by: i64) -> Usage {
    *at += 20 * MS + by;
    trend.take(Step { sent: 20 * MS, arrived: 20 * MS + by, at: *at });
    trend.usage()
}

#[test]
fn a_queue_that_grows_is_noticed_and_stays_so() {
    let (mut trend, mut at) = (Trend::default(), 0);
    for _ in 0..60 {
        assert_eq!(grows(&mut trend, &mut at, 0), Usage::Normal);
    }
    let noticed = (0..200).position(|_| grows(&mut trend, &mut at, 20 * MS) == Usage::Over);
    assert!(noticed.is_some_and(|steps| steps < 10), "{noticed:?}");
    for _ in 0..200 {
        assert_eq!(grows(&mut trend, &mut at, 20 * MS), Usage::Over);
    }
    let empties = (0..60).position(|_| grows(&mut trend, &mut at, -10 * MS) == Usage::Under);
    assert!(empties.is_some(), "it gets shorter");
    let calm = (0..60).position(|_| grows(&mut trend, &mut at, 0) == Usage::Normal);
    assert!(calm.is_some(), "and is gone");
}

#[test]
fn a_link_that_falls_of_a_sudden_does_not_blind() {
    let (mut trend, mut at) = (Trend::default(), 0);
    let mut grow = |by: i64| {
        at += 5 * MS + by;
        trend.take(Step { sent: 5 * MS, arrived: 5 * MS + by, at });
        trend.usage()
    };
    (0..100).for_each(|_| assert_eq!(grow(0), Usage::Normal));
    assert!((0..20).any(|_| grow(5 * MS) == Usage::Over));
    (0..200).for_each(|_| assert_eq!(grow(5 * MS), Usage::Over));
    (0..60).for_each(|_| assert_eq!(grow(2 * MS), Usage::Over, "and slower now"));
}

#[test]
fn a_slow_queue_is_noticed_and_a_steady_jitter_is_not() {
    let (mut trend, mut at) = (Trend::default(), 0);
    for turn in 0..500 {
        let jitter = [3, -3, 5, -5, 1, -1][turn % 6] * MS;
        assert_ne!(grows(&mut trend, &mut at, jitter), Usage::Over);
    }
    let noticed = (0..200).position(|_| grows(&mut trend, &mut at, MS) == Usage::Over);
    assert!(noticed.is_some_and(|steps| steps < 50), "{noticed:?}");
}

#[test]
fn a_pause_or_a_clock_that_leaps_begins_anew() {
    for step in [(3_000, 3_400), (20, 20 + 3_500)] {
        let (mut trend, mut at) = (Trend::default(), 0);
        for _ in 0..60 {
            grows(&mut trend, &mut at, 0);
        }
        at += step.1 * MS;
        trend.take(Step { sent: step.0 * MS, arrived: step.1 * MS, at });
        for _ in 0..60 {
            assert_eq!(grows(&mut trend, &mut at, 0), Usage::Normal);
        }
    }
}

/// Packets each 10 ms from and to milliseconds, with a delay and the receiver's clock off by some.
fn packets(queue: &mut Queue, from: i64, to: i64, delay: i64, clock: i64) {
    for at in (from..to).step_by(10) {
        queue.take(&arrival(at * MS, (at + delay + clock) * MS));
    }
}

#[test]
fn what_stands_is_what_all_packets_wait() {
    let mut queue = Queue::default();
    assert_eq!(queue.standing(), Duration::ZERO);
    packets(&mut queue, 0, 1_000, 30, 0);
    assert_eq!(queue.standing(), Duration::ZERO);
    // One of ten waits for nothing: none stands.
    for at in (1_000..1_500).step_by(50) {
        packets(&mut queue, at, at + 40, 80, 0);
        packets(&mut queue, at + 40, at + 50, 30, 0);
        assert_eq!(queue.standing(), Duration::ZERO);
    }
    packets(&mut queue, 1_500, 1_700, 80, 0);
    assert_eq!(queue.standing(), ms(50));
    // A path that is longer from now on is no queue in the end.
    packets(&mut queue, 1_700, 8_000, 80, 0);
    assert_eq!(queue.standing(), ms(50));
    packets(&mut queue, 8_000, 13_000, 80, 0);
    assert_eq!(queue.standing(), Duration::ZERO);
}

#[test]
fn a_clock_that_leaps_hides_no_queue_and_makes_none() {
    for clock in [-5_000, -60_000, 60_000] {
        let mut queue = Queue::default();
        packets(&mut queue, 0, 5_000, 30, 100_000);
        packets(&mut queue, 5_000, 6_000, 30, 100_000 + clock);
        assert_eq!(queue.standing(), Duration::ZERO, "{clock}");
        packets(&mut queue, 6_000, 6_300, 90, 100_000 + clock);
        assert_eq!(queue.standing(), ms(60), "{clock}");
    }
}

#[test]
fn what_no_feedback_spoke_of_arrived() {
    let mut acked = Acked::default();
    let at = |packet: i64| packet * 5 * MS + 7_000_000;
    (0..200).for_each(|packet| acked.take(&arrival(packet * 5 * MS, at(packet))));
    let is_about =
        |rate: Option<Bitrate>| rate.is_some_and(|rate| rate.bps().abs_diff(1_600_000) < 100_000);
    assert!(is_about(acked.rate()) && is_about(acked.busy_rate()), "{:?}", acked.rate());
    // Forty are not told of.
    (240..260).for_each(|packet| acked.take(&arrival(packet * 5 * MS, at(packet))));
    acked.presume(40_000, at(240));
    assert!(is_about(acked.rate()), "{:?}", acked.rate());
}

fn seen(usage: Usage) -> Seen {
    let (acked, busy) = (Some(kbps(500)), Some(kbps(500)));
    let (standing, round_trip) = (Duration::ZERO, ms(100));
    Seen {
        usage,
        acked,
        busy,
        standing,
        rushes: false,
        round_trip,
        is_limited: false,
        is_lossy: false,
    }
}

#[test]
fn a_rate_rises_by_8_percent_a_second_up_to_what_was_tried() {
    let (mut rate, mut now) = (Rate::default(), epoch());
    rate.set(kbps(500));
    let mut pass = |rate: &mut Rate, seconds: u64, seen: &Seen| {
        for _ in 0..seconds * 10 {
            now += ms(100);
            rate.update(now, seen);
        }
        rate.current()
    };
    let normal = seen(Usage::Normal);
    let one = pass(&mut rate, 1, &normal);
    assert!(one > kbps(530) && one < kbps(545), "{one}");
    assert_eq!(pass(&mut rate, 2, &Seen { is_limited: true, ..normal }), one);
    assert_eq!(pass(&mut rate, 2, &Seen { standing: ms(150), ..normal }), one);
    assert_eq!(pass(&mut rate, 2, &Seen { is_lossy: true, ..normal }), one);
    assert_eq!(pass(&mut rate, 2, &seen(Usage::Under)), one);
    assert_eq!(pass(&mut rate, 30, &normal), kbps(760));
    // A probe found more: it stays, and does not rise.
    rate.probed(epoch(), kbps(2_000), false);
    assert_eq!(pass(&mut rate, 30, &normal), kbps(2_000));
}

#[test]
fn a_queue_is_emptied_and_the_rate_goes_back_to_what_arrived() {
    let (mut rate, mut now) = (Rate::default(), epoch());
    rate.set(kbps(510));
    rate.update(now, &Seen { standing: ms(800), ..seen(Usage::Over) });
    let draining = rate.current();
    assert!(draining < kbps(190) && draining > kbps(120), "{draining}");
    for _ in 0..10 {
        now += ms(100);
        rate.update(now, &Seen { standing: ms(300), ..seen(Usage::Under) });
    }
    assert_eq!(rate.current(), draining);
    rate.update(now, &seen(Usage::Under));
    assert_eq!(rate.current(), kbps(425));
}

#[test]
fn what_is_not_used_goes_first() {
    let (mut rate, mut now) = (Rate::default(), epoch());
    rate.set(kbps(2_000));
    let over = Seen { standing: ms(20), ..seen(Usage::Over) };
    rate.update(now, &over);
    assert_eq!(rate.current(), kbps(1_700));
    now += ms(200);
    rate.update(now, &over);
    assert_eq!(rate.current(), kbps(1_445), "still");
    // It was not others' doing.
    now += ms(200);
    rate.update(now, &over);
    assert_eq!(rate.current(), kbps(425));
}

/// What is said of a quarter of a second, at 300 packets a second of which some are lost.
fn quarter(loss: &mut Loss, number: u64, lost_of_100: u64) -> Verdict {
    for packet in 0..78 {
        let seq = number * 78 + packet;
        let arrived = (packet * lost_of_100 % 100 >= lost_of_100).then_some(Duration::ZERO);
        let result = PacketResult { seq, sent: epoch(), bytes: 1_000, arrived };
        loss.take(&result, (seq * 3_330) as i64);
    }
    loss.update(false, true).unwrap()
}

#[test]
fn much_loss_is_believed_at_once_and_some_when_it_lasts() {
    let mut loss = Loss::default();
    assert_eq!(quarter(&mut loss, 0, 1), Verdict::Usual);
    assert!(matches!(quarter(&mut loss, 1, 60), Verdict::Lower(_)));
    let mut loss = Loss::default();
    assert_eq!(quarter(&mut loss, 0, 20), Verdict::Unsure);
    assert_eq!(quarter(&mut loss, 1, 0), Verdict::Usual);
    assert_eq!(quarter(&mut loss, 2, 20), Verdict::Unsure);
    let lowered = quarter(&mut loss, 3, 20);
    let Verdict::Lower(rate) = lowered else { panic!("{lowered:?}") };
    assert!(rate > kbps(1_800) && rate < kbps(2_050), "{rate} of 2.4 Mbit/s");
}

/// A probe of which each packet, number by number, came so late (microseconds), or did not.
fn probe(came: impl Fn(i64) -> Option<i64>) -> Option<Found> {
    let (mut probes, mut now) = (Probes::default(), epoch());
    let asked = probes.request(now, kbps(1_000), kbps(3_000)).unwrap();
    assert_eq!((asked.rate, asked.duration), (kbps(3_000), ms(30)));
    probes.begins(asked.id, 100);
    for number in 0..11 {
        let sent = number * 3 * MS;
        let arrived = came(number).map(|delay| arrival(sent, 9_000 * MS + sent + delay));
        let arrived = arrived.map(|a| Arrival { bytes: 1_125, ..a });
        let told =
            PacketResult { seq: 100 + number as u64, sent: now, bytes: 1_125, arrived: None };
        probes.take(&told, arrived.as_ref());
        now += ms(3);
    }
    probes.ends(now, asked.id, 111);
    probes.update(now, kbps(1_000), false)
}

#[test]
fn a_probe_finds_what_came_of_it() {
    let found = |rate, is_capacity| Some(Found { rate, is_capacity });
    assert_eq!(probe(|_| Some(0)), found(kbps(3_000), false));
    // Each packet takes twice as long as it was given.
    assert_eq!(probe(|number| Some(number * 3 * MS)), found(kbps(1_425), true));
    // Single packets are held up, in each third, which says nothing.
    assert_eq!(
        probe(|number| Some([0, 6, 2][number as usize % 3] * MS)),
        found(kbps(3_000), false)
    );
    // One of eleven may be lost, three may not.
    assert!(probe(|number| (number != 5).then_some(0)).is_some());
    assert_eq!(probe(|number| (number % 3 > 0).then_some(0)), None);
    // All came at once, or nearly: they were held up before.
    assert_eq!(probe(|number| Some(30 * MS - number * 3 * MS)), None);
    assert_eq!(probe(|number| Some(30 * MS - number * 2 * MS)), None);
    assert_eq!(probe(|_| None), None);
}
