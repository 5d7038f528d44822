//! The command line, as text: what each flag takes is decided in [`super`], the same way for all
//! three places.

use clap::{Parser, Subcommand};

use super::bench::BenchConfig;

/// Every key of [`super::Config`], by its name in the file.
pub const KEYS: [&str; 18] = [
    "listen",
    "announce",
    "workers",
    "cert",
    "key",
    "certs_dir",
    "ice_server",
    "microphones",
    "last_n",
    "publishers",
    "camera_bitrate",
    "screen_bitrate",
    "resume_grace",
    "metrics_token",
    "exempt",
    "drain",
    "log",
    "qr",
];

/// Trackyard: a WebRTC media server (SFU).
///
/// Serves its web page, HTTPS and WebSocket on one TCP port and all media on the UDP port of the
/// same number. Rooms are made by entering them. WHIP and WHEP clients use /whip/ROOM/NAME and
/// /whep/ROOM.
#[derive(Default, Parser)]
#[command(name = "trackyard", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub struct Flags {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// TOML file with any of the keys below, dashes written as underscores; a flag wins over the
    /// environment, the environment over the file [env: TRACKYARD_CONFIG] [default: none]
    #[arg(long, value_name = "PATH")]
    pub config: Option<String>,
    /// Address and port for TCP (page, signalling) and UDP (media); [::]:8443 takes IPv6 and
    /// IPv4, port 0 picks a free one [env: TRACKYARD_LISTEN] [default: 0.0.0.0:8443]
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Address at which clients reach this machine; repeat it for several, separate them by
    /// commas in the environment [env: TRACKYARD_ANNOUNCE] [default: found on the machine]
    #[arg(long, value_name = "IP")]
    announce: Vec<String>,
    /// Worker threads, 1 to 64 [env: TRACKYARD_WORKERS] [default: one per core]
    #[arg(long, value_name = "N")]
    workers: Option<String>,
    /// Certificate chain as PEM, together with --key [env: TRACKYARD_CERT] [default: a
    /// self-signed one, made and renewed]
    #[arg(long, value_name = "PATH")]
    cert: Option<String>,
    /// Private key of --cert as PEM [env: TRACKYARD_KEY]
    #[arg(long, value_name = "PATH")]
    key: Option<String>,
    /// Where the self-signed certificate is kept [env: TRACKYARD_CERTS_DIR] [default: certs]
    #[arg(long, value_name = "PATH")]
    certs_dir: Option<String>,
    /// STUN server for clients (stun:HOST:PORT); repeatable, comma-separated in the environment;
    /// a TURN server needs a username and stands in the file [env: TRACKYARD_ICE_SERVER]
    /// [default: none]
    #[arg(long, value_name = "URL")]
    ice_server: Vec<String>,
    /// Microphones of one room that are forwarded at a time: of more, the loudest
    /// [env: TRACKYARD_MICROPHONES] [default: 20]
    #[arg(long, value_name = "N")]
    microphones: Option<String>,
    /// Pictures that one viewer gets at a time: pinned ones, screens and who spoke last come first
    /// [env: TRACKYARD_LAST_N] [default: all]
    #[arg(long, value_name = "N")]
    last_n: Option<String>,
    /// Participants of one room that may send [env: TRACKYARD_PUBLISHERS] [default: all]
    #[arg(long, value_name = "N")]
    publishers: Option<String>,
    /// What a camera may send at most, in all its sizes together, 50k to 100M (800k, 2.5M)
    /// [env: TRACKYARD_CAMERA_BITRATE] [default: no limit]
    #[arg(long, value_name = "BITS/S")]
    camera_bitrate: Option<String>,
    /// The same of a shared screen [env: TRACKYARD_SCREEN_BITRATE] [default: no limit]
    #[arg(long, value_name = "BITS/S")]
    screen_bitrate: Option<String>,
    /// How long a session waits for its client to come back, 0 to 300s (6, 6s or 500ms)
    /// [env: TRACKYARD_RESUME_GRACE] [default: 6s]
    #[arg(long, value_name = "TIME")]
    resume_grace: Option<String>,
    /// What a client of /metrics and /api/rooms has to show (Authorization: Bearer …); without
    /// it, both answer only clients on this machine that came by no proxy
    /// [env: TRACKYARD_METRICS_TOKEN] [default: none]
    #[arg(long, value_name = "TOKEN")]
    metrics_token: Option<String>,
    /// Address that the limits per client address leave alone, such as a proxy in front; repeat
    /// it for several [env: TRACKYARD_EXEMPT] [default: none]
    #[arg(long, value_name = "IP")]
    exempt: Vec<String>,
    /// How long the server takes at most to end once told to (SIGTERM, Ctrl-C), 0 to 300s
    /// [env: TRACKYARD_DRAIN] [default: 5s]
    #[arg(long, value_name = "TIME")]
    drain: Option<String>,
    /// What to log: error, warn, info, debug or trace [env: TRACKYARD_LOG] [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Print the QR code of the page's address even when the output is no terminal
    /// [env: TRACKYARD_QR] [default: false]
    #[arg(long)]
    qr: bool,
}

/// What else the program can do than serve.
#[derive(Subcommand)]
pub enum Command {
    Bench(BenchConfig),
    #[command(hide = true)]
    BenchFloor,
}

const AFTER_HELP: &str = "\
Examples:
  trackyard                                         try it on a LAN
  trackyard --announce 203.0.113.7                  behind a 1:1 NAT or in a container
  trackyard --listen [::]:443 --cert fullchain.pem --key privkey.pem
  trackyard bench                                   measure what a forwarded packet costs here

In the file:
  listen = \"0.0.0.0:8443\"
  announce = [\"203.0.113.7\"]
  resume_grace = \"6s\"
  ice_server = [
    \"stun:stun.example.org:3478\",
    { urls = [\"turn:turn.example.org\"], username = \"u\", credential = \"c\" },
  ]

Paths are relative to where the program is started. Open one port in the firewall: TCP and UDP.";

impl Flags {
    /// The values of `key` on the command line, in order.
    pub fn of(&self, key: &str) -> Vec<String> {
        let one = |value: &Option<String>| value.iter().cloned().collect();
        match key {
            "listen" => one(&self.listen),
            "announce" => self.announce.clone(),
            "workers" => one(&self.workers),
            "cert" => one(&self.cert),
            "key" => one(&self.key),
            "certs_dir" => one(&self.certs_dir),
            "ice_server" => self.ice_server.clone(),
            "microphones" => one(&self.microphones),
            "last_n" => one(&self.last_n),
            "publishers" => one(&self.publishers),
            "camera_bitrate" => one(&self.camera_bitrate),
            "screen_bitrate" => one(&self.screen_bitrate),
            "resume_grace" => one(&self.resume_grace),
            "metrics_token" => one(&self.metrics_token),
            "exempt" => self.exempt.clone(),
            "drain" => one(&self.drain),
            "log" => one(&self.log),
            "qr" => one(&self.qr.then(|| "true".to_owned())),
            _ => unreachable!("every key of KEYS has its flag: {key}"),
        }
    }
}
