//! Signalling JSON: what was understood is written and read again as the same; what we write is
//! one line without control characters, whatever names and messages are in it.

use trackyard::base::ids::TrackId;
use trackyard::wire::signal::{OwnTrack, Request, ServerMessage};

pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match Request::parse(&text) {
        Ok(request) => {
            let written = serde_json::to_string(&request.message).expect("plain values");
            let again = Request::parse(&written).expect("we read what we write");
            assert_eq!(again.message, request.message);
            assert!(request.id.is_none_or(|id| id <= 1 << 53));
        }
        Err(error) => {
            // What a stranger wrote comes back at most once, whatever it was.
            assert!(error.message.len() <= 2 * text.len() + 256, "{}", error.message);
            is_harmless(&ServerMessage::Error {
                code: error.code,
                message: error.message,
                id: error.id,
            });
        }
    }
    if let Ok(message) = serde_json::from_str(&text) {
        is_harmless(&message);
    }
    let name = || text.chars().take(40).collect::<String>();
    is_harmless(&ServerMessage::Answer {
        id: Some(data.len() as u64),
        sdp: name(),
        tracks: vec![OwnTrack { mid: name(), track: TrackId(data.len() as u64) }],
    });
}

fn is_harmless(message: &ServerMessage) {
    let json = message.to_json();
    assert!(!json.bytes().any(|b| b < b' '), "{json}");
    let again: ServerMessage = serde_json::from_str(&json).expect("we read what we write");
    assert_eq!(again, *message);
}
