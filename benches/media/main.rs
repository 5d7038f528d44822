//! What the parts of a forwarded packet cost, with the sockets left out: ns of processor time, and
//! instructions where the machine lets us count them.
//!
//!     cargo bench --bench media                all of it
//!     cargo bench --bench media -- forward     only what has this in its name
#![allow(clippy::disallowed_methods, reason = "somebody must make up the first instant")]

#[path = "../../tests/common/mod.rs"]
mod common;
mod forward;
mod machine;
mod packet;
mod srtp;

use criterion::{BenchmarkGroup, Criterion, Throughput};
use machine::{Counter, ThreadTime};

/// Inputs that are made at a time, outside what is measured. Few enough to stay in a cache.
const BATCH: u64 = 64;

struct Bench<'a> {
    group: BenchmarkGroup<'a, ThreadTime>,
    counter: Option<Counter>,
}

impl Bench<'_> {
    /// Inputs are made and worked on in the same order; each is worth so many packets. Nothing is
    /// called if the arguments leave this one out.
    fn run<S, T>(
        &mut self,
        (name, packets): (&str, u64),
        state: &mut S,
        make: impl Fn(&mut S) -> T,
        work: impl Fn(&mut S, &mut T),
    ) {
        let mut batch = |inputs: u64, measure: &mut dyn FnMut(&mut dyn FnMut())| {
            let mut inputs: Vec<T> = (0..inputs).map(|_| make(state)).collect();
            measure(&mut || inputs.iter_mut().for_each(|input| work(state, input)));
        };
        let mut has_run = false;
        self.group.throughput(Throughput::Elements(packets));
        self.group.bench_function(name, |b| {
            b.iter_custom(|inputs| {
                has_run = true;
                let (full, rest) = (inputs / BATCH, inputs % BATCH);
                let sizes = (0..full).map(|_| BATCH).chain([rest]);
                let mut time = 0;
                sizes.for_each(|size| batch(size, &mut |work| time += ThreadTime.time(work)));
                time
            });
        });
        if let Some(counter) = self.counter.as_mut().filter(|_| has_run) {
            batch(BATCH, &mut |work| {
                let all = counter.count(work);
                println!("{name}: {} instructions/packet", all / BATCH / packets);
            });
        }
    }
}

fn bench<'a>(criterion: &'a mut Criterion<ThreadTime>, group: &str) -> Bench<'a> {
    Bench { group: criterion.benchmark_group(group), counter: Counter::open().ok() }
}

fn main() {
    let mut criterion = Criterion::default().with_measurement(ThreadTime).configure_from_args();
    if let Err(why) = Counter::open() {
        println!("instructions cannot be counted here: {why}");
    }
    srtp::all(&mut criterion);
    packet::all(&mut criterion);
    forward::all(&mut criterion);
    criterion.final_summary();
}
