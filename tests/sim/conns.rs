//! TCP connections as the gate's thread and the clients see them: in order, nothing lost, late
//! when the link is cut, and noticed by silence when the other end is gone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use trackyard::base::limits::{CONN_IDLE_TIMEOUT, CONN_OUT_BYTES_MAX, WS_SILENCE_MAX};
use trackyard::gate::{CloseReason, ConnId, GateInput, GateOutput};
use trackyard::wire::http::{Request, Response, head_end, parse_head};

use super::browser::Ask;
use super::net::ClientId;

/// Towards the gate.
#[derive(Debug)]
pub enum Up {
    Open,
    Request(Request),
    Text(String),
    Binary,
    TooLarge,
    /// A close frame with that code, or the end of the connection.
    Close(Option<u16>),
}

/// Towards the client.
#[derive(Debug)]
pub enum Down {
    Opened,
    Response(Response),
    Text(std::sync::Arc<str>),
    Closed,
}

impl Up {
    pub fn summary(&self) -> &str {
        match self {
            Up::Open => "open",
            Up::Request(request) => &request.head.target,
            Up::Text(text) => text,
            Up::Binary => "binary",
            Up::TooLarge => "too large",
            Up::Close(_) => "close",
        }
    }
}

impl Down {
    pub fn summary(&self) -> &str {
        match self {
            Down::Opened => "opened",
            Down::Response(_) => "response",
            Down::Text(text) => text,
            Down::Closed => "closed",
        }
    }
}

struct Conn {
    owner: ClientId,
    /// The client's own name for it.
    name: u64,
    /// The server's end is open.
    here: bool,
    /// The client's end is open.
    there: bool,
    websocket: bool,
    heard: Instant,
    last_up: Instant,
    last_down: Instant,
    held_up: VecDeque<Up>,
    held_down: VecDeque<Down>,
    held_bytes: usize,
    /// Nothing passes any more since then, and nobody is told.
    dead: Option<Instant>,
}

#[derive(Default)]
pub struct Conns {
    conns: BTreeMap<ConnId, Conn>,
    by_name: BTreeMap<(ClientId, u64), ConnId>,
    opened: u64,
    up: Vec<(ConnId, ClientId, Up)>,
    down: Vec<(ConnId, ClientId, Down)>,
    checks: Vec<(ConnId, Instant)>,
    overfull: Option<ConnId>,
    overfilled: u64,
    /// Clients that read nothing any more.
    stalled: BTreeSet<ClientId>,
    ended: Vec<ConnId>,
}

/// The request that opens a WebSocket.
fn handshake() -> Request {
    request(
        "GET /signal",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://sim.example:8443\r\n",
        "",
    )
}

/// A request from its line (without the version), its headers and its body.
pub fn request(line: &str, headers: &str, body: &str) -> Request {
    let text = format!("{line} HTTP/1.1\r\nHost: sim.example:8443\r\n{headers}\r\n");
    let end = head_end(text.as_bytes(), 0).expect("well-formed").expect("whole");
    let head = parse_head(&text.as_bytes()[..end]).expect("well-formed");
    Request { head, body: body.as_bytes().to_vec() }
}

/// The address from which a client's connections come.
fn source(owner: ClientId) -> IpAddr {
    Ipv4Addr::new(198, 19, (owner >> 8) as u8, owner as u8).into()
}

impl Conn {
    /// How long the server waits for a word.
    fn patience(&self) -> Duration {
        if self.websocket { WS_SILENCE_MAX } else { CONN_IDLE_TIMEOUT }
    }
}

impl Conns {
    pub fn owner(&self, conn: ConnId) -> Option<ClientId> {
        self.conns.get(&conn).map(|c| c.owner)
    }

    pub fn name(&self, conn: ConnId) -> u64 {
        self.conns.get(&conn).map_or(0, |c| c.name)
    }

    /// Connections of which the server still knows.
    pub fn open_here(&self) -> usize {
        self.conns.values().filter(|c| c.here).count()
    }

    fn open(&mut self, now: Instant, owner: ClientId, name: u64, websocket: bool) -> ConnId {
        self.opened += 1;
        let id = ConnId(self.opened);
        let conn = Conn {
            owner,
            name,
            here: false,
            there: true,
            websocket,
            heard: now,
            last_up: now,
            last_down: now,
            held_up: VecDeque::new(),
            held_down: VecDeque::new(),
            held_bytes: 0,
            dead: None,
        };
        self.conns.insert(id, conn);
        self.by_name.insert((owner, name), id);
        id
    }

