//! What was measured, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

/// A whole benchmark.
#[derive(Debug, Serialize)]
pub struct Report {
    pub version: &'static str,
    pub scenario: String,
    /// Of another build, if it is one.
    pub server: Option<String>,
    pub machine: Machine,
    pub media: Media,
    pub cases: Vec<CaseReport>,
    /// Of one case's cost and the first one's, within each run.
    pub comparisons: Vec<Comparison>,
    /// What a reader should know before believing the figures.
    pub warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub kernel: String,
    pub cores: usize,
    pub load_before: [f64; 3],
    pub load_after: [f64; 3],
    /// Empty: nothing was pinned.
    pub cores_of_server: Vec<usize>,
    pub cores_of_clients: Vec<usize>,
}

#[derive(Debug, Serialize)]
pub struct Media {
    pub bitrate_bps: u64,
    pub packet_bytes: usize,
    pub packets_per_frame: usize,
    pub frames_per_second: f64,
    pub audio: bool,
    pub feedback: bool,
    pub profile: Option<String>,
}

#[derive(Debug, Default, Serialize)]
pub struct CaseReport {
    pub name: String,
    pub workers: usize,
    pub rooms: usize,
    pub publishers_per_room: usize,
    pub subscribers_per_room: usize,
    pub join: Option<Join>,
    pub memory: Option<Memory>,
    pub idle: Option<Idle>,
    pub runs: Vec<Run>,
    pub median: Option<Median>,
    /// What the server's histograms count (times in seconds), p50, p99 and p99.9, over all runs.
    pub stages: BTreeMap<String, [f64; 3]>,
}

/// Of those that subscribe.
#[derive(Debug, Clone, Serialize)]
pub struct Join {
    pub joins: usize,
    /// From a client's offer until it is connected, as the client sees it.
    pub ms_p50: f64,
    pub ms_max: f64,
    /// Of the server, all threads; median of the rounds.
    pub server_cpu_ms: f64,
    pub server_cpu_ms_rounds: Vec<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Memory {
    /// Resident, of the server: before the subscribers came, when all were connected, and at the
    /// end.
    pub before_bytes: u64,
    pub joined_bytes: u64,
    pub end_bytes: u64,
    pub per_subscriber_joined_bytes: f64,
    pub per_subscriber_end_bytes: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Idle {
    pub peers: usize,
    /// Of one core, for all; median and each run.
    pub cpu: f64,
    pub cpu_runs: Vec<f64>,
    /// Of the floor with the same clients, afterwards.
    pub floor_cpu: f64,
    pub floor_cpu_runs: Vec<f64>,
    /// Of the medians.
    pub ratio: f64,
    /// Times a second that the server was given a core.
    pub turns_per_second: f64,
}

/// The floor and the server after each other.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    pub server: Window,
    pub floor: Window,
    pub ratio: f64,
    pub counted: Counted,
}

/// The same packets counted in three places, from the run's first to its last.
#[derive(Debug, Clone, Serialize)]
pub struct Counted {
    /// By the publishers.
    pub sent: u64,
    /// By the subscribers.
    pub received: u64,
    pub server_in: u64,
    pub server_forwarded: u64,
    /// What transport-wide feedback told the server of its packets.
    pub feedback_arrived: u64,
    pub feedback_lost: u64,
    /// By reason.
    pub server_dropped: BTreeMap<String, u64>,
}

/// A steady phase of one process.
#[derive(Debug, Clone, Serialize)]
pub struct Window {
    pub seconds: f64,
    /// Forwarded, as they arrived; and as many as should have.
    pub packets: u64,
    pub expected: u64,
    pub loss: f64,
    /// RTCP that arrived.
    pub reports: u64,
    /// Packets in other payload types.
    pub others: u64,
    pub cpu_us_per_packet: f64,
    /// Cores that it used, and would have liked to use while others did.
    pub cpu: f64,
    pub waited: f64,
    pub latency: Latency,
    /// Packets of the sample that did not open or were not the room's.
    pub samples_wrong: u64,
    pub clients_cpu: f64,
    pub clients_waited: f64,
    /// Datagrams that found a client's socket full.
    pub clients_dropped: u64,
    /// Packets that the kernel dropped on the way, anybody's.
    pub kernel_dropped: u64,
    /// Datagrams that a client's socket did not take.
    pub clients_refused: u64,
    pub frames: u64,
    pub frames_late: u64,
}

/// From when a publisher wrote a packet until it was in a subscriber's socket.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    pub samples: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
}

/// Of all runs, each figure by itself.
#[derive(Debug, Clone, Serialize)]
pub struct Median {
    pub packets_per_second: f64,
    pub server_us_per_packet: f64,
    pub floor_us_per_packet: f64,
    pub ratio: f64,
    pub server_cpu: f64,
    pub loss: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub floor_p99_us: f64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub case: String,
    pub with: String,
    /// Server CPU per packet; median of the runs, and each.
    pub ratio: f64,
    pub ratios: Vec<f64>,
}

