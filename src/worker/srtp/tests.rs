use std::time::Duration;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.bytes().filter_map(|b| (b as char).to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// RFC 7714 §16.1.1 and §16.2.1: "Gallia est omnis divisa in partes tres".
fn vectors() -> [(Srtp, Vec<u8>); 2] {
    let key: Vec<u8> = (0..32).collect();
    let salt = *b"Quid pro quo";
    let srtp = str0m::crypto::from_feature_flags().srtp_provider;
    let open = srtp.aead_aes_128_gcm().create_cipher(key[..16].try_into().unwrap(), false);
    let gcm128 = Srtp(Cipher::Gcm128 { open, salt });
    let open = srtp.aead_aes_256_gcm().create_cipher(key[..].try_into().unwrap(), false);
    let gcm256 = Srtp(Cipher::Gcm256 { open, salt });
    let header = "8040f17b 8041f8d3 5501a0b2";
    let sealed128 = hex(&format!(
        "{header} f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b
         36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"
    ));
    let sealed256 = hex(&format!(
        "{header} 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f
         1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13"
    ));
    [(gcm128, sealed128), (gcm256, sealed256)]
}

#[test]
fn the_vectors_of_rfc_7714_are_genuine_and_nothing_near_them() {
    for (mut srtp, sealed) in vectors() {
        assert!(srtp.is_genuine(&sealed));
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 1;
            assert!(!srtp.is_genuine(&forged), "byte {at}");
            assert!(!srtp.is_genuine(&sealed[..at]), "cut at {at}");
        }
    }
}

#[test]
fn a_tag_of_sha1_counts_the_rollovers() {
    let provider = str0m::crypto::from_feature_flags();
    let hmac = provider.sha1_hmac_provider;
    let mut srtp = Srtp(Cipher::Cm { auth: [7; 20], hmac });
    // One contributing source, one extension of a word.
    let packet = hex("9160000100000002 00000003 00000004 bede0001 10610000 aabbcc");
    let sealed = |roc: u32| {
        let tag = hmac.sha1_hmac(&[7; 20], &[&packet, &roc.to_be_bytes()]);
        [&packet[..], &tag[..10]].concat()
    };
    assert!(srtp.is_genuine(&sealed(0)));
    assert!(!srtp.is_genuine(&sealed(1)), "no stream begins there");
    for at in 0..packet.len() + 10 {
        let mut forged = sealed(0);
        forged[at] ^= 1;
        assert!(!srtp.is_genuine(&forged), "byte {at}");
    }
}

#[test]
fn a_stream_is_verified_once_and_the_stalest_is_forgotten() {
    let hmac = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let make = || Some(Srtp(Cipher::Cm { auth: [7; 20], hmac }));
    let packet = |ssrc: u32, genuine: bool| {
        let packet = [&[0x80, 96, 0, 1, 0, 0, 0, 0], &ssrc.to_be_bytes()[..], b"body"].concat();
        let tag = hmac.sha1_hmac(&[if genuine { 7 } else { 8 }; 20], &[&packet, &[0; 4]]);
        [&packet[..], &tag[..10]].concat()
    };
    let start = Instant::now();
    let at = |n: u32| start + Duration::from_millis(n.into());
    let mut streams = Streams::default();
    assert!(!streams.admit(&packet(1, true), start, || None), "no keys yet");
    assert!(!streams.admit(&packet(1, false), start, make));
    assert!(streams.admit(&packet(1, true), start, make));
    assert!(streams.admit(&packet(1, false), start, make), "the rest is for str0m to judge");
    let count = STREAMS_PER_PEER_MAX as u32;
    for ssrc in 2..=count {
        assert!(streams.admit(&packet(ssrc, true), at(ssrc), make));
    }
    assert!(streams.admit(&packet(1, false), at(count + 1), make), "alive");
    assert!(streams.admit(&packet(count + 1, true), at(count + 2), make));
    assert_eq!(streams.known.len(), STREAMS_PER_PEER_MAX);
    assert!(!streams.admit(&packet(2, false), at(count + 3), make), "forgotten");
    assert!(streams.admit(&packet(1, false), at(count + 3), make));
}
