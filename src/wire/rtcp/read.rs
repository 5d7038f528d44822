//! Compounds taken apart.

use super::transport::TransportFeedback;
use super::{
    BLOCK_REFERENCE_TIME, BLOCK_TIMES_SINCE_REFERENCE, BYE, EXTENDED_REPORT, FORMAT_APPLICATION,
    FORMAT_FIR, FORMAT_NACK, FORMAT_PLI, FORMAT_TRANSPORT_WIDE, PAYLOAD_FEEDBACK, RECEIVER_REPORT,
    REMB, ReportBlock, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo, SinceReference,
    TRANSPORT_FEEDBACK,
};

const PADDING: u8 = 0x20;

/// One packet of a compound. `sender` is the SSRC of whoever wrote it, `media` that of the stream
/// that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        info: SenderInfo,
        blocks: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        blocks: ReportBlocks<'a>,
    },
    /// Not looked into: names tell an SFU nothing that SDP did not.
    SourceDescription,
    /// These streams are over.
    Bye {
        ssrcs: Ssrcs<'a>,
    },
    /// These packets are missing (RFC 4585 §6.2.1).
    Nack {
        sender: u32,
        media: u32,
        missing: Numbers<'a>,
    },
    /// Which packets came, and when.
    TransportFeedback(TransportFeedback<'a>),
    /// A picture is missing (RFC 4585 §6.3.1).
    Pli {
        sender: u32,
        media: u32,
    },
    /// A keyframe is wanted (RFC 5104 §4.3.1).
    Fir {
        sender: u32,
        entries: FirEntries<'a>,
    },
    /// So much may be sent in all of these streams together; `u64::MAX` for what is beyond that.
    Remb {
        sender: u32,
        bits_per_second: u64,
        ssrcs: Ssrcs<'a>,
    },
    /// RFC 3611.
    ExtendedReport {
        sender: u32,
        blocks: ExtendedBlocks<'a>,
    },
    /// Of a kind that is not read here, or not as long as it says.
    Unknown {
        kind: u8,
        format: u8,
    },
}

/// Report blocks of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlocks<'a>(&'a [[u8; 24]]);

/// SSRCs of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssrcs<'a>(&'a [[u8; 4]]);

/// Sequence numbers of a NACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers<'a>(&'a [[u8; 4]]);

/// Streams of which a FIR wants a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirEntries<'a>(&'a [[u8; 8]]);

/// Blocks of an extended report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtendedBlocks<'a>(&'a [u8]);

/// What is read of an extended report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// The time at which a receiver wrote this, as [`SenderInfo::ntp`] (RFC 3611 §4.4): a sender
    /// answers with [`SinceReference`], which tells the receiver the round trip.
    ReferenceTime {
        ntp: u64,
    },
    SinceReference(SinceReference),
}

/// The packets of a compound, typed, in order. Ends at the first whose header is malformed.
pub fn read(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    packets(compound).map(Packet::read)
}

/// The packets of a compound, in order. Ends at the first that is malformed.
pub fn packets(mut compound: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let [first, _, l0, l1] = *compound.first_chunk::<4>()?;
        let bytes = 4 * (usize::from(u16::from_be_bytes([l0, l1])) + 1);
        let (packet, rest) = compound.split_at_checked(bytes)?;
        compound = rest;
        (first >> 6 == 2).then_some(packet)
    })
}

