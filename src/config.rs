//! Floor 4: what the program was told, from flags, environment and file, as one typed value.
//!
//! Each key may stand in three places; the first one that has it wins: the flag (`--resume-grace`),
//! the environment (`TRACKYARD_RESUME_GRACE`; empty counts as unset), the TOML file
//! (`resume_grace`). Nothing here reads any of them itself.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser as _;
use log::LevelFilter;
use toml::{Table, Value};

use crate::base::limits::{RESUME_GRACE, WORKERS_MAX};
use crate::base::secret::Secret;
use crate::room::mail::RoomSettings;
use crate::wire::signal::{IceServer, PublishLimits};

mod bench;
mod flags;

pub use bench::{BenchConfig, BenchMedia, Scenario};
use flags::{Command, Flags, KEYS};

/// Everything the program can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// TCP (HTTPS, WebSocket) and UDP (media), the same port. Port 0 picks one free for both.
    pub listen: SocketAddr,
    /// Addresses given to clients; empty: those found on the machine.
    pub announce: Vec<IpAddr>,
    /// Worker threads; `None`: one per core.
    pub workers: Option<usize>,
    /// Certificate chain and key as PEM files; `None`: a self-signed one kept in `certs_dir`.
    pub tls: Option<TlsFiles>,
    /// Where the self-signed certificate is kept.
    pub certs_dir: PathBuf,
    /// STUN and TURN servers told to clients.
    pub ice_servers: Vec<IceServer>,
    /// What rooms may have.
    pub rooms: RoomSettings,
    /// What participants may send.
    pub limits: PublishLimits,
    /// How long a session outlives a WebSocket that broke.
    pub resume_grace: Duration,
    /// What `/metrics` and `/api/rooms` want to be shown; `None`: they answer loopback only.
    pub metrics_token: Option<Secret>,
    /// Addresses that the limits per source leave alone: a proxy, a load generator.
    pub exempt: Vec<IpAddr>,
    /// How long clients have to go once the server was told to end.
    pub drain: Duration,
    pub log: LevelFilter,
    /// Print the QR code even when standard output is no terminal.
    pub qr: bool,
}

/// PEM files of the operator's own certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8443)),
            announce: Vec::new(),
            workers: None,
            tls: None,
            certs_dir: PathBuf::from("certs"),
            ice_servers: Vec::new(),
            rooms: RoomSettings::default(),
            limits: PublishLimits::default(),
            resume_grace: RESUME_GRACE,
            metrics_token: None,
            exempt: Vec::new(),
            drain: Duration::from_secs(5),
            log: LevelFilter::Info,
            qr: false,
        }
    }
}

/// What the program is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    Serve(Config),
    /// Measure a server that it starts itself.
    Bench(BenchConfig),
    /// Be what a measured server is compared with; started by the above only.
    BenchFloor,
}

/// Why there is no [`Task`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadError {
    /// Help or version was asked for: this text goes to standard output, exit code 0.
    Asked(String),
    /// Something is wrong: this text goes to standard error, exit code 2.
    Wrong(String),
}

