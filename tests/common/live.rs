//! Synthetic clients against a real server: TLS WebSocket for signalling, real UDP for media.

use std::collections::{HashMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::{Value, json};
use str0m::media::Mid;
use trackyard::config::Config;
use trackyard::shell::Server;
use tungstenite::{Message, WebSocket};

use super::client::Client;

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A server in this process on a free loopback port, with its files in a folder of its own.
pub struct TestServer {
    pub server: Option<Server>,
    pub address: SocketAddr,
    folder: PathBuf,
}

impl TestServer {
    pub fn start(workers: usize) -> TestServer {
        TestServer::start_with(workers, |config| config)
    }

    pub fn start_with(workers: usize, change: impl FnOnce(Config) -> Config) -> TestServer {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("trackyard-test-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            workers: Some(workers),
            certs_dir: folder.join("certs"),
            ..Config::default()
        };
        let server = Server::start(change(config)).expect("a free port");
        let address = server.address();
        TestServer { server: Some(server), address, folder }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.shutdown();
            server.join().expect("no thread of the server broke");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Accepts the self-signed certificate.
#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A TLS connection to the server, blocking, with a deadline of ten seconds a read.
pub fn tls(server: SocketAddr) -> Tls {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a configuration");
    let tcp = TcpStream::connect(server).expect("a listening server");
    tcp.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    tcp.set_nodelay(true).expect("a socket");
    StreamOwned::new(connection, tcp)
}

/// The signalling connection of one participant.
pub struct Signalling {
    pub ws: WebSocket<Tls>,
    next_id: u64,
    inbox: VecDeque<Value>,
}

impl Signalling {
    pub fn open(server: SocketAddr) -> Signalling {
        let url = format!("wss://{server}/signal");
        let (ws, _) = tungstenite::client(url, tls(server)).expect("an upgrade");
        ws.get_ref().sock.set_nonblocking(true).expect("a socket");
        Signalling { ws, next_id: 0, inbox: VecDeque::new() }
    }

    /// Sends a request; gives its id.
    pub fn request(&mut self, mut message: Value) -> u64 {
        self.next_id += 1;
        message["id"] = json!(self.next_id);
        self.text(message.to_string());
        self.next_id
    }

    pub fn text(&mut self, text: String) {
        let mut result = self.ws.send(Message::text(text));
        let deadline = Instant::now() + Duration::from_secs(10);
        while matches!(&result, Err(tungstenite::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock)
        {
            assert!(Instant::now() < deadline, "the server reads");
            result = self.ws.flush();
        }
        result.expect("an open connection");
    }

    /// What came meanwhile.
    pub fn poll(&mut self) -> Option<Value> {
        if let Some(value) = self.inbox.pop_front() {
            return Some(value);
        }
        match self.ws.read() {
            Ok(Message::Text(text)) => Some(serde_json::from_str(&text).expect("JSON")),
            Ok(_) => None,
            Err(tungstenite::Error::Io(e)) if e.kind() == ErrorKind::WouldBlock => None,
            Err(e) => Some(json!({"type": "disconnected", "why": e.to_string()})),
        }
    }

    /// Waits for the first message that `fits`; others are kept for later.
    pub fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut others = VecDeque::new();
        loop {
            match self.poll() {
                Some(value) if fits(&value) => {
                    others.append(&mut self.inbox);
                    self.inbox = others;
                    return value;
                }
                Some(value) if value["type"] == "disconnected" => {
                    panic!("{what}: {value}, {others:?}")
                }
                Some(value) => others.push_back(value),
                None => {
                    assert!(Instant::now() < deadline, "{what} did not come; others: {others:?}");
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    pub fn wait_for(&mut self, kind: &str) -> Value {
        self.wait(kind, |v| v["type"] == kind)
    }

    /// Waits for the answer to a request, whatever it is.
    pub fn reply(&mut self, id: u64) -> Value {
        self.wait(&format!("the reply to {id}"), |v| v["id"] == id)
    }

    pub fn join(&mut self, room: &str, name: &str) -> Value {
        let id = self.request(json!({"type": "join", "room": room, "name": name}));
        let reply = self.reply(id);
        assert_eq!(reply["type"], "joined", "{reply}");
        reply
    }
}

/// A participant with signalling and media, driven by [`Live::pump`].
pub struct Live {
    pub signalling: Signalling,
    pub client: Client,
    pub participant: String,
    /// What a `resume` shows.
    pub session: String,
    /// Mids that hold a track, as told last.
    pub filled: Vec<Mid>,
    /// Messages that were of no use to the pump.
    pub messages: Vec<Value>,
    pub udp: UdpSocket,
    pub server: SocketAddr,
    /// Datagrams that were sent, for a test that wants them.
    pub tap: Option<Vec<Vec<u8>>>,
    /// Bytes of RTP that came, by SSRC.
    pub bytes_in: HashMap<u32, u64>,
    /// The last answer.
    pub answer: String,
}

impl Live {
    /// Joins and offers; the answer is taken by the pump.
    pub fn join(server: SocketAddr, room: &str, label: u32, send: bool, slots: usize) -> Live {
        Live::join_with(server, room, label, |client, now| client.offer(send, slots, now))
    }

    /// The same with any offer.
    pub fn join_with(
        server: SocketAddr,
        room: &str,
        label: u32,
        offer: impl FnOnce(&mut Client, Instant) -> String,
    ) -> Live {
        let mut signalling = Signalling::open(server);
        let joined = signalling.join(room, &format!("n{label}"));
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        udp.set_nonblocking(true).expect("a socket");
        let now = Instant::now();
        let mut client = Client::new(label, udp.local_addr().expect("bound"), now);
        let sdp = offer(&mut client, now);
        signalling.request(json!({"type": "offer", "sdp": sdp}));
        Live {
            signalling,
            client,
            participant: joined["participant"].as_str().expect("an id").to_string(),
            session: joined["session"].as_str().expect("a secret").to_string(),
            filled: Vec::new(),
            messages: Vec::new(),
            udp,
            server,
            tap: None,
            bytes_in: HashMap::new(),
            answer: String::new(),
        }
    }

    /// One round of everything that can be done without waiting; whether anything was.
    pub fn pump(&mut self) -> bool {
        let mut busy = false;
        while let Some(message) = self.signalling.poll() {
            busy = true;
            match message["type"].as_str() {
                Some("answer") => {
                    self.answer = message["sdp"].as_str().expect("text").to_string();
                    self.client.answer(&self.answer);
                }
                Some("slots") => {
                    let slots = message["slots"].as_array().expect("a list");
                    let filled = slots.iter().filter(|s| !s["track"].is_null());
                    self.filled =
                        filled.map(|s| Mid::from(s["mid"].as_str().expect("a mid"))).collect();
                }
                Some("error" | "disconnected") => panic!("{message}"),
                _ => self.messages.push(message),
            }
        }
        let mut buffer = [0; 2_048];
        while let Ok((length, source)) = self.udp.recv_from(&mut buffer) {
            busy = true;
            if let Some(ssrc) = rtp_ssrc(&buffer[..length]) {
                *self.bytes_in.entry(ssrc).or_default() += length as u64;
            }
            self.client.receive(Instant::now(), source, &buffer[..length]);
        }
        for (to, bytes) in self.client.poll(Instant::now()) {
            busy = true;
            debug_assert_eq!(to.port(), self.server.port());
            if let Some(tap) = &mut self.tap {
                tap.push(bytes.clone());
            }
            // A full socket buffer is loss, as on any network.
            let _ = self.udp.send_to(&bytes, to);
        }
        busy
    }

    /// RTCP that `str0m` would not send.
    pub fn say(&mut self, compound: &[u8]) {
        let datagram = self.client.protect_rtcp(compound);
        let _ = self.udp.send_to(&datagram, self.server);
    }

    /// All slots that hold a track show a picture, and there are `count` of them.
    pub fn sees(&self, count: usize) -> bool {
        self.filled.len() == count && self.client.sees(&self.filled)
    }

    /// A clean goodbye.
    pub fn leave(mut self) {
        let id = self.signalling.request(json!({"type": "leave"}));
        self.signalling.reply(id);
    }
}

/// The stream of a datagram, if it is RTP.
fn rtp_ssrc(datagram: &[u8]) -> Option<u32> {
    match *datagram {
        [128..=191, kind, _, _, _, _, _, _, a, b, c, d, ..]
            if !(64..96).contains(&(kind & 0x7f)) =>
        {
            Some(u32::from_be_bytes([a, b, c, d]))
        }
        _ => None,
    }
}

/// Pumps all until `done`, at most for `limit`; gives how long it took.
pub fn until(
    live: &mut [Live],
    limit: Duration,
    mut done: impl FnMut(&[Live]) -> bool,
) -> Option<Duration> {
    let start = Instant::now();
    while !done(live) {
        if start.elapsed() > limit {
            return None;
        }
        let busy = live.iter_mut().fold(false, |busy, l| l.pump() | busy);
        if !busy {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Some(start.elapsed())
}

/// One HTTP request on a connection of its own: status, head and body.
pub fn http(server: SocketAddr, request: &str, body: &str) -> (u16, String, String) {
    let head = format!(
        "{request}\r\nHost: {server}\r\nContent-Length: {}\r\nConnection: close",
        body.len()
    );
    let answer = exchange(server, format!("{head}\r\n\r\n{body}").as_bytes());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
    (status, head.to_string(), body.to_string())
}

/// Sends bytes over TLS and gives all that comes until the server closes.
pub fn exchange(server: SocketAddr, bytes: &[u8]) -> String {
    let mut tls = tls(server);
    // A server that has already answered may close before it has read everything.
    let _ = tls.write_all(bytes);
    let mut answer = Vec::new();
    let _ = tls.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
