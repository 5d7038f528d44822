//! Both ends of a path in one: what is sent, what of it comes, and what is told of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::*;
use crate::base::limits::{
    FEEDBACK_ARRIVALS_MAX, FEEDBACK_INTERVAL, SEND_HISTORY, TRANSPORT_WINDOW,
};
use crate::base::rng::Rng;
use crate::wire::rtcp::{self, Packet, TransportHead, transport_feedback};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// All that there is to say: of each feedback the base, the count and the arrivals.
fn said(arrivals: &mut Arrivals) -> Vec<(u16, u16, Vec<u16>)> {
    let (mut out, mut said, mut counted) = (Vec::new(), Vec::new(), None);
    while arrivals.feedback(&mut out, 9, 7) {
        assert!(out.len() < 1_100, "{} bytes", out.len());
        let Some(Packet::TransportFeedback(feedback)) = rtcp::read(&out).next() else { panic!() };
        assert_eq!((feedback.sender, feedback.media), (9, 7));
        let count = feedback.feedback_count;
        assert!(counted.replace(count).is_none_or(|before: u8| before.wrapping_add(1) == count));
        let came = feedback.arrivals().map(|(seq, _)| seq).collect();
        said.push((feedback.base, feedback.count, came));
        out.clear();
    }
    assert_eq!(arrivals.deadline(), None);
    said
}

#[test]
fn nothing_is_due_before_a_packet_came() {
    let mut arrivals = Arrivals::default();
    assert_eq!(arrivals.deadline(), None);
    assert!(said(&mut arrivals).is_empty());
}

#[test]
fn feedback_is_due_soon_after_the_first_or_when_many_came() {
    let start = Instant::now();
    let mut arrivals = Arrivals::default();
    for seq in 0..FEEDBACK_ARRIVALS_MAX as u16 {
        arrivals.received(seq, start + ms(seq.into()));
        let many = usize::from(seq) + 1 == FEEDBACK_ARRIVALS_MAX;
        let wait = if many { Duration::ZERO } else { FEEDBACK_INTERVAL };
        assert_eq!(arrivals.deadline(), Some(start + wait));
    }
    assert_eq!(said(&mut arrivals).len(), 1);
    arrivals.received(9, start + ms(1_000));
    assert_eq!(arrivals.deadline(), None, "it came before");
}

#[test]
fn feedback_goes_on_where_the_last_ended() {
    let start = Instant::now();
    let mut arrivals = Arrivals::default();
    for seq in [65_534, 65_535, 1] {
        arrivals.received(seq, start);
    }
    assert_eq!(said(&mut arrivals), [(65_534, 4, vec![65_534, 65_535, 1])]);
    arrivals.received(4, start + ms(5));
    assert_eq!(said(&mut arrivals), [(2, 3, vec![4])], "what is missing in between, too");
    arrivals.received(0, start + ms(6));
    arrivals.received(5, start + ms(7));
    assert_eq!(said(&mut arrivals), [(0, 6, vec![0, 1, 4, 5])], "late, with all that followed");
    arrivals.received(6, start + ms(8));
    assert_eq!(said(&mut arrivals), [(6, 1, vec![6])]);
}

#[test]
fn the_first_may_be_overtaken() {
    let start = Instant::now();
    let mut arrivals = Arrivals::default();
    for seq in [3, 0, 65_535] {
        arrivals.received(seq, start);
    }
    assert_eq!(said(&mut arrivals), [(65_535, 5, vec![65_535, 0, 3])]);
}

#[test]
fn what_is_older_than_the_window_is_not_reported() {
    let (start, window) = (Instant::now(), TRANSPORT_WINDOW as u16);
    let mut arrivals = Arrivals::default();
    arrivals.received(10_000, start);
    arrivals.received(10_000 + window, start);
    arrivals.received(10_000, start);
    arrivals.received(10_001, start);
    let all = said(&mut arrivals);
    assert_eq!(all, [(10_001, window, vec![10_001, 10_000 + window])]);
    // A leap leaves nothing of what was before.
    arrivals.received(41_000, start);
    assert_eq!(said(&mut arrivals), [(41_001 - window, window, vec![41_000])]);
}

#[test]
fn a_long_pause_and_many_packets_take_several() {
    let start = Instant::now();
    let mut arrivals = Arrivals::default();
    for seq in 0..1_000 {
        arrivals.received(seq, start + ms(seq.into()));
    }
    arrivals.received(1_000, start + ms(20_000));
    let counts: Vec<u16> = said(&mut arrivals).iter().map(|(_, count, _)| *count).collect();
    assert_eq!(counts, [350, 350, 300, 1]);
}

