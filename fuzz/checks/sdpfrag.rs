//! Fragments of WHIP and WHEP (RFC 8840): credentials that were accepted can stand in a session
//! description and in an answer without changing anything but themselves.

use trackyard::wire::sdp::with_ice_credentials;
use trackyard::wire::sdpfrag::{first_mid, first_value, parse, restarted, skeleton};

const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaaaa\r\n";

pub fn check(data: &[u8]) {
    // As an answer: whatever its first lines are, a restart speaks of nothing else.
    let text = String::from_utf8_lossy(data);
    let frame = skeleton(&text);
    assert!(frame.lines().count() <= 4);
    let candidates = ["candidate:1 1 udp 1 192.0.2.1 9 typ host".to_owned()];
    let (ufrag, pwd) = ("w".repeat(16), "p".repeat(26));
    let answer = restarted(&frame, &ufrag, &pwd, &candidates);
    assert_eq!(first_value(&answer, "a=ice-ufrag:"), Some(ufrag.as_str()));
    assert_eq!(first_value(&answer, "a=ice-pwd:"), Some(pwd.as_str()));
    assert_eq!(first_mid(&answer), first_mid(&text));
    assert_eq!(answer.lines().count(), frame.lines().count() + 4);

    let Some(fragment) = parse(data) else { return };
    for value in fragment.ufrag.iter().chain(&fragment.pwd) {
        assert!(!value.contains(char::is_whitespace) && value.is_ascii() && value.len() <= 256);
    }
    if let (Some(ufrag), Some(pwd)) = (&fragment.ufrag, &fragment.pwd) {
        assert!(ufrag.len() >= 4 && pwd.len() >= 22);
        let offer = with_ice_credentials(OFFER, ufrag, pwd);
        assert_eq!(offer.lines().count(), OFFER.lines().count());
        assert_eq!(parse(offer.as_bytes()), Some(fragment));
    }
}
