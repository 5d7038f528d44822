//! One case a test, each with some seeds; figures have slack.

use std::time::Duration;

use super::flow::{Flow, Source, alone, epoch, run};
use super::link::{Link, MS, SECOND};
use crate::base::bitrate::Bitrate;
use crate::base::limits::ESTIMATE_START;
use crate::media::estimate::{Bound, Source as From};

const SEEDS: std::ops::Range<u8> = 1..6;

fn elastic(seed: u8) -> Flow {
    Flow::new(Source::Elastic(2_900)).seeded(seed)
}

fn link(seed: u8) -> Link {
    Link::new(3_000).seeded(seed)
}

/// Sends 500 kbit/s, whatever the estimate, and would like more.
fn limited(seed: u8, goal: Option<u64>) -> Flow {
    let mut flow = Flow::new(Source::Fixed(500)).seeded(seed);
    flow.goal = goal.map(Bitrate::from_kbps);
    flow
}

#[test]
fn a_good_link_is_found_within_a_second_and_used() {
    for seed in SEEDS {
        let flow = alone(link(seed), elastic(seed), 20.0);
        assert!(flow.reaches(2_300, 0.0) <= 1.0, "{}", flow.reaches(2_300, 0.0));
        let (mean, most) = (flow.estimate_over(3.0, 20.0), flow.estimate_max(3.0, 20.0));
        assert!((2_350..2_950).contains(&mean) && most < 3_600, "{mean} {most}");
        assert!(flow.estimate_min(3.0, 20.0) > 2_000);
        assert!(flow.queue_max(2.0, 20.0) < 120, "{} ms", flow.queue_max(2.0, 20.0));
        assert!(flow.queue_mean(2.0, 20.0) < 25, "{} ms", flow.queue_mean(2.0, 20.0));
    }
}

#[test]
fn a_fast_link_is_found_in_two_seconds() {
    for seed in SEEDS {
        let flow = Flow::new(Source::Elastic(20_000)).seeded(seed);
        let flow = alone(Link::new(25_000).seeded(seed), flow, 10.0);
        assert!(flow.reaches(20_000, 0.0) <= 2.0, "{}", flow.reaches(20_000, 0.0));
        assert!(flow.estimate_min(2.0, 10.0) > 15_000);
    }
}

#[test]
fn a_bad_link_is_left_at_once() {
    for seed in SEEDS {
        // Less than half of what a start believes, with the queue full before anything is heard.
        let flow = alone(Link::new(250).seeded(seed), elastic(seed), 20.0);
        assert!(flow.falls(250, 0.0) <= 1.5, "{}", flow.falls(250, 0.0));
        let mean = flow.estimate_over(4.0, 20.0);
        assert!((170..250).contains(&mean), "{mean}");
        assert!(flow.queue_mean(2.5, 10.0) < 170, "{}", flow.queue_mean(2.5, 10.0));
        assert!(flow.queue_mean(4.0, 20.0) < 150, "{}", flow.queue_mean(4.0, 20.0));
    }
}

fn falls_and_rises(seed: u8) -> Link {
    let mut link = link(seed);
    link.rates = vec![(0, 3_000), (10 * SECOND, 400), (20 * SECOND, 3_000)];
    link.queue_bytes_max = 50_000;
    link
}

#[test]
fn a_link_that_falls_is_followed_within_a_second() {
    for seed in SEEDS {
        let flow = alone(falls_and_rises(seed), elastic(seed), 30.0);
        assert!(flow.falls(400, 10.0) <= 1.0, "{}", flow.falls(400, 10.0));
        assert!(flow.queue_max(13.0, 20.0) < 300, "{} ms", flow.queue_max(13.0, 20.0));
        let mean = flow.estimate_over(14.0, 20.0);
        assert!((280..420).contains(&mean), "{mean}");
        // A queue that holds more than two seconds of what it fell to.
        let mut deep = falls_and_rises(seed);
        deep.queue_bytes_max = 112_500;
        let flow = alone(deep, elastic(seed), 20.0);
        assert!(flow.falls(400, 10.0) <= 1.0, "{}", flow.falls(400, 10.0));
        assert!(flow.queue_max(13.5, 20.0) < 300, "{} ms", flow.queue_max(13.5, 20.0));
    }
}

