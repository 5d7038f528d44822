//! Offers that promise one thing and do another.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::common::live::{Live, Signalling, http, until};
use crate::room::{NAME, Room};
use crate::server::Server;

/// The same with another certificate's fingerprint.
fn with_foreign_fingerprint(sdp: &str) -> String {
    let at = sdp.find("a=fingerprint:sha-256 ").expect("an offer has one") + 22;
    let digit = if &sdp[at..=at] == "0" { "1" } else { "0" };
    format!("{}{digit}{}", &sdp[..at], &sdp[at + 1..])
}

/// A client whose certificate is not the one of its offer is never connected: it gets no media,
/// and nobody gets its.
#[test]
fn a_wrong_certificate_gets_nothing_and_gives_nothing() {
    let server = Server::start(2);
    let room = Room::open(server.address);
    let connected = || server.metric("trackyard_transports_connected_total", "");
    let before = connected();
    let enter = |label, send, slots| {
        Live::join_with(server.address, NAME, label, |client, now| {
            with_foreign_fingerprint(&client.offer(send, slots, now))
        })
    };
    let mut people = vec![enter(66, true, 0), enter(67, false, 2)];
    // Honest, to show that there is something to see, and that nobody sees 66.
    people.push(Live::join(server.address, NAME, 68, false, 2));
    let began = Instant::now();
    until(&mut people, Duration::from_secs(10), |p| {
        began.elapsed() > Duration::from_secs(3) && p[2].client.arrivals.len() > 20
    });
    assert!(people[2].client.arrivals.len() > 20, "the honest one sees the room");
    assert!(people[1].client.arrivals.is_empty(), "the liar sees nothing");
    let foreign = people[2].client.arrivals.iter().filter(|(label, ..)| *label == 66).count();
    assert_eq!(foreign, 0, "nobody sees the liar");
    assert_eq!(connected(), before + 1.0, "one more is connected: the honest one");
    room.assert_calm("wrong certificates");
}

#[test]
fn unprotected_offers_get_a_clear_error() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\n\
        a=ice-pwd:abcdabcdabcdabcdabcdabcd\r\n";
    let fingerprint = format!("a=fingerprint:sha-256 {}\r\n", ["AB"; 32].join(":"));
    let media = |protocol: &str| {
        format!(
            "m=video 9 {protocol} 96\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
        )
    };
    let mut client = Signalling::open(server.address);
    client.join(NAME, "offers badly");
    for (what, sdp) in [
        ("no fingerprint", format!("{head}{}", media("UDP/TLS/RTP/SAVPF"))),
        ("RTP/AVPF", format!("{head}{fingerprint}{}", media("RTP/AVPF"))),
        ("RTP/AVP", format!("{head}{fingerprint}{}", media("RTP/AVP"))),
        ("RTP/SAVPF", format!("{head}{fingerprint}{}", media("RTP/SAVPF"))),
    ] {
        let id = client.request(json!({"type": "offer", "sdp": sdp}));
        let reply = client.reply(id);
        let over_http = http(
            server.address,
            "POST /whip/calm/x HTTP/1.1\r\nContent-Type: application/sdp",
            &sdp,
        );
        assert_eq!(
            (&reply["type"], &reply["code"]),
            (&json!("error"), &json!("bad_sdp")),
            "{what}"
        );
        let message = reply["message"].as_str().unwrap_or_default();
        assert!(message.len() > 10, "{what}: {message:?} says why");
        println!("{what}: {message}");
        assert_eq!(over_http.0, 400, "{what}: {}", over_http.2);
        assert!(over_http.2.contains("bad_sdp"), "{what}: {}", over_http.2);
    }
    room.assert_calm("unprotected offers");
}

/// Nobody reads what comes over a data channel, so it must not be kept either.
#[test]
fn a_flood_of_data_that_nobody_reads_is_not_kept() {
    let server = Server::start(1);
    let room = Room::open(server.address);
    let mut flooder =
        vec![Live::join_with(server.address, "data", 5, |client, _| client.offer_channel())];
    let took = until(&mut flooder, Duration::from_secs(10), |p| p[0].client.connected);
    assert!(took.is_some(), "the flooder connects");
    let channel = flooder[0].client.channel.expect("it asked for one");
    let before = server.resident_bytes();
    let (mut written, began) = (0, Instant::now());
    until(&mut flooder, Duration::from_secs(10), |_| began.elapsed() > Duration::from_millis(300));
    while began.elapsed() < Duration::from_secs(3) {
        for _ in 0..16 {
            if let Some(mut channel) = flooder[0].client.rtc.channel(channel)
                && channel.write(true, &[0x55; 1_000]).unwrap_or(false)
            {
                written += 1_000;
            }
        }
        flooder[0].pump();
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{written} bytes written to a data channel; the server grew by {grown}");
    assert!(grown < 8 << 20, "{grown} bytes more");
    room.assert_calm("a flood of data");
}
