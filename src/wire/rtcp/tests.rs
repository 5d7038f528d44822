//! Vectors made by hand from the figures of the documents, round trips, what is cut short, and a
//! second reader.

use super::*;
use crate::base::rng::Rng;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = vec![0xaa];
    write(&mut out);
    assert_eq!(out.remove(0), 0xaa, "only appended to");
    assert_eq!(packets(&out).map(<[u8]>::len).sum::<usize>(), out.len(), "whole words, counted");
    out
}

fn one(packet: &[u8]) -> Packet<'_> {
    let mut all = read(packet);
    let packet = all.next().expect("a packet");
    assert_eq!(all.next(), None);
    packet
}

fn unknown(kind: u8, format: u8) -> Packet<'static> {
    Packet::Unknown { kind, format }
}

const INFO: SenderInfo = SenderInfo {
    ntp: 0xe123_4567_89ab_cdef,
    timestamp: 0x1112_1314,
    packets: 0x2122_2324,
    bytes: 0x3132_3334,
};

const BLOCK: ReportBlock = ReportBlock {
    ssrc: 0x4142_4344,
    fraction_lost: 0x51,
    lost: -2,
    highest_seq: 0x6162_6364,
    jitter: 0x7172_7374,
    last_report: 0x8182_8384,
    delay: 0x9192_9394,
};

#[rustfmt::skip]
const SR: [u8; 52] = [
    0x81, 200, 0, 12, 1, 2, 3, 4,
    0xe1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
    0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 0x31, 0x32, 0x33, 0x34,
    0x41, 0x42, 0x43, 0x44, 0x51, 0xff, 0xff, 0xfe, 0x61, 0x62, 0x63, 0x64,
    0x71, 0x72, 0x73, 0x74, 0x81, 0x82, 0x83, 0x84, 0x91, 0x92, 0x93, 0x94,
];

#[test]
fn a_sender_report() {
    assert_eq!(written(|out| sender_report(out, 0x0102_0304, &INFO, [BLOCK])), SR);
    let Packet::SenderReport { ssrc, info, blocks } = one(&SR) else { panic!("{:?}", one(&SR)) };
    assert_eq!((ssrc, info), (0x0102_0304, INFO));
    assert_eq!(blocks.iter().collect::<Vec<_>>(), [BLOCK]);
    let mut beyond = SR;
    beyond[0] = 0x82;
    assert_eq!(one(&beyond), unknown(200, 2), "a block that is not there");
    beyond[0] = 0x80;
    assert!(
        matches!(one(&beyond), Packet::SenderReport { blocks, .. } if blocks.iter().count() == 0)
    );
}

#[test]
fn a_receiver_report() {
    let rr = [&[0x81, 201, 0, 7, 1, 2, 3, 4], &SR[28..]].concat();
    assert_eq!(written(|out| receiver_report(out, 0x0102_0304, [BLOCK])), rr);
    let Packet::ReceiverReport { ssrc, blocks } = one(&rr) else { panic!("{:?}", one(&rr)) };
    assert_eq!((ssrc, blocks.iter().collect::<Vec<_>>()), (0x0102_0304, vec![BLOCK]));
    let empty = written(|out| receiver_report(out, 9, []));
    assert_eq!(empty, [0x80, 201, 0, 1, 0, 0, 0, 9]);
}

#[test]
fn more_blocks_than_a_report_takes_are_in_reports_behind_it() {
    let all: Vec<ReportBlock> = (0..75).map(|ssrc| ReportBlock { ssrc, ..BLOCK }).collect();
    for count in [0, 1, 30, 31, 32, 62, 63, 75] {
        let blocks = || all.iter().copied().take(count);
        let rrs = written(|out| receiver_report(out, 9, blocks()));
        let sr = written(|out| sender_report(out, 9, &INFO, blocks()));
        for (compound, begins) in [(rrs, 201), (sr, 200)] {
            assert_eq!(compound[1], begins);
            assert_eq!(packets(&compound).count(), count.max(1).div_ceil(31));
            let read = read(&compound).flat_map(|packet| match packet {
                Packet::SenderReport { ssrc: 9, blocks, .. }
                | Packet::ReceiverReport { ssrc: 9, blocks } => blocks.iter(),
                other => panic!("{other:?}"),
            });
            assert!(read.eq(blocks()));
        }
    }
}

