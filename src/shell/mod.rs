//! Floor 5: the only place with system calls, clocks and threads. It carries bytes in and out and
//! decides nothing.
//!
//! [`Server`] opens the port, starts one thread for the gate and one for each worker, and ends
//! them. Threads share nothing but mailboxes and the phase.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "clocks, threads and the lock of a mailbox are what the shell is for"
)]

pub mod addresses;
pub mod banner;
pub mod bench;
pub mod certs;
pub mod conn;
pub mod gate_loop;
pub mod mailbox;
pub mod phase;
mod port;
pub mod run;
pub mod tls;
pub mod udp;
pub mod websocket;
pub mod worker_loop;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Waker};

use crate::base::ids::WorkerId;
use crate::base::limits::WORKERS_MAX;
use crate::base::rng::Rng;
use crate::config::Config;
use crate::gate::GateConfig;
use crate::room::mail::{ToGate, ToWorker};
use crate::worker::{Crypto, WorkerConfig};
use gate_loop::GateSetup;
use mailbox::{Receiver, Sender, WAKER, mailbox};
use phase::{Phase, PhaseSwitch};
use udp::UdpBatch;
use worker_loop::WorkerSetup;

/// Why the server did not start: one line, beginning with the key to change where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartError(pub String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A running server. Dropping it ends it at once, without a word to its clients.
pub struct Server {
    listen: SocketAddr,
    candidates: Vec<IpAddr>,
    fingerprint: String,
    /// How long a drain may take.
    drain: Duration,
    /// When the drain that was begun is over.
    deadline: Option<Instant>,
    switch: PhaseSwitch,
    /// Where the main thread sleeps; woken by every thread that ends.
    poll: Poll,
    gate: Thread,
    workers: Vec<Thread>,
}

impl Server {
    /// Opens the port, makes or reads the certificate, and starts all threads. When it returns,
    /// clients can connect.
    pub fn start(config: Config) -> Result<Server, StartError> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let count = config.workers.unwrap_or(cores).clamp(1, WORKERS_MAX);
        let (listener, sockets, listen) = port::open(config.listen, count)?;
        let found = addresses::interfaces().unwrap_or_else(|e| {
            log::warn!("cannot list this machine's addresses: {e}");
            Vec::new()
        });
        let candidates = addresses::candidates(listen.ip(), &config.announce, &found);
        let now = SystemTime::now();
        let identity = match &config.tls {
            Some(files) => certs::read(files, now),
            None => {
                let mut addresses = addresses::candidates(listen.ip(), &[], &found);
                addresses.extend(&candidates);
                certs::keep(&config.certs_dir, &certs::hostnames(), &addresses, now)
            }
        };
        let identity = identity.map_err(StartError)?;
        let own: Vec<IpAddr> = addresses::own(&found);
        let udp: io::Result<Vec<UdpBatch>> =
            sockets.into_iter().map(|socket| UdpBatch::new(socket, own.clone())).collect();
        let parts = Parts {
            tls: identity.tls,
            listener,
            udp: udp.map_err(system("UDP"))?,
            candidates: candidates.iter().map(|ip| SocketAddr::new(*ip, listen.port())).collect(),
            rng: Rng::from_seed(seed()?),
        };
        let threads = parts.spawn(&config).map_err(system("threads"))?;
        log::info!(
            "listening on {listen} (TCP and UDP), {count} workers, candidates {}",
            addresses::list(&candidates)
        );
        Ok(Server {
            listen,
            candidates,
            fingerprint: identity.fingerprint,
            drain: config.drain,
            deadline: None,
            switch: threads.switch,
            poll: threads.poll,
            gate: threads.gate,
            workers: threads.workers,
        })
    }

    /// What TCP and UDP are bound to, with the port that was picked if any would do.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The addresses given to clients.
    pub fn candidates(&self) -> &[IpAddr] {
        &self.candidates
    }

    /// SHA-256 of the HTTPS certificate.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Begins to drain: no new sessions, clients are told. [`Server::join`] waits for the end,
    /// which comes within the configured time.
    pub fn shutdown(&mut self) {
        if self.deadline.is_none() {
            self.deadline = Some(Instant::now() + self.drain);
            self.switch.advance(Phase::Drain);
        }
    }

    /// Waits until the server has ended. Error: a thread ended that should not have.
    pub fn join(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        while !self.has_ended()? {
            self.wait(&mut events)?;
        }
        Ok(())
    }

    /// Ends all threads without waiting for what they still had to say.
    fn end(&mut self) {
        self.switch.advance(Phase::End);
        self.deadline = Some(Instant::now());
    }

    /// Whether all was said, or the time for it is over. Error: as in [`Server::join`].
    fn has_ended(&self) -> io::Result<bool> {
        if self.deadline.is_some_and(|at| Instant::now() >= at) {
            return Ok(true);
        }
        let gate_ended = self.gate.has_ended();
        if self.workers.iter().any(Thread::has_ended) || gate_ended && self.deadline.is_none() {
            return Err(io::Error::other("a thread ended by itself"));
        }
        Ok(gate_ended)
    }

    /// Sleeps until a thread ended, the drain is over, or something else in the poll happened.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => Err(e),
            _ => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.switch.advance(Phase::End);
        self.gate.join();
        self.workers.iter_mut().for_each(Thread::join);
    }
}

