//! The program as a child process, whose memory, time and log can be read.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::live::http;

pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Server {
    process: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<String>>,
    folder: std::path::PathBuf,
}

impl Server {
    pub fn start(workers: usize) -> Server {
        Server::start_with(workers, &[], None)
    }

    /// With more flags, and a limit of open files.
    pub fn start_with(workers: usize, flags: &[&str], files: Option<u32>) -> Server {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("trackyard-hostile-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        let limit = files.map_or(String::new(), |n| format!("ulimit -n {n};"));
        let mut process = Command::new("sh")
            .args(["-c", &format!("{limit} exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_trackyard")])
            .args(["--listen", "127.0.0.1:0", "--workers", &workers.to_string(), "--log", "debug"])
            .arg("--certs-dir")
            .arg(&folder)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program was built");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(process.stderr.take().expect("piped"));
        let written = log.clone();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut log = written.lock().expect("nobody panics with it");
                *log += &line;
                log.push('\n');
            }
        });
        let mut server = Server { process, address: "127.0.0.1:0".parse().unwrap(), log, folder };
        server.wait_for("the server to listen", |server| {
            let log = server.log();
            let address = log.split("listening on ").nth(1).and_then(|rest| rest.split(' ').next());
            server.address = address.map_or(server.address, |a| a.parse().expect("an address"));
            address.is_some()
        });
        server
    }

    pub fn log(&self) -> String {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// Resident bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("it lives");
        line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).expect("kB") * 1_024
    }

    /// CPU time spent so far.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split(' ').collect();
        let ticks = |n: usize| fields[n].parse::<u64>().expect("a number");
        // utime and stime (proc_pid_stat(5)), in hundredths on Linux.
        Duration::from_millis((ticks(12) + ticks(13)) * 10)
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.process.id());
        std::fs::read_to_string(path).expect("the server lives")
    }

    /// A metric, summed over its labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let (status, _, body) = http(self.address, "GET /metrics HTTP/1.1", "");
        assert_eq!(status, 200);
        let lines = body.lines().filter(|l| l.starts_with(name) && l.contains(label));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until something is so.
    pub fn wait_for(&mut self, what: &str, mut so: impl FnMut(&mut Server) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(Instant::now() < deadline, "{what}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.process.try_wait().expect("our child");
        // Killed and waited for by its own id.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
        if let Some(status) = ended
            && !std::thread::panicking()
        {
            panic!("the server ended by itself: {status}\n{}", self.log());
        }
    }
}
