//! What a participant who has proved who it is says of what it receives, none of which is true.
//! It speaks under its own keys: whoever saw the toy handshake has them.

use trackyard::media::srtp::{self, Inbound, Outbound};

use super::crypto::PROFILE;

/// What a flood of RTCP says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Everything was lost, again and again (RFC 4585 §6.2.1); now and then padded.
    Nacks,
    /// No picture can be shown (RFC 4585 §6.3.1, RFC 5104 §4.3.1).
    Keyframes,
    /// Reports, bandwidths, goodbyes and rubbish, well-formed or nearly.
    Reports,
}

/// Says RTCP in a client's name. What the client itself says goes through it too, so that indices
/// keep the order of what is sent.
pub struct Tongue {
    pub keys: Vec<u8>,
    /// Opens what the client says.
    inbound: Inbound,
    outbound: Outbound,
}

/// Beyond what a client itself has used.
const FIRST_INDEX: u32 = 1 << 24;
const SENDER: [u8; 4] = [0, 0, 0, 1];

impl Tongue {
    pub fn new(keys: &[u8]) -> Tongue {
        let (inbound, _) = srtp::session(PROFILE, keys, false).expect("keys of that profile");
        let (_, mut outbound) = srtp::session(PROFILE, keys, true).expect("keys of that profile");
        outbound.skip_rtcp(FIRST_INDEX);
        Tongue { keys: keys.to_vec(), inbound, outbound }
    }

    /// A datagram of the client's own under the next index; as it came if it is none of RTCP, or
    /// of another handshake.
    pub fn pass(&mut self, datagram: Vec<u8>) -> Vec<u8> {
        if !matches!(datagram[..], [128..=191, 200..=207, ..]) {
            return datagram;
        }
        let mut plain = datagram.clone();
        match self.inbound.open_rtcp(&mut plain) {
            Ok(compound) => {
                let compound = compound.to_vec();
                self.say(&compound)
            }
            Err(_) => datagram,
        }
    }

    /// A compound packet as a datagram.
    pub fn say(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut datagram = compound.to_vec();
        assert!(self.outbound.seal_rtcp(&mut datagram, 0), "it has a header");
        datagram
    }
}

/// A packet: count or format, type, and what follows the length (RFC 3550 §6.4.1).
fn packet(format: u8, kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let words = (body.len() / 4) as u16;
    [&[0x80 | format, kind][..], &words.to_be_bytes(), &body].concat()
}

impl Lie {
    /// A compound packet. `slots` are the streams towards the client, with the highest number sent.
    pub fn compound(self, slots: &[(u32, u64)], chance: &mut fastrand::Rng) -> Vec<u8> {
        let mut compound = packet(0, 201, &[&SENDER]);
        for (ssrc, highest) in slots {
            let ssrc = ssrc.to_be_bytes();
            match self {
                Lie::Nacks => compound.extend(nack(ssrc, *highest, chance)),
                Lie::Keyframes if chance.bool() => {
                    compound.extend(packet(1, 206, &[&SENDER, &ssrc]));
                }
                Lie::Keyframes => {
                    let entry = [chance.u8(..), 0, 0, 0];
                    compound.extend(packet(4, 206, &[&SENDER, &[0; 4], &ssrc, &entry]));
                }
                Lie::Reports => compound.extend(report(ssrc, chance)),
            }
        }
        compound.truncate(1_180);
        compound
    }
}

fn nack(ssrc: [u8; 4], highest: u64, chance: &mut fastrand::Rng) -> Vec<u8> {
    let entries = (1..=30u64).flat_map(|i| {
        let [a, b] = (highest.wrapping_sub(17 * i) as u16).to_be_bytes();
        [a, b, 0xff, 0xff]
    });
    let entries: Vec<u8> = entries.collect();
    if chance.bool() {
        return packet(1, 205, &[&SENDER, &ssrc, &entries]);
    }
    // The last byte says how much padding there is.
    packet(1 | 0x20, 205, &[&SENDER, &ssrc, &entries, &[0, 0, 0, 4]])
}

fn report(ssrc: [u8; 4], chance: &mut fastrand::Rng) -> Vec<u8> {
    let any = |chance: &mut fastrand::Rng, words: usize| -> Vec<u8> {
        (0..4 * words).map(|_| chance.u8(..)).collect()
    };
    let most = chance.usize(..12);
    match chance.u32(..9) {
        0 => {
            let block = [&ssrc[..], &[255, 0x7f, 0xff, 0xff], &any(chance, 4)].concat();
            packet(1, 201, &[&SENDER, &block])
        }
        1 => packet(1, 200, &[&SENDER, &any(chance, 5), &ssrc, &any(chance, 5)]),
        // One bit a second (draft-alvestrand-rmcat-remb-03).
        2 => packet(15, 206, &[&SENDER, &[0; 4], b"REMB", &[1, 0, 0, 1], &ssrc]),
        // Transport feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
        3 => packet(15, 205, &[&SENDER, &ssrc, &any(chance, 2 + most)]),
        4 => packet(1, 203, &[&ssrc]),
        5 => packet(chance.u8(..32), 202, &[&any(chance, most)]),
        6 => packet(chance.u8(..32), 204, &[&any(chance, most)]),
        7 => packet(chance.u8(..32), 207, &[&any(chance, most)]),
        _ => {
            let (format, kind) = (chance.u8(..64), chance.u8(192..=223));
            let mut bytes = packet(format, kind, &[&SENDER, &ssrc, &any(chance, most)]);
            if chance.bool() {
                bytes[3] = bytes[3].wrapping_add(chance.u8(..4));
            }
            bytes
        }
    }
}
