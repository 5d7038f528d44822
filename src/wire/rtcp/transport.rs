//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): which of a
//! run of packets came, and when, on a clock of 250 µs ticks that wraps after twelve days.
//!
//! A feedback of 36 bytes may speak of 65,535 packets. Those that did not come are therefore never
//! named one by one: reading gives the arrivals, of which each has at least a byte of its own, and
//! passes over a run of lost packets in one step.

use super::write::packet;
use super::{FORMAT_TRANSPORT_WIDE, TRANSPORT_FEEDBACK};

/// What two bits say of a packet (§3.1.1).
const LOST: u8 = 0;
/// Came, with a delta of one byte without a sign.
const SMALL: u8 = 1;
/// Came, with a delta of two bytes with a sign.
const LARGE: u8 = 2;

const RUN_MAX: usize = 0x1fff;
const VECTOR_OF_BITS: u16 = 0x8000;
const VECTOR_OF_PAIRS: u16 = 0xc000;

/// Which packets came, and when. Well formed: its symbols and times are all there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportFeedback<'a> {
    pub sender: u32,
    pub media: u32,
    /// The first packet that it speaks of.
    pub base: u16,
    /// Of how many it speaks: what did not arrive of them is lost so far. At least one.
    pub count: u16,
    /// Counts the feedbacks of this sender, so that a lost one is known.
    pub feedback_count: u8,
    /// The tick from which the first arrival counts.
    reference: u32,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

/// What a feedback begins with, to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TransportHead {
    pub sender: u32,
    pub media: u32,
    pub base: u16,
    pub feedback_count: u8,
}

/// Arrived packets of one feedback: number and tick, in the order of their numbers.
#[derive(Debug, Clone)]
pub struct Arrivals<'a> {
    chunks: std::slice::Iter<'a, [u8; 2]>,
    chunk: Chunk,
    /// The next symbol of the chunk.
    index: u16,
    /// The packet of that symbol, and how many are left with it.
    seq: u16,
    left: u16,
    tick: u32,
    deltas: &'a [u8],
}

/// A run of one symbol, fourteen of one bit, or seven of two (§3.1.2 to §3.1.4).
#[derive(Debug, Clone, Copy)]
struct Chunk(u16);

impl<'a> TransportFeedback<'a> {
    /// What stands behind the two SSRCs.
    pub(super) fn read(sender: u32, media: u32, body: &'a [u8]) -> Option<TransportFeedback<'a>> {
        let (head, rest) = body.split_first_chunk()?;
        let [b0, b1, c0, c1, r0, r1, r2, feedback_count] = *head;
        let count = u16::from_be_bytes([c0, c1]);
        let (mut left, mut chunks, mut deltas) = (count, 0, 0);
        for chunk in rest.as_chunks().0 {
            if left == 0 {
                break;
            }
            let chunk = Chunk(u16::from_be_bytes(*chunk));
            let symbols = chunk.length().min(left);
            deltas += chunk.delta_bytes(symbols)?;
            left -= symbols;
            chunks += 1;
        }
        let (chunks, rest) = rest.split_at_checked(2 * chunks)?;
        (count > 0 && left == 0).then_some(TransportFeedback {
            sender,
            media,
            base: u16::from_be_bytes([b0, b1]),
            count,
            feedback_count,
            // In steps of 64 ms.
            reference: u32::from_be_bytes([r0, r1, r2, 0]),
            chunks: chunks.as_chunks().0,
            deltas: rest.get(..deltas)?,
        })
    }

    /// The packets that came, in the order of their numbers, with the tick of their arrival.
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals {
            chunks: self.chunks.iter(),
            chunk: Chunk(0),
            index: 0,
            seq: self.base,
            left: self.count,
            tick: self.reference,
            deltas: self.deltas,
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = (u16, u32);

    fn next(&mut self) -> Option<(u16, u32)> {
        while self.left > 0 {
            let symbols = self.chunk.length();
            if self.index >= symbols {
                self.chunk = Chunk(u16::from_be_bytes(*self.chunks.next()?));
                self.index = 0;
                continue;
            }
            let symbol = self.chunk.symbol(self.index);
            let run = if symbol == LOST { self.chunk.lost_from(self.index) } else { 1 };
            let (seq, passed) = (self.seq, run.min(self.left));
            self.index += passed;
            self.left -= passed;
            self.seq = seq.wrapping_add(passed);
            if symbol != LOST {
                return Some((seq, self.arrive(symbol)?));
            }
        }
        None
    }
}

impl Arrivals<'_> {
    fn arrive(&mut self, symbol: u8) -> Option<u32> {
        let delta = if symbol == SMALL {
            let (delta, rest) = self.deltas.split_first()?;
            self.deltas = rest;
            i32::from(*delta)
        } else {
            let (delta, rest) = self.deltas.split_first_chunk()?;
            self.deltas = rest;
            i32::from(i16::from_be_bytes(*delta))
        };
        self.tick = self.tick.wrapping_add_signed(delta);
        Some(self.tick)
    }
}

impl Chunk {
    fn is_run(self) -> bool {
        self.0 & VECTOR_OF_BITS == 0
    }

