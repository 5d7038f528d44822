//! A running room: one publisher whose frames carry their number, and viewers who note when each
//! came, on a thread of its own while the test attacks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::live::{Live, until};

pub const NAME: &str = "calm";
const PUBLISHER: u32 = 1;
/// Frames that have not come by then are lost.
const LATE: Duration = Duration::from_secs(1);
const PING_INTERVAL: Duration = Duration::from_millis(20);

pub struct Room {
    viewers: usize,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    sent_at: Vec<Instant>,
    /// By frame: how often it was seen, and the latencies.
    frames: Vec<Vec<Duration>>,
    /// Round trips of signalling, by when they ended.
    pings: Vec<(Instant, Duration)>,
    faults: Vec<String>,
}

/// What a while in the room was like.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    pub frames: usize,
    pub missing: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub ping_p99: Duration,
}

impl Figures {
    /// Lost of what should have been seen.
    pub fn loss(&self) -> f64 {
        self.missing as f64 / self.frames.max(1) as f64
    }
}

impl Room {
    /// One publisher and three viewers, who see it.
    pub fn open(server: SocketAddr) -> Room {
        Room::with(server, 3, Duration::from_millis(10))
    }

    pub fn with(server: SocketAddr, viewers: usize, interval: Duration) -> Room {
        let mut people = vec![Live::join(server, NAME, PUBLISHER, true, 0)];
        people.extend((0..viewers as u32).map(|n| Live::join(server, NAME, 10 + n, false, 1)));
        let all_see = |people: &[Live]| people[1..].iter().all(|p| p.sees(1));
        let took = until(&mut people, Duration::from_secs(10), all_see);
        assert!(took.is_some(), "the viewers see the publisher");
        people[0].client.sending.as_mut().expect("a publisher").interval = interval;
        let (seen, stop) =
            (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (seen, stop) = (seen.clone(), stop.clone());
            std::thread::spawn(move || run(&mut people, &seen, &stop))
        };
        Room { viewers, seen, stop, thread: Some(thread) }
    }

    /// What the room is like for so long.
    pub fn measure(&self, time: Duration) -> Figures {
        let sent = || self.seen.lock().expect("the room goes on").sent_at.len();
        let (from, began) = (sent(), Instant::now());
        std::thread::sleep(time);
        let (to, ended) = (sent(), Instant::now());
        assert!(to > from, "the publisher sends");
        while ended.elapsed() < LATE {
            let seen = self.seen.lock().expect("the room goes on");
            if (from..to).all(|n| seen.frames.get(n).is_some_and(|f| f.len() >= self.viewers)) {
                break;
            }
            drop(seen);
            std::thread::sleep(Duration::from_millis(5));
        }
        let seen = self.seen.lock().expect("the room goes on");
        let frames = seen.frames.get(from..to.min(seen.frames.len())).unwrap_or_default();
        let latencies: Vec<Duration> = frames.iter().flatten().copied().collect();
        let pings = seen.pings.iter().filter(|(at, _)| (began..ended).contains(at));
        let wanted = (to - from) * self.viewers;
        Figures {
            frames: wanted,
            missing: wanted.saturating_sub(latencies.len()),
            p50: quantile(latencies.clone(), 0.5),
            p99: quantile(latencies, 0.99),
            ping_p99: quantile(pings.map(|(_, rtt)| *rtt).collect(), 0.99),
        }
    }

    /// The room goes on: what is sent is seen, once, in time, by everybody. The bounds are those
    /// of a person who would notice.
    pub fn assert_calm(&self, after: &str) -> Figures {
        let figures = self.measure(Duration::from_millis(600));
        assert!(figures.loss() < 0.02, "after {after}: {figures:?}");
        assert!(figures.p50 < Duration::from_millis(150), "after {after}: {figures:?}");
        assert!(figures.ping_p99 < Duration::from_secs(1), "after {after}: {figures:?}");
        self.assert_nothing_foreign(after);
        figures
    }

    /// Nobody saw a frame twice, or one that the publisher did not send.
    pub fn assert_nothing_foreign(&self, after: &str) {
        let seen = self.seen.lock().expect("the room goes on");
        assert!(seen.faults.is_empty(), "after {after}: {:?}", seen.faults);
        let twice = seen.frames.iter().position(|f| f.len() > self.viewers);
        assert_eq!(twice, None, "after {after}: a frame was seen twice");
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let result = self.thread.take().expect("joined once").join();
        if !std::thread::panicking() {
            result.expect("the room went on");
        }
    }
}

fn run(people: &mut [Live], seen: &Mutex<Seen>, stop: &AtomicBool) {
    let mut pinged: Option<(u64, Instant)> = None;
    let mut ping_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let busy = people.iter_mut().fold(false, |busy, p| p.pump() | busy);
        let now = Instant::now();
        let pong = pinged.filter(|(id, _)| people[1].messages.iter().any(|m| m["id"] == *id));
        if busy {
            let mut seen = seen.lock().expect("the test goes on");
            note(people, &mut seen);
            seen.pings.extend(pong.map(|(_, at)| (now, now - at)));
        }
        people.iter_mut().for_each(|p| p.messages.clear());
        if pong.is_some() {
            pinged = None;
        }
        if pinged.is_none() && now >= ping_at {
            pinged = Some((people[1].signalling.request(json!({"type": "ping"})), now));
            ping_at = now + PING_INTERVAL;
        }
        if !busy {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn note(people: &mut [Live], seen: &mut Seen) {
    let sent = &people[0].client.sending.as_ref().expect("a publisher").sent_at;
    let known = seen.sent_at.len();
    seen.sent_at.extend_from_slice(&sent[known..]);
    seen.frames.resize(sent.len(), Vec::new());
    for person in &mut people[1..] {
        for (label, frame, at) in person.client.arrivals.drain(..) {
            let sent_at = seen.sent_at.get(frame as usize).copied();
            match sent_at.filter(|_| label == PUBLISHER) {
                Some(sent_at) => {
                    seen.frames[frame as usize].push(at.saturating_duration_since(sent_at))
                }
                None => seen.faults.push(format!("frame {frame} of {label}")),
            }
        }
    }
}

pub fn quantile(mut times: Vec<Duration>, part: f64) -> Duration {
    times.sort_unstable();
    let at = ((times.len() as f64 * part) as usize).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default()
}

pub fn median(times: Vec<Duration>) -> Duration {
    quantile(times, 0.5)
}
