//! The first packet of each of a client's streams, verified (RFC 3711 §3.3, RFC 7714 §8) before
//! `str0m` sees it: it makes room for a new SSRC, and takes the m-line from the one before, ahead
//! of looking at the tag. A forged packet would silence a publisher for good.

use std::time::Instant;

use str0m::crypto::dtls::{KeyingMaterial, SrtpProfile};
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80, CryptoProvider,
    Sha1HmacProvider,
};

use super::srtcp::Master;
use crate::base::limits::STREAMS_PER_PEER_MAX;

/// Says whether a packet is the client's.
#[derive(Debug)]
pub struct Srtp(Cipher);

#[derive(Debug)]
enum Cipher {
    Gcm128 { open: Box<dyn AeadAes128GcmCipher>, salt: [u8; 12] },
    Gcm256 { open: Box<dyn AeadAes256GcmCipher>, salt: [u8; 12] },
    Cm { auth: [u8; 20], hmac: &'static dyn Sha1HmacProvider },
}

/// The streams of which a packet was verified, with when their last one came.
#[derive(Debug, Default)]
pub struct Streams {
    srtp: Option<Srtp>,
    known: Vec<(u32, Instant)>,
}

/// Key derivation labels of SRTP (RFC 3711 §4.3.2).
const LABEL_KEY: u8 = 0;
const LABEL_AUTH: u8 = 1;
const LABEL_SALT: u8 = 2;
/// A stream begins with the rollover counter 0 (RFC 3711 §3.3.1).
const FIRST_ROC: u32 = 0;
const GCM_TAG_BYTES: usize = AeadAes128Gcm::TAG_LEN;
const CM_TAG_BYTES: usize = Aes128CmSha1_80::HMAC_TAG_LEN;

impl Streams {
    /// Whether a datagram of RTP may reach `str0m`: its stream is known, or begins with it. `make`
    /// is called once, when the keys are needed first.
    pub fn admit(
        &mut self,
        datagram: &[u8],
        now: Instant,
        make: impl FnOnce() -> Option<Srtp>,
    ) -> bool {
        let Some(([.., a, b, c, d], _)) = datagram.split_first_chunk::<12>() else {
            return false;
        };
        let ssrc = u32::from_be_bytes([*a, *b, *c, *d]);
        if let Some((_, last)) = self.known.iter_mut().find(|(known, _)| *known == ssrc) {
            *last = now;
            return true;
        }
        if self.srtp.is_none() {
            self.srtp = make();
        }
        if !self.srtp.as_mut().is_some_and(|srtp| srtp.is_genuine(datagram)) {
            return false;
        }
        if self.known.len() >= STREAMS_PER_PEER_MAX {
            let stalest = self.known.iter().enumerate().min_by_key(|(_, (_, last))| *last);
            if let Some((at, _)) = stalest {
                self.known.swap_remove(at);
            }
        }
        self.known.push((ssrc, now));
        true
    }

    /// How many are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }
}

impl Srtp {
    /// See [`super::srtcp::Srtcp::new`].
    pub fn new(
        provider: &CryptoProvider,
        profile: SrtpProfile,
        keys: &KeyingMaterial,
        from_client: bool,
    ) -> Option<Srtp> {
        let srtp = provider.srtp_provider;
        Some(Srtp(match profile {
            SrtpProfile::AEAD_AES_128_GCM => {
                let master = Master::<16>::read(keys, 12, from_client)?;
                let key = master.derive(srtp, LABEL_KEY);
                let open = srtp.aead_aes_128_gcm().create_cipher(key, false);
                Cipher::Gcm128 { open, salt: master.derive(srtp, LABEL_SALT) }
            }
            SrtpProfile::AEAD_AES_256_GCM => {
                let master = Master::<32>::read(keys, 12, from_client)?;
                let key = master.derive(srtp, LABEL_KEY);
                let open = srtp.aead_aes_256_gcm().create_cipher(key, false);
                Cipher::Gcm256 { open, salt: master.derive(srtp, LABEL_SALT) }
            }
            SrtpProfile::AES128_CM_SHA1_80 => {
                let master = Master::<16>::read(keys, 14, from_client)?;
                let auth = master.derive(srtp, LABEL_AUTH);
                Cipher::Cm { auth, hmac: provider.sha1_hmac_provider }
            }
            _ => return None,
        }))
    }

    /// Whether a packet is one of the first 2^16 of a stream of the client's.
    pub fn is_genuine(&mut self, datagram: &[u8]) -> bool {
        self.verify(datagram).is_some()
    }

    fn verify(&mut self, datagram: &[u8]) -> Option<()> {
        let (header, body) = datagram.split_at_checked(header_bytes(datagram)?)?;
        let ([_, _, s0, s1, _, _, _, _, a, b, c, d], _) = header.split_first_chunk::<12>()?;
        let seq = u16::from_be_bytes([*s0, *s1]);
        let ssrc = u32::from_be_bytes([*a, *b, *c, *d]);
        match &mut self.0 {
            Cipher::Gcm128 { open, salt } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, FIRST_ROC, seq);
                let mut plain = vec![0; body.len().checked_sub(GCM_TAG_BYTES)?];
                open.decrypt(&iv, &[header], body, &mut plain).ok()?;
            }
            Cipher::Gcm256 { open, salt } => {
                let iv = AeadAes128Gcm::rtp_iv(*salt, ssrc, FIRST_ROC, seq);
                let mut plain = vec![0; body.len().checked_sub(GCM_TAG_BYTES)?];
                open.decrypt(&iv, &[header], body, &mut plain).ok()?;
            }
            Cipher::Cm { auth, hmac } => {
                let (packet, tag) =
                    datagram.split_at_checked(datagram.len().checked_sub(CM_TAG_BYTES)?)?;
                let expected = hmac.sha1_hmac(&auth[..], &[packet, &FIRST_ROC.to_be_bytes()]);
                let pairs = expected.iter().zip(tag);
                if body.len() < CM_TAG_BYTES || pairs.fold(0, |all, (a, b)| all | (a ^ b)) != 0 {
                    return None;
                }
            }
        }
        Some(())
    }
}

/// Fixed header, contributing sources and extensions (RFC 3550 §5.1, §5.3.1).
fn header_bytes(datagram: &[u8]) -> Option<usize> {
    let first = *datagram.first()?;
    let fixed = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 == 0 {
        return Some(fixed);
    }
    let [_, _, high, low] = *datagram.get(fixed..)?.first_chunk::<4>()?;
    Some(fixed + 4 + 4 * usize::from(u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests;
