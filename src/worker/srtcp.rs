//! SRTCP of a peer's client, opened and sealed again (RFC 3711 §3.4, RFC 7714 §9), so that what a
//! client asks for can be weighed before `str0m` acts on it.

use str0m::crypto::dtls::{KeyingMaterial, SrtpProfile};
use str0m::crypto::{
    AeadAes128Gcm, AeadAes128GcmCipher, AeadAes256GcmCipher, Aes128CmSha1_80,
    Aes128CmSha1_80Cipher, CryptoProvider, Sha1HmacProvider, SrtpProvider,
};

use crate::base::limits::STREAMS_PER_PEER_MAX;

/// Opens what the client protected, and seals it in its name.
#[derive(Debug)]
pub struct Srtcp {
    cipher: Cipher,
    /// For each SSRC that sends: browsers have one for each stream, and each counts for itself
    /// (RFC 3711 §3.2.3). At most [`STREAMS_PER_PEER_MAX`], the one that began last at the end.
    windows: Vec<(u32, Window)>,
}

/// The highest index that was opened, and those before it (RFC 3711 §3.3.2).
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    highest: u32,
    opened: u64,
}

#[derive(Debug)]
enum Cipher {
    Gcm128 {
        open: Box<dyn AeadAes128GcmCipher>,
        seal: Box<dyn AeadAes128GcmCipher>,
        salt: [u8; 12],
    },
    Gcm256 {
        open: Box<dyn AeadAes256GcmCipher>,
        seal: Box<dyn AeadAes256GcmCipher>,
        salt: [u8; 12],
    },
    Cm {
        cipher: CounterMode,
        salt: [u8; 14],
        auth: [u8; 20],
        hmac: &'static dyn Sha1HmacProvider,
    },
}

#[derive(Debug)]
struct CounterMode {
    open: Box<dyn Aes128CmSha1_80Cipher>,
    seal: Box<dyn Aes128CmSha1_80Cipher>,
}

/// Why a datagram was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOpened {
    /// Too short, not encrypted, or its tag does not fit.
    Forged,
    /// Its index came before, or is too old to tell.
    Replayed,
}

/// Fixed header and sender SSRC, which stay in clear.
const HEADER_BYTES: usize = 8;
const INDEX_BYTES: usize = 4;
const GCM_TAG_BYTES: usize = AeadAes128Gcm::TAG_LEN;
const CM_TAG_BYTES: usize = Aes128CmSha1_80::HMAC_TAG_LEN;
const ENCRYPTED: u32 = 1 << 31;
/// What the provider's counter mode may write beyond its input.
const CM_PADDING_BYTES: usize = 16;
/// Indices that the replay window remembers.
const WINDOW: u32 = 64;

/// Key derivation labels of SRTCP (RFC 3711 §4.3.2).
const LABEL_KEY: u8 = 3;
const LABEL_AUTH: u8 = 4;
const LABEL_SALT: u8 = 5;

impl Srtcp {
    /// For what the DTLS client sends if `from_client`, else for what the DTLS server sends;
    /// `None` for a profile that we do not know.
    pub fn new(
        provider: &CryptoProvider,
        profile: SrtpProfile,
        keys: &KeyingMaterial,
        from_client: bool,
    ) -> Option<Srtcp> {
        let srtp = provider.srtp_provider;
        Some(match profile {
            SrtpProfile::AEAD_AES_128_GCM => {
                let master = Master::<16>::read(keys, 12, from_client)?;
                Srtcp::gcm128(srtp, master.derive(srtp, LABEL_KEY), master.derive(srtp, LABEL_SALT))
            }
            SrtpProfile::AEAD_AES_256_GCM => {
                let master = Master::<32>::read(keys, 12, from_client)?;
                Srtcp::gcm256(srtp, master.derive(srtp, LABEL_KEY), master.derive(srtp, LABEL_SALT))
            }
            SrtpProfile::AES128_CM_SHA1_80 => {
                let master = Master::<16>::read(keys, 14, from_client)?;
                let key = master.derive(srtp, LABEL_KEY);
                let factory = srtp.aes_128_cm_sha1_80();
                let (open, seal) =
                    (factory.create_cipher(key, false), factory.create_cipher(key, true));
                Srtcp::with(Cipher::Cm {
                    cipher: CounterMode { open, seal },
                    salt: master.derive(srtp, LABEL_SALT),
                    auth: master.derive(srtp, LABEL_AUTH),
                    hmac: provider.sha1_hmac_provider,
                })
            }
            _ => return None,
        })
    }

    fn with(cipher: Cipher) -> Srtcp {
        Srtcp { cipher, windows: Vec::new() }
    }

