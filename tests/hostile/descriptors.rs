//! No file descriptor is left for the next connection.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::common::live::Signalling;
use crate::room::Room;
use crate::server::Server;

/// Of a program that holds some twenty for itself and the room.
const FILES: u32 = 64;

#[test]
fn without_descriptors_the_room_goes_on_and_accepting_comes_back() {
    let mut server = Server::start_with(1, &[], Some(FILES));
    let room = Room::open(server.address);
    let used = |server: &Server, time: Duration| {
        let before = server.cpu();
        let figures = room.measure(time);
        ((server.cpu() - before).as_secs_f64() / time.as_secs_f64(), figures)
    };
    let (quiet, _) = used(&server, Duration::from_secs(1));
    let held: Vec<TcpStream> = (0..2 * FILES)
        .map(|_| TcpStream::connect(server.address).expect("the kernel's queue has room"))
        .collect();
    server.wait_for("the server to run out", |s| s.log().contains("no connection can be accepted"));
    let (starved, figures) = used(&server, Duration::from_secs(2));
    println!(
        "CPU without descriptors {:.1} %, before {:.1} %; {figures:?}",
        starved * 100.0,
        quiet * 100.0
    );
    assert!(starved < quiet + 0.25, "it spins: {starved} of a core, {quiet} before");
    assert!(figures.loss() < 0.02 && figures.ping_p99 < Duration::from_secs(1), "{figures:?}");
    let complaints = server.log().matches("no connection can be accepted").count();
    assert!(complaints < 5, "{complaints} lines about one shortage");
    drop(held);
    let asked = Instant::now();
    Signalling::open(server.address).join("after", "a while");
    println!("a join after it took {:?}", asked.elapsed());
    room.assert_calm("a shortage of descriptors");
}
