//! Bounded mailboxes between threads. They carry values, one letter a send, and wake the other
//! side once when there was nothing to wake it for, so a turn's letters cost one wake-up.
//!
//! The lanes share one queue, so letters of one sender never overtake each other, and each lane
//! has its own bound: a flood of media never keeps a control letter out. Spent buffers go along.
//! What is full says so: [`Sender::send`] gives the letter back. [`Outbox`] is what a sender does
//! then: media is dropped and counted, control waits in order and is tried again next turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mio::{Token, Waker};

use crate::base::limits::{MAILBOX_LETTERS_MAX, MAILBOX_PACKETS_MAX};
use crate::room::mail::{ToGate, ToWorker};

/// The token under which every thread's poll registers its [`Waker`].
pub const WAKER: Token = Token(0);

/// Which bound of the mailbox a letter counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Never dropped while its sender can keep it.
    Control,
    /// So many packets or datagrams; dropped when the lane is full.
    Media(usize),
    /// Buffers that went the other way: worth no wake-up, and dropped when there is much else.
    Spent,
}

/// What may travel in a mailbox.
pub trait Letter {
    /// Where the letter counts.
    fn lane(&self) -> Lane;
}

impl Letter for ToWorker {
    fn lane(&self) -> Lane {
        match self {
            ToWorker::Datagrams(datagrams) => Lane::Media(datagrams.len()),
            ToWorker::Relay { packets, .. } => Lane::Media(packets.len()),
            ToWorker::SpentDatagrams(_) | ToWorker::SpentPackets(_) => Lane::Spent,
            _ => Lane::Control,
        }
    }
}

impl Letter for ToGate {
    fn lane(&self) -> Lane {
        Lane::Control
    }
}

/// A mailbox whose receiver sleeps in the poll that `waker` belongs to.
pub fn mailbox<T: Letter>(waker: Arc<Waker>) -> (Sender<T>, Receiver<T>) {
    let queue =
        Arc::new(Mutex::new(Queue { letters: Vec::new(), control: 0, packets: 0, closed: false }));
    let sender = Sender { queue: queue.clone(), waker };
    (sender, Receiver { queue })
}

#[derive(Debug)]
struct Queue<T> {
    letters: Vec<T>,
    /// Letters in `letters` of the control lane.
    control: usize,
    /// Packets inside the media letters in `letters`; a letter without any counts as one.
    packets: usize,
    /// The receiver is gone.
    closed: bool,
}

/// The sending end; any number of them, on any thread.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Arc<Mutex<Queue<T>>>,
    waker: Arc<Waker>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { queue: self.queue.clone(), waker: self.waker.clone() }
    }
}

impl<T: Letter> Sender<T> {
    /// Puts a letter into the box. Error: the letter itself, when its lane is full.
    /// A letter to a receiver that is gone is thrown away: nobody is left to miss it.
    pub fn send(&self, letter: T) -> Result<(), T> {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return Ok(());
        }
        // What is spent waits for the next letter that is not.
        let wakes = letter.lane() != Lane::Spent && queue.control + queue.packets == 0;
        match letter.lane() {
            Lane::Spent if queue.letters.len() >= MAILBOX_LETTERS_MAX => return Err(letter),
            Lane::Spent => {}
            Lane::Control if queue.control >= MAILBOX_LETTERS_MAX => return Err(letter),
            Lane::Control => queue.control += 1,
            Lane::Media(n) => {
                let packets = queue.packets + n.max(1);
                if packets > MAILBOX_PACKETS_MAX {
                    return Err(letter);
                }
                queue.packets = packets;
            }
        }
        queue.letters.push(letter);
        drop(queue);
        if wakes {
            self.wake();
        }
        Ok(())
    }

    /// Makes the receiver's poll return, whether or not there is a letter.
    pub fn wake(&self) {
        // An eventfd write fails only when the counter is full, and then the poll is awake anyway.
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake a thread: {error}");
        }
    }
}