    fn gcm128(provider: &dyn SrtpProvider, key: [u8; 16], salt: [u8; 12]) -> Srtcp {
        let factory = provider.aead_aes_128_gcm();
        let (open, seal) = (factory.create_cipher(key, false), factory.create_cipher(key, true));
        Srtcp::with(Cipher::Gcm128 { open, seal, salt })
    }

    fn gcm256(provider: &dyn SrtpProvider, key: [u8; 32], salt: [u8; 12]) -> Srtcp {
        let factory = provider.aead_aes_256_gcm();
        let (open, seal) = (factory.create_cipher(key, false), factory.create_cipher(key, true));
        Srtcp::with(Cipher::Gcm256 { open, seal, salt })
    }

    /// The compound packet in a datagram, put into `plain`, and the datagram's index.
    pub fn open(&mut self, datagram: &[u8], plain: &mut Vec<u8>) -> Result<u32, NotOpened> {
        let trailer = match self.cipher {
            Cipher::Cm { .. } => CM_TAG_BYTES,
            _ => 0,
        };
        let parts = || {
            let end = datagram.len().checked_sub(trailer + INDEX_BYTES)?;
            let (header, _) = datagram.split_first_chunk::<HEADER_BYTES>()?;
            let (body, rest) = (datagram.get(HEADER_BYTES..end)?, datagram.get(end..)?);
            let (word, tag) = rest.split_first_chunk::<INDEX_BYTES>()?;
            Some((*header, body, *word, tag))
        };
        let (header, body, word, tag) = parts().ok_or(NotOpened::Forged)?;
        let index = u32::from_be_bytes(word) & !ENCRYPTED;
        if u32::from_be_bytes(word) & ENCRYPTED == 0 {
            return Err(NotOpened::Forged);
        }
        let sender = ssrc(&header);
        let known = self.windows.iter().position(|(of, _)| *of == sender);
        let window = known.and_then(|at| self.windows.get(at)).map(|(_, window)| *window);
        let mut window = window.unwrap_or_default();
        if window.is_replay(index) {
            return Err(NotOpened::Replayed);
        }
        plain.clear();
        plain.extend_from_slice(&header);
        let opened = self.cipher.open(&header, body, &word, tag, plain);
        opened.ok_or(NotOpened::Forged)?;
        window.remember(index);
        match known.and_then(|at| self.windows.get_mut(at)) {
            Some((_, known)) => *known = window,
            None => {
                if self.windows.len() >= STREAMS_PER_PEER_MAX {
                    self.windows.remove(0);
                }
                self.windows.push((sender, window));
            }
        }
        Ok(index)
    }

    /// Protects a compound packet under the index of the one that it replaces, for `str0m` in this
    /// very process. It never leaves, so the index is not used twice on any wire.
    pub fn seal(&mut self, plain: &[u8], index: u32) -> Option<Vec<u8>> {
        let (header, body) = plain.split_first_chunk::<HEADER_BYTES>()?;
        self.cipher.seal(header, body, (index | ENCRYPTED).to_be_bytes())
    }
}

impl Window {
    fn is_replay(&self, index: u32) -> bool {
        match self.highest.checked_sub(index) {
            None => false,
            Some(back) => back >= WINDOW || self.opened >> back & 1 == 1,
        }
    }

    fn remember(&mut self, index: u32) {
        match self.highest.checked_sub(index) {
            Some(back) => self.opened |= 1 << back,
            None => {
                let forward = index - self.highest;
                self.opened = self.opened.checked_shl(forward).unwrap_or(0) | 1;
                self.highest = index;
            }
        }
    }
}

