//! The processes that are measured. Each ends with the value that stands for it, by its own id.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::floor::Plan;
use super::{Done, Failed, failed};

/// A start that takes longer has failed.
const START: Duration = Duration::from_secs(20);
/// An end that takes longer is forced.
const END: Duration = Duration::from_secs(4);
/// Told to the server: what it takes to tell its clients.
const DRAIN: &str = "1s";

/// A child process whose standard output is read line by line.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    /// With the calling thread's cores.
    fn start(command: &mut Command) -> Done<Process> {
        let program = command.get_program().to_string_lossy().into_owned();
        let spawned = command.stdout(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|e| Failed(format!("cannot start {program}: {e}")))?;
        let (sender, lines) = mpsc::channel();
        let output = child.stdout.take();
        // It ends when the child does.
        thread::spawn(move || {
            let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines());
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Process { child, lines })
    }

    /// Waits for the first line from which something can be read.
    fn wait_for<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Done<T> {
        let deadline = Instant::now() + START;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some(found) = read(&line) {
                        return Ok(found);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failed(format!("{what} does not start")));
                }
                // Its output ended, so it is ending too, or says nothing any more.
                Err(RecvTimeoutError::Disconnected) => {
                    let how = self.wait(END).map_or("is silent".into(), |s| format!("ended, {s}"));
                    return Err(Failed(format!("{what} {how}")));
                }
            }
        }
    }
}

impl Process {
    /// How it ended, if it does in this time.
    fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                ended => return ended.ok().flatten(),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended may have left its id to another process.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        if self.wait(END).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A server on a free port of loopback.
pub struct Server {
    process: Process,
    pub address: SocketAddr,
    folder: Folder,
}

impl Server {
    /// Of this program, or of another build.
    pub fn start(program: &Path, workers: usize) -> Done<Server> {
        let folder = Folder::make()?;
        let mut command = Command::new(program);
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("TRACKYARD_") {
                command.env_remove(key);
            }
        }
        command.args(["--listen", "127.0.0.1:0", "--exempt", "127.0.0.1", "--log", "warn"]);
        command.args(["--drain", DRAIN, "--workers", &workers.to_string()]);
        command.arg("--certs-dir").arg(&folder.0).stdin(Stdio::null());
        let mut process = Process::start(&mut command)?;
        let port = process.wait_for("the server", |line| {
            let port = line.trim_start().strip_prefix("https://localhost:")?;
            port.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        })?;
        Ok(Server { process, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), folder })
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The certificate that it made.
    pub fn certificate(&self) -> PathBuf {
        self.folder.0.join("cert.pem")
    }
}

/// The bare loop that a server is compared with. It ends also when its standard input does.
pub struct Floor {
    process: Process,
    pub address: SocketAddr,
}

impl Floor {
    pub fn start(program: &Path, plan: &Plan) -> Done<Floor> {
        let mut command = Command::new(program);
        let mut process = Process::start(command.arg("bench-floor").stdin(Stdio::piped()))?;
        let plan = serde_json::to_string(plan).map_err(failed("the floor"))?;
        // The pipe stays open with the child.
        let input = process.child.stdin.as_mut().expect("it was asked for");
        let written = input.write_all(format!("{plan}\n").as_bytes()).and_then(|()| input.flush());
        written.map_err(failed("the floor"))?;
        let address = process.wait_for("the floor", |line| line.parse().ok())?;
        Ok(Floor { process, address })
    }

    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }
}

/// A temporary folder of its own.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Done<Folder> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("trackyard-bench-{}-{count}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        fs::create_dir_all(&folder.0).map_err(failed("a temporary folder"))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Who runs where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cores {
    /// The processes that are measured; none: wherever the kernel likes.
    pub measured: Vec<usize>,
    /// The clients.
    pub clients: Vec<usize>,
}

impl Cores {
    /// Divides the cores that this process may use: so many for a server, as long as one is left.
    pub fn divide(workers: usize) -> Cores {
        let Ok(allowed) = sched_getaffinity(None) else { return Cores::default() };
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        if all.len() < 2 {
            return Cores::default();
        }
        let (measured, clients) = all.split_at(workers.min(all.len() - 1));
        Cores { measured: measured.to_vec(), clients: clients.to_vec() }
    }

    /// Runs `start` on the cores of what is measured, which its child processes inherit; the
    /// calling thread is on those of the clients afterwards.
    pub fn start<T>(&self, start: impl FnOnce() -> T) -> T {
        pin(&self.measured);
        let started = start();
        pin(&self.clients);
        started
    }
}

fn pin(cores: &[usize]) {
    if cores.is_empty() {
        return;
    }
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    if let Err(error) = sched_setaffinity(None, &set) {
        eprintln!("cannot choose the cores: {error}");
    }
}
