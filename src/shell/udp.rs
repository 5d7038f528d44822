//! One UDP port in batches: every worker has a socket of its own on it (`SO_REUSEPORT`), receives
//! with `recvmmsg` and `UDP_GRO`, and sends with `sendmmsg` and `UDP_SEGMENT`. The kernel's cost
//! per datagram is the largest part of a forwarded packet, and segments of one message share it.
//!
//! This is the only file with `unsafe`: four system calls. What they read and write is laid out
//! in [`abi`], without any.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::time::Duration;

use libc::{c_int, iovec, mmsghdr};
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::counters::{Counters, DropReason};
use crate::worker::{Transmit, Transmits};
use abi::{Control, Name, Received};

mod abi;

#[cfg(not(target_os = "linux"))]
compile_error!("Trackyard receives and sends in batches as Linux does it; it runs on Linux only");

/// Messages in one receiving call. More only costs arena: the calls are already shared out.
const RECEIVE_MESSAGES: usize = 32;
/// The largest message: with `UDP_GRO` up to 64 KiB of datagrams come as one.
const MESSAGE_BYTES_MAX: usize = 1 << 16;
/// Messages in one sending call; more gain nothing.
const SEND_MESSAGES: usize = 32;
/// Datagrams in one sending call: what a typical call of full messages carries.
const SEND_DATAGRAMS: usize = 256;
/// Segments that the kernel takes in one message (`UDP_MAX_SEGMENTS` of its older versions).
const SEGMENTS_MAX: usize = 64;
/// Bytes in one segmented message, below what an IP packet holds.
const SEGMENTED_BYTES_MAX: usize = 65_000;
/// What each socket asks to buffer: 30 ms of 1 Gbit/s. A smaller one drops bursts, a larger one
/// delivers them too late to be of use.
pub const BUFFER_BYTES: usize = 4 << 20;

/// Opens `count` sockets on one port; port 0 takes the free one that the first of them gets.
/// Errors: as `bind` has them; `AddrInUse` also when the port's owner would share it.
pub fn bind(listen: SocketAddr, count: usize) -> io::Result<Vec<UdpSocket>> {
    // A program of the same user that shares its port too would silently get a part of our
    // datagrams. A socket that does not share finds it.
    let probe = UdpSocket::bind(listen)?;
    let listen = SocketAddr::new(listen.ip(), probe.local_addr()?.port());
    drop(probe);
    (0..count).map(|_| bind_one(listen)).collect()
}

fn bind_one(listen: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_port(true)?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    } else {
        set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    }
    // Never "don't fragment", and no forged ICMP may shrink what leaves in one piece
    // (IP_PMTUDISC_OMIT). Linux takes the IPv4 option on a dual-stack socket as well.
    set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)?;
    if listen.is_ipv6() {
        let omit = libc::IPV6_PMTUDISC_OMIT;
        set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, omit)?;
    }
    if let Err(error) = set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1) {
        log::debug!("datagrams come one by one, UDP_GRO: {error}");
    }
    // Beyond the system's limit only root may go.
    let bytes = BUFFER_BYTES as c_int;
    if set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
        socket.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    if set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
        socket.set_send_buffer_size(BUFFER_BYTES)?;
    }
    socket.bind(&listen.into())?;
    Ok(socket.into())
}

/// A socket of a client on this machine, as the benchmark plays it: takes segmented messages whole,
/// and says when each came.
pub fn bind_client() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    let _ = set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, BUFFER_BYTES as c_int);
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

/// What the socket may hold unread, in bytes.
pub fn receive_buffer_bytes(socket: &UdpSocket) -> io::Result<usize> {
    // The kernel doubles what was asked for, to have room for its own bookkeeping.
    Ok(socket2::SockRef::from(socket).recv_buffer_size()? / 2)
}

/// Whether the kernel and the network card take segmented messages. Once one has left, a refusal
/// is that one path's (a small MTU), not the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Segmentation {
    Untried,
    /// The first one was refused: if its datagrams leave one by one, it was the segments.
    Doubted,
    Works,
    Off,
}

