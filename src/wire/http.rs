//! HTTP/1.1 (RFC 9112): request heads and bodies from bytes, responses to bytes.
//!
//! Stricter than the RFC where leniency is what request smuggling lives on: a bare LF, a folded
//! header, two `Content-Length`, or both `Content-Length` and `Transfer-Encoding` are refused.

use std::borrow::Cow;

use super::signal::ErrorCode;
use crate::base::limits::{HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_HEADERS_MAX};

/// Why bytes are not a request that is served: the response's status and what to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpError {
    pub status: u16,
    pub code: ErrorCode,
    pub detail: &'static str,
}

impl HttpError {
    pub(super) const fn bad(detail: &'static str) -> HttpError {
        HttpError { status: 400, code: ErrorCode::BadRequest, detail }
    }

    pub(super) const fn too_large(status: u16, detail: &'static str) -> HttpError {
        HttpError { status, code: ErrorCode::TooLarge, detail }
    }
}

/// A request line and its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// As it came; methods are case-sensitive (RFC 9110 §9.1).
    pub method: String,
    /// Path and query, still percent-encoded; begins with `/`, or is `*`.
    pub target: String,
    /// Names in lower case, values without the white space around them.
    pub headers: Vec<(String, String)>,
    /// How the body is framed.
    pub framing: Framing,
    /// Whether another request may follow on the connection (RFC 9112 §9.3).
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
}

/// How long a request's body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; 0 when there is no body.
    Length(usize),
    /// RFC 9112 §7.1; read by [`super::chunked::Chunked`].
    Chunked,
}

/// A request with its whole body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub head: Head,
    pub body: Vec<u8>,
}

impl Head {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut same = self.headers.iter().filter(|(n, _)| n == name);
        same.next().map(|(_, value)| value.as_str())
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether one of the comma-separated tokens of header `name` is `token`, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|v| v.split(',')).any(|t| t.trim().eq_ignore_ascii_case(token))
    }

    /// Whether the body's media type is `expected`, parameters aside.
    pub fn is_content_type(&self, expected: &str) -> bool {
        let value = self.header("content-type").unwrap_or_default();
        let media_type = value.split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case(expected)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = self.headers.iter().filter(move |(n, _)| n == name);
        same.map(|(_, value)| value.as_str())
    }
}

/// Where the head that begins `bytes` ends: the index behind its empty line. `None` when more is
/// needed. `scanned` bytes were looked at by an earlier call and are not looked at again.
///
/// Errors: 431 beyond [`HTTP_HEAD_BYTES_MAX`], 400 for an LF without CR.
pub fn head_end(bytes: &[u8], scanned: usize) -> Result<Option<usize>, HttpError> {
    let seen = bytes.get(..HTTP_HEAD_BYTES_MAX).unwrap_or(bytes);
    for (at, byte) in seen.iter().enumerate().skip(scanned) {
        if *byte != b'\n' {
            continue;
        }
        let before = seen.get(..at).unwrap_or_default();
        if !before.ends_with(b"\r") {
            return Err(HttpError::bad("a line ends without CR"));
        }
        if before.ends_with(b"\r\n\r") {
            return Ok(Some(at + 1));
        }
    }
    if bytes.len() >= HTTP_HEAD_BYTES_MAX {
        return Err(HttpError::too_large(431, "the request's head is too long"));
    }
    Ok(None)
}

