//! What somebody without any right does: from outside, or as a participant who lies.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use trackyard::base::limits::CONN_OUT_BYTES_MAX;

use super::browser::{Ask, Browser, Wishes};
use super::client::Client;
use super::conns::Up;
use super::lies::Lie;
use super::net::ClientId;
use super::plan::Attack;
use super::world::World;

/// More answers than may wait for one who does not read.
const PINGS_THAT_FILL: u64 = CONN_OUT_BYTES_MAX as u64 / 36;
/// Of a request (RFC 8259 §6).
const LARGEST_ID: u64 = (1 << 53) - 1;

/// Sends the script on one WebSocket, then says nothing more.
pub struct Liar {
    pub room: String,
    pub script: Vec<Up>,
    pub asks: Vec<Ask>,
    pub say: Vec<Up>,
    /// Said when the first word comes; if there is any, no other word is read.
    pub once_in: Vec<Up>,
}

impl Liar {
    pub fn on_open(&mut self) {
        self.say.append(&mut self.script);
    }

    pub fn on_text(&mut self) {
        if !self.once_in.is_empty() {
            self.asks.push(Ask::Stall);
            self.say.append(&mut self.once_in);
        }
    }
}

/// Carries an attack out. Gives who has only itself to blame if it is not seen for a while.
pub fn attack(world: &mut World, attack: Attack) -> Option<ClientId> {
    match attack {
        Attack::Junk => junk(world),
        Attack::GuessUfrags => guess(world),
        Attack::ReplayChecks => replay_checks(world),
        Attack::ReplayOwn => replay_own(world),
        Attack::BadTags => bad_tags(world),
        Attack::ForgeStreams => forge_streams(world),
        Attack::SpoofHandshake => spoof(world),
        Attack::LyingJson => lie(world),
        Attack::WrongCertificate => wrong_certificate(world),
        Attack::NackFlood => flood(world, Lie::Nacks),
        Attack::KeyframeFlood => flood(world, Lie::Keyframes),
        Attack::FeedbackLies => flood(world, Lie::Reports),
        Attack::Rush => rush(world),
        Attack::SlowReader => slow_reader(world),
        Attack::StolenSsrc => return steal_ssrc(world),
        Attack::SlotSsrc => return take_slot_ssrc(world),
        Attack::ManyStreams => return many_streams(world),
    }
    None
}

/// Somebody who sends and receives.
fn anybody(world: &mut World) -> Option<ClientId> {
    let settled = |client: &Client| client.browser().is_some_and(Browser::is_settled);
    let all: Vec<ClientId> =
        world.clients.iter().filter(|(_, c)| settled(c)).map(|(id, _)| *id).collect();
    (!all.is_empty()).then(|| all[world.chance.usize(..all.len())])
}

fn flood(world: &mut World, lie: Lie) {
    if let Some(id) = anybody(world) {
        world.flood(id, lie, 60);
    }
}

fn rush(world: &mut World) {
    let Some(id) = anybody(world) else { return };
    let until = world.now + Duration::from_secs(2);
    world.with(id, |client, now| {
        let senders = client.media_mut().into_iter().flat_map(|m| &mut m.senders);
        senders.for_each(|s| s.rushes = Some(until));
        client.poll(now);
    });
}

fn video_ssrc(world: &mut World, id: ClientId) -> Option<(usize, u32)> {
    world.clients.get_mut(&id)?.media_mut()?.video_ssrc()
}

fn change_ssrc(world: &mut World, id: ClientId, ssrc: u32) -> Option<ClientId> {
    let (at, _) = video_ssrc(world, id)?;
    world.clients.get_mut(&id)?.media_mut()?.change_ssrc(at, ssrc);
    Some(id)
}

/// A publisher's stream is named as another's is.
fn steal_ssrc(world: &mut World) -> Option<ClientId> {
    let (thief, owner) = (anybody(world)?, anybody(world)?);
    let (_, ssrc) = video_ssrc(world, owner).filter(|_| thief != owner)?;
    change_ssrc(world, thief, ssrc)
}

