//! WHIP (RFC 9725) and WHEP as a client sees them: real HTTP over TLS, real UDP.
#![allow(clippy::disallowed_methods, reason = "a test of the real thing reads the real clock")]

mod common;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use common::client::Client;
use common::live::{TestServer, http};

/// A client without a WebSocket.
struct Device {
    client: Client,
    udp: UdpSocket,
    answer: String,
    /// Path of its session.
    session: String,
    etag: String,
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find(|l| l.to_lowercase().starts_with(&format!("{name}: ")));
    let line = line.unwrap_or_else(|| panic!("no {name} in {head}"));
    line.split_once(": ").expect("a value").1
}

fn value<'a>(sdp: &'a str, key: &str) -> &'a str {
    sdp.lines().find_map(|l| l.strip_prefix(key)).expect("the line is there")
}

impl Device {
    fn post(server: SocketAddr, path: &str, send: bool, slots: usize) -> Device {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        udp.set_nonblocking(true).expect("a socket");
        let now = Instant::now();
        let mut client = Client::new(7, udp.local_addr().expect("bound"), now);
        let offer = client.offer(send, slots, now);
        let request = format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/sdp\r\nAuthorization: Bearer any"
        );
        let (status, head, answer) = http(server, &request, &offer);
        assert_eq!(status, 201, "{head}{answer}");
        assert_eq!(header(&head, "content-type"), "application/sdp");
        client.answer(&answer);
        let (session, etag) =
            (header(&head, "location").to_string(), header(&head, "etag").to_string());
        Device { client, udp, answer, session, etag }
    }

    fn pump(&mut self) -> bool {
        let mut busy = false;
        let mut buffer = [0; 2_048];
        while let Ok((length, source)) = self.udp.recv_from(&mut buffer) {
            busy = true;
            self.client.receive(Instant::now(), source, &buffer[..length]);
        }
        for (to, bytes) in self.client.poll(Instant::now()) {
            busy = true;
            let _ = self.udp.send_to(&bytes, to);
        }
        busy
    }

    fn frames(&self) -> u64 {
        self.client.slots.values().map(|j| j.frames).sum()
    }

    fn patch(
        &self,
        server: SocketAddr,
        if_match: Option<&str>,
        body: &str,
    ) -> (u16, String, String) {
        let mut request = format!(
            "PATCH {} HTTP/1.1\r\nContent-Type: application/trickle-ice-sdpfrag",
            self.session
        );
        if let Some(tag) = if_match {
            request += &format!("\r\nIf-Match: {tag}");
        }
        http(server, &request, body)
    }
}

fn until(devices: &mut [Device], what: &str, mut done: impl FnMut(&[Device]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done(devices) {
        assert!(Instant::now() < deadline, "{what}");
        let busy = devices.iter_mut().fold(false, |busy, d| d.pump() | busy);
        if !busy {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn sees(device: &Device) -> bool {
    device.client.slots.values().all(|j| j.decodable && j.faults.is_empty())
}

#[test]
fn a_player_that_came_first_plays_what_comes_later() {
    for workers in [1, 4] {
        let server = TestServer::start(workers);
        let everybody = Device::post(server.address, "/whep/studio", false, 1);
        let camera_only = Device::post(server.address, "/whep/studio/camera%201", false, 1);
        let mut devices = vec![everybody, camera_only];
        until(&mut devices, "both players connect", |d| d.iter().all(|d| d.client.connected));
        devices.push(Device::post(server.address, "/whip/studio/camera%201", true, 0));
        until(&mut devices, "both see the camera", |d| d[..2].iter().all(sees));
        // Workers report once a second.
        until(&mut devices, "the room is listed", |_| {
            let (status, _, rooms) = http(server.address, "GET /api/rooms HTTP/1.1", "");
            status == 200
                && rooms.contains("\"room\":\"studio\"")
                && rooms.contains("\"viewers\":2")
        });
    }
}

#[test]
fn a_session_trickles_restarts_and_ends() {
    let server = TestServer::start(2);
    let mut devices = vec![
        Device::post(server.address, "/whip/studio/camera", true, 0),
        Device::post(server.address, "/whep/studio", false, 1),
    ];
    until(&mut devices, "the player sees the camera", |d| sees(&d[1]));

    let camera = &devices[0];
    let ufrag = value(&camera.answer, "a=ice-ufrag:").to_string();
    let fragment =
        "a=mid:0\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n";
    assert_eq!(camera.patch(server.address, None, fragment).0, 428);
    assert_eq!(camera.patch(server.address, Some("\"other\""), fragment).0, 412);
    assert_eq!(camera.patch(server.address, Some(&camera.etag), fragment).0, 204);

    let camera = &mut devices[0];
    let offer = camera.client.restart_ice();
    let fragment = format!(
        "a=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
        value(&offer, "a=ice-ufrag:"),
        value(&offer, "a=ice-pwd:")
    );
    let (status, head, body) = camera.patch(server.address, Some("*"), &fragment);
    assert_eq!(status, 200, "{head}{body}");
    assert_ne!(header(&head, "etag"), camera.etag);
    assert_ne!(value(&body, "a=ice-ufrag:"), ufrag, "new credentials on both sides");
    let pwd = value(&camera.answer, "a=ice-pwd:").to_string();
    let answer = camera.answer.replace(&ufrag, value(&body, "a=ice-ufrag:"));
    let answer = answer.replace(&pwd, value(&body, "a=ice-pwd:"));
    camera.client.answer(&answer);
    let before = devices[1].frames();
    until(&mut devices, "pictures go on after the restart", |d| {
        d[1].frames() > before + 20 && sees(&d[1])
    });

    let delete = format!("DELETE {} HTTP/1.1", devices[0].session);
    assert_eq!(http(server.address, &delete, "").0, 200);
    until(&mut devices, "the camera is told", |d| {
        d[0].client.closed || !d[0].client.rtc.is_alive()
    });
    assert_eq!(http(server.address, &delete, "").0, 404);
}
