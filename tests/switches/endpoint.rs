//! A client's transport: ICE and DTLS by `str0m`, whose packets are all made and read by the test.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use str0m::crypto::{CryptoProvider, Fingerprint};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceCreds, Input, Output, Rtc};
use trackyard::media::srtp::{self, Inbound, Outbound};
use trackyard::room::mail::Answer;
use trackyard::worker::tap::{self, KeySlot, Tap};

use crate::rtp::{Rtp, nearest};

pub struct Endpoint {
    pub rtc: Rtc,
    pub address: SocketAddr,
    pub is_connected: bool,
    keys: KeySlot,
    session: Option<(Inbound, Outbound)>,
    pub deadline: Instant,
    outgoing: Vec<Vec<u8>>,
    /// The highest number of each stream that came.
    highest: Vec<(u32, u64)>,
}

/// What came in a datagram that is not the transport's own.
pub enum Media {
    Rtp(u64, Rtp),
    Rtcp(Vec<u8>),
}

fn tapped_provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let standard = str0m::crypto::from_feature_flags();
        let tap = Tap { provider: standard.dtls_provider, shares: true };
        Arc::new(CryptoProvider { dtls_provider: Box::leak(Box::new(tap)), ..standard })
    });
    PROVIDER.clone()
}

impl Endpoint {
    pub fn new(address: SocketAddr, now: Instant) -> Endpoint {
        let config = Rtc::builder().set_rtp_mode(true).set_crypto_provider(tapped_provider());
        let mut rtc = config.build(now);
        let keys = tap::take_slot();
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a valid address"));
        let (session, outgoing, highest) = (None, Vec::new(), Vec::new());
        Endpoint {
            rtc,
            address,
            is_connected: false,
            keys,
            session,
            deadline: now,
            outgoing,
            highest,
        }
    }

    /// An offer of one m-line of video, with what is said in `lines` of it.
    pub fn offer(&mut self, payload_types: &str, lines: &str) -> String {
        let api = self.rtc.direct_api();
        let IceCreds { ufrag, pass } = api.local_ice_credentials();
        let fingerprint = api.local_dtls_fingerprint().to_string();
        let head = format!(
            "a=ice-ufrag:{ufrag}\na=ice-pwd:{pass}\na=fingerprint:{fingerprint}\na=setup:actpass"
        );
        let text = format!(
            "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE 0\na=msid-semantic: WMS\n\
             m=video 9 UDP/TLS/RTP/SAVPF {payload_types}\nc=IN IP4 0.0.0.0\n{head}\n\
             a=mid:0\na=rtcp-mux\na=rtcp-rsize\n{lines}"
        );
        text.replace('\n', "\r\n")
    }

    /// Begins the handshake.
    pub fn answer(&mut self, answer: &Answer, server: SocketAddr) {
        let line = answer.sdp.lines().find_map(|line| line.strip_prefix("a=fingerprint:"));
        let fingerprint: Fingerprint = line.expect("a certificate").parse().expect("a fingerprint");
        let remote = Candidate::host(server, "udp").expect("a valid address");
        self.rtc.add_remote_candidate(remote);
        let (ufrag, pass) = (answer.ice.ufrag.clone(), answer.ice.pwd.clone());
        let mut api = self.rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(IceCreds { ufrag, pass });
        api.set_remote_fingerprint(fingerprint);
        api.start_dtls(true).expect("DTLS begins");
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output().expect("a healthy transport") {
                Output::Transmit(t) => self.outgoing.push(t.contents.into()),
                Output::Timeout(at) => break self.deadline = at,
                Output::Event(Event::Connected) => self.is_connected = true,
                Output::Event(_) => {}
            }
        }
    }

    /// What the transport has to say.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.deadline <= now {
            self.rtc.handle_input(Input::Timeout(now)).expect("time moves");
        }
        self.drain();
        std::mem::take(&mut self.outgoing)
    }

    /// One datagram.
    pub fn receive(&mut self, now: Instant, server: SocketAddr, datagram: &[u8]) -> Option<Media> {
        if !matches!(datagram, [128..=191, ..]) {
            let receive = Receive::new(Protocol::Udp, server, self.address, datagram);
            let input = Input::Receive(now, receive.expect("of ICE or DTLS"));
            self.rtc.handle_input(input).expect("the server speaks well");
            self.drain();
            return None;
        }
        let mut datagram = datagram.to_vec();
        let inbound = &mut self.session()?.0;
        if matches!(datagram[1], 192..=223) {
            let compound = inbound.open_rtcp(&mut datagram).expect("the server's");
            return Some(Media::Rtcp(compound.to_vec()));
        }
        let [_, _, s0, s1, _, _, _, _, a, b, c, d] = *datagram.first_chunk().expect("a header");
        let (ssrc, seq) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([s0, s1]));
        let known = self.highest.iter().position(|(own, _)| *own == ssrc);
        let known = known.unwrap_or_else(|| {
            self.highest.push((ssrc, seq.into()));
            self.highest.len() - 1
        });
        let index = nearest(self.highest[known].1, seq);
        self.highest[known].1 = self.highest[known].1.max(index);
        let header = Rtp::header_bytes(&datagram);
        let inbound = &mut self.session()?.0;
        let end = inbound.open_rtp(&mut datagram, header, index).expect("sealed under its index");
        Some(Media::Rtp(index, Rtp::read(&datagram[..end])))
    }

    fn session(&mut self) -> Option<&mut (Inbound, Outbound)> {
        let keys = self.keys.get()?;
        Some(self.session.get_or_insert_with(|| {
            srtp::session(keys.profile, &keys.material, true).expect("keys of that profile")
        }))
    }

    /// A packet as it leaves. One without a payload is padding.
    pub fn seal(&mut self, rtp: &Rtp, index: u64) -> Vec<u8> {
        let padding = if rtp.payload.is_empty() { 200 } else { 0 };
        let (mut packet, header) = rtp.write(padding);
        let outbound = &self.session().expect("connected").1;
        assert!(outbound.seal_rtp(&mut packet, 0, header, index), "a whole header");
        packet
    }

    pub fn seal_rtcp(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut packet = compound.to_vec();
        let outbound = &mut self.session().expect("connected").1;
        assert!(outbound.seal_rtcp(&mut packet, 0), "a whole header");
        packet
    }
}