    fn length(self) -> u16 {
        match self.0 & VECTOR_OF_PAIRS {
            VECTOR_OF_PAIRS => 7,
            VECTOR_OF_BITS => 14,
            _ => self.0 & RUN_MAX as u16,
        }
    }

    /// The symbol at `index`, which is below the length.
    fn symbol(self, index: u16) -> u8 {
        let symbol = match self.0 & VECTOR_OF_PAIRS {
            VECTOR_OF_PAIRS => self.0 >> (12 - 2 * index) & 3,
            VECTOR_OF_BITS => self.0 >> (13 - index) & 1,
            _ => self.0 >> 13 & 3,
        };
        symbol as u8
    }

    /// How many from `index` on are lost at least, if that one is.
    fn lost_from(self, index: u16) -> u16 {
        if self.is_run() { self.length() - index } else { 1 }
    }

    /// Bytes of the times of its first symbols; `None` for one that stands for nothing.
    fn delta_bytes(self, symbols: u16) -> Option<usize> {
        let bytes = |symbol| if symbol <= LARGE { Some(usize::from(symbol)) } else { None };
        if self.is_run() {
            return Some(bytes(self.symbol(0))? * usize::from(symbols));
        }
        (0..symbols).map(|index| bytes(self.symbol(index))).sum()
    }
}

/// Writes one feedback, given of each packet from the base on the tick at which it arrived, if it
/// did. Gives of how many it speaks: it ends before an arrival that is eight seconds or more from
/// the one before it, which needs a feedback of its own, and is not written if nothing arrived.
pub fn transport_feedback(
    out: &mut Vec<u8>,
    head: TransportHead,
    arrivals: impl Iterator<Item = Option<u32>> + Clone,
) -> u16 {
    let Some(first) = arrivals.clone().flatten().next() else { return 0 };
    let [r0, r1, r2, _] = first.to_be_bytes();
    let reference = u32::from_be_bytes([r0, r1, r2, 0]);
    let deltas = arrivals.take(u16::MAX.into()).scan(reference, |before, arrival| {
        let Some(tick) = arrival else { return Some(None) };
        let delta = i16::try_from(tick.wrapping_sub(*before).cast_signed()).ok()?;
        *before = tick;
        Some(Some(delta))
    });
    let count = deltas.clone().count() as u16;
    packet(out, TRANSPORT_FEEDBACK, |out| {
        out.extend(head.sender.to_be_bytes());
        out.extend(head.media.to_be_bytes());
        out.extend(head.base.to_be_bytes());
        out.extend(count.to_be_bytes());
        out.extend([r0, r1, r2, head.feedback_count]);
        write_chunks(out, deltas.clone().map(symbol));
        for delta in deltas.flatten() {
            match u8::try_from(delta) {
                Ok(small) => out.push(small),
                Err(_) => out.extend(delta.to_be_bytes()),
            }
        }
        FORMAT_TRANSPORT_WIDE
    });
    count
}

fn symbol(delta: Option<i16>) -> u8 {
    match delta {
        None => LOST,
        Some(0..=255) => SMALL,
        Some(_) => LARGE,
    }
}

/// At each place a run if it is as long as a vector would be, else a vector, of bits if they can
/// say it.
fn write_chunks(out: &mut Vec<u8>, mut symbols: impl Iterator<Item = u8> + Clone) {
    while let Some(first) = symbols.clone().next() {
        let run = symbols.clone().take(RUN_MAX).take_while(|s| *s == first).count();
        let (bits, pairs) = (symbols.clone().take(14), symbols.clone().take(7));
        let (in_bits, in_pairs) = (bits.clone().count(), pairs.clone().count());
        let has_large = bits.clone().any(|s| s == LARGE);
        let (chunk, taken) = if run >= in_bits || has_large && run >= in_pairs {
            (u16::from(first) << 13 | run as u16, run)
        } else if has_large {
            let list = pairs.fold(0, |list, s| list << 2 | u16::from(s)) << (2 * (7 - in_pairs));
            (VECTOR_OF_PAIRS | list, in_pairs)
        } else {
            let list = bits.fold(0, |list, s| list << 1 | u16::from(s)) << (14 - in_bits);
            (VECTOR_OF_BITS | list, in_bits)
        };
        out.extend(chunk.to_be_bytes());
        symbols.by_ref().take(taken).for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Packet, packets, read};
    use super::*;
    use crate::base::rng::Rng;

    const HEAD: TransportHead =
        TransportHead { sender: 9, media: 7, base: 65_534, feedback_count: 200 };

    /// What stands behind the two SSRCs: the base 65,534, so many packets, a time, and the rest.
    fn feedback(count: u16, rest: &[u8]) -> Vec<u8> {
        let [c0, c1] = count.to_be_bytes();
        let mut body = vec![0, 0, 0, 9, 0, 0, 0, 7, 0xff, 0xfe, c0, c1, 0, 0, 2, 200];
        body.extend_from_slice(rest);
        body.resize(body.len().next_multiple_of(4), 0);
        [&[0x8f, 205, 0, body.len() as u8 / 4], &body[..]].concat()
    }

    fn arrivals(packet: &[u8]) -> Option<Vec<(u16, u32)>> {
        match read(packet).next()? {
            Packet::TransportFeedback(feedback) => Some(feedback.arrivals().collect()),
            _ => None,
        }
    }

    fn of(count: u16, rest: &[u8]) -> Option<Vec<(u16, u32)>> {
        arrivals(&feedback(count, rest))
    }

    #[test]
    fn the_chunks_of_the_draft() {
        // Runs: two lost, three with small deltas. Time 2 is tick 512.
        assert_eq!(of(5, &[0x00, 2, 0x20, 3, 1, 2, 255]), Some(vec![(0, 513), (1, 515), (2, 770)]));
        // Fourteen of one bit: lost, came, then twelve of which the last came.
        assert_eq!(of(14, &[0x90, 0x01, 4, 5]), Some(vec![(65_535, 516), (11, 521)]));
        // Seven of two: lost, small, large, and four lost. A large one may go back.
        assert_eq!(of(7, &[0b1100_0110, 0, 10, 0xff, 0xfe]), Some(vec![(65_535, 522), (0, 520)]));
    }

    #[test]
    fn what_cannot_be_is_none() {
        assert_eq!(of(0, &[0x20, 1, 5]), None, "of no packets");
        assert_eq!(of(8, &[0x20, 5, 1, 2, 3, 4, 5, 0]), None, "fewer symbols than packets");
        assert_eq!(of(9, &[0x20, 9, 1, 2, 3, 4]), None, "fewer times than arrivals");
        assert_eq!(of(2, &[0x40, 2, 1, 2]), None, "half a large one");
        assert_eq!(of(2, &[0x60, 2, 1, 2, 3, 4]), None, "a symbol that stands for nothing");
        assert_eq!(of(7, &[0xf0, 0, 1, 2, 3, 4]), None);
        assert_eq!(of(1, &[]), None);
        let whole = feedback(5, &[0x00, 2, 0x20, 3, 1, 2, 255]);
        let Some(Packet::TransportFeedback(read)) = read(&whole).next() else { panic!() };
        assert_eq!((read.sender, read.media, read.base), (9, 7, 65_534));
        assert_eq!((read.count, read.feedback_count), (5, 200));
    }

    #[test]
    fn what_is_beyond_the_count_is_not_read() {
        assert_eq!(of(2, &[0x20, 9, 1, 2]), Some(vec![(65_534, 513), (65_535, 515)]));
        assert_eq!(of(1, &[0xff, 0xff, 1, 2]), None, "within it, it stands for nothing");
        assert_eq!(of(1, &[0xd5, 0x55, 1]), Some(vec![(65_534, 513)]));
        let empty_runs = [0x20, 0, 0x40, 0, 0x00, 0, 0x20, 1, 3, 0];
        assert_eq!(of(1, &empty_runs), Some(vec![(65_534, 515)]), "runs of none");
        // All that there can be, of nothing.
        assert_eq!(of(u16::MAX, &[0x1f, 0xff].repeat(9)), Some(vec![]));
        let last = [[0x1f, 0xff].repeat(7), vec![0x1f, 0xfe, 0x20, 9, 7, 7]].concat();
        assert_eq!(of(u16::MAX - 7, &last).map(|a| a.len()), Some(1));
    }

    /// One by one, a hundred thousand of these would take a quarter of a minute.
    #[test]
    fn lost_packets_cost_nothing() {
        let all_lost = feedback(u16::MAX, &[0x1f, 0xff].repeat(9));
        let start = std::time::Instant::now();
        for _ in 0..100_000 {
            assert_eq!(arrivals(std::hint::black_box(&all_lost)), Some(vec![]));
        }
        assert!(start.elapsed().as_secs() < 5);
    }

    /// Writes, and reads back; gives the packet.
    fn there_and_back(arrived: &[Option<u32>]) -> Vec<u8> {
        let mut out = Vec::new();
        let count = transport_feedback(&mut out, HEAD, arrived.iter().copied());
        assert_eq!(usize::from(count), arrived.len());
        assert_eq!(packets(&out).map(<[u8]>::len).sum::<usize>(), out.len());
        let numbered = arrived.iter().enumerate();
        let expected =
            numbered.filter_map(|(i, tick)| Some((HEAD.base.wrapping_add(i as u16), (*tick)?)));
        assert_eq!(arrivals(&out), Some(expected.collect()));
        out
    }

    #[test]
    fn chunks_are_as_short_as_they_can_be() {
        let body = |arrived: &[Option<u32>]| there_and_back(arrived)[20..].to_vec();
        assert_eq!(body(&[Some(512)]), [0x20, 1, 0, 0]);
        assert_eq!(body(&[None, None, Some(513)]), [0x88, 0, 1, 0]);
        assert_eq!(body(&[Some(512); 100])[..2], [0x20, 100]);
        let lost = [vec![Some(512)], vec![None; 40], vec![Some(512)]].concat();
        assert_eq!(body(&lost).len(), 8, "a vector, a run, a run, two times");
        let large = [vec![Some(512)], (1..=7).map(|i| Some(512 + i * 300)).collect()].concat();
        assert_eq!(body(&large).len(), 20, "a vector of pairs, a run, 1 and 14 bytes of time");
        assert_eq!(
            there_and_back(&[vec![Some(1)], vec![None; 20_000], vec![Some(1)]].concat()).len(),
            32
        );
    }

    #[test]
    fn whatever_arrived_is_read_back() {
        let mut rng = Rng::from_seed([3; 32]);
        for round in 0..3_000u32 {
            let mut tick = rng.next_u64() as u32;
            let (loss, spread) =
                (rng.next_u64() % 100, 1 + rng.next_u64() % [3, 300, 65_535][round as usize % 3]);
            let mut arrived: Vec<Option<u32>> = (0..1 + rng.next_u64() % 120)
                .map(|_| {
                    tick = tick.wrapping_add_signed((rng.next_u64() % spread) as i16 as i32);
                    (rng.next_u64() % 100 >= loss).then_some(tick)
                })
                .collect();
            // Whatever the steps of what was lost add up to.
            let mut before = None;
            for at in arrived.iter_mut() {
                let Some(tick) = *at else { continue };
                let fits = |b: u32| i16::try_from(tick.wrapping_sub(b).cast_signed()).is_ok();
                if before.is_some_and(|b| !fits(b)) {
                    *at = None;
                } else {
                    before = Some(tick);
                }
            }
            arrived.push(Some(before.unwrap_or(tick)));
            there_and_back(&arrived);
        }
    }

    #[test]
    fn ends_before_what_no_time_can_say() {
        let mut out = Vec::new();
        let mut write = |arrived: &[Option<u32>]| {
            out.clear();
            (transport_feedback(&mut out, HEAD, arrived.iter().copied()), out.len())
        };
        assert_eq!(write(&[]), (0, 0));
        assert_eq!(write(&[None, None]), (0, 0), "nothing arrived");
        assert_eq!(write(&[Some(0), None, Some(32_768), Some(0)]).0, 2);
        assert_eq!(write(&[Some(0), None, Some(32_767), Some(0)]).0, 4);
        assert_eq!(write(&[None, Some(u32::MAX), Some(0)]).0, 3, "the clock wraps");
        assert_eq!(write(&vec![Some(1); 70_000]).0, u16::MAX);
    }

    #[test]
    fn another_reads_the_same() {
        let arrived =
            [vec![Some(600), None, Some(601)], vec![None; 30], vec![Some(9_000), Some(8_000)]];
        let packet = there_and_back(&arrived.concat());
        let read = str0m::rtp::rtcp::Rtcp::try_from(&packet[..]);
        let Ok(str0m::rtp::rtcp::Rtcp::Twcc(twcc)) = read else { panic!("{read:?}") };
        assert_eq!((twcc.base_seq, twcc.status_count), (HEAD.base, 35));
        assert_eq!((twcc.reference_time, twcc.feedback_count), (2, 200));
        assert_eq!(twcc.delta.len(), 4);
    }
}
