//! The little that the gate reads of session descriptions, and the fragments that WHIP and WHEP
//! carry ICE in (`application/trickle-ice-sdpfrag`, RFC 8840; RFC 9725 §4.3).

/// The ICE credentials of a fragment, where it has any; its candidates are of no use to an
/// ICE-lite server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fragment {
    pub ufrag: Option<String>,
    pub pwd: Option<String>,
}

/// Reads a fragment. `None` when it is not lines of `x=value`, or its credentials are not such
/// (RFC 8839 §5.4).
pub fn parse(body: &[u8]) -> Option<Fragment> {
    let text = std::str::from_utf8(body).ok()?;
    let is_field = |line: &str| matches!(line.as_bytes(), [_, b'=', _, ..]);
    if !lines(text).filter(|line| !line.is_empty()).all(is_field) {
        return None;
    }
    let credential = |name, shortest| match first_value(text, name) {
        None => Some(None),
        Some(value) if is_credential(value, shortest) => Some(Some(value.to_owned())),
        Some(_) => None,
    };
    Some(Fragment { ufrag: credential("a=ice-ufrag:", 4)?, pwd: credential("a=ice-pwd:", 22)? })
}

fn is_credential(value: &str, shortest: usize) -> bool {
    let ice_char = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    (shortest..=256).contains(&value.len()) && value.bytes().all(ice_char)
}

/// The rest of the first line that begins with `prefix`.
pub fn first_value<'a>(sdp: &'a str, prefix: &str) -> Option<&'a str> {
    lines(sdp).find_map(|line| line.strip_prefix(prefix))
}

/// The mid of the first m-line that has one.
pub fn first_mid(sdp: &str) -> Option<&str> {
    first_value(sdp, "a=mid:")
}

fn lines(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().map(str::trim_end)
}

/// What stays the same of an answer over ICE restarts, as a fragment wants it: the BUNDLE group
/// and the m-line that carries it (RFC 9725 §4.3.2).
pub fn skeleton(answer: &str) -> String {
    let mut text = "a=ice-lite\r\n".to_owned();
    for prefix in ["a=group:BUNDLE ", "m=", "a=mid:"] {
        if let Some(value) = first_value(answer, prefix) {
            text.extend([prefix, value, "\r\n"]);
        }
    }
    text
}

/// A fragment with the server's new credentials and all its candidates.
pub fn restarted(skeleton: &str, ufrag: &str, pwd: &str, candidates: &[String]) -> String {
    let mut text = format!("{skeleton}a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\n");
    for candidate in candidates {
        text.extend(["a=", candidate, "\r\n"]);
    }
    text + "a=end-of-candidates\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_are_read_strictly() {
        let body = b"a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n";
        let fragment = parse(body).unwrap();
        assert_eq!(fragment.ufrag.as_deref(), Some("EsAw"));
        assert_eq!(fragment.pwd.as_deref(), Some("P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(parse(b""), Some(Fragment::default()));
        for bad in [
            &b"hello"[..],
            b"a=ice-ufrag:abc\n",
            b"a=ice-pwd:short\n",
            b"a=ice-ufrag:ab d\n",
            b"\xff",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_restart_speaks_of_the_bundle_only() {
        let answer = "v=0\r\na=group:BUNDLE x y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:y\r\n";
        assert_eq!(first_mid(answer), Some("x"));
        let text = restarted(&skeleton(answer), "u", "p", &["candidate:1".into()]);
        assert_eq!(
            text,
            "a=ice-lite\r\na=group:BUNDLE x y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:x\r\n\
             a=ice-ufrag:u\r\na=ice-pwd:p\r\na=candidate:1\r\na=end-of-candidates\r\n"
        );
    }
}
