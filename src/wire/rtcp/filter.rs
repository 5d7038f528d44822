//! What of a client's compound may be acted on by a library that believes all of it.

use std::time::Duration;

use super::{
    EXTENDED_REPORT, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, PAYLOAD_FEEDBACK, RECEIVER_REPORT,
    SENDER_REPORT, SOURCE_DESCRIPTION, TRANSPORT_FEEDBACK, packets,
};

/// How much of a compound was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Retransmissions that were refused.
    pub retransmissions: u64,
    /// Packets that nobody here acts on.
    pub unused: u64,
}

/// Whether the first packet of a datagram, protected or not, is a sender report.
pub fn begins_with_sender_report(datagram: &[u8]) -> bool {
    matches!(datagram, [128..=191, SENDER_REPORT, ..])
}

/// The sender reports of a compound: the stream, and the middle of the report's NTP time, by which
/// its receiver names it (RFC 3550 §6.4.1).
pub fn sender_reports(compound: &[u8]) -> impl Iterator<Item = (u32, u32)> {
    packets(compound).filter_map(|packet| match *packet {
        [_, SENDER_REPORT, _, _, a, b, c, d, _, _, n0, n1, n2, n3, ..] => {
            Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([n0, n1, n2, n3])))
        }
        _ => None,
    })
}

/// The reception reports of a compound: the stream, the sender report that came last (0: none
/// yet), and for how long the client had had it when it wrote (RFC 3550 §6.4.1).
pub fn reception_reports(compound: &[u8]) -> impl Iterator<Item = (u32, u32, Duration)> {
    packets(compound).flat_map(|packet| {
        let (count, head) = match packet {
            [first, SENDER_REPORT, ..] => (first & 0x1f, 28),
            [first, RECEIVER_REPORT, ..] => (first & 0x1f, 8),
            _ => (0, 0),
        };
        let blocks = packet.get(head..).unwrap_or_default().as_chunks::<24>().0;
        blocks.iter().take(count.into()).map(|block| {
            let [a, b, c, d, .., l0, l1, l2, l3, d0, d1, d2, d3] = *block;
            // In 65,536ths of a second.
            let delay = (u64::from(u32::from_be_bytes([d0, d1, d2, d3])) * 1_000_000) >> 16;
            let last = u32::from_be_bytes([l0, l1, l2, l3]);
            (u32::from_be_bytes([a, b, c, d]), last, Duration::from_micros(delay))
        })
    })
}

/// Copies a compound to `kept` without the retransmissions that `allows` refuses, given the SSRC
/// of the stream and the sequence number, and without what nobody acts on; gives how much that
/// was. What is malformed at its end is left out.
pub fn keep_allowed(
    compound: &[u8],
    kept: &mut Vec<u8>,
    mut allows: impl FnMut(u32, u16) -> bool,
) -> LeftOut {
    let mut left_out = LeftOut::default();
    for packet in packets(compound) {
        if !is_of_use(packet) {
            left_out.unused += 1;
            continue;
        }
        let Some((ssrc, entries)) = nack(packet) else {
            kept.extend_from_slice(packet);
            continue;
        };
        let start = kept.len();
        kept.extend_from_slice(packet.get(..12).unwrap_or_default());
        for [p0, p1, b0, b1] in entries {
            let (first, bits) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([b0, b1]));
            let asked = (0..17).filter(|i| *i == 0 || bits >> (i - 1) & 1 == 1);
            let mut allowed = asked.map(|i| first.wrapping_add(i)).filter(|seq| {
                let allowed = allows(ssrc, *seq);
                left_out.retransmissions += u64::from(!allowed);
                allowed
            });
            let Some(pid) = allowed.next() else { continue };
            let rest = allowed.fold(0u16, |bits, seq| bits | 1 << (seq.wrapping_sub(pid) - 1));
            kept.extend(pid.to_be_bytes());
            kept.extend(rest.to_be_bytes());
        }
        let words = (kept.len() - start) / 4;
        if words <= 3 {
            kept.truncate(start);
        } else if let Some([l0, l1]) = kept.get_mut(start + 2..start + 4) {
            [*l0, *l1] = ((words - 1) as u16).to_be_bytes();
        }
    }
    left_out
}

