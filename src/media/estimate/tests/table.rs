//! What happens on many links, for people to look at.

use super::flow::{Flow, Source, run};
use super::link::{Link, MS, SECOND};
use crate::base::bitrate::Bitrate;

fn show(name: &str, mut link: Link, mut flows: Vec<Flow>, seconds: f64, step: f64) {
    run(&mut link, &mut flows, 0.0, seconds);
    println!("\n{name}");
    println!("   s | link  queue | estimate arrives (kbit/s, each flow)");
    let mut at = 0.0;
    while at < seconds {
        let to = at + step;
        let queue = flows[0].queue_max(at, to);
        let cells: Vec<String> = flows
            .iter()
            .map(|f| format!("{:>6} {:>6}", f.estimate_over(at, to), f.arrived_over(at, to)))
            .collect();
        let rate = link.rate((at * 1e6) as u64);
        println!("{at:>5.1}| {rate:>5} {queue:>4} ms | {}", cells.join(" | "));
        at = to;
    }
    for (number, flow) in flows.iter().enumerate() {
        let probes: Vec<String> = flow
            .probes
            .iter()
            .map(|(at, rate)| format!("{:.2}:{}", *at as f64 / 1e6, rate.bps() / 1000))
            .collect();
        println!("probes of {number}: {}", probes.join(" "));
    }
}

#[test]
#[ignore = "for people to look at"]
fn table() {
    let elastic = || Flow::new(Source::Elastic(2_900));
    let layers = || Flow::new(Source::Layers(vec![150, 500, 1_500, 2_800]));
    show("steady 3 Mbit/s, elastic", Link::new(3_000), vec![elastic()], 20.0, 1.0);
    show("steady 3 Mbit/s, layers", Link::new(3_000), vec![layers()], 10.0, 1.0);
    let fall = |limit: usize| {
        let mut link = Link::new(3_000);
        link.rates = vec![(0, 3_000), (10 * SECOND, 400), (20 * SECOND, 3_000)];
        link.queue_bytes_max = limit;
        link
    };
    show("3 Mbit/s, 400 kbit/s, 3 Mbit/s; queue 112 kB", fall(112_500), vec![elastic()], 30.0, 0.5);
    show("the same, queue 40 kB", fall(40_000), vec![elastic()], 30.0, 0.5);
    show("the same, layers", fall(40_000), vec![layers()], 30.0, 0.5);
    let mut lossy = Link::new(3_000);
    (lossy.delay, lossy.losses) = (50 * MS, vec![(0, u64::MAX, 0.05)]);
    show("5 % lost, 50 ms each way", lossy, vec![elastic()], 20.0, 1.0);
    let mut bursts = Link::new(3_000);
    bursts.losses = (1..20).map(|s| (s * 3 * SECOND, s * 3 * SECOND + 200 * MS, 0.2)).collect();
    show("bursts of 20 % for 200 ms", bursts, vec![elastic()], 15.0, 0.5);
    let mut limited = Flow::new(Source::Fixed(500));
    limited.goal = None;
    show("500 kbit/s on 3 Mbit/s, no goal", Link::new(3_000), vec![limited], 20.0, 1.0);
    let mut limited = Flow::new(Source::Fixed(500));
    limited.goal = Some(Bitrate::from_kbps(3_000));
    show("500 kbit/s on 3 Mbit/s, goal 3", Link::new(3_000), vec![limited], 20.0, 1.0);
    let mut swings = Link::new(3_000);
    swings.rates = (0..12).map(|n| (n * 5 * SECOND, [3_000, 800][n as usize % 2])).collect();
    show("swings each 5 s", swings, vec![elastic()], 30.0, 1.0);
    let pair = || vec![elastic(), Flow::published(2_900)];
    show("beside the published model", Link::new(3_000), pair(), 60.0, 2.0);
    let mut late = elastic();
    late.starts = 20 * SECOND;
    let flows = vec![late, Flow::published(2_900)];
    show("the other came first", Link::new(3_000), flows, 60.0, 2.0);
    show("two of ours", Link::new(3_000), vec![elastic(), elastic()], 60.0, 2.0);
    show("the published model alone", Link::new(3_000), vec![Flow::published(2_900)], 30.0, 2.0);
    let mut jitter = Link::new(3_000);
    jitter.jitter = 20 * MS;
    show("jitter of 20 ms", jitter, vec![elastic()], 20.0, 1.0);
    let mut burst = Flow::new(Source::Fixed(1_500));
    (burst.is_paced, burst.keyframes) = (false, 60);
    show("unpaced with keyframes, 1.5 on 3 Mbit/s", Link::new(3_000), vec![burst], 20.0, 1.0);
}

