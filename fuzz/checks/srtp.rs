//! A client's SRTP and SRTCP on a way that loses, repeats, delays and changes packets, with forged
//! ones among them: what is opened was sealed, and is opened once. The input's first byte says
//! under which profile.

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use trackyard::media::srtp::{Inbound, NotOpened, Outbound, Profile, ReceiveIndex, session};

#[derive(Debug, Arbitrary)]
enum Step {
    /// A packet of a stream, so far ahead of its last one, or behind.
    Rtp {
        stream: u8,
        ahead: i16,
        sources: u8,
        payload_bytes: u8,
        hurt: Hurt,
    },
    /// A compound, of which so many were lost just before.
    Rtcp {
        stream: u8,
        lost: u8,
        body_bytes: u8,
        hurt: Hurt,
    },
    /// The compound that was sealed last, once more.
    Replay,
    /// Nobody sealed this.
    ForgedRtp {
        header_bytes: u16,
        rounds: u8,
        datagram: Vec<u8>,
    },
    ForgedRtcp {
        datagram: Vec<u8>,
    },
}

/// What becomes of a packet on its way.
#[derive(Debug, Arbitrary)]
enum Hurt {
    No,
    Flip { at: u16, bit: u8 },
    Cut { at: u16 },
    Longer { by: u8 },
}

struct World {
    client: Outbound,
    server: Inbound,
    streams: [Stream; 4],
    compound: Option<(Vec<u8>, bool)>,
}

#[derive(Default)]
struct Stream {
    sent: u64,
    index: ReceiveIndex,
    opened: BTreeSet<u64>,
}

pub fn check(data: &[u8]) {
    let Some((profile, data)) = data.split_first() else { return };
    let profile = Profile::ALL[usize::from(*profile) % 3];
    let material = vec![*data.first().unwrap_or(&0); profile.material_bytes()];
    let (_, client) = session(profile, &material, true).expect("as long as the profile wants");
    let (server, _) = session(profile, &material, false).expect("the same");
    let mut world = World { client, server, streams: Default::default(), compound: None };
    for step in super::steps(data) {
        world.step(step);
    }
}

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Rtp { stream, ahead, sources, payload_bytes, hurt } => {
                let size = (sources % 16, payload_bytes);
                self.rtp(stream % 4, ahead.into(), size, &hurt);
            }
            Step::Rtcp { stream, lost, body_bytes, hurt } => {
                for _ in 0..lost {
                    assert!(self.client.seal_rtcp(&mut vec![0; 8], 0));
                }
                self.rtcp(stream % 4, body_bytes, &hurt);
            }
            Step::Replay => {
                let Some((mut sealed, opened)) = self.compound.take() else { return };
                let again = self.server.open_rtcp(&mut sealed).map(|_| ());
                assert_eq!(again, if opened { Err(NotOpened::Replayed) } else { Ok(()) });
            }
            Step::ForgedRtp { header_bytes, rounds, mut datagram } => {
                let seq =
                    datagram.get(2..4).map_or(0, |s| u64::from(u16::from_be_bytes([s[0], s[1]])));
                let index = (u64::from(rounds) << 16) | seq;
                let end = self.server.open_rtp(&mut datagram, header_bytes.into(), index);
                assert_eq!(end, None);
            }
            Step::ForgedRtcp { mut datagram } => {
                assert!(self.server.open_rtcp(&mut datagram).is_err());
            }
        }
    }

    fn rtp(&mut self, ssrc: u8, ahead: i64, (sources, payload_bytes): (u8, u8), hurt: &Hurt) {
        let Some(stream) = self.streams.get_mut(usize::from(ssrc)) else { return };
        let index = stream.sent.saturating_add_signed(ahead);
        let mut plain = vec![0x80 | sources, 96];
        plain.extend((index as u16).to_be_bytes());
        plain.extend([7, 7, 7, 7, 9, 9, 9, ssrc]);
        let header_bytes = 12 + 4 * usize::from(sources);
        plain.resize(header_bytes + usize::from(payload_bytes), ssrc);
        let mut sealed = plain.clone();
        assert!(self.client.seal_rtp(&mut sealed, 0, header_bytes, index));
        stream.sent = stream.sent.max(index);

        let hurt = hurt.hurt(&mut sealed);
        let highest = stream.opened.last().copied().unwrap_or(0);
        let near = index.abs_diff(highest) < 1 << 15 && index + 960 > highest;
        let must_open = !hurt && near && !stream.opened.contains(&index);
        let seq = sealed.get(2..4).map(|seq| u16::from_be_bytes([seq[0], seq[1]]));
        let Some(guess) = seq.and_then(|seq| stream.index.guess(seq)) else {
            return assert!(!must_open, "{index} was refused after {highest}");
        };
        assert_eq!(Some(guess as u16), seq);
        let end = self.server.open_rtp(&mut sealed, header_bytes, guess);
        if hurt || guess != index {
            assert_eq!(end, None);
            return assert!(!must_open, "{index} was taken for {guess} after {highest}");
        }
        assert_eq!(end.map(|end| &sealed[..end]), Some(&plain[..]));
        assert!(stream.opened.insert(index), "opened once");
        stream.index.accept(index);
    }

    fn rtcp(&mut self, ssrc: u8, body_bytes: u8, hurt: &Hurt) {
        let mut plain = vec![0x80, 201, 0, 1, 9, 9, 9, ssrc];
        plain.resize(8 + usize::from(body_bytes), ssrc);
        let mut sealed = plain.clone();
        assert!(self.client.seal_rtcp(&mut sealed, 0));
        let whole = sealed.clone();
        let hurt = hurt.hurt(&mut sealed);
        match self.server.open_rtcp(&mut sealed) {
            Ok(opened) => assert!(!hurt && opened == plain),
            Err(why) => assert!(hurt, "{why:?}"),
        }
        self.compound = Some((whole, !hurt));
    }
}

impl Hurt {
    /// Whether it is another packet now.
    fn hurt(&self, packet: &mut Vec<u8>) -> bool {
        let bytes = packet.len();
        match self {
            Hurt::No => return false,
            Hurt::Flip { at, bit } => packet[usize::from(*at) % bytes] ^= 1 << (bit % 8),
            Hurt::Cut { at } => packet.truncate(usize::from(*at) % bytes),
            Hurt::Longer { by } => packet.resize(bytes + 1 + usize::from(*by), 0),
        }
        true
    }
}
