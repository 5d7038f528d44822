//! WebSocket frames: the same messages and the same answers in whatever pieces they arrive,
//! within their limits, and no more bytes out than came in.

use trackyard::base::limits::{WS_MESSAGE_BYTES_BEFORE_JOIN, WS_MESSAGE_BYTES_MAX};
use trackyard::shell::websocket::{Framing, Heard};

/// The first byte is the length of the pieces; its lowest bit, whether the client has joined.
pub fn check(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let joined = first & 1 == 1;
    let whole = hear(stream, stream.len().max(1), joined);
    let pieces = hear(stream, usize::from(*first) + 1, joined);
    assert_eq!(whole, pieces, "framing depends on how bytes arrive");
    let (messages, answer) = whole;
    let limit = if joined { WS_MESSAGE_BYTES_MAX } else { WS_MESSAGE_BYTES_BEFORE_JOIN };
    for message in &messages {
        if let Heard::Text(text) = message {
            assert!(text.len() <= limit, "{} bytes", text.len());
        }
    }
    // An answer is its frame without the mask; a last close frame may say why.
    assert!(answer.len() <= stream.len() + 32, "{} of {}", answer.len(), stream.len());
}

/// What was heard up to the end, and what was answered.
fn hear(stream: &[u8], piece: usize, joined: bool) -> (Vec<Heard>, Vec<u8>) {
    let mut framing = Framing::for_newcomer();
    if joined {
        framing.admit();
    }
    let (mut messages, mut answer) = (Vec::new(), Vec::new());
    for bytes in stream.chunks(piece) {
        let mut bytes = bytes.to_vec();
        framing.feed(&mut bytes);
        assert!(bytes.is_empty());
        while let Some(heard) = framing.hear() {
            let over = !matches!(heard, Heard::Text(_) | Heard::Binary);
            messages.push(heard);
            if over {
                framing.take_output(&mut answer);
                return (messages, answer);
            }
        }
        framing.take_output(&mut answer);
    }
    (messages, answer)
}
