//! Datagrams: the class by RFC 7983, and the ufrag of a STUN Binding request against a second,
//! plainer reading of RFC 8489.

use trackyard::wire::demux::{Protocol, classify};

pub fn check(datagram: &[u8]) {
    let protocol = classify(datagram);
    match datagram.first() {
        Some(0..=3) => match (protocol, username(datagram)) {
            (Protocol::StunRequest { local_ufrag }, Some(name)) => {
                assert_eq!(name.split(':').next(), Some(local_ufrag));
                bounds_count(datagram);
            }
            (Protocol::StunOther, Some(name)) => assert!(!name.contains(':'), "{name} was missed"),
            (Protocol::StunOther, None) => {}
            other => panic!("{other:?}"),
        },
        Some(20..=63) => assert_eq!(protocol, Protocol::Dtls),
        Some(128..=191) => assert_eq!(protocol, Protocol::Srtp),
        _ => assert_eq!(protocol, Protocol::Unknown),
    }
}

/// The length in a STUN header is the datagram's: neither less nor more of it is a request.
fn bounds_count(datagram: &[u8]) {
    let shorter = &datagram[..datagram.len() - 1];
    assert_eq!(classify(shorter), Protocol::StunOther);
    let longer = [datagram, &[0]].concat();
    assert_eq!(classify(&longer), Protocol::StunOther);
}

/// The first USERNAME of a Binding request, by counting from the start.
fn username(datagram: &[u8]) -> Option<&str> {
    let word = |at: usize| {
        let bytes = [*datagram.get(at)?, *datagram.get(at + 1)?];
        Some(usize::from(u16::from_be_bytes(bytes)))
    };
    let is_request = word(0)? == 1 && word(4)? == 0x2112 && word(6)? == 0xa442;
    if datagram.len() < 20 || !is_request || 20 + word(2)? != datagram.len() {
        return None;
    }
    let mut at = 20;
    loop {
        let (kind, length) = (word(at)?, word(at + 2)?);
        let value = datagram.get(at + 4..at + 4 + length)?;
        if kind == 6 {
            return std::str::from_utf8(value).ok().filter(|name| name.len() < 509);
        }
        at += 4 + length + (4 - length % 4) % 4;
    }
}