/// The receiving end.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Arc<Mutex<Queue<T>>>,
}

impl<T> Receiver<T> {
    /// Moves every waiting letter to the end of `letters`, in the order they came. The box is
    /// empty then, so the next letter wakes again: call it after each wake-up, before sleeping.
    pub fn drain(&self, letters: &mut Vec<T>) {
        let mut queue = lock(&self.queue);
        if letters.is_empty() {
            std::mem::swap(&mut queue.letters, letters);
        } else {
            letters.append(&mut queue.letters);
        }
        queue.control = 0;
        queue.packets = 0;
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        let letters = std::mem::take(&mut queue.letters);
        drop(queue);
        drop(letters);
    }
}

/// No code of ours runs under the lock, so a poisoned one still holds a whole queue.
fn lock<T>(queue: &Mutex<Queue<T>>) -> MutexGuard<'_, Queue<T>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One thread's way to one mailbox: keeps control letters that did not fit.
///
/// Waiting control is bounded by [`MAILBOX_LETTERS_MAX`] too. Beyond that the other thread has
/// not moved for two mailboxes' worth of letters; the letter is dropped, counted and logged.
#[derive(Debug)]
pub struct Outbox<T> {
    to: Sender<T>,
    waiting: VecDeque<T>,
    /// Said in the log that letters are being dropped, once until all that waits has gone.
    complained: bool,
}

impl<T: Letter> Outbox<T> {
    /// A way to `to` with nothing waiting.
    pub fn new(to: Sender<T>) -> Outbox<T> {
        Outbox { to, waiting: VecDeque::new(), complained: false }
    }

    /// Sends a letter, or keeps it when it is control and does not fit. Returns how many packets
    /// (a control letter is one) were dropped, to be counted as `MailboxFull`.
    pub fn post(&mut self, letter: T) -> usize {
        match letter.lane() {
            Lane::Media(n) => match self.to.send(letter) {
                Ok(()) => 0,
                Err(_) => n.max(1),
            },
            Lane::Spent => {
                let _ = self.to.send(letter);
                0
            }
            Lane::Control => {
                // What waits goes first: letters of one sender arrive in order.
                let refused =
                    if self.waiting.is_empty() { self.to.send(letter).err() } else { Some(letter) };
                refused.map_or(0, |letter| self.keep(letter))
            }
        }
    }

    /// Tries the waiting letters again, in order, until one does not fit. Returns whether some
    /// still wait: then the thread must come back soon by itself, since nobody wakes it when the
    /// box has room.
    pub fn retry(&mut self) -> bool {
        while let Some(letter) = self.waiting.pop_front() {
            if let Err(letter) = self.to.send(letter) {
                self.waiting.push_front(letter);
                return true;
            }
        }
        self.complained = false;
        false
    }

    /// Whether letters wait, as [`Outbox::retry`] says it.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn keep(&mut self, letter: T) -> usize {
        if self.waiting.len() >= MAILBOX_LETTERS_MAX {
            if !self.complained {
                log::error!("a thread does not take its letters; they are dropped from now on");
                self.complained = true;
            }
            return 1;
        }
        self.waiting.push_back(letter);
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::time::Duration;

    #[derive(Debug, PartialEq, Eq)]
    enum Test {
        Control(usize),
        Media(usize),
        Spent,
    }

    impl Letter for Test {
        fn lane(&self) -> Lane {
            match self {
                Test::Control(_) => Lane::Control,
                Test::Media(n) => Lane::Media(*n),
                Test::Spent => Lane::Spent,
            }
        }
    }

