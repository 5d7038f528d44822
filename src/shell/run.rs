//! The program around the server: log, limits, banner, signals.

use std::io::{self, IsTerminal, Write as _};

use log::LevelFilter;
use mio::{Events, Interest, Token};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;
use simple_logger::SimpleLogger;

use super::banner::{Banner, Qr};
use super::{Server, StartError};
use crate::config::Config;

const SIGNALS: Token = Token(1);

/// Serves until SIGTERM or SIGINT, then drains; a second signal ends at once. Error: one line,
/// about the start or about what went wrong later.
pub fn run(config: Config) -> Result<(), StartError> {
    log_to_stderr(config.log).map_err(StartError)?;
    raise_file_limit();
    let system = |e: io::Error| StartError(e.to_string());
    // Before the first thread, so that no signal meets a server that is only half there.
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(system)?;
    let (qr, self_signed) = (config.qr, config.tls.is_none());
    let mut server = Server::start(config)?;
    let banner = Banner {
        listen: server.address(),
        candidates: server.candidates(),
        fingerprint: server.fingerprint(),
        self_signed,
    };
    // Who closed our standard output does not want to read it.
    let _ = io::stdout().write_all(banner.text(wanted_qr(qr)).as_bytes());
    server.serve(&mut signals).map_err(system)
}

impl Server {
    fn serve(&mut self, signals: &mut Signals) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(signals, SIGNALS, Interest::READABLE)?;
        let mut events = Events::with_capacity(8);
        while !self.has_ended()? {
            self.wait(&mut events)?;
            for _ in signals.pending() {
                if self.deadline.is_none() {
                    log::info!("told to end; draining for at most {:?}", self.drain);
                    self.shutdown();
                } else {
                    log::info!("told to end again; ending now");
                    self.end();
                }
            }
        }
        log::info!("ended");
        Ok(())
    }
}

fn wanted_qr(even_plain: bool) -> Qr {
    match (io::stdout().is_terminal(), even_plain) {
        (true, _) => Qr::Terminal,
        (false, true) => Qr::Plain,
        (false, false) => Qr::No,
    }
}

/// Our own lines at `level`, those of libraries only when something is wrong with them, and all
/// of theirs at `trace`.
fn log_to_stderr(level: LevelFilter) -> Result<(), String> {
    let theirs = match level {
        LevelFilter::Trace => level,
        _ => level.min(LevelFilter::Warn),
    };
    SimpleLogger::new()
        .with_level(theirs)
        .with_module_level(env!("CARGO_CRATE_NAME"), level)
        .with_colors(io::stderr().is_terminal())
        .with_utc_timestamps()
        .init()
        .map_err(|e| format!("log: {e}"))
}

/// A connection is a file. The soft limit is low for the sake of programs that use `select`.
pub(super) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("cannot raise the number of open files: {error}");
    }
}
