//! What is measured of a case that is up.

use std::time::{Duration, Instant};

use super::client::{Tally, Target};
use super::drive::Driver;
use super::metrics::Metrics;
use super::proc::{self, Cpu};
use super::report::{Counted, Latency, Run, Window};
use super::setup::Case;
use super::{Done, Failed, failed};
use crate::base::limits::MEDIA_BYTES_PER_PEER;

/// A sender's first half second does not count: keyframes are asked for, caches fill.
const WARM_UP: Duration = Duration::from_millis(500);
/// Somebody who was to forward and has nothing to do any more sleeps: its clock of CPU is exact.
const SETTLE: Duration = Duration::from_millis(20);
/// What has not arrived when nothing came for so long is lost: longer than other processes keep a
/// core from the server.
const LOST: Duration = Duration::from_secs(1);
/// Looking for a load, each bitrate is tried for so long, and so many are.
const LOAD_STEP: Duration = Duration::from_secs(1);
const LOAD_STEPS: usize = 6;
/// The server's workers report to `/metrics` once a second.
const REPORTED: Duration = Duration::from_millis(1_300);

/// One run: the floor and the server after each other, with the server's own count.
pub fn run(driver: &mut Driver, case: &mut Case, floor: u32, time: Duration) -> Done<Run> {
    let before = metrics(case)?;
    let server = case.server.pid();
    let (of_server, totals) = window(driver, case, Target::Server, server, time)?;
    let (of_floor, _) = window(driver, case, Target::Floor, floor, time)?;
    driver.run(REPORTED.saturating_sub(time + WARM_UP))?;
    let metrics = metrics(case)?.since(&before);
    let counted = Counted {
        sent: totals.sent,
        received: totals.received,
        server_in: metrics.count("packets_in"),
        server_forwarded: metrics.count("packets_forwarded"),
        feedback_arrived: metrics.count("packets_arrived"),
        feedback_lost: metrics.count("packets_lost"),
        server_dropped: metrics.dropped(),
    };
    let ratio = of_server.cpu_us_per_packet / of_floor.cpu_us_per_packet;
    Ok(Run { server: of_server, floor: of_floor, ratio, counted })
}

/// Changes the bitrate until the server uses so much of a core; how much it came to.
pub fn find_load(driver: &mut Driver, case: &Case, wanted: f64) -> Done<f64> {
    let mut reached = 0.0;
    for _ in 0..LOAD_STEPS {
        let pid = case.server.pid();
        let (window, _) = window(driver, case, Target::Server, pid, LOAD_STEP)?;
        reached = window.cpu;
        let change = (wanted / reached).clamp(0.25, 4.0);
        if (0.95..1.05).contains(&change) {
            break;
        }
        // Beyond this the server drops what one peer sends.
        let most = 8.0 * 0.9 / MEDIA_BYTES_PER_PEER.interval.as_secs_f64();
        driver.media.bitrate = (driver.media.bitrate as f64 * change).min(most) as u64;
        eprintln!(
            "load {:.0} %, going to {} kbit/s",
            reached * 100.0,
            driver.media.bitrate / 1_000
        );
    }
    driver.run(REPORTED)?;
    Ok(reached)
}

pub fn metrics(case: &mut Case) -> Done<Metrics> {
    let response = case.https.get("/metrics")?;
    match response.status {
        200 => Ok(Metrics::parse(&response.body)),
        status => Err(Failed(format!("/metrics: {status} {}", response.body))),
    }
}

/// Publishers send for so long, after a warm-up; also what was sent and received in all.
fn window(
    driver: &mut Driver,
    case: &Case,
    target: Target,
    pid: u32,
    time: Duration,
) -> Done<(Window, Tally)> {
    driver.take_tally();
    send(driver, case.number, target, WARM_UP)?;
    let warm_up = driver.take_tally();
    let watch = Watch::begin(driver, case.number, pid)?;
    send(driver, case.number, target, time)?;
    let mut tally = driver.take_tally();
    let window = watch.end(driver, target, &tally)?;
    tally.sent += warm_up.sent;
    tally.received += warm_up.received;
    Ok((window, tally))
}

fn send(driver: &mut Driver, case: usize, target: Target, time: Duration) -> Done<()> {
    driver.send(case, target);
    driver.run(time)?;
    driver.pause();
    let mut arrived = Instant::now();
    let mut before = driver.tally().received;
    while driver.tally().received < driver.tally().expected && arrived.elapsed() < LOST {
        driver.run(SETTLE)?;
        let received = driver.tally().received;
        if received > before {
            (before, arrived) = (received, Instant::now());
        }
    }
    driver.run(SETTLE)
}

/// What a process uses while the clients do something.
pub struct Watch {
    pid: u32,
    ports: Vec<u16>,
    begun: Instant,
    cpu: Cpu,
    own: Cpu,
    dropped: u64,
    on_the_way: u64,
    refused: u64,
}

impl Watch {
    pub fn begin(driver: &Driver, case: usize, pid: u32) -> Done<Watch> {
        let clients = driver.clients.iter().filter(|client| client.case == case);
        let ports: Vec<u16> = clients.map(|client| client.address.port()).collect();
        Ok(Watch {
            dropped: dropped(&ports),
            on_the_way: proc::dropped_on_the_way(),
            refused: driver.refused(),
            ports,
            cpu: proc::cpu(pid).map_err(failed("CPU of a process"))?,
            own: proc::own_cpu().map_err(failed("CPU of a thread"))?,
            pid,
            begun: Instant::now(),
        })
    }

    /// CPU since, and for how long.
    pub fn spent(&self) -> Done<(Cpu, Duration)> {
        let cpu = proc::cpu(self.pid).map_err(failed("CPU of a process"))? - self.cpu;
        Ok((cpu, self.begun.elapsed()))
    }

    fn end(&self, driver: &Driver, target: Target, tally: &Tally) -> Done<Window> {
        let (cpu, time) = self.spent()?;
        let own = proc::own_cpu().map_err(failed("CPU of a thread"))? - self.own;
        let (seconds, packets) = (time.as_secs_f64(), tally.received);
        if packets == 0 {
            let whose = match target {
                Target::Server => "the server",
                Target::Floor => "the floor",
            };
            let expected = tally.expected;
            return Err(Failed(format!("{whose} forwarded none of {expected} packets")));
        }
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        Ok(Window {
            seconds,
            packets,
            expected: tally.expected,
            loss: 1.0 - packets as f64 / tally.expected as f64,
            reports: tally.reports,
            others: tally.others,
            cpu_us_per_packet: us(cpu.ran) / packets as f64,
            cpu: cpu.ran.as_secs_f64() / seconds,
            waited: cpu.waited.as_secs_f64() / seconds,
            latency: Latency {
                samples: tally.latency.count(),
                p50_us: us(tally.latency.quantile(0.5)),
                p99_us: us(tally.latency.quantile(0.99)),
                p999_us: us(tally.latency.quantile(0.999)),
            },
            samples_wrong: tally.wrong,
            clients_cpu: own.ran.as_secs_f64() / seconds,
            clients_waited: own.waited.as_secs_f64() / seconds,
            clients_dropped: dropped(&self.ports).saturating_sub(self.dropped),
            kernel_dropped: proc::dropped_on_the_way().saturating_sub(self.on_the_way),
            clients_refused: driver.refused() - self.refused,
            frames: tally.bursts,
            frames_late: tally.late,
        })
    }
}

fn dropped(ports: &[u16]) -> u64 {
    let all = proc::dropped_by_port();
    ports.iter().filter_map(|port| all.get(port)).sum()
}
