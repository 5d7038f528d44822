//! Binding requests made by hand, as an attacker with a client's credentials would.

/// A check to the peer whose credentials are `ufrag` and `pwd`.
pub fn check(
    ufrag: &str,
    pwd: &str,
    own_ufrag: &str,
    transaction: u64,
    nominates: bool,
) -> Vec<u8> {
    let username = format!("{ufrag}:{own_ufrag}");
    let mut attributes = vec![0, 6, 0, username.len() as u8];
    attributes.extend_from_slice(username.as_bytes());
    attributes.resize(attributes.len().next_multiple_of(4), 0);
    attributes.extend([0, 0x24, 0, 4, 0x6e, 0, 1, 0xff]);
    attributes.extend([0x80, 0x2a, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
    if nominates {
        attributes.extend([0, 0x25, 0, 0]);
    }
    let length = attributes.len() as u16 + 24;
    let mut datagram = vec![0, 1];
    datagram.extend(length.to_be_bytes());
    datagram.extend([0x21, 0x12, 0xa4, 0x42]);
    datagram.extend(transaction.to_be_bytes());
    datagram.extend([9; 4]);
    datagram.extend(attributes);
    let provider = str0m::crypto::from_feature_flags().sha1_hmac_provider;
    let integrity = provider.sha1_hmac(pwd.as_bytes(), &[&datagram]);
    datagram.extend([0, 8, 0, 20]);
    datagram.extend(integrity);
    datagram
}
