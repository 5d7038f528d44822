//! HTTP: which path does what.

use std::time::Instant;

use super::refusals::{cors, refusal};
use super::whip::Protocol;
use super::{ConnId, Gate};
use crate::wire::http::{Head, Request, Response, percent_decode, switching_protocols};
use crate::wire::names::{NAME_RULE, room_name};
use crate::wire::signal::ErrorCode;

impl Gate {
    /// Takes one whole request.
    pub(super) fn request(&mut self, now: Instant, conn: ConnId, request: Request) {
        if let Err(response) = self.route(now, conn, request) {
            if response.status >= 400 {
                log::debug!("refused with {}", response.status);
            }
            self.respond(conn, response);
        }
    }

    /// `Err` is the response; `Ok` when it was given otherwise or comes later.
    fn route(&mut self, now: Instant, conn: ConnId, request: Request) -> Result<(), Response> {
        let method = request.head.method.clone();
        let path = request.head.path().to_owned();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments[..] {
            [first @ ("whip" | "whep"), room, ref name @ ..] if name.len() <= 1 => {
                let protocol = Protocol::of(first).ok_or_else(not_found)?;
                let names = (room, name.first().copied());
                match method.as_str() {
                    "POST" => self.create_resource(now, conn, protocol, names, request),
                    "OPTIONS" => {
                        Err(preflight("POST, OPTIONS").with("Accept-Post", "application/sdp"))
                    }
                    _ => Err(cors(wrong_method("POST, OPTIONS"))),
                }
            }
            ["session", secret] => match method.as_str() {
                "PATCH" => self.patch_resource(now, conn, secret, &request),
                "DELETE" => Err(cors(self.delete_resource(secret))),
                "OPTIONS" => Err(preflight("PATCH, DELETE, OPTIONS")),
                _ => Err(cors(wrong_method("PATCH, DELETE, OPTIONS"))),
            },
            ["signal"] => self.signal(now, conn, &request.head),
            _ if path == "*" && method == "OPTIONS" => Err(Response::empty(204)),
            _ => Err(self.read_only(now, conn, &request.head, &segments)),
        }
    }

    /// What only GET and HEAD are for.
    fn read_only(&self, now: Instant, conn: ConnId, head: &Head, segments: &[&str]) -> Response {
        let is_get = ["GET", "HEAD"].contains(&head.method.as_str());
        let give = |response: &dyn Fn() -> Response| match is_get {
            true => response(),
            false => wrong_method("GET, HEAD"),
        };
        match segments {
            ["healthz"] => give(&|| self.health()),
            ["metrics"] | ["api", "rooms"] | ["api", "rooms", _] => {
                give(&|| match self.check_operator(conn, head) {
                    Ok(()) => self.observe(segments, now),
                    Err(response) => response,
                })
            }
            [""] => give(&|| self.file("index.html", head)),
            ["r", room] => give(&|| match percent_decode(room) {
                None => refusal(ErrorCode::BadRequest, "a percent escape is broken"),
                Some(room) if room_name(&room).is_none() => refusal(ErrorCode::BadName, NAME_RULE),
                Some(_) => self.file("index.html", head),
            }),
            _ => match head.path().strip_prefix('/') {
                Some(file) if self.assets.has(file) => give(&|| self.file(file, head)),
                _ => not_found(),
            },
        }
    }

    fn file(&self, name: &str, head: &Head) -> Response {
        self.assets.serve(name, head).unwrap_or_else(not_found)
    }

    /// `GET /signal`: the WebSocket handshake (RFC 6455 §4.2.1).
    fn signal(&mut self, now: Instant, conn: ConnId, head: &Head) -> Result<(), Response> {
        if head.method != "GET" {
            return Err(wrong_method("GET"));
        }
        let is_websocket =
            head.has_token("upgrade", "websocket") && head.has_token("connection", "upgrade");
        if !is_websocket || head.header("sec-websocket-version") != Some("13") {
            let detail = "this is a WebSocket, version 13";
            return Err(Response::problem(426, ErrorCode::BadRequest, detail)
                .with("Upgrade", "websocket")
                .with("Sec-WebSocket-Version", "13"));
        }
        let key = head.header("sec-websocket-key");
        let key = key.filter(|key| is_websocket_key(key)).ok_or_else(|| {
            let detail = "Sec-WebSocket-Key is not 16 bytes in base 64";
            Response::problem(400, ErrorCode::BadRequest, detail)
        })?;
        let host = head.header("host").unwrap_or_default();
        if let Some(origin) = head.header("origin")
            && !is_same_origin(origin, host)
        {
            log::info!("refused a WebSocket of a page from {origin:?}");
            let detail = "the page comes from another origin";
            return Err(Response::problem(403, ErrorCode::ForeignOrigin, detail));
        }
        if self.draining.is_some() {
            return Err(refusal(ErrorCode::Shutdown, "the server is ending"));
        }
        self.upgrade(now, conn, switching_protocols(key));
        Ok(())
    }