impl<'a> Packet<'a> {
    fn read(packet: &'a [u8]) -> Packet<'a> {
        let [first, kind] = packet.first_chunk().copied().unwrap_or_default();
        let format = first & 0x1f;
        let known = body(packet).and_then(|body| match kind {
            TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => Packet::feedback(kind, format, body),
            _ => Packet::report(kind, format.into(), body),
        });
        known.unwrap_or(Packet::Unknown { kind, format })
    }

    fn report(kind: u8, count: usize, body: &'a [u8]) -> Option<Packet<'a>> {
        if kind == BYE {
            return Some(Packet::Bye { ssrcs: Ssrcs(entries(body, count)?) });
        }
        let (ssrc, rest) = split_u32(body)?;
        match kind {
            SENDER_REPORT => {
                let (ntp, rest) = rest.split_first_chunk()?;
                let (timestamp, rest) = split_u32(rest)?;
                let (packets, rest) = split_u32(rest)?;
                let (bytes, rest) = split_u32(rest)?;
                let info = SenderInfo { ntp: u64::from_be_bytes(*ntp), timestamp, packets, bytes };
                let blocks = ReportBlocks(entries(rest, count)?);
                Some(Packet::SenderReport { ssrc, info, blocks })
            }
            RECEIVER_REPORT => {
                let blocks = ReportBlocks(entries(rest, count)?);
                Some(Packet::ReceiverReport { ssrc, blocks })
            }
            SOURCE_DESCRIPTION => Some(Packet::SourceDescription),
            EXTENDED_REPORT => {
                Some(Packet::ExtendedReport { sender: ssrc, blocks: ExtendedBlocks(rest) })
            }
            _ => None,
        }
    }

    fn feedback(kind: u8, format: u8, body: &'a [u8]) -> Option<Packet<'a>> {
        let (sender, rest) = split_u32(body)?;
        let (media, rest) = split_u32(rest)?;
        match (kind, format) {
            (TRANSPORT_FEEDBACK, FORMAT_NACK) => {
                Some(Packet::Nack { sender, media, missing: Numbers(rest.as_chunks().0) })
            }
            (TRANSPORT_FEEDBACK, FORMAT_TRANSPORT_WIDE) => {
                TransportFeedback::read(sender, media, rest).map(Packet::TransportFeedback)
            }
            (PAYLOAD_FEEDBACK, FORMAT_PLI) => Some(Packet::Pli { sender, media }),
            (PAYLOAD_FEEDBACK, FORMAT_FIR) => {
                Some(Packet::Fir { sender, entries: FirEntries(rest.as_chunks().0) })
            }
            (PAYLOAD_FEEDBACK, FORMAT_APPLICATION) => {
                let (bitrate, rest) = rest.strip_prefix(&REMB)?.split_first_chunk()?;
                let [count, high, middle, low] = *bitrate;
                let mantissa = u64::from(u32::from_be_bytes([0, high & 3, middle, low]));
                let exponent = u32::from(high >> 2);
                // A shift that would lose a bit is beyond what 64 of them hold.
                let fits = exponent <= mantissa.leading_zeros();
                let shifted = mantissa.checked_shl(exponent).filter(|_| fits);
                let bits_per_second = if mantissa == 0 { 0 } else { shifted.unwrap_or(u64::MAX) };
                let ssrcs = Ssrcs(entries(rest, count.into())?);
                Some(Packet::Remb { sender, bits_per_second, ssrcs })
            }
            _ => None,
        }
    }
}

impl<'a> ReportBlocks<'a> {
    pub fn iter(self) -> impl Iterator<Item = ReportBlock> + 'a {
        self.0.iter().map(|block| {
            let [s0, s1, s2, s3, fraction_lost, c0, c1, c2, rest @ ..] = *block;
            let [h0, h1, h2, h3, j0, j1, j2, j3, l0, l1, l2, l3, d0, d1, d2, d3] = rest;
            ReportBlock {
                ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
                fraction_lost,
                lost: i32::from_be_bytes([c0, c1, c2, 0]) >> 8,
                highest_seq: u32::from_be_bytes([h0, h1, h2, h3]),
                jitter: u32::from_be_bytes([j0, j1, j2, j3]),
                last_report: u32::from_be_bytes([l0, l1, l2, l3]),
                delay: u32::from_be_bytes([d0, d1, d2, d3]),
            }
        })
    }
}

impl<'a> Ssrcs<'a> {
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0.iter().map(|ssrc| u32::from_be_bytes(*ssrc))
    }
}

impl<'a> Numbers<'a> {
    /// Of each entry the one that it names, then those that follow within sixteen.
    pub fn iter(self) -> impl Iterator<Item = u16> + 'a {
        self.0.iter().flat_map(|&[p0, p1, b0, b1]| {
            let (first, bits) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([b0, b1]));
            let following = (0..16).filter(move |i| bits >> i & 1 == 1).map(|i| i + 1);
            std::iter::once(0).chain(following).map(move |i| first.wrapping_add(i))
        })
    }
}

impl<'a> FirEntries<'a> {
    /// The stream, and a number that differs for each new request.
    pub fn iter(self) -> impl Iterator<Item = (u32, u8)> + 'a {
        self.0.iter().map(|&[s0, s1, s2, s3, seq, ..]| (u32::from_be_bytes([s0, s1, s2, s3]), seq))
    }
}

impl<'a> ExtendedBlocks<'a> {
    /// Ends at the first block that is longer than what is left; skips those of other kinds.
    pub fn iter(self) -> impl Iterator<Item = Extended> + 'a {
        let mut blocks = self.0;
        let blocks = std::iter::from_fn(move || {
            let (&[kind, _, l0, l1], rest) = blocks.split_first_chunk()?;
            let bytes = 4 * usize::from(u16::from_be_bytes([l0, l1]));
            let (block, rest) = rest.split_at_checked(bytes)?;
            blocks = rest;
            Some((kind, block))
        });
        blocks.flat_map(|(kind, block)| {
            let times = if kind == BLOCK_TIMES_SINCE_REFERENCE { block } else { &[] };
            let times = times.as_chunks().0.iter().map(|time| {
                let [s0, s1, s2, s3, l0, l1, l2, l3, d0, d1, d2, d3] = *time;
                Extended::SinceReference(SinceReference {
                    ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
                    last_reference: u32::from_be_bytes([l0, l1, l2, l3]),
                    delay: u32::from_be_bytes([d0, d1, d2, d3]),
                })
            });
            let ntp = block.first_chunk().filter(|_| kind == BLOCK_REFERENCE_TIME);
            let reference =
                ntp.map(|ntp| Extended::ReferenceTime { ntp: u64::from_be_bytes(*ntp) });
            reference.into_iter().chain(times)
        })
    }
}

/// What stands between header and padding. Senders of transport feedback pad by one to three
/// bytes, against RFC 3550 §6.4.1, so any number is taken but none.
fn body(packet: &[u8]) -> Option<&[u8]> {
    let (&[first, ..], body) = packet.split_first_chunk::<4>()?;
    if first & PADDING == 0 {
        return Some(body);
    }
    let padding = usize::from(*body.last()?);
    body.get(..body.len().checked_sub(padding)?).filter(|_| padding > 0)
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

/// The first `count` entries, if there are so many.
fn entries<const N: usize>(bytes: &[u8], count: usize) -> Option<&[[u8; N]]> {
    bytes.as_chunks().0.get(..count)
}
