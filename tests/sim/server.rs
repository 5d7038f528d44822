//! The server as its threads see it: the gate, the workers, and the real mailboxes between them.
//! A thread's turn is that of `shell::worker_loop` and `shell::gate_loop`, on virtual time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use trackyard::base::counters::DropReason;
use trackyard::base::ids::WorkerId;
use trackyard::base::limits::{
    DATAGRAM_BYTES_MAX, MAILBOX_LETTERS_MAX, MAILBOX_PACKETS_MAX, WORKERS_MAX,
};
use trackyard::base::rng::Rng;
use trackyard::gate::{Gate, GateConfig, GateInput, GateOutput};
use trackyard::room::mail::{RoomSettings, ToGate, ToWorker};
use trackyard::shell::mailbox::{self, Lane, Letter, Outbox, Receiver};
use trackyard::wire::signal::PublishLimits;
use trackyard::worker::{Crypto, Datagram, Outgoing, Worker, WorkerConfig};

use super::system::of_server;

/// What the kernel keeps of datagrams for a thread that does not read.
const SOCKET_DATAGRAMS_MAX: usize = 4_096;
/// As in the shell: how soon letters that found a full mailbox are tried again.
const RETRY: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thread {
    Gate,
    Worker(usize),
}

/// Letters that went into mailboxes and came out of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Post {
    pub sent: u64,
    pub received: u64,
    pub dropped: u64,
}

/// A worker's thread.
pub struct WorkerThread {
    pub worker: Worker,
    inbox: Receiver<ToWorker>,
    workers: Vec<Outbox<ToWorker>>,
    gate: Outbox<ToGate>,
    pub socket: VecDeque<(SocketAddr, IpAddr, Vec<u8>)>,
    pub socket_dropped: u64,
}

pub struct Server {
    pub gate: Gate,
    gate_inbox: Receiver<ToGate>,
    to_workers: Vec<Outbox<ToWorker>>,
    pub threads: Vec<WorkerThread>,
    pub address: SocketAddr,
    pub post: Post,
    /// The wakers' polls; nobody sleeps in them.
    _polls: Vec<mio::Poll>,
}

/// What a turn gave besides letters.
#[derive(Default)]
pub struct Turn {
    pub transmits: Vec<Datagram>,
    pub outputs: Vec<GateOutput>,
    /// Threads that got letters.
    pub wake: Vec<Thread>,
    /// When the thread wants its next turn.
    pub next: Option<Instant>,
}

fn size<T: Letter>(letter: &T) -> u64 {
    match letter.lane() {
        Lane::Control => 1,
        Lane::Media(n) => n.max(1) as u64,
        Lane::Spent => 0,
    }
}

impl Server {
    pub fn new(
        workers: usize,
        address: SocketAddr,
        grace: Duration,
        now: Instant,
        rng: &mut Rng,
    ) -> Server {
        assert!(workers <= WORKERS_MAX);
        let crypto = Crypto::with(super::crypto::provider());
        let mut polls = Vec::new();
        let mut waker = || {
            let poll = mio::Poll::new().expect("a poll");
            let waker = mio::Waker::new(poll.registry(), mailbox::WAKER).expect("a waker");
            polls.push(poll);
            Arc::new(waker)
        };
        let (gate_post, gate_inbox) = mailbox::mailbox(waker());
        let boxes: Vec<_> = (0..workers).map(|_| mailbox::mailbox(waker())).collect();
        let posts: Vec<_> = boxes.iter().map(|(sender, _)| sender.clone()).collect();
        let outboxes = || posts.iter().cloned().map(Outbox::new).collect::<Vec<_>>();
        let threads = boxes.into_iter().enumerate().map(|(id, (_, inbox))| {
            let config = WorkerConfig {
                id: WorkerId(id as u16),
                workers,
                candidates: vec![address],
                crypto: crypto.clone(),
                ntp: 3_900_000_000 << 32,
                rooms: RoomSettings::default(),
                limits: PublishLimits::default(),
            };
            WorkerThread {
                worker: Worker::new(config, rng.fork(), now),
                inbox,
                workers: outboxes(),
                gate: Outbox::new(gate_post.clone()),
                socket: VecDeque::new(),
                socket_dropped: 0,
            }
        });
        let config = GateConfig {
            limits: PublishLimits::default(),
            workers,
            ice_servers: Vec::new(),
            resume_grace: grace,
            metrics_token: None,
            exempt: Vec::new(),
            version: "simulated",
        };
        Server {
            threads: threads.collect(),
            gate: Gate::new(config, rng.fork()),
            gate_inbox,
            to_workers: outboxes(),
            address,
            post: Post::default(),
            _polls: polls,
        }
    }

