//! Configuration from the three places: any text gives a value within its bounds or an error that
//! says something; never a panic, and twice the same.

use std::ffi::OsString;
use std::time::Duration;

use trackyard::base::limits::WORKERS_MAX;
use trackyard::config::{LoadError, Task};

/// The file, a zero byte, then one line an argument; those that begin `TRACKYARD_` are for the
/// environment.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (file, rest) = text.split_once('\0').unwrap_or((&text, ""));
    let lines: Vec<&str> = rest.split('\n').filter(|l| !l.is_empty()).collect();
    let (env, args): (Vec<&str>, Vec<&str>) =
        lines.into_iter().partition(|l| l.starts_with("TRACKYARD_"));
    let load = || {
        let args = ["trackyard"].iter().chain(&args).map(OsString::from);
        let env = |key: &str| match key {
            "TRACKYARD_CONFIG" => Some("file.toml".to_owned()),
            key => env.iter().find_map(|l| Some(l.strip_prefix(key)?.strip_prefix('=')?.into())),
        };
        Task::load(args, env, |_| Ok(file.to_owned()))
    };
    let task = load();
    assert_eq!(task, load());
    match task {
        Ok(Task::Bench(bench)) => {
            assert!(bench.workers.iter().all(|n| (1..=WORKERS_MAX).contains(n)));
            assert!(bench.bitrate > 0 && bench.runs > 0 && bench.burst > 0);
        }
        Ok(Task::BenchFloor) => {}
        Ok(Task::Serve(config)) => {
            assert!(config.workers.is_none_or(|n| (1..=WORKERS_MAX).contains(&n)));
            assert!(config.resume_grace.max(config.drain) <= Duration::from_secs(300));
            let bad = config.announce.iter().find(|ip| ip.is_unspecified() || ip.is_multicast());
            assert_eq!(bad, None);
            assert!(config.ice_servers.iter().all(|server| !server.urls.is_empty()));
        }
        Err(LoadError::Asked(text) | LoadError::Wrong(text)) => assert!(!text.trim().is_empty()),
    }
}