/// Reads a whole head, up to what [`head_end`] gave.
pub fn parse_head(bytes: &[u8]) -> Result<Head, HttpError> {
    let mut slots = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut slots);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Ok(_) => return Err(HttpError::bad("not a request head")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(HttpError::too_large(431, "too many headers"));
        }
        Err(httparse::Error::Version) => {
            return Err(HttpError {
                status: 505,
                ..HttpError::bad("only HTTP/1.0 and HTTP/1.1 are spoken here")
            });
        }
        Err(_) => return Err(HttpError::bad("not a well-formed request head")),
    }
    let version = parsed.version.unwrap_or(0);
    let mut headers = Vec::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let value = std::str::from_utf8(header.value)
            .map_err(|_| HttpError::bad("a header is not UTF-8"))?;
        headers.push((header.name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut head = Head {
        method: parsed.method.unwrap_or_default().to_owned(),
        target: origin_form(parsed.path.unwrap_or_default())?.to_owned(),
        headers,
        framing: Framing::Length(0),
        keep_alive: false,
        expects_continue: false,
    };
    if head.all("host").count() != 1 && (version == 1 || head.header("host").is_some()) {
        return Err(HttpError::bad("one Host header is needed"));
    }
    head.framing = framing(&head, version)?;
    head.keep_alive = version == 1 && !head.has_token("connection", "close");
    head.expects_continue = version == 1 && head.has_token("expect", "100-continue");
    Ok(head)
}

/// The path and query of a request target (RFC 9112 §3.2), which may come as an absolute URI.
fn origin_form(target: &str) -> Result<&str, HttpError> {
    if target.starts_with('/') || target == "*" {
        return Ok(target);
    }
    let refused = HttpError::bad("the request target is neither a path nor an absolute URI");
    let (scheme, rest) = target.split_once("://").ok_or(refused)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(refused);
    }
    Ok(rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"))
}

fn framing(head: &Head, version: u8) -> Result<Framing, HttpError> {
    let mut lengths = head.all("content-length");
    let mut codings = head.all("transfer-encoding");
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => {
            Err(HttpError::bad("Content-Length and Transfer-Encoding exclude each other"))
        }
        (Some(length), None) => {
            if lengths.next().is_some() {
                return Err(HttpError::bad("more than one Content-Length"));
            }
            if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
                return Err(HttpError::bad("Content-Length is not a number"));
            }
            match length.parse() {
                Ok(length) if length <= HTTP_BODY_BYTES_MAX => Ok(Framing::Length(length)),
                _ => Err(BODY_TOO_LARGE),
            }
        }
        (None, Some(coding)) => {
            if version == 0 || codings.next().is_some() {
                return Err(HttpError::bad("this Transfer-Encoding is not allowed"));
            }
            if !coding.eq_ignore_ascii_case("chunked") {
                return Err(HttpError {
                    status: 501,
                    ..HttpError::bad("chunked is the only transfer coding known here")
                });
            }
            Ok(Framing::Chunked)
        }
    }
}

pub(super) const BODY_TOO_LARGE: HttpError =
    HttpError::too_large(413, "the request's body is too large");

pub use super::date::Date;

/// A response. `Date`, `Content-Length` and `Connection` are added when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    pub body: Cow<'static, [u8]>,
}

impl Response {
    /// A response without a body.
    pub fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Cow::Borrowed(b"") }
    }

    /// A response with a body of that media type.
    pub fn new(status: u16, media_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response {
            body: Cow::Owned(body.into()),
            ..Response::empty(status).with("Content-Type", media_type)
        }
    }

    /// An error as RFC 9457 wants it; its `type` is `urn:trackyard:` and the error's code.
    pub fn problem(status: u16, code: ErrorCode, detail: &str) -> Response {
        let body = serde_json::json!({
            "type": format!("urn:trackyard:{}", code.as_str()),
            "title": code.as_str().replace('_', " "),
            "status": status,
            "detail": detail,
        });
        Response::new(status, "application/problem+json", body.to_string())
            .with("Cache-Control", "no-store")
    }

    /// With one more header. Line breaks in the value, which would begin another header, become
    /// spaces.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Response {
        let value = value.into();
        let clean = match value.contains(['\r', '\n', '\0']) {
            true => Cow::Owned(value.replace(['\r', '\n', '\0'], " ")),
            false => value,
        };
        self.headers.push((name, clean));
        self
    }

    /// Appends the response to `out`, with the date (RFC 9110 §6.6.1). For a HEAD request (`without_body`) all headers are as for
    /// GET (RFC 9110 §9.3.2).
    pub fn write(&self, out: &mut Vec<u8>, without_body: bool, keep_alive: bool, date: Date) {
        let line = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        out.extend_from_slice(line.as_bytes());
        write_header(out, "Date", &date.to_string());
        for (name, value) in &self.headers {
            write_header(out, name, value);
        }
        // RFC 9110 §8.6: none in 1xx and 204, and here none in 304, whose body is not sent.
        if self.status >= 200 && self.status != 204 && self.status != 304 {
            write_header(out, "Content-Length", &self.body.len().to_string());
        }
        if self.status != 101 {
            let connection = if keep_alive { "keep-alive" } else { "close" };
            write_header(out, "Connection", connection);
        }
        out.extend_from_slice(b"\r\n");
        if !without_body {
            out.extend_from_slice(&self.body);
        }
    }
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

impl From<HttpError> for Response {
    fn from(error: HttpError) -> Response {
        Response::problem(error.status, error.code, error.detail)
    }
}

/// The interim response to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The response to a WebSocket handshake with that `Sec-WebSocket-Key` (RFC 6455 §4.2.2).
pub fn switching_protocols(key: &str) -> Response {
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    Response::empty(101)
        .with("Upgrade", "websocket")
        .with("Connection", "Upgrade")
        .with("Sec-WebSocket-Accept", accept)
}