    fn fixture() -> (Poll, Sender<Test>, Receiver<Test>) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).unwrap());
        let (sender, receiver) = mailbox(waker);
        (poll, sender, receiver)
    }

    fn woken(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn wakes_once_until_drained_and_keeps_order() {
        let (mut poll, sender, receiver) = fixture();
        sender.send(Test::Control(1)).unwrap();
        assert!(woken(&mut poll));
        sender.send(Test::Media(2)).unwrap();
        sender.send(Test::Control(3)).unwrap();
        assert!(!woken(&mut poll), "the box was not empty");
        let mut letters = Vec::new();
        receiver.drain(&mut letters);
        assert_eq!(letters, [Test::Control(1), Test::Media(2), Test::Control(3)]);
        sender.clone().send(Test::Control(4)).unwrap();
        assert!(woken(&mut poll));
        receiver.drain(&mut letters);
        assert_eq!(letters.len(), 4);
    }

    #[test]
    fn what_is_spent_waits_for_what_is_worth_a_wake_up() {
        let (mut poll, sender, receiver) = fixture();
        sender.send(Test::Spent).unwrap();
        assert!(!woken(&mut poll));
        sender.send(Test::Media(0)).unwrap();
        assert!(woken(&mut poll));
        let mut letters = Vec::new();
        receiver.drain(&mut letters);
        assert_eq!(letters, [Test::Spent, Test::Media(0)]);
        let mut outbox = Outbox::new(sender);
        for _ in 0..MAILBOX_LETTERS_MAX + 5 {
            assert_eq!(outbox.post(Test::Spent), 0);
        }
        assert!(!outbox.is_waiting());
        letters.clear();
        receiver.drain(&mut letters);
        assert_eq!(letters.len(), MAILBOX_LETTERS_MAX);
    }

    #[test]
    fn a_flood_of_media_leaves_room_for_control() {
        let (_poll, sender, receiver) = fixture();
        sender.send(Test::Media(MAILBOX_PACKETS_MAX - 1)).unwrap();
        assert_eq!(sender.send(Test::Media(2)), Err(Test::Media(2)));
        sender.send(Test::Media(0)).unwrap();
        assert_eq!(sender.send(Test::Media(0)), Err(Test::Media(0)));
        sender.send(Test::Control(0)).unwrap();
        receiver.drain(&mut Vec::new());
        sender.send(Test::Media(MAILBOX_PACKETS_MAX)).unwrap();
    }

    #[test]
    fn an_outbox_keeps_control_in_order_and_counts_what_it_drops() {
        let (_poll, sender, receiver) = fixture();
        let mut outbox = Outbox::new(sender);
        for i in 0..MAILBOX_LETTERS_MAX + 2 {
            assert_eq!(outbox.post(Test::Control(i)), 0);
        }
        assert!(outbox.retry() && outbox.is_waiting());
        assert_eq!(outbox.post(Test::Media(MAILBOX_PACKETS_MAX)), 0);
        assert_eq!(outbox.post(Test::Media(7)), 7);
        let mut letters = Vec::new();
        receiver.drain(&mut letters);
        letters.retain(|l| matches!(l, Test::Control(_)));
        assert_eq!(letters.len(), MAILBOX_LETTERS_MAX);
        assert_eq!(outbox.post(Test::Control(MAILBOX_LETTERS_MAX + 2)), 0);
        assert!(!outbox.retry() && !outbox.is_waiting());
        receiver.drain(&mut letters);
        let numbers: Vec<_> = (0..MAILBOX_LETTERS_MAX + 3).map(Test::Control).collect();
        assert_eq!(letters, numbers);
    }

    #[test]
    fn waiting_control_is_bounded() {
        let (_poll, sender, _receiver) = fixture();
        let mut outbox = Outbox::new(sender);
        let dropped: usize =
            (0..2 * MAILBOX_LETTERS_MAX + 5).map(|i| outbox.post(Test::Control(i))).sum();
        assert_eq!(dropped, 5);
    }

    #[test]
    fn letters_to_nobody_are_thrown_away() {
        let (_poll, sender, receiver) = fixture();
        drop(receiver);
        for i in 0..MAILBOX_LETTERS_MAX + 1 {
            sender.send(Test::Control(i)).unwrap();
        }
    }
}
