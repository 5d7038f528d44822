//! How Linux lays out socket addresses and control messages in memory, written and read as plain
//! bytes. IPv4 peers of a dual-stack socket are IPv4 here and IPv4-mapped (RFC 4291 §2.5.5.2)
//! only in the bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// A `sockaddr_in` (16 bytes) or `sockaddr_in6` (28 bytes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Name(pub [u8; 28]);

impl Name {
    pub const EMPTY: Name = Name([0; 28]);

    /// Writes `addr` for a socket of IPv6 (`v6`) or IPv4; the length in bytes that counts.
    /// `None` when the socket cannot reach it: IPv6 from an IPv4 socket.
    pub fn write(&mut self, addr: SocketAddr, v6: bool) -> Option<usize> {
        let bytes = &mut self.0;
        bytes.fill(0);
        bytes[2..4].copy_from_slice(&addr.port().to_be_bytes());
        if v6 {
            bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes[8..24].copy_from_slice(&mapped(addr.ip()).octets());
            if let SocketAddr::V6(addr) = addr {
                bytes[24..28].copy_from_slice(&addr.scope_id().to_ne_bytes());
            }
            return Some(28);
        }
        let IpAddr::V4(ip) = addr.ip().to_canonical() else {
            return None;
        };
        bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        bytes[4..8].copy_from_slice(&ip.octets());
        Some(16)
    }

    /// Reads what the kernel wrote in `len` bytes; `None` for another family or length. The flow
    /// label is left out: it is no part of the 4-tuple.
    pub fn read(&self, len: usize) -> Option<SocketAddr> {
        let bytes = &self.0;
        let family = i32::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match (family, len) {
            (libc::AF_INET, 16) => {
                let ip: [u8; 4] = bytes[4..8].try_into().ok()?;
                Some(SocketAddr::from((ip, port)))
            }
            (libc::AF_INET6, 28) => {
                let ip: [u8; 16] = bytes[8..24].try_into().ok()?;
                let ip = Ipv6Addr::from(ip);
                let scope = u32::from_ne_bytes(bytes[24..28].try_into().ok()?);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::from((v4, port)),
                    None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
                })
            }
            _ => None,
        }
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// `struct cmsghdr` of the kernel: its length with the header, level and type; the payload
/// follows, and the next header begins where a `usize` is aligned.
const HEADER: usize = size_of::<usize>() + 8;

/// Room for all that one message carries: packet info of either family and a segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(8))]
pub struct Control(pub [u8; 96]);

/// What control messages of a received message say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// The address it was sent to.
    pub local: Option<IpAddr>,
    /// Several datagrams of this size (the last may be shorter) came as one.
    pub segment: Option<usize>,
    /// When it came, since the Unix epoch.
    pub at: Option<Duration>,
}

impl Control {
    pub const EMPTY: Control = Control([0; 96]);

    /// Writes the source address (as `IPV6_PKTINFO` on a socket of IPv6) and the segment size;
    /// the length in bytes that counts.
    pub fn write(&mut self, source: Option<IpAddr>, v6: bool, segment: Option<u16>) -> usize {
        let mut at = 0;
        match source.map(|ip| if v6 { IpAddr::V6(mapped(ip)) } else { ip }) {
            Some(IpAddr::V4(ip)) => {
                // struct in_pktinfo: interface, source address, destination (unused here).
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                self.push(&mut at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(ip)) => {
                // struct in6_pktinfo: source address, interface.
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                self.push(&mut at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        if let Some(segment) = segment {
            let size = segment.to_ne_bytes();
            self.push(&mut at, libc::SOL_UDP, libc::UDP_SEGMENT, &size);
        }
        at
    }

    fn push(&mut self, at: &mut usize, level: i32, kind: i32, payload: &[u8]) {
        let word = size_of::<usize>();
        let bytes = &mut self.0[*at..];
        bytes[..word].copy_from_slice(&(HEADER + payload.len()).to_ne_bytes());
        bytes[word..word + 4].copy_from_slice(&level.to_ne_bytes());
        bytes[word + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        bytes[HEADER..HEADER + payload.len()].copy_from_slice(payload);
        *at += HEADER + payload.len().next_multiple_of(word);
    }

    /// Reads the first `len` bytes. Unknown messages are skipped, a broken one ends the reading.
    pub fn read(&self, len: usize) -> Received {
        let mut received = Received::default();
        let mut rest = &self.0[..len.min(self.0.len())];
        while let Some((level, kind, payload, next)) = split(rest) {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // ipi_addr, the destination in the header; ipi_spec_dst would be the
                    // interface's own even for a broadcast, which is not ours to answer.
                    received.local = array(payload, 8).map(|ip| Ipv4Addr::from(ip).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let ip = array(payload, 0).map(Ipv6Addr::from);
                    received.local = ip.map(|ip| IpAddr::V6(ip).to_canonical());
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    // struct timespec.
                    let (seconds, nanos) = (array(payload, 0), array(payload, 8));
                    received.at = seconds.zip(nanos).map(|(seconds, nanos)| {
                        Duration::new(
                            u64::from_ne_bytes(seconds),
                            u64::from_ne_bytes(nanos) as u32 % 1_000_000_000,
                        )
                    });
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = array(payload, 0).map(i32::from_ne_bytes);
                    received.segment = size.and_then(|n| usize::try_from(n).ok());
                }
                _ => {}
            }
            rest = next;
        }
        received
    }
}

/// The first control message in `bytes`: level, type, payload, and what follows.
fn split(bytes: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let word = size_of::<usize>();
    let len = usize::from_ne_bytes(bytes.get(..word)?.try_into().ok()?);
    let level = i32::from_ne_bytes(array(bytes, word)?);
    let kind = i32::from_ne_bytes(array(bytes, word + 4)?);
    let payload = bytes.get(HEADER..len)?;
    let next = bytes.get(len.next_multiple_of(word)..).unwrap_or(&[]);
    Some((level, kind, payload, next))
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_and_mapped_ones_are_ipv4() {
        for (text, v6, len) in [
            ("192.0.2.1:8443", false, 16),
            ("192.0.2.1:8443", true, 28),
            ("[2001:db8::1]:1", true, 28),
            ("[fe80::1%7]:1", true, 28),
        ] {
            let addr: SocketAddr = text.parse().unwrap();
            let mut name = Name([0xff; 28]);
            assert_eq!(name.write(addr, v6), Some(len), "{text}");
            assert_eq!(name.read(len), Some(addr), "{text}");
            assert_eq!(name.read(len - 1), None);
            if !(v6 && addr.is_ipv4()) {
                let theirs = socket2::SockAddr::from(addr);
                assert_eq!(theirs.len() as usize, len);
                assert_eq!(theirs.as_socket(), name.read(len));
            }
        }
        let v6 = "[2001:db8::1]:1".parse().unwrap();
        assert_eq!(Name::EMPTY.clone().write(v6, false), None);
        assert_eq!(Name::EMPTY.read(16), None);
    }

    #[test]
    fn broken_control_messages_end_the_reading() {
        let mut control = Control::EMPTY;
        let source = "192.0.2.1".parse().unwrap();
        let len = control.write(Some(source), false, Some(1200));
        assert_eq!(len, 32 + 24);
        for cut in 0..len {
            control.read(cut);
        }
        for value in [0, 1, HEADER - 1, 97, usize::MAX - 3, usize::MAX] {
            let mut control = Control::EMPTY;
            control.0[..size_of::<usize>()].copy_from_slice(&value.to_ne_bytes());
            assert_eq!(control.read(96), Received::default(), "{value}");
        }
    }
}
