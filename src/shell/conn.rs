//! One connection: sniffing, HTTP/1.1 with one request at a time, WebSocket, and its end.
//!
//! What whole requests and messages mean is the gate's business; here they are only framed, timed
//! and bounded.

mod due;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use rustls::ServerConfig;

use super::tls::{OutBytes, Transport};
use super::websocket::{Framing, Heard};
use crate::base::limits::{
    CONN_HEAD_TIMEOUT, CONN_IDLE_TIMEOUT, CONN_OUT_BYTES_MAX, HTTP_HEAD_BYTES_MAX, WS_PING_INTERVAL,
};
use crate::gate::{CloseReason, ConnId, GateInput};
use crate::wire::chunked::Chunked;
use crate::wire::http::{
    CONTINUE, Date, Framing as BodyFraming, Head, HttpError, Request, Response, head_end,
    parse_head, to_https,
};

/// What is read and not yet understood. Holds a head; bodies and messages are taken out as they
/// come.
const INBOX_BYTES_MAX: usize = HTTP_HEAD_BYTES_MAX + 4 * 1024;
/// Read from one connection before the others get their turn.
const TURN_BYTES_MAX: usize = 64 * 1024;
/// After the last word: for the client to read it and close its side. Closing before that makes
/// the kernel reset the connection, and the last word may never be seen.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection is at.
#[derive(Debug)]
enum Phase {
    /// Reading a head, from `scanned` bytes on; `fresh` when none of it came yet.
    Head {
        scanned: usize,
        fresh: bool,
    },
    /// Reading a body of known length.
    Body {
        head: Head,
        body: Vec<u8>,
        length: usize,
    },
    /// Reading a chunked body.
    ChunkedBody {
        head: Head,
        chunked: Chunked,
    },
    /// The gate has the request.
    Asked {
        without_body: bool,
        keep_alive: bool,
    },
    WebSocket(Box<WebSocket>),
    /// Everything is said; writing what is left, then waiting for the client's end.
    Ending,
}

#[derive(Debug)]
struct WebSocket {
    framing: Framing,
    heard_at: Instant,
    ping_at: Instant,
    /// Our close frame is out: the client's is all that is waited for.
    closing: bool,
    /// Nothing that comes can be understood any more.
    deaf: bool,
}

/// What became of a connection after [`Conn::pump`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pumped {
    /// Nothing more until something happens.
    Waits,
    /// There is more to read; others first.
    Again,
    /// To be dropped.
    Over,
}

/// See the module's text.
#[derive(Debug)]
pub struct Conn {
    id: ConnId,
    transport: Transport,
    inbox: Vec<u8>,
    out: OutBytes,
    phase: Phase,
    deadline: Instant,
    /// The gate was told that the connection is closed.
    told: bool,
    /// No further request is served.
    last: bool,
    /// In [`Phase::Ending`]: all of `out` is with the kernel.
    all_said: bool,
}

impl Conn {
    /// On a socket that was just accepted.
    pub fn new(id: ConnId, stream: TcpStream, now: Instant) -> Conn {
        Conn {
            id,
            transport: Transport::new(stream),
            inbox: Vec::new(),
            out: OutBytes::default(),
            phase: Phase::Head { scanned: 0, fresh: false },
            deadline: now + CONN_HEAD_TIMEOUT,
            told: false,
            last: false,
            all_said: false,
        }
    }

    /// The key it was made with.
    pub fn id(&self) -> ConnId {
        self.id
    }

