//! How one subscriber's path is followed: a real worker, a publisher's camera in three encodings,
//! and subscribers that do what browsers do, over links whose rate, delay and loss are known, on
//! virtual time.
//!
//! Each case prints its figures (`--nocapture`). `LINK_SEEDS=a..b` runs it with more seeds.
#![allow(clippy::disallowed_methods, reason = "the epoch of virtual time is made up once")]

mod camera;
#[path = "../sim/crypto.rs"]
#[allow(dead_code, reason = "what the simulator plants is its own")]
mod crypto;
mod described;
mod endpoint;
mod fall;
mod link;
mod loss;
mod many;
mod picture;
mod publisher;
mod subscriber;
mod swing;
mod trace;
mod watch;
mod world;

use std::ops::Range;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// When every run begins.
fn epoch() -> Instant {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    *EPOCH
}

/// The seeds of a case: `LINK_SEEDS`, else so many.
fn seeds(usual: u64) -> Range<u64> {
    let Ok(text) = std::env::var("LINK_SEEDS") else { return 0..usual };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

fn secs(secs: f64) -> Duration {
    Duration::from_secs_f64(secs)
}
