//! Each attack by itself against people who see each other, and what was found once: plans that
//! failed, written down, since a seed draws another plan when the drawing changes.

use std::time::Duration;

use trackyard::base::counters::DropReason;

use super::net::{ClientId, Quality};
use super::plan::{Act, Attack, Episode, Plan};
use super::replay::replayable;
use super::run::{Run, carry_out};
use super::scenarios::{secs, settled};

fn dropped(run: &mut Run, reason: DropReason) -> u64 {
    let threads = run.world.server.threads.iter_mut();
    threads.map(|t| t.worker.counters_mut().dropped(reason)).sum()
}

#[test]
fn sim_every_attack_bounces_off() {
    for (number, attack) in Attack::ALL.into_iter().enumerate() {
        replayable(|| {
            let mut run = settled(number as u64, 1 + number % 3, 3);
            for _ in 0..2 {
                run.act(&Act::Attack(attack));
                run.pass(secs(4));
            }
            run.checkpoint();
            run.end();
            let counts: Vec<_> = DropReason::ALL
                .into_iter()
                .map(|(reason, name)| (name, dropped(&mut run, reason)))
                .filter(|(_, count)| *count > 0)
                .collect();
            eprintln!("{attack:?}: {counts:?}");
        });
    }
}

#[test]
fn sim_what_is_muted_is_not_forwarded_though_it_is_sent() {
    replayable(|| {
        let mut run = settled(8, 3, 3);
        let mute = |muted| Act::Mute { id: 2, video: muted, audio: muted, sly: true };
        run.act(&mute(true));
        run.pass(secs(4));
        run.checkpoint();
        let muted = dropped(&mut run, DropReason::Muted);
        assert!(muted > 40, "{muted} packets were sent though muted");
        run.act(&mute(false));
        run.pass(secs(2));
        run.checkpoint();
        run.end();
    });
}

#[test]
fn sim_who_reads_nothing_is_closed() {
    replayable(|| {
        let mut run = settled(9, 2, 2);
        run.act(&Act::Attack(Attack::SlowReader));
        run.pass(secs(1));
        assert_eq!(run.world.conns.overfull(), 1, "it was told more than may wait");
        run.pass(secs(10));
        assert_eq!(run.world.server.gate.census().sessions, 2, "and its session is over");
        run.checkpoint();
        run.end();
    });
}

/// Two participants of one room, then these acts.
fn plan(workers: usize, acts: Vec<(u64, Act)>) -> Plan {
    let join = |id| (0, Act::Join { id, room: 0, simulcast: false, video: true, audio: true });
    let acts = [1, 2].map(join).into_iter().chain(acts);
    let acts = acts.map(|(ms, act)| (Duration::from_millis(ms), act)).collect();
    let episode = Episode { acts, busy: secs(14), quiet: secs(30) };
    Plan { seed: 0, workers, episodes: vec![episode.clone(), Episode { acts: vec![], ..episode }] }
}

fn mute(id: ClientId, video: bool) -> Act {
    Act::Mute { id, video, audio: false, sly: false }
}

/// Each was found as a seed: why, and the plan.
fn kept() -> Vec<(&'static str, Plan)> {
    let slow = Quality { delay: Duration::from_millis(200), ..Quality::GOOD };
    vec![
        (
            "one forged packet of another stream silenced a publisher for good",
            // While m-lines still stand in the packets.
            plan(2, (1..40).map(|i| (i * 50, Act::Attack(Attack::ForgeStreams))).collect()),
        ),
        (
            "a mute that was said into a socket which fell was never said again",
            plan(
                1,
                vec![
                    (2_000, Act::Weather { id: 1, quality: slow }),
                    (3_000, mute(1, true)),
                    (3_100, Act::CutSockets(1)),
                ],
            ),
        ),
        (
            "an unmute that was said into a socket which fell was never said again",
            plan(
                3,
                vec![
                    (2_000, Act::Weather { id: 1, quality: slow }),
                    (2_500, mute(1, true)),
                    (5_000, mute(1, false)),
                    (5_100, Act::CutSockets(1)),
                ],
            ),
        ),
        (
            "a worker that stands still hears nobody, and follows a replayed check",
            plan(
                1,
                vec![
                    (8_000, Act::PauseWorker { worker: 0, time: secs(2) }),
                    (9_900, Act::Attack(Attack::ReplayChecks)),
                ],
            ),
        ),
    ]
}

#[test]
fn sim_what_was_found_once_is_not_found_again() {
    super::quiet_panics();
    for (why, plan) in kept() {
        eprintln!("{why}");
        carry_out(&plan, false);
    }
}
