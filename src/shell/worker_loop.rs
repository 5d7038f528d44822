//! One thread a worker: carries datagrams, letters and the time into the worker's core, and what
//! comes out to the socket and the mailboxes. Nothing in a turn blocks but the poll that ends it.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::mailbox::{Outbox, Receiver, Sender};
use super::phase::{Phase, PhaseWatch};
use super::udp::UdpBatch;
use crate::base::counters::{DropReason, Stage};
use crate::base::limits::DATAGRAM_BYTES_MAX;
use crate::base::rng::Rng;
use crate::room::mail::{ToGate, ToWorker};
use crate::worker::{Outgoing, Worker, WorkerConfig};

const UDP: Token = Token(1);

/// Datagrams after which a turn goes on to what they caused. A larger value makes better batches
/// under load and lets timers wait longer behind them. The batch that reaches it is finished.
const DATAGRAMS_PER_TURN: usize = 256;
/// How long an idle worker lets checks gather. A thread that sleeps is dear to wake, and a thousand
/// idle clients send 400 checks a second. A client notices it in the round trip of its checks, which
/// may take half a second (RFC 8489 §6.2.1), and a datagram that ends the lull waits so long, once.
const IDLE_TURN: Duration = Duration::from_millis(50);
/// How soon letters that found a full mailbox are tried again: nobody wakes their sender.
const RETRY: Duration = Duration::from_millis(5);

/// What the thread of one worker is given.
pub struct WorkerSetup {
    pub config: WorkerConfig,
    pub rng: Rng,
    pub udp: UdpBatch,
    /// Has the waker of `inbox` registered.
    pub poll: Poll,
    pub inbox: Receiver<ToWorker>,
    /// By worker index, with itself.
    pub workers: Vec<Sender<ToWorker>>,
    pub gate: Sender<ToGate>,
    pub phase: PhaseWatch,
}

/// Runs the worker until [`Phase::End`]. Error: the poll or the socket is of no use any more.
pub fn run(setup: WorkerSetup) -> io::Result<()> {
    let fd = setup.udp.as_raw_fd();
    let registry = setup.poll.registry();
    registry.register(&mut SourceFd(&fd), UDP, Interest::READABLE)?;
    let mut turn = Turn {
        worker: Worker::new(setup.config, setup.rng, Instant::now()),
        udp: setup.udp,
        inbox: setup.inbox,
        workers: setup.workers.into_iter().map(Outbox::new).collect(),
        gate: Outbox::new(setup.gate),
        letters: Vec::new(),
        more: false,
        arrived_after: Instant::now(),
        waiting: false,
        rhythm: Rhythm::default(),
    };
    let mut poll = setup.poll;
    let mut events = Events::with_capacity(8);
    while setup.phase.get() != Phase::End {
        let before = Instant::now();
        let rest = turn.rest(before);
        let timeout = rest.or_else(|| turn.timeout(before));
        let polled = match rest {
            Some(_) => poll_letters(&mut poll, &mut events, fd, timeout),
            None => poll.poll(&mut events, timeout),
        };
        match polled {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            result => result?,
        }
        let now = Instant::now();
        // What is found now came while the poll slept, or since the socket was looked into last.
        if rest.is_some() {
            (turn.arrived_after, turn.more) = (before, true);
        } else if timeout != Some(Duration::ZERO) {
            turn.arrived_after = now;
        }
        // Edge-triggered: what is readable stays so, unsaid, until it is drained.
        turn.more |= events.iter().any(|event| event.token() == UDP);
        turn.run(now)?;
    }
    Ok(())
}

/// Waits for letters alone: what comes to the socket meanwhile wakes nobody.
fn poll_letters(
    poll: &mut Poll,
    events: &mut Events,
    fd: RawFd,
    timeout: Option<Duration>,
) -> io::Result<()> {
    let socket = &mut SourceFd(&fd);
    poll.registry().deregister(socket)?;
    let polled = poll.poll(events, timeout);
    poll.registry().register(socket, UDP, Interest::READABLE)?;
    polled
}

/// Tells what the stages of a turn took.
struct Stopwatch {
    began: Instant,
    last: Instant,
}

impl Stopwatch {
    /// A stage ends now.
    fn lap(&mut self, worker: &mut Worker, stage: Stage) -> Instant {
        let now = Instant::now();
        worker.counters_mut().stage(stage, now.saturating_duration_since(self.last));
        self.last = now;
        now
    }
}

struct Turn {
    worker: Worker,
    udp: UdpBatch,
    inbox: Receiver<ToWorker>,
    workers: Vec<Outbox<ToWorker>>,
    gate: Outbox<ToGate>,
    letters: Vec<ToWorker>,
    /// The socket may hold more.
    more: bool,
    /// Before this, nothing was in the socket that is still to be received.
    arrived_after: Instant,
    /// Some mailbox was full.
    waiting: bool,
    rhythm: Rhythm,
}

/// Whether datagrams come so fast that those which can wait had better be waited for.
#[derive(Default)]
struct Rhythm {
    /// When a turn found any last.
    last: Option<Instant>,
    is_fast: bool,
}

impl Rhythm {
    fn beat(&mut self, now: Instant, datagrams: usize) {
        let last = self.last;
        if datagrams > 0 {
            self.last = Some(now);
        }
        let fast = |last| now.saturating_duration_since(last) < 2 * IDLE_TURN;
        self.is_fast = datagrams > 0 && last.is_some_and(fast);
    }
}

