//! The cryptography under every `Rtc` of the server: one certificate and one validated DTLS
//! configuration, shared by all peers of all workers.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, ProtocolVersion,
};
use str0m::crypto::{CryptoError, CryptoProvider};

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
        Crypto::with(CryptoProvider { dtls_provider: &SharedConfig, ..standard })
    }

    /// Any other provider, for simulation. It must be able to make certificates.
    #[expect(clippy::expect_used, reason = "at start, before there is anything to lose")]
    pub fn with(provider: CryptoProvider) -> Crypto {
        let certificate = provider.dtls_provider.generate_certificate();
        Crypto {
            certificate: Arc::new(certificate.expect("the provider makes certificates")),
            provider: Arc::new(provider),
        }
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
        Ok(Box::new(Instance(dtls)))
    }
}

struct Instance(dimpl::Dtls);

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DTLS")
    }
}

impl DtlsInstance for Instance {
    fn set_active(&mut self, active: bool) {
        self.0.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.0.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        self.0.poll_output(buffer)
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.0.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.0.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.0.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.0.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.0.close()
    }
}
