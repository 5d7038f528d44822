//! STUN Binding requests as ICE connectivity checks, and the answer to one (RFC 8489, RFC 8445 §7).

use std::net::{IpAddr, SocketAddr};

use crc::{CRC_32_ISO_HDLC, Crc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

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
    /// ICE-CONTROLLED: the client takes itself for the side that does not nominate
    /// (RFC 8445 §7.1.3).
    pub controlled: bool,
    /// What MESSAGE-INTEGRITY covers before the two bytes of the length, and after them.
    covered: [&'a [u8]; 2],
    /// The length as MESSAGE-INTEGRITY saw it: up to its own end (RFC 8489 §14.5).
    length: [u8; 2],
    integrity: [u8; 20],
}

const MAGIC: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_SUCCESS: [u8; 2] = [0x01, 0x01];
const HEADER_BYTES: usize = 20;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const ICE_CONTROLLED: u16 = 0x8029;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const FINGERPRINT: u16 = 0x8028;
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
    let (mut ufrag, mut priority) = (None, None);
    let (mut nominates, mut controlled) = (false, false);
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
            ICE_CONTROLLED => controlled = true,
            MESSAGE_INTEGRITY => {
                let end = u16::try_from(read + 4 + value.len()).ok()?;
                return Some(Check {
                    local_ufrag: ufrag?,
                    transaction: [t0, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11],
                    priority: priority?,
                    nominates,
                    controlled,
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

/// HMAC-SHA1 over the parts in order, which MESSAGE-INTEGRITY is (RFC 8489 §14.5).
#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104 §2)")]
pub fn sign(password: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    let mut hmac = Hmac::<Sha1>::new_from_slice(password).expect("any length will do");
    parts.iter().for_each(|part| hmac.update(part));
    hmac.finalize().into_bytes().into()
}

/// RFC 8489 §14.7.
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const INTEGRITY_BYTES: u16 = 4 + 20;
const FINGERPRINT_BYTES: u16 = 4 + 4;

/// Appends the Binding success response to a check of that `transaction` that came from `remote`
/// (RFC 8445 §7.3). `hmac` as for [`Check::is_genuine`], with the same password (RFC 8489 §9.1.3).
pub fn append_response(
    out: &mut Vec<u8>,
    transaction: &[u8; 12],
    remote: SocketAddr,
    hmac: impl FnOnce(&[&[u8]]) -> [u8; 20],
) {
    let start = out.len();
    let mapped_bytes: u16 = if remote.is_ipv4() { 8 } else { 20 };
    // MESSAGE-INTEGRITY covers a length that ends with itself, FINGERPRINT one that does so too.
    let covered = 4 + mapped_bytes + INTEGRITY_BYTES;
    out.extend(BINDING_SUCCESS);
    out.extend(covered.to_be_bytes());
    out.extend(MAGIC);
    out.extend(transaction);
    out.extend(XOR_MAPPED_ADDRESS.to_be_bytes());
    out.extend(mapped_bytes.to_be_bytes());
    let [m0, m1, ..] = MAGIC;
    out.extend([0, if remote.is_ipv4() { 1 } else { 2 }]);
    out.extend((remote.port() ^ u16::from_be_bytes([m0, m1])).to_be_bytes());
    let mask = MAGIC.iter().chain(transaction);
    match remote.ip() {
        IpAddr::V4(ip) => out.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
        IpAddr::V6(ip) => out.extend(ip.octets().iter().zip(mask).map(|(a, b)| a ^ b)),
    }
    let message = out.get(start..).unwrap_or_default();
    let integrity = hmac(&[message]);
    out.extend(MESSAGE_INTEGRITY.to_be_bytes());
    out.extend(20u16.to_be_bytes());
    out.extend(integrity);
    if let Some(length) = out.get_mut(start + 2..start + 4) {
        length.copy_from_slice(&(covered + FINGERPRINT_BYTES).to_be_bytes());
    }
    let crc = CRC.checksum(out.get(start..).unwrap_or_default());
    out.extend(FINGERPRINT.to_be_bytes());
    out.extend(4u16.to_be_bytes());
    out.extend((crc ^ FINGERPRINT_XOR).to_be_bytes());
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

    /// The samples of RFC 5769 §2.2 and §2.3, without the SOFTWARE that they begin with.
    #[test]
    fn an_answer_says_the_address_as_the_samples_do() {
        let transaction = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let v4: &[u8] = b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43";
        let v6: &[u8] = b"\x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\
            \xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        let addresses = [("192.0.2.1", v4), ("2001:db8:1234:5678:11:2233:4455:6677", v6)];
        for (ip, mapped) in addresses {
            let remote = SocketAddr::new(ip.parse().unwrap(), 32_853);
            let mut out = b"before".to_vec();
            append_response(&mut out, &transaction, remote, |_| [7; 20]);
            let response = &out[6..];
            assert_eq!(response[..2], [1, 1]);
            assert_eq!(
                usize::from(u16::from_be_bytes([response[2], response[3]])),
                response.len() - 20
            );
            assert_eq!(response[8..20], transaction);
            assert_eq!(&response[20..20 + mapped.len()], mapped);
        }
    }

    /// The request of RFC 5769 §2.1 ends with a FINGERPRINT too.
    #[test]
    fn the_fingerprint_is_that_of_the_sample() {
        let covered = &SAMPLE[..SAMPLE.len() - 8];
        assert_eq!(
            (CRC.checksum(covered) ^ FINGERPRINT_XOR).to_be_bytes(),
            SAMPLE[SAMPLE.len() - 4..]
        );
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