/// One socket with its buffers. Belongs to one thread.
pub struct UdpBatch {
    socket: UdpSocket,
    v6: bool,
    /// `None` when listening on a wildcard: each datagram says where it was sent to.
    bound: Option<IpAddr>,
    own: Vec<IpAddr>,
    segmentation: Segmentation,
    names: Box<[Name; RECEIVE_MESSAGES]>,
    controls: Box<[Control; RECEIVE_MESSAGES]>,
    arena: Box<[u8]>,
    /// What the last call received, not yet delivered; by index like the places above.
    received: Vec<Message>,
    /// The last call received as many messages as it could.
    full: bool,
    runs: Vec<Range<usize>>,
}

impl UdpBatch {
    /// Wraps a socket from [`bind`]. `own` are the machine's addresses: only those may be
    /// written as a source.
    pub fn new(socket: UdpSocket, own: Vec<IpAddr>) -> io::Result<UdpBatch> {
        let listen = socket.local_addr()?;
        Ok(UdpBatch {
            socket,
            v6: listen.is_ipv6(),
            bound: Some(listen.ip().to_canonical()).filter(|ip| !ip.is_unspecified()),
            own,
            segmentation: Segmentation::Untried,
            names: Box::new([Name::EMPTY; RECEIVE_MESSAGES]),
            controls: Box::new([Control::EMPTY; RECEIVE_MESSAGES]),
            arena: vec![0; RECEIVE_MESSAGES * MESSAGE_BYTES_MAX].into_boxed_slice(),
            received: Vec::with_capacity(RECEIVE_MESSAGES),
            full: false,
            runs: Vec::with_capacity(SEND_MESSAGES),
        })
    }

    /// Goes on with another socket of the same family and address; gives back the one before. So
    /// that a thread with a thousand sockets needs one set of buffers.
    pub fn exchange(&mut self, socket: UdpSocket) -> UdpSocket {
        std::mem::replace(&mut self.socket, socket)
    }

