//! `trackyard bench` end to end, as small as it gets: its figures are no test's business, but its
//! counts are, and that it leaves nothing behind.
#![allow(clippy::disallowed_methods, reason = "real processes, real time")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trackyard");
/// Nothing here takes so long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

fn bench(flags: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.arg("bench").args(flags.split_whitespace());
    command.output().expect("the program runs")
}

/// The JSON of a short one.
fn measured(flags: &str) -> Value {
    let output = bench(&format!("{flags} --runs 1 --duration 300ms --json -"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// Three parties counted the same packets, and what was looked at was as it was sent.
fn check_run(case: &Value, audience: f64) {
    let run = &case["runs"][0];
    for side in ["server", "floor"] {
        let window = &run[side];
        assert!(number(&window["packets"]) > 10.0, "{window}");
        assert!(number(&window["loss"]).abs() < 0.02, "{window}");
        assert_eq!(window["samples_wrong"], 0, "{window}");
        assert!(number(&window["latency"]["samples"]) > 0.0, "{window}");
        assert!(number(&window["cpu_us_per_packet"]) > 0.0, "{window}");
    }
    let counted = &run["counted"];
    let count = |name: &str| number(&counted[name]);
    assert!(count("sent") > 0.0, "{counted}");
    assert_eq!(count("sent"), count("server_in"), "{counted}");
    assert_eq!(count("received"), count("server_forwarded"), "{counted}");
    assert!((count("received") / (count("sent") * audience) - 1.0).abs() < 0.02, "{counted}");
    assert!(number(&run["ratio"]) > 0.0);
}

#[test]
fn viewers_get_what_publishers_send() {
    let report = measured("fanout --subscribers 2,4 --audio");
    for (case, viewers) in [(0, 2.0), (1, 4.0)] {
        check_run(&report["cases"][case], viewers);
        assert_eq!(number(&report["cases"][case]["join"]["joins"]), viewers);
    }
    assert!(number(&report["comparisons"][0]["ratio"]) > 0.0, "{report}");
    assert_eq!(report["media"]["profile"], "AeadAes256Gcm");
}

#[test]
fn a_meeting_hears_everybody_else() {
    let report = measured("meeting --publishers 3");
    check_run(&report["cases"][0], 2.0);
    assert_eq!(report["cases"][0]["runs"][0]["counted"]["feedback_arrived"], 0);
}

#[test]
fn feedback_tells_of_every_packet() {
    let report = measured("meeting --publishers 2 --audio --feedback");
    check_run(&report["cases"][0], 1.0);
    let counted = &report["cases"][0]["runs"][0]["counted"];
    let told = number(&counted["feedback_arrived"]);
    // What came last may not have been told of.
    assert!(told > 0.5 * number(&counted["server_forwarded"]), "{counted}");
    assert!(number(&counted["feedback_lost"]) < 0.02 * told, "{counted}");
}

#[test]
fn every_slot_is_filled() {
    let report = measured("slots --publishers 4 --subscribers 2 --burst 2 --bitrate 300k");
    check_run(&report["cases"][0], 2.0);
    check_run(&report["cases"][1], 2.0);
    assert_eq!(report["cases"][0]["rooms"], 4);
}

#[test]
fn idle_peers_and_joins_are_measured() {
    let report = measured("idle --subscribers 3");
    let case = &report["cases"][0];
    // So few may well do nothing in so short a time.
    assert!((0.0..1.0).contains(&number(&case["idle"]["cpu"])), "{case}");
    assert!((0.0..1.0).contains(&number(&case["idle"]["floor_cpu"])), "{case}");
    assert!(number(&case["memory"]["per_subscriber_joined_bytes"]) > 0.0, "{case}");
    let report = measured("joins --subscribers 3");
    let join = &report["cases"][0]["join"];
    assert!(number(&join["server_cpu_ms"]) > 0.0 && join["joins"] == 3, "{join}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    for (flags, code, says) in [
        ("--layers 2", 2, "one encoding"),
        ("--workers 65", 2, "workers"),
        ("--subscribers 1000", 2, "a room takes"),
        ("meeting --publishers 1", 2, "two at least"),
        ("--bitrate fast", 2, "10k to 1000M"),
        ("--server /nowhere/trackyard", 1, "cannot start /nowhere/trackyard"),
        ("--server /bin/true", 1, "the server ended"),
    ] {
        let output = bench(flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{flags}: {said}");
        assert!(said.contains(says), "{flags}: {said}");
    }
}

/// Processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |child: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
        status.lines().any(|line| line.split_whitespace().eq(["PPid:", &pid.to_string()]))
    };
    pids.filter(is_child).collect()
}

#[test]
fn who_interrupts_it_ends_its_children_too() {
    let mut command = Command::new(PROGRAM);
    command.args(["bench", "--subscribers", "1", "--duration", "60s"]);
    let mut bench = command.stderr(Stdio::piped()).spawn().expect("the program runs");
    let stderr = bench.stderr.take().expect("asked for");
    let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("run 1")), "it begins");
    let started = children(bench.id());
    assert_eq!(started.len(), 2, "a server and a floor");
    let pid = rustix::process::Pid::from_child(&bench);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = bench.try_wait().expect("ours") {
            break status;
        }
        assert!(Instant::now() < deadline, "it ends");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(status.code(), Some(1));
    assert!(lines.any(|line| line.contains("interrupted")), "it says why");
    for pid in started {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "{pid} is gone");
    }
}