    /// Connections whose client took so little that they were closed.
    pub fn overfull(&self) -> u64 {
        self.overfilled
    }

    /// Whether what comes next for a connection waits in the server.
    pub fn is_stalled(&self, conn: ConnId) -> bool {
        self.owner(conn).is_some_and(|id| self.stalled.contains(&id))
    }

    /// What a client asks for.
    pub fn ask(&mut self, now: Instant, owner: ClientId, ask: Ask) {
        match ask {
            Ask::Open(name) => {
                let id = self.open(now, owner, name, true);
                self.up.push((id, owner, Up::Open));
                self.up.push((id, owner, Up::Request(handshake())));
            }
            Ask::Stall => {
                self.stalled.insert(owner);
            }
            Ask::Say(name, up) => self.say(owner, name, up),
            Ask::Text(name, text) => self.say(owner, name, Up::Text(text)),
            Ask::Http(name, request) => {
                let id = self.open(now, owner, name, false);
                self.up.push((id, owner, Up::Open));
                self.up.push((id, owner, Up::Request(request)));
            }
            Ask::Close(name, code) => {
                self.say(owner, name, Up::Close(Some(code)));
                if let Some(id) = self.by_name.remove(&(owner, name))
                    && let Some(conn) = self.conns.get_mut(&id)
                {
                    conn.there = false;
                }
            }
        }
    }

    /// Anything at all on a connection of a client's.
    pub fn say(&mut self, owner: ClientId, name: u64, up: Up) {
        if let Some(id) = self.by_name.get(&(owner, name)) {
            self.up.push((*id, owner, up));
        }
    }

    pub fn take_up(&mut self) -> Vec<(ConnId, ClientId, Up)> {
        std::mem::take(&mut self.up)
    }

    pub fn take_down(&mut self) -> Vec<(ConnId, ClientId, Down)> {
        std::mem::take(&mut self.down)
    }

    pub fn take_checks(&mut self) -> Vec<(ConnId, Instant)> {
        std::mem::take(&mut self.checks)
    }

    /// A connection whose client takes nothing, closed by the server.
    pub fn take_overfull(&mut self) -> Option<ConnId> {
        self.overfull.take()
    }

