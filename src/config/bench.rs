//! `trackyard bench`: what to measure, from flags alone.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::span;
use crate::base::limits::{DATAGRAM_OUT_BYTES_MAX, ROOM_MEMBERS_MAX, WORKERS_MAX};

/// Measure what a forwarded packet costs on this machine.
///
/// Starts a server as a child process on a free loopback port, drives it over real UDP with
/// clients in this process, and compares it with the floor: a bare loop that receives, opens,
/// copies, seals and sends the same packets to the same sockets. Where there are two cores or
/// more, the server gets its own and the clients get the rest.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct BenchConfig {
    /// What to measure
    #[arg(value_enum, default_value_t = Scenario::Fanout)]
    pub scenario: Scenario,
    /// Publishers in each room; in a meeting, people [default: 1; meeting: 10; slots: 50]
    #[arg(long, value_name = "N", value_parser = count)]
    pub publishers: Option<usize>,
    /// Viewers in each room, idle peers, or joins in a round; several numbers (50,1000) are
    /// measured side by side [default: 200; slots: 4; idle: 1000; joins: 100]
    #[arg(long, value_name = "N", value_parser = count, value_delimiter = ',')]
    pub subscribers: Vec<usize>,
    /// Rooms (fanout, meeting)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub rooms: usize,
    /// Media threads of the server; several numbers (1,2) are measured side by side
    #[arg(long, value_name = "N", value_parser = count, value_delimiter = ',')]
    #[arg(default_value = "1")]
    pub workers: Vec<usize>,
    /// Bits a second of each video, headers and all (1500k, 1.5M)
    #[arg(long, value_name = "BITRATE", default_value = "1.5M", value_parser = bits)]
    pub bitrate: u64,
    /// Bytes of UDP payload of each packet of video that a publisher sends
    #[arg(long, value_name = "BYTES", default_value_t = 1_200, value_parser = packet_bytes)]
    pub packet_bytes: usize,
    /// Changes the bitrate until the first case's server uses so much of one core, in percent
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=95))]
    pub load: Option<u8>,
    /// Packets of each frame, sent back to back; with the bitrate they make the frame rate
    #[arg(long, value_name = "PACKETS", default_value_t = 5, value_parser = count)]
    pub burst: usize,
    /// Each publisher sends audio too: 50 packets a second
    #[arg(long)]
    pub audio: bool,
    /// Clients negotiate transport-wide feedback, as browsers do: publishers number their packets
    /// and get it, subscribers send it ten times a second
    #[arg(long)]
    pub feedback: bool,
    /// Each client checks so often that its path lives: Chrome 2500ms, RFC 7675 5s
    #[arg(long, value_name = "TIME", default_value = "2500ms", value_parser = duration)]
    pub check_interval: Duration,
    /// Encodings of each video. The server forwards one, so nothing else can be measured
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count)]
    pub layers: usize,
    /// How long each run measures, after half a second that does not count
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub duration: Duration,
    /// Runs, of which the medians are shown; floor and server take turns within each
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = count)]
    pub runs: usize,
    /// Write everything as JSON to this file; - is standard output, the table goes to standard
    /// error then
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure the server of another build of this program, such as the one before a change
    #[arg(long, value_name = "FILE")]
    pub server: Option<PathBuf>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Publishers to viewers: 1 to 200
    Fanout,
    /// One room in which everybody sends and receives all others: 10 people
    Meeting,
    /// Viewers with a slot for each of 50 publishers, beside 50 times as many with one slot each
    Slots,
    /// The CPU of 1,000 connected peers that neither send nor receive media
    Idle,
    /// The server's CPU for a WHEP join, from its offer until it is connected
    Joins,
}

/// What each publisher sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchMedia {
    pub bitrate: u64,
    pub packet_bytes: usize,
    pub burst: usize,
    pub audio: bool,
    /// Packets have transport-wide numbers, and are reported by them.
    pub feedback: bool,
}

/// More than any machine of today drives by itself.
const COUNT_MAX: usize = 100_000;
/// Headers, a payload descriptor, the stamp and the tag need some.
const PACKET_BYTES_MIN: usize = 100;
const DURATION_MIN: Duration = Duration::from_millis(100);

impl BenchConfig {
    /// What no flag can say by itself. Error: as in [`super::LoadError::Wrong`].
    pub(super) fn check(self) -> Result<BenchConfig, String> {
        if self.layers > 1 {
            return Err("layers: the server forwards one encoding of each video".to_owned());
        }
        if let Some(workers) = self.workers.iter().find(|n| **n > WORKERS_MAX) {
            return Err(format!("workers: {workers} is more than {WORKERS_MAX}"));
        }
        let publishers = self.publishers();
        let subscribers = self.subscribers().into_iter().max().unwrap_or(0);
        let members = match self.scenario {
            Scenario::Fanout | Scenario::Slots => publishers + subscribers,
            Scenario::Meeting => publishers,
            Scenario::Idle | Scenario::Joins => 0,
        };
        if members > ROOM_MEMBERS_MAX {
            return Err(format!("subscribers: a room takes {ROOM_MEMBERS_MAX} clients"));
        }
        if self.scenario == Scenario::Meeting && publishers < 2 {
            return Err("publishers: a meeting is of two at least".to_owned());
        }
        Ok(self)
    }

    /// Publishers in each room.
    pub fn publishers(&self) -> usize {
        self.publishers.unwrap_or(match self.scenario {
            Scenario::Meeting => 10,
            Scenario::Slots => 50,
            _ => 1,
        })
    }

    /// Subscribers in each room, idle peers or joins, one for each case.
    pub fn subscribers(&self) -> Vec<usize> {
        if !self.subscribers.is_empty() {
            return self.subscribers.clone();
        }
        vec![match self.scenario {
            Scenario::Slots => 4,
            Scenario::Idle => 1_000,
            Scenario::Joins => 100,
            _ => 200,
        }]
    }

    pub fn media(&self) -> BenchMedia {
        BenchMedia {
            bitrate: self.bitrate,
            packet_bytes: self.packet_bytes,
            burst: self.burst,
            audio: self.audio,
            feedback: self.feedback,
        }
    }
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|n| (1..=COUNT_MAX).contains(n));
    count.ok_or_else(|| format!("takes a number from 1 to {COUNT_MAX}"))
}

fn packet_bytes(text: &str) -> Result<usize, String> {
    let range = PACKET_BYTES_MIN..=DATAGRAM_OUT_BYTES_MAX;
    let bytes = text.parse().ok().filter(|n| range.contains(n));
    bytes.ok_or_else(|| format!("takes {PACKET_BYTES_MIN} to {DATAGRAM_OUT_BYTES_MAX}"))
}

fn bits(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'M']) {
        Some(digits) if text.ends_with('k') => (digits, 1e3),
        Some(digits) => (digits, 1e6),
        None => (text, 1.0),
    };
    let bits = digits.parse::<f64>().ok().map(|n| n * unit);
    let bits = bits.filter(|bits| (1e4..=1e9).contains(bits));
    bits.map(|bits| bits as u64).ok_or_else(|| "takes 10k to 1000M".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = span(&toml::Value::String(text.to_owned())).filter(|time| *time >= DURATION_MIN);
    time.ok_or_else(|| "takes a time from 100ms to 300s, like 5s".to_owned())
}
