//! WebSocket frames to messages and back, over bytes in memory (RFC 6455, without extensions).

use std::io::{self, Read, Write};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};

use crate::base::limits::{CONN_OUT_BYTES_MAX, WS_MESSAGE_BYTES_BEFORE_JOIN, WS_MESSAGE_BYTES_MAX};

/// Read at a time; messages larger than this only take more turns.
const READ_BYTES: usize = 4 * 1024;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Text(String),
    Binary,
    /// A close frame, and its code if it had one; ours is on its way back.
    Closed(Option<u16>),
    /// A message over the limit; nothing more can be read.
    TooLarge,
    /// Not a WebSocket frame, or not UTF-8; nothing more can be read. With the code to close with.
    Broken(u16),
}

/// One WebSocket's frames.
#[derive(Debug)]
pub struct Framing(WebSocket<Pipe>);

/// The two directions of the connection, as they are in memory.
#[derive(Debug, Default)]
struct Pipe {
    input: Vec<u8>,
    taken: usize,
    output: Vec<u8>,
}

impl Framing {
    /// With the limits of a client that has not joined.
    pub fn for_newcomer() -> Framing {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(CONN_OUT_BYTES_MAX)
            .max_message_size(Some(WS_MESSAGE_BYTES_BEFORE_JOIN))
            .max_frame_size(Some(WS_MESSAGE_BYTES_BEFORE_JOIN));
        Framing(WebSocket::from_raw_socket(Pipe::default(), Role::Server, Some(config)))
    }

    /// Messages may be as long as they get.
    pub fn admit(&mut self) {
        self.0.set_config(|config| {
            config.max_message_size = Some(WS_MESSAGE_BYTES_MAX);
            config.max_frame_size = Some(WS_MESSAGE_BYTES_MAX);
        });
    }

    /// Takes bytes that came, leaving `bytes` empty.
    pub fn feed(&mut self, bytes: &mut Vec<u8>) {
        let pipe = self.0.get_mut();
        pipe.input.drain(..pipe.taken);
        pipe.taken = 0;
        pipe.input.append(bytes);
    }

    /// The next message in what came; `None` when it is not whole. Pings are answered here.
    pub fn hear(&mut self) -> Option<Heard> {
        loop {
            return Some(match self.0.read() {
                Ok(Message::Text(text)) => Heard::Text(text.as_str().to_owned()),
                Ok(Message::Binary(_)) => Heard::Binary,
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
                Ok(Message::Close(frame)) => {
                    // Writes our close frame; the error is that the WebSocket is closed then.
                    let _ = self.0.flush();
                    Heard::Closed(frame.map(|f| f.code.into()))
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => Heard::Closed(None),
                Err(Error::Capacity(_)) => Heard::TooLarge,
                Err(Error::Utf8(_)) => Heard::Broken(CloseCode::Invalid.into()),
                Err(error) => {
                    log::debug!("a WebSocket is broken: {error}");
                    Heard::Broken(CloseCode::Protocol.into())
                }
            });
        }
    }

    /// Frames a text message. After a close frame nothing is said any more.
    pub fn say(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Asks whether anybody is there.
    pub fn ping(&mut self) {
        self.send(Message::Ping(Bytes::new()));
    }

    /// Says goodbye.
    pub fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code: code.into(), reason: reason.into() };
        // Fails only when the other side's goodbye was answered already.
        let _ = self.0.close(Some(frame));
    }

    /// Appends what is to be sent to `out`.
    pub fn take_output(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.0.get_mut().output);
    }

    fn send(&mut self, message: Message) {
        if let Err(error) = self.0.send(message) {
            log::debug!("not said to a closing WebSocket: {error}");
        }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.taken..];
        let n = rest.len().min(buffer.len());
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..n].copy_from_slice(&rest[..n]);
        self.taken += n;
        Ok(n)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        match payload.len() {
            n @ 0..126 => bytes.push(0x80 | n as u8),
            n => {
                bytes.push(0x80 | 126);
                bytes.extend((n as u16).to_be_bytes());
            }
        }
        bytes.extend([0; 4]);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn hear(framing: &mut Framing, mut bytes: Vec<u8>) -> Option<Heard> {
        framing.feed(&mut bytes);
        framing.hear()
    }

    fn output(framing: &mut Framing) -> Vec<u8> {
        let mut out = Vec::new();
        framing.take_output(&mut out);
        out
    }

    #[test]
    fn messages_come_whole_and_pings_are_answered() {
        let mut f = Framing::for_newcomer();
        let mut bytes = frame(9, b"hi");
        bytes.extend(frame(1, b"{}"));
        let last = bytes.pop().unwrap();
        assert_eq!(hear(&mut f, bytes), None);
        assert_eq!(output(&mut f), [0x8a, 2, b'h', b'i']);
        assert_eq!(hear(&mut f, vec![last]), Some(Heard::Text("{}".into())));
        assert_eq!(hear(&mut f, frame(2, b"x")), Some(Heard::Binary));
        f.say("ok");
        assert_eq!(output(&mut f), [0x81, 2, b'o', b'k']);
    }

    #[test]
    fn the_limit_rises_and_an_error_can_still_be_told() {
        let mut f = Framing::for_newcomer();
        f.admit();
        let long = frame(1, &[b'x'; WS_MESSAGE_BYTES_BEFORE_JOIN + 1]);
        assert!(matches!(hear(&mut f, long.clone()), Some(Heard::Text(_))));
        let mut f = Framing::for_newcomer();
        assert_eq!(hear(&mut f, long[..8].to_vec()), Some(Heard::TooLarge));
        f.say("no");
        f.close(1009, "");
        assert_eq!(output(&mut f), [0x81, 2, b'n', b'o', 0x88, 2, 0x03, 0xf1]);
    }

    #[test]
    fn closes_are_answered_and_junk_is_named() {
        let mut f = Framing::for_newcomer();
        let close = frame(8, &1001u16.to_be_bytes());
        assert_eq!(hear(&mut f, close), Some(Heard::Closed(Some(1001))));
        assert_eq!(output(&mut f), [0x88, 2, 0x03, 0xe9]);
        f.say("late");
        assert!(output(&mut f).is_empty());
        let mut f = Framing::for_newcomer();
        assert_eq!(hear(&mut f, frame(8, b"")), Some(Heard::Closed(None)));
        let mut f = Framing::for_newcomer();
        assert_eq!(hear(&mut f, frame(1, b"\xff")), Some(Heard::Broken(1007)));
        let mut f = Framing::for_newcomer();
        // Not masked.
        let broken = hear(&mut f, vec![0x81, 1, b'x']);
        assert_eq!(broken, Some(Heard::Broken(1002)));
        f.close(1002, "");
        assert_eq!(output(&mut f), [0x88, 2, 0x03, 0xea]);
        let mut f = Framing::for_newcomer();
        f.close(1000, "");
        assert_eq!(hear(&mut f, frame(8, &1000u16.to_be_bytes())), Some(Heard::Closed(Some(1000))));
    }
}