/// Whether a packet is one of the few that are acted on. Estimates of bandwidth are not, for nothing
/// is sent by them, and `str0m` panics on a transport feedback that has a run of no packets.
fn is_of_use(packet: &[u8]) -> bool {
    match *packet {
        [_, SENDER_REPORT | RECEIVER_REPORT | SOURCE_DESCRIPTION, ..] => true,
        [_, EXTENDED_REPORT, _, _, _, _, _, _, ref blocks @ ..] => are_whole(blocks),
        [_, TRANSPORT_FEEDBACK, ..] => nack(packet).is_some(),
        [first, PAYLOAD_FEEDBACK, ..] => matches!(first & 0x1f, FORMAT_PLI | FORMAT_FIR),
        _ => false,
    }
}

/// Whether the blocks of an extended report are as long as they say (RFC 3611 §3): `str0m` takes
/// memory for what one says that it is.
fn are_whole(mut blocks: &[u8]) -> bool {
    while let [_, _, l0, l1, ..] = *blocks {
        let bytes = 4 * (usize::from(u16::from_be_bytes([l0, l1])) + 1);
        let Some(rest) = blocks.get(bytes..) else { return false };
        blocks = rest;
    }
    blocks.is_empty()
}

/// The media SSRC and the entries of a generic NACK: packet id and bitmask of the following. One
/// with padding, which would stand where entries are expected, is none: nobody pads them.
fn nack(packet: &[u8]) -> Option<(u32, impl Iterator<Item = [u8; 4]>)> {
    let ([first, kind, _, _, _, _, _, _, ssrc @ ..], entries) = packet.split_first_chunk::<12>()?;
    let is_nack = *kind == TRANSPORT_FEEDBACK && first & 0x3f == FORMAT_NACK;
    let entries = entries.as_chunks::<4>().0.iter().copied();
    is_nack.then_some((u32::from_be_bytes(*ssrc), entries))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

    fn nack_of(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut packet = vec![0x81, 205, 0, 2 + entries.len() as u8, 0, 0, 0, 9, 0, 0, 0, 7];
        for (pid, bits) in entries {
            packet.extend(pid.to_be_bytes());
            packet.extend(bits.to_be_bytes());
        }
        packet
    }

    fn keep(compound: &[u8], allows: impl FnMut(u32, u16) -> bool) -> (Vec<u8>, u64) {
        let mut kept = Vec::new();
        let left_out = keep_allowed(compound, &mut kept, allows);
        assert_eq!(left_out.unused, 0);
        (kept, left_out.retransmissions)
    }

    #[test]
    fn what_nobody_acts_on_is_left_out() {
        let of_use = |kind, format: u8, rest: &[u8]| {
            let mut packet = vec![0x80 | format, kind, 0, 1 + rest.len() as u8 / 4, 0, 0, 0, 9];
            packet.extend_from_slice(rest);
            let (mut kept, compound) = (Vec::new(), [&RR, &packet[..]].concat());
            let left_out = keep_allowed(&compound, &mut kept, |_, _| true);
            assert_eq!(kept, if left_out.unused == 0 { compound } else { RR.to_vec() });
            left_out.unused == 0
        };
        assert!(of_use(206, 1, &[0; 4]) && of_use(206, 4, &[0; 12]), "PLI and FIR");
        assert!(of_use(202, 1, &[0; 4]) && of_use(201, 1, &[0; 24]));
        assert!(!of_use(205, 15, &[0; 16]), "transport-wide feedback");
        assert!(!of_use(206, 15, b"\0\0\0\0REMB"));
        assert!(!of_use(205, 1, &[]), "a NACK cut short");
        assert!(!of_use(205, 0x21, &[0, 0, 0, 7, 0, 1, 0xff, 0xff, 0, 0, 0, 4]), "padded");
        assert!(!of_use(203, 1, &[]) && !of_use(204, 0, b"name"), "BYE and APP");
        let time = [4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(of_use(207, 0, &time) && of_use(207, 0, &[time, time].concat()));
        assert!(!of_use(207, 0, &[5, 0, 0xff, 0xff]), "a block longer than the packet");
    }

    #[test]
    fn reports_name_each_other() {
        let block = |ssrc: u8, delay: u32| {
            let mut block = vec![0, 0, 0, ssrc];
            block.resize(16, 7);
            block.extend([1, 2, 3, 4]);
            block.extend(delay.to_be_bytes());
            block
        };
        let blocks = [block(1, 32_768), block(2, 65_536)].concat();
        let rr = [&[0x82, 201, 0, 13, 0, 0, 0, 9], &blocks[..]].concat();
        let mut sr = [&[0x81, 200, 0, 18, 0, 0, 0, 9], &[0; 20][..], &blocks[..]].concat();
        sr[10..14].copy_from_slice(&[1, 2, 3, 4]);
        let compound = [rr, sr].concat();
        assert_eq!(sender_reports(&compound).collect::<Vec<_>>(), [(9, 0x0102_0304)]);
        let half = (1, 0x0102_0304, Duration::from_millis(500));
        let whole = (2, 0x0102_0304, Duration::from_secs(1));
        let read = reception_reports(&compound).collect::<Vec<_>>();
        assert_eq!(read, [half, whole, half], "one block in the second");
        for cut in 0..compound.len() {
            let read = reception_reports(&compound[..cut]).count();
            assert_eq!(read, if cut < 56 { 0 } else { 2 }, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_allowed_passes_byte_for_byte() {
        let compound = [&RR[..], &nack_of(&[(10, 0b101), (65_535, 1)])].concat();
        let mut asked = Vec::new();
        let (kept, refused) = keep(&compound, |ssrc, seq| {
            asked.push((ssrc, seq));
            true
        });
        assert_eq!((kept, refused), (compound, 0));
        assert_eq!(asked, [(7, 10), (7, 11), (7, 13), (7, 65_535), (7, 0)]);
    }

    #[test]
    fn what_is_refused_is_cut_out() {
        let compound = [&RR[..], &nack_of(&[(10, 0b101), (50, 0)]), &RR[..]].concat();
        let (kept, refused) = keep(&compound, |_, seq| seq == 11 || seq == 13);
        let expected = [&RR[..], &nack_of(&[(11, 0b10)]), &RR[..]].concat();
        assert_eq!((kept, refused), (expected, 2));
        let (kept, refused) = keep(&compound, |_, _| false);
        assert_eq!((kept, refused), ([RR, RR].concat(), 4));
        assert_eq!(keep(&nack_of(&[(1, 0xffff)]), |_, _| false), (Vec::new(), 17));
    }

    #[test]
    fn any_pattern_is_kept_as_it_was_chosen() {
        for bits in 0..=u16::MAX {
            let wanted = |seq: u16| seq.wrapping_mul(40_503) & 64 == 0;
            let mut first = Vec::new();
            let (kept, _) = keep(&nack_of(&[(65_530, bits)]), |_, seq| {
                first.extend(wanted(seq).then_some(seq));
                wanted(seq)
            });
            let mut second = Vec::new();
            keep(&kept, |_, seq| {
                second.push(seq);
                true
            });
            assert_eq!(first, second);
        }
    }

    #[test]
    fn what_is_malformed_ends_the_compound() {
        let compound = [&RR[..], &nack_of(&[(10, 0)])].concat();
        for cut in 0..compound.len() {
            let (kept, refused) = keep(&compound[..cut], |_, _| true);
            assert_eq!(refused, 0);
            assert_eq!(kept.len(), if cut < 8 { 0 } else { 8 }, "cut at {cut}");
        }
        assert_eq!(keep(&[0, 1, 0, 0, 1, 1, 1, 1], |_, _| true), (Vec::new(), 0), "a version of 0");
    }
}
