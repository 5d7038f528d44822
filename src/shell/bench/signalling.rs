//! A participant's WebSocket: joins, offers, and answers pings afterwards.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::http::{Https, Tls};
use super::{Done, Failed, failed};

pub struct Signalling {
    ws: WebSocket<Tls>,
}

impl Signalling {
    /// Enters a room.
    pub fn join(https: &Https, server: SocketAddr, room: &str, name: &str) -> Done<Signalling> {
        let url = format!("wss://localhost:{}/signal", server.port());
        let (ws, _) = tungstenite::client(url, https.connect()?)
            .map_err(|e| Failed(format!("a WebSocket: {e}")))?;
        let mut signalling = Signalling { ws };
        let join = json!({"type": "join", "id": 1, "room": room, "name": name});
        signalling.request(&join, "joined")?;
        Ok(signalling)
    }

    /// Sends an offer; the answer comes back. From then on nothing blocks.
    pub fn offer(&mut self, sdp: &str) -> Done<String> {
        let answer = self.request(&json!({"type": "offer", "id": 2, "sdp": sdp}), "answer")?;
        self.ws.get_ref().sock.set_nonblocking(true).map_err(failed("TCP"))?;
        Ok(answer["sdp"].as_str().unwrap_or_default().to_owned())
    }

    /// Reads what the room tells, and answers pings.
    pub fn listen(&mut self) -> Done<()> {
        loop {
            match self.ws.read() {
                Ok(_) => {}
                Err(tungstenite::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(failed("a WebSocket")(e)),
            }
        }
        match self.ws.flush() {
            Err(tungstenite::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result.map_err(failed("a WebSocket")),
        }
    }

    fn request(&mut self, request: &Value, reply: &str) -> Done<Value> {
        self.ws.send(Message::text(request.to_string())).map_err(failed("a WebSocket"))?;
        loop {
            let message = self.ws.read().map_err(failed("a WebSocket"))?;
            let Message::Text(text) = message else { continue };
            let value: Value = serde_json::from_str(&text).map_err(failed("signalling"))?;
            if value["type"] == reply {
                return Ok(value);
            }
            if value["type"] == "error" {
                return Err(Failed(format!("signalling: {value}")));
            }
        }
    }
}