    /// Takes a batch of datagrams from the socket, to be looked at by [`UdpBatch::deliver`]. False
    /// when the socket is empty: then the poll will say when it is not. Error: the socket is of
    /// no use any more.
    pub fn receive(&mut self) -> io::Result<bool> {
        // Errors that the network caused end by themselves; this bounds how long we believe it.
        for _ in 0..RECEIVE_MESSAGES {
            match self.receive_messages() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if is_passing(&e) => {}
                result => return result.map(|()| true),
            }
        }
        self.receive_messages().map(|()| true)
    }

    /// Whether the last batch left nothing: it was smaller than it could be. What came since makes
    /// the poll return, so that nobody has to look.
    pub fn is_drained(&self) -> bool {
        !self.full
    }

    /// Gives each datagram of the last batch to `f` (remote, local, payload), once; how many they
    /// were.
    pub fn deliver(&mut self, mut f: impl FnMut(SocketAddr, IpAddr, &mut [u8])) -> usize {
        self.deliver_stamped(|remote, local, _, bytes| f(remote, local, bytes))
    }

    /// The same with the time at which each came, on a socket that says so: since the Unix epoch.
    pub fn deliver_stamped(
        &mut self,
        mut f: impl FnMut(SocketAddr, IpAddr, Option<Duration>, &mut [u8]),
    ) -> usize {
        let mut datagrams = 0;
        let arena = self.arena.chunks_exact_mut(MESSAGE_BYTES_MAX);
        for (message, place) in self.received.drain(..).zip(arena) {
            let Some(remote) = message.remote else { continue };
            let unknown = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            let local = self.bound.or(message.said.local).unwrap_or(unknown);
            let bytes = &mut place[..message.len];
            if bytes.is_empty() {
                f(remote, local, message.said.at, bytes);
                datagrams += 1;
                continue;
            }
            let segment = message.said.segment.filter(|n| *n > 0).unwrap_or(message.len);
            for datagram in bytes.chunks_mut(segment) {
                f(remote, local, message.said.at, datagram);
                datagrams += 1;
            }
        }
        datagrams
    }

    /// Sends `transmits` in order. Those that follow each other to one address from one address
    /// with one size (the last may be shorter) leave as one message. What the socket refuses is
    /// dropped and counted; nothing is tried twice but what only segmentation kept from leaving.
    pub fn send(&mut self, transmits: &Transmits, counters: &mut Counters) {
        let mut rest = transmits.list();
        // So many at the head of `rest` leave one by one.
        let mut plain = 0;
        while !rest.is_empty() {
            self.plan(rest, plain);
            let done = match self.send_messages(transmits, rest) {
                Ok(messages) => {
                    let done = self.runs[messages - 1].end;
                    self.sent(&rest[..done], messages, counters);
                    done
                }
                Err(error) => {
                    let first = self.runs[0].len();
                    match error.raw_os_error() {
                        Some(libc::EINTR) => 0,
                        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE) if first > 1 => {
                            if self.segmentation == Segmentation::Untried {
                                self.segmentation = Segmentation::Doubted;
                            }
                            plain = first;
                            0
                        }
                        Some(libc::EAGAIN | libc::ENOBUFS) => {
                            counters.drop(DropReason::SocketFull, first as u64);
                            first
                        }
                        _ => {
                            counters.drop(DropReason::SendError, first as u64);
                            self.refused();
                            first
                        }
                    }
                }
            };
            rest = &rest[done..];
            plain = plain.saturating_sub(done);
        }
    }

    /// The messages of the next call, as ranges of `transmits`, from its start and without gaps.
    fn plan(&mut self, transmits: &[Transmit], plain: usize) {
        self.runs.clear();
        let mut start = 0;
        let transmits = &transmits[..transmits.len().min(SEND_DATAGRAMS)];
        while start < transmits.len() && self.runs.len() < SEND_MESSAGES {
            let alone = start < plain || self.segmentation == Segmentation::Off;
            let len = match alone {
                true => 1,
                false => run_len(&transmits[start..]),
            };
            self.runs.push(start..start + len);
            start += len;
        }
    }

    fn sent(&mut self, transmits: &[Transmit], messages: usize, counters: &mut Counters) {
        counters.send_calls += 1;
        counters.datagrams_out += transmits.len() as u64;
        let bytes: usize = transmits.iter().map(|t| t.bytes.len()).sum();
        counters.bytes_out += bytes as u64;
        if transmits.len() > messages {
            self.segmentation = Segmentation::Works;
        } else if self.segmentation == Segmentation::Doubted {
            log::warn!("sending one datagram a message: the kernel or the card refuses segments");
            self.segmentation = Segmentation::Off;
        }
    }

    /// A datagram could not leave by itself either: then segments were not what was wrong.
    fn refused(&mut self) {
        if self.segmentation == Segmentation::Doubted {
            self.segmentation = Segmentation::Untried;
        }
    }

    /// One `recvmmsg`, at least one message: what is said of each into `received`, the payload
    /// into the arena's place of the same index.
    fn receive_messages(&mut self) -> io::Result<()> {
        self.received.clear();
        // SAFETY: `iovec` and `mmsghdr` are C structs of integers and pointers; all zeros is a
        // value of each.
        let (mut iovecs, mut headers): ([iovec; RECEIVE_MESSAGES], [mmsghdr; RECEIVE_MESSAGES]) =
            unsafe { std::mem::zeroed() };
        let payloads = self.arena.chunks_exact_mut(MESSAGE_BYTES_MAX);
        let places = payloads.zip(self.names.iter_mut().zip(self.controls.iter_mut()));
        let prepared = headers.iter_mut().zip(iovecs.iter_mut());
        for ((header, iovec), (payload, (name, control))) in prepared.zip(places) {
            iovec.iov_base = payload.as_mut_ptr().cast();
            iovec.iov_len = payload.len();
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_namelen = size_of::<Name>() as _;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_control = ptr::from_mut(control).cast();
            header.msg_controllen = size_of::<Control>() as _;
        }
        // SAFETY: `headers` holds RECEIVE_MESSAGES headers. Each points at one name, one control
        // buffer, one iovec and through it one payload slot: valid for writes of the lengths
        // beside them, shared with no other header, and borrowed or owned by this function until
        // after the call; the kernel keeps no pointer. A null timeout is allowed.
        let count = check(unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                RECEIVE_MESSAGES as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        })?;
        self.full = count == RECEIVE_MESSAGES;
        let written = headers.iter().zip(self.names.iter().zip(self.controls.iter()));
        self.received.extend(written.take(count).map(|(header, (name, control))| Message {
            remote: name.read(header.msg_hdr.msg_namelen as usize),
            said: control.read(header.msg_hdr.msg_controllen as _),
            len: (header.msg_len as usize).min(MESSAGE_BYTES_MAX),
        }));
        Ok(())
    }

    /// One `sendmmsg` of the planned runs; how many of them left, at least one.
    fn send_messages(&mut self, all: &Transmits, transmits: &[Transmit]) -> io::Result<usize> {
        // `IoSlice` is laid out as `iovec` (std says so) and keeps the payloads borrowed.
        let mut slices = [IoSlice::new(&[]); SEND_MESSAGES];
        // SAFETY: `mmsghdr` is a C struct of integers and pointers; all zeros is a value of it.
        let mut headers: [mmsghdr; SEND_MESSAGES] = unsafe { std::mem::zeroed() };
        let places = self.names.iter_mut().zip(self.controls.iter_mut());
        let prepared = headers.iter_mut().zip(slices.iter_mut());
        for (((header, slice), run), (name, control)) in prepared.zip(&self.runs).zip(places) {
            let (first, last) = (&transmits[run.start], &transmits[run.end - 1]);
            // Datagrams that follow each other are one stretch of bytes.
            *slice = IoSlice::new(all.bytes(first.bytes.start..last.bytes.end));
            let ours = self.bound.is_none() && self.own.contains(&first.local);
            let source = ours.then_some(first.local);
            let segment = (run.len() > 1).then_some(first.bytes.len() as u16);
            let header = &mut header.msg_hdr;
            // An address that this socket cannot reach has no name: the kernel refuses that one.
            header.msg_namelen = name.write(first.remote, self.v6).unwrap_or(0) as _;
            header.msg_name = ptr::from_mut(name).cast();
            header.msg_iov = ptr::from_mut(slice).cast::<iovec>();
            header.msg_iovlen = 1;
            header.msg_controllen = control.write(source, self.v6, segment) as _;
            header.msg_control = ptr::from_mut(control).cast();
        }
        debug_assert!(!self.runs.is_empty() && self.runs.len() <= SEND_MESSAGES);
        // SAFETY: the first `runs.len()` of `headers` are filled (`plan` keeps to SEND_MESSAGES).
        // Each points at a name, a control buffer and one iovec of its own in `slices`, all valid for
        // reads of the lengths beside them and alive until after the call, as are the payloads they
        // borrow; the kernel writes only `msg_len`, and keeps no pointer.
        let count = check(unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                self.runs.len() as _,
                libc::MSG_DONTWAIT as _,
            )
        })?;
        Ok(count.clamp(1, self.runs.len()))
    }
}

