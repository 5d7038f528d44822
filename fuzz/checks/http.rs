//! Requests as a connection frames them: heads, bodies of known length and chunked ones come out
//! the same in whatever pieces they arrive, and a response has the headers that it was given.

use trackyard::base::limits::{HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX};
use trackyard::wire::chunked::Chunked;
use trackyard::wire::http::{
    Date, Framing, Head, HttpError, Request, Response, head_end, parse_head, to_https,
};
use trackyard::wire::signal::ErrorCode;

/// The first byte is the length of the pieces.
pub fn check(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let whole = read(stream, stream.len().max(1));
    let pieces = read(stream, usize::from(*piece) + 1);
    assert_eq!(whole, pieces, "framing depends on how bytes arrive");
    for request in whole.iter().flatten() {
        head(&request.head);
        assert!(request.body.len() <= HTTP_BODY_BYTES_MAX);
    }
    responses(&String::from_utf8_lossy(stream));
}

/// All requests of a connection, up to the first error.
fn read(stream: &[u8], piece: usize) -> Vec<Result<Request, HttpError>> {
    let mut reader = Reader::default();
    for bytes in stream.chunks(piece) {
        reader.inbox.extend_from_slice(bytes);
        while reader.understand() {}
        if reader.out.last().is_some_and(|last| last.is_err()) {
            break;
        }
    }
    reader.out
}

#[derive(Default)]
struct Reader {
    inbox: Vec<u8>,
    scanned: usize,
    open: Option<Open>,
    out: Vec<Result<Request, HttpError>>,
}

/// A request whose body is being read.
enum Open {
    Length(Head, usize),
    Chunked(Head, Chunked),
}

impl Reader {
    /// One request, or one part of it; whether there may be more in the inbox.
    fn understand(&mut self) -> bool {
        let before = (self.inbox.len(), self.out.len(), self.open.is_some());
        let result = match self.open.take() {
            None => self.head(),
            Some(Open::Length(head, length)) => match self.inbox.len() < length {
                true => {
                    self.open = Some(Open::Length(head, length));
                    Ok(None)
                }
                false => Ok(Some(Request { head, body: self.inbox.drain(..length).collect() })),
            },
            Some(Open::Chunked(head, chunked)) => self.chunked(head, chunked),
        };
        let failed = result.is_err();
        self.out.extend(result.transpose());
        !failed && before != (self.inbox.len(), self.out.len(), self.open.is_some())
    }

    fn head(&mut self) -> Result<Option<Request>, HttpError> {
        let Some(end) = head_end(&self.inbox, self.scanned)? else {
            self.scanned = self.inbox.len();
            return Ok(None);
        };
        assert!(end <= HTTP_HEAD_BYTES_MAX);
        self.scanned = 0;
        let bytes: Vec<u8> = self.inbox.drain(..end).collect();
        let head = parse_head(&bytes)?;
        self.open = Some(match head.framing {
            Framing::Length(length) => Open::Length(head, length),
            Framing::Chunked => Open::Chunked(head, Chunked::default()),
        });
        Ok(None)
    }

    fn chunked(&mut self, head: Head, mut chunked: Chunked) -> Result<Option<Request>, HttpError> {
        let taken = chunked.take(&self.inbox)?;
        self.inbox.drain(..taken);
        if let Some(body) = chunked.finish() {
            return Ok(Some(Request { head, body }));
        }
        self.open = Some(Open::Chunked(head, chunked));
        Ok(None)
    }
}

fn head(head: &Head) {
    assert!(head.target.starts_with('/') || head.target == "*", "{}", head.target);
    let is_token = |b: u8| b.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&b);
    assert!(!head.method.is_empty() && head.method.bytes().all(is_token), "{}", head.method);
    for (name, value) in &head.headers {
        assert!(name.bytes().all(|b| is_token(b) && !b.is_ascii_uppercase()), "{name}");
        assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
        assert_eq!(value.trim(), value);
    }
    let count = |name: &str| head.headers.iter().filter(|(n, _)| n == name).count();
    match head.framing {
        Framing::Chunked => {
            assert_eq!((count("transfer-encoding"), count("content-length")), (1, 0));
        }
        Framing::Length(length) => {
            assert_eq!(count("transfer-encoding"), 0);
            let said = head.header("content-length").map_or(0, |l| l.parse().expect("a number"));
            assert_eq!((said, count("content-length") <= 1), (length, true));
        }
    }
    assert!(head.path().len() <= head.target.len());
    if let Some(response) = to_https(head) {
        written(&response, 1);
    }
}

/// Whatever is reflected, it begins no header and no body of its own.
fn responses(text: &str) {
    let location = Response::empty(201).with("Location", text.to_owned()).with("ETag", "x");
    written(&location, 2);
    written(&Response::problem(400, ErrorCode::BadRequest, text), 2);
}

fn written(response: &Response, headers: usize) {
    let mut out = Vec::new();
    response.write(&mut out, false, true, Date::from_unix(0));
    let lines = out.split(|b| *b == b'\n').take_while(|line| *line != b"\r");
    // The status, and what writing adds: date, length, connection.
    assert_eq!(lines.count(), headers + 4);
    let end = out.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends") + 4;
    assert_eq!(&out[end..], &*response.body);
}
