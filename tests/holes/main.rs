//! Attacks and accidents that are known to break media servers, each on virtual time. Figures are
//! printed (`--nocapture`).
#![allow(clippy::disallowed_methods, reason = "a test makes up its first instant, and takes time")]

#[path = "../common/mod.rs"]
mod common;

mod feedback;
mod handshakes;
mod paths;
mod streams;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn outside(n: u32) -> SocketAddr {
    let [_, a, b, c] = n.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 40_000))
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm.split(' ').nth(1).and_then(|p| p.parse().ok()).expect("a number");
    pages * 4_096
}

fn two_in_a_call(workers: usize) -> World {
    let mut world = World::new(workers);
    world.join(1, true, 1);
    world.join(2, true, 1);
    world.until(Duration::from_secs(2), World::all_see);
    world
}

fn is_check(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0, 1])
}

#[test]
fn a_description_beyond_its_bounds_is_refused_before_it_is_parsed() {
    use trackyard::wire::sdp::{SdpError, gate_offer};
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 AA\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n";
    let candidate = |n| format!("a=candidate:{n} 1 udp 1 10.0.0.1 {n} typ host\r\n");
    let candidates = |count| (0..count).map(candidate).collect::<String>();
    let section = |n| format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:{n}\r\n");
    let sections = |count| (1..=count).map(section).collect::<String>();
    for (what, more, reason) in [
        ("20,000 candidates", candidates(20_000), SdpError::TooLarge),
        ("1,000 candidates", candidates(1_000), SdpError::TooManyCandidates),
        ("5,000 m-lines", sections(5_000), SdpError::TooLarge),
        ("1,000 m-lines", sections(1_000), SdpError::TooManyMLines),
    ] {
        let offer = format!("{head}{more}");
        let clock = Instant::now();
        assert_eq!(gate_offer(&offer), Err(reason), "{what}");
        println!("{what}, {} bytes: refused after {:?}", offer.len(), clock.elapsed());
    }
    let offer = format!("{head}{}{}", candidates(32), sections(127));
    assert_eq!(gate_offer(&offer).map(|o| o.mids.len()), Ok(128), "at the bounds it is read");
}
