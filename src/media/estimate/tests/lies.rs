//! Clients that say what cannot be, and those that say little.

use std::time::{Duration, Instant};

use super::flow::epoch;
use crate::base::bitrate::Bitrate;
use crate::base::limits::{ESTIMATE_MAX, ESTIMATE_MIN, ESTIMATE_START};
use crate::base::rng::Rng;
use crate::media::estimate::{Estimator, Source};
use crate::media::transport_cc::{PacketResult, Signal};

const GOAL: Bitrate = Bitrate::from_kbps(3_000);

/// A sender of 1 Mbit/s and each tenth of a second what the client makes of it.
struct Sender {
    estimator: Estimator,
    now: Instant,
    seq: u64,
    open: Vec<(u64, Instant)>,
}

impl Sender {
    fn new() -> Sender {
        Sender { estimator: Estimator::default(), now: epoch(), seq: 0, open: Vec::new() }
    }

    fn say(&mut self, mut arrived: impl FnMut(u64, Instant) -> Option<Duration>) {
        for _ in 0..20 {
            self.now += Duration::from_millis(5);
            self.estimator.sent(self.now, 625);
            self.open.push((self.seq, self.now));
            self.seq += 1;
            if let Some(probe) = self.estimator.wants_probe(self.now, GOAL) {
                self.estimator.probe_begins(probe.id, self.seq - 1);
                self.estimator.probe_ends(self.now, probe.id, self.seq + 5);
            }
        }
        for (seq, sent) in self.open.drain(..) {
            let arrived = arrived(seq, sent);
            self.estimator.take(Signal::Packet(PacketResult { seq, sent, bytes: 625, arrived }));
        }
        self.estimator.update(self.now);
        let estimate = self.estimator.estimate();
        assert!((ESTIMATE_MIN..=ESTIMATE_MAX).contains(&estimate), "{estimate}");
    }

    fn honest(&mut self, seconds: u64) {
        for _ in 0..seconds * 10 {
            self.say(|_, sent| Some(sent - epoch() + Duration::from_secs(99)));
        }
    }

    fn blocks(&mut self, fraction_lost: u8) {
        for _ in 0..20 {
            self.now += Duration::from_millis(50);
            self.estimator.sent(self.now, 20_000);
        }
        self.estimator.take(Signal::Report { fraction_lost, round_trip: None });
        self.estimator.update(self.now);
    }

    fn estimates(&mut self, bits_per_second: u64) -> Bitrate {
        self.estimator.take(Signal::Estimate { bits_per_second });
        self.estimator.update(self.now);
        self.estimator.estimate()
    }
}

#[test]
fn whatever_is_said_of_arrivals_the_estimate_recovers() {
    let (far, ms) = (Duration::MAX, Duration::from_millis(1));
    type Lie = fn(u64, &mut Rng) -> Option<Duration>;
    let lies: [Lie; 9] = [
        |_, _| Some(Duration::from_secs(7)),
        |_, _| Some(Duration::ZERO),
        |_, _| Some(Duration::MAX),
        |_, _| None,
        |seq, _| Some(Duration::from_secs(1 << 30) - Duration::from_millis(seq)),
        |_, rng| Some(Duration::from_nanos(rng.next_u64())),
        |_, rng| Some(Duration::from_micros(rng.next_u64())),
        |_, rng| Some(Duration::from_millis(rng.next_u64() % 1_000)),
        |seq, rng| (rng.next_u64() % 2 > 0).then(|| Duration::from_millis(seq * (seq % 3))),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut rng = Rng::from_seed([number as u8; 32]);
        let mut sender = Sender::new();
        sender.honest(2);
        for _ in 0..100 {
            sender.say(|seq, _| lie(seq, &mut rng));
        }
        sender.honest(30);
        let estimate = sender.estimator.estimate();
        assert!(estimate >= Bitrate::from_kbps(900), "after lie {number}: {estimate}");
        assert!(sender.estimator.queue() < Duration::from_millis(100));
        sender.say(|_, _| Some(far));
        sender.say(|_, sent| Some(sent - epoch() + ms));
    }
}

#[test]
fn a_clock_that_steps_back_is_no_queue() {
    let mut sender = Sender::new();
    sender.honest(5);
    let before = sender.estimator.estimate();
    sender.say(|_, sent| Some(sent - epoch() + Duration::from_secs(42)));
    for _ in 0..50 {
        sender.say(|_, sent| Some(sent - epoch() + Duration::from_secs(42)));
        assert!(sender.estimator.estimate() >= before.scale(0.85));
    }
    // Less than what is no queue for certain.
    sender.say(|_, sent| Some(sent - epoch() + Duration::from_secs(39)));
    for _ in 0..50 {
        sender.say(|_, sent| Some(sent - epoch() + Duration::from_secs(39)));
        assert!(sender.estimator.estimate() >= before.scale(0.85));
        assert!(sender.estimator.queue() < Duration::from_millis(50));
    }
}

#[test]
fn more_than_was_sent_does_not_arrive() {
    // All at one time, again and again: as fast as can be told, but no more than was sent.
    let mut sender = Sender::new();
    for turn in 0..600 {
        sender.say(|_, _| Some(Duration::from_secs(60) + turn * Duration::from_millis(100)));
    }
    let estimate = sender.estimator.estimate();
    assert!(estimate < Bitrate::from_kbps(2_500), "{estimate} of 1 Mbit/s that was sent");
}

