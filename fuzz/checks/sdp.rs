//! The gate in front of the SDP parser. What the parser behind it makes of such an offer is the
//! target `offer`, what becomes of answers `answers`.

use trackyard::base::limits::{ENCODINGS_MAX, SDP_BYTES_MAX, SDP_CANDIDATES_MAX, SDP_M_LINES_MAX};
use trackyard::wire::sdp::{encodings, gate_offer, with_simulcast, without_simulcast};

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(offer) = gate_offer(&text) {
        assert!(text.len() <= SDP_BYTES_MAX);
        let count = |prefix: &str| text.lines().filter(|l| l.starts_with(prefix)).count();
        assert!((1..=SDP_M_LINES_MAX).contains(&count("m=")));
        assert!(count("a=candidate:") <= SDP_CANDIDATES_MAX);
        assert_eq!(offer.mids.len(), count("m="));
        assert!(offer.mids.iter().all(|mid| (1..=16).contains(&mid.len())));
        assert!(!offer.text.lines().any(|l| l.starts_with("a=candidate:")));
        let simulcast = encodings(&offer.text);
        assert!(simulcast.iter().all(|(mid, rids)| {
            offer.mids.contains(mid) && (1..=ENCODINGS_MAX).contains(&rids.len())
        }));
        let plain = without_simulcast(&offer.text);
        assert!(encodings(&plain).is_empty());
        let answered = with_simulcast(&plain, &simulcast);
        assert_eq!(without_simulcast(&answered), plain);
        assert!(offer.text.contains(&format!("a=fingerprint:{}\r\n", offer.fingerprint)));
        assert_eq!(gate_offer(&offer.text), Ok(offer), "what passed passes again, unchanged");
    }
}
