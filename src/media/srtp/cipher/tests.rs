use super::*;

fn hex<const BYTES: usize>(text: &str) -> [u8; BYTES] {
    super::super::tests::hex(text).try_into().unwrap()
}

#[test]
fn the_keystream_of_rfc_3711_b_2() {
    let salt = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD");
    let key = hex("2B7E151628AED2A6ABF7158809CF4F3C");
    let Some(Cipher::Cm(cm)) = Cipher::cm(&key, &salt, &[0; 20]) else { panic!() };
    let mut keystream = vec![0; 1_044_512];
    cm.apply_keystream(Id { ssrc: 0, index: 0 }, &mut keystream).unwrap();
    let first = "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB
        41E95B3BB0A2E8DD477901E4FCA894C0";
    let last = "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE
        6A2CC3787889374FBEB4C81B17BA6C44";
    assert_eq!(keystream.first_chunk(), Some(&hex::<48>(first)));
    assert_eq!(keystream.last_chunk(), Some(&hex::<48>(last)));
}

/// What RFC 7714 §16 and §17 seal: keys are a count, and the salt a proverb.
fn gcm(key_bytes: u8) -> Cipher {
    Cipher::gcm(&(0..key_bytes).collect::<Vec<u8>>(), b"Quid pro quo").unwrap()
}

#[test]
fn the_packets_of_rfc_7714_16() {
    let header = "8040f17b 8041f8d3 5501a0b2";
    let plain: [u8; 50] = hex(&format!(
        "{header} 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465
         73207472 6573"
    ));
    let sealed128: [u8; 66] = hex(&format!(
        "{header} f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
         36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"
    ));
    let sealed256: [u8; 66] = hex(&format!(
        "{header} 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
         1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13"
    ));
    let id = Id { ssrc: 0x5501_a0b2, index: 0xf17b };
    for (cipher, expected) in [(gcm(16), sealed128), (gcm(32), sealed256)] {
        let mut sealed = plain.to_vec();
        cipher.seal_rtp(&mut sealed, 0..12, id).unwrap();
        assert_eq!(sealed, expected);
        assert_eq!(cipher.open_rtp(&mut sealed, 12, id), Some(plain.len()));
        assert!(sealed.starts_with(&plain));
    }
}

#[test]
fn the_packets_of_rfc_7714_17() {
    let plain: [u8; 52] =
        hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
         deadbeef deadbeef deadbeef deadbeef deadbeef");
    let sealed128: [u8; 72] =
        hex("81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d
         c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872
         45d9eade 800005d4");
    let sealed256: [u8; 72] =
        hex("81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50
         a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c
         b26ac3be 800005d4");
    let id = Id { ssrc: 0x4d61_7273, index: 0x5d4 };
    for (cipher, expected) in [(gcm(16), sealed128), (gcm(32), sealed256)] {
        let mut sealed = plain.to_vec();
        cipher.seal_rtcp(&mut sealed, 0, id).unwrap();
        assert_eq!(sealed, expected);
        assert_eq!(cipher.open_rtcp(&mut sealed, id), Some(plain.len()));
        assert!(sealed.starts_with(&plain));
    }
}

/// Also that they are as small as a peer can afford: four for each.
#[test]
fn no_key_is_shown() {
    let cm = Cipher::cm(&[7; 16], &[7; 14], &[7; 20]).unwrap();
    assert_eq!(format!("{:?} {cm:?}", gcm(16)), "Gcm Cm");
    assert!(size_of::<Cipher>() <= 1_024, "{}", size_of::<Cipher>());
}
