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