#[test]
fn the_clients_own_estimate_is_taken_within_bounds() {
    let mut sender = Sender::new();
    assert_eq!(sender.estimates(u64::MAX), ESTIMATE_MAX);
    assert_eq!(sender.estimates(0), ESTIMATE_MIN);
    assert_eq!(sender.estimates(1_500_000), Bitrate::from_kbps(1_500));
    assert_eq!(sender.estimator.source(), Source::Remb);
    assert_eq!(sender.estimator.wants_probe(sender.now, GOAL), None);
    // Where a tenth is lost, less is sent than the client asks for, and less still.
    for _ in 0..5 {
        sender.blocks(52);
    }
    let lossy = sender.estimator.estimate();
    assert!(lossy < Bitrate::from_kbps(950), "{lossy}");
    // It rises to that again, whether so much is sent or not.
    for _ in 0..20 {
        sender.now += Duration::from_secs(1);
        sender.estimator.take(Signal::Report { fraction_lost: 2, round_trip: None });
        sender.estimator.update(sender.now);
    }
    assert_eq!(sender.estimator.estimate(), Bitrate::from_kbps(1_500));
}

#[test]
fn who_says_nothing_of_its_link_gets_the_start_and_what_passes() {
    let mut sender = Sender::new();
    for _ in 0..10 {
        sender.blocks(0);
    }
    assert_eq!(sender.estimator.source(), Source::Reports);
    let grown = sender.estimator.estimate();
    assert!(grown > ESTIMATE_START && grown < ESTIMATE_START.scale(1.8), "{grown}");
    for _ in 0..100 {
        sender.blocks(0);
    }
    assert_eq!(sender.estimator.estimate(), Bitrate::from_kbps(2_500));
    let mut idle = Sender::new();
    for _ in 0..30 {
        idle.now += Duration::from_secs(1);
        idle.estimator.sent(idle.now, 100);
        idle.estimator.take(Signal::Report { fraction_lost: 0, round_trip: None });
        idle.estimator.update(idle.now);
    }
    let unused = idle.estimator.estimate();
    assert!(unused < ESTIMATE_START.scale(1.2), "{unused} was never tried");
    for _ in 0..60 {
        sender.blocks(255);
    }
    assert_eq!(sender.estimator.estimate(), ESTIMATE_MIN);
}

#[test]
fn feedback_is_worth_more_than_estimates_and_blocks() {
    let mut sender = Sender::new();
    sender.estimates(50_000_000);
    sender.honest(1);
    let before = sender.estimator.estimate();
    assert_eq!(sender.estimator.source(), Source::Transport);
    // Blocks also count what was lost on the way to the server.
    sender.estimates(40_000);
    sender.blocks(128);
    assert!(sender.estimator.estimate() >= before.scale(0.5));
    assert_eq!(sender.estimator.source(), Source::Transport);
}

#[test]
fn what_lost_feedback_spoke_of_counts_as_arrived() {
    let mut sender = Sender::new();
    sender.honest(3);
    let before = sender.estimator.acked();
    for _ in 0..30 {
        sender.now += Duration::from_millis(5);
        sender.estimator.sent(sender.now, 625);
        sender.seq += 1;
    }
    sender.say(|_, sent| Some(sent - epoch() + Duration::from_secs(99)));
    let acked = sender.estimator.acked();
    assert!(acked >= before.scale(0.95), "{acked} after {before}");
}

#[test]
fn without_feedback_there_is_one_probe() {
    let mut sender = Sender::new();
    let first = sender.estimator.wants_probe(sender.now, GOAL);
    assert!(first.is_some_and(|probe| probe.rate == ESTIMATE_START.scale(3.0)), "{first:?}");
    for _ in 0..100 {
        sender.now += Duration::from_millis(100);
        sender.estimator.sent(sender.now, 900);
        assert_eq!(sender.estimator.wants_probe(sender.now, GOAL), None);
        assert_eq!(sender.estimator.deadline(), None);
        sender.estimator.update(sender.now);
    }
    assert_eq!(sender.estimator.estimate(), ESTIMATE_START);
}

#[test]
fn silence_is_noticed_in_time_and_not_when_nothing_is_sent() {
    let mut sender = Sender::new();
    sender.honest(3);
    assert_eq!(sender.estimator.deadline(), None, "all was told of");
    let before = sender.estimator.estimate();
    sender.estimator.sent(sender.now, 600);
    let due = sender.estimator.deadline().unwrap();
    assert!(due - sender.now < Duration::from_millis(1_500));
    sender.estimator.update(due - Duration::from_millis(1));
    assert_eq!(sender.estimator.estimate(), before);
    sender.estimator.update(due);
    assert_eq!(sender.estimator.estimate(), before.scale(0.5));
    let next = sender.estimator.deadline().unwrap();
    assert!(next > due);
    // Never to nothing, so that it is heard of again.
    let mut due = next;
    for _ in 0..30 {
        sender.estimator.update(due);
        due = sender.estimator.deadline().unwrap();
    }
    assert_eq!(sender.estimator.estimate(), Bitrate::from_kbps(100));
}

#[test]
fn a_probe_that_is_never_sent_is_given_up() {
    let mut sender = Sender::new();
    let mut asked = 0;
    for seq in 0..600 {
        sender.now += Duration::from_millis(100);
        sender.estimator.sent(sender.now, 600);
        asked += u32::from(sender.estimator.wants_probe(sender.now, GOAL).is_some());
        let arrived = Some(sender.now - epoch());
        let sent = sender.now;
        sender.estimator.take(Signal::Packet(PacketResult { seq, sent, bytes: 600, arrived }));
        sender.estimator.update(sender.now);
    }
    assert!((5..40).contains(&asked), "{asked} in a minute");
}
