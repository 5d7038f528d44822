//! What happened, as a hash and on demand as text.
//!
//! The hash is over what crosses the boundary of the server's core and the simulator's network:
//! for each datagram, letter-free signalling message, connection, fault and checkpoint its virtual
//! time (in nanoseconds since the start), its kind, who it is from or to (addresses and client
//! numbers), and its length; for signalling also its text. The bytes of datagrams are left out:
//! sender reports and absolute send times carry the wall clock of the process.

use std::fmt::Write;
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct Trace {
    start: Instant,
    hash: u64,
    pub events: u64,
    /// Kept and printed.
    loud: bool,
    /// Datagrams too.
    chatty: bool,
    line: String,
}

impl Trace {
    pub fn new(start: Instant, loud: bool) -> Trace {
        let chatty = loud && std::env::var_os("SIM_PACKETS").is_some();
        Trace { start, hash: 0xcbf2_9ce4_8422_2325, events: 0, loud, chatty, line: String::new() }
    }

    /// One event. `detail` is small for what happens often.
    pub fn note(&mut self, now: Instant, kind: &str, detail: std::fmt::Arguments<'_>) {
        self.line.clear();
        let at = now.saturating_duration_since(self.start);
        let _ = write!(self.line, "{kind} {detail}");
        self.mix(&(at.as_nanos() as u64).to_le_bytes());
        for at in (0..self.line.len()).step_by(8) {
            let end = (at + 8).min(self.line.len());
            let mut word = [0; 8];
            word[..end - at].copy_from_slice(&self.line.as_bytes()[at..end]);
            self.hash = (self.hash ^ u64::from_le_bytes(word)).wrapping_mul(0x9fb2_1c65_1e98_df25);
            self.hash ^= self.hash >> 32;
        }
        self.events += 1;
        if self.loud {
            let text: String = self.line.chars().take(240).collect();
            eprintln!("{:>12.6} {text}", at.as_secs_f64());
        }
    }

    /// An event that is frequent: numbers only, and not printed.
    pub fn packet(&mut self, now: Instant, parts: [u64; 3]) {
        let at = now.saturating_duration_since(self.start).as_nanos() as u64;
        self.events += 1;
        if self.chatty {
            eprintln!("{:>12.6} {:?}", Duration::from_nanos(at).as_secs_f64(), parts);
        }
        for part in [at, parts[0], parts[1], parts[2]] {
            self.hash = (self.hash ^ part).wrapping_mul(0x9fb2_1c65_1e98_df25);
            self.hash ^= self.hash >> 32;
        }
    }

    fn mix(&mut self, bytes: &[u8; 8]) {
        self.hash = (self.hash ^ u64::from_le_bytes(*bytes)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        self.hash ^= self.hash >> 29;
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }
}
