//! The whole server in this process: real sockets on loopback, real threads.

use super::*;
use std::net::{TcpStream, UdpSocket};
use std::path::PathBuf;

/// Certificates of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("trackyard-server-{name}-{}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }

    fn config(&self, workers: usize) -> Config {
        Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            workers: Some(workers),
            certs_dir: self.0.clone(),
            drain: Duration::from_secs(10),
            ..Config::default()
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn starts_takes_connections_and_ends_when_all_is_said() {
    let folder = Folder::new("ends");
    for workers in [1, 4] {
        let mut server = Server::start(folder.config(workers)).unwrap();
        assert_eq!(server.candidates(), [server.address().ip()]);
        drop(TcpStream::connect(server.address()).unwrap());
        let before = Instant::now();
        server.shutdown();
        server.join().unwrap();
        assert!(before.elapsed() < Duration::from_secs(9), "nobody was there");
    }
}

#[test]
fn a_client_that_stays_does_not_keep_the_server_beyond_its_time() {
    let folder = Folder::new("stays");
    let mut config = folder.config(1);
    config.drain = Duration::from_millis(200);
    let mut server = Server::start(config).unwrap();
    let _client = TcpStream::connect(server.address()).unwrap();
    server.shutdown();
    let before = Instant::now();
    server.join().unwrap();
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[test]
fn dropping_a_server_frees_its_port() {
    let folder = Folder::new("drop");
    let mut config = folder.config(2);
    let server = Server::start(config.clone()).unwrap();
    config.listen = server.address();
    let Err(taken) = Server::start(config.clone()) else {
        panic!("two servers on one port");
    };
    assert!(taken.0.contains("taken"), "{taken}");
    drop(server);
    Server::start(config).unwrap();
}

#[test]
fn strangers_datagrams_do_no_harm() {
    let folder = Folder::new("strangers");
    let mut server = Server::start(folder.config(2)).unwrap();
    for i in 0..50usize {
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let junk: Vec<u8> = (0..i * 60).map(|n| (n * 31 + i) as u8).collect();
        stranger.send_to(&junk, server.address()).unwrap();
    }
    server.shutdown();
    server.join().unwrap();
}

#[test]
fn a_thread_that_ends_by_itself_is_noticed() {
    let folder = Folder::new("noticed");
    let mut server = Server::start(folder.config(1)).unwrap();
    assert!(!server.has_ended().unwrap());
    let (mut poll, waker) = poll_and_waker().unwrap();
    let broken = || Err(io::Error::other("for the test"));
    server.workers.push(Thread::spawn("broken".to_owned(), &waker, broken).unwrap());
    poll.poll(&mut Events::with_capacity(1), None).unwrap();
    assert!(server.join().is_err());
}
