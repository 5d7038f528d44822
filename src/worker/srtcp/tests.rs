use super::*;

fn provider() -> CryptoProvider {
    str0m::crypto::from_feature_flags()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|b| (b as char).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// RFC 7714 §17: the same plaintext under both keys.
const PLAIN: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
    deadbeef deadbeef deadbeef deadbeef deadbeef";
const SALT: &[u8; 12] = b"Quid pro quo";
const INDEX: u32 = 0x5d4;

fn vectors() -> [(Srtcp, Vec<u8>); 2] {
    let key: Vec<u8> = (0..32).collect();
    let srtp = provider().srtp_provider;
    let gcm128 = Srtcp::gcm128(srtp, key[..16].try_into().unwrap(), *SALT);
    let gcm256 = Srtcp::gcm256(srtp, key[..].try_into().unwrap(), *SALT);
    let sealed128 = hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
        c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4");
    let sealed256 = hex("81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
        a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4");
    [(gcm128, sealed128), (gcm256, sealed256)]
}

#[test]
fn the_vectors_of_rfc_7714_open_and_seal() {
    for (mut srtcp, sealed) in vectors() {
        let mut plain = Vec::new();
        assert_eq!(srtcp.open(&sealed, &mut plain), Ok(INDEX));
        assert_eq!(plain, hex(PLAIN));
        assert_eq!(srtcp.seal(&plain, INDEX), Some(sealed));
    }
}

#[test]
fn the_vectors_of_rfc_3711_are_derived() {
    let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139").try_into().unwrap();
    let salt = hex("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap();
    let (master, srtp) = (Master::<16> { key, salt }, provider().srtp_provider);
    assert_eq!(master.derive::<16>(srtp, 0)[..], hex("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(master.derive::<14>(srtp, 2)[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    let auth = hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4");
    assert_eq!(master.derive::<20>(srtp, 1)[..], auth);
}

fn both_ends(profile: SrtpProfile) -> [Srtcp; 2] {
    let bytes: Vec<u8> = (0..profile.keying_material_len() as u8).collect();
    let keys = KeyingMaterial::new(&bytes);
    [(); 2].map(|()| Srtcp::new(&provider(), profile, &keys, true).unwrap())
}

#[test]
fn every_profile_opens_what_it_sealed_and_nothing_else() {
    for profile in SrtpProfile::ALL {
        let [mut sender, mut receiver] = both_ends(*profile);
        let (plain, mut opened) = (hex(PLAIN), Vec::new());
        let sealed = sender.seal(&plain, 7).unwrap();
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert_eq!(receiver.open(&forged, &mut opened), Err(NotOpened::Forged), "byte {at}");
        }
        for cut in 0..sealed.len() {
            assert!(receiver.open(&sealed[..cut], &mut opened).is_err(), "cut at {cut}");
        }
        assert_eq!(receiver.open(&sealed, &mut opened), Ok(7));
        assert_eq!(opened, plain);
        let keys = KeyingMaterial::new(&vec![9; profile.keying_material_len()]);
        let mut other = Srtcp::new(&provider(), *profile, &keys, true).unwrap();
        assert_eq!(other.open(&sealed, &mut opened), Err(NotOpened::Forged));
    }
}

#[test]
fn an_index_is_opened_once() {
    let [mut sender, mut receiver] = both_ends(SrtpProfile::AEAD_AES_128_GCM);
    let mut opened = Vec::new();
    let mut open = |index| {
        let sealed = sender.seal(&hex(PLAIN), index).unwrap();
        receiver.open(&sealed, &mut opened)
    };
    assert_eq!(open(0), Ok(0), "the first of all");
    assert_eq!(open(0), Err(NotOpened::Replayed));
    assert_eq!(open(100), Ok(100));
    assert_eq!(open(37), Ok(37), "the last that the window holds");
    assert_eq!(open(36), Err(NotOpened::Replayed), "too old to tell");
    assert_eq!(open(99), Ok(99));
    for index in [100, 99, 37] {
        assert_eq!(open(index), Err(NotOpened::Replayed), "{index}");
    }
    assert_eq!(open(1_000_000), Ok(1_000_000));
    assert_eq!(open(100), Err(NotOpened::Replayed));
}

#[test]
fn every_sender_counts_for_itself() {
    let [mut sender, mut receiver] = both_ends(SrtpProfile::AEAD_AES_128_GCM);
    let (mut opened, mut plain) = (Vec::new(), hex(PLAIN));
    let mut open = |ssrc: u32, index| {
        plain[4..8].copy_from_slice(&ssrc.to_be_bytes());
        let sealed = sender.seal(&plain, index).unwrap();
        receiver.open(&sealed, &mut opened)
    };
    for ssrc in [1, 2] {
        for index in 0..3 {
            assert_eq!(open(ssrc, index), Ok(index), "stream {ssrc}");
            assert_eq!(open(ssrc, index), Err(NotOpened::Replayed), "stream {ssrc}");
        }
    }
    for ssrc in 3..=STREAMS_PER_PEER_MAX as u32 + 1 {
        assert_eq!(open(ssrc, 0), Ok(0));
    }
    assert_eq!(open(2, 1), Err(NotOpened::Replayed), "still known");
    assert_eq!(receiver.windows.len(), STREAMS_PER_PEER_MAX);
}