/// Where a request that came without TLS belongs; `None` when its Host is not one.
pub fn to_https(head: &Head) -> Option<Response> {
    let host = head.header("host").filter(|host| is_authority(host))?;
    let path = if head.target == "*" { "/" } else { &head.target };
    let response = Response::empty(308).with("Location", format!("https://{host}{path}"));
    Some(response)
}

fn is_authority(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%".contains(&b);
    !host.is_empty() && host.len() <= 255 && host.bytes().all(allowed)
}

/// One path segment, percent-decoded (RFC 3986 §2.1); `None` for a broken escape or what is not
/// UTF-8.
pub fn percent_decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let ([high, low], tail) = rest.split_first_chunk()?;
        let digit = |b: &u8| (*b as char).to_digit(16);
        bytes.push((digit(high)? << 4 | digit(low)?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The reason phrases of the statuses that are sent here.
fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, HttpError> {
        let end = head_end(text.as_bytes(), 0)?.expect("a whole head");
        parse_head(&text.as_bytes()[..end])
    }

    fn status(text: &str) -> u16 {
        parse(text).expect_err(text).status
    }

    #[test]
    fn a_head_is_read() {
        let head = parse("POST /whip/a?x=1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\nContent-TYPE:  Application/SDP; charset=x \r\n\r\nhello").unwrap();
        assert_eq!((head.method.as_str(), head.path()), ("POST", "/whip/a"));
        assert_eq!(head.framing, Framing::Length(5));
        assert!(head.keep_alive && head.is_content_type("application/sdp"));
        let head =
            parse("GET https://a:1/x HTTP/1.1\r\nHost: a:1\r\nConnection: foo, Close\r\n\r\n")
                .unwrap();
        assert_eq!((head.target.as_str(), head.keep_alive), ("/x", false));
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
    }

    #[test]
    fn what_smuggling_lives_on_is_refused() {
        let post = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
        for bad in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length:\r\n",
            "Content-Length : 1\r\n",
            "X: a\r\n b\r\n",
            "X: a\n",
            "Host: b\r\n",
            "X: \u{0}\r\n",
        ] {
            assert_eq!(status(&post(bad)), 400, "{bad:?}");
        }
        assert_eq!(status(&post("Transfer-Encoding: gzip, chunked\r\n")), 501);
        assert_eq!(status(&post("Content-Length: 65537\r\n")), 413);
        assert_eq!(status(&post("Content-Length: 99999999999999999999999\r\n")), 413);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\n\r\n"), 505);
        assert_eq!(status("GET x HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        let many = "X: y\r\n".repeat(HTTP_HEADERS_MAX);
        assert_eq!(status(&post(&many)), 431);
        assert_eq!(head_end(&[b'a'; HTTP_HEAD_BYTES_MAX], 0).unwrap_err().status, 431);
        assert!(head_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0).unwrap().is_none());
    }

    #[test]
    fn responses_say_their_length_and_keep_to_one_header_a_line() {
        let mut out = Vec::new();
        let response = Response::new(200, "text/plain", "hi").with("X", "a\r\nSet-Cookie: b");
        response.write(&mut out, true, true, Date::from_unix(784_111_777));
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Content-Length: 2\r\n") && text.ends_with("\r\n\r\n"));
        assert!(!text.contains("\nSet-Cookie"));
        let mut out = Vec::new();
        Response::empty(204).write(&mut out, false, false, Date::from_unix(0));
        let expected = "HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
            Connection: close\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn no_bytes_panic() {
        let mut rng = crate::base::rng::Rng::from_seed([5; 32]);
        let pieces = ["GET ", "/", " HTTP/1.1", "\r\n", "Host: a", ":", "0", "f", "\n", "\u{ff}"];
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..rng.next_u64() % 24 {
                text += pieces[(rng.next_u64() % pieces.len() as u64) as usize];
            }
            if let Ok(Some(end)) = head_end(text.as_bytes(), 0) {
                let _ = parse_head(&text.as_bytes()[..end]);
            }
            let _ = super::super::chunked::Chunked::default().take(text.as_bytes());
            let _ = percent_decode(&text);
            let _ = super::super::sdpfrag::parse(text.as_bytes());
        }
    }

    #[test]
    fn escapes_are_read_strictly() {
        assert_eq!(percent_decode("a%20b%C3%A4"), Some("a bä".into()));
        for bad in ["%", "%2", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn plain_http_is_sent_to_the_same_place_under_tls() {
        let head = parse("GET /r/x HTTP/1.1\r\nHost: a.example:8443\r\n\r\n").unwrap();
        let response = to_https(&head).unwrap();
        assert_eq!(response.headers[0].1, "https://a.example:8443/r/x");
        let head = parse("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n").unwrap();
        assert_eq!(to_https(&head), None);
    }
}
