//! The gate with virtual time and workers played by the test.

mod http;
mod limits;
mod quality;
mod signalling;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::room::mail::{Address, Answer, IceCredentials, PeerLetter, Role, RoomLetter};
use crate::wire::http::{head_end, parse_head};
use crate::wire::signal::{LeaveReason, RequestId};

const GRACE: Duration = Duration::from_secs(6);

/// A gate, its clock, and what it has put out and nobody looked at yet.
struct World {
    gate: Gate,
    now: Instant,
    out: VecDeque<GateOutput>,
    /// Where the next connection comes from.
    remote: IpAddr,
    opened: BTreeSet<ConnId>,
}

/// A participant that has joined.
struct Joined {
    conn: ConnId,
    address: Address,
    secret: String,
}

impl World {
    fn new(workers: usize) -> World {
        let config = GateConfig {
            limits: PublishLimits::default(),
            workers,
            ice_servers: vec![
                IceServer {
                    urls: vec!["stun:stun.example".into()],
                    username: None,
                    credential: None,
                },
                IceServer {
                    urls: vec!["turn:turn.example?transport=udp".into()],
                    username: Some("u\"ser".into()),
                    credential: Some("pass".into()),
                },
            ],
            resume_grace: GRACE,
            metrics_token: None,
            exempt: Vec::new(),
            version: "1.2.3",
        };
        World {
            gate: Gate::new(config, Rng::from_seed([3; 32])),
            now: Instant::now(),
            out: VecDeque::new(),
            remote: [127, 0, 0, 1].into(),
            opened: BTreeSet::new(),
        }
    }

    /// A connection, unless it is there. Whether it may stay.
    fn open(&mut self, conn: ConnId) -> bool {
        if !self.opened.insert(conn) {
            return true;
        }
        let remote = self.remote;
        self.give(GateInput::Opened { conn, remote });
        let refused =
            matches!(self.out.back(), Some(GateOutput::TurnAway { conn: c }) if *c == conn);
        if refused {
            self.out.pop_back();
        }
        !refused
    }

    fn give(&mut self, input: GateInput) {
        self.gate.handle(self.now, input);
        while let Some(output) = self.gate.poll_output() {
            self.out.push_back(output);
        }
    }

    fn letter(&mut self, letter: ToGate) {
        self.give(GateInput::Letter(letter));
    }

