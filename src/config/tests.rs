use super::*;

/// Loads with these flags (space-separated), environment and file.
fn load(flags: &str, env: &[(&str, &str)], file: &str) -> Result<Config, LoadError> {
    let task = load_task(flags, env, file)?;
    let Task::Serve(config) = task else { panic!("{flags}: {task:?}") };
    Ok(config)
}

fn load_task(flags: &str, env: &[(&str, &str)], file: &str) -> Result<Task, LoadError> {
    let args = std::iter::once("trackyard").chain(flags.split_whitespace());
    Task::load(
        args.map(OsString::from),
        |key| {
            let found = env.iter().find(|(k, _)| *k == key)?;
            Some(found.1.to_owned())
        },
        |path| match path.to_str() {
            Some("t.toml") => Ok(file.to_owned()),
            _ => Err(io::Error::from(io::ErrorKind::NotFound)),
        },
    )
}

fn wrong(flags: &str, env: &[(&str, &str)], file: &str) -> String {
    match load(flags, env, file) {
        Err(LoadError::Wrong(text)) => text,
        other => panic!("{flags} {env:?} {file}: {other:?}"),
    }
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(load("", &[], ""), Ok(Config::default()));
    let empty = [("TRACKYARD_WORKERS", ""), ("TRACKYARD_CONFIG", "")];
    assert_eq!(load("", &empty, ""), Ok(Config::default()));
}

#[test]
fn flag_over_environment_over_file() {
    let file = "workers = 2\nlisten = '127.0.0.1:1'\nlog = 'debug'";
    let env = [
        ("TRACKYARD_CONFIG", "t.toml"),
        ("TRACKYARD_WORKERS", "3"),
        ("TRACKYARD_LISTEN", "127.0.0.1:2"),
    ];
    let config = load("--workers 4", &env, file).unwrap();
    assert_eq!(config.workers, Some(4));
    assert_eq!(config.listen.port(), 2);
    assert_eq!(config.log, LevelFilter::Debug);
    let config = load("--config t.toml", &[], file).unwrap();
    assert_eq!(config.workers, Some(2));
}

