//! No consumer ever stays black: real UDP, real TLS signalling, eight publishers that come within
//! a tenth of a second, half of which leave and come back, twenty times over.
#![allow(clippy::disallowed_methods, reason = "real sockets, real time")]

mod common;

use std::time::Duration;

use common::live::{Live, TestServer, until};

const PEOPLE: u32 = 8;
const ROUNDS: u32 = 20;
/// Every subscription has a decodable keyframe within this.
const LIMIT: Duration = Duration::from_secs(1);

fn rounds(workers: usize) {
    let server = TestServer::start(workers);
    let others = PEOPLE as usize - 1;
    let mut slowest = Duration::ZERO;
    for round in 0..ROUNDS {
        let room = format!("round {round}");
        let enter = |label| Live::join(server.address, &room, label, true, others);
        let mut people: Vec<Live> = (0..PEOPLE).map(enter).collect();
        let all_see = |people: &[Live]| people.iter().all(|p| p.sees(others));
        let took = until(&mut people, LIMIT, all_see);
        slowest = slowest
            .max(took.unwrap_or_else(|| panic!("{}", report(&people, workers, round, "joining"))));

        people.drain(..PEOPLE as usize / 2).for_each(Live::leave);
        people.extend((PEOPLE..PEOPLE + PEOPLE / 2).map(enter));
        let took = until(&mut people, LIMIT, all_see);
        slowest = slowest.max(
            took.unwrap_or_else(|| panic!("{}", report(&people, workers, round, "coming back"))),
        );
        for person in people {
            for judge in person.client.slots.values() {
                assert!(judge.faults.is_empty(), "{:?}", judge.faults);
            }
            person.leave();
        }
    }
    println!("{workers} workers: slowest of {} waits {slowest:?}", 2 * ROUNDS);
}

fn report(people: &[Live], workers: usize, round: u32, when: &str) -> String {
    let mut text =
        format!("{workers} workers, round {round}, {when}: not all see after {LIMIT:?}\n");
    for person in people {
        let shown = person.filled.iter().filter(|mid| person.client.sees(&[**mid])).count();
        let (label, connected) = (person.client.label, person.client.connected);
        let filled = person.filled.len();
        text +=
            &format!("  n{label}: connected {connected}, {filled} slots filled, {shown} shown\n");
    }
    text
}

/// One after the other: side by side they would share the clock of their limits.
#[test]
fn nobody_stays_black_with_one_worker_or_four() {
    rounds(1);
    rounds(4);
}