impl Task {
    /// Reads `args` (the program's name first); a server's configuration also from `env` and the
    /// file they name, where they leave it open. Error: the first thing that is wrong, with its
    /// key and where it stands.
    pub fn load(
        args: impl IntoIterator<Item = OsString>,
        env: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Task, LoadError> {
        let mut flags = Flags::try_parse_from(args).map_err(|e| {
            let text = e.render().to_string();
            match e.use_stderr() {
                true => LoadError::Wrong(text.trim_end().to_owned()),
                false => LoadError::Asked(text),
            }
        })?;
        match flags.command.take() {
            None => Config::load(flags, env, read_file).map(Task::Serve),
            Some(Command::Bench(bench)) => bench.check().map(Task::Bench).map_err(LoadError::Wrong),
            Some(Command::BenchFloor) => Ok(Task::BenchFloor),
        }
    }
}

impl Config {
    fn load(
        flags: Flags,
        env: impl Fn(&str) -> Option<String>,
        read_file: impl Fn(&Path) -> io::Result<String>,
    ) -> Result<Config, LoadError> {
        let env = |key: &str| env(&env_name(key)).filter(|v| !v.is_empty());
        let path = flags.config.clone().or_else(|| env("config"));
        let (table, file_name) = match path {
            Some(path) => (read_table(&path, read_file)?, path),
            None => (Table::new(), String::new()),
        };
        let given = Given { flags, env: &env, table, file_name };
        given.build().map_err(LoadError::Wrong)
    }
}

/// Grace times beyond this keep dead sessions and their media state for nobody.
const SPAN_MAX: Duration = Duration::from_secs(300);

fn env_name(key: &str) -> String {
    format!("TRACKYARD_{}", key.to_uppercase())
}

/// The file as a table of known keys.
fn read_table(
    path: &str,
    read_file: impl Fn(&Path) -> io::Result<String>,
) -> Result<Table, LoadError> {
    let wrong = |text: String| LoadError::Wrong(text);
    let text = read_file(Path::new(path))
        .map_err(|e| wrong(format!("config: cannot read the file {path}: {e}")))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        let line = e
            .span()
            .map_or(1, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        wrong(format!("config: {path} line {line}: {}", e.message()))
    })?;
    match table.keys().find(|key| !KEYS.contains(&key.as_str())) {
        Some(key) => Err(wrong(format!(
            "config: {path} has the unknown key `{key}`; it takes {}",
            KEYS.join(", ")
        ))),
        None => Ok(table),
    }
}

/// Where a value stood, for the error that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Flag,
    Env,
    File(String),
}

/// A key's values as they were given; a scalar is one value.
#[derive(Debug)]
struct Raw {
    key: &'static str,
    origin: Origin,
    values: Vec<Value>,
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key;
        match &self.origin {
            Origin::Flag => write!(f, "{key} (from --{})", key.replace('_', "-")),
            Origin::Env => write!(f, "{key} (from {})", env_name(key)),
            Origin::File(name) => write!(f, "{key} (from {name})"),
        }
    }
}

/// The three places.
struct Given<'a> {
    flags: Flags,
    env: &'a dyn Fn(&str) -> Option<String>,
    table: Table,
    file_name: String,
}