#[test]
#[ignore = "for people to look at"]
fn rarer_links() {
    let elastic = || Flow::new(Source::Elastic(2_900));
    let mut bunches = Link::new(3_000);
    bunches.bunches = 20 * MS;
    show("bunches of 20 ms", bunches, vec![elastic()], 20.0, 1.0);
    for percent in [10, 15, 20, 30] {
        let mut lossy = Link::new(3_000);
        lossy.losses = vec![(0, u64::MAX, percent as f64 / 100.0)];
        show(&format!("{percent} % lost"), lossy, vec![elastic()], 20.0, 2.0);
    }
    let mut lossy = Link::new(3_000);
    lossy.losses = vec![(0, u64::MAX, 0.05)];
    let fixed = || {
        let mut fixed = Flow::new(Source::Fixed(500));
        fixed.goal = Some(Bitrate::from_kbps(2_500));
        fixed
    };
    show("5 % lost, limited by the application", lossy, vec![fixed()], 20.0, 2.0);
    let mut shallow = Link::new(1_000);
    shallow.queue_bytes_max = 6_000;
    show("1 Mbit/s, queue 6 kB", shallow, vec![elastic()], 20.0, 1.0);
    let mut muted = elastic();
    muted.feedback_lost = 30;
    show("30 % of feedback lost", Link::new(3_000), vec![muted], 20.0, 1.0);
    let mut silent = elastic();
    silent.mute = (8 * SECOND, 11 * SECOND);
    show("no feedback for 3 s", Link::new(3_000), vec![silent], 20.0, 0.5);
    let mut outage = Link::new(3_000);
    outage.losses = vec![(8 * SECOND, 10 * SECOND, 1.0)];
    let mut out = elastic();
    out.mute = (8 * SECOND, 10 * SECOND);
    show("outage of 2 s", outage, vec![out], 20.0, 0.5);
    let mut held = Link::new(3_000);
    held.rates = vec![(0, 3_000), (8 * SECOND, 0), (9 * SECOND, 3_000)];
    show("everything waits for 1 s", held, vec![elastic()], 20.0, 0.5);
    let mut far = Link::new(3_000);
    far.delay = 200 * MS;
    show("200 ms each way", far, vec![elastic()], 20.0, 1.0);
    let mut drift = elastic();
    drift.drift = 200;
    show("a clock that runs off by 200 ppm", Link::new(3_000), vec![drift], 40.0, 4.0);
    let mut slow = elastic();
    slow.picture_interval = 200 * MS;
    slow.is_paced = false;
    show("5 pictures a second, unpaced", Link::new(3_000), vec![slow], 20.0, 1.0);
    show("250 kbit/s", Link::new(250), vec![elastic()], 20.0, 1.0);
    let mut fast = Flow::new(Source::Elastic(40_000));
    fast.goal = Some(Bitrate::from_kbps(40_000));
    show("50 Mbit/s", Link::new(50_000), vec![fast], 10.0, 0.5);
    let mut burst = Flow::new(Source::Elastic(2_800));
    (burst.is_paced, burst.keyframes) = (false, 90);
    show("unpaced with keyframes, elastic", Link::new(3_000), vec![burst], 20.0, 1.0);
    let mut fall = Link::new(3_000);
    fall.rates = vec![(0, 3_000), (10 * SECOND, 300)];
    show("500 kbit/s, limited, the link falls to 300", fall, vec![fixed()], 20.0, 0.5);
    let mut wild = Link::new(2_000);
    wild.rates = (0..400).map(|n| (n * 100 * MS, 1_200 + (n * 7919) % 1_600)).collect();
    show("1.2 to 2.8 Mbit/s, another each 100 ms", wild, vec![elastic()], 40.0, 2.0);
    let layers = || Flow::new(Source::Layers(vec![150, 500, 1_500]));
    show(
        "layers beside the published",
        Link::new(3_000),
        vec![layers(), Flow::published(2_900)],
        40.0,
        2.0,
    );
    show("two with layers", Link::new(3_000), vec![layers(), layers()], 40.0, 2.0);
}