/// A subscriber's side, as a plain map tells it.
struct Model {
    history: SendHistory,
    sent: BTreeMap<u64, Instant>,
    told: BTreeMap<u64, bool>,
    heard: Heard,
}

impl Model {
    fn new() -> Model {
        let (sent, told) = (BTreeMap::new(), BTreeMap::new());
        Model { history: SendHistory::default(), sent, told, heard: Heard::default() }
    }

    fn sent(&mut self, now: Instant) -> u16 {
        let number = self.sent.len() as u64;
        self.sent.insert(number, now);
        let seq = self.history.sent(now, bytes(number));
        assert_eq!(seq, number as u16);
        seq
    }

    /// Hears a compound; the arrivals that it told of.
    fn hear(&mut self, compound: &[u8], now: Instant) -> Vec<(u64, Duration)> {
        let mut arrived = Vec::new();
        for packet in rtcp::read(compound) {
            let Packet::TransportFeedback(feedback) = packet else { panic!("{packet:?}") };
            let heard = self.history.feedback(&feedback, now, |result| {
                assert_eq!(self.told.insert(result.seq, result.arrived.is_some()), None, "once");
                assert_eq!(result.bytes, bytes(result.seq));
                let sent = self.sent[&result.seq];
                let off = sent.max(result.sent) - sent.min(result.sent);
                assert!(off < Duration::from_micros(2), "{off:?}");
                arrived.extend(result.arrived.map(|at| (result.seq, at)));
            });
            self.heard.arrived += heard.arrived;
            self.heard.lost += heard.lost;
            self.heard.late += heard.late;
            self.heard.repeated += heard.repeated;
            self.heard.unknown += heard.unknown;
        }
        let told = self.told.values().filter(|arrived| **arrived).count() as u64;
        assert_eq!((told, self.told.len() as u64 - told), (self.heard.arrived, self.heard.lost));
        arrived
    }

    /// A feedback made by hand.
    fn hear_of(&mut self, base: u16, arrivals: &[Option<u32>], now: Instant) {
        let mut out = Vec::new();
        let head = TransportHead { base, ..TransportHead::default() };
        transport_feedback(&mut out, head, arrivals.iter().copied());
        self.hear(&out, now);
    }
}

fn bytes(number: u64) -> usize {
    100 + number as usize % 1_000
}

#[test]
fn each_packet_is_told_of_once_as_what_became_of_it() {
    let start = Instant::now();
    for seed in 0..8 {
        let mut rng = Rng::from_seed([seed; 32]);
        let (mut model, mut arrivals) = (Model::new(), Arrivals::default());
        let loss = [0, 1, 10, 60][usize::from(seed % 4)];
        // What is under way: when it comes, and its number.
        let mut way: BTreeSet<(Instant, u64)> = BTreeSet::new();
        let mut back: BTreeSet<(Instant, Vec<u8>)> = BTreeSet::new();
        let (mut came, mut times) = (BTreeMap::new(), Vec::new());
        for turn in 0..12_000u64 {
            let now = start + ms(2 * turn);
            for _ in 0..rng.next_u64() % 4 {
                let number = model.sent.len() as u64;
                model.sent(now);
                if rng.next_u64() % 100 >= loss {
                    way.insert((now + ms(20 + rng.next_u64() % 4), number));
                }
            }
            while way.first().is_some_and(|(at, _)| *at <= now) {
                let (at, number) = way.pop_first().unwrap();
                arrivals.received(number as u16, at);
                came.insert(number, at);
            }
            if arrivals.deadline().is_some_and(|at| at <= now) {
                let mut out = Vec::new();
                while arrivals.feedback(&mut out, 9, 7) {}
                // Some of it is lost, some is overtaken, some comes twice.
                for _ in 0..[0, 1, 1, 1, 1, 1, 1, 1, 1, 2][rng.next_u64() as usize % 10] {
                    back.insert((now + ms(20 + rng.next_u64() % 150), out.clone()));
                }
            }
            while back.first().is_some_and(|(at, _)| *at <= now) {
                let (_, compound) = back.pop_first().unwrap();
                times.extend(model.hear(&compound, now));
            }
        }
        let heard = model.heard;
        assert_eq!(heard.unknown, 0);
        for (number, arrived) in &model.told {
            assert!(!arrived || came.contains_key(number), "{number} did not come");
        }
        let late = model.told.iter().filter(|(n, arrived)| !**arrived && came.contains_key(n));
        assert!(late.count() as u64 >= heard.late && heard.late * 50 < heard.arrived, "{heard:?}");
        assert!(heard.arrived > 5_000 && (heard.lost > 100) == (loss > 0), "{heard:?}");
        // The receiver's clock goes as it does, to a tick.
        let first = times[0];
        for (number, at) in times {
            let (told, is) = (at + (came[&first.0] - start), first.1 + (came[&number] - start));
            assert!(told.abs_diff(is) <= Duration::from_micros(500), "{told:?} is {is:?}");
        }
    }
}