    /// Lets time pass, handing in every timeout at its time.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.gate.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.give(GateInput::Timeout);
        }
        self.now = until;
    }

    fn next(&mut self) -> GateOutput {
        self.out.pop_front().expect("the gate puts something out")
    }

    fn nothing(&self) {
        assert!(self.out.is_empty(), "{:?}", self.out);
    }

    /// The next output is a text for `conn`.
    fn text(&mut self, conn: ConnId) -> Value {
        match self.next() {
            GateOutput::Text { conn: to, text } if to == conn => {
                serde_json::from_str(&text).expect("the gate writes JSON")
            }
            other => panic!("not a text for {conn:?}: {other:?}"),
        }
    }

    /// The next output is an error for `conn`; its code.
    fn error(&mut self, conn: ConnId) -> String {
        let text = self.text(conn);
        assert_eq!(text["type"], "error", "{text}");
        text["code"].as_str().expect("a code").to_owned()
    }

    fn room_letter(&mut self) -> (WorkerId, RoomLetter) {
        match self.next() {
            GateOutput::Letter(worker, ToWorker::Room(_, letter)) => (worker, letter),
            other => panic!("not a letter to a room: {other:?}"),
        }
    }

    fn peer_letter(&mut self) -> (WorkerId, PeerLetter) {
        match self.next() {
            GateOutput::Letter(worker, ToWorker::Peer(_, letter)) => (worker, letter),
            other => panic!("not a letter to a peer: {other:?}"),
        }
    }

    /// The next two outputs end a session for `reason`.
    fn ended(&mut self, reason: LeaveReason) {
        match self.room_letter().1 {
            RoomLetter::Leave { reason: said, .. } => assert_eq!(said, reason),
            other => panic!("not a leave: {other:?}"),
        }
        assert!(matches!(self.peer_letter().1, PeerLetter::Close));
    }

    fn close(&mut self, conn: ConnId) -> u16 {
        match self.next() {
            GateOutput::Close { conn: to, code, .. } if to == conn => code,
            other => panic!("not a close of {conn:?}: {other:?}"),
        }
    }

    fn response(&mut self, conn: ConnId) -> Response {
        match self.next() {
            GateOutput::Respond { conn: to, response } if to == conn => response,
            other => panic!("not a response on {conn:?}: {other:?}"),
        }
    }

    fn say(&mut self, conn: ConnId, message: Value) {
        let text = message.to_string();
        self.give(GateInput::Text { conn, text });
    }

    /// A request from its head and body.
    fn ask(&mut self, conn: u64, request: &str, body: &str) {
        let text = format!("{request}\r\nHost: a.example:8443\r\n\r\n");
        let text = text.replacen("\r\n", " HTTP/1.1\r\n", 1);
        let end = head_end(text.as_bytes(), 0).unwrap().unwrap();
        let request =
            Request { head: parse_head(&text.as_bytes()[..end]).unwrap(), body: body.into() };
        let conn = ConnId(conn);
        assert!(self.open(conn), "the connection may stay");
        self.give(GateInput::Request { conn, request });
    }

    /// A WebSocket.
    fn socket(&mut self, conn: u64) -> ConnId {
        self.ask(
            conn,
            "GET /signal\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://a.example:8443",
            "",
        );
        match self.next() {
            GateOutput::Upgrade { conn: to, response } => {
                assert_eq!((to, response.status), (ConnId(conn), 101));
                let accept = ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".into());
                assert!(response.headers.contains(&accept));
            }
            other => panic!("not an upgrade: {other:?}"),
        }
        ConnId(conn)
    }

    /// The next output is a join; what it says.
    fn join_letter(&mut self) -> (Address, String, Role, Option<RequestId>) {
        match self.room_letter() {
            (worker, RoomLetter::Join { address, name, role, request }) => {
                assert_eq!(worker, address.home);
                (address, name, role, request)
            }
            other => panic!("not a join: {other:?}"),
        }
    }

    /// The next output is an offer; its number.
    fn offer_letter(&mut self) -> Option<RequestId> {
        match self.peer_letter().1 {
            PeerLetter::Offer { request, .. } => request,
            other => panic!("not an offer: {other:?}"),
        }
    }

    fn enter(&mut self, address: Address, request: Option<RequestId>, resumed: bool) {
        self.letter(ToGate::Joined {
            session: address.session,
            request,
            others: Vec::new(),
            slots: Vec::new(),
            resumed,
        });
    }

    /// A WebSocket that has joined.
    fn joined(&mut self, conn: u64, room: &str, name: &str) -> Joined {
        let conn = self.socket(conn);
        self.say(conn, json!({"type":"join","id":1,"room":room,"name":name}));
        let (address, said, role, request) = self.join_letter();
        assert_eq!((said.as_str(), role), (name, Role::Participant));
        self.enter(address, request, false);
        assert!(matches!(self.next(), GateOutput::Admit { conn: to } if to == conn));
        let joined = self.text(conn);
        assert_eq!((&joined["type"], &joined["id"]), (&json!("joined"), &json!(1)));
        self.nothing();
        Joined { conn, address, secret: joined["session"].as_str().unwrap().to_owned() }
    }

    fn drop_socket(&mut self, conn: ConnId, code: Option<u16>) {
        let why = CloseReason::ByClient;
        self.give(GateInput::Closed { conn, code, why });
    }
}

fn answer(ufrag: &str) -> Answer {
    Answer {
        sdp: "v=0\r\na=group:BUNDLE m\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:m\r\n".into(),
        tracks: Vec::new(),
        ice: ice(ufrag),
    }
}

fn ice(ufrag: &str) -> IceCredentials {
    IceCredentials {
        ufrag: ufrag.into(),
        pwd: "server-password-of-24-ch".into(),
        candidates: vec!["candidate:1 1 udp 1 192.0.2.1 8443 typ host".into()],
    }
}
