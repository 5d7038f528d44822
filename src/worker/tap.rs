//! The SRTP keys of each peer, taken off whichever DTLS provider is under its `Rtc`. `str0m` is given
//! none: media never passes through it, and without keys it has nothing to seal and keeps no state
//! for that.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use str0m::crypto::CryptoError;
use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};

use crate::media::srtp::Profile;

/// What the handshake agreed on.
#[derive(Debug)]
pub struct Keys {
    pub profile: Profile,
    pub material: KeyingMaterial,
    /// Whether the other side is the DTLS client, which decides which half is whose.
    pub from_client: bool,
}

/// Where a peer's keys will be once its handshake is done.
pub type KeySlot = Arc<OnceLock<Keys>>;

thread_local! {
    // `str0m` makes the instance while it builds an `Rtc` and gives no way to it afterwards, and a
    // provider has no place for what belongs to one `Rtc`: so the slot of the instance that this
    // thread made last waits here, until `take_slot` right after the build takes it.
    static MADE: Cell<Option<KeySlot>> = const { Cell::new(None) };
}

/// The slot of the `Rtc` that this thread has just built.
pub fn take_slot() -> KeySlot {
    MADE.take().unwrap_or_default()
}

/// A provider whose instances leave their keys in a slot.
#[derive(Debug)]
pub struct Tap {
    pub provider: &'static dyn DtlsProvider,
    /// `str0m` gets the keys too, for whoever sends media through it.
    pub shares: bool,
}

impl DtlsProvider for Tap {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        self.provider.generate_certificate()
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        version: DtlsVersion,
        mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        let instance = self.provider.new_dtls(certificate, now, version, mtu)?;
        let keys = KeySlot::default();
        MADE.set(Some(keys.clone()));
        Ok(Box::new(Tapped { instance, keys, shares: self.shares }))
    }

    fn is_test(&self) -> bool {
        self.provider.is_test()
    }
}

/// The profiles that DTLS may agree on.
fn known(profile: SrtpProfile) -> Option<Profile> {
    Some(match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Profile::Aes128CmSha1_80,
        SrtpProfile::AEAD_AES_128_GCM => Profile::AeadAes128Gcm,
        SrtpProfile::AEAD_AES_256_GCM => Profile::AeadAes256Gcm,
        _ => return None,
    })
}

#[derive(Debug)]
struct Tapped {
    instance: Box<dyn DtlsInstance>,
    keys: KeySlot,
    shares: bool,
}

impl DtlsInstance for Tapped {
    fn set_active(&mut self, active: bool) {
        self.instance.set_active(active);
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        self.instance.handle_packet(packet)
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let from_client = !self.instance.is_active();
        let output = self.instance.poll_output(buffer);
        let DtlsOutput::KeyingMaterial(material, profile) = output else { return output };
        // In its place comes what is said anyway, once, and is heeded once.
        let output = match self.shares {
            true => DtlsOutput::KeyingMaterial(KeyingMaterial::new(&material), profile),
            false => DtlsOutput::Connected,
        };
        if let Some(known) = known(profile) {
            self.keys.get_or_init(|| Keys { profile: known, material, from_client });
        }
        output
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.instance.handle_timeout(now)
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        self.instance.send_application_data(data)
    }

    fn is_active(&self) -> bool {
        self.instance.is_active()
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        self.instance.protocol_version()
    }

    fn is_closing(&self) -> bool {
        self.instance.is_closing()
    }

    fn is_closed(&self) -> bool {
        self.instance.is_closed()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        self.instance.close()
    }
}
