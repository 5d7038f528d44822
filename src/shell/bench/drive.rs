//! The thread that plays all clients: it sends what is due, receives what comes, and sleeps in
//! between. `mio` sleeps in whole milliseconds, so a timer of the kernel wakes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::client::{AUDIO_INTERVAL, Client, Moment, Tally, Target, frame_interval};
use super::outbox::{self, Outbox};
use super::signalling::Signalling;
use super::{Done, Failed, failed};
use crate::config::BenchMedia;
use crate::shell::udp::UdpBatch;

/// How often feedback is looked after, which is due by its own rules.
const FEEDBACK_LOOK: Duration = Duration::from_millis(50);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The server pings WebSockets every 1.5 s and waits 3.5 s for the answer.
const LISTEN_INTERVAL: Duration = Duration::from_millis(500);
/// A frame that leaves so much later than it should is late.
const LATE: Duration = Duration::from_millis(2);
/// And what is so late is not made up for.
const GIVEN_UP: Duration = Duration::from_millis(100);
const TIMER: Token = Token(usize::MAX - 1);

/// What is to be done at a time. With a client's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Video(usize),
    Audio(usize),
    Check(usize),
    Report(usize),
    Feedback(usize),
    Listen,
}

/// The golden ratio. Its multiples, without their whole parts, lie evenly however many there are.
const GOLDEN_RATIO: f64 = 1.618_033_988_749_895;

pub struct Driver {
    pub clients: Vec<Client>,
    /// The signalling of those that have any.
    pub signals: Vec<Signalling>,
    /// What each publisher sends.
    pub media: BenchMedia,
    /// Between two checks of a client.
    check_interval: Duration,
    began: Instant,
    /// With whom they are.
    checking: Target,
    tally: Tally,
    due: BinaryHeap<Reverse<(Instant, Task)>>,
    /// Whose publishers send, and whereto.
    sending: Option<(usize, Target)>,
    /// Of whom what comes is counted: who sends, or did last.
    counting: Option<(usize, Target)>,
    outbox: Outbox,
    batch: UdpBatch,
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    armed: Option<Instant>,
    stop: Arc<AtomicBool>,
}

