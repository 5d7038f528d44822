//! Chunked request bodies (RFC 9112 §7.1), which some WHIP clients send.

use super::http::{BODY_TOO_LARGE, HttpError};
use crate::base::limits::HTTP_BODY_BYTES_MAX;

/// A chunked body as it arrives. Chunk extensions and trailers are skipped.
#[derive(Debug, Default)]
pub struct Chunked {
    step: Step,
    /// What is left of the present chunk, or bytes of the present line.
    count: usize,
    body: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Size,
    Data,
    DataEnd,
    Trailer,
    Done,
}

/// A chunk-size line or trailer line longer than this is refused; ours need a dozen bytes.
const CHUNK_LINE_BYTES_MAX: usize = 1_024;
/// Trailers together.
const TRAILERS_BYTES_MAX: usize = 4_096;

impl Chunked {
    /// Takes what it can of `bytes`; returns how much that was. Call again with the rest and
    /// more; a line is only taken whole.
    pub fn take(&mut self, bytes: &[u8]) -> Result<usize, HttpError> {
        let mut rest = bytes;
        while self.step != Step::Done {
            if self.step == Step::Data {
                let (data, behind) = rest.split_at_checked(self.count).unwrap_or((rest, &[]));
                self.body.extend_from_slice(data);
                self.count -= data.len();
                rest = behind;
                if self.count > 0 {
                    break;
                }
                self.step = Step::DataEnd;
                continue;
            }
            let Some((line, behind)) = chunk_line(rest)? else {
                break;
            };
            rest = behind;
            self.line(line)?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// The body, once it is complete.
    pub fn finish(&mut self) -> Option<Vec<u8>> {
        (self.step == Step::Done).then(|| std::mem::take(&mut self.body))
    }

    fn line(&mut self, line: &[u8]) -> Result<(), HttpError> {
        match self.step {
            Step::Size => {
                self.count = chunk_size(line)?;
                if self.body.len().saturating_add(self.count) > HTTP_BODY_BYTES_MAX {
                    return Err(BODY_TOO_LARGE);
                }
                self.step = match self.count {
                    0 => Step::Trailer,
                    _ => Step::Data,
                };
            }
            Step::DataEnd if line.is_empty() => self.step = Step::Size,
            Step::DataEnd => return Err(HttpError::bad("a chunk is longer than it said")),
            Step::Trailer if line.is_empty() => self.step = Step::Done,
            _ => {
                self.count += line.len();
                if self.count > TRAILERS_BYTES_MAX {
                    return Err(HttpError::too_large(431, "the trailers are too long"));
                }
            }
        }
        Ok(())
    }
}

/// A line without its CRLF, and what is behind it.
type Line<'a> = (&'a [u8], &'a [u8]);

/// The first line of `bytes`; `None` when it is not whole.
fn chunk_line(bytes: &[u8]) -> Result<Option<Line<'_>>, HttpError> {
    let seen = bytes.get(..CHUNK_LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(at) = seen.iter().position(|b| *b == b'\n') else {
        return match seen.len() {
            CHUNK_LINE_BYTES_MAX => Err(HttpError::bad("a chunk's line is too long")),
            _ => Ok(None),
        };
    };
    let (line, behind) = bytes.split_at(at + 1);
    let line = line.strip_suffix(b"\r\n");
    let line = line.ok_or(HttpError::bad("a chunk's line ends without CR"))?;
    Ok(Some((line, behind)))
}

fn chunk_size(line: &[u8]) -> Result<usize, HttpError> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    if digits.is_empty() || digits.len() > 8 {
        return Err(HttpError::bad("a chunk's size is not a number"));
    }
    digits.iter().try_fold(0, |size: usize, digit| {
        let value = (*digit as char).to_digit(16);
        let value = value.ok_or(HttpError::bad("a chunk's size is not a number"))?;
        Ok(size << 4 | value as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunked_bodies_arrive_in_any_pieces() {
        let whole = b"5;ext=1\r\nhello\r\n1 \r\n!\r\n0\r\nTrailer: x\r\n\r\nGET";
        for piece in 1..whole.len() {
            let (mut chunked, mut buffer) = (Chunked::default(), Vec::new());
            for bytes in whole.chunks(piece) {
                buffer.extend_from_slice(bytes);
                let taken = chunked.take(&buffer).unwrap();
                buffer.drain(..taken);
            }
            assert_eq!(chunked.finish().as_deref(), Some(&b"hello!"[..]));
            assert_eq!(buffer, b"GET");
        }
        for bad in ["x\r\n", "\r\n", "1\n", "2\r\nabc\r\n", "-1\r\n", "123456789\r\n"] {
            let error = Chunked::default().take(bad.as_bytes()).expect_err(bad);
            assert_eq!(error.status, 400);
        }
        let error = Chunked::default().take(b"10001\r\n").unwrap_err();
        assert_eq!(error.status, 413);
    }
}
