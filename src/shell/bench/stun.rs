//! The ICE checks that a client sends (RFC 8445 §7.1, RFC 7675).

use crate::wire::stun;

/// The credentials of both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ice {
    pub own_ufrag: String,
    pub own_pwd: String,
    pub ufrag: String,
    pub pwd: String,
}

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const SUCCESS: [u8; 2] = [0x01, 0x01];

/// A Binding request that nominates its pair. Each needs a transaction of its own.
pub fn check(ice: &Ice, transaction: u64) -> Vec<u8> {
    let username = format!("{}:{}", ice.ufrag, ice.own_ufrag);
    let mut attributes = vec![0, 0x06];
    attributes.extend((username.len() as u16).to_be_bytes());
    attributes.extend(username.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    // PRIORITY of a peer-reflexive candidate, ICE-CONTROLLING, USE-CANDIDATE.
    attributes.extend([0, 0x24, 0, 4, 0x6e, 0, 1, 0xff]);
    attributes.extend([0x80, 0x2a, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    attributes.extend([0, 0x25, 0, 0]);
    let mut datagram = vec![0, 1];
    datagram.extend((attributes.len() as u16 + 24).to_be_bytes());
    datagram.extend(MAGIC);
    datagram.extend([0; 4]);
    datagram.extend(transaction.to_be_bytes());
    datagram.extend(attributes);
    let integrity = stun::sign(ice.pwd.as_bytes(), &[&datagram]);
    datagram.extend([0, 0x08, 0, 20]);
    datagram.extend(integrity);
    datagram
}

/// Whether a datagram is the answer to a check, and the server agreed.
pub fn agrees(datagram: &[u8], transaction: u64) -> bool {
    let Some(([k0, k1, _, _, magic @ .., _, _, _, _], rest)) = datagram.split_first_chunk::<12>()
    else {
        return false;
    };
    [*k0, *k1] == SUCCESS && *magic == MAGIC && rest.starts_with(&transaction.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_takes_the_check() {
        let ice = Ice {
            own_ufrag: "ours".into(),
            own_pwd: String::new(),
            ufrag: "theirs".into(),
            pwd: "secret".into(),
        };
        let datagram = check(&ice, 7);
        let read = stun::check(&datagram).expect("well-formed");
        assert_eq!(read.local_ufrag, "theirs");
        assert!(read.nominates);
        assert!(read.is_genuine(|parts| stun::sign(b"secret", parts)));
        assert!(!read.is_genuine(|parts| stun::sign(b"other", parts)));
        assert!(!agrees(&datagram, 7), "its own request");
        let mut answer = datagram.clone();
        answer[..2].copy_from_slice(&SUCCESS);
        assert!(agrees(&answer, 7) && !agrees(&answer, 8) && !agrees(&answer[..11], 7));
    }
}