#[test]
fn a_link_that_rises_again_is_found_in_eight_seconds() {
    for seed in SEEDS {
        let flow = alone(falls_and_rises(seed), elastic(seed), 30.0);
        assert!(flow.reaches(2_500, 20.0) <= 8.0, "{}", flow.reaches(2_500, 20.0));
        // Without probes, it is not.
        let mut timid = elastic(seed);
        timid.goal = None;
        let timid = alone(falls_and_rises(seed), timid, 30.0);
        assert!(timid.reaches(2_500, 20.0) > 8.0);
    }
}

#[test]
fn a_link_that_swings_is_followed() {
    for seed in SEEDS {
        let mut link = link(seed);
        let swings = (0..12).map(|n| (n * 5 * SECOND, [3_000, 800][n as usize % 2]));
        (link.rates, link.queue_bytes_max) = (swings.collect(), 50_000);
        let flow = alone(link, elastic(seed), 40.0);
        for low in [5.0, 15.0, 25.0, 35.0] {
            assert!(flow.falls(800, low) <= 1.0, "{low} {}", flow.falls(800, low));
            assert!(flow.queue_max(low + 2.5, low + 5.0) < 300);
        }
        // What arrives, of 3 and 0.8 Mbit/s in turn.
        assert!(flow.arrived_over(5.0, 40.0) > 850, "{}", flow.arrived_over(5.0, 40.0));
    }
}

#[test]
fn random_loss_leaves_most_of_the_link() {
    for seed in SEEDS {
        for (percent, least) in [(2, 2_000), (5, 1_900), (10, 1_700), (15, 1_400)] {
            let mut link = link(seed);
            link.delay = 50 * MS;
            link.losses = vec![(0, u64::MAX, f64::from(percent) / 100.0)];
            let flow = alone(link, elastic(seed), 30.0);
            let mean = flow.estimate_over(3.0, 30.0);
            assert!(mean > least, "seed {seed}: {percent} %: {mean}");
            assert!(flow.queue_max(2.0, 30.0) < 150);
        }
    }
}

#[test]
fn random_loss_does_not_erode_what_is_not_used() {
    for seed in SEEDS {
        let mut link = link(seed);
        link.losses = vec![(5 * SECOND, u64::MAX, 0.05)];
        let flow = alone(link, limited(seed, Some(2_500)), 30.0);
        assert!(flow.estimate_min(2.0, 30.0) >= 2_000, "{}", flow.estimate_min(2.0, 30.0));
    }
}

#[test]
fn a_burst_of_loss_is_over_in_a_second() {
    for seed in SEEDS {
        let mut link = link(seed);
        let bursts = (2..10).map(|n| (n * 3 * SECOND, n * 3 * SECOND + 200 * MS, 0.2));
        link.losses = bursts.collect();
        let flow = alone(link, elastic(seed), 30.0);
        for second in [6.0, 9.0, 12.0, 15.0, 18.0, 21.0, 24.0, 27.0] {
            let before = flow.estimate_over(second - 0.5, second);
            let after = flow.estimate_over(second + 1.2, second + 1.7);
            // The end of the link may be found at that moment, too, which costs up to 15 %.
            assert!(after * 100 >= before.min(2_900) * 72, "{second}: {before} {after}");
        }
    }
}

#[test]
fn a_queue_of_a_few_packets_is_known_by_its_loss() {
    for seed in SEEDS {
        let mut link = Link::new(1_000).seeded(seed);
        link.queue_bytes_max = 6_000;
        let flow = alone(link, elastic(seed), 30.0);
        let mean = flow.estimate_over(3.0, 30.0);
        // Probes of small packets lose fewer of them there than pictures do.
        assert!((750..1_180).contains(&mean), "{mean}");
    }
}