impl Cipher {
    /// Appends the opened body to `plain`.
    fn open(
        &mut self,
        header: &[u8; HEADER_BYTES],
        body: &[u8],
        word: &[u8; INDEX_BYTES],
        tag: &[u8],
        plain: &mut Vec<u8>,
    ) -> Option<()> {
        let (ssrc, index) = (ssrc(header), u32::from_be_bytes(*word) & !ENCRYPTED);
        let start = plain.len();
        match self {
            Cipher::Gcm128 { open, salt, .. } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                plain.resize(start + body.len().checked_sub(GCM_TAG_BYTES)?, 0);
                open.decrypt(&iv, &[header, word], body, plain.get_mut(start..)?).ok()?;
            }
            Cipher::Gcm256 { open, salt, .. } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                plain.resize(start + body.len().checked_sub(GCM_TAG_BYTES)?, 0);
                open.decrypt(&iv, &[header, word], body, plain.get_mut(start..)?).ok()?;
            }
            Cipher::Cm { cipher, salt, auth, hmac } => {
                let expected = hmac.sha1_hmac(&auth[..], &[header, body, word]);
                let pairs = expected.iter().zip(tag);
                if tag.len() != CM_TAG_BYTES || pairs.fold(0, |all, (a, b)| all | (a ^ b)) != 0 {
                    return None;
                }
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                plain.resize(start + body.len() + CM_PADDING_BYTES, 0);
                cipher.open.decrypt(&iv, body, plain.get_mut(start..)?).ok()?;
                plain.truncate(start + body.len());
            }
        }
        Some(())
    }

    fn seal(
        &mut self,
        header: &[u8; HEADER_BYTES],
        body: &[u8],
        word: [u8; INDEX_BYTES],
    ) -> Option<Vec<u8>> {
        let (ssrc, index) = (ssrc(header), u32::from_be_bytes(word) & !ENCRYPTED);
        let mut sealed = header.to_vec();
        let aad = [&header[..], &word[..]].concat();
        match self {
            Cipher::Gcm128 { seal, salt, .. } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                sealed.resize(HEADER_BYTES + body.len() + GCM_TAG_BYTES, 0);
                seal.encrypt(&iv, &aad, body, sealed.get_mut(HEADER_BYTES..)?).ok()?;
                sealed.extend(word);
            }
            Cipher::Gcm256 { seal, salt, .. } => {
                let iv = AeadAes128Gcm::rtcp_iv(*salt, ssrc, index);
                sealed.resize(HEADER_BYTES + body.len() + GCM_TAG_BYTES, 0);
                seal.encrypt(&iv, &aad, body, sealed.get_mut(HEADER_BYTES..)?).ok()?;
                sealed.extend(word);
            }
            Cipher::Cm { cipher, salt, auth, hmac } => {
                let iv = Aes128CmSha1_80::rtp_iv(*salt, ssrc, index.into());
                sealed.resize(HEADER_BYTES + body.len() + CM_PADDING_BYTES, 0);
                cipher.seal.encrypt(&iv, body, sealed.get_mut(HEADER_BYTES..)?).ok()?;
                sealed.truncate(HEADER_BYTES + body.len());
                sealed.extend(word);
                let tag = hmac.sha1_hmac(&auth[..], &[&sealed]);
                sealed.extend(tag.iter().take(CM_TAG_BYTES));
            }
        }
        Some(sealed)
    }
}

fn ssrc([_, _, _, _, a, b, c, d]: &[u8; HEADER_BYTES]) -> u32 {
    u32::from_be_bytes([*a, *b, *c, *d])
}

/// A master key and salt (RFC 3711 §4.3).
pub(super) struct Master<const KEY_BYTES: usize> {
    key: [u8; KEY_BYTES],
    /// 96-bit salts of GCM end in zeros (RFC 7714 §11).
    salt: [u8; 14],
}

impl<const KEY_BYTES: usize> Master<KEY_BYTES> {
    /// Client key, server key, client salt, server salt (RFC 5764 §4.2).
    pub(super) fn read(keys: &[u8], salt_bytes: usize, from_client: bool) -> Option<Self> {
        let (mut key, mut salt) = ([0; KEY_BYTES], [0; 14]);
        let own = usize::from(!from_client);
        let salts = keys.get(2 * KEY_BYTES..)?;
        key.copy_from_slice(keys.get(own * KEY_BYTES..)?.get(..KEY_BYTES)?);
        let from = salts.get(own * salt_bytes..)?.get(..salt_bytes)?;
        salt.get_mut(..salt_bytes)?.copy_from_slice(from);
        Some(Master { key, salt })
    }

    /// AES in counter mode over the salt with the label in it (RFC 3711 §4.3.1, §4.3.3).
    pub(super) fn derive<const BYTES: usize>(
        &self,
        provider: &dyn SrtpProvider,
        label: u8,
    ) -> [u8; BYTES] {
        let mut derived = [0; BYTES];
        for (round, place) in derived.chunks_mut(16).enumerate() {
            let mut input = [0; 16];
            let [s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13] = self.salt;
            let salted = [
                s0,
                s1,
                s2,
                s3,
                s4,
                s5,
                s6,
                s7 ^ label,
                s8,
                s9,
                s10,
                s11,
                s12,
                s13,
                0,
                round as u8,
            ];
            input.copy_from_slice(&salted);
            // The provider may pad what it encrypts by a block.
            let mut output = [0; 32];
            match KEY_BYTES {
                32 => provider.srtp_aes_256_ecb_round(&self.key, &input, &mut output),
                _ => provider.srtp_aes_128_ecb_round(&self.key, &input, &mut output),
            }
            place.iter_mut().zip(output).for_each(|(to, from)| *to = from);
        }
        derived
    }
}

#[cfg(test)]
mod tests;
