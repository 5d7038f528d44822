//! The gate between connections and workers that are played here: each HTTP request is answered
//! once, each WebSocket request at most once, nothing is said on a connection that is over, all
//! that is said is what the protocol knows, and when all have gone nothing is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::ids::{ParticipantId, SessionId, TrackId};
use trackyard::base::rng::Rng;
use trackyard::gate::{CloseReason, ConnId, Gate, GateConfig, GateInput, GateOutput};
use trackyard::room::mail::{Answer, IceCredentials, PeerLetter, RoomLetter, ToGate, ToWorker};
use trackyard::wire::http::{Framing, Head, Request};
use trackyard::wire::signal::{ErrorCode, LeaveReason, OwnTrack, PublishLimits, ServerMessage};

const SDP: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n";
const FRAGMENT: &str = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n";
const WORKERS: usize = 2;

#[derive(Debug, Arbitrary)]
enum Step {
    Open {
        source: u8,
    },
    Ask {
        conn: u8,
        what: u8,
        extra: u8,
    },
    Say {
        conn: u8,
        what: u8,
        id: u8,
        extra: u8,
    },
    Raw {
        conn: u8,
        text: [u8; 8],
    },
    Binary {
        conn: u8,
    },
    TooLarge {
        conn: u8,
    },
    Close {
        conn: u8,
        clean: bool,
    },
    /// A worker answers the oldest letter that waits, or refuses.
    Answer {
        well: bool,
    },
    /// A worker answers any letter that was ever written, so maybe for the second time.
    AnswerAny {
        letter: u8,
        well: bool,
    },
    Lose {
        session: u8,
        why: u8,
    },
    RoomEnds {
        session: u8,
    },
    Pass {
        ms: u16,
    },
    Due,
    Drain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Http,
    /// The gate owes a response.
    Asked,
    WebSocket,
    Over,
}

pub fn check(data: &[u8]) {
    let mut world = World::new();
    for step in super::steps(data) {
        world.step(step);
    }
    world.end();
}

struct World {
    gate: Gate,
    now: Instant,
    conns: Vec<State>,
    /// Ids of WebSocket requests that wait for their one answer, with how often each was used.
    open_ids: BTreeMap<(u64, u64), u32>,
    /// Letters to workers that want an answer.
    waiting: Vec<(SessionId, Option<u64>, Wants)>,
    /// All that ever wanted one.
    written: Vec<(SessionId, Option<u64>, Wants)>,
    secrets: Vec<String>,
    participants: BTreeMap<ParticipantId, SessionId>,
    /// The highest that was minted.
    sessions: u64,
    draining: bool,
}

#[derive(Debug, Clone, Copy)]
enum Wants {
    Entry,
    Answer,
    Restart,
    Ok,
}

impl World {
    fn new() -> World {
        let config = GateConfig {
            limits: PublishLimits::default(),
            workers: WORKERS,
            ice_servers: Vec::new(),
            resume_grace: Duration::from_secs(6),
            version: "0",
            metrics_token: None,
            exempt: Vec::new(),
        };
        World {
            gate: Gate::new(config, Rng::from_seed([9; 32])),
            now: super::start(),
            conns: Vec::new(),
            open_ids: BTreeMap::new(),
            waiting: Vec::new(),
            written: Vec::new(),
            secrets: vec!["never".into()],
            participants: BTreeMap::new(),
            sessions: 1,
            draining: false,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open { source } => {
                let conn = ConnId(self.conns.len() as u64);
                self.conns.push(State::Http);
                self.give(GateInput::Opened { conn, remote: [192, 0, 2, source % 4].into() });
            }
            Step::Ask { conn, what, extra } => {
                if let Some(conn) = self.conn(conn, State::Http) {
                    self.conns[conn.0 as usize] = State::Asked;
                    let request = self.request(what, extra);
                    self.give(GateInput::Request { conn, request });
                }
            }
            Step::Say { conn, what, id, extra } => {
                if let Some(conn) = self.conn(conn, State::WebSocket) {
                    self.say(conn, what, id, extra);
                }
            }
            Step::Raw { conn, text } => {
                if let Some(conn) = self.conn(conn, State::WebSocket) {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    self.give(GateInput::Text { conn, text });
                }
            }
            Step::Binary { conn } => {
                if let Some(conn) = self.conn(conn, State::WebSocket) {
                    self.give(GateInput::Binary { conn });
                }
            }
            Step::TooLarge { conn } => {
                if let Some(conn) = self.conn(conn, State::WebSocket) {
                    self.give(GateInput::TooLarge { conn });
                    assert_eq!(self.conns[conn.0 as usize], State::Over);
                }
            }
            Step::Close { conn, clean } => self.close(conn, clean),
            Step::Pass { ms } => self.now += Duration::from_millis(ms.into()),
            Step::Due => self.due(),
            Step::Drain => {
                self.draining = true;
                self.give(GateInput::Drain);
            }
            letters => self.letters(letters),
        }
    }

