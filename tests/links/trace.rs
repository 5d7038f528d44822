//! `LINK_TRACE=1` prints what the server logs, and what links drop and viewers see, with the time of
//! the run.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

struct Printed;

impl Log for Printed {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ["trackyard", "links"].iter().any(|own| metadata.target().starts_with(own))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            println!("{:9.4} {}", TIME.get().as_secs_f64(), record.args());
        }
    }

    fn flush(&self) {}
}

/// Begins, if it is wanted.
pub fn begin() {
    static ONCE: LazyLock<()> = LazyLock::new(|| {
        if std::env::var_os("LINK_TRACE").is_some() {
            log::set_logger(&Printed).expect("the only one");
            log::set_max_level(LevelFilter::Trace);
        }
    });
    *ONCE
}

/// The time of this thread's run.
pub fn at(time: Duration) {
    TIME.set(time);
}
