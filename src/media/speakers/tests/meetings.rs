use super::people::Room;
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

/// Chance differs, reports come every 20 to 100 ms: what holds of each, holds of all.
fn each(check: impl Fn(u8, u64)) {
    for report_every in [1, 2, 5] {
        (0..4).for_each(|seed| check(seed, report_every));
    }
}

#[test]
fn a_hundred_who_talk_in_turn_are_shown_within_half_a_second() {
    each(|seed, report_every| {
        let mut rng = Rng::from_seed([100 + seed; 32]);
        let mut meeting = Meeting::new(seed, 100, report_every);
        let mut late = in_turn(&mut meeting, 120, &mut rng);
        late.sort_unstable();
        let within = late.iter().filter(|late| **late <= 500).count();
        let wrong = meeting.wrong as f64 / meeting.minutes();
        let said = format!(
            "reports of {} ms, seed {seed}: {within} of 120 within 500 ms, half of them {} ms, \
             95 % {} ms, all {} ms; {wrong:.2} wrong a minute",
            report_every * 20,
            late[60],
            late[114],
            late[119]
        );
        println!("{said}");
        assert!(within >= 112 && late[119] <= 1_500 && wrong <= 1.0, "{said}");
    });
}

#[test]
fn who_talk_over_each_other_do_not_flicker() {
    each(|seed, report_every| {
        let mut rng = Rng::from_seed([200 + seed; 32]);
        let mut meeting = Meeting::new(seed, 100, report_every);
        (0..100).for_each(|_| meeting.pass());
        for _ in 0..10 {
            let talkers: Vec<usize> =
                (0..between(&mut rng, 2, 5)).map(|_| between(&mut rng, 0, 100) as usize).collect();
            talkers.iter().for_each(|talker| meeting.people[*talker].0.begin());
            for frame in 0..1_500 {
                meeting.pass();
                let dominant = meeting.speakers.dominant().map(|track| track.0 as usize);
                let shown = dominant.is_some_and(|dominant| talkers.contains(&dominant));
                // The first syllables fall together, and so do pauses.
                assert!(frame < 75 || shown || meeting.wrong > 0, "{frame}: {dominant:?}");
            }
            talkers.iter().for_each(|talker| meeting.people[*talker].0.talks = false);
            (0..50).for_each(|_| meeting.pass());
        }
        let (switches, wrong) =
            (meeting.switches as f64 / meeting.minutes(), meeting.wrong as f64 / meeting.minutes());
        println!("seed {seed}: {switches:.1} switches and {wrong:.2} wrong a minute");
        assert!(switches <= 15.0 && wrong <= 1.0, "{switches:.1} and {wrong:.2} a minute");
    });
}

/// Somebody who says nothing and has nothing in the room.
fn still(meeting: &mut Meeting, id: usize) {
    let person = &mut meeting.people[id].0;
    (person.room, person.types, person.fidgets) = (Room::Quiet(80), false, u64::MAX);
}

fn quiet(people: u64) -> Meeting {
    let mut meeting = Meeting::new(0, people, 5);
    (0..people).for_each(|id| still(&mut meeting, id as usize));
    meeting
}

#[test]
fn a_mute_or_a_farewell_counts_at_once() {
    for leaves in [false, true] {
        let mut meeting = quiet(10);
        meeting.people[3].0.begin();
        (0..50).for_each(|_| meeting.pass());
        let (track, now) = (TrackId(3), meeting.now);
        assert_eq!(meeting.speakers.dominant(), Some(track));
        assert_eq!(meeting.speakers.speaking().count(), 1);
        match leaves {
            true => meeting.speakers.remove(track, now),
            false => meeting.speakers.silence(track, now),
        }
        assert_eq!(meeting.speakers.dominant(), None);
        assert_eq!(meeting.speakers.speaking().count(), 0);
        let changes = meeting.speakers.decide(now);
        assert!(changes.dominant && changes.speaking);
        meeting.people[3].0.talks = false;
        (0..50).for_each(|_| meeting.pass());
        assert_eq!(meeting.speakers.dominant(), None);
        assert_eq!(meeting.speakers.heard().count(), if leaves { 9 } else { 10 });
        // What is still under way of one that left is nobody's.
        let summary = Summary { frames: 5, voiced: 0b11111, level: 20 };
        (0..10).for_each(|_| meeting.speakers.report(track, summary, meeting.now));
        (0..2).for_each(|_| meeting.pass());
        assert_eq!(meeting.speakers.speaking().count(), usize::from(!leaves));
    }
}

