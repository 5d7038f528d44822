//! `trackyard bench`: what a forwarded packet costs, measured on the machine that it runs on.
//!
//! The server is a child process on a free port of loopback. One thread here plays all clients:
//! each has a socket of its own, joins as any WHIP, WHEP or WebSocket client does, and sends or
//! receives SRTP ([`drive`]). The *floor* is a second child: a bare loop that does nothing but
//! receive, open, copy, seal and send, with the server's own system calls, from the same
//! publishers to the same sockets ([`floor`]). The two take turns within each run, so that what
//! else the machine does meets both.
//!
//! CPU is what the kernel accounts to all threads of the process, user and system. The kernel
//! delivers on loopback while the sender sends, so the receiver's half of that is in both figures.

mod child;
mod client;
mod drive;
pub mod floor;
mod handshake;
mod histogram;
mod http;
mod measure;
mod metrics;
mod offer;
mod outbox;
mod proc;
mod report;
mod setup;
mod signalling;
mod stream;
mod stun;

use std::fmt::{self, Display};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use super::run::raise_file_limit;
use crate::config::{BenchConfig, Scenario};
use child::{Cores, Floor};
use client::Target;
use drive::Driver;
use measure::Watch;
use report::{CaseReport, Comparison, Idle, Join, Machine, Media, Median, Memory, Report, median};
use setup::{Case, Role, Setup};
use stream::Id;

/// Why nothing was measured: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed(pub String);

impl Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failed {}

type Done<T> = Result<T, Failed>;

fn failed<E: Display>(what: &'static str) -> impl Fn(E) -> Failed {
    move |e| Failed(format!("{what}: {e}"))
}

/// What one case is made of.
#[derive(Debug, Clone)]
struct Shape {
    name: String,
    workers: usize,
    rooms: usize,
    publishers: usize,
    /// Those that only receive; none in a meeting.
    viewers: usize,
}

/// Measures, and says what came out. Error: it could not, or was interrupted.
pub fn run(config: &BenchConfig) -> Done<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(failed("signals"))?;
    }
    raise_file_limit();
    let workers = config.workers.iter().copied().max().unwrap_or(1);
    let cores = Cores::divide(workers);
    let driver = Driver::new(config.media(), config.check_interval, stop)?;
    let setup = Setup::new(driver, cores, config.server.clone())?;
    let mut bench = Bench { config, setup, warnings: Vec::new() };
    let load_before = proc::load();
    let mut cases = match config.scenario {
        Scenario::Fanout | Scenario::Meeting | Scenario::Slots => bench.media()?,
        Scenario::Idle => bench.idle()?,
        Scenario::Joins => bench.joins()?,
    };
    for case in &mut cases {
        case.median = Median::of(&case.runs);
    }
    let report = bench.report(cases, load_before);
    write(&report, config.json.as_deref())
}

fn write(report: &Report, json: Option<&Path>) -> Done<()> {
    let pretty = || serde_json::to_string_pretty(report).map_err(failed("JSON"));
    match json {
        Some(path) if path == Path::new("-") => {
            eprint!("{}", report.text());
            println!("{}", pretty()?);
        }
        Some(path) => {
            print!("{}", report.text());
            let wrong = |e| Failed(format!("{}: {e}", path.display()));
            fs::write(path, pretty()? + "\n").map_err(wrong)?;
        }
        None => print!("{}", report.text()),
    }
    Ok(())
}

struct Bench<'a> {
    config: &'a BenchConfig,
    setup: Setup,
    warnings: Vec<String>,
}

/// A case with its floor and what was measured of it.
struct Running {
    case: Case,
    floor: Floor,
    first: metrics::Metrics,
    viewers: usize,
    report: CaseReport,
}

