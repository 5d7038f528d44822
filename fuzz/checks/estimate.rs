//! The estimate of a subscriber's bandwidth: whatever is said, and whenever, it stays within its
//! bounds; probes stay within reason, one at a time; and silence is not due for ever.

use std::time::{Duration, Instant};

use arbitrary::Arbitrary;
use trackyard::base::bitrate::Bitrate;
use trackyard::base::limits::{ESTIMATE_MAX, ESTIMATE_MIN, ESTIMATE_START};
use trackyard::media::estimate::{Estimator, Probe, Source};
use trackyard::media::transport_cc::{PacketResult, Signal};

#[derive(Debug, Arbitrary)]
enum Step {
    Pass {
        ms: u16,
    },
    Send {
        bytes: u16,
        count: u8,
    },
    /// What was sent and not told of: after so long each, but for every so manieth.
    Tell {
        delay_ms: u16,
        slower_micros: u16,
        lost: u8,
    },
    /// Anything at all.
    Claim {
        seq: u64,
        sent_ms_ago: u32,
        bytes: u16,
        arrived_nanos: Option<u64>,
        arrived_secs: u64,
    },
    Estimate {
        bits_per_second: u64,
    },
    Report {
        fraction_lost: u8,
        round_trip_ms: Option<u32>,
    },
    Update,
    /// Sleep until the deadline, as the worker does.
    Due,
    Probe {
        goal_kbps: u32,
        count: u8,
    },
    PathChanged,
}

struct Path {
    start: Instant,
    now: Instant,
    estimator: Estimator,
    sent: Vec<(u64, Instant, u16)>,
    seq: u64,
}

pub fn check(data: &[u8]) {
    let start = super::start();
    let estimator = Estimator::default();
    let mut path = Path { start, now: start, estimator, sent: Vec::new(), seq: 0 };
    for step in super::steps(data) {
        path.step(step);
        let estimate = path.estimator.estimate();
        assert!((ESTIMATE_MIN..=ESTIMATE_MAX).contains(&estimate), "{estimate}");
        if path.estimator.source() == Source::Start {
            assert_eq!(estimate, ESTIMATE_START);
        }
    }
}

impl Path {
    fn step(&mut self, step: Step) {
        match step {
            Step::Pass { ms } => self.now += Duration::from_millis(ms.into()),
            Step::Send { bytes, count } => self.send(bytes, count),
            Step::Tell { delay_ms, slower_micros, lost } => {
                let delay = Duration::from_millis(delay_ms.into());
                let slower = Duration::from_micros(slower_micros.into());
                for (index, (seq, sent, bytes)) in
                    std::mem::take(&mut self.sent).into_iter().enumerate()
                {
                    let is_lost = lost > 0 && index % usize::from(lost) == 0;
                    let came = sent - self.start + delay + slower * index as u32;
                    self.tell(seq, sent, bytes, (!is_lost).then_some(came));
                }
                self.update();
            }
            Step::Claim { seq, sent_ms_ago, bytes, arrived_nanos, arrived_secs } => {
                let ago = Duration::from_millis(sent_ms_ago.into());
                let sent = self.now.checked_sub(ago).unwrap_or(self.now);
                let arrived = arrived_nanos.map(|nanos| {
                    Duration::from_secs(arrived_secs).saturating_add(Duration::from_nanos(nanos))
                });
                self.tell(seq, sent, bytes, arrived);
            }
            Step::Estimate { bits_per_second } => {
                self.estimator.take(Signal::Estimate { bits_per_second });
            }
            Step::Report { fraction_lost, round_trip_ms } => {
                let round_trip = round_trip_ms.map(|ms| Duration::from_millis(ms.into()));
                self.estimator.take(Signal::Report { fraction_lost, round_trip });
            }
            Step::Update => self.update(),
            Step::Due => {
                if let Some(due) = self.estimator.deadline() {
                    self.now = self.now.max(due);
                    self.update();
                }
            }
            Step::Probe { goal_kbps, count } => self.probe(goal_kbps, count),
            Step::PathChanged => {
                self.estimator.path_changed(self.now);
                assert!(self.estimator.estimate() <= ESTIMATE_START);
                assert_eq!(self.estimator.round_trip(), None);
            }
        }
    }

    fn send(&mut self, bytes: u16, count: u8) {
        for _ in 0..count {
            self.estimator.sent(self.now, bytes.into());
            self.sent.push((self.seq, self.now, bytes));
            self.seq += 1;
        }
    }

    fn tell(&mut self, seq: u64, sent: Instant, bytes: u16, arrived: Option<Duration>) {
        let bytes = bytes.into();
        self.estimator.take(Signal::Packet(PacketResult { seq, sent, bytes, arrived }));
    }

    fn update(&mut self) {
        self.estimator.update(self.now);
        assert!(self.estimator.deadline().is_none_or(|due| due > self.now), "due again at once");
    }

    fn probe(&mut self, goal_kbps: u32, count: u8) {
        let goal = Bitrate::from_kbps(goal_kbps.into());
        let estimate = self.estimator.estimate();
        let Some(probe) = self.estimator.wants_probe(self.now, goal) else { return };
        let Probe { id, rate, duration, packet_bytes } = probe;
        assert!(goal > estimate && rate <= goal.scale(1.2) && rate <= estimate.scale(3.1));
        assert!(duration <= Duration::from_millis(200) && packet_bytes <= 1_200);
        assert_eq!(self.estimator.wants_probe(self.now, goal), None, "one at a time");
        self.estimator.probe_begins(id, self.seq);
        self.send(packet_bytes as u16, count);
        self.now += duration;
        self.send(packet_bytes as u16, 1);
        self.estimator.probe_ends(self.now, id, self.seq);
    }
}
