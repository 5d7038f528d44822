//! The reports that clients send once a second (RFC 3550 §6.4).

use std::time::Duration;

use super::stream::{Incoming, Outgoing};

/// Between 1900 and 1970.
const NTP_SECONDS: u64 = 2_208_988_800;
/// The count of blocks has five bits.
const BLOCKS_MAX: usize = 31;
const CNAME: &[u8; 5] = b"bench";

/// A sender report with a name (RFC 3550 §6.1). `now` is since the Unix epoch.
pub fn sender_report(stream: &Outgoing, now: Duration, out: &mut Vec<u8>) {
    out.extend([0x80, 200, 0, 6]);
    out.extend(stream.ssrc.to_be_bytes());
    out.extend(((now.as_secs() + NTP_SECONDS) as u32).to_be_bytes());
    out.extend(((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000).to_be_bytes()[4..].iter());
    out.extend(stream.timestamp.to_be_bytes());
    out.extend(stream.packets.to_be_bytes());
    out.extend(stream.bytes.to_be_bytes());
    name(stream.ssrc, out);
}

/// A receiver report on these streams, with a name.
pub fn receiver_report(own: u32, streams: &[Incoming], out: &mut Vec<u8>) {
    let blocks = &streams[..streams.len().min(BLOCKS_MAX)];
    out.extend([0x80 | blocks.len() as u8, 201, 0, (1 + 6 * blocks.len()) as u8]);
    out.extend(own.to_be_bytes());
    for stream in blocks {
        out.extend(stream.ssrc.to_be_bytes());
        out.extend((stream.lost().min(0x7f_ffff) as u32).to_be_bytes());
        out.extend((stream.highest as u32).to_be_bytes());
        // Jitter, last SR, delay since.
        out.extend([0; 12]);
    }
    name(own, out);
}

/// A description with a CNAME, padded to words by its end.
fn name(ssrc: u32, out: &mut Vec<u8>) {
    out.extend([0x81, 202, 0, 3]);
    out.extend(ssrc.to_be_bytes());
    out.extend([1, CNAME.len() as u8]);
    out.extend(CNAME);
    out.extend([0; 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types of the packets of a compound; their lengths add up.
    fn types(mut compound: &[u8]) -> Vec<u8> {
        let mut types = Vec::new();
        while let [_, kind, high, low, ..] = *compound {
            types.push(kind);
            compound = &compound[4 + 4 * usize::from(u16::from_be_bytes([high, low]))..];
        }
        assert!(compound.is_empty());
        types
    }

    #[test]
    fn compounds_are_whole() {
        let mut out = Vec::new();
        sender_report(&Outgoing::new(1, true), Duration::new(5, 500_000_000), &mut out);
        assert_eq!(types(&out), [200, 202]);
        assert_eq!(out[8..16], [0x83, 0xaa, 0x7e, 0x85, 0x80, 0, 0, 0]);
        for count in [0, 1, 31, 50] {
            let streams = vec![Incoming::new(1, 1); count];
            let mut out = Vec::new();
            receiver_report(9, &streams, &mut out);
            assert_eq!(types(&out), [201, 202]);
            assert_eq!(usize::from(out[0] & 31), count.min(31));
        }
    }
}
