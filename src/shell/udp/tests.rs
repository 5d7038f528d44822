use super::*;
use crate::worker::Datagram;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

fn loopback(text: &str) -> UdpBatch {
    let listen: SocketAddr = text.parse().unwrap();
    let socket = bind(listen, 1).unwrap().remove(0);
    let own = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
    UdpBatch::new(socket, own.to_vec()).unwrap()
}

fn port(batch: &UdpBatch) -> u16 {
    batch.socket.local_addr().unwrap().port()
}

fn transmit(local: &str, remote: SocketAddr, len: usize, fill: u8) -> Datagram {
    Datagram { local: local.parse().unwrap(), remote, bytes: vec![fill; len] }
}

fn all(datagrams: &[Datagram]) -> Transmits {
    let mut transmits = Transmits::default();
    datagrams.iter().for_each(|d| transmits.push(d.local, d.remote, &d.bytes));
    transmits
}

type Received = (SocketAddr, IpAddr, Vec<u8>);

/// Receives until `count` datagrams are there.
fn receive(batch: &mut UdpBatch, count: usize) -> Vec<Received> {
    let deadline = Instant::now() + PATIENCE;
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        assert!(Instant::now() < deadline, "{} of {count}", datagrams.len());
        if batch.receive().unwrap() {
            batch.deliver(|remote, local, bytes| datagrams.push((remote, local, bytes.to_vec())));
        }
    }
    datagrams
}

/// Sends `sizes` from `from` to `to` and checks that they come as they were, in order.
fn carries(from: &mut UdpBatch, to: &mut UdpBatch, sizes: &[usize]) -> Counters {
    let remote = SocketAddr::from(([127, 0, 0, 1], port(to)));
    let sent: Vec<_> =
        (0u8..).zip(sizes).map(|(fill, len)| transmit("127.0.0.1", remote, *len, fill)).collect();
    let mut counters = Counters::default();
    from.send(&all(&sent), &mut counters);
    let received = receive(to, sizes.len());
    assert_eq!(received.len(), sent.len());
    for (received, sent) in received.iter().zip(&sent) {
        assert_eq!(received.2, sent.bytes);
        assert_eq!(received.0.to_string(), format!("127.0.0.1:{}", port(from)));
        assert_eq!(received.1, sent.local);
    }
    assert_eq!(counters.datagrams_out, sizes.len() as u64);
    assert_eq!(counters.bytes_out, sizes.iter().sum::<usize>() as u64);
    counters
}

#[test]
fn sockets_share_buffers_and_say_when_something_came() {
    let mut server = loopback("127.0.0.1:0");
    let mut sockets = [bind_client().unwrap(), bind_client().unwrap()];
    let addresses = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
    let mut shared = UdpBatch::new(bind_client().unwrap(), Vec::new()).unwrap();
    let before = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let sent: Vec<_> = [addresses[0], addresses[1], addresses[1]]
        .map(|remote| transmit("127.0.0.1", remote, 700, 9))
        .into();
    server.send(&all(&sent), &mut Counters::default());
    for (socket, expected) in sockets.iter_mut().zip([1, 2]) {
        let own = shared.exchange(socket.try_clone().unwrap());
        let mut stamps = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        while stamps.len() < expected {
            assert!(Instant::now() < deadline);
            if shared.receive().unwrap() {
                shared.deliver_stamped(|_, _, at, bytes| stamps.push((at.unwrap(), bytes.len())));
            }
        }
        shared.exchange(own);
        // The wall clock may be set meanwhile, but hardly by so much.
        let fits = |at: &Duration| at.abs_diff(before) < 6 * PATIENCE;
        assert!(stamps.iter().all(|(at, len)| fits(at) && *len == 700), "{stamps:?}, {before:?}");
        assert_eq!(stamps.len(), expected);
    }
}

#[test]
fn every_mix_of_sizes_arrives_as_it_left() {
    let (mut a, mut b) = (loopback("127.0.0.1:0"), loopback("0.0.0.0:0"));
    let mut sizes = vec![1200; 70];
    sizes.extend([300, 1200, 1200, 1201, 0, 0, 7, 7, 7, 6, 8, 1, 2000]);
    sizes.extend((0..100).map(|i| 1 + i * 37 % 1400));
    assert_eq!(carries(&mut a, &mut b, &[1200; 5]).send_calls, 1);
    assert_eq!(a.segmentation, Segmentation::Works);
    let joined = carries(&mut a, &mut b, &sizes);
    a.segmentation = Segmentation::Off;
    let single = carries(&mut a, &mut b, &sizes);
    assert!(joined.send_calls < single.send_calls);
    carries(&mut b, &mut a, &sizes);
}

