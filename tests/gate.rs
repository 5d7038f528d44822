//! The gate's thread over real TCP and TLS on loopback, with a worker played by the test.
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Waker};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use trackyard::base::ids::WorkerId;
use trackyard::base::limits::{CONN_OUT_BYTES_MAX, HTTP_BODY_BYTES_MAX};
use trackyard::base::rng::Rng;
use trackyard::gate::GateConfig;
use trackyard::room::mail::{
    Answer, IceCredentials, PeerLetter, RoomLetter, RoomReport, ToGate, ToWorker,
};
use trackyard::shell::gate_loop::{self, GateSetup};
use trackyard::shell::mailbox::{Receiver, Sender, WAKER, mailbox};
use trackyard::shell::phase::{Phase, PhaseSwitch};
use trackyard::shell::tls;
use trackyard::wire::signal::{ErrorCode, ParticipantView, PublishLimits, ServerMessage};
use tungstenite::{Message, WebSocket};

/// Nothing here takes so long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A gate, and what to reach it with.
struct Gate {
    address: SocketAddr,
    client: Arc<ClientConfig>,
    switch: PhaseSwitch,
    thread: Option<JoinHandle<()>>,
    worker: Option<JoinHandle<Vec<String>>>,
}

impl Gate {
    fn start() -> Gate {
        let cert = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivateKeyDer::try_from(cert.signing_key.serialize_der()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.cert.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (poll, waker) = poll();
        let (worker_poll, worker_waker) = self::poll();
        let (to_gate, letters) = mailbox(waker.clone());
        let (to_worker, worker_letters) = mailbox(worker_waker.clone());
        let switch = PhaseSwitch::new(vec![waker, worker_waker]);
        let worker = std::thread::spawn(move || work(worker_poll, &worker_letters, &to_gate));
        let setup = GateSetup {
            poll,
            listener,
            tls: tls::server_config(vec![cert.cert.der().clone()], key).unwrap(),
            config: GateConfig {
                limits: PublishLimits::default(),
                workers: 1,
                ice_servers: Vec::new(),
                resume_grace: Duration::from_secs(6),
                metrics_token: None,
                exempt: Vec::new(),
                version: "0.0.0",
            },
            rng: Rng::from_seed([9; 32]),
            letters,
            workers: vec![to_worker],
            phase: switch.watch(),
        };
        let thread = std::thread::spawn(|| gate_loop::run(setup).unwrap());
        Gate {
            address,
            client: Arc::new(client),
            switch,
            thread: Some(thread),
            worker: Some(worker),
        }
    }

    fn tcp(&self) -> TcpStream {
        let tcp = TcpStream::connect(self.address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp
    }

    fn tls(&self) -> Stream {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(self.client.clone(), name).unwrap();
        StreamOwned::new(tls, self.tcp())
    }

    fn socket(&self) -> WebSocket<Stream> {
        let url = format!("wss://localhost:{}/signal", self.address.port());
        let (socket, response) = tungstenite::client(url, self.tls()).unwrap();
        assert_eq!(response.status(), 101);
        socket
    }

    fn joined(&self, room: &str, name: &str) -> (WebSocket<Stream>, Value) {
        let mut socket = self.socket();
        say(&mut socket, json!({"type":"join","id":1,"room":room,"name":name}));
        let joined = hear(&mut socket);
        assert_eq!(joined["type"], "joined", "{joined}");
        (socket, joined)
    }

    /// Drains; both threads must end. What the worker noted.
    fn stop(mut self) -> Vec<String> {
        self.switch.advance(Phase::Drain);
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        if let Some(thread) = self.thread.take() {
            let deadline = Instant::now() + PATIENCE;
            while !thread.is_finished() {
                assert!(Instant::now() < deadline, "the gate's thread ends");
                std::thread::sleep(Duration::from_millis(5));
            }
            thread.join().unwrap();
        }
        self.worker.take().map(|worker| worker.join().unwrap()).unwrap_or_default()
    }
}

fn poll() -> (Poll, Arc<Waker>) {
    let poll = Poll::new().unwrap();
    let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
    (poll, waker)
}

/// A worker that lets everybody in and answers every offer that is not garbage. Ends with the
/// drain, and gives the leaves that it was told.
fn work(mut poll: Poll, letters: &Receiver<ToWorker>, gate: &Sender<ToGate>) -> Vec<String> {
    let mut noted = Vec::new();
    let mut events = Events::with_capacity(8);
    let mut taken = Vec::new();
    let worker = WorkerId(0);
    let rooms = vec![RoomReport { room: "x".into(), participants: 1, viewers: 0, tracks: 2 }];
    gate.send(ToGate::Report { worker, counters: Box::default(), rooms }).unwrap();
    loop {
        poll.poll(&mut events, Some(PATIENCE * 3)).unwrap();
        assert!(!events.is_empty(), "the test ends its worker");
        letters.drain(&mut taken);
        for letter in taken.drain(..) {
            match letter {
                ToWorker::Room(_, letter) => answer_room(letter, gate, &mut noted),
                ToWorker::Peer(_, letter) => answer_peer(letter, gate),
                ToWorker::Drain => {
                    gate.send(ToGate::Drained { worker }).unwrap();
                    return noted;
                }
                other => panic!("the gate does not write {other:?}"),
            }
        }
    }
}

fn answer_room(letter: RoomLetter, gate: &Sender<ToGate>, noted: &mut Vec<String>) {
    let joined = |session, request, resumed, name: &str| {
        let me = ParticipantView {
            id: trackyard::base::ids::ParticipantId(7),
            name: name.to_owned(),
            tracks: Vec::new(),
        };
        let (others, slots) = (vec![me], Vec::new());
        gate.send(ToGate::Joined { session, request, others, slots, resumed }).unwrap();
    };
    match letter {
        RoomLetter::Join { address, name, request, .. } => {
            joined(address.session, request, false, &name);
            if name == "flood" {
                let id = address.participant;
                let name = "x".repeat(1024);
                let participant = ParticipantView { id, name, tracks: Vec::new() };
                for _ in 0..8 * CONN_OUT_BYTES_MAX / 1024 {
                    let message =
                        ServerMessage::ParticipantJoined { participant: participant.clone() };
                    let letter = ToGate::Event { to: vec![address.session], message };
                    gate.send(letter).unwrap();
                }
            }
        }
        RoomLetter::Leave { reason, .. } => noted.push(format!("{reason:?}")),
        RoomLetter::Resume { request, .. } => {
            let session = trackyard::base::ids::SessionId(1);
            joined(session, request, true, "back");
        }
        RoomLetter::Update { .. } | RoomLetter::Negotiated { .. } => {}
        _ => {}
    }
}

fn answer_peer(letter: PeerLetter, gate: &Sender<ToGate>) {
    let ice = |ufrag: &str| IceCredentials {
        ufrag: ufrag.into(),
        pwd: "p".into(),
        candidates: vec!["candidate:1 1 udp 1 127.0.0.1 1 typ host".into()],
    };
    match letter {
        PeerLetter::Offer { address, request, sdp, .. } if sdp.starts_with("v=0") => {
            let sdp = "v=0\r\nm=audio 9 X 0\r\na=mid:0\r\n".to_owned();
            let answer = Answer { sdp, tracks: Vec::new(), ice: ice("one") };
            let session = address.session;
            gate.send(ToGate::Answered { session, request, answer }).unwrap();
        }
        PeerLetter::Offer { address, request, .. } => {
            let (code, message) = (ErrorCode::BadSdp, "garbage".to_owned());
            let session = address.session;
            gate.send(ToGate::Refused { session, request, code, message }).unwrap();
        }
        _ => {}
    }
}

fn say(socket: &mut WebSocket<Stream>, message: Value) {
    socket.send(Message::text(message.to_string())).unwrap();
}

/// The next text.
fn hear(socket: &mut WebSocket<Stream>) -> Value {
    loop {
        match socket.read().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("not a text: {other:?}"),
        }
    }
}

/// The code of the server's close frame, and that the connection ends cleanly after it.
fn closed(socket: &mut WebSocket<Stream>) -> u16 {
    let code = loop {
        match socket.read().unwrap() {
            Message::Close(frame) => break frame.expect("a code").code.into(),
            Message::Ping(_) | Message::Pong(_) | Message::Text(_) => {}
            other => panic!("not a close: {other:?}"),
        }
    };
    loop {
        match socket.read() {
            Err(tungstenite::Error::ConnectionClosed) => return code,
            Err(error) => panic!("not a clean end: {error}"),
            Ok(_) => {}
        }
    }
}

/// One response: status, headers in lower case, body.
fn response(stream: &mut impl Read) -> (u16, String, Vec<u8>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a response");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let status = head[9..12].parse().unwrap();
    let length = head.split("content-length: ").nth(1);
    let length = length.map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (status, head, body)
}

fn ended(stream: &mut impl Read) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => {
            [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&error.kind())
        }
    }
}

