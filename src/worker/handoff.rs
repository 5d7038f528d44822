//! What goes to other workers at the end of a turn: datagrams that are theirs, packets that they
//! have subscribers for, and the buffers of what came from them, so that nothing is allocated for
//! either once there are enough.

use std::time::Instant;

use super::mux::FourTuple;
use crate::base::ids::WorkerId;
use crate::media::batch::PacketBatch;
use crate::room::mail::{HandedDatagram, Outgoing, ToWorker};

/// Of one worker, to all.
#[derive(Debug)]
pub struct Handoff {
    id: WorkerId,
    /// By worker.
    outs: Vec<Out>,
    spare: Spare,
    /// Something was posted since [`Handoff::rest`].
    used: bool,
}

#[derive(Debug, Default)]
struct Out {
    datagrams: Vec<HandedDatagram>,
    packets: PacketBatch,
    spent: Vec<HandedDatagram>,
}

impl Out {
    fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.packets.is_empty() && self.spent.is_empty()
    }
}

/// Buffers to be filled again.
#[derive(Debug, Default)]
struct Spare {
    datagrams: Vec<HandedDatagram>,
    lists: Vec<Vec<HandedDatagram>>,
    batches: Vec<PacketBatch>,
}

/// Datagrams whose buffers are kept: what a turn of the loop takes in.
const SPARE_DATAGRAMS_MAX: usize = 256;
/// Lists and batches that are kept, for each other worker: one on its way, one on its way back.
const SPARE_LISTS_MAX: usize = 2;

impl Handoff {
    /// From `id`, one of so many.
    pub fn new(id: WorkerId, workers: usize) -> Handoff {
        let outs = (0..workers).map(|_| Out::default()).collect();
        Handoff { id, outs, spare: Spare::default(), used: false }
    }

    /// A datagram that came `via` the worker and is of a peer of `to`.
    pub fn datagram(&mut self, to: WorkerId, received: Instant, tuple: FourTuple, bytes: &[u8]) {
        let Some(out) = self.outs.get_mut(to.index()) else { return };
        let spare = self.spare.datagrams.pop();
        let mut buffer = spare.map(|datagram| datagram.bytes).unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        let FourTuple { remote, local } = tuple;
        out.datagrams.push(HandedDatagram { received, remote, local, via: self.id, bytes: buffer });
    }

    /// What packets for `to` are appended to.
    pub fn packets(&mut self, to: WorkerId) -> Option<&mut PacketBatch> {
        self.outs.get_mut(to.index()).map(|out| &mut out.packets)
    }

    /// A datagram that another worker handed over was dealt with.
    pub fn spend(&mut self, datagram: HandedDatagram) {
        if let Some(out) = self.outs.get_mut(datagram.via.index()) {
            out.spent.push(datagram);
        }
    }

    /// A list that was emptied.
    pub fn keep_list(&mut self, list: Vec<HandedDatagram>) {
        debug_assert!(list.is_empty());
        if self.spare.lists.len() < SPARE_LISTS_MAX * self.outs.len() {
            self.spare.lists.push(list);
        }
    }

    /// Buffers that came back.
    pub fn keep_datagrams(&mut self, mut list: Vec<HandedDatagram>) {
        let room = SPARE_DATAGRAMS_MAX.saturating_sub(self.spare.datagrams.len());
        list.truncate(room);
        self.spare.datagrams.append(&mut list);
        self.keep_list(list);
    }

    /// A batch that came back.
    pub fn keep_batch(&mut self, mut batch: PacketBatch) {
        batch.clear();
        if self.spare.batches.len() < SPARE_LISTS_MAX * self.outs.len() {
            self.spare.batches.push(batch);
        }
    }

    /// One letter for each kind and worker.
    pub fn post(&mut self, letters: &mut Vec<Outgoing>) {
        let Handoff { id, outs, spare, used } = self;
        for (index, out) in outs.iter_mut().enumerate() {
            let mut post = |letter| {
                *used = true;
                letters.push(Outgoing::Worker(WorkerId(index as u16), letter));
            };
            if !out.datagrams.is_empty() {
                let next = spare.lists.pop().unwrap_or_default();
                post(ToWorker::Datagrams(std::mem::replace(&mut out.datagrams, next)));
            }
            if !out.packets.is_empty() {
                let next = spare.batches.pop().unwrap_or_default();
                let packets = std::mem::replace(&mut out.packets, next);
                post(ToWorker::Relay { from: *id, packets });
            }
            if !out.spent.is_empty() {
                let next = spare.lists.pop().unwrap_or_default();
                post(ToWorker::SpentDatagrams(std::mem::replace(&mut out.spent, next)));
            }
        }
    }

    /// To be called now and then: if nothing was posted since the last time, buffers are let go.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.used) {
            return;
        }
        self.spare = Spare::default();
        self.outs.iter_mut().filter(|out| out.is_empty()).for_each(|out| *out = Out::default());
    }

    /// Datagrams that wait for the end of the turn, and packets.
    pub fn waiting(&self) -> (usize, usize) {
        let datagrams = self.outs.iter().map(|out| out.datagrams.len());
        (datagrams.sum(), self.outs.iter().map(|out| out.packets.len()).sum())
    }
}
