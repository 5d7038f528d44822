use std::collections::BTreeSet;

use super::*;

/// RFC 3711 §3.3.1 word for word, with a set of all that was ever accepted.
#[derive(Default)]
struct Model {
    highest: i64,
    accepted: BTreeSet<i64>,
}

impl Model {
    fn guess(&self, seq: u16) -> Option<u64> {
        let roc = self.highest >> 16;
        let candidates = [roc, roc - 1, roc + 1].map(|roc| (roc << 16) + i64::from(seq));
        let possible = candidates.into_iter().filter(|v| *v >= 0);
        let nearest = possible.min_by_key(|v| (v - self.highest).abs()).unwrap();
        let known = self.accepted.contains(&nearest);
        let too_old = nearest <= self.highest - 960;
        let guess = (!known && !too_old && nearest < 1 << 48).then_some(nearest);
        guess.map(|v| v as u64)
    }

    fn accept(&mut self, index: u64) {
        self.accepted.insert(index as i64);
        self.highest = self.highest.max(index as i64);
    }
}

fn accept(index: &mut ReceiveIndex, seq: u16) -> Option<u64> {
    let guess = index.guess(seq);
    guess.into_iter().for_each(|guess| index.accept(guess));
    guess
}

#[test]
fn it_is_what_a_slow_model_says() {
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let (mut index, mut model) = (ReceiveIndex::default(), Model::default());
        // Some begin at the wrap of the sequence number, some at that of all indices.
        let mut sent = match rng.u8(..4) {
            0 => 65_530,
            1 => rng.u64(..65_536),
            2 => INDEX_MAX - 3_000,
            _ => rng.u64(..1_000_000),
        };
        if sent > 65_535 {
            index.accept(sent);
            model.accept(sent);
        }
        for _ in 0..3_000 {
            sent += match rng.u8(..100) {
                0 => rng.u64(..70_000),
                1..5 => rng.u64(..1_500),
                _ => 1,
            };
            // In order, a little late, as far back as the window goes, or anything.
            let seq = match rng.u8(..20) {
                0..14 => sent,
                14..17 => sent.wrapping_sub(rng.u64(..20)),
                17 => sent.wrapping_sub(rng.u64(950..1_030)),
                18 => sent.wrapping_sub(rng.u64(..1_000)),
                _ => rng.u64(..65_536),
            } as u16;
            let guess = index.guess(seq);
            assert_eq!(guess, model.guess(seq), "{seq} after {}", model.highest);
            // Some turn out to be forged.
            if let Some(guess) = guess.filter(|_| rng.u8(..10) > 0) {
                index.accept(guess);
                model.accept(guess);
            }
        }
    }
}

#[test]
fn a_stream_is_followed_from_anywhere_over_many_rounds() {
    for first in [0, 1, 1 << 15, 40_000, 65_534, 65_535] {
        let mut index = ReceiveIndex::default();
        for sent in first..first + 300_000 {
            assert_eq!(accept(&mut index, sent as u16), Some(sent), "from {first}");
        }
    }
}

#[test]
fn a_late_packet_belongs_to_the_round_before() {
    let mut index = ReceiveIndex::default();
    for sent in [65_533, 65_535, 65_537] {
        assert_eq!(accept(&mut index, sent as u16), Some(sent));
    }
    assert_eq!(accept(&mut index, 65_534), Some(65_534));
    assert_eq!(accept(&mut index, 0), Some(65_536));
    for seq in [65_533, 65_534, 65_535, 0, 1] {
        assert_eq!(index.guess(seq), None, "{seq} came before");
    }
    assert_eq!(index.guess(65_532), Some(65_532));
}

/// Between two equally near indices RFC 3711's appendix A takes that of the same round.
#[test]
fn half_a_round_away_is_in_the_same_round() {
    for (highest, seq) in [(0x2_0005, 0x8005), (0x2_8005, 0x0005), (0x2_ffff, 0x7fff)] {
        let mut index = ReceiveIndex::default();
        index.accept(highest);
        let guess = 0x2_0000 + u64::from(seq);
        assert_eq!(index.guess(seq), (guess > highest).then_some(guess), "{highest:x}");
        assert_eq!(super::nearest(highest, seq), guess, "{highest:x}");
    }
}

#[test]
fn there_is_no_round_before_the_first() {
    let mut index = ReceiveIndex::default();
    assert_eq!(accept(&mut index, 5), Some(5));
    assert_eq!(accept(&mut index, 3), Some(3), "the first packets swapped");
    assert_eq!(index.guess(65_000), Some(65_000), "a jump, as nothing was before");
}

#[test]
fn what_is_not_accepted_changes_nothing() {
    let mut index = ReceiveIndex::default();
    assert_eq!(accept(&mut index, 100), Some(100));
    for forged in [60_000, 32_868, 101, 99] {
        let guess = index.guess(forged);
        assert_eq!(index.guess(forged), guess);
    }
    assert_eq!(accept(&mut index, 101), Some(101));
}

#[test]
fn an_index_is_accepted_once_and_within_960() {
    let mut index = ReceiveIndex::default();
    accept(&mut index, 0);
    assert_eq!(index.guess(0), None, "the first of all");
    accept(&mut index, 5_000);
    assert_eq!(index.guess(5_000), None);
    assert_eq!(accept(&mut index, 4_041), Some(4_041), "the last that is remembered");
    assert_eq!(index.guess(4_041), None);
    assert_eq!(index.guess(4_040), None, "too old to tell");
    // A round later every bit of the ring is another packet's.
    assert_eq!(accept(&mut index, 30_000), Some(30_000));
    assert_eq!(accept(&mut index, 50_000), Some(50_000));
    assert_eq!(accept(&mut index, 5_000), Some(65_536 + 5_000));
}

#[test]
fn a_key_ends_with_its_indices() {
    let mut index = ReceiveIndex::default();
    index.accept(INDEX_MAX - 1);
    assert_eq!(index.guess(0), None);
    assert_eq!(accept(&mut index, 65_535), Some(INDEX_MAX));
    assert_eq!(index.guess(0), None);
}

#[test]
fn the_smallest_window_remembers_64() {
    let mut window = Window::<2>::default();
    for highest in [0, 100, 127, 128, 191, 1_000] {
        window.add(highest);
        let first = u64::saturating_sub(highest, 63);
        assert!(window.has(highest));
        assert!(first == 0 || window.has(first - 1), "too old");
        assert!((highest + 1..highest + 200).all(|index| !window.has(index)));
    }
    assert!((937..1_000).all(|index| !window.has(index)));
    (937..1_000).for_each(|index| window.add(index));
    assert!((0..=1_000).all(|index| window.has(index)));
}
