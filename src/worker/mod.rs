//! Floor 4: stand-in for the worker core, with the same door.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::base::counters::Counters;
use crate::base::ids::WorkerId;
use crate::base::rng::Rng;
use crate::room::mail::{ToGate, ToWorker};

pub struct Transmit {
    pub local: IpAddr,
    pub remote: SocketAddr,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Certificate;

impl Certificate {
    pub fn generate() -> Certificate {
        Certificate
    }
}

pub struct WorkerConfig {
    pub id: WorkerId,
    pub workers: usize,
    pub candidates: Vec<SocketAddr>,
    pub certificate: Certificate,
}

pub enum Outgoing {
    Worker(WorkerId, ToWorker),
    Gate(ToGate),
}

pub struct Worker {
    config: WorkerConfig,
    transmits: Vec<Transmit>,
    letters: Vec<Outgoing>,
    counters: Counters,
}

impl Worker {
    pub fn new(config: WorkerConfig, _rng: Rng, _now: Instant) -> Worker {
        Worker {
            config,
            transmits: Vec::new(),
            letters: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// Echoes, so that the loop around it can be tested.
    pub fn handle_datagram(
        &mut self,
        _now: Instant,
        remote: SocketAddr,
        local: IpAddr,
        bytes: &[u8],
    ) {
        self.counters.datagrams_in += 1;
        self.transmits.push(Transmit {
            local,
            remote,
            bytes: bytes.to_vec(),
        });
    }

    pub fn handle_letter(&mut self, _now: Instant, letter: ToWorker) {
        if let ToWorker::Drain = letter {
            let worker = self.config.id;
            self.letters
                .push(Outgoing::Gate(ToGate::Drained { worker }));
        }
    }

    pub fn handle_timeout(&mut self, _now: Instant) {}

    pub fn flush(&mut self, _now: Instant) {}

    pub fn transmits(&mut self) -> &mut Vec<Transmit> {
        &mut self.transmits
    }

    pub fn take_letters(&mut self) -> Vec<Outgoing> {
        std::mem::take(&mut self.letters)
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }
}