impl Given<'_> {
    fn build(&self) -> Result<Config, String> {
        let default = Config::default();
        let config = Config {
            listen: self.one("listen", LISTEN, parsed)?.unwrap_or(default.listen),
            announce: self.list("announce", ANNOUNCE, announced)?,
            workers: self.one("workers", &workers_takes(), worker_count)?,
            tls: self.tls_files()?,
            certs_dir: self.one("certs_dir", PATH, path)?.unwrap_or(default.certs_dir),
            ice_servers: self.list("ice_server", ICE_SERVER, ice_server)?,
            rooms: self.rooms(default.rooms)?,
            limits: PublishLimits {
                camera_bitrate: self.one("camera_bitrate", BITRATE, bitrate)?,
                screen_bitrate: self.one("screen_bitrate", BITRATE, bitrate)?,
            },
            resume_grace: self.one("resume_grace", SPAN, span)?.unwrap_or(default.resume_grace),
            metrics_token: self.one("metrics_token", TOKEN, token)?,
            exempt: self.list("exempt", EXEMPT, address)?,
            drain: self.one("drain", SPAN, span)?.unwrap_or(default.drain),
            log: self.one("log", LOG, level)?.unwrap_or(default.log),
            qr: self.one("qr", "true or false", boolean)?.unwrap_or(default.qr),
        };
        match config.announce.iter().find(|ip| !fits(config.listen, **ip)) {
            Some(ip) => Err(format!(
                "announce: {ip} cannot be reached when listening on {}; listen on [::] for IPv6",
                config.listen
            )),
            None => Ok(config),
        }
    }

    fn rooms(&self, default: RoomSettings) -> Result<RoomSettings, String> {
        Ok(RoomSettings {
            heard_max: self.one("microphones", COUNT, count)?.unwrap_or(default.heard_max),
            last_n: self.one("last_n", COUNT, count)?.unwrap_or(default.last_n),
            publishers_max: self.one("publishers", COUNT, count)?.unwrap_or(default.publishers_max),
        })
    }

    fn tls_files(&self) -> Result<Option<TlsFiles>, String> {
        let cert = self.one("cert", PATH, path)?;
        let key = self.one("key", PATH, path)?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err("cert: needs its private key beside it, in `key`".to_owned()),
            (None, Some(_)) => Err("key: needs its certificate beside it, in `cert`".to_owned()),
        }
    }

    /// At most one value of `key`. `takes` completes the sentence "… takes …".
    fn one<T>(
        &self,
        key: &'static str,
        takes: &str,
        parse: fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        let Some(raw) = self.raw(key) else {
            return Ok(None);
        };
        match &raw.values[..] {
            [value] => checked(&raw, value, takes, parse).map(Some),
            _ => Err(format!("{raw}: takes one value: {takes}")),
        }
    }

    /// Any number of values of `key`; text is split at commas.
    fn list<T>(
        &self,
        key: &'static str,
        takes: &str,
        parse: fn(&Value) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let Some(raw) = self.raw(key) else {
            return Ok(Vec::new());
        };
        let mut list = Vec::new();
        for value in &raw.values {
            match value {
                Value::String(text) => {
                    for part in text.split(',') {
                        let part = Value::String(part.trim().to_owned());
                        list.push(checked(&raw, &part, takes, parse)?);
                    }
                }
                value => list.push(checked(&raw, value, takes, parse)?),
            }
        }
        Ok(list)
    }

    fn raw(&self, key: &'static str) -> Option<Raw> {
        let flags: Vec<Value> = self.flags.of(key).into_iter().map(Value::String).collect();
        let (origin, values) = if !flags.is_empty() {
            (Origin::Flag, flags)
        } else if let Some(text) = (self.env)(key) {
            (Origin::Env, vec![Value::String(text)])
        } else {
            let values = match self.table.get(key)? {
                Value::Array(values) => values.clone(),
                value => vec![value.clone()],
            };
            (Origin::File(self.file_name.clone()), values)
        };
        Some(Raw { key, origin, values })
    }
}

fn checked<T>(
    raw: &Raw,
    value: &Value,
    takes: &str,
    parse: fn(&Value) -> Option<T>,
) -> Result<T, String> {
    // A table may hold a password, and a token is one: it is not shown.
    let shown = match value {
        Value::String(_) if raw.key == "metrics_token" => "this".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Integer(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Boolean(b) => b.to_string(),
        other => format!("this {}", other.type_str()),
    };
    parse(value).ok_or_else(|| format!("{raw}: {shown} is not valid; it takes {takes}"))
}

const LISTEN: &str = "an IP address with a port, like 0.0.0.0:8443 or [::]:8443";
const ANNOUNCE: &str = "IP addresses that clients can reach, like 203.0.113.7";
const EXEMPT: &str = "IP addresses, like 192.0.2.10";
const TOKEN: &str = "16 to 256 letters, digits or any of -._~+/=";
const PATH: &str = "a path";
const ICE_SERVER: &str = "stun:HOST:PORT, or in the file { urls = [\"turn:HOST:PORT\"], \
                          username = \"…\", credential = \"…\" }";
const SPAN: &str = "a time from 0 to 300s, like 6, 6s or 500ms";
const COUNT: &str = "a number from 1 to 1000";
const BITRATE: &str = "bits a second from 50k to 100M, like 800k, 2.5M or 2500000";
const LOG: &str = "error, warn, info, debug or trace";

fn workers_takes() -> String {
    format!("a number from 1 to {WORKERS_MAX}")
}

fn parsed<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn path(value: &Value) -> Option<PathBuf> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Some(PathBuf::from(text))
}

