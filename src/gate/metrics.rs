//! What `GET /metrics` and `GET /api/rooms` show: the gate's own counters and the last report of
//! each worker. Text format: OpenMetrics 1.0.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::{Gate, TurnedAway};
use crate::base::counters::{Counters, DropReason, Stage};
use crate::base::histogram::{MICROS, MILLIS, SIZES, Times, Waits};
use crate::base::ids::WorkerId;
use crate::room::mail::{Role, RoomReport};
use crate::wire::signal::{Cause, ErrorCode};

/// Why a connection ended, as the shell saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// Both sides were done: the response was the last one, or the WebSocket was closed.
    Done,
    /// The client ended it.
    ByClient,
    /// An error of the socket.
    Io,
    /// The TLS handshake or a TLS record failed.
    Tls,
    /// It began neither with TLS nor with HTTP.
    NotTls,
    /// A request that was not well-formed.
    BadRequest,
    /// A WebSocket frame that was not well-formed.
    BadFrame,
    /// The handshake, a head or a body took too long.
    Slow,
    /// Nothing was asked for a while.
    Idle,
    /// A WebSocket from which nothing came.
    Silent,
    /// It did not take what was sent to it.
    OutFull,
    /// The process is ending.
    Shutdown,
}

impl CloseReason {
    /// As it stands in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            CloseReason::Done => "done",
            CloseReason::ByClient => "by_client",
            CloseReason::Io => "io",
            CloseReason::Tls => "tls",
            CloseReason::NotTls => "not_tls",
            CloseReason::BadRequest => "bad_request",
            CloseReason::BadFrame => "bad_frame",
            CloseReason::Slow => "slow",
            CloseReason::Idle => "idle",
            CloseReason::Silent => "silent",
            CloseReason::OutFull => "out_full",
            CloseReason::Shutdown => "shutdown",
        }
    }
}

/// What the gate counted since it started.
#[derive(Debug, Default)]
pub(super) struct GateCounters {
    pub opened: u64,
    pub connected: u64,
    turned_away: BTreeMap<TurnedAway, u64>,
    closed: BTreeMap<CloseReason, u64>,
    /// By the status' first digit.
    responses: [u64; 6],
    errors: BTreeMap<&'static str, u64>,
    joined: BTreeMap<&'static str, u64>,
    resumed: u64,
    /// From when a client wanted a picture to when it showed it, as clients say.
    pub rendered: Waits,
}

impl GateCounters {
    pub fn turned_away(&mut self, why: TurnedAway) {
        *self.turned_away.entry(why).or_default() += 1;
    }

    pub fn closed(&mut self, why: CloseReason) {
        *self.closed.entry(why).or_default() += 1;
    }

    pub fn response(&mut self, status: u16) {
        if let Some(class) = self.responses.get_mut(usize::from(status / 100)) {
            *class += 1;
        }
    }

    pub fn error(&mut self, code: ErrorCode) {
        *self.errors.entry(code.as_str()).or_default() += 1;
    }

    pub fn entered(&mut self, role: &Role, resumed: bool) {
        if resumed {
            self.resumed += 1;
        } else {
            *self.joined.entry(role.label()).or_default() += 1;
        }
    }
}

/// The last report of each worker.
#[derive(Debug)]
pub(super) struct Reports(Vec<(Counters, Vec<RoomReport>)>);

impl Reports {
    pub fn new(workers: usize) -> Reports {
        Reports(vec![Default::default(); workers])
    }

    pub fn take(&mut self, worker: WorkerId, counters: Counters, rooms: Vec<RoomReport>) {
        if let Some(report) = self.0.get_mut(worker.index()) {
            *report = (counters, rooms);
        }
    }

    /// Workers that leave something out since they have no time for it.
    pub fn overloaded(&self) -> usize {
        self.0.iter().filter(|(counters, _)| counters.shed_level > 0).count()
    }

    /// All rooms. Each has one home, so none comes twice.
    pub fn rooms(&self) -> impl Iterator<Item = &RoomReport> {
        self.0.iter().flat_map(|(_, rooms)| rooms)
    }
}

/// A counter or gauge that each worker has: name, help, value.
type OfWorker = (&'static str, &'static str, fn(&Counters) -> u64);