    fn health(&self) -> Response {
        let draining = self.draining.is_some();
        let overloaded = self.reports.overloaded();
        let status = match (draining, overloaded) {
            (true, _) => "draining",
            (_, 0) => "ok",
            _ => "overloaded",
        };
        let body = serde_json::json!({
            "status": status,
            "overloaded_workers": overloaded,
            "version": self.config.version,
            "workers": self.config.workers,
            "sessions": self.sessions.len(),
        });
        // A load balancer reads only the status.
        let status = if draining { 503 } else { 200 };
        Response::new(status, "application/json", body.to_string())
            .with("Cache-Control", "no-store")
    }

    /// What operators look at.
    #[expect(clippy::expect_used, reason = "plain structs serialise")]
    fn observe(&self, segments: &[&str], now: Instant) -> Response {
        let body = match segments {
            ["api", "rooms"] => {
                Some(serde_json::to_vec(&self.room_views()).expect("plain structs serialise"))
            }
            ["api", "rooms", room] => percent_decode(room)
                .and_then(|room| self.room_detail(&room, now))
                .map(|room| room.to_string().into_bytes()),
            _ => return self.metrics(),
        };
        let Some(body) = body else { return not_found() };
        Response::new(200, "application/json", body).with("Cache-Control", "no-store")
    }

    fn metrics(&self) -> Response {
        let text = super::metrics::render(self);
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Response::new(200, media_type, text).with("Cache-Control", "no-store")
    }
}

/// The answer to a CORS preflight (Fetch standard §3.2.3).
fn preflight(allow: &'static str) -> Response {
    cors(Response::empty(204))
        .with("Allow", allow)
        .with("Access-Control-Allow-Methods", "POST, PATCH, DELETE")
        .with("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match")
        .with("Access-Control-Max-Age", "86400")
}

fn wrong_method(allow: &'static str) -> Response {
    let detail = format!("this takes {allow}");
    Response::problem(405, ErrorCode::MethodNotAllowed, &detail).with("Allow", allow)
}

fn not_found() -> Response {
    Response::problem(404, ErrorCode::NotFound, "nothing is here")
}

fn is_websocket_key(key: &str) -> bool {
    let (text, padding) = key.split_at_checked(22).unwrap_or_default();
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    padding == "==" && text.bytes().all(digit)
}

/// Whether a page of `origin` was served under `host` (the Host header of this TLS port).
fn is_same_origin(origin: &str, host: &str) -> bool {
    let (authority, port) = match origin.split_once("://") {
        Some(("https", authority)) => (authority, "443"),
        Some(("http", authority)) => (authority, "80"),
        _ => return false,
    };
    let parts = |text: &str, default: &str| {
        // The colons of an IPv6 address stand before its bracket.
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (text, default),
        };
        (name.to_ascii_lowercase(), port.to_owned())
    };
    !authority.is_empty() && parts(authority, port) == parts(host, "443")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_with_their_ports() {
        for (origin, host) in [
            ("https://a.example:8443", "A.example:8443"),
            ("https://a.example", "a.example:443"),
            ("https://a.example", "a.example"),
            ("https://[::1]:8443", "[::1]:8443"),
            ("https://[::1]", "[::1]"),
        ] {
            assert!(is_same_origin(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("null", "a.example"),
            ("https://", ""),
            ("https://b.example:8443", "a.example:8443"),
            ("https://a.example:8444", "a.example:8443"),
            ("http://a.example", "a.example"),
            ("https://a.example", "a.example:8443"),
            ("file://a.example", "a.example"),
        ] {
            assert!(!is_same_origin(origin, host), "{origin} {host}");
        }
    }

    #[test]
    fn websocket_keys_are_sixteen_bytes() {
        assert!(is_websocket_key("dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==x", "ä"] {
            assert!(!is_websocket_key(bad), "{bad}");
        }
    }
}
