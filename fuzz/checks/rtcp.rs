//! Compound RTCP: what is left of it without refused retransmissions is well formed, no longer
//! than it was, and asks for exactly what was allowed. The first byte of the input says what is.

use trackyard::wire::rtcp::{keep_allowed, packets, reception_reports, sender_reports};

pub fn check(data: &[u8]) {
    let Some((rule, compound)) = data.split_first() else { return };
    let allows = |ssrc: u32, seq: u16| match rule {
        0 => true,
        1 => false,
        rule => (ssrc ^ u32::from(seq)).wrapping_mul(0x9e37_79b9) >> 24 < u32::from(*rule),
    };
    let (mut kept, mut allowed, mut refused) = (Vec::new(), Vec::new(), 0);
    let counted = keep_allowed(compound, &mut kept, |ssrc, seq| {
        let allows = allows(ssrc, seq);
        if allows {
            allowed.push((ssrc, seq));
        } else {
            refused += 1;
        }
        allows
    });
    assert_eq!(counted.retransmissions, refused);
    let reports = reception_reports(compound).count() + sender_reports(compound).count();
    assert!(reports <= compound.len() / 12);
    assert!(kept.len() <= compound.len());
    assert_eq!(packets(&kept).map(<[u8]>::len).sum::<usize>(), kept.len(), "all well formed");
    let (mut again, mut asked) = (Vec::new(), Vec::new());
    keep_allowed(&kept, &mut again, |ssrc, seq| {
        asked.push((ssrc, seq));
        true
    });
    assert_eq!(asked, allowed);
    if refused == 0 && *rule == 0 {
        assert_eq!(again, kept);
    }
}
