//! Packets written behind one another. A compound begins with a report (RFC 3550 §6.1), unless the
//! receiver takes those of reduced size (RFC 5506): whoever puts it together sees to that, and to
//! a datagram's length.

use super::{
    BLOCK_REFERENCE_TIME, BLOCK_TIMES_SINCE_REFERENCE, BYE, COUNT_MAX, EXTENDED_REPORT,
    FORMAT_APPLICATION, FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, PAYLOAD_FEEDBACK, RECEIVER_REPORT,
    REMB, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo, SinceReference,
    TRANSPORT_FEEDBACK,
};

/// RFC 3550 §6.5.1.
const ITEM_CNAME: u8 = 1;
const CNAME_BYTES_MAX: usize = 255;
const REMB_SSRCS_MAX: usize = 255;
/// RFC 3550 §6.4.1.
const LOST_MAX: i32 = 0x7f_ffff;
const LOST_MIN: i32 = -0x80_0000;

/// A sender report with what `ssrc` says of streams that it receives; blocks that find no place in
/// it stand in receiver reports behind it.
pub fn sender_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    info: &SenderInfo,
    blocks: impl IntoIterator<Item = ReportBlock>,
) {
    let mut blocks = blocks.into_iter().peekable();
    packet(out, SENDER_REPORT, |out| {
        out.extend(ssrc.to_be_bytes());
        out.extend(info.ntp.to_be_bytes());
        for word in [info.timestamp, info.packets, info.bytes] {
            out.extend(word.to_be_bytes());
        }
        report_blocks(out, &mut blocks)
    });
    if blocks.peek().is_some() {
        receiver_report(out, ssrc, blocks);
    }
}

/// As many receiver reports as the blocks need, and one if there are none.
pub fn receiver_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    blocks: impl IntoIterator<Item = ReportBlock>,
) {
    let mut blocks = blocks.into_iter().peekable();
    loop {
        packet(out, RECEIVER_REPORT, |out| {
            out.extend(ssrc.to_be_bytes());
            report_blocks(out, &mut blocks)
        });
        if blocks.peek().is_none() {
            break;
        }
    }
}

/// As many as one packet takes; gives how many.
fn report_blocks(out: &mut Vec<u8>, blocks: impl Iterator<Item = ReportBlock>) -> u8 {
    let mut count = 0;
    for block in blocks.take(COUNT_MAX) {
        let [_, lost @ ..] = block.lost.clamp(LOST_MIN, LOST_MAX).to_be_bytes();
        out.extend(block.ssrc.to_be_bytes());
        out.push(block.fraction_lost);
        out.extend(lost);
        for word in [block.highest_seq, block.jitter, block.last_report, block.delay] {
            out.extend(word.to_be_bytes());
        }
        count += 1;
    }
    count
}

/// The canonical name of `ssrc`, which is the same for all streams that are played in sync. Of a
/// name, 255 bytes are written.
pub fn source_description(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let cname = cname.as_bytes().get(..CNAME_BYTES_MAX).unwrap_or(cname.as_bytes());
    packet(out, SOURCE_DESCRIPTION, |out| {
        out.extend(ssrc.to_be_bytes());
        out.extend([ITEM_CNAME, cname.len() as u8]);
        out.extend_from_slice(cname);
        // The list ends with at least one byte of zero (RFC 3550 §6.5).
        out.push(0);
        1
    });
}

/// These streams are over.
pub fn bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    for ssrcs in ssrcs.chunks(COUNT_MAX) {
        packet(out, BYE, |out| {
            ssrcs.iter().for_each(|ssrc| out.extend(ssrc.to_be_bytes()));
            ssrcs.len() as u8
        });
    }
}

/// A generic NACK of packets in the order of their numbers; nothing if there are none. It is
/// shortest when they are near one another.
pub fn nack(out: &mut Vec<u8>, sender: u32, media: u32, missing: impl IntoIterator<Item = u16>) {
    let mut missing = missing.into_iter().peekable();
    if missing.peek().is_none() {
        return;
    }
    packet(out, TRANSPORT_FEEDBACK, |out| {
        out.extend(sender.to_be_bytes());
        out.extend(media.to_be_bytes());
        while let Some(first) = missing.next() {
            let mut bits = 0u16;
            // How far behind the first, where a bit stands for it; 0 for the same again.
            let bit = |seq: &u16| seq.wrapping_sub(first).wrapping_sub(1);
            while let Some(seq) = missing.next_if(|seq| bit(seq) < 16 || *seq == first) {
                bits |= 1u16.checked_shl(bit(&seq).into()).unwrap_or(0);
            }
            out.extend(first.to_be_bytes());
            out.extend(bits.to_be_bytes());
        }
        FORMAT_NACK
    });
}