#[test]
fn what_is_not_used_is_neither_forgotten_nor_made_up() {
    for seed in SEEDS {
        // The probes of the start find it, and it stays for long.
        let flow = alone(link(seed), limited(seed, Some(2_500)), 60.0);
        let (least, most) = (flow.estimate_min(1.5, 60.0), flow.estimate_max(0.0, 60.0));
        assert!(least >= 2_000 && most < 3_100, "{least} {most}");
        // Nobody asks, nothing is known beyond what is sent.
        let flow = alone(link(seed), limited(seed, None), 60.0);
        let (least, most) = (flow.estimate_min(0.0, 60.0), flow.estimate_max(0.0, 60.0));
        assert!(least >= 550 && most < 1_000, "{least} {most}");
        assert!(flow.probes.is_empty());
        // And when somebody does, it is found.
        let mut flows = [flow];
        let mut link = link(seed);
        flows[0].goal = Some(Bitrate::from_kbps(2_500));
        run(&mut link, &mut flows, 60.0, 64.0);
        assert!(flows[0].reaches(2_300, 60.0) < 1.5, "{}", flows[0].reaches(2_300, 60.0));
    }
}

#[test]
fn a_goal_that_is_reached_is_probed_for_no_more() {
    let flow = alone(link(1), limited(1, Some(2_000)), 60.0);
    assert!(flow.estimate_min(1.0, 60.0) >= 2_000);
    assert!(flow.probes.iter().all(|(at, _)| *at < SECOND), "{:?}", flow.probes);
    assert!(flow.probes.iter().all(|(_, rate)| rate.bps() <= 2_200_000));
}

#[test]
fn probes_of_a_link_that_is_full_are_rare() {
    for seed in SEEDS {
        let flow = alone(Link::new(800).seeded(seed), elastic(seed), 62.0);
        let late = flow.probes.iter().filter(|(at, _)| *at > 20 * SECOND).count();
        assert!(late <= 18, "{late} in 42 s, of 30 ms each");
        let (queue, most) = (flow.queue_max(5.0, 62.0), flow.estimate_max(5.0, 62.0));
        assert!(queue < 280 && most < 1_100, "{queue} ms, {most}");
    }
}

#[test]
fn a_layer_that_fits_less_is_no_less_than_it_sends() {
    for seed in SEEDS {
        // Leaves in one go, with keyframes that fill the link for a tenth of a second.
        let mut flow = Flow::new(Source::Fixed(1_500)).seeded(seed);
        (flow.is_paced, flow.keyframes) = (false, 60);
        let flow = alone(link(seed), flow, 40.0);
        assert!(flow.estimate_min(1.5, 40.0) > 1_540, "{}", flow.estimate_min(1.5, 40.0));
    }
}

#[test]
fn a_radio_that_holds_packets_up_is_no_queue() {
    for seed in SEEDS {
        let (mut bunches, mut jitter) = (link(seed), link(seed));
        (bunches.bunches, jitter.jitter) = (20 * MS, 20 * MS);
        for link in [bunches, jitter] {
            let flow = alone(link, elastic(seed), 30.0);
            let mean = flow.estimate_over(4.0, 30.0);
            assert!(mean > 2_000, "{mean}");
            assert!(flow.queue_max(2.0, 30.0) < 200, "{}", flow.queue_max(2.0, 30.0));
        }
    }
}

#[test]
fn lost_feedback_is_no_lost_link() {
    for seed in SEEDS {
        let mut flow = elastic(seed);
        flow.feedback_lost = 30;
        let flow = alone(link(seed), flow, 30.0);
        assert!(flow.estimate_min(2.0, 30.0) > 1_900, "{}", flow.estimate_min(2.0, 30.0));
        assert!(flow.queue_max(2.0, 30.0) < 200, "{}", flow.queue_max(2.0, 30.0));
    }
}

#[test]
fn feedback_may_come_twice_as_often() {
    for seed in SEEDS {
        let mut flow = elastic(seed);
        flow.feedback_interval = 50 * MS;
        let flow = alone(link(seed), flow, 20.0);
        let mean = flow.estimate_over(3.0, 20.0);
        assert!((2_300..2_950).contains(&mean), "{mean}");
    }
}