#[test]
fn lost_packets_have_24_bits_and_a_sign() {
    for (lost, read) in [(0, 0), (-1, -1), (1, 1), (1 << 23, (1 << 23) - 1), (i32::MIN, -1 << 23)] {
        let rr = written(|out| receiver_report(out, 9, [ReportBlock { lost, ..BLOCK }]));
        let Packet::ReceiverReport { blocks, .. } = one(&rr) else { panic!("{rr:?}") };
        assert_eq!(blocks.iter().next().map(|b| b.lost), Some(read));
    }
}

#[test]
fn a_name_ends_with_zero_and_a_goodbye_names_streams() {
    let sdes = |name: &str| written(|out| source_description(out, 0x0102_0304, name));
    assert_eq!(sdes("ab"), [&[0x81, 202, 0, 3, 1, 2, 3, 4, 1, 2], &b"ab"[..], &[0; 4]].concat());
    assert_eq!(sdes("abcde").len(), 16, "a zero where it ends with a word");
    assert_eq!(sdes("abcdef").len(), 20, "and a word of them");
    assert_eq!(sdes(&"x".repeat(300))[9], 255);
    assert_eq!(one(&sdes("a")), Packet::SourceDescription);

    let packet = written(|out| bye(out, &[0x0102_0304, 9]));
    assert_eq!(packet, [0x82, 203, 0, 2, 1, 2, 3, 4, 0, 0, 0, 9]);
    let ssrcs = |packet: &[u8]| match one(packet) {
        Packet::Bye { ssrcs } => ssrcs.iter().collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(ssrcs(&packet), [0x0102_0304, 9]);
    assert_eq!(ssrcs(&[0x81, 203, 0, 2, 0, 0, 0, 9, 3, b'o', b'u', b't']), [9], "with a reason");
    assert_eq!(one(&[0x82, 203, 0, 1, 0, 0, 0, 9]), unknown(203, 2));
    let many: Vec<u32> = (0..40).collect();
    assert_eq!(packets(&written(|out| bye(out, &many))).count(), 2);
    assert!(written(|out| bye(out, &[])).is_empty());
}

fn numbers(packet: &[u8]) -> Vec<u16> {
    match one(packet) {
        Packet::Nack { sender: 9, media: 7, missing } => missing.iter().collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_nack_packs_what_is_near() {
    let nack_of = |missing: &[u16]| written(|out| nack(out, 9, 7, missing.iter().copied()));
    let head = |words| [0x81, 205, 0, words, 0, 0, 0, 9, 0, 0, 0, 7];
    // Bit i of the mask, from the least, stands for the packet i + 1 behind the first.
    let packet = [&head(4)[..], &[0, 10, 0x80, 0x05, 0, 27, 0, 0]].concat();
    assert_eq!(nack_of(&[10, 11, 13, 26, 27]), packet);
    assert_eq!(numbers(&packet), [10, 11, 13, 26, 27]);
    let wrapped = [&head(3)[..], &[0xff, 0xff, 0, 0x03]].concat();
    assert_eq!(nack_of(&[65_535, 0, 1]), wrapped);
    assert_eq!(numbers(&wrapped), [65_535, 0, 1]);
    assert_eq!(numbers(&nack_of(&[5, 5, 5, 6])), [5, 6], "said once");
    assert_eq!(numbers(&nack_of(&[6, 5])), [6, 5], "out of order, longer, but right");
    assert!(nack_of(&[]).is_empty());
    assert_eq!(nack_of(&(0..17).collect::<Vec<u16>>()).len(), 16);
    assert_eq!(nack_of(&(0..18).collect::<Vec<u16>>()).len(), 20);
}

#[test]
fn any_missing_packets_are_named_by_a_nack() {
    let mut rng = Rng::from_seed([1; 32]);
    for _ in 0..2_000 {
        let (base, spread) = (rng.next_u64() as u16, 1 + rng.next_u64() % 40);
        let mut missing = vec![base];
        for _ in 0..rng.next_u64() % 60 {
            missing.push(
                missing[missing.len() - 1].wrapping_add(1 + (rng.next_u64() % spread) as u16),
            );
        }
        assert_eq!(numbers(&written(|out| nack(out, 9, 7, missing.iter().copied()))), missing);
    }
}

#[test]
fn requests_for_keyframes() {
    let packet = written(|out| pli(out, 9, 7));
    assert_eq!(packet, [0x81, 206, 0, 2, 0, 0, 0, 9, 0, 0, 0, 7]);
    assert_eq!(one(&packet), Packet::Pli { sender: 9, media: 7 });
    let packet = written(|out| fir(out, 9, [(7, 3), (8, 255)]));
    #[rustfmt::skip]
    assert_eq!(packet, [
        0x84, 206, 0, 6, 0, 0, 0, 9, 0, 0, 0, 0,
        0, 0, 0, 7, 3, 0, 0, 0, 0, 0, 0, 8, 255, 0, 0, 0,
    ]);
    let Packet::Fir { sender: 9, entries } = one(&packet) else { panic!("{:?}", one(&packet)) };
    assert_eq!(entries.iter().collect::<Vec<_>>(), [(7, 3), (8, 255)]);
}

#[test]
fn an_estimated_bitrate() {
    // 0x3ffff << 6: the exponent in six bits, then eighteen of mantissa.
    #[rustfmt::skip]
    let packet = [
        0x8f, 206, 0, 6, 0, 0, 0, 9, 0, 0, 0, 0, b'R', b'E', b'M', b'B',
        2, 0b0001_1011, 0xff, 0xff, 0, 0, 0, 7, 0, 0, 0, 8,
    ];
    let read = |packet: &[u8]| match one(packet) {
        Packet::Remb { sender: 9, bits_per_second, ssrcs } => {
            Some((bits_per_second, ssrcs.iter().collect::<Vec<_>>()))
        }
        Packet::Unknown { kind: 206, format: 15 } => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(read(&packet), Some((0x3_ffff << 6, vec![7, 8])));
    assert_eq!(written(|out| remb(out, 9, 0x3_ffff << 6 | 0x3f, &[7, 8])), packet, "rounded down");
    let with = |at: usize, value: u8| {
        let mut packet = packet;
        packet[at] = value;
        read(&packet)
    };
    assert_eq!(with(16, 3), None, "a stream that is not there");
    assert_eq!(with(12, b'r'), None);
    assert_eq!(with(17, 46 << 2 | 3), Some((0x3_ffff << 46, vec![7, 8])));
    assert_eq!(with(17, 47 << 2 | 3), Some((u64::MAX, vec![7, 8])));
    assert_eq!(with(17, 63 << 2 | 3), Some((u64::MAX, vec![7, 8])));
    for (bits_per_second, read_back) in [
        (0, 0),
        (1, 1),
        (0x3_ffff, 0x3_ffff),
        (0x4_0001, 0x4_0000),
        (2_500_000, 2_500_000 / 16 * 16),
        (u64::MAX, 0x3_ffff << 46),
    ] {
        let packet = written(|out| remb(out, 9, bits_per_second, &[]));
        assert_eq!(read(&packet), Some((read_back, vec![])));
    }
    let zero_shifted = [&packet[..17], &[63 << 2, 0, 0], &packet[20..]].concat();
    assert_eq!(read(&zero_shifted), Some((0, vec![7, 8])));
}

#[test]
fn extended_reports_measure_a_round_trip() {
    let packet = written(|out| reference_time(out, 9, INFO.ntp));
    #[rustfmt::skip]
    assert_eq!(packet, [
        0x80, 207, 0, 4, 0, 0, 0, 9, 4, 0, 0, 2, 0xe1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
    ]);
    let time = SinceReference { ssrc: 7, last_reference: 0x0102_0304, delay: 65_536 };
    let answer = written(|out| times_since_reference(out, 9, [time, time]));
    #[rustfmt::skip]
    assert_eq!(answer, [
        0x80, 207, 0, 8, 0, 0, 0, 9, 5, 0, 0, 6,
        0, 0, 0, 7, 1, 2, 3, 4, 0, 1, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 0, 1, 0, 0,
    ]);
    // Both in one, with a block between them that nobody reads, and one that is cut short.
    let mut both = [&packet[..], &[1, 0, 0, 1, 9, 9, 9, 9], &answer[8..], &[5, 0, 0, 6]].concat();
    both[3] = (both.len() / 4 - 1) as u8;
    let Packet::ExtendedReport { sender: 9, blocks } = one(&both) else { panic!("{both:?}") };
    let since = Extended::SinceReference(time);
    let all = [Extended::ReferenceTime { ntp: INFO.ntp }, since, since];
    assert_eq!(blocks.iter().collect::<Vec<_>>(), all);
}

#[test]
fn padding_is_not_read() {
    let padded = |padding: &[u8]| {
        let mut packet = [&SR[..], padding].concat();
        packet[0] |= 0x20;
        packet[3] += padding.len() as u8 / 4;
        packet
    };
    assert_eq!(one(&padded(&[0, 0, 0, 4])), one(&SR));
    let mut rr = written(|out| nack(out, 9, 7, [1, 2, 40]));
    rr[0] |= 0x20;
    *rr.last_mut().unwrap() = 4;
    assert_eq!(numbers(&rr), [1, 2], "the padding that it says");
    for padding in [0, 49, 255] {
        assert_eq!(one(&padded(&[0, 0, 0, padding])), unknown(200, 1), "{padding}");
    }
}

#[test]
fn what_is_cut_short_is_no_packet_and_ends_the_compound() {
    let compound = everything();
    let whole: Vec<Packet> = read(&compound).collect();
    assert!(!whole.iter().any(|p| matches!(p, Packet::Unknown { .. })));
    for cut in 0..compound.len() {
        let read: Vec<Packet> = read(&compound[..cut]).collect();
        assert!(read.len() < whole.len() && read == whole[..read.len()], "cut at {cut}");
    }
    // And each cut short within, its length made to fit: less is read, or nothing, without a panic.
    for packet in packets(&compound) {
        for words in 1..packet.len() / 4 {
            let mut short = packet[..words * 4].to_vec();
            short[3] = words as u8 - 1;
            assert_eq!(read(&short).count(), 1);
            exhaust(&short);
        }
    }
    for version in [0, 0x40, 0xc0] {
        let mut other = compound.clone();
        other[0] = other[0] & 0x3f | version;
        assert_eq!(read(&other).count(), 0);
    }
}

/// One of each kind that is written here.
fn everything() -> Vec<u8> {
    written(|out| {
        sender_report(out, 1, &INFO, [BLOCK; 33]);
        source_description(out, 1, "name");
        nack(out, 9, 7, [1, 2, 3, 400]);
        pli(out, 9, 7);
        fir(out, 9, [(7, 1)]);
        remb(out, 9, 1_000_000, &[7]);
        let arrivals = [Some(5), None, Some(7), Some(20_000), Some(3)].into_iter();
        transport_feedback(out, TransportHead::default(), arrivals);
        reference_time(out, 9, INFO.ntp);
        times_since_reference(out, 9, [SinceReference::default()]);
        bye(out, &[9]);
    })
}

/// Walks through all that a compound says; how much that was.
fn exhaust(compound: &[u8]) -> usize {
    read(compound)
        .map(|packet| match packet {
            Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                blocks.iter().count()
            }
            Packet::Bye { ssrcs } | Packet::Remb { ssrcs, .. } => ssrcs.iter().count(),
            Packet::Nack { missing, .. } => missing.iter().count(),
            Packet::TransportFeedback(feedback) => feedback.arrivals().count(),
            Packet::Fir { entries, .. } => entries.iter().count(),
            Packet::ExtendedReport { blocks, .. } => blocks.iter().count(),
            Packet::SourceDescription | Packet::Pli { .. } | Packet::Unknown { .. } => 0,
        })
        .sum()
}

#[test]
fn whatever_it_says_the_work_is_linear_in_its_bytes() {
    let mut rng = Rng::from_seed([2; 32]);
    let compound = everything();
    for round in 0..200_000 {
        let junk = if round % 2 == 0 {
            let kind = 200 + (rng.next_u64() % 8) as u8;
            let mut junk: Vec<u8> =
                (0..12 + rng.next_u64() % 80).map(|_| rng.next_u64() as u8).collect();
            junk.truncate(junk.len() / 4 * 4);
            junk[..4].copy_from_slice(&[rng.next_u64() as u8 & 0x1f | 0x80, kind, 0, 0]);
            junk[3] = junk.len() as u8 / 4 - 1;
            junk
        } else {
            let mut bent = compound.clone();
            for _ in 0..1 + rng.next_u64() % 8 {
                let at = rng.next_u64() as usize % bent.len();
                bent[at] = rng.next_u64() as u8;
            }
            bent
        };
        assert!(exhaust(&junk) <= 7 * junk.len());
    }
}

/// The second reader: what is written here means the same to it.
#[test]
fn another_reads_what_is_written() {
    use str0m::rtp::rtcp::{ReportBlock as Extended, Rtcp};
    let compound = everything();
    let read: Vec<Rtcp> =
        packets(&compound).map(|p| Rtcp::try_from(p).unwrap_or_else(|e| panic!("{e}"))).collect();
    let Rtcp::SenderReport(sr) = &read[0] else { panic!("{read:?}") };
    let info = &sr.sender_info;
    assert_eq!((*info.ssrc, info.rtp_time.numer() as u32), (1, INFO.timestamp));
    assert_eq!((info.sender_packet_count, info.sender_octet_count), (INFO.packets, INFO.bytes));
    let block = &sr.reports[0];
    assert_eq!((*block.ssrc, block.fraction_lost), (BLOCK.ssrc, BLOCK.fraction_lost));
    assert_eq!((block.max_seq, block.jitter), (BLOCK.highest_seq, BLOCK.jitter));
    assert_eq!((block.last_sr_time, block.last_sr_delay), (BLOCK.last_report, BLOCK.delay));
    assert!(matches!(&read[1], Rtcp::ReceiverReport(rr) if rr.reports.len() == 2));
    assert!(matches!(&read[2], Rtcp::SourceDescription(_)));
    let Rtcp::Nack(nack) = &read[3] else { panic!("{read:?}") };
    assert_eq!((*nack.sender_ssrc, *nack.ssrc, nack.reports.len()), (9, 7, 2));
    assert_eq!((nack.reports[0].pid, nack.reports[0].blp), (1, 3));
    assert!(matches!(&read[4], Rtcp::Pli(pli) if (*pli.sender_ssrc, *pli.ssrc) == (9, 7)));
    assert!(matches!(&read[5], Rtcp::Fir(fir) if *fir.reports[0].ssrc == 7));
    assert!(matches!(&read[6], Rtcp::Remb(_)));
    assert!(matches!(&read[7], Rtcp::Twcc(twcc) if twcc.status_count == 5));
    assert!(
        matches!(&read[8], Rtcp::ExtendedReport(xr) if matches!(xr.blocks[0], Extended::Rrtr(_)))
    );
    let Rtcp::ExtendedReport(xr) = &read[9] else { panic!("{read:?}") };
    assert!(matches!(xr.blocks[0], Extended::Dlrr(_)));
    assert!(matches!(&read[10..], [Rtcp::Goodbye(_)]));
}
