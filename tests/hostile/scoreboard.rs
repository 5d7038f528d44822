//! The figures of the README's scoreboard that are about real sockets: one command, full rates,
//! a row each.
//!
//! `cargo test --profile ci --test hostile -- --ignored --nocapture`

use std::time::Duration;

use crate::feedback;
use crate::flood::{self, Junk};
use crate::ice;
use crate::media;
use crate::room::Room;
use crate::server::Server;
use crate::tls::Handshakes;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(4);

/// Prints the row, and whether it holds.
fn row(what: &str, figure: &str, target: &str, holds: bool) -> bool {
    let mark = if holds { "holds" } else { "FALLS SHORT" };
    println!("| {what} | {figure} | {target} | {mark} |");
    holds
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

fn junk(workers: usize) -> bool {
    let server = Server::start(workers);
    let room = Room::with(server.address, 4, Duration::from_millis(5));
    let mut all = true;
    for junk in Junk::ALL {
        let it = flood::compare(&server, &room, junk, ROUNDS, ROUND);
        let more = ms(it.flooded) - ms(it.quiet);
        let what = format!(
            "p99 forwarding under {:.0} {junk:?} junk packets/s, {workers} workers",
            it.rate
        );
        let figure = format!("{more:+.2} ms ({:.2} from {:.2})", ms(it.flooded), ms(it.quiet));
        all &= row(&what, &figure, "+2 ms", more <= 2.0);
        let figure = format!("{:.4} %", it.loss * 100.0);
        all &= row("loss meanwhile", &figure, "0.1 %", it.loss < 0.001);
    }
    all
}

fn residue() -> bool {
    let mut server = Server::start(2);
    let bytes = flood::residue(&mut server, 100_000);
    let figure = format!("{bytes:.2} bytes (100,000 sources, resident)");
    // What a table kept would be tens of bytes; fractions of one are the allocator's pages.
    row("lasting memory of an unauthenticated source", &figure, "0 bytes", bytes < 4.0)
}

fn handshakes() -> bool {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let quiet = room.measure(ROUND);
    let (attack, cpu) = (Handshakes::start(server.address, 2_000), server.cpu());
    let under = room.measure(ROUND);
    let cpu = (server.cpu() - cpu).as_secs_f64() / ROUND.as_secs_f64();
    let (_, answered) = attack.stop();
    let what = format!("p99 of signalling under {answered:.0} TLS handshakes/s");
    let (before, after) = (ms(quiet.ping_p99), ms(under.ping_p99));
    let figure = format!("{after:.1} ms ({before:.1} without), {:.0} % of a core", cpu * 100.0);
    row(&what, &figure, "no stall: 50 ms", after < 50.0)
}

/// All rows, each printed whether the others hold or not.
#[test]
#[ignore = "full rates for some minutes; run by name"]
fn scoreboard() {
    println!("| figure | measured | target | |\n|---|---|---|---|");
    let mut all = vec![junk(1), junk(2), residue(), handshakes()];
    let worst = ice::amplification(&Server::start(2));
    all.push(row(
        "unauthenticated amplification, UDP",
        &format!("{worst:.3}"),
        "1.0",
        worst <= 1.0,
    ));
    let (missing, doubled) = feedback::websocket_drop();
    let figure = format!("{missing} frames lost, {doubled} seen twice");
    all.push(row("a WebSocket that drops", &figure, "no media lost", missing + doubled == 0));
    let (ratio, missed) = feedback::nack_flood(ROUND);
    let figure = format!("{ratio:.3}x, others missed {:.2} % of frames", missed * 100.0);
    all.push(row("bytes out under a flood of NACKs, of media", &figure, "1.25x", ratio <= 1.25));
    let (rate, cpu, missed) = feedback::lies(ROUND);
    let what = format!("frames that others miss under {rate:.0} lies of a viewer/s");
    let figure = format!("{:.2} %, {:.0} % of a core in all", missed * 100.0, cpu * 100.0);
    all.push(row(&what, &figure, "0.1 %", missed < 0.001));
    let it = media::beyond_declared(ROUNDS, ROUND);
    let what = format!("p99 beside a publisher at {:.1} times its declared rate", it.sent);
    let (more, loss) = (ms(it.under) - ms(it.quiet), it.loss * 100.0);
    let figure = format!("{more:+.2} ms, {loss:.2} % lost; {:.1} times forwarded", it.forwarded);
    all.push(row(&what, &figure, "+2 ms, 0.1 %", more <= 2.0 && loss < 0.1));
    for (who, name) in ["publisher", "viewer"].iter().enumerate() {
        let (gap, after_check) = feedback::rebind(who);
        let figure =
            format!("{:.0} ms after its first check ({:.0} in all)", ms(after_check), ms(gap));
        let what = format!("a NAT that gives the {name} another port");
        all.push(row(&what, &figure, "1 s", after_check < Duration::from_secs(1)));
    }
    assert!(all.into_iter().all(|holds| holds), "a row falls short");
}
