//! The gate in front of the SDP parser, and the edits of answers, as text. What the parser behind
//! it makes of such an offer is the target `offer`.

use trackyard::base::limits::{SDP_BYTES_MAX, SDP_CANDIDATES_MAX, SDP_M_LINES_MAX};
use trackyard::wire::sdp::{
    candidates, gate_offer, in_offered_order, with_candidates_everywhere, with_ice_credentials,
    with_stream,
};

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(offer) = gate_offer(&text) {
        assert!(text.len() <= SDP_BYTES_MAX);
        let count = |prefix: &str| lines(&text).filter(|l| l.starts_with(prefix)).count();
        assert!((1..=SDP_M_LINES_MAX).contains(&count("m=")));
        assert!(count("a=candidate:") <= SDP_CANDIDATES_MAX);
        assert_eq!(offer.mids.len(), count("m="));
        assert!(offer.mids.iter().all(|mid| (1..=16).contains(&mid.len())));
        for gone in ["a=candidate:", "a=simulcast:", "a=rid:"] {
            assert!(!lines(&offer.text).any(|l| l.starts_with(gone)), "{gone} stayed");
        }
        assert!(offer.text.contains(&format!("a=fingerprint:{}\r\n", offer.fingerprint)));
        assert_eq!(gate_offer(&offer.text), Ok(offer), "what passed passes again, unchanged");
    }
    edits(&text);
}

/// Edits change the lines they are for.
fn edits(text: &str) {
    let reversed: String = lines(text).flat_map(|l| [reverse(l), "\r\n".into()]).collect();
    for answer in [text, &reversed] {
        let ordered = in_offered_order(answer, text);
        assert_eq!(lines(&ordered).count(), lines(text).count());
        for (ordered, line) in lines(&ordered).zip(lines(text)) {
            let formats = sorted(line);
            assert_eq!(sorted(ordered), formats);
            // A format that stands there twice has no one place.
            let twice = formats.iter().zip(formats.iter().skip(1)).any(|(a, b)| a == b);
            assert!(
                twice || ordered.split_whitespace().eq(line.split_whitespace()),
                "{ordered} is not {line}"
            );
        }
    }

    let restarted = with_ice_credentials(text, "uuuu", "pppp");
    assert_eq!(lines(&restarted).count(), lines(text).count());
    assert_eq!(with_ice_credentials(&restarted, "uuuu", "pppp"), restarted);

    let one = with_stream(text, "s");
    assert_eq!(lines(&one).count(), lines(text).count());
    assert!(lines(&one).filter(|l| l.starts_with("a=msid:")).all(|l| l.starts_with("a=msid:s")));

    let found = candidates(text);
    let everywhere = with_candidates_everywhere(text);
    if lines(text).any(|l| l.starts_with("m=")) {
        assert_eq!(candidates(&everywhere), found);
        assert_eq!(with_candidates_everywhere(&everywhere), everywhere);
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end)
}

/// An m-line with its formats the other way round; any other line as it is.
fn reverse(line: &str) -> String {
    let mut parts: Vec<&str> = line.split(' ').collect();
    if let Some(formats) = parts.get_mut(3..).filter(|_| line.starts_with("m=")) {
        formats.reverse();
    }
    parts.join(" ")
}

fn sorted(line: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = line.split_whitespace().collect();
    parts.sort_unstable();
    parts
}
