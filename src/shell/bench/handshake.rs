//! A client's way to its keys: one ICE check, then DTLS as its client (RFC 5764).

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Dtls, DtlsCertificate, Output, SrtpProfile};

use super::stun::{self, Ice};
use super::{Done, Failed, failed};
use crate::media::srtp::Profile;
use crate::shell::certs;

/// One DTLS certificate for all clients: making one is not what is measured.
pub struct Identity {
    pub fingerprint: String,
    certificate: DtlsCertificate,
    config: Arc<dimpl::Config>,
}

/// What the handshake agreed on.
#[derive(Debug, Clone)]
pub struct Keys {
    pub profile: Profile,
    /// As DTLS exports it.
    pub material: Vec<u8>,
}

/// Nothing takes so long, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);
/// A check that was lost is repeated.
const CHECK_AGAIN: Duration = Duration::from_millis(200);

impl Identity {
    pub fn generate() -> Done<Identity> {
        let made = rcgen::generate_simple_self_signed(vec!["bench".to_owned()])
            .map_err(failed("a DTLS certificate"))?;
        let config = dimpl::Config::builder().build().map_err(failed("DTLS"))?;
        Ok(Identity {
            fingerprint: certs::fingerprint(made.cert.der()),
            certificate: DtlsCertificate {
                certificate: made.cert.der().to_vec(),
                private_key: made.signing_key.serialize_der(),
            },
            config: Arc::new(config),
        })
    }
}

/// Connects on a socket that does not block, and leaves it so.
pub fn connect(
    identity: &Identity,
    socket: &UdpSocket,
    server: SocketAddr,
    ice: &Ice,
) -> Done<Keys> {
    let mut way = Way { socket, server, deadline: Instant::now() + PATIENCE };
    let done = way.block(true).and_then(|()| {
        way.check(ice)?;
        way.shake_hands(identity)
    });
    way.block(false)?;
    done
}

struct Way<'a> {
    socket: &'a UdpSocket,
    server: SocketAddr,
    deadline: Instant,
}

impl Way<'_> {
    fn block(&self, blocks: bool) -> Done<()> {
        self.socket.set_nonblocking(!blocks).map_err(failed("UDP"))
    }

    fn check(&mut self, ice: &Ice) -> Done<()> {
        // Lower than those that keep the path alive later.
        let mut transaction = 0;
        let mut buffer = [0; 2_048];
        loop {
            self.send(&stun::check(ice, transaction))?;
            let again = Instant::now() + CHECK_AGAIN;
            while let Some(datagram) = self.receive(again, &mut buffer)? {
                if stun::agrees(datagram, transaction) {
                    return Ok(());
                }
            }
            transaction += 1;
        }
    }

    fn shake_hands(&mut self, identity: &Identity) -> Done<Keys> {
        let certificate = identity.certificate.clone();
        let now = Instant::now();
        let mut dtls = Dtls::new_12(identity.config.clone(), certificate, now);
        dtls.set_active(true);
        dtls.handle_timeout(now).map_err(failed("DTLS"))?;
        let (mut keys, mut connected) = (None, false);
        let mut buffer = [0; 2_048];
        loop {
            let due = loop {
                match dtls.poll_output(&mut buffer) {
                    Output::Packet(packet) => self.send(packet)?,
                    Output::Timeout(at) => break at,
                    Output::Connected => connected = true,
                    Output::KeyingMaterial(material, profile) => {
                        let profile = profile_of(profile)?;
                        keys = Some(Keys { profile, material: material.to_vec() });
                    }
                    Output::CloseNotify => return Err(Failed("the server ended DTLS".into())),
                    _ => {}
                }
            };
            if let Some(keys) = keys.take_if(|_| connected) {
                return Ok(keys);
            }
            match self.receive(due, &mut buffer)? {
                // Answers to checks and the like come in between.
                Some(datagram) if (20..64).contains(&datagram[0]) => {
                    dtls.handle_packet(datagram).map_err(failed("DTLS"))?;
                }
                Some(_) => {}
                None => dtls.handle_timeout(Instant::now()).map_err(failed("DTLS"))?,
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> Done<()> {
        self.socket.send_to(datagram, self.server).map_err(failed("UDP"))?;
        Ok(())
    }

    /// What comes by then; never an empty datagram.
    fn receive<'b>(&self, until: Instant, buffer: &'b mut [u8]) -> Done<Option<&'b [u8]>> {
        let length = loop {
            let now = Instant::now();
            if now >= self.deadline {
                return Err(Failed("a client could not connect: nobody answers it".into()));
            }
            let Some(left) = until.checked_duration_since(now).filter(|d| !d.is_zero()) else {
                return Ok(None);
            };
            self.socket.set_read_timeout(Some(left)).map_err(failed("UDP"))?;
            match self.socket.recv(buffer) {
                Ok(0) => {}
                Ok(length) => break length,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(failed("UDP")(e)),
            }
        };
        Ok(Some(&buffer[..length]))
    }
}

fn profile_of(profile: SrtpProfile) -> Done<Profile> {
    Ok(match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        other => return Err(Failed(format!("DTLS agreed on {other:?}, which is not known"))),
    })
}
