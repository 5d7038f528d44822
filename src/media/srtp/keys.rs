//! From what DTLS exported to the keys that packets are sealed with (RFC 3711 §4.3, RFC 7714 §11).

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};

use super::Profile;
use super::cipher::{Cipher, number};

/// What one side's session keys are derived from.
pub struct Master {
    profile: Profile,
    /// AES-CM with the master key's length (RFC 3711 §4.3.3, RFC 6188 §3).
    key: EncryptingKey,
    /// 112 bits; the 96 of GCM are followed by zeros (RFC 7714 §11).
    salt: u128,
}

/// What a key is for (RFC 3711 §4.3.1, §4.3.2).
#[derive(Clone, Copy)]
pub enum Label {
    RtpKey = 0,
    RtpAuth = 1,
    RtpSalt = 2,
    RtcpKey = 3,
    RtcpAuth = 4,
    RtcpSalt = 5,
}

impl Master {
    /// The DTLS client's and its server's: client key, server key, client salt, server salt
    /// (RFC 5764 §4.2).
    pub fn both(profile: Profile, material: &[u8]) -> Option<(Master, Master)> {
        if material.len() != profile.material_bytes() {
            return None;
        }
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        let (client_key, rest) = material.split_at_checked(key)?;
        let (server_key, rest) = rest.split_at_checked(key)?;
        let (client_salt, server_salt) = rest.split_at_checked(salt)?;
        let client = Master::new(profile, client_key, client_salt)?;
        Some((client, Master::new(profile, server_key, server_salt)?))
    }

    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Master> {
        let zeros = 14_usize.checked_sub(salt.len())?;
        Some(Master { profile, key: counter_mode(key)?, salt: number(salt) << (8 * zeros) })
    }

    pub fn rtp(&self) -> Option<Cipher> {
        self.cipher([Label::RtpKey, Label::RtpSalt, Label::RtpAuth])
    }

    pub fn rtcp(&self) -> Option<Cipher> {
        self.cipher([Label::RtcpKey, Label::RtcpSalt, Label::RtcpAuth])
    }

    fn cipher(&self, [key, salt, auth]: [Label; 3]) -> Option<Cipher> {
        match self.profile {
            Profile::Aes128CmSha1_80 => {
                Cipher::cm(&self.derive(key)?, &self.derive(salt)?, &self.derive(auth)?)
            }
            Profile::AeadAes128Gcm => Cipher::gcm(&self.derive::<16>(key)?, &self.derive(salt)?),
            Profile::AeadAes256Gcm => Cipher::gcm(&self.derive::<32>(key)?, &self.derive(salt)?),
        }
    }

    /// The first bytes of the keystream that begins at the salt with the label in it. They serve as
    /// long as the master key does (a `key_derivation_rate` of 0).
    pub fn derive<const BYTES: usize>(&self, label: Label) -> Option<[u8; BYTES]> {
        let mut derived = [0; BYTES];
        apply_keystream(&self.key, (self.salt ^ (label as u128) << 48) << 16, &mut derived)?;
        Some(derived)
    }
}

/// AES in counter mode, by the key's length.
pub fn counter_mode(key: &[u8]) -> Option<EncryptingKey> {
    let algorithm = if key.len() == 16 { &AES_128 } else { &AES_256 };
    EncryptingKey::ctr(UnboundCipherKey::new(algorithm, key).ok()?).ok()
}

/// Over the bytes, from this counter on (RFC 3711 §4.1.1).
pub fn apply_keystream(key: &EncryptingKey, first: u128, bytes: &mut [u8]) -> Option<()> {
    let first = EncryptionContext::Iv128(first.to_be_bytes().into());
    key.less_safe_encrypt(bytes, first).ok().map(|_| ())
}
