//! Requests to the server that is measured, over TLS, one after the other on one connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Done, Failed, failed};

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An answer: its head's lines and its body.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

/// The HTTP side of one server.
pub struct Https {
    server: SocketAddr,
    config: Arc<ClientConfig>,
    /// With when it was used last.
    open: Option<(Tls, Instant)>,
}

/// The server closes a connection on which nothing was asked for 30 s.
const KEPT: Duration = Duration::from_secs(20);
/// Nothing takes so long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(20);
const HEADERS_MAX: usize = 32;

impl Https {
    /// To a server that made its certificate itself and put it into this file.
    pub fn new(server: SocketAddr, certificate: &Path) -> Done<Https> {
        let certificate = CertificateDer::from_pem_file(certificate)
            .map_err(|e| Failed(format!("the server's certificate: {e}")))?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(failed("the server's certificate"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed("TLS"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Https { server, config: Arc::new(config), open: None })
    }

    /// A connection of its own.
    pub fn connect(&self) -> Done<Tls> {
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = ClientConnection::new(self.config.clone(), name).map_err(failed("TLS"))?;
        let tcp = TcpStream::connect(self.server).map_err(failed("connecting to the server"))?;
        tcp.set_read_timeout(Some(PATIENCE)).map_err(failed("TCP"))?;
        tcp.set_write_timeout(Some(PATIENCE)).map_err(failed("TCP"))?;
        tcp.set_nodelay(true).map_err(failed("TCP"))?;
        Ok(StreamOwned::new(tls, tcp))
    }

    pub fn get(&mut self, path: &str) -> Done<Response> {
        self.request(&format!("GET {path}"), "", "")
    }

    /// Sends an offer; the answer comes back.
    pub fn offer(&mut self, path: &str, sdp: &str) -> Done<String> {
        let kind = "Content-Type: application/sdp\r\n";
        let response = self.request(&format!("POST {path}"), kind, sdp)?;
        match response.status {
            201 => Ok(response.body),
            status => Err(Failed(format!("POST {path}: {status} {}", response.body))),
        }
    }

    fn request(&mut self, line: &str, headers: &str, body: &str) -> Done<Response> {
        let kept = self.open.take().filter(|(_, used)| used.elapsed() < KEPT);
        let mut tls = match kept {
            Some((tls, _)) => tls,
            None => self.connect()?,
        };
        let (host, length) = (self.server, body.len());
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        let done = tls.write_all(request.as_bytes()).and_then(|()| response(&mut tls));
        let response = done.map_err(|e| Failed(format!("{line}: {e}")))?;
        self.open = Some((tls, Instant::now()));
        Ok(response)
    }
}

fn response(stream: &mut impl Read) -> io::Result<Response> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
        if let Some(response) = parse(&bytes)? {
            return Ok(response);
        }
    }
}

/// `None` while it is not all there.
fn parse(bytes: &[u8]) -> io::Result<Option<Response>> {
    let invalid = |e: &str| io::Error::new(io::ErrorKind::InvalidData, e.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Response::new(&mut headers);
    let head_bytes = match head.parse(bytes).map_err(|e| invalid(&e.to_string()))? {
        httparse::Status::Complete(head_bytes) => head_bytes,
        httparse::Status::Partial => return Ok(None),
    };
    let length = head.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|h| std::str::from_utf8(h.value).ok()?.parse::<usize>().ok());
    let length = length.ok_or_else(|| invalid("no Content-Length"))?;
    let body = bytes[head_bytes..].get(..length).map(|b| String::from_utf8_lossy(b).into_owned());
    Ok(body.map(|body| Response { status: head.code.unwrap_or(0), body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_it_is_whole() {
        let whole = b"HTTP/1.1 201 Created\r\ncontent-length: 3\r\nX: y\r\n\r\nabcd";
        for cut in 0..whole.len() - 1 {
            assert!(parse(&whole[..cut]).unwrap().is_none(), "{cut}");
        }
        let response = parse(whole).unwrap().expect("whole");
        assert_eq!((response.status, &*response.body), (201, "abc"));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