const WORKER_COUNTERS: [OfWorker; 18] = [
    ("datagrams_in", "UDP datagrams received.", |c| c.datagrams_in),
    ("bytes_in", "Bytes of UDP payload received.", |c| c.bytes_in),
    ("datagrams_out", "UDP datagrams sent.", |c| c.datagrams_out),
    ("bytes_out", "Bytes of UDP payload sent.", |c| c.bytes_out),
    ("send_calls", "System calls that sent datagrams.", |c| c.send_calls),
    ("packets_in", "RTP packets from publishers.", |c| c.packets_in),
    ("packets_forwarded", "RTP packets written towards subscribers.", |c| c.packets_forwarded),
    ("packets_resent", "RTP packets sent again to subscribers.", |c| c.packets_resent),
    ("packets_arrived", "RTP packets of which subscribers said that they arrived.", |c| {
        c.feedback_arrived
    }),
    ("packets_lost", "RTP packets of which subscribers said that they did not arrive.", |c| {
        c.feedback_lost
    }),
    ("nacks_sent", "NACKs sent to publishers.", |c| c.nacks_sent),
    ("packets_relayed", "RTP packets copied to another worker.", |c| c.packets_relayed),
    ("datagrams_handed", "Datagrams handed to the worker that owns their peer.", |c| {
        c.datagrams_handed
    }),
    ("path_moves", "Times that media followed a client to another address.", |c| c.path_moves),
    ("keyframe_requests", "Keyframe requests sent to publishers.", |c| c.keyframe_requests),
    ("keyframes", "Keyframes from publishers.", |c| c.keyframes),
    ("panics", "Defects that ended a room, or all rooms of a worker.", |c| c.panics),
    ("transport_faults", "Peers that a defect of their transport ended.", |c| c.transport_faults),
];
const WORKER_GAUGES: [OfWorker; 3] = [
    ("peers", "Peers now.", |c| c.peers),
    ("shed_level", "How much of pictures is left out for lack of time, from 0 to 3.", |c| {
        c.shed_level
    }),
    ("rooms", "Rooms whose home the worker is, now.", |c| c.rooms),
];

/// All metrics.
pub(super) fn render(gate: &Gate) -> String {
    let mut text = Text(String::with_capacity(8 * 1024));
    text.family("build", "info", "The program.");
    let version = [("version", gate.config.version)];
    text.sample("build_info", &version, 1);
    of_gate(&mut text, gate);
    for (name, help, value) in WORKER_COUNTERS {
        text.family(name, "counter", help);
        of_workers(&mut text, gate, &format!("{name}_total"), value);
    }
    for (name, help, value) in WORKER_GAUGES {
        text.family(name, "gauge", help);
        of_workers(&mut text, gate, name, value);
    }
    histograms(&mut text, gate);
    text.family("dropped", "counter", "Datagrams and packets that were not used.");
    for (index, (counters, _)) in gate.reports.0.iter().enumerate() {
        for (reason, label) in DropReason::ALL {
            let labels = [("worker", &*index.to_string()), ("reason", label)];
            text.sample("dropped_total", &labels, counters.dropped(reason));
        }
    }
    text.0 + "# EOF\n"
}

fn histograms(text: &mut Text, gate: &Gate) {
    let help = "From when a datagram may first have been in the socket to when what it caused had \
                left; without what an idle worker answers.";
    text.family("residence_seconds", "histogram", help);
    let workers = || gate.reports.0.iter().enumerate();
    for (index, (counters, _)) in workers() {
        text.times("residence_seconds", &[("worker", &index.to_string())], &counters.residence);
    }
    text.family("turn_seconds", "histogram", "Turns of a worker's loop, without waiting.");
    for (index, (counters, _)) in workers() {
        text.times("turn_seconds", &[("worker", &index.to_string())], &counters.turns);
    }
    text.family("stage_seconds", "histogram", "Stages of these turns.");
    for (index, (counters, _)) in workers() {
        for ((_, label), times) in Stage::ALL.iter().zip(&counters.stages) {
            let labels = [("worker", &*index.to_string()), ("stage", label)];
            text.times("stage_seconds", &labels, times);
        }
    }
    let help = "From when a client wanted a picture to when its first keyframe left.";
    text.family("first_frame_seconds", "histogram", help);
    for (index, (counters, _)) in workers() {
        let labels = [("worker", &*index.to_string())];
        text.waits("first_frame_seconds", &labels, &counters.first_frames);
    }
    text.family("slow_first_frames", "counter", "Those that took over 1 s, by what kept them.");
    for (index, (counters, _)) in workers() {
        for ((_, cause), count) in Cause::ALL.iter().zip(&counters.slow_first_frames) {
            let labels = [("worker", &*index.to_string()), ("cause", cause)];
            text.sample("slow_first_frames_total", &labels, count);
        }
    }
    let help = "From when a client wanted a picture to when it was shown, as clients say.";
    text.family("first_frame_rendered_seconds", "histogram", help);
    text.waits("first_frame_rendered_seconds", &[], &gate.counters.rendered);
    text.family("batch_datagrams", "histogram", "Datagrams in one turn.");
    for (index, (counters, _)) in workers() {
        let sizes = [("in", &counters.batches_in), ("out", &counters.batches_out)];
        for (way, sizes) in sizes {
            let labels = [("worker", &*index.to_string()), ("way", way)];
            let bounds = SIZES.iter().map(u64::to_string);
            text.histogram("batch_datagrams", &labels, bounds, sizes.cumulated(), sizes.sum());
        }
    }
}

