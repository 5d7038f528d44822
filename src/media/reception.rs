//! What is said to the sender of a stream about how it arrives: the statistics of a reception
//! report (RFC 3550 §6.4.1, A.3, A.8).

use std::time::{Duration, Instant};

use crate::wire::rtcp::ReportBlock;

/// What a block's 24 bits hold of losses.
const LOST_MAX: u64 = 0x7f_ffff;
/// Timestamps that moved so far from their arrival began anew; no network is so late.
const JUMP_SECONDS: u32 = 5;

/// How one stream arrives.
#[derive(Debug, Default)]
pub struct Reception {
    stream: Option<Stream>,
    /// The middle of the last sender report's NTP time, and when it came.
    last_report: Option<(u32, Instant)>,
}

#[derive(Debug)]
struct Stream {
    /// Lowest and highest extended sequence number.
    first_seq: u64,
    highest_seq: u64,
    received: u64,
    /// Expected and received when the last report was made.
    reported: (u64, u64),
    /// Arrivals count from here.
    epoch: Instant,
    /// Arrival less timestamp of the last packet, in the stream's clock: only differences matter.
    transit: u32,
    /// Sixteen times the jitter (A.8), in the stream's clock.
    jitter_16: u64,
}

impl Reception {
    /// A packet came, for the first time, in the order of arrival; `clock_hz` is the rate of its
    /// timestamps. One that was mended by a retransmission is not for here: it says nothing of how
    /// the stream arrives (RFC 4588 §6.3).
    pub fn received(&mut self, seq: u64, timestamp: u32, now: Instant, clock_hz: u32) {
        let stream = self.stream.get_or_insert_with(|| Stream {
            first_seq: seq,
            highest_seq: seq,
            received: 0,
            reported: (0, 0),
            epoch: now,
            transit: 0u32.wrapping_sub(timestamp),
            jitter_16: 0,
        });
        stream.first_seq = stream.first_seq.min(seq);
        stream.highest_seq = stream.highest_seq.max(seq);
        stream.received += 1;
        let arrival = ticks(now.saturating_duration_since(stream.epoch), clock_hz);
        let transit = arrival.wrapping_sub(timestamp);
        let difference = transit.wrapping_sub(stream.transit).cast_signed().unsigned_abs();
        stream.transit = transit;
        if difference < JUMP_SECONDS * clock_hz {
            let jitter_16 = stream.jitter_16;
            stream.jitter_16 = jitter_16 + u64::from(difference) - ((jitter_16 + 8) >> 4);
        }
    }

    /// A sender report of the stream came.
    pub fn sender_report(&mut self, ntp: u64, now: Instant) {
        self.last_report = Some(((ntp >> 16) as u32, now));
    }

    /// What is said of the stream now, since the last time that it was; `None` before its first
    /// packet.
    pub fn block(&mut self, ssrc: u32, now: Instant) -> Option<ReportBlock> {
        let stream = self.stream.as_mut()?;
        let expected = stream.highest_seq - stream.first_seq + 1;
        let expected_since = expected - stream.reported.0;
        let lost_since = expected_since.saturating_sub(stream.received - stream.reported.1);
        stream.reported = (expected, stream.received);
        let fraction = (lost_since << 8).checked_div(expected_since).unwrap_or(0);
        let (last_report, delay) = self.last_report.map_or((0, 0), |(name, came)| {
            (name, ticks(now.saturating_duration_since(came), 1 << 16))
        });
        Some(ReportBlock {
            ssrc,
            // Below 256, for what is expected ends with one that came.
            fraction_lost: fraction as u8,
            // Fewer than none if packets came twice.
            lost: expected.saturating_sub(stream.received).min(LOST_MAX) as i32
                - stream.received.saturating_sub(expected).min(LOST_MAX) as i32,
            highest_seq: stream.highest_seq as u32,
            jitter: (stream.jitter_16 >> 4) as u32,
            last_report,
            delay,
        })
    }
}