    fn letters(&mut self, step: Step) {
        match step {
            Step::Answer { well } => {
                if !self.waiting.is_empty() {
                    let (session, request, wants) = self.waiting.remove(0);
                    self.answer(session, request, wants, well);
                }
            }
            Step::AnswerAny { letter, well } => {
                let at = usize::from(letter) % self.written.len().max(1);
                if let Some((session, request, wants)) = self.written.get(at).copied() {
                    self.answer(session, request, wants, well);
                }
            }
            Step::Lose { session, why } => {
                let session = SessionId(u64::from(session) % (self.sessions + 1));
                self.give(GateInput::Letter(match why % 3 {
                    0 => ToGate::Connected { session },
                    1 => ToGate::PeerGone { session, reason: LeaveReason::Lost, why: "lost" },
                    _ => ToGate::PeerGone { session, reason: LeaveReason::Left, why: "closed" },
                }));
            }
            Step::RoomEnds { session } => {
                let session = SessionId(u64::from(session) % (self.sessions + 1));
                self.give(GateInput::Letter(ToGate::RoomEnded { sessions: vec![session] }));
            }
            other => unreachable!("{other:?} is no letter"),
        }
    }

    /// A connection in that state, if there is one.
    fn conn(&self, index: u8, state: State) -> Option<ConnId> {
        let fitting = self.conns.iter().enumerate().filter(|(_, s)| **s == state);
        let fitting: Vec<usize> = fitting.map(|(at, _)| at).collect();
        let at = fitting.get(usize::from(index) % fitting.len().max(1))?;
        Some(ConnId(*at as u64))
    }

    fn close(&mut self, index: u8, clean: bool) {
        let alive: Vec<usize> =
            (0..self.conns.len()).filter(|at| self.conns[*at] != State::Over).collect();
        let Some(at) = alive.get(usize::from(index) % alive.len().max(1)) else { return };
        let is_websocket = self.conns[*at] == State::WebSocket;
        self.conns[*at] = State::Over;
        let conn = ConnId(*at as u64);
        let code = (clean && is_websocket).then_some(1001);
        self.give(GateInput::Closed { conn, code, why: CloseReason::ByClient });
    }

    /// The shell hands in a timeout at its time, and no sooner.
    fn due(&mut self) {
        if let Some(at) = self.gate.poll_timeout() {
            self.now = self.now.max(at);
            self.give(GateInput::Timeout);
            assert!(self.gate.poll_timeout().is_none_or(|at| at > self.now), "it would spin");
        }
    }

    fn end(&mut self) {
        while self.conns.iter().any(|state| *state != State::Over) {
            self.close(0, true);
        }
        // WHIP and WHEP resources live as long as their peers.
        for session in (0..=self.sessions).map(SessionId) {
            let (reason, why) = (LeaveReason::Lost, "lost");
            self.give(GateInput::Letter(ToGate::PeerGone { session, reason, why }));
        }
        for _ in 0..self.sessions * 4 + 64 {
            self.due();
        }
        assert_eq!(self.gate.poll_timeout(), None, "a timer outlives its session");
        if self.draining {
            return;
        }
        let conn = ConnId(self.conns.len() as u64);
        self.conns.push(State::Asked);
        self.give(GateInput::Opened { conn, remote: [198, 51, 100, 1].into() });
        let request = request("GET", "/healthz", "", "", &[]);
        self.gate.handle(self.now, GateInput::Request { conn, request });
        match self.gate.poll_output() {
            Some(GateOutput::Respond { response, .. }) => {
                let health: serde_json::Value =
                    serde_json::from_slice(&response.body).expect("health is JSON");
                assert_eq!(health["sessions"], 0, "a session outlives everybody");
            }
            other => panic!("{other:?}"),
        }
    }