#[test]
fn every_key_from_each_place() {
    let expected = Config {
        rooms: RoomSettings { heard_max: 5, last_n: 9, publishers_max: 50 },
        limits: PublishLimits { camera_bitrate: Some(2_500_000), screen_bitrate: Some(800_000) },
        listen: "[::]:9000".parse().unwrap(),
        announce: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        workers: Some(8),
        tls: Some(TlsFiles { cert: "a.pem".into(), key: "b.pem".into() }),
        certs_dir: "elsewhere".into(),
        ice_servers: vec![IceServer {
            urls: vec!["stun:stun.example.org:3478".to_owned()],
            username: None,
            credential: None,
        }],
        resume_grace: Duration::from_millis(500),
        metrics_token: Some(Secret("0123456789abcdef".to_owned())),
        exempt: vec!["192.0.2.9".parse().unwrap()],
        drain: Duration::from_secs(7),
        log: LevelFilter::Trace,
        qr: true,
    };
    let flags = "--listen [::]:9000 --announce 192.0.2.1 --announce 2001:db8::1 --workers 8 \
                 --cert a.pem --key b.pem --certs-dir elsewhere --resume-grace 500ms --drain 7 \
                 --ice-server stun:stun.example.org:3478 --log trace --qr \
                 --metrics-token 0123456789abcdef --exempt ::ffff:192.0.2.9 --microphones 5 \
                 --last-n 9 --publishers 50 --camera-bitrate 2.5M --screen-bitrate 800k";
    assert_eq!(load(flags, &[], "").unwrap(), expected);
    let env = [
        ("TRACKYARD_LISTEN", "[::]:9000"),
        ("TRACKYARD_ANNOUNCE", "192.0.2.1, 2001:db8::1"),
        ("TRACKYARD_WORKERS", "8"),
        ("TRACKYARD_CERT", "a.pem"),
        ("TRACKYARD_KEY", "b.pem"),
        ("TRACKYARD_CERTS_DIR", "elsewhere"),
        ("TRACKYARD_ICE_SERVER", "stun:stun.example.org:3478"),
        ("TRACKYARD_RESUME_GRACE", "500ms"),
        ("TRACKYARD_METRICS_TOKEN", "0123456789abcdef"),
        ("TRACKYARD_EXEMPT", "192.0.2.9"),
        ("TRACKYARD_DRAIN", "7s"),
        ("TRACKYARD_LOG", "TRACE"),
        ("TRACKYARD_QR", "true"),
        ("TRACKYARD_MICROPHONES", "5"),
        ("TRACKYARD_LAST_N", "9"),
        ("TRACKYARD_PUBLISHERS", "50"),
        ("TRACKYARD_CAMERA_BITRATE", "2500000"),
        ("TRACKYARD_SCREEN_BITRATE", "0.8M"),
    ];
    assert_eq!(env.len(), KEYS.len());
    assert_eq!(load("", &env, "").unwrap(), expected);
    let file = "listen = '[::]:9000'\nannounce = ['192.0.2.1', '2001:db8::1']\nworkers = 8\n\
                cert = 'a.pem'\nkey = 'b.pem'\ncerts_dir = 'elsewhere'\n\
                ice_server = 'stun:stun.example.org:3478'\nresume_grace = '500ms'\ndrain = 7\n\
                log = 'trace'\nqr = true\nmetrics_token = '0123456789abcdef'\n\
                exempt = ['192.0.2.9']\nmicrophones = 5\nlast_n = 9\npublishers = '50'\n\
                camera_bitrate = 2500000\nscreen_bitrate = '800k'";
    assert_eq!(load("--config t.toml", &[], file).unwrap(), expected);
}