impl Driver {
    /// `stop` ends it from another thread or a signal.
    pub fn new(media: BenchMedia, check_interval: Duration, stop: Arc<AtomicBool>) -> Done<Driver> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags);
        let timer = timer.map_err(failed("a timer"))?;
        let poll = Poll::new().map_err(failed("poll"))?;
        let (fd, registry) = (timer.as_raw_fd(), poll.registry());
        registry.register(&mut SourceFd(&fd), TIMER, Interest::READABLE).map_err(failed("poll"))?;
        Ok(Driver {
            clients: Vec::new(),
            signals: Vec::new(),
            media,
            check_interval,
            began: Instant::now(),
            checking: Target::Server,
            tally: Tally::new(),
            due: BinaryHeap::from([Reverse((Instant::now(), Task::Listen))]),
            sending: None,
            counting: None,
            outbox: Outbox::default(),
            batch: outbox::buffers().map_err(failed("UDP"))?,
            poll,
            events: Events::with_capacity(256),
            timer,
            armed: None,
            stop,
        })
    }

    /// A connected client. It checks and reports from now on.
    pub fn add(&mut self, client: Client) -> Done<()> {
        let index = self.clients.len();
        if let Some(socket) = &client.socket {
            let (fd, registry) = (socket.as_raw_fd(), self.poll.registry());
            let source = &mut SourceFd(&fd);
            registry.register(source, Token(index), Interest::READABLE).map_err(failed("poll"))?;
        }
        let reports_arrivals = self.media.feedback && client.receives;
        self.clients.push(client);
        let now = Instant::now();
        if reports_arrivals {
            self.due.push(Reverse((now, Task::Feedback(index))));
        }
        self.due.push(Reverse((now + self.until_check(index, now), Task::Check(index))));
        self.due.push(Reverse((now + REPORT_INTERVAL, Task::Report(index))));
        Ok(())
    }

    /// Clients check at times as far from each other's as the interval allows, whenever they came.
    fn until_check(&self, index: usize, now: Instant) -> Duration {
        let interval = self.check_interval.as_secs_f64();
        let phase = now.saturating_duration_since(self.began).as_secs_f64() / interval;
        let own = index as f64 * GOLDEN_RATIO;
        self.check_interval.mul_f64((own - phase).rem_euclid(1.0))
    }

    /// The publishers of a case begin to send, each at its own point of the frame interval.
    pub fn send(&mut self, case: usize, target: Target) {
        self.sending = Some((case, target));
        self.counting = self.sending;
        let publishers = self.clients.iter().enumerate();
        let publishers = publishers.filter(|(_, c)| c.case == case && c.audience > 0);
        let indices: Vec<usize> = publishers.map(|(index, _)| index).collect();
        let (now, interval) = (Instant::now(), frame_interval(&self.media));
        for (i, index) in indices.iter().enumerate() {
            let share = i as f64 / indices.len() as f64;
            self.due.push(Reverse((now + interval.mul_f64(share), Task::Video(*index))));
            if self.media.audio {
                let at = now + AUDIO_INTERVAL.mul_f64(share);
                self.due.push(Reverse((at, Task::Audio(*index))));
            }
        }
    }

    /// From now on, clients keep their paths to that one alive. The server forgets theirs in time.
    pub fn check_with(&mut self, target: Target) {
        self.checking = target;
    }

    /// Nobody sends media any more.
    pub fn pause(&mut self) {
        self.sending = None;
        self.due.retain(|Reverse((_, task))| !matches!(task, Task::Video(_) | Task::Audio(_)));
    }

    /// What was counted since it was taken.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What was counted since the last time.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::replace(&mut self.tally, Tally::new())
    }

    /// Datagrams that clients' sockets did not take so far.
    pub fn refused(&self) -> u64 {
        self.outbox.refused()
    }

    /// Plays for so long. Error: it was interrupted, or a socket or the poll broke.
    pub fn run(&mut self, time: Duration) -> Done<()> {
        let until = Instant::now() + time;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Failed("interrupted".to_owned()));
            }
            let now = Instant::now();
            self.do_due(now)?;
            if now >= until {
                return Ok(());
            }
            let next = self.due.peek().map_or(until, |Reverse((at, _))| until.min(*at));
            self.arm(next).map_err(failed("a timer"))?;
            match self.poll.poll(&mut self.events, None) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                result => result.map_err(failed("poll"))?,
            }
            self.receive()?;
        }
    }

    fn arm(&mut self, at: Instant) -> io::Result<()> {
        if self.armed == Some(at) {
            return Ok(());
        }
        self.armed = Some(at);
        // Zero would disarm it.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: zero, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(())
    }

    fn do_due(&mut self, now: Instant) -> Done<()> {
        while let Some(Reverse((at, task))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            if let Some(interval) = self.act(task, at)? {
                let next = at + interval;
                let next = if next + GIVEN_UP < now { now } else { next };
                self.due.push(Reverse((next, task)));
            }
        }
        Ok(())
    }

    /// When to do it again.
    fn act(&mut self, task: Task, at: Instant) -> Done<Option<Duration>> {
        match task {
            Task::Listen => {
                for signal in &mut self.signals {
                    signal.listen()?;
                }
                Ok(Some(LISTEN_INTERVAL))
            }
            Task::Check(index) => {
                self.clients[index].check(self.checking, &mut self.outbox);
                self.send_from(index);
                Ok(Some(self.check_interval))
            }
            Task::Report(index) => {
                self.clients[index].report(wall_clock(), &mut self.outbox);
                self.send_from(index);
                Ok(Some(REPORT_INTERVAL))
            }
            Task::Feedback(index) => {
                self.clients[index].feedback(Instant::now(), &mut self.outbox);
                self.send_from(index);
                Ok(Some(FEEDBACK_LOOK))
            }
            Task::Video(index) | Task::Audio(index) => self.send_media(index, task, at),
        }
    }

    /// A frame of video or a packet of audio; when the next one is due, if it is.
    fn send_media(&mut self, index: usize, task: Task, at: Instant) -> Done<Option<Duration>> {
        let Some((_, target)) = self.sending else { return Ok(None) };
        let Driver { clients, media, outbox, tally, .. } = self;
        let client = &mut clients[index];
        let (sent, interval) = match task {
            Task::Audio(_) => {
                (client.send_audio(target, media, wall_clock(), outbox), AUDIO_INTERVAL)
            }
            _ => {
                tally.bursts += 1;
                tally.late += u64::from(at.elapsed() > LATE);
                let sent = client.send_video(target, media, wall_clock(), outbox);
                (sent, frame_interval(media))
            }
        };
        tally.sent += sent;
        tally.expected += sent * client.audience;
        self.send_from(index);
        Ok(Some(interval))
    }

    /// All that waits leaves from a client's socket.
    fn send_from(&mut self, index: usize) {
        if self.outbox.len() == 0 {
            return;
        }
        let client = &mut self.clients[index];
        let Some(socket) = client.socket.take() else { return };
        let spare = self.batch.exchange(socket);
        self.outbox.send(&mut self.batch);
        client.socket = Some(self.batch.exchange(spare));
    }

    fn receive(&mut self) -> Done<()> {
        for event in &self.events {
            if event.token() == TIMER {
                self.armed = None;
                continue;
            }
            let client = &mut self.clients[event.token().0];
            let Some(socket) = client.socket.take() else { continue };
            let spare = self.batch.exchange(socket);
            // Edge-triggered: until it is empty.
            let received = loop {
                match self.batch.receive() {
                    Ok(true) => {}
                    other => break other,
                }
                let (tally, counting, read) = (&mut self.tally, self.counting, Instant::now());
                self.batch.deliver_stamped(|remote, _, at, datagram| {
                    let at = Moment { wall: at.unwrap_or_else(wall_clock), read };
                    client.take((remote, at), datagram, counting, tally);
                });
            };
            client.socket = Some(self.batch.exchange(spare));
            received.map_err(failed("UDP"))?;
        }
        Ok(())
    }
}

/// Since the Unix epoch, as sockets stamp what comes.
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
