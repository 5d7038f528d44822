//! What comes, what is missing of it, and what is said and heard of it: whatever the order, each
//! packet is told of once, asked for only while it is missing, and nothing is due for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::limits::{NACK_MISSING_MAX, NACK_TRIES_MAX};
use trackyard::media::clock::{PublisherClock, StreamClock};
use trackyard::media::nack::Missing;
use trackyard::media::reception::Reception;
use trackyard::media::transport_cc::{Arrivals, SendHistory};
use trackyard::wire::rtcp::{self, Packet};

#[derive(Debug, Arbitrary)]
enum Step<'a> {
    Pass {
        ms: u16,
    },
    /// So far from the last one that came.
    Comes {
        ahead: i16,
        timestamp: u32,
    },
    Next {
        count: u8,
    },
    Ask,
    Keyframe {
        behind: u8,
    },
    Arrives {
        seq: u16,
    },
    Say,
    Send {
        bytes: u16,
        count: u8,
    },
    /// What was said of other packets, of those that were sent.
    Echo,
    Hear {
        compound: &'a [u8],
    },
    Report {
        ntp: u64,
        timestamp: u32,
    },
}

/// Everything of one peer, and what a plain reading knows of it.
#[derive(Default)]
struct Peer {
    highest: u64,
    came: BTreeSet<u64>,
    asked: BTreeMap<u64, u8>,
    missing: Missing,
    reception: Reception,
    arrivals: Arrivals,
    said: Vec<u8>,
    history: SendHistory,
    sent: u64,
    told: BTreeSet<u64>,
    publisher: PublisherClock,
    stream: StreamClock,
}

pub fn check(data: &[u8]) {
    let mut now = super::start();
    let mut peer = Peer { highest: 1 << 20, ..Peer::default() };
    for step in super::steps(data) {
        match step {
            Step::Pass { ms } => now += Duration::from_millis(ms.into()),
            Step::Comes { ahead, timestamp } => {
                let seq = peer.highest.saturating_add_signed(ahead.into());
                peer.comes(seq, timestamp, now);
            }
            Step::Next { count } => {
                for _ in 0..count {
                    peer.comes(peer.highest + 1, 0, now);
                }
            }
            Step::Ask => peer.ask(now),
            Step::Keyframe { behind } => peer.missing.keyframe(peer.highest - u64::from(behind)),
            Step::Arrives { seq } => peer.arrivals.received(seq, now),
            Step::Say => peer.say(),
            Step::Send { bytes, count } => {
                for _ in 0..count {
                    assert_eq!(peer.history.sent(now, bytes.into()), peer.sent as u16);
                    peer.sent += 1;
                }
            }
            Step::Echo => {
                let said = std::mem::take(&mut peer.said);
                peer.hear(&said, now);
            }
            Step::Hear { compound } => peer.hear(compound, now),
            Step::Report { ntp, timestamp } => {
                peer.publisher.report(ntp, now);
                peer.stream.report(ntp, timestamp);
                peer.reception.sender_report(ntp, now);
                let anchor = peer.stream.anchor(&peer.publisher);
                assert_eq!(anchor.is_some(), ntp != 0);
                anchor.map(|anchor| anchor.timestamp_at(now, 90_000));
            }
        }
    }
}

impl Peer {
    fn comes(&mut self, seq: u64, timestamp: u32, now: Instant) {
        if self.came.is_empty() {
            self.highest = seq;
        }
        if !self.came.insert(seq) {
            return;
        }
        self.highest = self.highest.max(seq);
        self.missing.received(seq, now);
        self.reception.received(seq, timestamp, now, 90_000);
        let block = self.reception.block(7, now).expect("one came");
        assert_eq!(block.highest_seq, self.highest as u32);
        let (first, came) = (self.came.first().unwrap(), self.came.len() as u64);
        let lost = (self.highest - first + 1 - came).min(0x7f_ffff);
        assert_eq!(block.lost as u64, lost);
    }

    fn ask(&mut self, now: Instant) {
        let mut numbers = Vec::new();
        self.missing.due(now, &mut numbers);
        assert!(numbers.len() <= NACK_MISSING_MAX);
        // Numbers of a wider span than they have bits are more than one packet each.
        let is_narrow = self.came.first().is_none_or(|first| self.highest - first < 60_000);
        for number in numbers.into_iter().filter(|_| is_narrow) {
            let back = (self.highest as u16).wrapping_sub(number);
            let seq = self.highest - u64::from(back);
            assert!(!self.came.contains(&seq), "{seq} came");
            let times = self.asked.entry(seq).or_default();
            *times += 1;
            assert!(*times <= NACK_TRIES_MAX);
        }
        assert!(self.missing.deadline().is_none_or(|at| at > now), "due again at once");
    }

    fn say(&mut self) {
        let due = self.arrivals.deadline().is_some();
        let before = self.said.len();
        let mut feedbacks = 0;
        let mut end = before;
        while self.arrivals.feedback(&mut self.said, 9, 7) {
            assert!(self.said.len() - end < 1_100);
            (end, feedbacks) = (self.said.len(), feedbacks + 1);
        }
        assert_eq!((feedbacks > 0, self.arrivals.deadline()), (due, None));
        let said: Vec<Packet> = rtcp::read(&self.said[before..]).collect();
        assert_eq!(said.len(), feedbacks);
        assert!(said.iter().all(|packet| match packet {
            Packet::TransportFeedback(feedback) => feedback.arrivals().next().is_some(),
            _ => false,
        }));
    }

    fn hear(&mut self, compound: &[u8], now: Instant) {
        for packet in rtcp::read(compound) {
            let Packet::TransportFeedback(feedback) = packet else { continue };
            let mut told = 0;
            let heard = self.history.feedback(&feedback, now, |result| {
                assert!(result.seq < self.sent && result.sent <= now);
                assert!(self.told.insert(result.seq), "{} is told of twice", result.seq);
                told += 1;
            });
            assert_eq!(heard.arrived + heard.lost, told);
            let arrivals = feedback.arrivals().count() as u64;
            assert_eq!(heard.arrived + heard.late + heard.repeated + heard.unknown, arrivals);
        }
    }
}
