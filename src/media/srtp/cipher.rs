//! One direction's RTP or RTCP under its session keys. What differs between the two is where index
//! and tag stand, and what is authenticated.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::cipher::EncryptingKey;
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::keys::{apply_keystream, counter_mode};
use super::{RTCP_ENCRYPTED, RTCP_HEADER_BYTES, RTCP_WORD_BYTES};

pub const GCM_TAG_BYTES: usize = 16;
/// Of the 20 bytes of SHA-1 (RFC 3711 §4.2.1).
pub const CM_TAG_BYTES: usize = 10;

/// What no two packets under one key have in common.
#[derive(Clone, Copy)]
pub struct Id {
    pub ssrc: u32,
    /// 48 bits of RTP, 31 of RTCP.
    pub index: u64,
}

pub enum Cipher {
    Gcm(Gcm),
    Cm(Cm),
}

/// AEAD_AES_128_GCM and AEAD_AES_256_GCM (RFC 7714).
pub struct Gcm {
    key: LessSafeKey,
    /// 96 bits.
    salt: u128,
}

/// AES_CM_128_HMAC_SHA1_80 (RFC 3711 §4.1.1, §4.2.1).
pub struct Cm {
    key: EncryptingKey,
    /// 112 bits.
    salt: u128,
    /// With the key in it already: a copy of it begins a tag.
    auth: Hmac<Sha1>,
}

impl Cipher {
    /// By the key's length AEAD_AES_128_GCM or AEAD_AES_256_GCM.
    pub fn gcm(key: &[u8], salt: &[u8; 12]) -> Option<Cipher> {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?);
        Some(Cipher::Gcm(Gcm { key, salt: number(salt) }))
    }

    pub fn cm(key: &[u8; 16], salt: &[u8; 14], auth: &[u8; 20]) -> Option<Cipher> {
        let auth = Hmac::new_from_slice(auth).ok()?;
        Some(Cipher::Cm(Cm { key: counter_mode(key)?, salt: number(salt), auth }))
    }

    /// Bytes of the tag that stands after the index of RTCP; that of GCM stands before it.
    pub fn trailing_tag_bytes(&self) -> usize {
        match self {
            Cipher::Gcm(_) => 0,
            Cipher::Cm(_) => CM_TAG_BYTES,
        }
    }

    /// The header stands in this range, and the payload after it.
    pub fn seal_rtp(&self, packet: &mut Vec<u8>, header: Range<usize>, id: Id) -> Option<()> {
        match self {
            Cipher::Gcm(gcm) => {
                let (before, body) = packet.split_at_mut_checked(header.end)?;
                let tag = gcm.seal(id, before.get(header)?, body)?;
                packet.extend_from_slice(&tag);
            }
            Cipher::Cm(cm) => {
                cm.apply_keystream(id, packet.get_mut(header.end..)?)?;
                let mac = cm.rtp_mac(packet.get(header.start..)?, id);
                packet.extend_from_slice(&tag(mac));
            }
        }
        Some(())
    }

    /// Where the payload ends.
    pub fn open_rtp(&self, packet: &mut [u8], header_bytes: usize, id: Id) -> Option<usize> {
        match self {
            Cipher::Gcm(gcm) => {
                let (header, body) = packet.split_at_mut_checked(header_bytes)?;
                Some(header_bytes + gcm.open(id, header, body)?)
            }
            Cipher::Cm(cm) => {
                let (packet, tag) = packet.split_last_chunk_mut::<CM_TAG_BYTES>()?;
                let body_bytes = packet.len().checked_sub(header_bytes)?;
                cm.rtp_mac(packet, id).verify_truncated_left(tag).ok()?;
                cm.apply_keystream(id, packet.get_mut(header_bytes..)?)?;
                Some(header_bytes + body_bytes)
            }
        }
    }

    pub fn seal_rtcp(&self, packet: &mut Vec<u8>, start: usize, id: Id) -> Option<()> {
        let word = (id.index as u32 | RTCP_ENCRYPTED).to_be_bytes();
        let (header, body) = packet.get_mut(start..)?.split_first_chunk_mut()?;
        match self {
            Cipher::Gcm(gcm) => {
                let tag = gcm.seal(id, &rtcp_aad(header, &word), body)?;
                packet.extend_from_slice(&tag);
                packet.extend_from_slice(&word);
            }
            Cipher::Cm(cm) => {
                cm.apply_keystream(id, body)?;
                packet.extend_from_slice(&word);
                let mac = cm.auth.clone().chain_update(packet.get(start..)?);
                packet.extend_from_slice(&tag(mac));
            }
        }
        Some(())
    }

    /// Where the compound ends.
    pub fn open_rtcp(&self, packet: &mut [u8], id: Id) -> Option<usize> {
        let body_bytes = match self {
            Cipher::Gcm(gcm) => {
                let (sealed, word) = packet.split_last_chunk_mut()?;
                let (header, body) = sealed.split_first_chunk_mut()?;
                gcm.open(id, &rtcp_aad(header, word), body)?
            }
            Cipher::Cm(cm) => {
                let (signed, tag) = packet.split_last_chunk_mut::<CM_TAG_BYTES>()?;
                let mac = cm.auth.clone().chain_update(&*signed);
                mac.verify_truncated_left(tag).ok()?;
                let (sealed, _) = signed.split_last_chunk_mut::<RTCP_WORD_BYTES>()?;
                let (_, body) = sealed.split_first_chunk_mut::<RTCP_HEADER_BYTES>()?;
                cm.apply_keystream(id, body)?;
                body.len()
            }
        };
        Some(RTCP_HEADER_BYTES + body_bytes)
    }
}