impl Bench<'_> {
    fn shapes(&self) -> Vec<Shape> {
        let config = self.config;
        let (rooms, publishers) = (config.rooms, config.publishers());
        let mut shapes = Vec::new();
        for workers in config.workers.iter().copied() {
            let of = |shape: Shape| match config.workers.len() {
                1 => shape,
                _ => Shape { name: format!("{}, {workers} workers", shape.name), ..shape },
            };
            let shape = |name: String, rooms, publishers, viewers| {
                of(Shape { name, workers, rooms, publishers, viewers })
            };
            let each = if rooms > 1 { format!("{rooms} rooms of ") } else { String::new() };
            match config.scenario {
                Scenario::Meeting => {
                    let name = format!("{each}{publishers} x {publishers}");
                    shapes.push(shape(name, rooms, publishers, 0));
                }
                Scenario::Slots => {
                    for viewers in config.subscribers() {
                        let name = format!("{publishers} x (1 -> {viewers}), 1 slot");
                        shapes.push(shape(name, publishers, 1, viewers));
                        let name = format!("{publishers} -> {viewers}, {publishers} slots");
                        shapes.push(shape(name, 1, publishers, viewers));
                    }
                }
                _ => {
                    for viewers in config.subscribers() {
                        let name = format!("{each}{publishers} -> {viewers}");
                        shapes.push(shape(name, rooms, publishers, viewers));
                    }
                }
            }
        }
        shapes
    }

    /// All cases are up while they are measured in turn, so that ratios between them are of the
    /// same minutes.
    fn media(&mut self) -> Done<Vec<CaseReport>> {
        let mut running = Vec::new();
        for shape in self.shapes() {
            eprintln!("joining: {}", shape.name);
            running.push(self.begin(&shape)?);
        }
        if let (Some(percent), Some(first)) = (self.config.load, running.first()) {
            let driver = &mut self.setup.driver;
            let reached = measure::find_load(driver, &first.case, f64::from(percent) / 100.0)?;
            if (reached * 100.0 - f64::from(percent)).abs() > 10.0 {
                self.warnings.push(format!("the load came to {:.0} %", reached * 100.0));
            }
        }
        for number in 1..=self.config.runs {
            eprintln!("run {number} of {}", self.config.runs);
            for Running { case, floor, report, .. } in &mut running {
                let driver = &mut self.setup.driver;
                report.runs.push(measure::run(driver, case, floor.pid(), self.config.duration)?);
            }
        }
        running.into_iter().map(|running| self.end(running)).collect()
    }

    /// A case with all its clients.
    fn begin(&mut self, shape: &Shape) -> Done<Running> {
        let mut case = self.setup.case(shape.workers)?;
        let rooms: Vec<u16> = (0..shape.rooms).map(|_| self.setup.room()).collect();
        let meets = shape.viewers == 0;
        let (role, audience) = match meets {
            true => (Role::Participant(shape.publishers - 1), shape.publishers - 1),
            false => (Role::Whip, shape.viewers),
        };
        let mut before = resident(&case)?;
        for member in 0..shape.publishers as u16 {
            for room in rooms.iter().copied() {
                self.setup.join(&mut case, Id { room, member }, role, audience)?;
            }
        }
        if !meets {
            before = resident(&case)?;
        }
        let watch = Watch::begin(&self.setup.driver, case.number, case.server.pid())?;
        let mut times = Vec::new();
        for member in 0..shape.viewers as u16 {
            for room in rooms.iter().copied() {
                let id = Id { room, member: shape.publishers as u16 + member };
                let role = Role::Whep(shape.publishers);
                times.push(self.setup.join(&mut case, id, role, 0)?);
            }
        }
        let (cpu, _) = watch.spent()?;
        let viewers = if meets { shape.publishers } else { shape.viewers } * shape.rooms;
        let floor = self.setup.floor(&case)?;
        let joined = resident(&case)?;
        let cpu_ms = cpu.ran.as_secs_f64() * 1e3 / times.len().max(1) as f64;
        let report = CaseReport {
            name: shape.name.clone(),
            workers: shape.workers,
            rooms: shape.rooms,
            publishers_per_room: shape.publishers,
            subscribers_per_room: shape.viewers,
            join: (!times.is_empty()).then(|| join_report(&times, vec![cpu_ms])),
            memory: Some(memory(before, joined, joined, viewers)),
            ..CaseReport::default()
        };
        let first = measure::metrics(&mut case)?;
        Ok(Running { case, floor, first, viewers, report })
    }

    fn end(&mut self, running: Running) -> Done<CaseReport> {
        let Running { mut case, first, viewers, mut report, .. } = running;
        if let Some(m) = report.memory.take() {
            let end = resident(&case)?;
            report.memory = Some(memory(m.before_bytes, m.joined_bytes, end, viewers));
        }
        let last = measure::metrics(&mut case)?;
        report.stages = last.since(&first).quantiles([0.5, 0.99, 0.999]);
        self.doubt(&report);
        Ok(report)
    }

    /// Warns of what would make the figures worth less.
    fn doubt(&mut self, report: &CaseReport) {
        let name = &report.name;
        let mut warn = |text: String| self.warnings.push(format!("{name}: {text}"));
        let windows = || report.runs.iter().flat_map(|run| [&run.server, &run.floor]);
        let most = |figure: fn(&report::Window) -> f64| windows().map(figure).fold(0.0, f64::max);
        let sum = |figure: fn(&report::Window) -> u64| windows().map(figure).sum::<u64>();
        let clients = most(|w| w.clients_cpu);
        if clients > 0.9 {
            warn(format!("the clients are the limit: {:.0} % of their core", clients * 100.0));
        }
        let (dropped, refused) = (sum(|w| w.clients_dropped), sum(|w| w.clients_refused));
        if dropped + refused > 0 {
            warn(format!(
                "the clients are the limit: their sockets dropped {dropped} datagrams that came, \
                 and {refused} that were to leave"
            ));
        }
        let on_the_way = sum(|w| w.kernel_dropped);
        if on_the_way > 0 {
            warn(format!("the kernel itself fell behind, and dropped {on_the_way} datagrams"));
        }
        let late = most(|w| w.frames_late as f64 / w.frames.max(1) as f64);
        if late > 0.02 {
            warn(format!("publishers sent {:.0} % of their frames late", late * 100.0));
        }
        let waited = most(|w| w.waited / w.cpu.max(1e-9));
        if waited > 0.2 {
            let waited = waited * 100.0;
            warn(format!(
                "other processes had the server's core: it waited {waited:.0} % as long as it ran"
            ));
        }
        let wrong = sum(|w| w.samples_wrong);
        if wrong > 0 {
            warn(format!("{wrong} packets of the sample were forged or another room's"));
        }
        for (number, run) in report.runs.iter().enumerate() {
            let counted = &run.counted;
            let same =
                counted.sent == counted.server_in && counted.server_forwarded == counted.received;
            if !same {
                warn(format!("run {}: counts differ: {counted:?}", number + 1));
            }
        }
    }

    fn idle(&mut self) -> Done<Vec<CaseReport>> {
        let mut reports = Vec::new();
        for workers in self.config.workers.clone() {
            for peers in self.config.subscribers() {
                reports.push(self.idle_case(workers, peers)?);
            }
        }
        Ok(reports)
    }

    fn idle_case(&mut self, workers: usize, peers: usize) -> Done<CaseReport> {
        eprintln!("joining: {peers} idle peers");
        let mut case = self.setup.case(workers)?;
        let before = resident(&case)?;
        let mut times = Vec::new();
        for at in 0..peers {
            let member = (at % IDLE_ROOM) as u16;
            let room = if member == 0 { self.setup.room() } else { self.setup.last_room() };
            times.push(self.setup.join(&mut case, Id { room, member }, Role::Whep(1), 0)?);
        }
        let joined = resident(&case)?;
        // What joining left to be done.
        self.setup.driver.run(IDLE_SETTLE)?;
        let (cpus, turns) = self.idle_runs(&case, case.server.pid())?;
        let end = resident(&case)?;
        let floor = self.setup.floor(&case)?;
        self.setup.driver.check_with(Target::Floor);
        self.setup.driver.run(IDLE_SETTLE)?;
        let (floors, _) = self.idle_runs(&case, floor.pid())?;
        self.setup.driver.check_with(Target::Server);
        Ok(CaseReport {
            name: format!("{peers} idle, {workers} workers"),
            workers,
            subscribers_per_room: peers.min(IDLE_ROOM),
            rooms: peers.div_ceil(IDLE_ROOM),
            memory: Some(memory(before, joined, end, peers)),
            idle: Some(Idle {
                peers,
                cpu: median(cpus.clone()),
                ratio: median(cpus.clone()) / median(floors.clone()),
                cpu_runs: cpus,
                floor_cpu: median(floors.clone()),
                floor_cpu_runs: floors,
                turns_per_second: median(turns),
            }),
            ..CaseReport::default()
        })
    }

    /// The share of a core that a process used in each run, and how often a second it was given one.
    fn idle_runs(&mut self, case: &Case, pid: u32) -> Done<(Vec<f64>, Vec<f64>)> {
        let (mut cpus, mut turns) = (Vec::new(), Vec::new());
        for _ in 0..self.config.runs {
            let watch = Watch::begin(&self.setup.driver, case.number, pid)?;
            self.setup.driver.run(self.config.duration)?;
            let (cpu, time) = watch.spent()?;
            cpus.push(cpu.ran.as_secs_f64() / time.as_secs_f64());
            turns.push(cpu.turns as f64 / time.as_secs_f64());
        }
        Ok((cpus, turns))
    }

    fn joins(&mut self) -> Done<Vec<CaseReport>> {
        let mut reports = Vec::new();
        for workers in self.config.workers.clone() {
            for joins in self.config.subscribers() {
                reports.push(self.joins_case(workers, joins)?);
            }
        }
        Ok(reports)
    }

    /// Each round joins a room of its own, in which somebody publishes.
    fn joins_case(&mut self, workers: usize, joins: usize) -> Done<CaseReport> {
        let mut case = self.setup.case(workers)?;
        let (mut times, mut rounds) = (Vec::new(), Vec::new());
        for number in 1..=self.config.runs {
            eprintln!("round {number} of {}", self.config.runs);
            let room = self.setup.room();
            self.setup.join(&mut case, Id { room, member: 0 }, Role::Whip, joins)?;
            let watch = Watch::begin(&self.setup.driver, case.number, case.server.pid())?;
            for member in 1..=joins as u16 {
                times.push(self.setup.join(&mut case, Id { room, member }, Role::Whep(1), 0)?);
            }
            let (cpu, _) = watch.spent()?;
            rounds.push(cpu.ran.as_secs_f64() * 1e3 / joins as f64);
        }
        Ok(CaseReport {
            name: format!("WHEP, {workers} workers"),
            workers,
            rooms: self.config.runs,
            publishers_per_room: 1,
            subscribers_per_room: joins,
            join: Some(join_report(&times, rounds)),
            ..CaseReport::default()
        })
    }

    fn report(self, cases: Vec<CaseReport>, load_before: [f64; 3]) -> Report {
        let config = self.config;
        let (cpu, kernel) = proc::machine();
        let Cores { measured, clients } = self.setup.cores.clone();
        let media = self.setup.driver.media;
        Report {
            version: env!("CARGO_PKG_VERSION"),
            scenario: format!("{:?}", config.scenario).to_lowercase(),
            server: config.server.as_ref().map(|path| path.display().to_string()),
            machine: Machine {
                cpu,
                kernel,
                cores: (measured.len() + clients.len()).max(1),
                load_before,
                load_after: proc::load(),
                cores_of_server: measured,
                cores_of_clients: clients,
            },
            media: Media {
                bitrate_bps: media.bitrate,
                packet_bytes: media.packet_bytes,
                packets_per_frame: media.burst,
                frames_per_second: 1.0 / client::frame_interval(&media).as_secs_f64(),
                audio: media.audio,
                feedback: media.feedback,
                profile: self.setup.profile.map(|profile| format!("{profile:?}")),
            },
            comparisons: comparisons(&cases),
            cases,
            warnings: self.warnings,
        }
    }
}