    /// Connections that the gate closed, and of which it is to be told that they are.
    pub fn take_ended(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.ended)
    }

    /// In order: not before what was sent before it.
    pub fn up_at(&mut self, conn: ConnId, at: Instant) -> Instant {
        self.conns.get_mut(&conn).map_or(at, |c| {
            c.last_up = c.last_up.max(at);
            c.last_up
        })
    }

    pub fn down_at(&mut self, conn: ConnId, at: Instant) -> Instant {
        self.conns.get_mut(&conn).map_or(at, |c| {
            c.last_down = c.last_down.max(at);
            c.last_down
        })
    }

    pub fn hold_up(&mut self, conn: ConnId, up: Up) {
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.held_up.push_back(up);
        }
    }

    pub fn hold_down(&mut self, id: ConnId, down: Down) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.held_bytes += down.summary().len();
        conn.held_down.push_back(down);
        if conn.held_bytes > CONN_OUT_BYTES_MAX && std::mem::take(&mut conn.here) {
            self.overfull = Some(id);
            self.overfilled += 1;
        }
    }

    /// The client's link works again.
    pub fn release(&mut self, owner: ClientId) {
        if self.stalled.contains(&owner) {
            return;
        }
        for (id, conn) in self.conns.iter_mut().filter(|(_, c)| c.owner == owner) {
            self.up.extend(conn.held_up.drain(..).map(|up| (*id, owner, up)));
            self.down.extend(conn.held_down.drain(..).map(|down| (*id, owner, down)));
            conn.held_bytes = 0;
        }
    }

    /// The client vanished, or moved to another address: nothing passes any more.
    pub fn orphan(&mut self, now: Instant, owner: ClientId) {
        for conn in self.conns.values_mut().filter(|c| c.owner == owner) {
            conn.dead.get_or_insert(now);
        }
        self.by_name.retain(|(of, _), _| *of != owner);
        self.forget_done();
    }

    /// The client is gone, after what it said.
    pub fn abandon(&mut self, owner: ClientId) {
        self.conns.values_mut().filter(|c| c.owner == owner).for_each(|c| c.there = false);
        self.by_name.retain(|(of, _), _| *of != owner);
        self.forget_done();
    }

    /// The client's present connections end with a reset, which both ends notice.
    pub fn reset(&mut self, owner: ClientId) {
        let open: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, c)| c.owner == owner && c.there)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.up.push((id, owner, Up::Close(None)));
            self.down.push((id, owner, Down::Closed));
        }
    }

    /// Something reached the server.
    pub fn arrived(&mut self, now: Instant, id: ConnId, up: Up) -> Vec<GateInput> {
        let Some(conn) = self.conns.get_mut(&id) else { return Vec::new() };
        if conn.dead.is_some() || (!conn.here && !matches!(up, Up::Open)) {
            return Vec::new();
        }
        conn.heard = now;
        match up {
            Up::Open => {
                conn.here = true;
                self.checks.push((id, now + conn.patience()));
                vec![GateInput::Opened { conn: id, remote: source(conn.owner) }]
            }
            Up::Request(request) => vec![GateInput::Request { conn: id, request }],
            Up::Text(text) => vec![GateInput::Text { conn: id, text }],
            Up::Binary => vec![GateInput::Binary { conn: id }],
            Up::TooLarge => vec![GateInput::TooLarge { conn: id }],
            Up::Close(code) => {
                conn.here = false;
                let why = if code.is_some() { CloseReason::Done } else { CloseReason::Io };
                self.forget_done();
                vec![GateInput::Closed { conn: id, code, why }]
            }
        }
    }

    /// Something reached the client; `None` when nobody is there to take it.
    pub fn delivered(&mut self, id: ConnId, down: Down) -> Option<Down> {
        let conn = self.conns.get_mut(&id)?;
        if conn.dead.is_some() || !conn.there {
            return None;
        }
        let done = matches!(down, Down::Response(_)) && !conn.websocket;
        if matches!(down, Down::Closed) || done {
            conn.there = false;
        }
        if done {
            // It was all that was asked.
            self.up.push((id, conn.owner, Up::Close(None)));
        }
        Some(down)
    }

    /// What the gate does to connections.
    pub fn output(&mut self, output: GateOutput) {
        let turned_away = matches!(output, GateOutput::TurnAway { .. });
        let (id, down) = match output {
            GateOutput::Respond { conn, response } => (conn, Down::Response(response)),
            GateOutput::Upgrade { conn, .. } => (conn, Down::Opened),
            GateOutput::Text { conn, text } => (conn, Down::Text(text)),
            GateOutput::Close { conn, .. } | GateOutput::TurnAway { conn, .. } => {
                (conn, Down::Closed)
            }
            GateOutput::Admit { .. } | GateOutput::Letter(..) | GateOutput::Drained => return,
        };
        let Some(conn) = self.conns.get_mut(&id) else { return };
        if matches!(down, Down::Closed) && conn.here {
            conn.here = false;
            if !turned_away {
                self.ended.push(id);
            }
        }
        self.down.push((id, conn.owner, down));
    }

    /// Whether a connection was silent for too long, and is closed. A client that was connected
    /// until `reached` has answered the server's pings until then.
    pub fn silent(&mut self, now: Instant, id: ConnId, reached: Instant) -> Option<CloseReason> {
        let stalled = self.is_stalled(id);
        let conn = self.conns.get_mut(&id).filter(|c| c.here)?;
        if conn.websocket && conn.there && !stalled {
            conn.heard = conn.heard.max(conn.dead.map_or(reached, |dead| dead.min(reached)));
        }
        let due = conn.heard + conn.patience();
        if now < due {
            self.checks.push((id, due));
            return None;
        }
        conn.here = false;
        self.down.push((id, conn.owner, Down::Closed));
        Some(CloseReason::Silent)
    }

    /// Connections that neither end knows of.
    fn forget_done(&mut self) {
        self.conns.retain(|_, c| c.here || c.there && c.dead.is_none());
    }
}

/// Long enough for any answer of the server's.
pub const HTTP_PATIENCE: Duration = Duration::from_secs(15);