    /// The socket, to register it.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.transport.stream()
    }

    /// Whether nothing can be said yet, for want of TLS.
    pub fn is_shaking_hands(&self) -> bool {
        self.transport.is_shaking_hands()
    }

    /// Makes the end abrupt: no time is spent on waiting for the client's.
    pub fn turn_away(&self) {
        self.transport.reset_on_drop();
    }

    /// The poll said so.
    pub fn ready(&mut self, readable: bool, writable: bool) {
        self.transport.ready(readable, writable);
    }

    /// Reads, understands and writes what can be. Requests and messages go to `inputs`.
    pub fn pump(
        &mut self,
        now: Instant,
        tls: &Arc<ServerConfig>,
        inputs: &mut Vec<GateInput>,
    ) -> Pumped {
        match self.turn(now, tls, inputs) {
            Ok(pumped) => pumped,
            Err(why) => {
                self.tell(inputs, None, why);
                Pumped::Over
            }
        }
    }

    fn turn(
        &mut self,
        now: Instant,
        tls: &Arc<ServerConfig>,
        inputs: &mut Vec<GateInput>,
    ) -> Result<Pumped, CloseReason> {
        let mut budget = TURN_BYTES_MAX;
        loop {
            let before = self.inbox.len();
            let wants = before < INBOX_BYTES_MAX && budget > 0;
            let progress = wants && self.transport.read(&mut self.inbox, tls)?;
            // TLS records without content cost a turn's budget too.
            budget = budget.saturating_sub((self.inbox.len() - before).max(64));
            if progress && let Phase::WebSocket(ws) = &mut self.phase {
                ws.heard_at = now;
            }
            while self.understand(now, inputs)? {}
            if self.out.len() > CONN_OUT_BYTES_MAX {
                return Err(CloseReason::OutFull);
            }
            if !progress {
                break;
            }
        }
        let all_out = self.transport.write(&mut self.out)?;
        if self.transport.has_ended() && !matches!(self.phase, Phase::Ending) {
            return Err(CloseReason::ByClient);
        }
        if matches!(self.phase, Phase::Ending) && all_out {
            let shut = self.transport.shut_down()?;
            if shut && !std::mem::replace(&mut self.all_said, true) {
                self.deadline = now + LINGER;
            }
            if shut && self.transport.has_ended() {
                return Ok(Pumped::Over);
            }
        }
        let more = self.transport.is_readable() && self.inbox.len() < INBOX_BYTES_MAX;
        Ok(if more { Pumped::Again } else { Pumped::Waits })
    }

    /// The gate's answer to the request.
    pub fn respond(&mut self, now: Instant, response: &Response, inputs: &mut Vec<GateInput>) {
        let Phase::Asked { without_body, keep_alive } = self.phase else {
            log::error!("a response to a request that nobody made");
            return;
        };
        let keep_alive = keep_alive && !self.last;
        response.write(self.out.end(), without_body, keep_alive, date());
        if keep_alive {
            self.phase = Phase::Head { scanned: 0, fresh: true };
            self.deadline = now + CONN_IDLE_TIMEOUT;
        } else {
            self.end(now, inputs, None, CloseReason::Done);
        }
    }

    /// The gate made the connection a WebSocket.
    pub fn upgrade(&mut self, now: Instant, response: &Response) {
        response.write(self.out.end(), false, true, date());
        self.phase = Phase::WebSocket(Box::new(WebSocket {
            framing: Framing::for_newcomer(),
            heard_at: now,
            ping_at: now + WS_PING_INTERVAL,
            closing: false,
            deaf: false,
        }));
    }

    /// Messages may be as long as they get.
    pub fn admit(&mut self) {
        if let Phase::WebSocket(ws) = &mut self.phase {
            ws.framing.admit();
        }
    }

    /// Says something on a WebSocket.
    pub fn say(&mut self, text: &str) {
        if let Phase::WebSocket(ws) = &mut self.phase {
            ws.framing.say(text);
            ws.framing.take_output(self.out.end());
        }
    }

    /// Closes a WebSocket with that code.
    pub fn close(
        &mut self,
        now: Instant,
        code: u16,
        reason: &'static str,
        inputs: &mut Vec<GateInput>,
    ) {
        let Phase::WebSocket(ws) = &mut self.phase else {
            return;
        };
        ws.framing.close(code, reason);
        ws.framing.take_output(self.out.end());
        ws.closing = true;
        self.deadline = now + LINGER;
        if ws.deaf {
            self.end(now, inputs, None, CloseReason::Done);
        } else {
            self.tell(inputs, None, CloseReason::Done);
        }
    }

    /// Ends after the first request.
    pub fn serve_once(&mut self) {
        self.last = true;
    }

    /// Takes no further request: ends now when none is open, else after its answer.
    pub fn drain(&mut self, now: Instant, inputs: &mut Vec<GateInput>) {
        self.last = true;
        if matches!(self.phase, Phase::Head { .. }) && self.inbox.is_empty() {
            self.end(now, inputs, None, CloseReason::Shutdown);
        }
    }

    /// Whether all that there was to say is with the kernel, and only the client's end is missing.
    pub fn has_said_all(&self) -> bool {
        self.all_said
    }

    /// Understands one thing in the inbox. Returns whether there may be another.
    fn understand(
        &mut self,
        now: Instant,
        inputs: &mut Vec<GateInput>,
    ) -> Result<bool, CloseReason> {
        match &mut self.phase {
            Phase::Head { .. } => self.read_head(now, inputs),
            Phase::Body { body, length, .. } => {
                let n = (*length - body.len()).min(self.inbox.len());
                body.extend(self.inbox.drain(..n));
                if body.len() < *length {
                    return Ok(false);
                }
                let body = std::mem::take(body);
                self.ask(body, inputs);
                Ok(false)
            }
            Phase::ChunkedBody { chunked, .. } => {
                let taken = chunked.take(&self.inbox);
                match taken.map(|n| (n, chunked.finish())) {
                    Err(error) => self.reject(now, error, inputs),
                    Ok((n, body)) => {
                        self.inbox.drain(..n);
                        if let Some(body) = body {
                            self.ask(body, inputs);
                        }
                    }
                }
                Ok(false)
            }
            Phase::Asked { .. } => Ok(false),
            Phase::WebSocket(_) => Ok(self.hear(now, inputs)),
            Phase::Ending => {
                self.inbox.clear();
                Ok(false)
            }
        }
    }

    fn read_head(
        &mut self,
        now: Instant,
        inputs: &mut Vec<GateInput>,
    ) -> Result<bool, CloseReason> {
        let Phase::Head { scanned, fresh } = &mut self.phase else {
            return Ok(false);
        };
        // RFC 9112 §2.2: some clients send an empty line behind a body.
        while *scanned == 0 && self.inbox.starts_with(b"\r\n") {
            self.inbox.drain(..2);
        }
        if self.inbox.is_empty() {
            return Ok(false);
        }
        if std::mem::take(fresh) {
            self.deadline = now + CONN_HEAD_TIMEOUT;
        }
        let head = match head_end(&self.inbox, *scanned) {
            Ok(None) => {
                *scanned = self.inbox.len();
                return Ok(false);
            }
            Ok(Some(end)) => {
                let head = parse_head(&self.inbox[..end]);
                self.inbox.drain(..end);
                head
            }
            Err(error) => Err(error),
        };
        match head {
            Ok(head) if self.transport.is_plain() => {
                let response = to_https(&head).ok_or(CloseReason::NotTls)?;
                inputs.push(GateInput::Rejected { status: response.status });
                response.write(self.out.end(), head.method == "HEAD", false, date());
                self.end(now, inputs, None, CloseReason::NotTls);
            }
            Err(_) if self.transport.is_plain() => return Err(CloseReason::NotTls),
            Ok(head) => self.begin_body(now, head, inputs),
            Err(error) => self.reject(now, error, inputs),
        }
        Ok(true)
    }

    fn begin_body(&mut self, now: Instant, head: Head, inputs: &mut Vec<GateInput>) {
        let has_body = head.framing != BodyFraming::Length(0);
        if has_body && head.expects_continue && self.inbox.is_empty() {
            self.out.end().extend_from_slice(CONTINUE);
        }
        self.deadline = now + CONN_HEAD_TIMEOUT;
        match head.framing {
            BodyFraming::Length(length) => {
                self.phase = Phase::Body {
                    head,
                    body: Vec::with_capacity(length.min(self.inbox.len())),
                    length,
                };
                if !has_body {
                    self.ask(Vec::new(), inputs);
                }
            }
            BodyFraming::Chunked => {
                self.phase = Phase::ChunkedBody { head, chunked: Chunked::default() };
            }
        }
    }

    /// Hands a whole request to the gate.
    fn ask(&mut self, body: Vec<u8>, inputs: &mut Vec<GateInput>) {
        let asked = Phase::Asked { without_body: false, keep_alive: false };
        let head = match std::mem::replace(&mut self.phase, asked) {
            Phase::Body { head, .. } | Phase::ChunkedBody { head, .. } => head,
            other => {
                self.phase = other;
                return;
            }
        };
        self.phase =
            Phase::Asked { without_body: head.method == "HEAD", keep_alive: head.keep_alive };
        inputs.push(GateInput::Request { conn: self.id, request: Request { head, body } });
    }

    /// Answers a request that cannot be read; what follows it cannot be either.
    fn reject(&mut self, now: Instant, error: HttpError, inputs: &mut Vec<GateInput>) {
        log::debug!("refused a request with {}: {}", error.status, error.detail);
        inputs.push(GateInput::Rejected { status: error.status });
        Response::from(error).write(self.out.end(), false, false, date());
        self.end(now, inputs, None, CloseReason::BadRequest);
    }

    /// Understands one WebSocket message. Returns whether there may be another.
    fn hear(&mut self, now: Instant, inputs: &mut Vec<GateInput>) -> bool {
        let Phase::WebSocket(ws) = &mut self.phase else {
            return false;
        };
        if ws.deaf {
            self.inbox.clear();
            return false;
        }
        ws.framing.feed(&mut self.inbox);
        let heard = ws.framing.hear();
        ws.framing.take_output(self.out.end());
        let (conn, closing) = (self.id, ws.closing);
        match heard {
            None => return false,
            Some(Heard::Closed(code)) => self.end(now, inputs, code, CloseReason::Done),
            Some(Heard::TooLarge | Heard::Broken(_)) if closing => {
                self.end(now, inputs, None, CloseReason::Done);
            }
            Some(_) if closing => {}
            Some(Heard::Text(text)) => inputs.push(GateInput::Text { conn, text }),
            Some(Heard::Binary) => inputs.push(GateInput::Binary { conn }),
            Some(Heard::TooLarge) => {
                ws.deaf = true;
                inputs.push(GateInput::TooLarge { conn });
            }
            Some(Heard::Broken(code)) => {
                ws.framing.close(code, "");
                ws.framing.take_output(self.out.end());
                self.end(now, inputs, None, CloseReason::BadFrame);
            }
        }
        // What was said to a client that does not listen is counted before more is understood.
        self.out.len() <= CONN_OUT_BYTES_MAX
    }

    /// Everything is said: the gate is told at once, the rest is between the sockets.
    fn end(
        &mut self,
        now: Instant,
        inputs: &mut Vec<GateInput>,
        code: Option<u16>,
        why: CloseReason,
    ) {
        self.tell(inputs, code, why);
        self.phase = Phase::Ending;
        self.inbox = Vec::new();
        self.deadline = now + CONN_IDLE_TIMEOUT;
    }

    fn tell(&mut self, inputs: &mut Vec<GateInput>, code: Option<u16>, why: CloseReason) {
        if !std::mem::replace(&mut self.told, true) {
            log::debug!("connection {} ends: {}", self.id.0, why.label());
            inputs.push(GateInput::Closed { conn: self.id, code, why });
        }
    }
}

/// What responses are dated with.
fn date() -> Date {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Date::from_unix(since.map_or(0, |since| since.as_secs()))
}