impl Turn {
    /// How long the poll may sleep; it counts in whole milliseconds and rounds up.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.more {
            return Some(Duration::ZERO);
        }
        let due = self.worker.poll_timeout();
        let due = due.map(|at| at.saturating_duration_since(now));
        match self.waiting {
            true => Some(due.map_or(RETRY, |due| due.min(RETRY))),
            false => due,
        }
    }

    /// How long to leave the socket alone, if the worker is idle.
    fn rest(&self, now: Instant) -> Option<Duration> {
        let rests = self.rhythm.is_fast && !self.more && !self.waiting && self.worker.is_idle(now);
        let due = self.worker.poll_timeout().filter(|_| rests)?;
        Some(due.saturating_duration_since(now).min(IDLE_TURN))
    }

    fn run(&mut self, now: Instant) -> io::Result<()> {
        let mut watch = Stopwatch { began: now, last: now };
        let arrived_after = self.arrived_after;
        if self.more {
            self.more = self.receive(now, &mut watch)?;
        } else {
            self.read_letters(now);
            self.rhythm.beat(now, 0);
        }
        if self.worker.poll_timeout().is_some_and(|at| at <= now) {
            self.worker.handle_timeout(now);
        }
        watch.lap(&mut self.worker, Stage::Open);
        self.worker.route(now);
        watch.lap(&mut self.worker, Stage::Route);
        let mut left = 0;
        loop {
            let more = self.worker.flush(now);
            // Letters first: what a datagram makes its receiver do must meet workers that know.
            self.deliver();
            watch.lap(&mut self.worker, Stage::Seal);
            let count = self.send();
            let sent = watch.lap(&mut self.worker, Stage::Send);
            if !self.worker.is_idle(now) {
                let residence = sent.saturating_duration_since(arrived_after);
                self.worker.counters_mut().residence.observe(residence, count as u64);
            }
            left += count;
            if !more {
                break;
            }
        }
        let counters = self.worker.counters_mut();
        counters.batches_out.observe(left);
        counters.turns.observe(watch.last.saturating_duration_since(watch.began), 1);
        Ok(())
    }

    /// Whether the socket may hold more.
    fn receive(&mut self, now: Instant, watch: &mut Stopwatch) -> io::Result<bool> {
        let mut datagrams = 0;
        let mut more = true;
        while more && datagrams < DATAGRAMS_PER_TURN {
            let before = watch.last;
            more = self.udp.receive()?;
            watch.lap(&mut self.worker, Stage::Receive);
            self.arrived_after = before;
            // After receiving and before looking: a worker says where a 4-tuple belongs, then
            // answers on it, and the next datagram on it may be here already. So the letter is.
            self.read_letters(now);
            if !more {
                break;
            }
            let worker = &mut self.worker;
            datagrams += self.udp.deliver(|remote, local, bytes| {
                if bytes.len() > DATAGRAM_BYTES_MAX {
                    worker.counters_mut().drop(DropReason::Oversize, 1);
                } else {
                    worker.handle_datagram(now, remote, local, bytes);
                }
            });
            watch.lap(&mut self.worker, Stage::Open);
            more = !self.udp.is_drained();
        }
        self.worker.counters_mut().batches_in.observe(datagrams);
        self.rhythm.beat(now, datagrams);
        Ok(more)
    }

    fn read_letters(&mut self, now: Instant) {
        self.inbox.drain(&mut self.letters);
        for letter in self.letters.drain(..) {
            self.worker.handle_letter(now, letter);
        }
    }

    /// How many datagrams were given to the socket.
    fn send(&mut self) -> usize {
        // Taken out for the call, since the counters live in the worker too.
        let mut transmits = std::mem::take(self.worker.transmits());
        self.udp.send(&transmits, self.worker.counters_mut());
        let count = transmits.list().len();
        transmits.clear();
        *self.worker.transmits() = transmits;
        count
    }

    fn deliver(&mut self) {
        for outbox in &mut self.workers {
            outbox.retry();
        }
        self.gate.retry();
        let mut dropped = 0;
        for letter in self.worker.take_letters() {
            dropped += match letter {
                Outgoing::Worker(to, letter) => self.workers[to.index()].post(letter),
                Outgoing::Gate(letter) => self.gate.post(letter),
            };
        }
        if dropped > 0 {
            let counters = self.worker.counters_mut();
            counters.drop(DropReason::MailboxFull, dropped as u64);
        }
        self.waiting = self.gate.is_waiting() || self.workers.iter().any(Outbox::is_waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rhythm_is_fast_while_each_turn_finds_something_soon_after_another() {
        let start = Instant::now();
        let mut rhythm = Rhythm::default();
        let mut beat = |turns: f64, datagrams| {
            rhythm.beat(start + IDLE_TURN.mul_f64(turns), datagrams);
            rhythm.is_fast
        };
        assert!(!beat(0.0, 1));
        assert!(beat(0.1, 1));
        assert!(beat(1.2, 3));
        assert!(!beat(2.3, 0), "nothing gathered");
        assert!(beat(2.4, 1));
        assert!(!beat(4.5, 1), "long after the last");
    }
}