/// What the threads are made of.
struct Parts {
    tls: Arc<rustls::ServerConfig>,
    listener: TcpListener,
    udp: Vec<UdpBatch>,
    candidates: Vec<SocketAddr>,
    rng: Rng,
}

struct Threads {
    switch: PhaseSwitch,
    poll: Poll,
    gate: Thread,
    workers: Vec<Thread>,
}

impl Parts {
    fn spawn(mut self, config: &Config) -> io::Result<Threads> {
        let (poll, ended) = poll_and_waker()?;
        let gate_box: Mailbox<ToGate> = Mailbox::new()?;
        let boxes: io::Result<Vec<Mailbox<ToWorker>>> =
            self.udp.iter().map(|_| Mailbox::new()).collect();
        let boxes = boxes?;
        let wakers = boxes.iter().map(|b| b.waker.clone());
        let switch = PhaseSwitch::new(wakers.chain([gate_box.waker.clone()]).collect());
        let to_workers: Vec<_> = boxes.iter().map(|b| b.sender.clone()).collect();
        let gate_config = GateConfig {
            workers: boxes.len(),
            ice_servers: config.ice_servers.clone(),
            limits: config.limits,
            resume_grace: config.resume_grace,
            metrics_token: config.metrics_token.clone(),
            exempt: config.exempt.clone(),
            version: env!("CARGO_PKG_VERSION"),
        };
        let crypto = Crypto::generate();
        let ntp = ntp(SystemTime::now());
        let mut workers = Vec::new();
        for (i, (mailbox, udp)) in boxes.into_iter().zip(self.udp).enumerate() {
            let setup = WorkerSetup {
                config: WorkerConfig {
                    id: WorkerId(i as u16),
                    workers: to_workers.len(),
                    candidates: self.candidates.clone(),
                    crypto: crypto.clone(),
                    ntp,
                    rooms: config.rooms,
                    limits: config.limits,
                },
                rng: self.rng.fork(),
                udp,
                poll: mailbox.poll,
                inbox: mailbox.receiver,
                workers: to_workers.clone(),
                gate: gate_box.sender.clone(),
                phase: switch.watch(),
            };
            let name = format!("worker-{i}");
            workers.push(Thread::spawn(name, &ended, || worker_loop::run(setup))?);
        }
        let setup = GateSetup {
            poll: gate_box.poll,
            listener: self.listener,
            tls: self.tls,
            config: gate_config,
            rng: self.rng.fork(),
            letters: gate_box.receiver,
            workers: to_workers,
            phase: switch.watch(),
        };
        let gate = Thread::spawn("gate".to_owned(), &ended, || gate_loop::run(setup))?;
        Ok(Threads { switch, poll, gate, workers })
    }
}

/// A mailbox with the poll that its receiver sleeps in.
struct Mailbox<T> {
    poll: Poll,
    waker: Arc<Waker>,
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl<T: mailbox::Letter> Mailbox<T> {
    fn new() -> io::Result<Mailbox<T>> {
        let (poll, waker) = poll_and_waker()?;
        let (sender, receiver) = mailbox(waker.clone());
        Ok(Mailbox { poll, waker, sender, receiver })
    }
}

fn poll_and_waker() -> io::Result<(Poll, Arc<Waker>)> {
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
    Ok((poll, waker))
}

/// A thread that says when it ends, however it does.
struct Thread {
    handle: Option<JoinHandle<()>>,
    ended: Arc<AtomicBool>,
}

impl Thread {
    fn spawn(
        name: String,
        waker: &Arc<Waker>,
        run: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<Thread> {
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Ending { ended: ended.clone(), waker: waker.clone() };
        let handle = thread::Builder::new().name(name).spawn(move || {
            let _ending = ending;
            if let Err(error) = run() {
                let name = thread::current().name().unwrap_or_default().to_owned();
                log::error!("{name} cannot go on: {error}");
            }
        })?;
        Ok(Thread { handle: Some(handle), ended })
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    fn join(&mut self) {
        // A panic was written to standard error where it happened.
        if let Some(handle) = self.handle.take()
            && handle.join().is_err()
        {
            log::error!("a thread panicked");
        }
    }
}

/// The handle's own `is_finished` becomes true only after the last line of the thread, so after
/// any wake-up that the thread could give.
struct Ending {
    ended: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the main thread: {error}");
        }
    }
}

/// Seconds since 1900 and their fraction (RFC 3550 §4); 70 years of which 17 were leap years lie
/// before 1970.
fn ntp(now: SystemTime) -> u64 {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() + (70 * 365 + 17) * 86_400;
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

fn seed() -> Result<[u8; 32], StartError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| StartError(format!("no random numbers: {e}")))?;
    Ok(seed)
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |e| StartError(format!("{what}: {e}"))
}

#[cfg(test)]
mod tests;
