//! One TCP connection's bytes: non-blocking, with TLS or, for who came by the wrong scheme,
//! without.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use crate::gate::CloseReason;

/// The first byte of a TLS handshake record (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// Sealed bytes that may wait inside TLS; what does not fit waits unsealed.
const TLS_OUT_BYTES_MAX: usize = 64 * 1024;
/// Taken from the socket in one call when there is no TLS.
const PLAIN_READ_BYTES: usize = 4 * 1024;

/// TLS 1.2 and 1.3 with that certificate chain and key, for HTTP/1.1.
pub fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Ends a connection with a reset when it is dropped, so that nothing of it stays in the kernel:
/// a flood of refused connections would leave a minute's worth of them in TIME_WAIT.
pub fn reset_on_drop(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_linger(Some(Duration::ZERO)) {
        log::debug!("SO_LINGER: {error}");
    }
}

/// Bytes that wait to be written.
#[derive(Debug, Default)]
pub struct OutBytes {
    bytes: Vec<u8>,
    written: usize,
}

impl OutBytes {
    /// What is left.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where to append.
    pub fn end(&mut self) -> &mut Vec<u8> {
        if self.written > 0 && self.written >= self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        &mut self.bytes
    }

    fn next(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn advance(&mut self, n: usize) {
        self.written += n;
        if self.is_empty() {
            // A burst's buffer is not kept by an idle connection.
            self.bytes = Vec::new();
            self.written = 0;
        }
    }
}

/// What a connection speaks.
#[derive(Debug)]
enum Layer {
    /// Nothing came yet.
    Unknown,
    Tls(Box<ServerConnection>),
    Plain,
}

/// A socket and the TLS on it. Readiness is edge-triggered: it is remembered here until a call
/// says `WouldBlock`.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
    layer: Layer,
    readable: bool,
    writable: bool,
    /// The client will send nothing more.
    ended: bool,
    shut: bool,
}

impl Transport {
    /// On a fresh socket.
    pub fn new(stream: TcpStream) -> Transport {
        Transport {
            stream,
            layer: Layer::Unknown,
            readable: false,
            writable: false,
            ended: false,
            shut: false,
        }
    }

    /// The socket, to register it.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The poll said so.
    pub fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Whether a read may give more.
    pub fn is_readable(&self) -> bool {
        self.readable && !self.ended
    }

    /// Whether the client will send nothing more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether nothing can be said yet, for want of TLS.
    pub fn is_shaking_hands(&self) -> bool {
        match &self.layer {
            Layer::Unknown => true,
            Layer::Tls(tls) => tls.is_handshaking(),
            Layer::Plain => false,
        }
    }

    /// See [`reset_on_drop`].
    pub fn reset_on_drop(&self) {
        reset_on_drop(&self.stream);
    }

    /// Whether this is neither TLS nor still unknown.
    pub fn is_plain(&self) -> bool {
        matches!(self.layer, Layer::Plain)
    }

    /// Reads once, appending to `into`. Returns whether the socket gave anything.
    pub fn read(
        &mut self,
        into: &mut Vec<u8>,
        config: &Arc<ServerConfig>,
    ) -> Result<bool, CloseReason> {
        if !self.is_readable() {
            return Ok(false);
        }
        match &mut self.layer {
            Layer::Unknown => self.sniff(config),
            Layer::Tls(_) => self.read_tls(into),
            Layer::Plain => self.read_plain(into),
        }
    }

    /// Looks at the first byte and decides what this is.
    fn sniff(&mut self, config: &Arc<ServerConfig>) -> Result<bool, CloseReason> {
        let mut first = [0];
        match self.stream.peek(&mut first) {
            Ok(0) => {
                self.ended = true;
                return Ok(true);
            }
            Ok(_) => {}
            Err(error) => return self.blocked(error),
        }
        self.layer = match first[0] {
            TLS_HANDSHAKE => {
                let mut tls = ServerConnection::new(config.clone()).map_err(|error| {
                    log::error!("TLS cannot begin: {error}");
                    CloseReason::Tls
                })?;
                tls.set_buffer_limit(Some(TLS_OUT_BYTES_MAX));
                Layer::Tls(Box::new(tls))
            }
            b'A'..=b'Z' => Layer::Plain,
            _ => return Err(CloseReason::NotTls),
        };
        Ok(true)
    }

    fn read_tls(&mut self, into: &mut Vec<u8>) -> Result<bool, CloseReason> {
        let Layer::Tls(tls) = &mut self.layer else {
            return Ok(false);
        };
        match tls.read_tls(&mut self.stream) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) => return self.blocked(error),
        }
        if let Err(error) = tls.process_new_packets() {
            log::debug!("TLS failed: {error}");
            // The alert that says why; nothing more can be done when it does not go out.
            let _ = tls.write_tls(&mut self.stream);
            return Err(CloseReason::Tls);
        }
        let mut reader = tls.reader();
        let mut buffer = [0; 4 * 1024];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => {
                    self.ended = true;
                    return Ok(true);
                }
                Ok(n) => into.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                // No close_notify before the end: HTTP and WebSocket have ends of their own.
                Err(_) => {
                    self.ended = true;
                    return Ok(true);
                }
            }
        }
    }

    fn read_plain(&mut self, into: &mut Vec<u8>) -> Result<bool, CloseReason> {
        let mut buffer = [0; PLAIN_READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(n) => into.extend_from_slice(&buffer[..n]),
            Err(error) => return self.blocked(error),
        }
        Ok(true)
    }

    fn blocked(&mut self, error: io::Error) -> Result<bool, CloseReason> {
        match error.kind() {
            io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            io::ErrorKind::Interrupted => Ok(true),
            _ => {
                log::debug!("a connection cannot be read: {error}");
                Err(CloseReason::Io)
            }
        }
    }

    /// Writes as much of `out` as goes. Returns whether everything went out, also what TLS had
    /// to say for itself.
    pub fn write(&mut self, out: &mut OutBytes) -> Result<bool, CloseReason> {
        loop {
            let more = match &mut self.layer {
                Layer::Tls(tls) => {
                    if !out.is_empty() && !tls.is_handshaking() {
                        let n = tls.writer().write(out.next());
                        out.advance(n.map_err(|_| CloseReason::Tls)?);
                    }
                    tls.wants_write()
                }
                Layer::Unknown | Layer::Plain => !out.is_empty(),
            };
            if !more || !self.writable {
                return Ok(!more && out.is_empty());
            }
            let result = match &mut self.layer {
                Layer::Tls(tls) => tls.write_tls(&mut self.stream).map(|_| ()),
                _ => self.stream.write(out.next()).map(|n| out.advance(n)),
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::debug!("a connection cannot be written: {error}");
                    return Err(CloseReason::Io);
                }
            }
        }
    }

    /// Says that nothing more will be sent. Call when [`Transport::write`] said that everything
    /// went out, until it returns true; the client's end still has to be read.
    pub fn shut_down(&mut self) -> Result<bool, CloseReason> {
        if self.shut {
            return Ok(true);
        }
        if let Layer::Tls(tls) = &mut self.layer {
            tls.send_close_notify();
        }
        if !self.write(&mut OutBytes::default())? {
            return Ok(false);
        }
        // Fails when the client is gone already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.shut = true;
        Ok(true)
    }
}