#[test]
fn a_probe_of_which_nothing_is_heard_is_sent_again() {
    for seed in SEEDS {
        let mut flow = elastic(seed);
        flow.mute = (0, 200 * MS);
        let flow = alone(link(seed), flow, 5.0);
        assert!(flow.reaches(2_300, 0.0) <= 1.2, "{}", flow.reaches(2_300, 0.0));
    }
}

#[test]
fn an_outage_is_survived() {
    for seed in SEEDS {
        let mut link = link(seed);
        link.losses = vec![(8 * SECOND, 10 * SECOND, 1.0)];
        let mut flow = elastic(seed);
        flow.mute = (8 * SECOND, 10 * SECOND);
        let mut flows = [flow];
        run(&mut link, &mut flows, 0.0, 9.9);
        assert_eq!(flows[0].estimator().bound(), Bound::Silence);
        assert!(flows[0].estimate() < 1_500, "{}", flows[0].estimate());
        run(&mut link, &mut flows, 9.9, 16.0);
        assert!(flows[0].reaches(2_300, 10.0) < 3.0, "{}", flows[0].reaches(2_300, 10.0));
    }
}

#[test]
fn packets_that_waited_for_a_second_are_no_end() {
    for seed in SEEDS {
        let mut link = link(seed);
        link.rates = vec![(0, 3_000), (8 * SECOND, 0), (9 * SECOND, 3_000)];
        let flow = alone(link, elastic(seed), 20.0);
        assert!(flow.estimate_over(14.0, 20.0) > 2_200, "{}", flow.estimate_over(14.0, 20.0));
        assert!(flow.queue_max(11.0, 20.0) < 200);
    }
}

#[test]
fn a_new_path_is_learned_anew() {
    for seed in SEEDS {
        let mut flows = [elastic(seed)];
        let mut wifi = link(seed);
        run(&mut wifi, &mut flows, 0.0, 10.0);
        assert!(flows[0].estimate() > 2_000);
        let mut cellular = Link::new(1_200).seeded(seed);
        cellular.delay = 90 * MS;
        flows[0].estimator().path_changed(epoch() + Duration::from_secs(10));
        assert!(flows[0].estimate() <= ESTIMATE_START.bps() / 1_000);
        run(&mut cellular, &mut flows, 10.0, 30.0);
        assert!(flows[0].reaches(900, 10.0) < 2.5, "{}", flows[0].reaches(900, 10.0));
        let mean = flows[0].estimate_over(13.0, 30.0);
        assert!((850..1_250).contains(&mean), "{mean}");
    }
}

#[test]
fn a_long_way_is_no_queue() {
    for seed in SEEDS {
        let mut link = link(seed);
        link.delay = 200 * MS;
        let flow = alone(link, elastic(seed), 30.0);
        let mean = flow.estimate_over(4.0, 30.0);
        assert!((2_200..3_100).contains(&mean), "{mean}");
    }
}

#[test]
fn a_receivers_clock_may_run_off() {
    for drift in [0, 100, 300] {
        let mut flow = elastic(1);
        flow.drift = drift;
        let flow = alone(link(1), flow, 60.0);
        let mean = flow.estimate_over(30.0, 60.0);
        assert!(mean > 2_200, "{drift} ppm: {mean}");
    }
}

#[test]
fn the_estimate_says_what_it_is_from() {
    let mut flows = [elastic(1)];
    assert_eq!(flows[0].estimator().source(), From::Start);
    assert_eq!(flows[0].estimate(), ESTIMATE_START.bps() / 1_000);
    let mut link = link(1);
    run(&mut link, &mut flows, 0.0, 5.0);
    let estimator = flows[0].estimator();
    assert_eq!(estimator.source(), From::Transport);
    let round_trip = estimator.round_trip().unwrap().as_millis();
    assert!((60..160).contains(&round_trip), "{round_trip}");
    let (acked, estimate) = (estimator.acked().bps(), estimator.estimate().bps());
    assert!(acked > estimate / 2 && acked < estimate * 2, "{acked} {estimate}");
    assert!(!estimator.is_limited_by_application());
    assert!(size_of_val(estimator) < 4_096, "{} bytes", size_of_val(estimator));
}