fn boolean(value: &Value) -> Option<bool> {
    value.as_bool().or_else(|| parsed(value))
}

fn address(value: &Value) -> Option<IpAddr> {
    parsed::<IpAddr>(value).map(|ip| ip.to_canonical())
}

fn token(value: &Value) -> Option<Secret> {
    let text = value.as_str()?;
    // RFC 6750 §2.1.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    let fits = (16..=256).contains(&text.len()) && text.bytes().all(allowed);
    fits.then(|| Secret(text.to_owned()))
}

fn announced(value: &Value) -> Option<IpAddr> {
    let ip = address(value)?;
    (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip)
}

/// Whether a datagram to `ip` can reach a socket bound to `listen`, maybe through a NAT.
fn fits(listen: SocketAddr, ip: IpAddr) -> bool {
    match listen.ip().to_canonical() {
        IpAddr::V4(_) => ip.is_ipv4(),
        IpAddr::V6(v6) => ip.is_ipv6() || v6.is_unspecified(),
    }
}

fn count(value: &Value) -> Option<usize> {
    let count = match value {
        Value::Integer(n) => usize::try_from(*n).ok()?,
        value => parsed(value)?,
    };
    (1..=1_000).contains(&count).then_some(count)
}

/// In bit/s.
fn bitrate(value: &Value) -> Option<u64> {
    let rate = match value {
        Value::Integer(n) => *n as f64,
        Value::String(text) => {
            let (digits, unit) = match text.as_bytes().last()? {
                b'k' => (text.strip_suffix('k')?, 1e3),
                b'M' => (text.strip_suffix('M')?, 1e6),
                _ => (text.as_str(), 1.0),
            };
            let plain = digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            digits.parse::<f64>().ok().filter(|_| plain)? * unit
        }
        _ => return None,
    };
    (50e3..=100e6).contains(&rate).then_some(rate.round() as u64)
}

fn worker_count(value: &Value) -> Option<usize> {
    let count = match value {
        Value::Integer(n) => usize::try_from(*n).ok()?,
        value => parsed(value)?,
    };
    (1..=WORKERS_MAX).contains(&count).then_some(count)
}

fn span(value: &Value) -> Option<Duration> {
    let span = match value {
        Value::Integer(n) => Duration::from_secs(u64::try_from(*n).ok()?),
        Value::String(text) => match text.strip_suffix("ms") {
            Some(digits) => Duration::from_millis(whole(digits)?),
            None => Duration::from_secs(whole(text.strip_suffix('s').unwrap_or(text))?),
        },
        _ => return None,
    };
    (span <= SPAN_MAX).then_some(span)
}

/// Digits only; `u64`'s own parser would take a sign too.
fn whole(digits: &str) -> Option<u64> {
    let all_digits = digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().ok())?
}

fn level(value: &Value) -> Option<LevelFilter> {
    let level: LevelFilter = parsed(value)?;
    (level != LevelFilter::Off).then_some(level)
}

fn ice_server(value: &Value) -> Option<IceServer> {
    let server = match value {
        Value::String(url) => {
            IceServer { urls: vec![url.clone()], username: None, credential: None }
        }
        value => value.clone().try_into().ok()?,
    };
    // A browser refuses the whole list when one TURN server has no credential
    // (W3C WebRTC §4.4.1.6), so a page would not work at all.
    let open = server.username.is_none() || server.credential.is_none();
    let url_fits = |url: &String| match url.split_once(':') {
        Some(("stun" | "stuns", host)) => !host.is_empty(),
        Some(("turn" | "turns", host)) => !host.is_empty() && !open,
        _ => false,
    };
    (!server.urls.is_empty() && server.urls.iter().all(url_fits)).then_some(server)
}

#[cfg(test)]
mod tests;