/// A publisher's stream is named as one that the server sends it.
fn take_slot_ssrc(world: &mut World) -> Option<ClientId> {
    let id = anybody(world)?;
    let (ssrc, _) = world.observer.streams_to(id).into_iter().next()?;
    change_ssrc(world, id, ssrc)
}

/// Each frame is a stream of its own.
fn many_streams(world: &mut World) -> Option<ClientId> {
    let id = anybody(world)?;
    let (at, _) = video_ssrc(world, id)?;
    let until = world.now + Duration::from_secs(3);
    let sender = &mut world.clients.get_mut(&id)?.media_mut()?.senders[at];
    (sender.restless, sender.rushes) = (200, Some(until));
    Some(id)
}

/// Joins, asks without end, and reads no answer.
fn slow_reader(world: &mut World) {
    let id = world.mint_hostile();
    let text = |value: serde_json::Value| Up::Text(value.to_string());
    let name = format!("hostile {id}");
    let script = vec![text(json!({"type": "join", "id": 1, "room": "room 0", "name": name}))];
    let ping = |i: u64| text(json!({"type": "ping", "id": LARGEST_ID - i}));
    let liar = Liar {
        room: "room 0".into(),
        script,
        asks: vec![Ask::Open(1)],
        say: Vec::new(),
        once_in: (0..PINGS_THAT_FILL).map(ping).collect(),
    };
    world.add(id, Client::Liar(Box::new(liar)));
}

fn junk(world: &mut World) {
    for _ in 0..40 {
        let length = world.chance.usize(1..2_200);
        let mut bytes: Vec<u8> = (0..length).map(|_| world.chance.u8(..)).collect();
        bytes[0] = [0, 1, 22, 21, 128, 144, 64, 200][world.chance.usize(..8)];
        let from = world.net.forged();
        world.inject(from, bytes);
    }
}