const HOST: &str = "Host: localhost\r\n";

#[test]
fn pages_and_numbers_come_over_one_connection() {
    let gate = Gate::start();
    let mut stream = gate.tls();
    // Pipelined, and in pieces.
    let two = format!("GET / HTTP/1.1\r\n{HOST}\r\nGET /api/rooms HTTP/1.1\r\n{HOST}\r\n");
    for piece in two.as_bytes().chunks(7) {
        stream.write_all(piece).unwrap();
        stream.flush().unwrap();
    }
    let (status, head, _) = response(&mut stream);
    assert_eq!(status, 200);
    assert!(head.contains("connection: keep-alive") && head.contains("text/html"));
    let (_, _, body) = response(&mut stream);
    assert_eq!(body, br#"[{"room":"x","participants":1,"viewers":0,"tracks":2,"causes":{}}]"#);
    write!(stream, "HEAD /healthz HTTP/1.1\r\n{HOST}\r\n").unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    while !head.ends_with(b"\r\n\r\n") {
        head.rotate_left(1);
        stream.read_exact(&mut head[14..]).unwrap();
    }
    write!(stream, "GET /metrics HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n").unwrap();
    let (_, head, body) = response(&mut stream);
    assert!(head.contains("connection: close"));
    assert!(body.ends_with(b"# EOF\n"));
    assert!(ended(&mut stream));
    gate.stop();
}

#[test]
fn whip_takes_its_body_in_every_framing() {
    let gate = Gate::start();
    let mut stream = gate.tls();
    let post = format!("POST /whip/room HTTP/1.1\r\n{HOST}Content-Type: application/sdp\r\n");
    write!(stream, "{post}Content-Length: 5\r\n\r\nv=0\r\n").unwrap();
    let (status, head, body) = response(&mut stream);
    assert_eq!((status, body.starts_with(b"v=0")), (201, true));
    let location = head.split("location: ").nth(1).unwrap().split("\r\n").next().unwrap();
    write!(stream, "{post}Transfer-Encoding: chunked\r\n\r\n2\r\nv=\r\n1\r\n0\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(response(&mut stream).0, 201);
    write!(stream, "{post}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n").unwrap();
    assert_eq!(response(&mut stream).0, 100);
    stream.write_all(b"v=0\r\n").unwrap();
    assert_eq!(response(&mut stream).0, 201);
    write!(stream, "{post}Content-Length: 4\r\n\r\njunk").unwrap();
    let (status, head, _) = response(&mut stream);
    assert_eq!(status, 400);
    assert!(head.contains("application/problem+json"));
    write!(stream, "DELETE {location} HTTP/1.1\r\n{HOST}\r\n").unwrap();
    assert_eq!(response(&mut stream).0, 200);
    assert_eq!(gate.stop(), ["Closed", "Left"]);
}

#[test]
fn junk_is_answered_and_the_connection_ends() {
    let gate = Gate::start();
    let long = format!("GET /{} HTTP/1.1\r\n{HOST}\r\n", "x".repeat(20_000));
    let large = format!(
        "POST /whip/a HTTP/1.1\r\n{HOST}Content-Length: {}\r\n\r\n{}",
        HTTP_BODY_BYTES_MAX + 1,
        "x".repeat(HTTP_BODY_BYTES_MAX + 1)
    );
    for (junk, status) in [
        ("hello\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (&long, 431),
        (&large, 413),
    ] {
        let mut stream = gate.tls();
        stream.write_all(junk.as_bytes()).unwrap();
        let (said, head, _) = response(&mut stream);
        assert_eq!(said, status, "{junk:.60}");
        assert!(head.contains("connection: close"));
        assert!(ended(&mut stream), "{junk:.60}");
    }
    gate.stop();
}

#[test]
fn who_comes_without_tls_is_sent_to_it_and_others_are_dropped() {
    let gate = Gate::start();
    let mut plain = gate.tcp();
    let host = format!("localhost:{}", gate.address.port());
    write!(plain, "GET /r/a?b=c HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let (status, head, _) = response(&mut plain);
    assert_eq!(status, 308);
    assert!(head.contains(&format!("location: https://{host}/r/a?b=c\r\n")));
    assert!(ended(&mut plain));
    for junk in [&b"\x80\x01\x02"[..], b"SSH-2.0-x\r\n\r\n", b"\x16\x03\x01\xff\xff\xff\xff\xff"] {
        let mut plain = gate.tcp();
        plain.write_all(junk).unwrap();
        let mut rest = Vec::new();
        match plain.read_to_end(&mut rest) {
            // A TLS alert at most.
            Ok(n) => assert!(n <= 7, "{rest:?}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    // Half a handshake held open disturbs nobody.
    let mut half = gate.tcp();
    half.write_all(b"\x16\x03\x01\x02").unwrap();
    gate.joined("r", "a");
    gate.stop();
}

#[test]
fn a_websocket_joins_errs_and_leaves() {
    let gate = Gate::start();
    let mut socket = gate.socket();
    say(&mut socket, json!({"type":"offer","id":1,"sdp":"v=0"}));
    assert_eq!(hear(&mut socket)["code"], "not_joined");
    socket.send(Message::Binary(vec![1, 2, 3].into())).unwrap();
    assert_eq!(hear(&mut socket)["code"], "bad_message");
    say(&mut socket, json!({"type":"join","id":2,"room":"r","name":"Ada"}));
    assert_eq!(hear(&mut socket)["participants"][0]["name"], "Ada");
    say(&mut socket, json!({"type":"offer","id":3,"sdp":"junk"}));
    assert_eq!(hear(&mut socket)["code"], "bad_sdp");
    // Longer than before join, and in fragments of the TLS stream's choice.
    let sdp = format!("v=0{}", "x".repeat(50_000));
    say(&mut socket, json!({"type":"offer","id":4,"sdp":sdp}));
    assert_eq!(hear(&mut socket)["type"], "answer");
    assert_eq!(hear(&mut socket)["type"], "candidate");
    assert_eq!(hear(&mut socket)["candidate"], "");
    socket.send(Message::Ping(vec![9].into())).unwrap();
    assert!(matches!(socket.read().unwrap(), Message::Pong(data) if data[..] == [9]));
    say(&mut socket, json!({"type":"leave","id":5}));
    assert_eq!(hear(&mut socket), json!({"type":"ok","id":5}));
    assert_eq!(closed(&mut socket), 1000);
    assert_eq!(gate.stop(), ["Left"]);
}

#[test]
fn a_message_too_large_is_told_before_the_end() {
    let gate = Gate::start();
    let mut socket = gate.socket();
    let long = "x".repeat(40_000);
    say(&mut socket, json!({"type":"join","room":long,"name":"a"}));
    assert_eq!(hear(&mut socket)["code"], "too_large");
    assert_eq!(closed(&mut socket), 1009);
    let (mut socket, _) = gate.joined("r", "a");
    say(&mut socket, json!({"type":"offer","sdp":"x".repeat(400_000)}));
    assert_eq!(hear(&mut socket)["code"], "too_large");
    assert_eq!(closed(&mut socket), 1009);
    gate.stop();
}

#[test]
fn a_cut_websocket_is_resumed_and_takes_over_from_itself() {
    let gate = Gate::start();
    let (socket, joined) = gate.joined("r", "a");
    let secret = joined["session"].clone();
    // As a network does it: no goodbye.
    socket.get_ref().sock.shutdown(Shutdown::Both).unwrap();
    drop(socket);
    let resume = json!({"type":"resume","id":1,"session":secret});
    let mut second = gate.socket();
    say(&mut second, resume.clone());
    assert_eq!(hear(&mut second)["resumed"], true);
    let mut third = gate.socket();
    say(&mut third, resume);
    assert_eq!(hear(&mut third)["resumed"], true);
    assert_eq!(closed(&mut second), 4001);
    third.close(None).unwrap();
    gate.stop();
}

#[test]
fn a_broken_frame_is_named() {
    let gate = Gate::start();
    let mut socket = gate.socket();
    // A text frame without a mask.
    socket.get_mut().write_all(&[0x81, 1, b'x']).unwrap();
    socket.get_mut().flush().unwrap();
    let mut frame = [0; 4];
    socket.get_mut().read_exact(&mut frame).unwrap();
    assert_eq!(frame, [0x88, 2, 0x03, 0xea]);
    assert!(ended(socket.get_mut()));
    gate.stop();
}

#[test]
fn who_does_not_listen_is_dropped_and_others_go_on() {
    let gate = Gate::start();
    let mut deaf = gate.socket();
    say(&mut deaf, json!({"type":"join","room":"r","name":"flood"}));
    // The flood overtakes the connection's bound; nobody reads it.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut stream = gate.tls();
        write!(stream, "GET /metrics HTTP/1.1\r\n{HOST}\r\n").unwrap();
        let text = String::from_utf8(response(&mut stream).2).unwrap();
        if text.contains("trackyard_connections_closed_total{reason=\"out_full\"} 1\n") {
            break;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut socket, _) = gate.joined("r", "b");
    say(&mut socket, json!({"type":"ping","id":4}));
    assert_eq!(hear(&mut socket)["type"], "pong");
    gate.stop();
}

#[test]
fn a_drain_tells_everybody_and_ends_the_thread() {
    let mut gate = Gate::start();
    let (mut joined, _) = gate.joined("r", "a");
    let mut waiting = gate.socket();
    let mut idle = gate.tls();
    write!(idle, "GET /healthz HTTP/1.1\r\n{HOST}\r\n").unwrap();
    assert_eq!(response(&mut idle).0, 200);
    gate.switch.advance(Phase::Drain);
    for socket in [&mut joined, &mut waiting] {
        assert_eq!(hear(socket), json!({"type":"closing","reason":"shutdown"}));
        assert_eq!(closed(socket), 1012);
    }
    assert!(ended(&mut idle));
    drop((joined, waiting, idle));
    gate.end();
    let refused = TcpStream::connect(gate.address).map(|_| ());
    assert_eq!(refused.map_err(|e: io::Error| e.kind()), Err(ErrorKind::ConnectionRefused));
}