    /// A datagram reaches the socket that the kernel chose for its source.
    pub fn arrive(&mut self, at: usize, remote: SocketAddr, bytes: Vec<u8>) {
        let local = self.address.ip();
        let thread = &mut self.threads[at];
        if thread.socket.len() >= SOCKET_DATAGRAMS_MAX {
            thread.socket_dropped += 1;
        } else {
            thread.socket.push_back((remote, local, bytes));
        }
    }

    /// One turn of a worker's thread.
    pub fn worker_turn(&mut self, at: usize, now: Instant) -> Turn {
        of_server(|| self.worker_works(at, now))
    }

    fn worker_works(&mut self, at: usize, now: Instant) -> Turn {
        let mut turn = Turn::default();
        let thread = &mut self.threads[at];
        let mut letters = Vec::new();
        thread.inbox.drain(&mut letters);
        check_inbox(&letters);
        for letter in letters {
            self.post.received += size(&letter);
            thread.worker.handle_letter(now, letter);
        }
        for (remote, local, mut bytes) in thread.socket.drain(..) {
            if bytes.len() > DATAGRAM_BYTES_MAX {
                thread.worker.counters_mut().drop(DropReason::Oversize, 1);
            } else {
                thread.worker.handle_datagram(now, remote, local, &mut bytes);
            }
        }
        if thread.worker.poll_timeout().is_some_and(|due| due <= now) {
            thread.worker.handle_timeout(now);
        }
        turn.transmits = thread.worker.flush_all(now);
        for outbox in &mut thread.workers {
            outbox.retry();
        }
        thread.gate.retry();
        let mut dropped = 0;
        for letter in thread.worker.take_letters() {
            match letter {
                Outgoing::Worker(to, letter) => {
                    assert_ne!(to.index(), at, "letters to oneself stay inside");
                    self.post.sent += size(&letter);
                    let wakes = letter.lane() != Lane::Spent;
                    turn.wake.extend(wakes.then_some(Thread::Worker(to.index())));
                    dropped += thread.workers[to.index()].post(letter) as u64;
                }
                Outgoing::Gate(letter) => {
                    self.post.sent += size(&letter);
                    dropped += thread.gate.post(letter) as u64;
                    turn.wake.push(Thread::Gate);
                }
            }
        }
        self.post.dropped += dropped;
        if dropped > 0 {
            thread.worker.counters_mut().drop(DropReason::MailboxFull, dropped);
        }
        let waiting = thread.gate.is_waiting() || thread.workers.iter().any(Outbox::is_waiting);
        let retry = waiting.then_some(now + RETRY);
        turn.next = [thread.worker.poll_timeout(), retry].into_iter().flatten().min();
        turn
    }

    /// Hands the gate its letters, what is due, and `inputs`.
    pub fn gate_turn(&mut self, now: Instant, inputs: Vec<GateInput>) -> Turn {
        of_server(|| self.gate_works(now, inputs))
    }

    fn gate_works(&mut self, now: Instant, inputs: Vec<GateInput>) -> Turn {
        let mut turn = Turn::default();
        let mut letters = Vec::new();
        self.gate_inbox.drain(&mut letters);
        assert!(letters.len() <= MAILBOX_LETTERS_MAX);
        for letter in letters {
            self.post.received += 1;
            self.gate.handle(now, GateInput::Letter(letter));
        }
        if self.gate.poll_timeout().is_some_and(|due| due <= now) {
            self.gate.handle(now, GateInput::Timeout);
        }
        for input in inputs {
            let input = match input {
                // What the server reads is its own.
                GateInput::Text { conn, text } => {
                    GateInput::Text { conn, text: text.as_str().into() }
                }
                input => input,
            };
            self.gate.handle(now, input);
        }
        for outbox in &mut self.to_workers {
            outbox.retry();
        }
        while let Some(output) = self.gate.poll_output() {
            match output {
                GateOutput::Letter(to, letter) => {
                    self.post.sent += size(&letter);
                    self.post.dropped += self.to_workers[to.index()].post(letter) as u64;
                    turn.wake.push(Thread::Worker(to.index()));
                }
                output => turn.outputs.push(output),
            }
        }
        let waiting = self.to_workers.iter().any(Outbox::is_waiting);
        let retry = waiting.then_some(now + RETRY);
        turn.next = [self.gate.poll_timeout(), retry].into_iter().flatten().min();
        turn
    }
}

/// What came out of a mailbox was within its bounds.
fn check_inbox(letters: &[ToWorker]) {
    let control = letters.iter().filter(|l| l.lane() == Lane::Control).count();
    assert!(control <= MAILBOX_LETTERS_MAX, "{control} letters in one mailbox");
    let packets: u64 = letters.iter().filter(|l| l.lane() != Lane::Control).map(size).sum();
    assert!(packets <= MAILBOX_PACKETS_MAX as u64, "{packets} packets in one mailbox");
}