impl Median {
    pub fn of(runs: &[Run]) -> Option<Median> {
        let of = |figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        (!runs.is_empty()).then(|| Median {
            packets_per_second: of(|r| r.server.packets as f64 / r.server.seconds),
            server_us_per_packet: of(|r| r.server.cpu_us_per_packet),
            floor_us_per_packet: of(|r| r.floor.cpu_us_per_packet),
            ratio: of(|r| r.ratio),
            server_cpu: of(|r| r.server.cpu),
            loss: of(|r| r.server.loss),
            p50_us: of(|r| r.server.latency.p50_us),
            p99_us: of(|r| r.server.latency.p99_us),
            p999_us: of(|r| r.server.latency.p999_us),
            floor_p99_us: of(|r| r.floor.latency.p99_us),
        })
    }
}

/// The middle one; of an even number the mean of the two in the middle. Zero of none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match (figures.get(middle), figures.len() % 2) {
        (None, _) => 0.0,
        (Some(upper), 0) => (figures[middle - 1] + upper) / 2.0,
        (Some(middle), _) => *middle,
    }
}

impl Report {
    /// The table, and what else is worth a line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.head(&mut text);
        if self.cases.iter().any(|case| case.median.is_some()) {
            line(&mut text, format_args!("{}", HEADINGS.join("  ")));
        }
        for case in &self.cases {
            if let Some(median) = &case.median {
                row(&mut text, case, median);
            }
        }
        for case in &self.cases {
            rest(&mut text, case);
        }
        for c in &self.comparisons {
            let (case, with, ratio) = (&c.case, &c.with, c.ratio);
            line(&mut text, format_args!("{case} costs {ratio:.2} times what {with} costs"));
        }
        for warning in &self.warnings {
            line(&mut text, format_args!("warning: {warning}"));
        }
        text
    }

    fn head(&self, text: &mut String) {
        let Machine { cpu, kernel, cores, load_before, .. } = &self.machine;
        line(
            text,
            format_args!("{cpu}, {cores} cores, Linux {kernel}, load {:.1}", load_before[0]),
        );
        let cores = match self.machine.cores_of_server.is_empty() {
            true => "nothing pinned to cores".to_owned(),
            false => format!(
                "server on core {:?}, clients on {:?}",
                self.machine.cores_of_server, self.machine.cores_of_clients
            ),
        };
        let Media { bitrate_bps, packet_bytes, packets_per_frame, profile, .. } = &self.media;
        let (profile, kbps) = (profile.as_deref().unwrap_or("-"), bitrate_bps / 1_000);
        let audio = if self.media.audio { " and audio" } else { "" };
        let feedback = if self.media.feedback { ", transport-wide feedback" } else { "" };
        line(
            text,
            format_args!(
                "{cores}; {kbps} kbit/s of video in bursts of {packets_per_frame} x \
                 {packet_bytes} bytes{audio}{feedback}, {profile}\n"
            ),
        );
    }
}

const HEADINGS: [&str; 11] = [
    "case                        ",
    "packets/s",
    "server us",
    "floor us",
    "ratio",
    "server load",
    "  loss",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "KiB/sub",
];

fn row(text: &mut String, case: &CaseReport, m: &Median) {
    let memory = case.memory.as_ref().map(|m| m.per_subscriber_end_bytes / 1024.0);
    let memory = memory.map_or("-".to_owned(), |kib| format!("{kib:.0}"));
    let cells = [
        format!("{:28}", case.name),
        format!("{:9.0}", m.packets_per_second),
        format!("{:9.2}", m.server_us_per_packet),
        format!("{:8.2}", m.floor_us_per_packet),
        format!("{:5.2}", m.ratio),
        format!("{:9.1} %", m.server_cpu * 100.0),
        format!("{:5.2}%", m.loss * 100.0),
        format!("{:6.2}", m.p50_us / 1e3),
        format!("{:6.2}", m.p99_us / 1e3),
        format!("{:8.2}", m.p999_us / 1e3),
        format!("{memory:>7}"),
    ];
    line(text, format_args!("{}", cells.join("  ")));
}

fn rest(text: &mut String, case: &CaseReport) {
    let name = &case.name;
    if let Some(Join { joins, ms_p50, ms_max, server_cpu_ms, .. }) = &case.join {
        line(
            text,
            format_args!(
                "{name}: {joins} joins, {server_cpu_ms:.2} ms of server CPU each; offer to \
                 connected {ms_p50:.1} ms (p50), {ms_max:.1} ms (max)"
            ),
        );
    }
    if let Some(Idle { peers, cpu, floor_cpu, ratio, turns_per_second, .. }) = &case.idle {
        let (cpu, floor) = (cpu * 100.0, floor_cpu * 100.0);
        line(
            text,
            format_args!(
                "{name}: {peers} idle peers use {cpu:.2} % of a core (floor {floor:.2} %, ratio \
                 {ratio:.2}), {turns_per_second:.0} turns/s"
            ),
        );
        if let Some(memory) = &case.memory {
            let kib = memory.per_subscriber_joined_bytes / 1024.0;
            line(text, format_args!("{name}: {kib:.1} KiB resident for each"));
        }
    }
    for (histogram, quantiles) in &case.stages {
        let (unit, times) = match histogram.contains("_seconds") {
            true => (" us", 1e6),
            false => ("", 1.0),
        };
        let [p50, p99, p999] = quantiles.map(|value| value * times);
        let what = histogram.replace("_seconds", "");
        line(
            text,
            format_args!("{name}: {what}{unit}: p50 {p50:.1}, p99 {p99:.1}, p99.9 {p999:.1}"),
        );
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes all that is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_found() {
        assert_eq!(median(vec![]), 0.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