impl Gcm {
    fn nonce(&self, id: Id) -> Nonce {
        let [_, _, _, _, nonce @ ..] = (self.salt ^ id.number()).to_be_bytes();
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&self, id: Id, aad: &[u8], body: &mut [u8]) -> Option<[u8; GCM_TAG_BYTES]> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(id), Aad::from(aad), body);
        tag.ok()?.as_ref().first_chunk().copied()
    }

    /// Bytes of plaintext.
    fn open(&self, id: Id, aad: &[u8], body_and_tag: &mut [u8]) -> Option<usize> {
        let plain = self.key.open_in_place(self.nonce(id), Aad::from(aad), body_and_tag);
        Some(plain.ok()?.len())
    }
}

impl Cm {
    /// Encrypts and decrypts. The lowest 16 bits count blocks: a mebibyte, more than a datagram.
    fn apply_keystream(&self, id: Id, body: &mut [u8]) -> Option<()> {
        apply_keystream(&self.key, (self.salt ^ id.number()) << 16, body)
    }

    /// Over the packet and the rollover counter, which is not sent (RFC 3711 §4.2).
    fn rtp_mac(&self, packet: &[u8], id: Id) -> Hmac<Sha1> {
        let rollovers = (id.index >> 16) as u32;
        self.auth.clone().chain_update(packet).chain_update(rollovers.to_be_bytes())
    }
}

impl Id {
    /// As it is mixed into the salt: the index in the lowest 48 bits, the SSRC above it. With 31
    /// bits of index the 17 between are zero (RFC 3711 §4.1.1, RFC 7714 §8.1, §9.1).
    fn number(self) -> u128 {
        (u128::from(self.ssrc) << 48) | u128::from(self.index)
    }
}

pub fn number(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0, |number, byte| (number << 8) | u128::from(*byte))
}

/// What is authenticated but not encrypted (RFC 7714 §9.2).
fn rtcp_aad(
    header: &[u8; RTCP_HEADER_BYTES],
    word: &[u8; RTCP_WORD_BYTES],
) -> [u8; RTCP_HEADER_BYTES + RTCP_WORD_BYTES] {
    let mut aad = [0; RTCP_HEADER_BYTES + RTCP_WORD_BYTES];
    aad.iter_mut().zip(header.iter().chain(word)).for_each(|(to, from)| *to = *from);
    aad
}

fn tag(mac: Hmac<Sha1>) -> [u8; CM_TAG_BYTES] {
    let mut tag = [0; CM_TAG_BYTES];
    tag.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
    tag
}

impl fmt::Debug for Cipher {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Cipher::Gcm(_) => "Gcm",
            Cipher::Cm(_) => "Cm",
        })
    }
}

#[cfg(test)]
mod tests;
