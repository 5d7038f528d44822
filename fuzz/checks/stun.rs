//! Connectivity checks: whatever reads as one is a Binding request to the demultiplexer too, and
//! its integrity covers the datagram up to MESSAGE-INTEGRITY with the length of that part.

use trackyard::wire::demux::{Protocol, classify};
use trackyard::wire::stun;

pub fn check(datagram: &[u8]) {
    let Some(check) = stun::check(datagram) else { return };
    assert_eq!(classify(datagram), Protocol::StunRequest { local_ufrag: check.local_ufrag });
    assert_eq!(check.transaction, datagram[8..20]);
    let mut covered = Vec::new();
    check.is_genuine(|parts| {
        covered = parts.concat();
        [0; 20]
    });
    let length = u16::from_be_bytes([covered[2], covered[3]]);
    assert_eq!(usize::from(length) + 20, covered.len() + 4 + 20, "up to the end of the attribute");
    let mut seen = datagram[..covered.len()].to_vec();
    seen[2..4].copy_from_slice(&length.to_be_bytes());
    assert_eq!(covered, seen);
    let integrity = &datagram[covered.len()..];
    assert_eq!(integrity[..4], [0, 8, 0, 20]);
    let stated: [u8; 20] = integrity[4..24].try_into().expect("twenty bytes");
    assert!(check.is_genuine(|_| stated));
    let mut other = stated;
    other[usize::from(length) % 20] ^= 1;
    assert!(!check.is_genuine(|_| other));
}