#[test]
fn turn_servers_stand_in_the_file() {
    let file = "ice_server = ['stun:a', {urls = ['turn:b'], username = 'u', credential = 'c'}]";
    let servers = load("--config t.toml", &[], file).unwrap().ice_servers;
    assert_eq!(servers[1].credential.as_deref(), Some("c"));
    let open = wrong("--ice-server turn:b", &[], "");
    assert!(open.contains("username"), "{open}");
    let secret = "ice_server = [{urls = ['turn:b'], user = 'u', credential = 'secret'}]";
    let text = wrong("--config t.toml", &[], secret);
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_token_is_never_shown() {
    let text = wrong("--metrics-token secret", &[], "");
    assert!(text.contains("metrics_token") && !text.contains("secret"), "{text}");
    let config = load("--metrics-token a-token-that-is-long", &[], "").unwrap();
    assert!(!format!("{config:?}").contains("a-token"), "{config:?}");
}

#[test]
fn errors_name_the_key_its_place_and_what_it_takes() {
    for (flags, env, file, parts) in [
        ("--workers 65", None, "", ["workers (from --workers)", "\"65\"", "1 to 64"]),
        ("--workers +1 --workers 2", None, "", ["--workers", "multiple", ""]),
        (
            "",
            Some(("TRACKYARD_LISTEN", "8443")),
            "",
            ["listen (from TRACKYARD_LISTEN)", "8443", "0.0.0.0:8443"],
        ),
        (
            "--config t.toml",
            None,
            "resume_grace = '6m'",
            ["resume_grace (from t.toml)", "6m", "500ms"],
        ),
        ("--config t.toml", None, "resume_grace = 301", ["resume_grace", "301", "300s"]),
        ("--drain -1", None, "", ["-1", "", ""]),
        ("--drain=-1", None, "", ["drain (from --drain)", "-1", "300s"]),
        ("--certs-dir=", None, "", ["certs_dir (from --certs-dir)", "", "path"]),
        ("--announce 0.0.0.0", None, "", ["announce (from --announce)", "0.0.0.0", "reach"]),
        ("--announce 192.0.2.1,x", None, "", ["announce (from --announce)", "\"x\"", "IP"]),
        ("--announce 2001:db8::1", None, "", ["announce", "2001:db8::1", "[::]"]),
        ("--log off", None, "", ["log (from --log)", "off", "error, warn"]),
        ("--cert a.pem", None, "", ["cert", "key", ""]),
        ("--key a.pem", None, "", ["key", "cert", ""]),
        ("--config t.toml", None, "workrs = 1", ["t.toml", "`workrs`", "workers"]),
        (
            "--config t.toml",
            None,
            "workers = [1, 2]",
            ["workers (from t.toml)", "one value", "1 to 64"],
        ),
        ("--config t.toml", None, "\nworkers = ", ["t.toml line 2", "", ""]),
        ("--config gone.toml", None, "", ["config", "gone.toml", "not found"]),
        ("--speed 3", None, "", ["--speed", "", ""]),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let text = wrong(flags, &env, file);
        for part in parts {
            assert!(text.contains(part), "{flags}{file}: {text:?} lacks {part:?}");
        }
    }
}

#[test]
fn help_says_every_flag_with_its_environment() {
    let Err(LoadError::Asked(help)) = load("--help", &[], "") else {
        panic!("help is asked for, not wrong");
    };
    for key in KEYS {
        assert!(help.contains(&format!("--{}", key.replace('_', "-"))), "{key}");
        assert!(help.contains(&env_name(key)), "{key}");
    }
    assert!(matches!(load("--version", &[], ""), Err(LoadError::Asked(_))));
}

#[test]
fn a_benchmark_is_told_by_flags_alone() {
    let bench = |flags: &str| match load_task(flags, &[("TRACKYARD_WORKERS", "junk")], "") {
        Ok(Task::Bench(bench)) => bench,
        other => panic!("{flags}: {other:?}"),
    };
    let default = bench("bench");
    assert_eq!((default.scenario, &default.workers[..]), (Scenario::Fanout, &[1][..]));
    assert_eq!((default.publishers(), default.subscribers()), (1, vec![200]));
    let media = BenchMedia {
        bitrate: 1_500_000,
        packet_bytes: 1_200,
        burst: 5,
        audio: false,
        feedback: false,
    };
    assert_eq!(default.media(), media);
    let idle = bench("bench idle --subscribers 10,20 --workers 1,2 --duration 200ms --runs 3");
    assert_eq!(idle.subscribers(), [10, 20]);
    assert_eq!((idle.workers, idle.runs), (vec![1, 2], 3));
    assert_eq!(bench("bench meeting").publishers(), 10);
    assert_eq!(bench("bench slots --bitrate 300k --burst 2").bitrate, 300_000);
    for (flags, part) in [
        ("bench --layers 3", "one encoding"),
        ("bench --workers 65", "more than 64"),
        ("bench meeting --publishers 1", "two at least"),
        ("bench --publishers 500 --subscribers 501", "a room takes"),
        ("bench --bitrate 1", "10k to 1000M"),
        ("bench --packet-bytes 1300", "100 to"),
        ("bench --duration 1ms", "100ms to 300s"),
        ("bench --runs 0", "a number from 1"),
        ("bench --load 96", "96"),
        ("bench --listen 0.0.0.0:1", "--listen"),
        ("--workers 1 bench", "workers"),
    ] {
        match load_task(flags, &[], "") {
            Err(LoadError::Wrong(text)) => assert!(text.contains(part), "{flags}: {text}"),
            other => panic!("{flags}: {other:?}"),
        }
    }
    assert_eq!(load_task("bench-floor", &[], ""), Ok(Task::BenchFloor));
    let Err(LoadError::Asked(help)) = load_task("--help", &[], "") else { panic!("asked for") };
    assert!(help.contains("bench ") && !help.contains("bench-floor"), "{help}");
}
