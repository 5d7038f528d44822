//! Which addresses this machine has, and which of them to tell clients.

use std::cmp::Reverse;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Candidates beyond this (a host with dozens of bridges) only make every client check longer.
const CANDIDATES_MAX: usize = 16;

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub ip: IpAddr,
}

/// All addresses of interfaces that are up.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let found = if_addrs::get_if_addrs()?.into_iter();
    Ok(found
        .filter(|interface| interface.is_oper_up() || interface.is_loopback())
        .map(|interface| Interface { ip: interface.ip(), name: interface.name })
        .collect())
}

/// The addresses to give to clients, the likeliest first: those the operator announced, else the
/// one listened on, else what is found on the machine, with loopback last so that a browser on
/// the same machine works without any network.
pub fn candidates(listen: IpAddr, announce: &[IpAddr], found: &[Interface]) -> Vec<IpAddr> {
    let mut candidates = Vec::new();
    if !announce.is_empty() {
        for ip in announce {
            add(&mut candidates, *ip);
        }
    } else if !listen.is_unspecified() {
        candidates.push(listen.to_canonical());
    } else {
        let mut found: Vec<_> = found.iter().filter(|i| is_for(listen, i.ip)).collect();
        found.sort_by_key(|interface| Reverse(likelihood(interface)));
        for interface in found.iter().take(CANDIDATES_MAX - 1) {
            add(&mut candidates, interface.ip);
        }
        candidates.push(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    candidates
}

/// The machine's own addresses, which may stand as the source of what it sends.
pub fn own(found: &[Interface]) -> Vec<IpAddr> {
    let mut own = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    for interface in found {
        add(&mut own, interface.ip);
    }
    own
}

/// For the log: `192.0.2.1, 127.0.0.1`.
pub fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(", ")
}

fn add(candidates: &mut Vec<IpAddr>, ip: IpAddr) {
    if !candidates.contains(&ip) {
        candidates.push(ip);
    }
}

/// Whether others can reach `ip` when the socket is bound to the wildcard `listen`.
fn is_for(listen: IpAddr, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified(),
        IpAddr::V6(ip) => listen.is_ipv6() && (is_global(ip) || ip.is_unique_local()),
    }
}

/// Global unicast as allocated (RFC 4291 §2.4).
fn is_global(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xe000 == 0x2000
}

/// A phone beside the machine finds it on the private network; bridges of containers and virtual
/// machines are reached from this machine alone.
fn likelihood(interface: &Interface) -> u8 {
    const BRIDGES: [&str; 6] = ["docker", "br-", "veth", "virbr", "cni", "podman"];
    if BRIDGES.iter().any(|name| interface.name.starts_with(name)) {
        return 0;
    }
    match interface.ip {
        IpAddr::V4(ip) if ip.is_private() => 3,
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 1,
    }
}

/// The host part of a URL.
pub fn url_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// `https://host:port`, without the port when it is HTTPS's own.
pub fn url(ip: IpAddr, listen: SocketAddr) -> String {
    match listen.port() {
        443 => format!("https://{}", url_host(ip)),
        port => format!("https://{}:{port}", url_host(ip)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    fn machine() -> Vec<Interface> {
        [
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("eth1", "203.0.113.5"),
            ("eth0", "192.168.1.20"),
            ("eth0", "169.254.3.4"),
            ("lo", "::1"),
            ("eth0", "fe80::1"),
            ("eth0", "fd00::5"),
            ("eth0", "2001:db8::5"),
        ]
        .map(|(name, ip)| Interface { name: name.to_owned(), ip: ip.parse().unwrap() })
        .to_vec()
    }

    #[test]
    fn the_likeliest_first_and_loopback_last() {
        let found = |listen: &str| candidates(listen.parse().unwrap(), &[], &machine());
        assert_eq!(found("0.0.0.0"), ips("192.168.1.20 203.0.113.5 172.17.0.1 127.0.0.1"));
        assert_eq!(
            found("::"),
            ips("192.168.1.20 203.0.113.5 fd00::5 2001:db8::5 172.17.0.1 127.0.0.1")
        );
        assert_eq!(found("192.168.1.20"), ips("192.168.1.20"));
        assert_eq!(found("127.0.0.1"), ips("127.0.0.1"));
    }

    #[test]
    fn announced_addresses_stand_alone() {
        let announce = ips("198.51.100.1 198.51.100.1 198.51.100.2");
        let listen = "0.0.0.0".parse().unwrap();
        let found = candidates(listen, &announce, &machine());
        assert_eq!(found, ips("198.51.100.1 198.51.100.2"));
    }

    #[test]
    fn nothing_found_is_loopback_and_too_many_are_cut() {
        let listen = "0.0.0.0".parse().unwrap();
        assert_eq!(candidates(listen, &[], &[]), ips("127.0.0.1"));
        let many: Vec<_> = (0..100u8)
            .map(|i| Interface { name: format!("br-{i}"), ip: IpAddr::from([172, 18, i, 1]) })
            .collect();
        let found = candidates(listen, &[], &many);
        assert_eq!(found.len(), CANDIDATES_MAX);
        assert!(found.last().unwrap().is_loopback());
    }

    #[test]
    fn urls_name_the_port_when_it_is_not_the_usual_one() {
        let at = |ip: &str, port| url(ip.parse().unwrap(), SocketAddr::from(([0; 4], port)));
        assert_eq!(at("192.0.2.1", 8443), "https://192.0.2.1:8443");
        assert_eq!(at("2001:db8::1", 443), "https://[2001:db8::1]");
    }
}
