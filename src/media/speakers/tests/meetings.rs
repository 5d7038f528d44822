use super::*;

/// A room over several workers, each of which tells every so often what it heard.
struct Meeting {
    people: Vec<(Person, Levels)>,
    speakers: Speakers,
    now: Instant,
    frame: u64,
    /// In frames.
    report_every: u64,
    workers: u64,
    /// The last time that each had something to say, in frames.
    talked: Vec<Option<u64>>,
    /// Switches, and those to somebody who said nothing.
    switches: u64,
    wrong: u64,
}

impl Meeting {
    fn new(seed: u8, people: u64, report_every: u64) -> Meeting {
        let mut rng = Rng::from_seed([seed; 32]);
        let now = Instant::now();
        let mut speakers = Speakers::new(HEARD_MAX);
        let crowd = (0..people).map(|id| {
            speakers.add(TrackId(id), now);
            (Person::new(&mut rng), Levels::new(48_000))
        });
        Meeting {
            people: crowd.collect(),
            speakers,
            now,
            frame: 0,
            report_every,
            workers: 4,
            talked: vec![None; people as usize],
            switches: 0,
            wrong: 0,
        }
    }

    /// 20 ms pass.
    fn pass(&mut self) {
        self.frame += 1;
        self.now += FRAME;
        for (id, (person, levels)) in (0..).zip(&mut self.people) {
            if person.talks {
                self.talked[id as usize] = Some(self.frame);
            }
            if let Some((level, voice)) = person.sound() {
                levels.packet(self.frame as u32 * 960, level, voice);
            }
            if (self.frame + id % self.workers).is_multiple_of(self.report_every)
                && let Some(summary) = levels.take(self.now)
            {
                self.speakers.report(TrackId(id), summary, self.now);
            }
        }
        if self.speakers.deadline().is_none_or(|at| at > self.now) {
            return;
        }
        if self.speakers.decide(self.now).dominant {
            self.switches += 1;
            let dominant = self.speakers.dominant();
            let talked = dominant.and_then(|d| self.talked[d.0 as usize]);
            // Whoever just stopped was right a moment ago.
            let wrong = talked.is_none_or(|at| at + 10 < self.frame);
            self.wrong += u64::from(wrong);
            if wrong && let Some(d) = dominant {
                let p = &self.people[d.0 as usize].0;
                if std::env::var("SEE").is_ok() {
                    println!(
                        "wrong {:?} types {} event {:?} voice {}",
                        p.room, p.types, p.event, p.voice
                    );
                }
            }
        }
    }

    fn minutes(&self) -> f64 {
        (FRAME * self.frame as u32).as_secs_f64() / 60.0
    }
}

/// Everybody talks in turn; how late the dominant one was right, in ms.
fn in_turn(meeting: &mut Meeting, turns: u64, rng: &mut Rng) -> Vec<u64> {
    let mut late = Vec::new();
    (0..100).for_each(|_| meeting.pass());
    let mut last: Option<usize> = None;
    for turn in 0..turns {
        let next = loop {
            let next = between(rng, 0, meeting.people.len() as u64) as usize;
            if Some(next) != last {
                break next;
            }
        };
        // Half of them wait for the other one's end, half begin before.
        let overlap = if turn % 2 == 0 { 0 } else { between(rng, 0, 25) };
        let pause = if turn % 2 == 0 { between(rng, 0, 25) } else { 0 };
        let stop = |meeting: &mut Meeting, last: Option<usize>| {
            last.into_iter().for_each(|last| meeting.people[last].0.talks = false);
        };
        if turn % 2 == 0 {
            stop(meeting, last);
            (0..pause).for_each(|_| meeting.pass());
        }
        meeting.people[next].0.begin();
        (0..overlap).for_each(|_| meeting.pass());
        stop(meeting, last);
        let mut waited = None;
        for frame in 0..between(rng, 200, 600) {
            if waited.is_none() && meeting.speakers.dominant() == Some(TrackId(next as u64)) {
                waited = Some(frame * 20);
            }
            meeting.pass();
        }
        late.push(waited.unwrap_or(60_000));
        last = Some(next);
    }
    late
}

#[test]
fn a_hundred_in_turn() {
    for report_every in [1, 2, 5] {
        for seed in 0..4 {
            let mut rng = Rng::from_seed([100 + seed; 32]);
            let mut meeting = Meeting::new(seed, 100, report_every);
            let mut late = in_turn(&mut meeting, 120, &mut rng);
            late.sort_unstable();
            let within = late.iter().filter(|late| **late <= 500).count();
            println!(
                "reports {report_every} seed {seed}: {within} of {} within 500 ms; p50 {} p95 {} max {}; {} switches, {} wrong in {:.1} min; {}",
                late.len(),
                late[60],
                late[113],
                late[119],
                meeting.switches,
                meeting.wrong,
                meeting.minutes(),
                meeting.speakers.speaking().count()
            );
        }
    }
}