#[test]
fn runs_end_where_the_kernel_would_refuse() {
    let (x, y) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.1:2".parse().unwrap());
    let run = |parts: &[(SocketAddr, usize, &str)]| {
        let transmits: Vec<_> =
            parts.iter().map(|(remote, len, local)| transmit(local, *remote, *len, 0)).collect();
        run_len(all(&transmits).list())
    };
    let a = "198.51.100.1";
    assert_eq!(run(&[(x, 9, a)]), 1);
    assert_eq!(run(&[(x, 9, a), (x, 9, a), (x, 8, a), (x, 8, a)]), 3);
    assert_eq!(run(&[(x, 9, a), (x, 10, a)]), 1);
    assert_eq!(run(&[(x, 9, a), (y, 9, a)]), 1);
    assert_eq!(run(&[(x, 9, a), (x, 9, "198.51.100.2")]), 1);
    assert_eq!(run(&[(x, 9, a), (x, 0, a)]), 1);
    assert_eq!(run(&[(x, 0, a), (x, 0, a)]), 1);
    assert_eq!(run(&vec![(x, 9, a); 200]), SEGMENTS_MAX);
    assert_eq!(run(&vec![(x, 2000, a); 200]), 32);
}

#[test]
fn a_dual_stack_socket_speaks_ipv4_as_ipv4() {
    let Ok(sockets) = bind("[::]:0".parse().unwrap(), 1) else {
        return; // a machine without IPv6
    };
    let own = ["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap());
    let mut dual = UdpBatch::new(sockets.into_iter().next().unwrap(), own.to_vec()).unwrap();
    let mut v4 = loopback("127.0.0.1:0");
    carries(&mut v4, &mut dual, &[100, 100, 50]);
    carries(&mut dual, &mut v4, &[100, 100, 50]);
    let mut v6 = loopback("[::1]:0");
    let to_v6 = SocketAddr::new("::1".parse().unwrap(), port(&v6));
    dual.send(&all(&[transmit("::1", to_v6, 5, 1)]), &mut Counters::default());
    let (remote, local, bytes) = receive(&mut v6, 1).remove(0);
    assert_eq!((remote.ip(), remote.port()), (to_v6.ip(), port(&dual)));
    assert_eq!((local, bytes), (to_v6.ip(), vec![1; 5]));
}

#[test]
fn the_answer_leaves_from_the_address_that_was_asked() {
    let (mut asker, mut server) = (loopback("127.0.0.1:0"), loopback("0.0.0.0:0"));
    server.own.push("127.0.0.9".parse().unwrap());
    let remote = SocketAddr::from(([127, 0, 0, 1], port(&asker)));
    let asked = SocketAddr::from(([127, 0, 0, 9], port(&server)));
    asker.send(&all(&[transmit("127.0.0.1", asked, 3, 0)]), &mut Counters::default());
    assert_eq!(receive(&mut server, 1)[0].1, asked.ip());
    // An announced address that is not the machine's is left to the kernel.
    let answers = ["127.0.0.9", "203.0.113.7"].map(|local| transmit(local, remote, 3, 0));
    server.send(&all(&answers), &mut Counters::default());
    let received = receive(&mut asker, 2);
    assert_eq!(received[0].0, asked);
    assert_eq!(received[1].0, SocketAddr::from(([127, 0, 0, 1], port(&server))));
}

#[test]
fn refused_segments_leave_one_by_one() {
    // The kernel refuses segments on a socket without checksums, as on a card that cannot
    // compute them.
    let (mut a, mut b) = (loopback("127.0.0.1:0"), loopback("127.0.0.1:0"));
    let socket = Socket::from(a.socket.try_clone().unwrap());
    set_option(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    carries(&mut a, &mut b, &[500; 40]);
    assert_eq!(a.segmentation, Segmentation::Off);
    // Where they have worked, only the refused message is sent apart.
    a.segmentation = Segmentation::Works;
    carries(&mut a, &mut b, &[500; 40]);
    assert_eq!(a.segmentation, Segmentation::Works);
}

#[test]
fn what_cannot_leave_is_counted_and_the_rest_goes_on() {
    let (mut a, mut b) = (loopback("127.0.0.1:0"), loopback("127.0.0.1:0"));
    let good = SocketAddr::from(([127, 0, 0, 1], port(&b)));
    let v6 = SocketAddr::new("::1".parse().unwrap(), port(&b));
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let transmits = [
        transmit("127.0.0.1", nowhere, 5, 0),
        transmit("127.0.0.1", nowhere, 5, 0),
        transmit("127.0.0.1", good, 5, 1),
        transmit("127.0.0.1", v6, 5, 0),
        transmit("127.0.0.1", good, 70_000, 0),
        transmit("127.0.0.1", good, 5, 2),
    ];
    let mut counters = Counters::default();
    a.send(&all(&transmits), &mut counters);
    assert_eq!(counters.dropped(DropReason::SendError), 4);
    assert_eq!(counters.datagrams_out, 2);
    let received = receive(&mut b, 2);
    assert_eq!((received[0].2[0], received[1].2[0]), (1, 2));
    assert_eq!(a.segmentation, Segmentation::Untried);
    carries(&mut a, &mut b, &[9, 9]);
    assert_eq!(a.segmentation, Segmentation::Works);
}

/// A socket whose other end does not read, and how to make it read: the kernel's buffers for UDP
/// over loopback never fill, those of a Unix socket do.
fn stopped(batch: &mut UdpBatch) -> UnixDatagram {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    batch.socket = UdpSocket::from(OwnedFd::from(ours));
    theirs.set_nonblocking(true).unwrap();
    theirs
}

#[test]
fn a_full_socket_drops_and_counts_and_neither_waits_nor_tries_again() {
    let mut batch = loopback("127.0.0.1:0");
    let other_end = stopped(&mut batch);
    // Of the other family, so that no name is written, which a connected Unix socket refuses.
    let to: SocketAddr = "[::1]:9".parse().unwrap();
    let some: Vec<_> = (0..1_000).map(|i| transmit("127.0.0.1", to, 9 + i % 2, i as u8)).collect();
    let (mut counters, began) = (Counters::default(), Instant::now());
    batch.send(&all(&some), &mut counters);
    let dropped = counters.dropped(DropReason::SocketFull);
    assert!(dropped > 100, "{dropped}");
    assert_eq!(counters.datagrams_out + dropped, 1_000);
    assert!(began.elapsed() < PATIENCE / 2, "a non-blocking socket waits for nobody");
    // Once it reads, the next ones go out.
    let read = || std::iter::from_fn(|| other_end.recv(&mut [0; 64]).ok()).count() as u64;
    assert!(read() > 0);
    batch.send(&all(&some[..4]), &mut counters);
    assert_eq!((read() > 0, counters.dropped(DropReason::SocketFull)), (true, dropped));
}

#[test]
fn a_batch_is_bounded_and_delivered_once() {
    let (mut a, mut b) = (loopback("127.0.0.1:0"), loopback("127.0.0.1:0"));
    let remote = SocketAddr::from(([127, 0, 0, 1], port(&b)));
    assert!(!b.receive().unwrap());
    // Two sizes in turn, so that none are joined.
    let sent: Vec<_> = (0..2 * RECEIVE_MESSAGES + 1)
        .map(|i| transmit("127.0.0.1", remote, 10 + i % 2 * i, 0))
        .collect();
    a.segmentation = Segmentation::Off;
    a.send(&all(&sent), &mut Counters::default());
    assert!(b.receive().unwrap());
    assert_eq!(b.deliver(|_, _, _| ()), RECEIVE_MESSAGES);
    assert_eq!(b.deliver(|_, _, _| ()), 0);
    assert_eq!(receive(&mut b, RECEIVE_MESSAGES + 1).len(), RECEIVE_MESSAGES + 1);
    assert!(!b.receive().unwrap());
}

#[test]
fn workers_share_the_port_and_strangers_do_not() {
    let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
    let listen = sockets[0].local_addr().unwrap();
    assert!(sockets.iter().all(|s| s.local_addr().unwrap() == listen));
    assert_eq!(bind(listen, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    assert!(receive_buffer_bytes(&sockets[0]).unwrap() > 0);
}
