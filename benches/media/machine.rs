//! What the machine counts: this thread's time on a processor, which a busy machine does not
//! stretch, and the instructions that it retired, where we may see them.

use std::fs::File;
use std::io::{Error, Read, Result};
use std::os::fd::FromRawFd;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// Time on a processor, in ns; as a rate, what one packet takes of it.
pub struct ThreadTime;

impl ThreadTime {
    /// How long this took.
    pub fn time(&self, work: impl FnOnce()) -> u64 {
        let start = ThreadTime::now();
        work();
        ThreadTime::now() - start
    }

    fn now() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the time outlives the call.
        let code = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        assert_eq!(code, 0, "every thread has such a clock");
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

impl Measurement for ThreadTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        ThreadTime::now()
    }

    fn end(&self, start: u64) -> u64 {
        ThreadTime::now() - start
    }

    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for ThreadTime {
    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        WallTime.formatter().scale_values(typical, values)
    }

    fn scale_throughputs(&self, _: f64, packets: &Throughput, ns: &mut [f64]) -> &'static str {
        let Throughput::Elements(packets) = packets else { unreachable!("all count packets") };
        ns.iter_mut().for_each(|ns| *ns /= *packets as f64);
        "ns/packet"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}

/// Of instructions: a counter of the kernel's (`perf_event_open(2)`), which counts all the time.
pub struct Counter(File);

/// `PERF_TYPE_HARDWARE` and `PERF_COUNT_HW_INSTRUCTIONS`.
const INSTRUCTIONS: (u32, u64) = (0, 1);
/// Neither the kernel's own nor the hypervisor's: what everybody may count.
const EXCLUDE: u64 = 1 << 5 | 1 << 6;

/// The first version of `struct perf_event_attr`, which every kernel takes.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    config1: u64,
}

impl Counter {
    pub fn open() -> Result<Counter> {
        let ((kind, config), size) = (INSTRUCTIONS, size_of::<Attributes>() as u32);
        let attributes = Attributes { kind, size, config, flags: EXCLUDE, ..Default::default() };
        let (call, attributes) = (libc::SYS_perf_event_open, &raw const attributes);
        let (this_thread, any_core, no_group, flags) = (0, -1, -1, 0);
        // SAFETY: the attributes are as long as they say and outlive the call, and the descriptor
        // that comes of it is nobody else's.
        unsafe {
            match libc::syscall(call, attributes, this_thread, any_core, no_group, flags) {
                -1 => Err(Error::last_os_error()),
                descriptor => Ok(Counter(File::from_raw_fd(descriptor as i32))),
            }
        }
    }

    /// How many this took.
    pub fn count(&mut self, work: impl FnOnce()) -> u64 {
        let before = self.read();
        work();
        self.read() - before
    }

    fn read(&mut self) -> u64 {
        let mut count = [0; 8];
        self.0.read_exact(&mut count).expect("a counter gives its eight bytes");
        u64::from_ne_bytes(count)
    }
}
