//! Which protocol a datagram on the one UDP port belongs to (RFC 7983), and the ICE username of
//! a STUN Binding request, read without verifying anything.

/// What a datagram's first bytes say it is (RFC 7983 §7, RFC 5761 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol<'a> {
    /// A STUN Binding request; `local_ufrag` is the part of its USERNAME that the receiver minted.
    StunRequest {
        local_ufrag: &'a str,
    },
    /// Any other STUN message, or one that is malformed.
    StunOther,
    Dtls,
    /// RTP or RTCP, both protected.
    Srtp,
    Unknown,
}

const STUN_MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const ATTRIBUTE_USERNAME: u16 = 0x0006;
/// RFC 8489 §14.3: fewer than 509 bytes.
const USERNAME_BYTES_MAX: usize = 508;

/// Classifies one datagram.
pub fn classify(datagram: &[u8]) -> Protocol<'_> {
    match datagram.first() {
        Some(0..=3) => match stun_username(datagram) {
            Some(local_ufrag) => Protocol::StunRequest { local_ufrag },
            None => Protocol::StunOther,
        },
        Some(20..=63) => Protocol::Dtls,
        Some(128..=191) => Protocol::Srtp,
        _ => Protocol::Unknown,
    }
}

/// The receiver's ufrag in a Binding request: USERNAME is `receiver:sender` (RFC 8445 §7.2.2).
fn stun_username(datagram: &[u8]) -> Option<&str> {
    let (header, mut attributes) = datagram.split_first_chunk::<20>()?;
    let [k0, k1, l0, l1, m0, m1, m2, m3, ..] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let is_request = [k0, k1] == BINDING_REQUEST && [m0, m1, m2, m3] == STUN_MAGIC;
    if !is_request || length != attributes.len() {
        return None;
    }
    while let Some(([k0, k1, l0, l1], rest)) = attributes.split_first_chunk() {
        let kind = u16::from_be_bytes([*k0, *k1]);
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = rest.get(..length)?;
        if kind == ATTRIBUTE_USERNAME {
            if length > USERNAME_BYTES_MAX {
                return None;
            }
            let (local, _remote) = std::str::from_utf8(value).ok()?.split_once(':')?;
            return Some(local);
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(username: &str) -> Vec<u8> {
        let mut attributes = vec![0x00, 0x24, 0, 4, 1, 2, 3, 4, 0, 6, 0, username.len() as u8];
        attributes.extend_from_slice(username.as_bytes());
        attributes.resize(attributes.len().next_multiple_of(4), 0);
        let mut datagram = vec![0, 1, 0, attributes.len() as u8];
        datagram.extend_from_slice(&STUN_MAGIC);
        datagram.extend_from_slice(&[9; 12]);
        datagram.extend_from_slice(&attributes);
        datagram
    }

    #[test]
    fn finds_the_ufrag_behind_other_attributes() {
        let datagram = request("abcd:efgh");
        assert_eq!(classify(&datagram), Protocol::StunRequest { local_ufrag: "abcd" });
    }

    #[test]
    fn malformed_stun_is_no_request() {
        let good = request("abcd:efgh");
        for cut in 1..good.len() {
            assert_eq!(classify(&good[..cut]), Protocol::StunOther, "cut at {cut}");
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(classify(&long), Protocol::StunOther);
        let mut response = good;
        response[0] = 1;
        assert_eq!(classify(&response), Protocol::StunOther);
        assert_eq!(classify(&request("no-colon")), Protocol::StunOther);
    }

    #[test]
    fn the_rest_goes_by_first_byte() {
        assert_eq!(classify(&[22, 254, 253]), Protocol::Dtls);
        assert_eq!(classify(&[0x80, 96]), Protocol::Srtp);
        assert_eq!(classify(&[64]), Protocol::Unknown);
        assert_eq!(classify(&[255]), Protocol::Unknown);
        assert_eq!(classify(&[]), Protocol::Unknown);
    }
}