impl AsRawFd for UdpBatch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A received message: one datagram, or several of one size.
#[derive(Debug, Clone, Copy)]
struct Message {
    /// `None` when its name is of no known family.
    remote: Option<SocketAddr>,
    said: Received,
    len: usize,
}

/// How many of the first transmits leave as one message: one at least.
fn run_len(transmits: &[Transmit]) -> usize {
    let first = &transmits[0];
    let segment = first.bytes.len();
    if segment == 0 {
        return 1;
    }
    let mut bytes = segment;
    let mut len = 1;
    for next in transmits.iter().skip(1).take(SEGMENTS_MAX - 1) {
        let size = next.bytes.len();
        let joins = next.remote == first.remote
            && next.local == first.local
            && (1..=segment).contains(&size)
            && bytes + size <= SEGMENTED_BYTES_MAX;
        if !joins {
            break;
        }
        bytes += size;
        len += 1;
        if size < segment {
            break;
        }
    }
    len
}

/// Whether a later call may succeed: what the network (ICMP) or a lack of memory caused.
fn is_passing(error: &io::Error) -> bool {
    use libc::{EBADF, EFAULT, EINVAL, ENOSYS, ENOTSOCK};
    !matches!(error.raw_os_error(), Some(EBADF | EFAULT | EINVAL | ENOSYS | ENOTSOCK))
}

fn set_option(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the option's value is a C int, alive during the call, with its own size beside it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            size_of::<c_int>() as _,
        )
    };
    check(result).map(drop)
}

/// A system call's count, or its error.
fn check(result: c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests;
