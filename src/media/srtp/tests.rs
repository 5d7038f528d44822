use str0m::crypto::{AeadAes128Gcm, Aes128CmSha1_80, CryptoProvider};

use super::keys::Label;
use super::*;

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|b| (b as char).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn material(profile: Profile) -> Vec<u8> {
    (0..profile.material_bytes() as u8).map(|n| n.wrapping_mul(73) ^ 0x5a).collect()
}

/// What a client sends, and the server reads.
fn pair(profile: Profile) -> (Outbound, Inbound) {
    let (_, client) = session(profile, &material(profile), true).unwrap();
    let (server, _) = session(profile, &material(profile), false).unwrap();
    (client, server)
}

const SSRC: u32 = 0x1234_5678;

/// With contributing sources, an extension of so many words, and padding that is the payload's.
fn rtp(index: u64, sources: u8, extension: Option<u16>, payload_bytes: usize) -> (Vec<u8>, usize) {
    let mut packet = vec![0x80 | sources | u8::from(extension.is_some()) << 4, 96];
    packet.extend((index as u16).to_be_bytes());
    packet.extend(7_u32.to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend((0..4 * sources).map(|n| n ^ 0x33));
    if let Some(words) = extension {
        packet.extend([0xbe, 0xde]);
        packet.extend(words.to_be_bytes());
        packet.extend((0..4 * words).map(|n| n as u8));
    }
    let header_bytes = packet.len();
    packet.extend((0..payload_bytes).map(|n| (n * 31) as u8));
    (packet, header_bytes)
}

fn rtcp(ssrc: u32, body_bytes: usize) -> Vec<u8> {
    let mut compound = vec![0x81, 200, 0, 1];
    compound.extend(ssrc.to_be_bytes());
    compound.extend((0..body_bytes).map(|n| (n * 17) as u8));
    compound
}

#[test]
fn the_keys_of_rfc_3711_b_3() {
    let (key, salt) = ("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
    let master = Master::new(Profile::Aes128CmSha1_80, &hex(key), &hex(salt)).unwrap();
    let key = hex("C61E7A93744F39EE10734AFE3FF7A087");
    assert_eq!(master.derive::<16>(Label::RtpKey).unwrap()[..], key);
    let salt = hex("30CBBC08863D8C85D49DB34A9AE1");
    assert_eq!(master.derive::<14>(Label::RtpSalt).unwrap()[..], salt);
    let auth = "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
        E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
        6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2";
    assert_eq!(master.derive::<94>(Label::RtpAuth).unwrap()[..], hex(auth));
}

#[test]
fn every_size_and_header_makes_the_round() {
    for profile in Profile::ALL {
        let (client, server) = pair(profile);
        for payload_bytes in 0..=1_300 {
            let index = payload_bytes as u64 * 0x1_0000 + 0xfff0 + payload_bytes as u64 % 16;
            let sources = payload_bytes as u8 % 16;
            let extension = (payload_bytes % 3 > 0).then_some(payload_bytes as u16 % 20);
            let (plain, header_bytes) = rtp(index, sources, extension, payload_bytes);
            // What stands before it in the arena is another packet's.
            let mut arena = b"another".to_vec();
            arena.extend(&plain);
            assert!(client.seal_rtp(&mut arena, 7, header_bytes, index));
            assert_eq!(arena.len(), 7 + plain.len() + profile.rtp_overhead());
            let (other, sealed) = arena.split_at_mut(7);
            assert_eq!(other, b"another");
            assert!(sealed.starts_with(&plain[..header_bytes]));
            assert!(payload_bytes < 16 || !sealed.starts_with(&plain[..header_bytes + 16]));
            assert_eq!(server.open_rtp(sealed, header_bytes, index), Some(plain.len()));
            assert!(sealed.starts_with(&plain), "{profile:?}, {payload_bytes} bytes");
        }
    }
}

#[test]
fn every_size_of_rtcp_makes_the_round() {
    for profile in Profile::ALL {
        let (mut client, mut server) = pair(profile);
        for body_bytes in 0..=1_300 {
            let plain = rtcp(SSRC, body_bytes);
            let mut arena = b"another".to_vec();
            arena.extend(&plain);
            assert!(client.seal_rtcp(&mut arena, 7));
            assert_eq!(arena.len(), 7 + plain.len() + profile.rtcp_overhead());
            let (other, sealed) = arena.split_at_mut(7);
            assert_eq!(other, b"another");
            assert!(sealed.starts_with(&plain[..8]));
            assert!(body_bytes < 16 || !sealed.starts_with(&plain[..24]));
            assert_eq!(server.open_rtcp(sealed), Ok(&plain[..]), "{profile:?}, {body_bytes}");
        }
    }
}

#[test]
fn nothing_that_was_changed_or_cut_is_opened() {
    for profile in Profile::ALL {
        let (client, server) = pair(profile);
        let index = 0x1_0000_fffe;
        for payload_bytes in [0, 1, 15, 16, 17, 200] {
            let (mut sealed, header_bytes) = rtp(index, 2, Some(1), payload_bytes);
            assert!(client.seal_rtp(&mut sealed, 0, header_bytes, index));
            let open = |mut datagram: Vec<u8>, header_bytes, index| {
                server.open_rtp(&mut datagram, header_bytes, index)
            };
            for bit in 0..8 * sealed.len() {
                let mut forged = sealed.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(open(forged, header_bytes, index), None, "{profile:?}, bit {bit}");
            }
            for cut in 0..sealed.len() {
                assert_eq!(open(sealed[..cut].to_vec(), header_bytes, index), None, "at {cut}");
            }
            let longer = [&sealed[..], &[0]].concat();
            assert_eq!(open(longer, header_bytes, index), None);
            for other in [index + 1, index ^ 1 << 16, index ^ 1 << 47, 0xfffe] {
                assert_eq!(open(sealed.clone(), header_bytes, other), None, "{other:x}");
            }
            for header_bytes in [0, 11, sealed.len() - 9, sealed.len(), usize::MAX] {
                assert_eq!(open(sealed.clone(), header_bytes, index), None);
            }
            assert!(open(sealed, header_bytes, index).is_some());
        }
    }
}

#[test]
fn no_rtcp_that_was_changed_or_cut_is_opened() {
    for profile in Profile::ALL {
        let (mut client, mut server) = pair(profile);
        for body_bytes in [0, 1, 20, 200] {
            let plain = rtcp(SSRC, body_bytes);
            let mut sealed = plain.clone();
            assert!(client.seal_rtcp(&mut sealed, 0));
            for bit in 0..8 * sealed.len() {
                let mut forged = sealed.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                let refused = server.open_rtcp(&mut forged);
                assert!(refused.is_err(), "{profile:?}, bit {bit}");
            }
            for cut in 0..sealed.len() {
                assert!(server.open_rtcp(&mut sealed[..cut].to_vec()).is_err(), "at {cut}");
            }
            assert!(server.open_rtcp(&mut [&sealed[..], &[0]].concat()).is_err());
            assert_eq!(server.open_rtcp(&mut sealed.clone()), Ok(&plain[..]), "after all that");
            assert_eq!(server.open_rtcp(&mut sealed), Err(NotOpened::Replayed));
        }
    }
}

/// Its sender says that it is not encrypted, and signs that.
#[test]
fn rtcp_in_clear_is_not_taken() {
    let profile = Profile::Aes128CmSha1_80;
    let (_, mut server) = pair(profile);
    let (client, _) = Master::both(profile, &material(profile)).unwrap();
    let auth = client.derive::<20>(Label::RtcpAuth).unwrap();
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let compound = [&rtcp(SSRC, 8)[..], &5_u32.to_be_bytes()].concat();
    let tag = hmac.sha1_hmac(&auth, &[&compound]);
    let mut signed = [&compound[..], &tag[..10]].concat();
    assert_eq!(server.open_rtcp(&mut signed), Err(NotOpened::Forged));
}

#[test]
fn each_side_reads_with_the_other_sides_keys() {
    for profile in Profile::ALL {
        let (client_in, client_out) = session(profile, &material(profile), true).unwrap();
        let (server_in, server_out) = session(profile, &material(profile), false).unwrap();
        let opens = |from: &Outbound, to: &Inbound| {
            let (mut packet, header_bytes) = rtp(9, 0, None, 100);
            assert!(from.seal_rtp(&mut packet, 0, header_bytes, 9));
            to.open_rtp(&mut packet, header_bytes, 9).is_some()
        };
        assert!(opens(&client_out, &server_in) && opens(&server_out, &client_in));
        assert!(!opens(&client_out, &client_in) && !opens(&server_out, &server_in));
        let bytes = profile.material_bytes();
        for wrong in [0, 1, bytes - 1, bytes + 1] {
            assert!(session(profile, &vec![1; wrong], true).is_none(), "{wrong} of {bytes}");
        }
    }
}

#[test]
fn every_sender_of_rtcp_counts_for_itself() {
    let (mut client, mut server) = pair(Profile::AeadAes128Gcm);
    let mut open = |ssrc: u32, index| {
        client.rtcp_index = index;
        let mut sealed = rtcp(ssrc, 20);
        assert!(client.seal_rtcp(&mut sealed, 0));
        server.open_rtcp(&mut sealed).map(|_| ())
    };
    for ssrc in [1, 2] {
        for index in 0..3 {
            assert_eq!(open(ssrc, index), Ok(()), "stream {ssrc}");
            assert_eq!(open(ssrc, index), Err(NotOpened::Replayed), "stream {ssrc}");
        }
    }
    assert_eq!(open(1, 100), Ok(()));
    assert_eq!(open(1, 37), Ok(()), "the last that is remembered");
    assert_eq!(open(1, 36), Err(NotOpened::Replayed), "too old to tell");
    for ssrc in 3..=STREAMS_PER_PEER_MAX as u32 + 1 {
        assert_eq!(open(ssrc, 0), Ok(()));
    }
    assert_eq!(open(2, 1), Err(NotOpened::Replayed), "still known");
    assert_eq!(server.windows.len(), STREAMS_PER_PEER_MAX);
}

#[test]
fn a_key_that_is_used_up_seals_no_more() {
    for profile in Profile::ALL {
        let (mut client, mut server) = pair(profile);
        let (plain, header_bytes) = rtp(INDEX_MAX, 0, None, 100);
        let mut arena = plain.clone();
        assert!(client.seal_rtp(&mut arena, 0, header_bytes, INDEX_MAX));
        assert!(server.open_rtp(&mut arena, header_bytes, INDEX_MAX).is_some());
        let (next, _) = rtp(INDEX_MAX + 1, 0, None, 100);
        let mut arena = [b"another", &next[..]].concat();
        assert!(!client.seal_rtp(&mut arena, 7, header_bytes, INDEX_MAX + 1));
        assert_eq!(arena, b"another", "nothing in clear is left");

        client.rtcp_index = RTCP_INDEX_MAX;
        let mut arena = rtcp(SSRC, 20);
        assert!(client.seal_rtcp(&mut arena, 0));
        assert!(server.open_rtcp(&mut arena).is_ok());
        for _ in 0..3 {
            let mut arena = [&b"another"[..], &rtcp(SSRC, 20)].concat();
            assert!(!client.seal_rtcp(&mut arena, 7));
            assert_eq!(arena, b"another");
        }
    }
}

#[test]
fn what_has_no_header_is_not_sealed() {
    for profile in Profile::ALL {
        let (mut client, _) = pair(profile);
        let (whole, _) = rtp(1, 0, None, 3);
        for (bytes, header_bytes) in [(0, 12), (11, 12), (15, 16), (15, 11)] {
            let bytes = &whole[..bytes];
            let mut arena = [b"another", bytes].concat();
            let sealed = client.seal_rtp(&mut arena, 7, header_bytes, 1);
            assert_eq!(
                (sealed, &arena[..7]),
                (bytes.len() >= header_bytes && header_bytes >= 12, &b"another"[..])
            );
            assert!(sealed || arena.len() == 7);
        }
        for bytes in 0..8 {
            let mut arena = [b"another", &rtcp(SSRC, 0)[..bytes]].concat();
            assert!(!client.seal_rtcp(&mut arena, 7));
            assert_eq!(arena, b"another");
        }
    }
}

/// The same packets by way of `str0m`'s ciphers, with keys that they derived.
struct Theirs {
    profile: Profile,
    provider: CryptoProvider,
    key: [u8; 32],
    salt: [u8; 14],
}

impl Theirs {
    /// What the DTLS client writes with.
    fn new(profile: Profile) -> Theirs {
        let material = material(profile);
        let (mut key, mut salt) = ([0; 32], [0; 14]);
        let (key_bytes, salt_bytes) = (profile.key_bytes(), profile.salt_bytes());
        key[..key_bytes].copy_from_slice(&material[..key_bytes]);
        salt[..salt_bytes].copy_from_slice(&material[2 * key_bytes..][..salt_bytes]);
        Theirs { profile, provider: str0m::crypto::from_feature_flags(), key, salt }
    }

    fn derive<const BYTES: usize>(&self, label: u8) -> [u8; BYTES] {
        let (mut derived, srtp) = (Vec::new(), self.provider.srtp_provider);
        for round in 0..BYTES.div_ceil(16) {
            let (mut input, mut output) = ([0; 16], [0; 32]);
            input[..14].copy_from_slice(&self.salt);
            (input[7], input[15]) = (input[7] ^ label, round as u8);
            match self.profile.key_bytes() {
                32 => srtp.srtp_aes_256_ecb_round(&self.key, &input, &mut output),
                _ => srtp.srtp_aes_128_ecb_round(&self.key[..16], &input, &mut output),
            }
            derived.extend_from_slice(&output[..16]);
        }
        derived[..BYTES].try_into().unwrap()
    }

    /// Labels are those of RTP with this added.
    fn gcm(
        &self,
        labels: u8,
        iv: impl Fn([u8; 12]) -> [u8; 12],
        aad: &[&[u8]],
        text: &[u8],
        seal: bool,
    ) -> Option<Vec<u8>> {
        let (srtp, iv) = (self.provider.srtp_provider, iv(self.derive(labels + 2)));
        let mut output = vec![0; if seal { text.len() + 16 } else { text.len().checked_sub(16)? }];
        let result = match self.profile.key_bytes() {
            32 => {
                let mut cipher = srtp.aead_aes_256_gcm().create_cipher(self.derive(labels), seal);
                match seal {
                    true => cipher.encrypt(&iv, &aad.concat(), text, &mut output),
                    false => cipher.decrypt(&iv, aad, text, &mut output).map(|_| ()),
                }
            }
            _ => {
                let mut cipher = srtp.aead_aes_128_gcm().create_cipher(self.derive(labels), seal);
                match seal {
                    true => cipher.encrypt(&iv, &aad.concat(), text, &mut output),
                    false => cipher.decrypt(&iv, aad, text, &mut output).map(|_| ()),
                }
            }
        };
        result.ok().map(|()| output)
    }

    fn cm(&self, labels: u8, ssrc: u32, index: u64, text: &[u8]) -> Vec<u8> {
        let srtp = self.provider.srtp_provider;
        let mut cipher = srtp.aes_128_cm_sha1_80().create_cipher(self.derive(labels), true);
        let iv = Aes128CmSha1_80::rtp_iv(self.derive(labels + 2), ssrc, index);
        let mut output = vec![0; text.len() + 16];
        cipher.encrypt(&iv, text, &mut output).unwrap();
        output.truncate(text.len());
        output
    }

    fn tag(&self, labels: u8, parts: &[&[u8]]) -> [u8; 10] {
        let tag = self.provider.sha1_hmac_provider.sha1_hmac(&self.derive::<20>(labels + 1), parts);
        tag[..10].try_into().unwrap()
    }

    fn seal_rtp(&self, plain: &[u8], header_bytes: usize, index: u64) -> Vec<u8> {
        let (header, body) = plain.split_at(header_bytes);
        let roc = (index >> 16) as u32;
        if self.profile == Profile::Aes128CmSha1_80 {
            let packet = [header, &self.cm(0, SSRC, index, body)].concat();
            return [&packet[..], &self.tag(0, &[&packet, &roc.to_be_bytes()])].concat();
        }
        let iv = |salt| AeadAes128Gcm::rtp_iv(salt, SSRC, roc, index as u16);
        [header, &self.gcm(0, iv, &[header], body, true).unwrap()].concat()
    }

    fn open_rtp(&self, sealed: &[u8], header_bytes: usize, index: u64) -> Option<Vec<u8>> {
        let (header, body) = sealed.split_at(header_bytes);
        let roc = (index >> 16) as u32;
        if self.profile == Profile::Aes128CmSha1_80 {
            let (packet, tag) = sealed.split_at(sealed.len() - 10);
            let genuine = self.tag(0, &[packet, &roc.to_be_bytes()]) == tag;
            let plain = [header, &self.cm(0, SSRC, index, &packet[header_bytes..])].concat();
            return genuine.then_some(plain);
        }
        let iv = |salt| AeadAes128Gcm::rtp_iv(salt, SSRC, roc, index as u16);
        Some([header, &self.gcm(0, iv, &[header], body, false)?].concat())
    }

    fn seal_rtcp(&self, plain: &[u8], index: u32) -> Vec<u8> {
        let (header, body) = plain.split_at(8);
        let word = (1 << 31 | index).to_be_bytes();
        if self.profile == Profile::Aes128CmSha1_80 {
            let packet = [header, &self.cm(3, SSRC, index.into(), body), &word].concat();
            return [&packet[..], &self.tag(3, &[&packet])].concat();
        }
        let iv = |salt| AeadAes128Gcm::rtcp_iv(salt, SSRC, index);
        [header, &self.gcm(3, iv, &[header, &word], body, true).unwrap(), &word].concat()
    }

    fn open_rtcp(&self, sealed: &[u8], index: u32) -> Option<Vec<u8>> {
        let (header, word) = (&sealed[..8], (1 << 31 | index).to_be_bytes());
        if self.profile == Profile::Aes128CmSha1_80 {
            let (packet, tag) = sealed.split_at(sealed.len() - 10);
            let body = self.cm(3, SSRC, index.into(), &packet[8..packet.len() - 4]);
            let genuine = self.tag(3, &[packet]) == tag && packet.ends_with(&word);
            return genuine.then(|| [header, &body].concat());
        }
        let iv = |salt| AeadAes128Gcm::rtcp_iv(salt, SSRC, index);
        let body = &sealed[8..sealed.len() - 4];
        Some([header, &self.gcm(3, iv, &[header, &word], body, false)?].concat())
    }
}

#[test]
fn str0m_seals_and_opens_the_same() {
    for profile in Profile::ALL {
        let (theirs, (mut client, mut server)) = (Theirs::new(profile), pair(profile));
        for (step, payload_bytes) in [0, 1, 15, 16, 17, 160, 1_200].into_iter().enumerate() {
            let index = [0, 1, 0xffff, 0x1_0000, 0x12_3456_7890, INDEX_MAX, 5][step];
            let (plain, header_bytes) = rtp(index, 1, Some(3), payload_bytes);
            let mut sealed = plain.clone();
            assert!(client.seal_rtp(&mut sealed, 0, header_bytes, index));
            assert_eq!(sealed, theirs.seal_rtp(&plain, header_bytes, index), "{profile:?}");
            assert_eq!(theirs.open_rtp(&sealed, header_bytes, index), Some(plain.clone()));
            let end = server.open_rtp(&mut sealed, header_bytes, index);
            assert_eq!(end.map(|end| &sealed[..end]), Some(&plain[..]));

            let index = [0, 1, 2, 0x1_0000, 0x7abc_def0, RTCP_INDEX_MAX - 1, RTCP_INDEX_MAX][step];
            let plain = rtcp(SSRC, payload_bytes);
            let mut sealed = plain.clone();
            client.rtcp_index = index;
            assert!(client.seal_rtcp(&mut sealed, 0));
            assert_eq!(sealed, theirs.seal_rtcp(&plain, index), "{profile:?}");
            assert_eq!(theirs.open_rtcp(&sealed, index), Some(plain.clone()));
            assert_eq!(server.open_rtcp(&mut sealed), Ok(&plain[..]));
        }
    }
}
