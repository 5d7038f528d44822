//! What is edited in answers, as text: the order of formats, credentials, streams, candidates.

use trackyard::wire::bandwidth::{declared_bps, with_declared, with_limits};
use trackyard::wire::sdp::{
    candidates, in_offered_order, with_candidates_everywhere, with_ice_credentials, with_stream,
};

/// They change the lines that they are for, and no others.
pub fn check(data: &[u8]) {
    // One space between words, as `str0m` writes them.
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = String::from_utf8_lossy(data);
    let text: String = text.lines().flat_map(|line| [words(line), "\r\n".into()]).collect();
    let text = text.as_str();
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

    let declared = with_declared(text, text);
    let added = lines(&declared).count() - lines(text).count();
    assert!(added <= lines(text).filter(|l| l.starts_with("m=")).count());
    let total = declared_bps(text);
    assert!(total != Some(0) && (total.is_none() || text.contains("a=sendonly")));

    let held = with_limits(text, |_, _| Some(1_000));
    assert_eq!(with_limits(&held, |_, _| Some(1_000)), held);

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
