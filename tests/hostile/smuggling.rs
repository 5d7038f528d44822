//! Requests that two readers would read differently, and paths that lead out.

use crate::common::live::exchange;
use crate::room::Room;
use crate::server::Server;

/// The statuses of all responses in what came back.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|l| l.get(..3)?.parse().ok()).collect()
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    // What a smuggler wants to be read as a request of its own.
    let inner = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = "POST /whip/x HTTP/1.1\r\nHost: a\r\nContent-Type: application/sdp\r\n";
    let chunked = "0\r\n\r\n";
    for (what, request, expected) in [
        (
            "CL and TE",
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            400,
        ),
        (
            "TE and CL",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{chunked}"),
            400,
        ),
        (
            "two CL",
            format!("{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n", inner.len()),
            400,
        ),
        ("two equal CL", format!("{post}Content-Length: 0\r\nContent-Length: 0\r\n\r\n"), 400),
        ("a list of CL", format!("{post}Content-Length: 0, 0\r\n\r\n"), 400),
        ("a signed CL", format!("{post}Content-Length: +0\r\n\r\n"), 400),
        ("a hexadecimal CL", format!("{post}Content-Length: 0x0\r\n\r\n"), 400),
        (
            "TE twice",
            format!(
                "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
            ),
            400,
        ),
        (
            "chunked, chunked",
            format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n{chunked}"),
            501,
        ),
        ("an unknown coding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n{chunked}"), 501),
        (
            "TE in HTTP/1.0",
            format!("{}Transfer-Encoding: chunked\r\n\r\n{chunked}", post.replace("1.1", "1.0")),
            400,
        ),
        (
            "white space before the colon",
            format!("{post}Transfer-Encoding : chunked\r\n\r\n{chunked}"),
            400,
        ),
        ("a bare LF", format!("{}\n", post.replace("\r\n", "\n")), 400),
        (
            "a bare LF in one header",
            format!("{post}X: a\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            400,
        ),
        ("a bare CR", format!("{post}X: a\rTransfer-Encoding: chunked\r\n\r\n{chunked}"), 400),
        ("a folded header", format!("{post}X: a\r\n Content-Length: 5\r\n\r\n"), 400),
        (
            "a tab-folded header",
            format!("{post}Transfer-Encoding:\r\n\tchunked\r\n\r\n{chunked}"),
            400,
        ),
        ("a NUL", format!("{post}X: a\0b\r\n\r\n"), 400),
        ("no Host", post.replace("Host: a\r\n", "") + "\r\n", 400),
        ("two Hosts", format!("{post}Host: b\r\n\r\n"), 400),
        (
            "a chunk that is no number",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
            400,
        ),
        ("a negative chunk", format!("{post}Transfer-Encoding: chunked\r\n\r\n-1\r\n"), 400),
        (
            "a chunk of 2^64",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"),
            400,
        ),
        (
            "a chunk longer than it said",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n{chunked}"),
            400,
        ),
        (
            "a bare LF in a chunk",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n1;x\na\r\n{chunked}"),
            400,
        ),
        (
            "an extension without end",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(5_000)),
            400,
        ),
        ("a huge body", format!("{post}Content-Length: 99999999999\r\n\r\n"), 413),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("a huge head", format!("{post}X: {}\r\n\r\n", "y".repeat(20_000)), 431),
        ("a thousand headers", format!("{post}{}\r\n", "X: y\r\n".repeat(1_000)), 431),
    ] {
        let answer = exchange(server.address, format!("{request}{inner}").as_bytes());
        assert_eq!(statuses(&answer), [expected], "{what}: {answer}");
        assert!(answer.contains("Connection: close\r\n"), "{what}: {answer}");
        assert!(answer.contains("application/problem+json"), "{what}: {answer}");
        assert!(answer.contains("\r\nDate: "), "{what}: {answer}");
    }
    // Extensions and trailers of a chunked body are read over, and what follows is a request.
    let odd = format!("{post}Transfer-Encoding: chunked\r\n\r\n3;a=\"b\r\n\r\n")
        .replace("\"b\r\n\r\n", "b\r\n")
        + "v=0\r\n0\r\nTrailer: x\r\n\r\n";
    let last = inner.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    let answer = exchange(server.address, format!("{odd}{last}").as_bytes());
    assert_eq!(statuses(&answer), [400, 200], "{answer}");
    assert!(answer.contains("bad_sdp"), "{answer}");
    room.assert_calm("requests in two readings");
}

#[test]
fn no_path_leads_out() {
    let server = Server::start(1);
    let ups = [
        "..",
        "%2e%2e",
        "%2E.",
        "..%2f..",
        "%252e%252e",
        "..%5c..",
        "..\\..",
        ".%00.",
        "%c0%ae%c0%ae",
    ];
    let files = ["etc/passwd", "Cargo.toml", "certs/key.pem", "src/main.rs", "index.html"];
    let prefixes = [
        "",
        "/page",
        "/sdk",
        "/r",
        "/whip",
        "/whep",
        "/session",
        "/api",
        "/api/rooms",
        "/metrics",
        "/signal",
    ];
    let mut asked = 0;
    for prefix in prefixes {
        for up in ups {
            let requests: Vec<String> = files
                .iter()
                .flat_map(|file| {
                    [1, 4].map(|n| format!("{prefix}/{}{file}", format!("{up}/").repeat(n)))
                })
                .collect();
            let head = |path: &String| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
            let mut all: String = requests.iter().map(head).collect();
            all += "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            let answer = exchange(server.address, all.as_bytes());
            let mut statuses = statuses(&answer);
            assert_eq!(statuses.pop(), Some(200), "{prefix} {up}: {answer}");
            for status in &statuses {
                assert!((400..500).contains(status), "{prefix} {up}: {statuses:?}");
            }
            assert!(!answer.contains("root:") && !answer.contains("PRIVATE KEY"), "{answer}");
            assert!(!answer.contains("<html") && !answer.contains("[package]"), "{answer}");
            asked += statuses.len();
        }
    }
    println!("{asked} paths that lead out: all refused");
    assert!(asked > 500, "{asked} asked");
}
