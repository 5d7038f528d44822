//! Compound RTCP: what is read of it means the same when it is written, and read again, and no more
//! is read than its bytes hold. The first byte of the input is of no use.

use std::collections::BTreeSet;

use trackyard::wire::rtcp::{self, Extended, Packet, TransportHead};

pub fn check(data: &[u8]) {
    let Some((_, compound)) = data.split_first() else { return };
    let whole = rtcp::packets(compound).map(<[u8]>::len).sum::<usize>();
    assert!(whole <= compound.len());
    let mut said = 0;
    for packet in rtcp::read(compound) {
        let mut again = Vec::new();
        let Some(meaning) = meaning(&packet, &mut again) else { continue };
        said += meaning.len();
        let read: Vec<Packet> = rtcp::read(&again).collect();
        assert!(!read.iter().any(|p| matches!(p, Packet::Unknown { .. })), "{packet:?}");
        let (mut third, mut means) = (Vec::new(), BTreeSet::new());
        read.iter().for_each(|p| means.extend(self::meaning(p, &mut third).into_iter().flatten()));
        assert_eq!(means, meaning, "{packet:?}");
        assert_eq!(again, third, "written alike when it says the same");
    }
    assert!(said <= 8 * compound.len(), "{said} of {} bytes", compound.len());
}

/// All that a packet says, one by one; and the packet written anew.
fn meaning(packet: &Packet, out: &mut Vec<u8>) -> Option<BTreeSet<Vec<u64>>> {
    let numbers = |of: &[u32]| of.iter().map(|n| vec![u64::from(*n)]).collect();
    Some(match *packet {
        Packet::SenderReport { ssrc, info, blocks } => {
            rtcp::sender_report(out, ssrc, &info, blocks.iter());
            let head = vec![u64::from(ssrc), info.ntp, info.timestamp.into(), info.bytes.into()];
            report(blocks.iter()).chain([head]).collect()
        }
        Packet::ReceiverReport { ssrc, blocks } => {
            rtcp::receiver_report(out, ssrc, blocks.iter());
            report(blocks.iter()).collect()
        }
        Packet::Bye { ssrcs } => {
            let ssrcs: Vec<u32> = ssrcs.iter().collect();
            rtcp::bye(out, &ssrcs);
            numbers(&ssrcs)
        }
        Packet::Nack { sender, media, missing } => {
            rtcp::nack(out, sender, media, missing.iter());
            missing.iter().map(|seq| vec![media.into(), seq.into()]).collect()
        }
        Packet::TransportFeedback(feedback) => {
            let mut arrived = vec![None; feedback.count.into()];
            for (seq, tick) in feedback.arrivals() {
                arrived[usize::from(seq.wrapping_sub(feedback.base))] = Some(tick);
            }
            let rtcp::TransportFeedback { sender, media, base, count, feedback_count, .. } =
                feedback;
            let head = TransportHead { sender, media, base, feedback_count };
            let written = rtcp::transport_feedback(out, head, arrived.iter().copied());
            assert_eq!(written, if arrived.iter().any(Option::is_some) { count } else { 0 });
            let arrivals = feedback.arrivals().map(|(seq, tick)| vec![seq.into(), tick.into()]);
            arrivals.collect()
        }
        Packet::Pli { sender, media } => {
            rtcp::pli(out, sender, media);
            numbers(&[sender, media])
        }
        Packet::Fir { sender, entries } => {
            rtcp::fir(out, sender, entries.iter());
            entries.iter().map(|(ssrc, seq)| vec![ssrc.into(), seq.into()]).collect()
        }
        Packet::Remb { sender, bits_per_second, ssrcs } => {
            let ssrcs: Vec<u32> = ssrcs.iter().collect();
            if bits_per_second == u64::MAX {
                return None;
            }
            rtcp::remb(out, sender, bits_per_second, &ssrcs);
            ssrcs.iter().map(|s| vec![(*s).into()]).chain([vec![0, bits_per_second]]).collect()
        }
        Packet::ExtendedReport { sender, blocks } => {
            let said = blocks.iter().map(|block| match block {
                Extended::ReferenceTime { ntp } => {
                    rtcp::reference_time(out, sender, ntp);
                    vec![ntp]
                }
                Extended::SinceReference(time) => {
                    rtcp::times_since_reference(out, sender, [time]);
                    vec![time.ssrc.into(), time.last_reference.into(), time.delay.into()]
                }
            });
            said.collect()
        }
        Packet::SourceDescription | Packet::Unknown { .. } => return None,
    })
}

fn report(blocks: impl Iterator<Item = rtcp::ReportBlock>) -> impl Iterator<Item = Vec<u64>> {
    blocks.map(|b| {
        let words = [b.ssrc, b.fraction_lost.into(), b.lost.cast_unsigned(), b.highest_seq];
        words.into_iter().chain([b.jitter, b.last_report, b.delay]).map(u64::from).collect()
    })
}
