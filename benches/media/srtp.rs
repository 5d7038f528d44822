//! Sealing and opening RTP under each profile.

use criterion::Criterion;
use trackyard::media::srtp::{Profile, session};

use super::machine::ThreadTime;

/// A packet of audio, and one of video.
const PAYLOAD_BYTES: [usize; 2] = [200, 1_200];
const HEADER_BYTES: usize = 12;

pub fn all(criterion: &mut Criterion<ThreadTime>) {
    for profile in Profile::ALL {
        let material = vec![7; profile.material_bytes()];
        let (_, client) = session(profile, &material, true).expect("as long as the profile wants");
        let (server, _) = session(profile, &material, false).expect("the same");
        for bytes in PAYLOAD_BYTES {
            let plain = |_: &mut ()| {
                let mut packet = Vec::with_capacity(2_048);
                packet.resize(HEADER_BYTES + bytes, 0);
                packet
            };
            let seal = |_: &mut (), packet: &mut Vec<u8>| {
                assert!(client.seal_rtp(packet, 0, HEADER_BYTES, 0), "all of it is right");
            };
            let sealed = |_: &mut ()| {
                let mut packet = plain(&mut ());
                seal(&mut (), &mut packet);
                packet
            };
            let open = |_: &mut (), packet: &mut Vec<u8>| {
                let end = server.open_rtp(packet, HEADER_BYTES, 0);
                assert_eq!(end, Some(HEADER_BYTES + bytes), "nobody changed it");
            };
            let name = format!("{profile:?}/{bytes} bytes");
            super::bench(criterion, "seal").run((&name, 1), &mut (), plain, seal);
            super::bench(criterion, "open").run((&name, 1), &mut (), sealed, open);
        }
    }
}
