//! Connections over loopback sockets, in virtual time.

use std::io::{ErrorKind, Read, Write};

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::base::limits::WS_SILENCE_MAX;
use crate::wire::http::switching_protocols;

/// Both ends of a connection in one thread.
struct Pair {
    conn: Conn,
    tls: Arc<ServerConfig>,
    client: std::net::TcpStream,
    secure: Option<ClientConnection>,
    heard: Vec<u8>,
    inputs: Vec<GateInput>,
    now: Instant,
    over: bool,
}

impl Pair {
    fn new(with_tls: bool) -> Pair {
        let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(cert.signing_key.serialize_der()).unwrap();
        let tls = super::super::tls::server_config(vec![cert.cert.der().clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let secure = ClientConnection::new(Arc::new(config), name).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let now = Instant::now();
        Pair {
            conn: Conn::new(ConnId(1), TcpStream::from_std(stream), now),
            tls,
            client,
            secure: with_tls.then_some(secure),
            heard: Vec::new(),
            inputs: Vec::new(),
            now,
            over: false,
        }
    }

    /// Both sides in turn, until `done` or nobody could be waited for any longer.
    fn until(&mut self, what: &str, done: impl Fn(&Pair) -> bool) {
        let patience = Instant::now() + Duration::from_secs(10);
        while !done(self) {
            assert!(Instant::now() < patience, "{what}: {:?}", self.conn);
            self.conn.ready(true, true);
            self.over |= self.conn.pump(self.now, &self.tls, &mut self.inputs) == Pumped::Over;
            self.client_turn();
        }
    }

    fn client_turn(&mut self) {
        let Some(secure) = &mut self.secure else {
            let mut buffer = [0; 1024];
            if let Ok(n) = self.client.read(&mut buffer) {
                self.heard.extend_from_slice(&buffer[..n]);
            }
            return;
        };
        while secure.wants_write() && secure.write_tls(&mut self.client).is_ok() {}
        match secure.read_tls(&mut self.client) {
            Ok(_) => {
                secure.process_new_packets().unwrap();
                let _ = secure.reader().read_to_end(&mut self.heard);
            }
            Err(error) => assert!(
                [ErrorKind::WouldBlock, ErrorKind::ConnectionReset].contains(&error.kind()),
                "{error}"
            ),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.secure {
            Some(secure) => secure.writer().write_all(bytes).unwrap(),
            None => self.client.write_all(bytes).unwrap(),
        }
    }

    /// Lets time pass to the deadline, which must be `after`; whether that was the end.
    fn due(&mut self, after: Duration) -> bool {
        assert_eq!(self.conn.deadline() - self.now, after);
        assert!(!self.conn.due(self.now, &mut self.inputs), "not before its time");
        self.now += after;
        self.conn.due(self.now, &mut self.inputs)
    }

    fn closed(&mut self) -> (Option<u16>, CloseReason) {
        match self.inputs.pop() {
            Some(GateInput::Closed { code, why, .. }) => (code, why),
            other => panic!("not a close: {other:?}"),
        }
    }

    fn ask(&mut self, request: &[u8]) {
        self.send(request);
        self.until("a request", |p| !p.inputs.is_empty());
        assert!(matches!(self.inputs.pop(), Some(GateInput::Request { .. })));
    }

    fn websocket() -> Pair {
        let mut pair = Pair::new(true);
        pair.ask(b"GET /signal HTTP/1.1\r\nHost: a\r\n\r\n");
        pair.conn.upgrade(pair.now, &switching_protocols("dGhlIHNhbXBsZSBub25jZQ=="));
        pair.until("101", |p| p.heard.ends_with(b"\r\n\r\n"));
        pair.heard.clear();
        pair
    }
}

#[test]
fn slow_beginnings_end() {
    for bytes in [&b""[..], b"GET / HT"] {
        let mut p = Pair::new(false);
        p.send(bytes);
        p.until("the bytes", |p| p.conn.inbox == bytes);
        assert!(p.due(CONN_HEAD_TIMEOUT));
        assert_eq!(p.closed(), (None, CloseReason::Slow));
    }
}

#[test]
fn each_head_and_body_has_its_time_and_idleness_its_own() {
    let mut p = Pair::new(true);
    p.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    p.conn.respond(p.now, &Response::empty(204), &mut p.inputs);
    p.until("204", |p| p.heard.ends_with(b"\r\n\r\n"));
    assert_eq!(p.conn.deadline() - p.now, CONN_IDLE_TIMEOUT);
    p.now += Duration::from_secs(20);
    p.send(b"POST / HTTP/1.1\r\nHos");
    p.until("half a head", |p| p.conn.inbox.len() == 20);
    assert_eq!(p.conn.deadline() - p.now, CONN_HEAD_TIMEOUT);
    p.now += Duration::from_secs(9);
    p.send(b"t: a\r\nContent-Length: 2\r\n\r\n1");
    p.until(
        "half a body",
        |p| matches!(&p.conn.phase, Phase::Body { body, .. } if body.len() == 1),
    );
    assert!(p.due(CONN_HEAD_TIMEOUT));
    assert_eq!(p.closed(), (None, CloseReason::Slow));

    let mut p = Pair::new(true);
    p.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(!p.due(CONN_HEAD_TIMEOUT), "the gate may take its time");
    p.conn.respond(p.now, &Response::empty(204), &mut p.inputs);
    p.until("204", |p| p.heard.ends_with(b"\r\n\r\n"));
    assert!(p.due(CONN_IDLE_TIMEOUT));
    assert_eq!(p.closed(), (None, CloseReason::Idle));
}

#[test]
fn a_silent_websocket_is_pinged_and_then_dropped() {
    let mut p = Pair::websocket();
    assert!(!p.due(WS_PING_INTERVAL));
    p.until("a ping", |p| p.heard == [0x89, 0]);
    p.send(&[0x8a, 0x80, 0, 0, 0, 0]);
    let now = p.now;
    let is_heard =
        move |p: &Pair| matches!(&p.conn.phase, Phase::WebSocket(ws) if ws.heard_at == now);
    p.until("a pong", is_heard);
    assert!(!p.due(WS_PING_INTERVAL));
    assert!(!p.due(WS_PING_INTERVAL));
    assert!(p.due(WS_SILENCE_MAX - 2 * WS_PING_INTERVAL), "silence for too long");
    assert_eq!(p.closed(), (None, CloseReason::Silent));
}

#[test]
fn closing_from_either_side_tells_the_gate_once() {
    let mut p = Pair::websocket();
    p.send(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
    p.until("our goodbye", |p| p.heard == [0x88, 2, 0x03, 0xe9] && p.conn.has_said_all());
    assert_eq!(p.closed(), (Some(1001), CloseReason::Done));
    p.client.shutdown(std::net::Shutdown::Both).unwrap();
    p.until("the end", |p| p.over);
    assert!(p.inputs.is_empty());

    let mut p = Pair::websocket();
    p.conn.close(p.now, 1012, "", &mut p.inputs);
    assert_eq!(p.closed(), (None, CloseReason::Done));
    p.send(&[0x81, 0x80, 0, 0, 0, 0]);
    p.until("our goodbye", |p| p.heard == [0x88, 2, 0x03, 0xf4]);
    assert!(p.due(LINGER), "its goodbye does not come");
    assert!(p.inputs.is_empty(), "what it still says is of no interest");
}

#[test]
fn what_comes_behind_a_request_waits_and_is_bounded() {
    let mut p = Pair::new(true);
    p.ask(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    p.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n");
    p.send(&vec![b'x'; INBOX_BYTES_MAX * 2]);
    p.until("a full inbox", |p| p.conn.inbox.len() >= INBOX_BYTES_MAX);
    let filled = p.conn.inbox.len();
    assert!(filled < INBOX_BYTES_MAX + 20 * 1024, "{filled}");
    for _ in 0..10 {
        p.conn.ready(true, true);
        assert_eq!(p.conn.pump(p.now, &p.tls, &mut p.inputs), Pumped::Waits);
    }
    assert_eq!(p.conn.inbox.len(), filled);
    p.conn.respond(p.now, &Response::empty(204), &mut p.inputs);
    p.until("the second", |p| !p.inputs.is_empty());
    assert!(
        matches!(&p.inputs[0], GateInput::Request { request, .. } if request.head.target == "/2")
    );
}
