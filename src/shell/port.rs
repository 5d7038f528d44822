//! Opens the one port, for TCP and for UDP.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::{StartError, udp};

/// Connections that wait to be accepted; beyond it clients try again.
const BACKLOG: i32 = 1024;
/// How often a port that was free for TCP may be taken for UDP, when any port will do.
const ATTEMPTS: usize = 16;

/// The TCP listener, `count` UDP sockets, and the address they are all bound to.
pub fn open(
    listen: SocketAddr,
    count: usize,
) -> Result<(TcpListener, Vec<UdpSocket>, SocketAddr), StartError> {
    let mut attempts = if listen.port() == 0 { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let listener = tcp(listen).map_err(|e| explain("TCP", listen, &e))?;
        let bound = listener.local_addr();
        let bound = bound.map_err(|e| explain("TCP", listen, &e))?;
        match udp::bind(bound, count) {
            Ok(sockets) => {
                complain_of_small_buffers(&sockets);
                return Ok((listener, sockets, bound));
            }
            Err(e) if e.kind() == ErrorKind::AddrInUse && attempts > 0 => {}
            Err(e) => return Err(explain("UDP", bound, &e)),
        }
    }
}

fn tcp(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(listen), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of the last run that are still closing do not keep the port.
    socket.set_reuse_address(true)?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn explain(protocol: &str, listen: SocketAddr, error: &io::Error) -> StartError {
    let (ip, port) = (listen.ip(), listen.port());
    StartError(match error.kind() {
        ErrorKind::AddrInUse => {
            format!("listen: {protocol} port {port} is taken by another program")
        }
        ErrorKind::AddrNotAvailable => format!("listen: {ip} is not an address of this machine"),
        ErrorKind::PermissionDenied => {
            format!("listen: this user may not open {protocol} port {port}: {error}")
        }
        _ => format!("listen: {protocol} {listen}: {error}"),
    })
}

fn complain_of_small_buffers(sockets: &[UdpSocket]) {
    if let Some(Ok(bytes)) = sockets.first().map(udp::receive_buffer_bytes)
        && bytes < udp::BUFFER_BYTES
    {
        log::warn!(
            "the system buffers only {bytes} bytes a socket, bursts may be lost; \
             set net.core.rmem_max and net.core.wmem_max to {}",
            udp::BUFFER_BYTES
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_get_one_port() {
        let (listener, sockets, bound) = open("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_ne!(bound.port(), 0);
        assert_eq!(listener.local_addr().unwrap(), bound);
        assert_eq!(sockets[1].local_addr().unwrap(), bound);
        let taken = open(bound, 1).unwrap_err().to_string();
        let expected = format!("listen: TCP port {} is taken", bound.port());
        assert!(taken.starts_with(&expected), "{taken}");
    }

    #[test]
    fn a_port_taken_for_udp_alone_is_named() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let taken = open(udp.local_addr().unwrap(), 1).unwrap_err().to_string();
        let port = udp.local_addr().unwrap().port();
        let expected = format!("listen: UDP port {port} is taken");
        assert!(taken.starts_with(&expected), "{taken}");
    }

    #[test]
    fn a_foreign_address_is_named() {
        let error = open("192.0.2.1:0".parse().unwrap(), 1).unwrap_err();
        let expected = "listen: 192.0.2.1 is not an address of this machine";
        assert_eq!(error.to_string(), expected);
    }
}