    fn request(&self, what: u8, extra: u8) -> Request {
        let secret = self.secret(extra);
        let session = format!("/session/{secret}");
        let etag = format!("\"{secret}\"");
        match what % 12 {
            0..=2 => request("GET", "/signal", "", "", &UPGRADE),
            3 => request("POST", "/whip/r/n", "application/sdp", SDP, &[]),
            4 => request("POST", "/whep/r", "application/sdp", SDP, &[]),
            5 => request("POST", "/whep/r/n", "application/sdp", SDP, &[]),
            6 => request("DELETE", &session, "", "", &[]),
            7 => {
                let any = if extra & 128 == 0 { "*" } else { etag.as_str() };
                let kind = "application/trickle-ice-sdpfrag";
                request("PATCH", &session, kind, FRAGMENT, &[("if-match", any)])
            }
            8 => request("PATCH", &session, "application/trickle-ice-sdpfrag", "", &[]),
            9 => request("GET", "/api/rooms", "", "", &[]),
            10 => request("GET", "/metrics", "", "", &[]),
            _ => request("POST", "/whip/%ff", "text/plain", "x", &[]),
        }
    }

    fn secret(&self, extra: u8) -> &str {
        &self.secrets[usize::from(extra & 127) % self.secrets.len()]
    }

    fn say(&mut self, conn: ConnId, what: u8, id: u8, extra: u8) {
        let body = match what % 8 {
            0 | 1 => format!(r#""type":"join","room":"r{}","name":"n""#, extra % 3),
            2 => format!(r#""type":"resume","session":"{}""#, self.secret(extra)),
            3 => r#""type":"offer","sdp":"v=0","tracks":[{"mid":"0","source":"camera"}]"#.into(),
            4 => r#""type":"candidate","candidate":"candidate:1 1 udp 1 192.0.2.1 9 typ host""#
                .into(),
            5 => format!(r#""type":"update","mid":"0","muted":{}"#, extra & 1 == 1),
            6 => r#""type":"leave""#.into(),
            _ => r#""type":"ping""#.into(),
        };
        let text = match id {
            0 => format!("{{{body}}}"),
            id => {
                *self.open_ids.entry((conn.0, id.into())).or_default() += 1;
                format!("{{{body},\"id\":{id}}}")
            }
        };
        self.give(GateInput::Text { conn, text });
    }

    fn answer(&mut self, session: SessionId, request: Option<u64>, wants: Wants, well: bool) {
        let letter = match wants {
            _ if !well && !matches!(wants, Wants::Restart) => {
                let (code, message) = (ErrorCode::BadSdp, "no".to_owned());
                ToGate::Refused { session, request, code, message }
            }
            Wants::Entry => {
                let (others, slots, resumed) = (Vec::new(), Vec::new(), false);
                ToGate::Joined { session, request, others, slots, resumed }
            }
            Wants::Answer => {
                let tracks = vec![OwnTrack { mid: "0".into(), track: TrackId(1) }];
                let ice = IceCredentials::default();
                let answer = Answer { sdp: SDP.into(), tracks, ice };
                ToGate::Answered { session, request, answer }
            }
            Wants::Restart => {
                let result = if well { Ok(IceCredentials::default()) } else { Err("no".into()) };
                ToGate::Restarted { session, result }
            }
            Wants::Ok => {
                let Some(id) = request else { return };
                ToGate::Event { to: vec![session], message: ServerMessage::Ok { id } }
            }
        };
        self.give(GateInput::Letter(letter));
    }

    fn give(&mut self, input: GateInput) {
        self.gate.handle(self.now, input);
        while let Some(output) = self.gate.poll_output() {
            self.take(output);
        }
    }

    fn take(&mut self, output: GateOutput) {
        match output {
            GateOutput::Respond { conn, response } => {
                self.turn(conn, State::Asked, State::Http);
                assert!((200..600).contains(&response.status));
                let is_location = |(name, _): &&(&str, _)| *name == "Location";
                if let Some((_, location)) = response.headers.iter().find(is_location) {
                    let secret = location.rsplit('/').next().unwrap_or_default().to_owned();
                    self.secrets.push(secret);
                }
            }
            GateOutput::Upgrade { conn, response } => {
                assert_eq!(response.status, 101);
                self.turn(conn, State::Asked, State::WebSocket);
            }
            GateOutput::Text { conn, text } => {
                self.turn(conn, State::WebSocket, State::WebSocket);
                let message = serde_json::from_str(&text).expect("a message of the protocol");
                self.heard(conn, message);
            }
            GateOutput::Admit { conn } => self.turn(conn, State::WebSocket, State::WebSocket),
            GateOutput::Close { conn, code, .. } => {
                assert!((1000..5000).contains(&code));
                self.turn(conn, State::WebSocket, State::Over);
            }
            GateOutput::TurnAway { conn } => self.turn(conn, State::Http, State::Over),
            GateOutput::Letter(worker, letter) => {
                assert!(worker.index() < WORKERS);
                self.letter(letter);
            }
            GateOutput::Drained => assert!(self.draining),
        }
    }

    fn turn(&mut self, conn: ConnId, from: State, to: State) {
        let state = &mut self.conns[conn.0 as usize];
        assert_eq!(std::mem::replace(state, to), from, "{conn:?}");
    }

    fn letter(&mut self, letter: ToWorker) {
        let (session, request, wants) = match letter {
            ToWorker::Room(_, RoomLetter::Join { address, request, .. }) => {
                self.sessions = self.sessions.max(address.session.0);
                self.participants.insert(address.participant, address.session);
                (address.session, request, Wants::Entry)
            }
            ToWorker::Room(_, RoomLetter::Resume { participant, request }) => {
                (self.session_of(participant), request, Wants::Entry)
            }
            ToWorker::Peer(_, PeerLetter::Update { address, update, .. }) => {
                (address.session, update.request, Wants::Ok)
            }
            ToWorker::Peer(_, PeerLetter::Offer { address, request, .. }) => {
                (address.session, request, Wants::Answer)
            }
            ToWorker::Peer(participant, PeerLetter::RestartIce { .. }) => {
                (self.session_of(participant), None, Wants::Restart)
            }
            _ => return,
        };
        self.waiting.push((session, request, wants));
        self.written.push((session, request, wants));
    }

    fn session_of(&self, participant: ParticipantId) -> SessionId {
        *self.participants.get(&participant).expect("a participant enters before all else")
    }

    fn heard(&mut self, conn: ConnId, message: ServerMessage) {
        let id = match message {
            ServerMessage::Joined { id, session, .. } => {
                self.secrets.push(session);
                id
            }
            ServerMessage::Answer { id, .. }
            | ServerMessage::Pong { id }
            | ServerMessage::Error { id, .. } => id,
            ServerMessage::Ok { id } => Some(id),
            _ => None,
        };
        let Some(id) = id else { return };
        let open = self.open_ids.get_mut(&(conn.0, id)).expect("an id of the client's");
        *open = open.checked_sub(1).expect("one answer for each request");
    }
}

const UPGRADE: [(&str, &str); 4] = [
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn request(method: &str, target: &str, kind: &str, body: &str, more: &[(&str, &str)]) -> Request {
    let headers = [("host", "a:8443"), ("content-type", kind)];
    let head = Head {
        method: method.into(),
        target: target.into(),
        headers: headers.iter().chain(more).map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        framing: Framing::Length(body.len()),
        keep_alive: true,
        expects_continue: false,
    };
    Request { head, body: body.as_bytes().to_vec() }
}