fn of_workers(text: &mut Text, gate: &Gate, name: &str, value: fn(&Counters) -> u64) {
    for (index, (counters, _)) in gate.reports.0.iter().enumerate() {
        text.sample(name, &[("worker", &index.to_string())], value(counters));
    }
}

fn of_gate(text: &mut Text, gate: &Gate) {
    let counters = &gate.counters;
    text.family("connections", "gauge", "TCP connections now.");
    let open = counters.opened - counters.closed.values().sum::<u64>().min(counters.opened);
    text.sample("connections", &[], open);
    text.family("connections_opened", "counter", "TCP connections accepted.");
    text.sample("connections_opened_total", &[], counters.opened);
    text.family("connections_refused", "counter", "TCP connections beyond a limit.");
    for why in [TurnedAway::Full, TurnedAway::SourceFull, TurnedAway::SourceRate] {
        let count = counters.turned_away.get(&why).copied().unwrap_or(0);
        text.sample("connections_refused_total", &[("reason", why.label())], count);
    }
    text.family("sources", "gauge", "Client addresses with a connection or not at rest.");
    text.sample("sources", &[], gate.sources.len());
    text.family("connections_closed", "counter", "TCP connections ended.");
    for (why, count) in &counters.closed {
        text.sample("connections_closed_total", &[("reason", why.label())], count);
    }
    text.family("websockets", "gauge", "WebSockets now.");
    text.sample("websockets", &[], gate.sockets.len());
    text.family("sessions", "gauge", "Sessions now.");
    for role in ROLES {
        let of_role = gate.sessions.iter().filter(|s| s.role.label() == role);
        text.sample("sessions", &[("role", role)], of_role.count());
    }
    text.family("pictures", "gauge", "Pictures in viewers' slots, by why they are as they are.");
    let causes = gate.causes();
    for (cause, label) in Cause::ALL {
        let count: usize = causes.values().filter_map(|causes| causes.get(&cause)).sum();
        text.sample("pictures", &[("cause", label)], count);
    }
    text.family("sessions_joined", "counter", "Sessions that entered a room.");
    for role in ROLES {
        let count = counters.joined.get(role).copied().unwrap_or(0);
        text.sample("sessions_joined_total", &[("role", role)], count);
    }
    text.family("sessions_resumed", "counter", "Sessions taken up again.");
    text.sample("sessions_resumed_total", &[], counters.resumed);
    text.family("transports_connected", "counter", "Transports that came up.");
    text.sample("transports_connected_total", &[], counters.connected);
    text.family("http_responses", "counter", "HTTP responses.");
    for (class, count) in counters.responses.iter().enumerate().skip(1) {
        let class = format!("{class}xx");
        text.sample("http_responses_total", &[("class", &class)], count);
    }
    text.family("signal_errors", "counter", "Errors sent over WebSockets.");
    for (code, count) in &counters.errors {
        text.sample("signal_errors_total", &[("code", code)], count);
    }
}

const ROLES: [&str; 3] = ["participant", "whip", "whep"];

/// Metrics as text, each name with the program's prefix. Label values are ours and need no
/// escaping.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# TYPE trackyard_{name} {kind}"));
        self.line(format_args!("# HELP trackyard_{name} {help}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let mut text = String::new();
        for (i, (label, value)) in labels.iter().enumerate() {
            let before = if i == 0 { "{" } else { "," };
            text += &format!("{before}{label}=\"{value}\"");
        }
        if !labels.is_empty() {
            text.push('}');
        }
        self.line(format_args!("trackyard_{name}{text} {value}"));
    }

    fn times(&mut self, name: &str, labels: &[(&str, &str)], times: &Times) {
        let bounds = MICROS.iter().map(|micros| (*micros as f64 / 1e6).to_string());
        self.histogram(name, labels, bounds, times.cumulated(), times.sum() as f64 / 1e6);
    }

    fn waits(&mut self, name: &str, labels: &[(&str, &str)], waits: &Waits) {
        let bounds = MILLIS.iter().map(|millis| (*millis as f64 / 1e3).to_string());
        self.histogram(name, labels, bounds, waits.cumulated(), waits.sum() as f64 / 1e3);
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        bounds: impl Iterator<Item = String>,
        cumulated: impl Iterator<Item = u64>,
        sum: impl Display,
    ) {
        let mut count = 0;
        for (bound, below) in bounds.chain(["+Inf".to_owned()]).zip(cumulated) {
            let with_bound: Vec<_> = labels.iter().copied().chain([("le", &*bound)]).collect();
            self.sample(&format!("{name}_bucket"), &with_bound, below);
            count = below;
        }
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0 += &format!("{line}\n");
    }
}
