//! A client's transport: `str0m` for ICE, DTLS and SDP, and the keys for media of its own.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::crypto::CryptoProvider;
use str0m::media::{Direction, MediaKind, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Input, Output, Rtc};
use trackyard::media::srtp::{self, Inbound, Outbound};
use trackyard::worker::tap::{self, KeySlot, Tap};

use crate::described::{Line, lines};

/// The RIDs of a camera's encodings, from the smallest picture on.
pub const RIDS: [&str; 3] = ["q", "h", "f"];

pub struct Endpoint {
    pub address: SocketAddr,
    /// What the server answered.
    pub lines: Vec<Line>,
    /// What `str0m` has to say.
    pub outgoing: Vec<Vec<u8>>,
    pub deadline: Instant,
    rtc: Rtc,
    keys: KeySlot,
    session: Option<(Inbound, Outbound)>,
    pending: Option<SdpPendingOffer>,
}

/// The toy DTLS of the simulator, with its keys laid open.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let toy = crate::crypto::provider();
        let tap = Tap { provider: toy.dtls_provider, shares: false };
        Arc::new(CryptoProvider { dtls_provider: Box::leak(Box::new(tap)), ..toy })
    });
    PROVIDER.clone()
}

/// Whether a datagram is RTP or RTCP (RFC 7983).
pub fn is_media(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| (128..192).contains(first))
}

impl Endpoint {
    pub fn new(address: SocketAddr, now: Instant) -> Endpoint {
        let config = Rtc::builder().set_rtp_mode(true).clear_codecs();
        let config = config.enable_vp8(true).enable_opus(true, false);
        let mut rtc = config.set_crypto_provider(provider()).build(now);
        let keys = tap::take_slot();
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a valid address"));
        Endpoint {
            address,
            lines: Vec::new(),
            outgoing: Vec::new(),
            deadline: now,
            rtc,
            keys,
            session: None,
            pending: None,
        }
    }

    /// An offer that sends a camera in three encodings and its sound.
    pub fn offer_camera(&mut self) -> String {
        let layer = |rid: &str| SimulcastLayer { rid: rid.into(), attributes: None };
        let send = RIDS.map(layer).to_vec();
        let mut api = self.rtc.sdp_api();
        let simulcast = Some(Simulcast { send, recv: Vec::new() });
        api.add_media(MediaKind::Video, Direction::SendOnly, None, None, simulcast);
        api.add_media(MediaKind::Audio, Direction::SendOnly, None, None, None);
        let (offer, pending) = api.apply().expect("something to offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// An offer that receives so many videos and as many sounds.
    pub fn offer_slots(&mut self, videos: usize, sounds: usize) -> String {
        let mut api = self.rtc.sdp_api();
        let kinds = std::iter::repeat_n(MediaKind::Video, videos);
        for kind in kinds.chain(std::iter::repeat_n(MediaKind::Audio, sounds)) {
            api.add_media(kind, Direction::RecvOnly, None, None, None);
        }
        let (offer, pending) = api.apply().expect("something to offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    pub fn answer(&mut self, sdp: &str) {
        self.lines = lines(sdp);
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap_or_else(|e| panic!("{e}: {sdp}"));
        let pending = self.pending.take().expect("an offer was made");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("a fitting answer");
    }

    /// The keys, once DTLS is up.
    pub fn session(&mut self) -> Option<&mut (Inbound, Outbound)> {
        if self.session.is_none() {
            let keys = self.keys.get()?;
            self.session = srtp::session(keys.profile, &keys.material, !keys.from_client);
        }
        self.session.as_mut()
    }

    /// A datagram that is no media.
    pub fn receive(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, bytes) else { return };
        self.rtc.handle_input(Input::Receive(now, receive)).expect("the server speaks well");
        self.drain();
    }

    pub fn poll(&mut self, now: Instant) {
        if self.deadline <= now {
            self.rtc.handle_input(Input::Timeout(now)).expect("time moves");
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("nothing breaks") {
                Output::Transmit(transmit) => self.outgoing.push(transmit.contents.into()),
                Output::Timeout(at) => break self.deadline = at,
                Output::Event(_) => {}
            }
        }
    }

    /// RTCP that leaves.
    pub fn say(&mut self, mut compound: Vec<u8>) {
        let Some((_, outbound)) = self.session() else { return };
        assert!(outbound.seal_rtcp(&mut compound, 0), "a whole header");
        self.outgoing.push(compound);
    }
}
