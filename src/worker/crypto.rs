//! The cryptography under every `Rtc` of the server: one certificate and one validated DTLS
//! configuration, shared by all peers of all workers.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use dimpl::UnexpectedMessageError;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider, Sha1HmacProvider};

use super::tap::Tap;
use crate::wire::dtls::{self, Admission};
use crate::wire::stun;

/// Shared by all peers of all workers.
#[derive(Debug, Clone)]
pub struct Crypto {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) certificate: Arc<DtlsCert>,
}

impl Crypto {
    /// What a server runs on, with a fresh self-signed DTLS certificate (RFC 8827 §6.5:
    /// fingerprints in signalling vouch).
    pub fn generate() -> Crypto {
        let standard = str0m::crypto::from_feature_flags();
        let (dtls_provider, sha1_hmac_provider) = (&SharedConfig, &Compact);
        Crypto::with(CryptoProvider { dtls_provider, sha1_hmac_provider, ..standard })
    }

    /// HMAC-SHA1, which MESSAGE-INTEGRITY of STUN is made with.
    pub(super) fn hmac(&self) -> &'static dyn Sha1HmacProvider {
        self.provider.sha1_hmac_provider
    }

    /// Any other provider, for simulation. It must be able to make certificates. Made once for all
    /// workers: providers live as long as the process.
    #[expect(clippy::expect_used, reason = "at start, before there is anything to lose")]
    pub fn with(mut provider: CryptoProvider) -> Crypto {
        let tap = Tap { provider: provider.dtls_provider, shares: false };
        provider.dtls_provider = Box::leak(Box::new(tap));
        let certificate = provider.dtls_provider.generate_certificate();
        Crypto {
            certificate: Arc::new(certificate.expect("the provider makes certificates")),
            provider: Arc::new(provider),
        }
    }
}

/// HMAC-SHA1 that allocates nothing and touches little memory: a check comes seldom enough that
/// nothing it needs is in a cache, which costs more than the sums themselves.
#[derive(Debug)]
struct Compact;

impl Sha1HmacProvider for Compact {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        stun::sign(key, payloads)
    }
}

/// Like `str0m`'s own provider, except that the DTLS crate checks its configuration once in the
/// life of the process: each check seals and opens with every cipher suite, about 1 ms.
#[derive(Debug)]
struct SharedConfig;

/// The largest DTLS datagram that we send, as `str0m` asks for by default.
const DTLS_MTU: usize = 1_150;

static CONFIG: LazyLock<Result<Arc<dimpl::Config>, String>> = LazyLock::new(|| {
    // ICE has verified the address before DTLS begins, so a cookie would only cost a round trip.
    let config = dimpl::Config::builder().use_server_cookie(false).mtu(DTLS_MTU).build();
    config.map(Arc::new).map_err(|e| e.to_string())
});

impl DtlsProvider for SharedConfig {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        str0m::crypto::from_feature_flags().dtls_provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let config = CONFIG.clone().map_err(CryptoError::Other)?;
        let dtls = dimpl::Dtls::new_12(config, certificate.clone(), now);
        let certificate = certificate.clone();
        Ok(Box::new(Instance { dtls, certificate, now, phase: Phase::New }))
    }
}

/// One association. Until the handshake is done nothing that comes is authenticated, so whoever
/// can send from the client's address could break it with one datagram; what they can do is kept
/// small here.
///
/// What remains is a well-formed message that is faster than the client's own, such as a ClientHello
/// between the client's ICE check and its hello. To begin anew for a later hello would not help: our
/// answer to the first has reached the client, which gives up at a signature over another's random.
/// Only a cookie (RFC 6347 §4.2.1) would, at a round trip for everybody, and only against those who
/// cannot read what they race: they have to guess a port within milliseconds as it is.
struct Instance {
    dtls: dimpl::Dtls,
    certificate: DtlsCert,
    now: Instant,
    phase: Phase,
}

/// How far the handshake is, as a server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No ClientHello was taken.
    New,
    /// One with this random was.
    Begun(dtls::Random),
    /// Records are authenticated now.
    Done,
}

impl Instance {
    /// A server's next datagram before the handshake is done.
    fn take_unauthenticated(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        let begun = match self.phase {
            Phase::Begun(random) => Some(random),
            _ => None,
        };
        let misplaced = DtlsImplError::UnexpectedMessage(UnexpectedMessageError::UnexpectedEpoch);
        let admission = dtls::admit(packet, begun).ok_or(misplaced)?;
        let result = self.dtls.handle_packet(packet);
        match (&result, admission) {
            (Ok(()), Admission::Hello(random)) => self.phase = Phase::Begun(random),
            // Nothing was answered yet, so the client does not notice that it meets another.
            (Err(_), _) if begun.is_none() => self.begin_anew()?,
            _ => {}
        }
        result
    }

    fn begin_anew(&mut self) -> Result<(), DtlsImplError> {
        if let Ok(config) = CONFIG.clone() {
            self.dtls = dimpl::Dtls::new_12(config, self.certificate.clone(), self.now);
            self.dtls.set_active(false);
            self.dtls.handle_timeout(self.now)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DTLS")
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.dtls.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        if self.phase == Phase::Done || self.dtls.is_active() {
            return self.dtls.handle_packet(packet);
        }
        self.take_unauthenticated(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let output = self.dtls.poll_output(buffer);
        if matches!(output, DtlsOutput::Connected) {
            self.phase = Phase::Done;
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = now;
        self.dtls.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.dtls.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.dtls.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.dtls.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.dtls.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.dtls.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.dtls.close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use str0m::RtcConfig;

    /// The fastest of some, so that a busy machine counts for little.
    fn build_time(config: &RtcConfig) -> Duration {
        let time = |_| {
            let start = Instant::now();
            drop(config.clone().build(start));
            start.elapsed()
        };
        (0..30).map(time).min().expect("some")
    }

    #[test]
    fn the_provider_is_not_checked_for_every_peer() {
        let crypto = Crypto::generate();
        let config = RtcConfig::new().set_dtls_cert((*crypto.certificate).clone());
        let standard = Arc::new(str0m::crypto::from_feature_flags());
        let before = build_time(&config.clone().set_crypto_provider(standard));
        let shared = build_time(&config.set_crypto_provider(crypto.provider));
        println!("an `Rtc` is built in {shared:?}, with `str0m`'s own provider in {before:?}");
        assert!(shared * 4 < before, "{shared:?}, {before:?}");
    }
}