/// Idle peers in one room: nobody publishes, so it does not matter.
const IDLE_ROOM: usize = 500;
const IDLE_SETTLE: Duration = Duration::from_secs(2);

fn comparisons(cases: &[CaseReport]) -> Vec<Comparison> {
    let Some((first, others)) = cases.split_first() else { return Vec::new() };
    let others = others.iter().filter(|other| !other.runs.is_empty());
    let compare = |other: &CaseReport| {
        let pairs = other.runs.iter().zip(&first.runs);
        let ratio = |(a, b): (&report::Run, &report::Run)| {
            a.server.cpu_us_per_packet / b.server.cpu_us_per_packet
        };
        let ratios: Vec<f64> = pairs.map(ratio).collect();
        Comparison {
            case: other.name.clone(),
            with: first.name.clone(),
            ratio: median(ratios.clone()),
            ratios,
        }
    };
    others.map(compare).collect()
}

fn resident(case: &Case) -> Done<u64> {
    proc::resident_bytes(case.server.pid()).map_err(failed("memory of the server"))
}

fn memory(before: u64, joined: u64, end: u64, viewers: usize) -> Memory {
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / viewers as f64;
    Memory {
        before_bytes: before,
        joined_bytes: joined,
        end_bytes: end,
        per_subscriber_joined_bytes: each(joined),
        per_subscriber_end_bytes: each(end),
    }
}

fn join_report(times: &[Duration], rounds: Vec<f64>) -> Join {
    let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    Join {
        joins: ms.len(),
        ms_p50: median(ms.clone()),
        ms_max: ms.into_iter().fold(0.0, f64::max),
        server_cpu_ms: median(rounds.clone()),
        server_cpu_ms_rounds: rounds,
    }
}
