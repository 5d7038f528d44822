//! The whole server and its clients on a virtual clock and network, from one seed.
//!
//! The same seed draws the same plan and has the same trace, which is what [`trace`] defines: what
//! passes between the server's cores and the network, and when, without the bytes of datagrams.
//! That holds because nothing else is left to chance: the cores take theirs as an argument, the
//! clients' and the cryptography's comes from `fastrand`, seeded by the run, DTLS is a toy
//! ([`crypto`]), and the keys of `str0m`'s hash maps are fixed ([`replay`]).
//!
//! `SIM_SEED=n` runs one seed and prints its plan and events (`SIM_PACKETS=1`: datagrams too),
//! `SIM_SEEDS=a..b` a sweep, `SIM_WORKERS=n` with so many workers instead of those drawn.
#![allow(clippy::disallowed_methods, reason = "the epoch of virtual time is made up once")]

mod attacks;
mod browser;
mod client;
mod conns;
mod crypto;
mod hostile;
mod http;
mod invariants;
mod lies;
mod media;
mod model;
mod net;
mod picture;
mod plan;
mod replay;
mod run;
mod scenarios;
mod server;
mod system;
mod trace;
#[path = "../common/vp8.rs"]
#[allow(dead_code, reason = "its judge is for links without loss")]
mod vp8;
mod watch;
mod world;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use plan::Plan;
use run::carry_out;

/// When every run begins.
fn epoch() -> Instant {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    *EPOCH
}

/// Keeps the planted panics out of the log.
fn quiet_panics() {
    static ONCE: LazyLock<()> = LazyLock::new(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let message = payload.downcast_ref::<String>().map(String::as_str);
            if !message.unwrap_or_default().contains(crypto::PLANTED) {
                usual(info);
            }
        }));
    });
    *ONCE
}

/// `a..b`, or one number.
fn seeds(text: &str) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(text)..number(text) + 1,
    }
}

/// A seed's plan; `SIM_WORKERS` says with how many workers, if not with as many as it draws.
fn drawn(seed: u64) -> Plan {
    let plan = Plan::draw(seed);
    let workers = std::env::var("SIM_WORKERS").map(|text| text.parse().expect("a number"));
    Plan { workers: workers.unwrap_or(plan.workers), ..plan }
}

/// Runs all seeds on so many threads; says which failed.
fn sweep(seeds: std::ops::Range<u64>, threads: usize) -> (Duration, Vec<u64>) {
    quiet_panics();
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let results = std::thread::scope(|scope| {
        let work = || {
            let (mut simulated, mut failed) = (Duration::ZERO, Vec::new());
            loop {
                let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if seed >= seeds.end {
                    return (simulated, failed);
                }
                let plan = drawn(seed);
                match std::panic::catch_unwind(|| carry_out(&plan, false)) {
                    Ok(outcome) => simulated += outcome.simulated,
                    Err(_) => {
                        eprintln!("seed {seed} failed:\n{plan}");
                        failed.push(seed);
                    }
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|t| t.join().expect("a sweep")).collect::<Vec<_>>()
    });
    let simulated = results.iter().map(|(simulated, _)| *simulated).sum();
    let mut failed: Vec<u64> = results.into_iter().flat_map(|(_, failed)| failed).collect();
    failed.sort();
    (simulated, failed)
}

/// `SIM_SEED=n` runs one seed with its plan and events printed, `SIM_SEEDS=a..b` a sweep; else a
/// fixed set.
#[test]
fn sim_seeds() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        quiet_panics();
        let plan = drawn(seed.parse().expect("a number"));
        eprintln!("{plan}");
        let outcome = carry_out(&plan, true);
        eprintln!("{:?} simulated, converged {:?}", outcome.simulated, outcome.converged);
        eprintln!("{} events, hash {:016x}", outcome.events, outcome.hash);
        return;
    }
    let range = seeds(&std::env::var("SIM_SEEDS").unwrap_or("0..64".into()));
    let count = range.end - range.start;
    let start = Instant::now();
    let (simulated, failed) = sweep(range, 2);
    let took = start.elapsed();
    let hours = simulated.as_secs_f64() / 3_600.0;
    let rate = hours / (took.as_secs_f64() / 60.0);
    eprintln!("{count} seeds, {hours:.1} h simulated in {took:.1?}: {rate:.0} h a minute");
    assert!(failed.is_empty(), "seeds {failed:?} failed");
}