/// In a clock of so many ticks a second, which wraps.
pub fn ticks(time: Duration, hz: u32) -> u32 {
    let fraction = u64::from(time.subsec_nanos()) * u64::from(hz) / 1_000_000_000;
    time.as_secs().wrapping_mul(hz.into()).wrapping_add(fraction) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    const HZ: u32 = 90_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn block(reception: &mut Reception, now: Instant) -> ReportBlock {
        reception.block(7, now).expect("a packet came")
    }

    #[test]
    fn nothing_is_said_before_the_first_packet() {
        let now = Instant::now();
        let mut reception = Reception::default();
        reception.sender_report(1 << 40, now);
        assert_eq!(reception.block(7, now), None);
    }

    #[test]
    fn losses_are_counted_in_all_and_since_the_last_report() {
        let now = Instant::now();
        let mut reception = Reception::default();
        let start = 3 << 16 | 65_500;
        let mut said = Vec::new();
        for (from, to, lost) in [(0, 100, 25..50), (100, 200, 0..0), (200, 300, 299..300)] {
            for seq in (from..to).filter(|seq| !lost.contains(seq)) {
                reception.received(start + seq, 0, now, HZ);
            }
            let block = block(&mut reception, now);
            assert_eq!(block.ssrc, 7);
            said.push((block.fraction_lost, block.lost, block.highest_seq));
        }
        let seq = |n: u32| (3 << 16 | 65_500) + n;
        // That the last of all is lost is not known before one follows it.
        assert_eq!(said, [(64, 25, seq(99)), (0, 25, seq(199)), (0, 25, seq(298))]);
        reception.received(start + 300, 0, now, HZ);
        assert_eq!(block(&mut reception, now).fraction_lost, 128, "one of two");
        assert_eq!(block(&mut reception, now).fraction_lost, 0, "none of none");
    }

    #[test]
    fn what_comes_late_or_twice_makes_up_for_losses() {
        let now = Instant::now();
        let mut reception = Reception::default();
        for seq in [10, 11, 14, 12, 13, 9] {
            reception.received(seq, 0, now, HZ);
        }
        let said = block(&mut reception, now);
        assert_eq!((said.fraction_lost, said.lost, said.highest_seq), (0, 0, 14));
        reception.received(14, 0, now, HZ);
        assert_eq!(block(&mut reception, now).lost, -1);
        reception.received(1 << 40, 0, now, HZ);
        let said = block(&mut reception, now);
        assert_eq!((said.fraction_lost, said.lost), (255, 0x7f_ffff));
    }

    /// As many losses as a plain set knows of, whatever the order of arrival.
    #[test]
    fn counts_as_a_plain_set_does() {
        let (now, mut rng) = (Instant::now(), Rng::from_seed([5; 32]));
        let mut reception = Reception::default();
        let mut came = std::collections::BTreeSet::new();
        let (mut expected_before, mut came_before) = (0, 0);
        for seq in 1_000u64..20_000 {
            let late = seq - rng.next_u64() % 30;
            if rng.next_u64() % 5 > 0 && came.insert(late) {
                reception.received(late, 0, now, HZ);
            }
            if seq % 777 == 0 {
                let said = block(&mut reception, now);
                let expected = came.last().unwrap() - came.first().unwrap() + 1;
                let (more, arrived) = (expected - expected_before, came.len() as u64 - came_before);
                (expected_before, came_before) = (expected, came.len() as u64);
                assert_eq!(said.lost as u64, expected - came.len() as u64);
                assert_eq!(
                    u64::from(said.fraction_lost),
                    256 * more.saturating_sub(arrived) / more
                );
            }
        }
    }

    #[test]
    fn jitter_is_the_mean_deviation_of_the_way_that_packets_take() {
        let start = Instant::now();
        for hz in [8_000, 48_000, 90_000] {
            let mut reception = Reception::default();
            // Every other packet takes 10 ms longer, so that each differs by as much from the last.
            for i in 0..2_000u64 {
                let timestamp = u32::MAX.wrapping_add((i * u64::from(hz) / 50) as u32);
                reception.received(i, timestamp, start + ms(20 * i + 10 * (i % 2)), hz);
            }
            let jitter = block(&mut reception, start).jitter;
            assert!(jitter.abs_diff(hz / 100) <= hz / 5_000, "{jitter} of {hz}");
            // A stream whose timestamps begin anew has not taken hours.
            reception.received(2_000, 12_345, start + ms(40_000), hz);
            assert!(block(&mut reception, start).jitter <= jitter);
        }
    }

    #[test]
    fn steps_as_in_the_appendix() {
        let start = Instant::now();
        let mut reception = Reception::default();
        reception.received(0, 0, start, 1_000);
        let (mut jitter, mut before, mut rng) = (0u64, 0, Rng::from_seed([6; 32]));
        for i in 1..500 {
            let late = rng.next_u64() % [3, 90][i as usize / 250];
            reception.received(i, i as u32 * 20, start + ms(20 * i + late), 1_000);
            jitter = jitter + late.abs_diff(before) - ((jitter + 8) >> 4);
            before = late;
            assert_eq!(u64::from(block(&mut reception, start).jitter), jitter >> 4);
        }
    }

    #[test]
    fn names_the_last_sender_report_and_how_long_it_had_it() {
        let start = Instant::now();
        let mut reception = Reception::default();
        reception.received(1, 0, start, HZ);
        let said = block(&mut reception, start);
        assert_eq!((said.last_report, said.delay), (0, 0), "none came");
        reception.sender_report(0x0000_1234_5678_0000, start + ms(1_000));
        let said = block(&mut reception, start + ms(2_500));
        assert_eq!((said.last_report, said.delay), (0x1234_5678, 65_536 * 3 / 2));
    }
}