#[test]
fn lies_are_counted_and_told_to_nobody() {
    let start = Instant::now();
    let mut model = Model::new();
    model.hear_of(0, &[Some(1), None, Some(2)], start);
    assert_eq!(model.heard, Heard { unknown: 2, ..Heard::default() }, "before anything was sent");
    for _ in 0..10 {
        model.sent(start);
    }
    model.heard = Heard::default();
    model.hear_of(8, &[None, Some(2), Some(3), Some(4)], start);
    assert_eq!(model.heard, Heard { arrived: 1, lost: 1, unknown: 2, ..Heard::default() });
    model.hear_of(8, &[Some(1), Some(2)], start);
    assert_eq!(model.heard, Heard { arrived: 1, lost: 1, late: 1, repeated: 1, unknown: 2 });
    model.hear_of(8, &[Some(1), Some(2)], start);
    assert_eq!(model.heard, Heard { arrived: 1, lost: 1, late: 1, repeated: 3, unknown: 2 });
    // Of all numbers there are, those that were sent and are open.
    let mut all = vec![None; 65_534];
    all.push(Some(1));
    model.hear_of(20, &all, start);
    assert_eq!(model.heard.lost, 9);
    assert_eq!(model.history.forgotten(), 0);
}

#[test]
fn what_is_forgotten_is_told_by_nobody() {
    let start = Instant::now();
    let mut model = Model::new();
    for _ in 0..70_000 {
        model.sent(start);
    }
    assert_eq!(model.history.forgotten(), 70_000 - SEND_HISTORY as u64);
    let oldest = 70_000 - SEND_HISTORY as u64;
    let mut one = |number: u64| {
        model.hear_of(number as u16, &[Some(1)], start);
        model.heard
    };
    assert_eq!(one(oldest - 1), Heard { unknown: 1, ..Heard::default() });
    assert_eq!(one(oldest), Heard { unknown: 1, arrived: 1, ..Heard::default() });
    assert_eq!(one(69_999).arrived, 2);
    assert_eq!(one(70_000).unknown, 2);
    // From before what is remembered into it.
    model.hear_of((oldest - 3) as u16, &[Some(1), None, None, Some(1), None, Some(1)], start);
    assert_eq!(model.heard, Heard { arrived: 3, lost: 1, late: 0, repeated: 1, unknown: 3 });
    // From the last into what was not sent yet.
    let beyond = [&[Some(1)][..], &[None; 400], &[Some(1)]].concat();
    model.hear_of(69_999u64 as u16, &beyond, start);
    assert_eq!((model.heard.lost, model.heard.unknown), (1, 4));
    for _ in 0..SEND_HISTORY {
        model.sent(start);
    }
    // All that was not told of: of so many, but three and one.
    assert_eq!(model.history.forgotten(), 70_000 - 4);
}

#[test]
fn the_receivers_clock_wraps() {
    let start = Instant::now();
    let mut model = Model::new();
    for _ in 0..4 {
        model.sent(start);
    }
    let mut out = Vec::new();
    for (seq, tick) in [(0, u32::MAX - 3), (1, 4), (2, u32::MAX), (3, 9)] {
        let head = TransportHead { base: seq, ..TransportHead::default() };
        transport_feedback(&mut out, head, [Some(tick)].into_iter());
    }
    let times: Vec<Duration> = model.hear(&out, start).iter().map(|(_, at)| *at).collect();
    let since_first: Vec<u128> = times.iter().map(|t| (*t - times[0]).as_micros() / 250).collect();
    assert_eq!(since_first, [0, 8, 3, 13]);
}

#[test]
fn a_pause_of_hours_does_not_confuse_times() {
    let start = Instant::now();
    let mut model = Model::new();
    for hour in 0..30 {
        let now = start + Duration::from_secs(3_600 * hour);
        let seq = model.sent(now);
        model.hear_of(seq, &[Some(hour as u32)], now + ms(100));
    }
    let wraps = start + Duration::from_micros(30 << 32) - ms(50);
    let seq = model.sent(wraps);
    model.hear_of(seq, &[Some(40)], wraps + ms(100));
    assert_eq!(model.heard.arrived, 31);
}
