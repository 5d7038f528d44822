//! STUN Binding requests as ICE connectivity checks (RFC 8489, RFC 8445 §7.1).

/// A Binding request, well formed but not yet verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check<'a> {
    /// The part of USERNAME that the receiver minted.
    pub local_ufrag: &'a str,
    /// New for each check (RFC 8489 §5), so that one that was replayed is known.
    pub transaction: [u8; 12],
    /// PRIORITY: of the peer-reflexive candidate that it may make (RFC 8445 §7.1.1).
    pub priority: u32,
    /// USE-CANDIDATE: the client nominates this pair (RFC 8445 §7.1.2).
    pub nominates: bool,
    /// What MESSAGE-INTEGRITY covers before the two bytes of the length, and after them.
    covered: [&'a [u8]; 2],
    /// The length as MESSAGE-INTEGRITY saw it: up to its own end (RFC 8489 §14.5).
    length: [u8; 2],
    integrity: [u8; 20],
}

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const HEADER_BYTES: usize = 20;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
/// RFC 8489 §14.3: fewer than 509 bytes.
const USERNAME_BYTES_MAX: usize = 508;

/// Reads a Binding request; `None` for any other STUN message, one without what a check needs,
/// and one that is malformed. What stands behind MESSAGE-INTEGRITY is not covered and not read.
pub fn check(datagram: &[u8]) -> Option<Check<'_>> {
    let (header, mut attributes) = datagram.split_first_chunk::<HEADER_BYTES>()?;
    let [k0, k1, l0, l1, magic @ .., t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11] = *header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if [k0, k1] != BINDING_REQUEST || magic != MAGIC || length != attributes.len() {
        return None;
    }
    let (mut ufrag, mut priority, mut nominates) = (None, None, false);
    let mut read = 0;
    while let Some(([k0, k1, l0, l1], rest)) = attributes.split_first_chunk() {
        let kind = u16::from_be_bytes([*k0, *k1]);
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        let value = rest.get(..length)?;
        match kind {
            USERNAME if length > USERNAME_BYTES_MAX => return None,
            USERNAME => {
                let (local, _remote) = std::str::from_utf8(value).ok()?.split_once(':')?;
                ufrag.get_or_insert(local);
            }
            PRIORITY => priority = Some(u32::from_be_bytes(value.try_into().ok()?)),
            USE_CANDIDATE => nominates = true,
            MESSAGE_INTEGRITY => {
                let end = u16::try_from(read + 4 + value.len()).ok()?;
                return Some(Check {
                    local_ufrag: ufrag?,
                    transaction: [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11],
                    priority: priority?,
                    nominates,
                    covered: [datagram.get(..2)?, datagram.get(4..HEADER_BYTES + read)?],
                    length: end.to_be_bytes(),
                    integrity: value.try_into().ok()?,
                });
            }
            _ => {}
        }
        let whole = length.next_multiple_of(4);
        attributes = rest.get(whole..)?;
        read += 4 + whole;
    }
    None
}

impl Check<'_> {
    /// Whether whoever sent it knows the receiver's ICE password. `hmac` is HMAC-SHA1 with that
    /// password over the parts in order.
    pub fn is_genuine(&self, hmac: impl FnOnce(&[&[u8]]) -> [u8; 20]) -> bool {
        let [kind, rest] = self.covered;
        let expected = hmac(&[kind, &self.length, rest]);
        // Without an early end, so that the time taken says nothing about where they differ.
        expected.iter().zip(&self.integrity).fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5769 §2.1, whose password is `VOkJxbRl1RmTxUk/WvJxBt`.
    const SAMPLE: &[u8] = b"\x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09\x65\x76\x74\x6a\x3a\x68\x36\x76\x59\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    fn hmac(password: &[u8], parts: &[&[u8]]) -> [u8; 20] {
        let provider = str0m::crypto::from_feature_flags().sha1_hmac_provider;
        provider.sha1_hmac(password, parts)
    }

    #[test]
    fn the_sample_of_rfc_5769_is_genuine() {
        let check = check(SAMPLE).unwrap();
        assert_eq!(check.local_ufrag, "evtj");
        assert_eq!(check.priority, 0x6e00_01ff);
        assert!(!check.nominates);
        assert!(check.is_genuine(|parts| hmac(b"VOkJxbRl1RmTxUk/WvJxBt", parts)));
        assert!(!check.is_genuine(|parts| hmac(b"VOkJxbRl1RmTxUk/WvJxBu", parts)));
    }

    #[test]
    fn no_covered_bit_may_change() {
        let covered = SAMPLE.len() - 8;
        for at in 0..covered {
            let mut forged = SAMPLE.to_vec();
            forged[at] ^= 1;
            let genuine = check(&forged)
                .is_some_and(|c| c.is_genuine(|parts| hmac(b"VOkJxbRl1RmTxUk/WvJxBt", parts)));
            // The length is not covered as it came, but must be that of the datagram.
            assert!(!genuine, "byte {at}");
        }
    }

    #[test]
    fn what_is_cut_is_no_check() {
        for cut in 0..SAMPLE.len() {
            assert_eq!(check(&SAMPLE[..cut]), None, "cut at {cut}");
        }
    }
}
