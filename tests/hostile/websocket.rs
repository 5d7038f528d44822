//! Connections that say too little, too much, too slowly, or do not listen.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::common::live::{Live, Signalling, Tls, tls, until};
use crate::room::{NAME, Room};
use crate::server::Server;

/// What one connection may make the server keep, with room for what the allocator keeps.
const KEPT_BYTES_MAX: u64 = 6 << 20;

/// A connection from another address than everybody else's.
pub fn from(source: Ipv4Addr, server: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&server.into())?;
    Ok(socket.into())
}

/// A WebSocket whose frames the test makes itself.
fn upgraded(server: SocketAddr) -> Tls {
    let mut stream = tls(server);
    write!(
        stream,
        "GET /signal HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .expect("a connection");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    stream
}

/// One frame, masked with zeros.
fn frame(last: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(last) << 7 | opcode];
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

/// What comes until the server has nothing to say for a while, or closes.
fn read_some(stream: &mut Tls, until: impl Fn(&[u8]) -> bool) -> (Vec<u8>, bool) {
    stream.sock.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (bytes, true),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {
                return (bytes, false);
            }
            Err(_) => return (bytes, true),
        }
        if until(&bytes) {
            return (bytes, false);
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

fn join(stream: &mut Tls) {
    let join = format!(r#"{{"type":"join","id":1,"room":"{NAME}","name":"odd"}}"#);
    stream.write_all(&frame(true, 1, join.as_bytes())).expect("a connection");
    let (heard, over) = read_some(stream, |heard| contains(heard, "joined"));
    assert!(contains(&heard, "joined") && !over);
}

/// A byte a second of a TLS hello, of a head, of a frame: each is ended in its time, and nobody
/// waits for them.
#[test]
fn who_drips_is_ended_and_holds_nobody_up() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let mut raw: Vec<TcpStream> =
        (0..40).map(|_| TcpStream::connect(server.address).expect("a listener")).collect();
    let mut heads: Vec<Tls> = (0..20).map(|_| tls(server.address)).collect();
    heads.iter_mut().for_each(|t| t.write_all(b"GET /").expect("a connection"));
    let mut frames: Vec<Tls> = (0..20).map(|_| upgraded(server.address)).collect();
    let began = Instant::now();
    let (mut raw_ended, mut heads_ended) = (None, None);
    for n in 0.. {
        let elapsed = began.elapsed();
        assert!(elapsed < Duration::from_secs(25), "the server ends them");
        let byte = [hello[n % hello.len()]];
        raw.retain_mut(|t| t.write_all(&byte).is_ok());
        if raw.is_empty() {
            raw_ended.get_or_insert(elapsed);
        }
        heads.retain_mut(|t| t.write_all(b"x").and_then(|()| t.flush()).is_ok());
        if heads.is_empty() {
            heads_ended.get_or_insert(elapsed);
        }
        // Before it is whole the frame is nothing; the time to join goes on (30 s).
        let whole = frame(true, 1, &[b' '; 100]);
        frames.iter_mut().for_each(|t| t.write_all(&whole[n..][..1]).expect("not ended yet"));
        if n == 1 {
            let mut client = Signalling::open(server.address);
            let asked = Instant::now();
            client.join("elsewhere", "in a hurry");
            println!("a join beside 80 that drip took {:?}", asked.elapsed());
            room.assert_calm("slow connections");
        }
        if raw_ended.is_some() && heads_ended.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("hellos ended after {raw_ended:?}, heads after {heads_ended:?}");
    assert!(server.metric("trackyard_connections_closed", "slow") >= 60.0);
    room.assert_calm("slow connections that were ended");
}

/// One source's connections come to their end before those that all may have together.
#[test]
fn one_source_cannot_take_all_connections() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let greedy = Ipv4Addr::new(127, 9, 9, 9);
    // Accepted by the kernel, then closed by the server: a refusal may be seen here or later.
    let mut held: Vec<TcpStream> = (0..1_000).flat_map(|_| from(greedy, server.address)).collect();
    let refused = || server.metric("trackyard_connections_refused", "source_rate");
    let deadline = Instant::now() + Duration::from_secs(5);
    while refused() < 200.0 {
        assert!(Instant::now() < deadline, "{} refused", refused());
        std::thread::sleep(Duration::from_millis(20));
    }
    let open = server.metric("trackyard_connections ", "");
    println!("{} connections opened by one source: {open} are left, with the room's", held.len());
    assert!(open < 700.0, "{open} open");
    let mut client = Signalling::open(server.address);
    client.join("elsewhere", "another source");
    room.assert_calm("a greedy source");
    held.clear();
}

#[test]
fn a_message_in_one_byte_fragments_is_one_message() {
    let server = Server::start(1);
    let mut stream = upgraded(server.address);
    join(&mut stream);
    let ping = br#"{"type":"ping","id":77}"#;
    for (n, byte) in ping.iter().enumerate() {
        let opcode = if n == 0 { 1 } else { 0 };
        stream.write_all(&frame(n + 1 == ping.len(), opcode, &[*byte])).expect("a connection");
    }
    let (heard, _) = read_some(&mut stream, |heard| contains(heard, "pong"));
    assert!(contains(&heard, r#""id":77"#), "{}", String::from_utf8_lossy(&heard));
    // One that never ends does at the limit of a message, and is no more than that in memory.
    let before = server.resident_bytes();
    let mut bytes = frame(false, 1, b" ");
    (0..70_000).for_each(|_| bytes.extend(frame(false, 0, b" ")));
    let _ = stream.write_all(&bytes);
    let (heard, over) = read_some(&mut stream, |_| false);
    let grown = server.resident_bytes().saturating_sub(before);
    println!("70,000 one-byte fragments: the server grew by {grown} bytes");
    assert!(contains(&heard, "too_large") && over, "{over} {}", String::from_utf8_lossy(&heard));
    assert!(grown < KEPT_BYTES_MAX, "{grown}");
}

#[test]
fn a_frame_of_64_mib_is_refused_by_its_head() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    for joined in [false, true] {
        let mut stream = upgraded(server.address);
        if joined {
            join(&mut stream);
        }
        let before = server.resident_bytes();
        let mut head = vec![0x81, 0x80 | 127];
        head.extend((64_u64 << 20).to_be_bytes());
        head.extend([0; 4]);
        stream.write_all(&head).expect("a connection");
        // And as much of it as the server takes.
        for _ in 0..64 {
            if stream.write_all(&[b' '; 1 << 14]).is_err() {
                break;
            }
        }
        let (heard, over) = read_some(&mut stream, |_| false);
        assert!(over && contains(&heard, "too_large"), "{over} {heard:?}");
        let grown = server.resident_bytes().saturating_sub(before);
        println!("a 64 MiB frame (joined: {joined}): the server grew by {grown} bytes");
        assert!(grown < KEPT_BYTES_MAX, "{grown}");
    }
    room.assert_calm("frames of 64 MiB");
}

/// Asks and asks, and reads nothing: what waits for it is bounded, then it is closed.
#[test]
fn who_does_not_read_is_closed() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let mut stream = upgraded(server.address);
    join(&mut stream);
    let before = server.resident_bytes();
    let pings = frame(true, 1, br#"{"type":"ping","id":1}"#).repeat(1_000);
    stream.sock.set_write_timeout(Some(Duration::from_secs(5))).expect("a socket");
    let (mut sent, began) = (0, Instant::now());
    let closed = || server.metric("trackyard_connections_closed", "out_full") > 0.0;
    while !closed() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is closed");
        match stream.write_all(&pings) {
            Ok(()) => sent += pings.len(),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("a reader that stopped was closed after {sent} bytes; the server grew by {grown}");
    assert!(grown < KEPT_BYTES_MAX, "{grown}");
    room.assert_calm("a stopped reader");
}

/// Silent on every way, with all connections open: a machine whose network is gone.
#[test]
fn somebody_who_vanishes_is_gone_in_ten_seconds() {
    let server = Server::start(1);
    let mut people = vec![
        Live::join(server.address, "v", 1, false, 1),
        Live::join(server.address, "v", 2, true, 0),
    ];
    let took = until(&mut people, Duration::from_secs(10), |p| p[0].sees(1));
    assert!(took.is_some(), "one sees the other");
    let vanished = people.pop().expect("two");
    people[0].messages.clear();
    let took = until(&mut people, Duration::from_secs(15), |p| {
        p[0].messages.iter().any(|m| m["type"] == "participant_left" && m["reason"] == "lost")
    });
    println!("somebody who vanished was gone after {took:?}");
    assert!(took.is_some_and(|t| t < Duration::from_millis(10_500)), "{took:?}");
    drop(vanished);
}