#[test]
fn the_others_stay_who_they_are_when_one_leaves() {
    let mut meeting = quiet(10);
    meeting.speakers.remove(TrackId(0), meeting.now);
    meeting.people[9].0.begin();
    (0..50).for_each(|_| meeting.pass());
    assert_eq!(meeting.speakers.dominant(), Some(TrackId(9)));
    let now = meeting.now;
    meeting.speakers.add(TrackId(9), now);
    meeting.speakers.remove(TrackId(9), now);
    meeting.speakers.remove(TrackId(9), now);
    let mut heard: Vec<u64> = meeting.speakers.heard().map(|track| track.0).collect();
    heard.sort_unstable();
    assert_eq!(heard, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn of_two_who_begin_together_the_louder_is_shown() {
    for louder in [2, 7] {
        let mut speakers = Speakers::new(HEARD_MAX);
        let start = Instant::now();
        (0..10).for_each(|id| speakers.add(TrackId(id), start));
        for turn in 1..=10 {
            let now = start + ms(100) * turn;
            for id in [2, 7] {
                let level = if id == louder { 20 } else { 30 };
                let summary = Summary { frames: 5, voiced: 0b11111, level };
                speakers.report(TrackId(id), summary, now);
            }
            speakers.decide(now + FRAME);
        }
        assert_eq!(speakers.dominant(), Some(TrackId(louder)));
    }
}

#[test]
fn the_end_of_a_voice_counts_when_it_is_told() {
    // Somebody begins, 200 ms later the other one ends.
    let waited = |tells: bool| {
        let mut speakers = Speakers::new(HEARD_MAX);
        let start = Instant::now();
        (0..2).for_each(|id| speakers.add(TrackId(id), start));
        let voice = Summary { frames: 5, voiced: 0b11111, level: 30 };
        (1..20).find(|report| {
            let now = start + ms(100) * *report;
            let silent = Summary { voiced: 0, ..voice };
            match report {
                ..=10 => speakers.report(TrackId(0), voice, now),
                11 if tells => speakers.report(TrackId(0), silent, now),
                _ => {}
            }
            if *report > 8 {
                speakers.report(TrackId(1), voice, now);
            }
            speakers.decide(now + FRAME);
            speakers.dominant() == Some(TrackId(1))
        })
    };
    assert_eq!((waited(true), waited(false)), (Some(12), Some(14)));
}

#[test]
fn a_wrong_choice_is_taken_back_by_who_speaks_on() {
    let mut speakers = Speakers::new(HEARD_MAX);
    let start = Instant::now();
    (0..2).for_each(|id| speakers.add(TrackId(id), start));
    let voice = Summary { frames: 5, voiced: 0b11111, level: 30 };
    let mut now = start;
    let mut pass = |speakers: &mut Speakers, who: &[u64]| {
        now += ms(100);
        for id in 0..2 {
            let voiced = if who.contains(&id) { voice.voiced } else { 0 };
            speakers.report(TrackId(id), Summary { voiced, ..voice }, now);
        }
        speakers.decide(now + FRAME);
        speakers.dominant().map(|track| track.0)
    };
    (0..20).for_each(|_| _ = pass(&mut speakers, &[0]));
    (0..4).for_each(|_| _ = pass(&mut speakers, &[1]));
    assert_eq!(pass(&mut speakers, &[]), Some(1), "in a pause");
    let back: Vec<_> = (0..4).map(|_| pass(&mut speakers, &[0])).collect();
    assert_eq!(back, [Some(1), Some(1), Some(1), Some(0)]);
}

#[test]
fn who_is_shown_is_heard() {
    let mut meeting = quiet(10);
    meeting.speakers = Speakers::new(3);
    (0..10).for_each(|id| meeting.speakers.add(TrackId(id), meeting.now));
    meeting.people[0].0.begin();
    (0..100).for_each(|_| meeting.pass());
    meeting.people[0].0.talks = false;
    // The others say yes and no, each in turn, which shows none of them.
    for round in 0..40 {
        meeting.people[1 + round % 9].0.event = (12, 20);
        (0..60).for_each(|_| meeting.pass());
        assert_eq!(meeting.speakers.dominant(), Some(TrackId(0)));
        assert!(meeting.speakers.heard().any(|track| track == TrackId(0)), "{round}");
    }
}

#[test]
fn a_silent_room_asks_for_nothing() {
    let mut meeting = quiet(10);
    (0..10).for_each(|_| meeting.pass());
    assert_eq!(meeting.speakers.deadline(), None);
    meeting.people[3].0.begin();
    (0..100).for_each(|_| meeting.pass());
    assert!(meeting.speakers.deadline().is_some());
    meeting.people[3].0.talks = false;
    (0..150).for_each(|_| meeting.pass());
    assert_eq!(meeting.speakers.deadline(), None);
    assert_eq!(meeting.speakers.dominant(), Some(TrackId(3)), "the last one stays");
    assert_eq!(meeting.speakers.speaking().count(), 0);
}

#[test]
fn fans_coughs_and_doors_are_nobody() {
    let mut meeting = quiet(10);
    meeting.people[0].0.room = Room::Loud(45);
    meeting.people[1].0.room = Room::Dtx(65);
    meeting.people[2].0.room = Room::Loud(40);
    for _ in 0..100 {
        meeting.people[4].0.event = (4, 15);
        meeting.people[5].0.event = (14, 20);
        (0..60).for_each(|_| meeting.pass());
        assert_eq!(meeting.speakers.dominant(), None);
    }
    // A microphone with a fan is opened after a long silence.
    meeting.people[6].0.room = Room::Suppressed;
    (0..300).for_each(|_| meeting.pass());
    meeting.people[6].0.room = Room::Loud(45);
    (0..300).for_each(|_| meeting.pass());
    assert_eq!(meeting.speakers.dominant(), None);
    // A cough while another one speaks.
    meeting.people[3].0.begin();
    for _ in 0..100 {
        (0..60).for_each(|_| meeting.pass());
        assert_eq!(meeting.speakers.dominant(), Some(TrackId(3)));
        meeting.people[4].0.event = (14, 15);
    }
}

#[test]
fn who_speaks_is_told_with_how_loud() {
    let mut meeting = quiet(10);
    meeting.people[3].0.voice = 20;
    meeting.people[7].0.voice = 40;
    for talker in [3, 7] {
        meeting.people[talker].0.begin();
    }
    let mut began = [None; 2];
    let mut changes = 0;
    for frame in 0..1_000 {
        let before: Vec<_> = meeting.speakers.speaking().map(|s| s.track).collect();
        meeting.pass();
        let now: Vec<Speaking> = meeting.speakers.speaking().collect();
        changes += usize::from(before != now.iter().map(|s| s.track).collect::<Vec<_>>());
        for speaking in now {
            let (began, from) = match speaking.track.0 {
                3 => (&mut began[0], 18),
                7 => (&mut began[1], 38),
                _ => panic!("{speaking:?}"),
            };
            began.get_or_insert(frame * 20);
            assert!((from..from + 16).contains(&speaking.level), "{speaking:?}");
        }
    }
    assert!(began.iter().all(|began| began.is_some_and(|ms| ms <= 300)), "{began:?}");
    assert!(changes <= 6, "{changes} in 20 s of two who pause for breath");
}

#[test]
fn all_are_heard_up_to_twenty_and_then_the_last_who_spoke() {
    let mut meeting = quiet(40);
    meeting.pass();
    meeting.pass();
    let heard = |meeting: &Meeting, id: u64| meeting.speakers.heard().any(|t| t == TrackId(id));
    assert_eq!(meeting.speakers.heard().count(), HEARD_MAX);
    let mut moves = 0;
    for id in 0..40 {
        meeting.people[id as usize].0.begin();
        let mut waited = 0;
        while !heard(&meeting, id) {
            meeting.pass();
            waited += 20;
        }
        assert!(waited <= 240, "{id} is heard after {waited} ms");
        for _ in 0..100 {
            meeting.pass();
            assert!(heard(&meeting, id) && meeting.speakers.heard().count() == HEARD_MAX);
        }
        meeting.people[id as usize].0.talks = false;
        moves += usize::from(waited > 0);
        (0..20).for_each(|_| meeting.pass());
    }
    assert!((20..=40).contains(&moves));
    assert!((21..40).all(|id| heard(&meeting, id)), "the last ones");
}

#[test]
fn with_more_voices_than_places_the_loud_are_heard_and_nobody_flickers() {
    let mut meeting = quiet(30);
    meeting.speakers = Speakers::new(5);
    (0..30).for_each(|id| meeting.speakers.add(TrackId(id), meeting.now));
    for id in 0..10 {
        // The first five are softer by more than their syllables differ.
        meeting.people[id].0.voice = if id < 5 { 38 } else { 20 };
        meeting.people[id].0.begin();
        (0..250).for_each(|_| meeting.pass());
    }
    let mut heard: Vec<u64> = meeting.speakers.heard().map(|track| track.0).collect();
    heard.sort_unstable();
    assert_eq!(heard, [5, 6, 7, 8, 9]);
    for _ in 0..3_000 {
        meeting.pass();
        let mut now: Vec<u64> = meeting.speakers.heard().map(|track| track.0).collect();
        now.sort_unstable();
        assert_eq!(now, heard);
    }
}

/// `cargo test --release --lib speakers -- --ignored --nocapture`
#[test]
#[ignore = "a figure, not a promise"]
fn figure_of_a_thousand_tracks() {
    let start = Instant::now();
    for talkers in [1, 10, 1_000] {
        let mut speakers = Speakers::new(HEARD_MAX);
        (0..1_000).for_each(|id| speakers.add(TrackId(id), start));
        let summary = Summary { frames: 5, voiced: 0b01101, level: 30 };
        let (mut reports, mut decisions) = (Duration::ZERO, Duration::ZERO);
        const TURNS: u32 = 2_000;
        for turn in 0..TURNS {
            let now = start + turn * ms(100);
            let began = Instant::now();
            (0..talkers).for_each(|id| speakers.report(TrackId(id), summary, now));
            reports += began.elapsed();
            let began = Instant::now();
            speakers.decide(now + FRAME);
            decisions += began.elapsed();
        }
        let (reports, decisions) = (reports / TURNS / talkers as u32, decisions / TURNS);
        println!("1,000 tracks, {talkers} talk: {reports:?} a report, {decisions:?} a decision");
    }
    let mut levels = Levels::new(48_000);
    let began = Instant::now();
    for packet in 0..1_000_000u32 {
        levels.packet(packet * 960, 20 + (packet % 64) as u8, true);
    }
    println!("{:?} a packet, {:?}", began.elapsed() / 1_000_000, levels.take(start));
}
