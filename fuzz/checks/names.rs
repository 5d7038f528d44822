//! Names and identities from outside: what is accepted keeps to its rule and stays the same when
//! it is read again.

use trackyard::base::ids::{ParticipantId, TrackId};
use trackyard::base::limits::NAME_CHARS_MAX;
use trackyard::base::rng::BASE32;
use trackyard::wire::http::percent_decode;
use trackyard::wire::names::{display_name, room_name};
use trackyard::wire::ufrag::worker_of;

/// Characters that turn the text around them, or end its line.
const ACTING: [char; 13] = [
    '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}',
    '\u{2069}', '\u{2028}', '\u{2029}', '\u{85}', '\u{7f}',
];

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for read in [room_name, display_name] {
        name(&text, read);
        if let Some(decoded) = percent_decode(&text) {
            name(&decoded, read);
        }
    }
    percent(&text);
    if let Some(id) = ParticipantId::parse(&text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(id) = TrackId::parse(&text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(worker) = worker_of(&text) {
        assert_eq!(text.len(), 16);
        let digits = [worker.index() >> 5, worker.index() & 31].map(|digit| BASE32[digit]);
        assert_eq!(&text.as_bytes()[..2], digits);
    }
}

fn name(text: &str, read: fn(&str) -> Option<&str>) {
    let Some(name) = read(text) else { return };
    assert!((1..=NAME_CHARS_MAX).contains(&name.chars().count()), "{name:?}");
    assert!(!name.chars().any(|c| c < ' ' || ACTING.contains(&c)), "{name:?}");
    assert_eq!((name.trim(), read(name)), (name, Some(name)));
}

fn percent(text: &str) {
    let escaped: String = text.bytes().map(|b| format!("%{b:02x}")).collect();
    assert_eq!(percent_decode(&escaped).as_deref(), Some(text));
    if let Some(decoded) = percent_decode(text) {
        assert!(decoded.len() <= text.len());
        assert!(text.contains('%') || decoded == text);
    }
}
