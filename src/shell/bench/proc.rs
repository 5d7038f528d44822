//! What the kernel tells about a process: CPU, memory, dropped datagrams.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Sub;
use std::path::Path;
use std::time::Duration;

/// What threads did so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    /// On a core, in user space and in the kernel.
    pub ran: Duration,
    /// Ready to run, with none of its cores free: others had them.
    pub waited: Duration,
    /// Times that they were given a core.
    pub turns: u64,
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu {
            ran: self.ran.saturating_sub(before.ran),
            waited: self.waited.saturating_sub(before.waited),
            turns: self.turns.saturating_sub(before.turns),
        }
    }
}

/// Of all threads of a process, to the nanosecond for those that sleep. Error: it is gone, or the
/// kernel does not count (`CONFIG_SCHED_INFO`).
pub fn cpu(pid: u32) -> io::Result<Cpu> {
    let mut all = Cpu::default();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread that ended meanwhile takes what it counted with it: rare, and little.
        let Ok(thread) = schedstat(&entry?.path()) else { continue };
        all.ran += thread.ran;
        all.waited += thread.waited;
        all.turns += thread.turns;
    }
    match all.turns {
        0 => Err(io::Error::new(ErrorKind::NotFound, "no /proc/PID/task/TID/schedstat")),
        _ => Ok(all),
    }
}

/// Of the calling thread.
pub fn own_cpu() -> io::Result<Cpu> {
    schedstat(Path::new("/proc/thread-self"))
}

fn schedstat(thread: &Path) -> io::Result<Cpu> {
    let text = fs::read_to_string(thread.join("schedstat"))?;
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(ran), Some(waited), Some(turns)) => {
            Ok(Cpu { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited), turns })
        }
        _ => Err(io::Error::new(ErrorKind::InvalidData, "schedstat")),
    }
}

/// Memory of a process that is in RAM.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = value.and_then(|v| v.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "VmRSS"))
}

/// Datagrams that were dropped because a socket's buffer was full, by the socket's port. Empty
/// where the kernel does not say.
pub fn dropped_by_port() -> HashMap<u16, u64> {
    let text = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let port = words.nth(1)?.rsplit(':').next()?;
        Some((u16::from_str_radix(port, 16).ok()?, words.last()?.parse().ok()?))
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// Packets that the kernel dropped between a sender and a socket on this machine, because its own
/// threads fell behind; 0 where it does not say.
pub fn dropped_on_the_way() -> u64 {
    let text = fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    let dropped = text.lines().filter_map(|line| line.split_whitespace().nth(1));
    dropped.filter_map(|hex| u64::from_str_radix(hex, 16).ok()).sum()
}

/// The three averages of processes that ran or wanted to.
pub fn load() -> [f64; 3] {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut words = text.split_whitespace().map(|word| word.parse().unwrap_or(0.0));
    [(); 3].map(|()| words.next().unwrap_or(0.0))
}

/// What the processor calls itself, and the kernel's release; empty where nobody says.
pub fn machine() -> (String, String) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split_once(':'));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    (model.map_or("", |(_, name)| name).trim().to_owned(), kernel.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_process_is_read() {
        let pid = std::process::id();
        let before = (cpu(pid).unwrap(), own_cpu().unwrap());
        let mut x = 1u64;
        while (own_cpu().unwrap() - before.1).ran < Duration::from_millis(2) {
            for i in 0..100_000 {
                x = x.wrapping_mul(3).wrapping_add(std::hint::black_box(i));
            }
        }
        assert!((cpu(pid).unwrap() - before.0).ran >= Duration::from_millis(1), "{x}");
        assert!(resident_bytes(pid).unwrap() > 1 << 20);
        assert!(cpu(u32::MAX).is_err() && resident_bytes(u32::MAX).is_err());
    }

    #[test]
    fn what_a_full_socket_drops_is_counted() {
        let (full, sender) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let port = full.local_addr().unwrap().port();
        assert_eq!(dropped_by_port()[&port], 0);
        socket2::SockRef::from(&full).set_recv_buffer_size(2_048).unwrap();
        for _ in 0..64 {
            sender.send_to(&[0; 1_000], full.local_addr().unwrap()).unwrap();
        }
        assert!(dropped_by_port()[&port] > 0);
    }
}