/// A Binding request whose integrity nobody computed.
fn check(username: &str, transaction: [u8; 12]) -> Vec<u8> {
    let mut attributes = vec![0, 6, 0, username.len() as u8];
    attributes.extend_from_slice(username.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend_from_slice(&[0x00, 0x25, 0, 0]);
    attributes.extend_from_slice(&[0x00, 0x08, 0, 20]);
    attributes.extend_from_slice(&[7; 20]);
    let mut bytes = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    bytes.extend_from_slice(&transaction);
    bytes.extend_from_slice(&attributes);
    bytes
}

/// The USERNAME of a check.
fn username(bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(3).skip(20).position(|w| w == [0, 6, 0])? + 20;
    let length = usize::from(*bytes.get(at + 3)?);
    String::from_utf8(bytes.get(at + 4..at + 4 + length)?.to_vec()).ok()
}

fn checks(world: &World) -> Vec<(SocketAddr, Vec<u8>)> {
    world.observer.checks.iter().cloned().collect()
}

fn guess(world: &mut World) {
    let known = checks(world).iter().filter_map(|(_, bytes)| username(bytes)).next_back();
    for i in 0..30 {
        let guessed: String = (0..14).map(|_| world.chance.lowercase()).collect();
        let name = match &known {
            Some(known) if i % 2 == 0 => known.clone(),
            _ => format!("a{}{guessed}:abcd", ['a', 'b', 'c', 'z'][i % 4]),
        };
        let transaction = world.chance.u128(..).to_le_bytes()[..12].try_into().expect("twelve");
        let from = world.net.forged();
        world.inject(from, check(&name, transaction));
    }
}

fn replay_checks(world: &mut World) {
    for (_, bytes) in checks(world) {
        for _ in 0..4 {
            let from = world.net.forged();
            world.inject(from, bytes.clone());
        }
    }
}

fn recent(world: &World) -> Vec<(SocketAddr, Vec<u8>)> {
    world.observer.recent.iter().cloned().collect()
}

fn replay_own(world: &mut World) {
    for (from, bytes) in recent(world) {
        world.inject(from, bytes);
    }
}

fn bad_tags(world: &mut World) {
    for (from, mut bytes) in recent(world) {
        // Of media, what is not header: a forged header is `forge_streams`.
        let from_byte = if bytes[0] & 0xc0 == 0x80 { bytes.len().saturating_sub(20) } else { 1 };
        let at = world.chance.usize(from_byte..bytes.len());
        bytes[at] ^= 1 << world.chance.u32(..8);
        world.inject(from, bytes);
    }
}

/// Media packets of streams that do not exist, on m-lines that do.
fn forge_streams(world: &mut World) {
    for (from, mut bytes) in recent(world) {
        if bytes[0] & 0xc0 == 0x80 && !(200..=207).contains(&bytes[1]) {
            bytes[11] ^= 1;
            world.inject(from, bytes);
        }
    }
}

fn spoof(world: &mut World) {
    for (from, _) in recent(world) {
        let random = world.chance.u128(..).to_le_bytes();
        let hello = [&[22, 254, 253, 1][..], &random].concat();
        world.inject(from, hello.clone());
        let cut = world.chance.usize(1..hello.len());
        world.inject(from, hello[..cut].to_vec());
        world.inject(from, vec![21, 254, 253, 2, 40]);
        world.inject(from, [&[22, 254, 253, 3][..], &random, &random, &random].concat());
    }
}

fn lie(world: &mut World) {
    let text = |value: serde_json::Value| Up::Text(value.to_string());
    let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\n";
    let lines = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:x\r\n".repeat(200);
    let mut script = vec![
        Up::Text("{".into()),
        Up::Text("null".into()),
        Up::Text("\u{0}\u{202e}".into()),
        text(json!({"type": "leave", "id": 1})),
        text(json!({"type": "offer", "id": 2, "sdp": sdp})),
        text(json!({"type": "resume", "id": 3, "session": "guessed"})),
        text(json!({"type": "join", "id": 4, "room": "", "name": "x"})),
        text(json!({"type": "join", "id": 5, "room": "den", "name": "\r\nX: 1"})),
        text(json!({"type": "join", "id": 6, "room": "den", "name": "hostile"})),
        text(json!({"type": "join", "id": 7, "room": "den", "name": "hostile"})),
        text(json!({"type": "update", "id": 8, "mid": "x".repeat(3_000), "muted": true})),
        text(json!({"type": "candidate", "candidate": "x", "id": 9})),
        Up::Binary,
    ];
    for (i, sdp) in ["", "v=0", sdp, &lines, &format!("{sdp}{lines}")].iter().enumerate() {
        script.push(text(json!({"type": "offer", "id": 100 + i, "sdp": sdp})));
    }
    if world.chance.bool() {
        script.push(Up::TooLarge);
    }
    let id = world.mint_hostile();
    let liar =
        Liar { room: "den".into(), script, asks: vec![Ask::Open(1)], say: vec![], once_in: vec![] };
    world.add(id, Client::Liar(Box::new(liar)));
}

fn wrong_certificate(world: &mut World) {
    let id = world.mint_hostile();
    let wishes = Wishes {
        video: true,
        audio: true,
        simulcast: false,
        video_muted: false,
        audio_muted: false,
        sly: false,
        moving: true,
    };
    let place = (SocketAddr::from(([10, 200, 0, 1], 6_000)), world.now);
    let names = ("room 0", format!("hostile {id}"));
    let mut browser = Browser::new(id, names, wishes, &world.crypto, place);
    browser.lies_about_certificate = true;
    world.observer.cast_out(id);
    world.add(id, Client::Browser(Box::new(browser)));
}

/// Long after anything a liar does by itself.
pub fn never(now: Instant) -> Instant {
    now + Duration::from_secs(100_000_000)
}