/// A picture of `media` is missing.
pub fn pli(out: &mut Vec<u8>, sender: u32, media: u32) {
    packet(out, PAYLOAD_FEEDBACK, |out| {
        out.extend(sender.to_be_bytes());
        out.extend(media.to_be_bytes());
        FORMAT_PLI
    });
}

/// A keyframe is wanted of these streams; the number of each differs for each new request.
pub fn fir(out: &mut Vec<u8>, sender: u32, entries: impl IntoIterator<Item = (u32, u8)>) {
    packet(out, PAYLOAD_FEEDBACK, |out| {
        out.extend(sender.to_be_bytes());
        out.extend([0; 4]);
        for (ssrc, seq) in entries {
            out.extend(ssrc.to_be_bytes());
            out.extend([seq, 0, 0, 0]);
        }
        FORMAT_FIR
    });
}

/// So much may be sent in all of these streams together. Rounded down to the 18 bits that there
/// are for it.
pub fn remb(out: &mut Vec<u8>, sender: u32, bits_per_second: u64, ssrcs: &[u32]) {
    let ssrcs = ssrcs.get(..REMB_SSRCS_MAX).unwrap_or(ssrcs);
    let exponent = (u64::BITS - bits_per_second.leading_zeros()).saturating_sub(18);
    let [.., high, middle, low] = (bits_per_second >> exponent).to_be_bytes();
    packet(out, PAYLOAD_FEEDBACK, |out| {
        out.extend(sender.to_be_bytes());
        out.extend([0; 4]);
        out.extend(REMB);
        out.extend([ssrcs.len() as u8, (exponent as u8) << 2 | high, middle, low]);
        ssrcs.iter().for_each(|ssrc| out.extend(ssrc.to_be_bytes()));
        FORMAT_APPLICATION
    });
}

/// The time of a receiver that sends nothing, and so has no sender report to measure a round trip
/// by (RFC 3611 §4.4).
pub fn reference_time(out: &mut Vec<u8>, sender: u32, ntp: u64) {
    packet(out, EXTENDED_REPORT, |out| {
        out.extend(sender.to_be_bytes());
        out.extend([BLOCK_REFERENCE_TIME, 0, 0, 2]);
        out.extend(ntp.to_be_bytes());
        0
    });
}

/// The answer to that (RFC 3611 §4.5).
pub fn times_since_reference(
    out: &mut Vec<u8>,
    sender: u32,
    times: impl IntoIterator<Item = SinceReference>,
) {
    packet(out, EXTENDED_REPORT, |out| {
        out.extend(sender.to_be_bytes());
        let start = out.len();
        out.extend([BLOCK_TIMES_SINCE_REFERENCE, 0, 0, 0]);
        for time in times {
            for word in [time.ssrc, time.last_reference, time.delay] {
                out.extend(word.to_be_bytes());
            }
        }
        close(out, start);
        0
    });
}

/// A packet whose body writes itself and gives the header's five bits (a count or a format).
/// Filled up with zeros to whole words.
pub(super) fn packet(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>) -> u8) {
    let start = out.len();
    out.extend([0x80, kind, 0, 0]);
    let format = body(out);
    debug_assert!(format <= 0x1f, "{format} in five bits");
    out.resize(start + (out.len() - start).next_multiple_of(4), 0);
    if let Some(first) = out.get_mut(start) {
        *first |= format;
    }
    close(out, start);
}

/// The third and fourth byte, of a packet as of a block, say how many words follow the first.
fn close(out: &mut [u8], start: usize) {
    let words = (out.len() - start) / 4 - 1;
    debug_assert!(words <= usize::from(u16::MAX), "{words} words in one packet");
    if let Some([_, _, l0, l1, ..]) = out.get_mut(start..) {
        [*l0, *l1] = (words as u16).to_be_bytes();
    }
}
