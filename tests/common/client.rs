//! A synthetic WebRTC client on `str0m`: offers, sends VP8, judges what it receives. Sans-IO like
//! the server, so that it runs on virtual time in one test and on real sockets in another.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::channel::ChannelId;
use str0m::crypto::CryptoProvider;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::vp8::{Encoder, Judge, frame_of};
use trackyard::media::srtp::{self, Inbound, Outbound};
use trackyard::worker::tap::{self, KeySlot, Tap};

/// Between two frames.
pub const FRAME_INTERVAL: Duration = Duration::from_millis(50);

pub struct Client {
    pub rtc: Rtc,
    pub label: u32,
    pub address: SocketAddr,
    pub connected: bool,
    pub closed: bool,
    /// Its transport gave up, and said why.
    pub broken: Option<String>,
    pub sending: Option<Sender>,
    pub slots: HashMap<Mid, Judge>,
    pub keyframe_requests: u64,
    /// When each of them came.
    pub asked: Vec<Instant>,
    /// When media came last, and the longest time without.
    pub media: Option<Instant>,
    pub media_gap: Duration,
    /// Bytes of RTP payload and packets that came, for the first time or again.
    pub payload_bytes: u64,
    pub packets: u64,
    /// Of the newest packet that came.
    pub highest_seq: u64,
    /// Compounds of RTCP that came since they were last taken, in the clear, if wanted.
    pub heard: Option<Vec<Vec<u8>>>,
    keys: KeySlot,
    /// Its own reading of what the server says.
    inbound: Option<Inbound>,
    outbound: Option<Outbound>,
    now: Instant,
    pub channel: Option<ChannelId>,
    /// Whole frames in the order in which they came, until somebody takes them: whose, which, when.
    pub arrivals: Vec<(u32, u32, Instant)>,
    pending: Option<SdpPendingOffer>,
    deadline: Instant,
    outgoing: Vec<(SocketAddr, Vec<u8>)>,
}

pub struct Sender {
    pub mid: Mid,
    /// Between two frames.
    pub interval: Duration,
    /// When each frame was sent, by its number.
    pub sent_at: Vec<Instant>,
    pub encoder: Encoder,
    pt: Option<Pt>,
    pub seq: u64,
    pub frames: u32,
    next_frame: Instant,
    pub keyframe_wanted: bool,
    /// How long its encoder takes to make one that is asked for, and when it will be ready.
    pub keyframe_delay: Duration,
    keyframe_at: Option<Instant>,
    /// Payloads are made this long, whatever the encoder says.
    pub packet_bytes: Option<usize>,
}

/// What `str0m` runs on, with its keys laid open.
fn tapped_provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let standard = str0m::crypto::from_feature_flags();
        let tap = Tap { provider: standard.dtls_provider, shares: true };
        let dtls_provider = Box::leak(Box::new(tap));
        Arc::new(CryptoProvider { dtls_provider, ..standard })
    });
    PROVIDER.clone()
}

impl Client {
    pub fn new(label: u32, address: SocketAddr, now: Instant) -> Client {
        let config = Rtc::builder().set_rtp_mode(true).clear_codecs().enable_vp8(true);
        let mut rtc = config.set_crypto_provider(tapped_provider()).build(now);
        let keys = tap::take_slot();
        rtc.add_local_candidate(Candidate::host(address, "udp").expect("a valid address"));
        Client {
            rtc,
            label,
            address,
            connected: false,
            closed: false,
            broken: None,
            sending: None,
            slots: HashMap::new(),
            keyframe_requests: 0,
            asked: Vec::new(),
            media: None,
            media_gap: Duration::ZERO,
            payload_bytes: 0,
            packets: 0,
            highest_seq: 0,
            heard: None,
            keys,
            inbound: None,
            outbound: None,
            now,
            channel: None,
            arrivals: Vec::new(),
            pending: None,
            deadline: now,
            outgoing: Vec::new(),
        }
    }

    /// An offer that sends one video (if asked) and receives `slots` videos more.
    pub fn offer(&mut self, send: bool, slots: usize, now: Instant) -> String {
        let mut api = self.rtc.sdp_api();
        if send && self.sending.is_none() {
            let mid = api.add_media(MediaKind::Video, Direction::SendOnly, None, None, None);
            self.sending = Some(Sender {
                mid,
                interval: FRAME_INTERVAL,
                sent_at: Vec::new(),
                encoder: Encoder::default(),
                pt: None,
                seq: u64::from(self.label) * 100 % 30_000,
                frames: 0,
                next_frame: now,
                keyframe_wanted: true,
                keyframe_delay: Duration::ZERO,
                keyframe_at: None,
                packet_bytes: None,
            });
        }
        for _ in 0..slots {
            let mid = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
            self.slots.insert(mid, Judge::default());
        }
        let (offer, pending) = api.apply().expect("something to offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// An offer of a data channel and a slot.
    pub fn offer_channel(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        let mid = api.add_media(MediaKind::Video, Direction::RecvOnly, None, None, None);
        self.slots.insert(mid, Judge::default());
        self.channel = Some(api.add_channel("flood".to_owned()));
        let (offer, pending) = api.apply().expect("something to offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// Takes the answer to the last offer.
    pub fn answer(&mut self, sdp: &str) {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap_or_else(|e| panic!("{e}: {sdp}"));
        let pending = self.pending.take().expect("an offer was made");
        self.rtc.sdp_api().accept_answer(pending, answer).expect("a fitting answer");
    }

    /// An offer with new ICE credentials.
    pub fn restart_ice(&mut self) -> String {
        let mut api = self.rtc.sdp_api();
        api.ice_restart(true);
        let (offer, pending) = api.apply().expect("a restart is an offer");
        self.pending = Some(pending);
        offer.to_sdp_string()
    }

    /// Sends a PLI for every slot.
    pub fn ask_for_keyframes(&mut self) {
        for mid in self.slots.keys() {
            if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(*mid, None) {
                stream.request_keyframe(str0m::media::KeyframeRequestKind::Pli);
            }
        }
    }

    /// One datagram. `str0m` wants to be drained after each.
    pub fn receive(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        self.now = now;
        if self.broken.is_some() {
            return;
        }
        if matches!(bytes, [128..=191, 192..=223, ..]) && self.heard.is_some() {
            self.listen(bytes);
        }
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.address, bytes) else { return };
        self.rtc.handle_input(Input::Receive(now, receive)).expect("the server speaks well");
        self.drain();
    }

    /// Sends what is due, and gives what is to be transmitted.
    pub fn poll(&mut self, now: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        self.now = now;
        if self.broken.is_some() {
            self.deadline = now + Duration::from_secs(60);
            return Vec::new();
        }
        self.send_frame(now);
        self.rtc.handle_input(Input::Timeout(now)).expect("time moves");
        self.drain();
        std::mem::take(&mut self.outgoing)
    }

    fn drain(&mut self) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(t)) => self.outgoing.push((t.destination, t.contents.into())),
                Ok(Output::Timeout(at)) => break self.deadline = at,
                Ok(Output::Event(event)) => self.event(event),
                Err(error) => break self.broken = Some(error.to_string()),
            }
        }
    }

    /// A datagram of RTCP that `str0m` would not send, protected as if it did.
    pub fn protect_rtcp(&mut self, compound: &[u8]) -> Vec<u8> {
        let mut datagram = compound.to_vec();
        assert!(self.outbound().seal_rtcp(&mut datagram, 0), "a whole header");
        datagram
    }

    /// A packet of RTP that `str0m` would not send, with a header of 12 bytes, protected under that
    /// index.
    pub fn protect_rtp(&mut self, packet: &[u8], index: u64) -> Vec<u8> {
        let mut datagram = packet.to_vec();
        assert!(self.outbound().seal_rtp(&mut datagram, 0, 12, index), "a whole header");
        datagram
    }

    fn listen(&mut self, datagram: &[u8]) {
        let Some(keys) = self.keys.get() else { return };
        let inbound = self.inbound.get_or_insert_with(|| {
            srtp::session(keys.profile, &keys.material, true).expect("keys of that profile").0
        });
        let mut datagram = datagram.to_vec();
        let compound = inbound.open_rtcp(&mut datagram).expect("the server's");
        self.heard.get_or_insert_default().push(compound.to_vec());
    }

    fn outbound(&mut self) -> &mut Outbound {
        self.outbound.get_or_insert_with(|| {
            let keys = self.keys.get().expect("connected");
            let session = srtp::session(keys.profile, &keys.material, true);
            let (_, mut outbound) = session.expect("keys of that profile");
            // Beyond what it has used itself.
            outbound.skip_rtcp(1 << 20);
            outbound
        })
    }

    /// The SSRC that the server uses on the first slot.
    pub fn slot_ssrc(&mut self) -> u32 {
        let mid = *self.slots.keys().next().expect("a slot");
        let mut api = self.rtc.direct_api();
        *api.stream_rx_by_mid(mid, None).expect("something came").ssrc()
    }

    /// The SSRC that it sends with, if it sends.
    pub fn sent_ssrc(&mut self) -> Option<u32> {
        let mid = self.sending.as_ref()?.mid;
        Some(*self.rtc.direct_api().stream_tx_by_mid(mid, None)?.ssrc())
    }

    /// When [`Self::poll`] has something to do.
    pub fn deadline(&self) -> Instant {
        let frame = self.sending.as_ref().filter(|_| self.connected).map(|s| s.next_frame);
        frame.map_or(self.deadline, |frame| frame.min(self.deadline))
    }

    /// Every one of these slots shows something that a decoder could show.
    pub fn sees(&self, mids: &[Mid]) -> bool {
        mids.iter().all(|mid| self.slots.get(mid).is_some_and(|s| s.decodable))
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Closed => self.closed = true,
            Event::KeyframeRequest(_) => {
                self.keyframe_requests += 1;
                self.asked.push(self.now);
                if let Some(sender) = &mut self.sending {
                    sender.keyframe_at.get_or_insert(self.now + sender.keyframe_delay);
                }
            }
            Event::RtpPacket(packet) => {
                let gap = self.media.map_or(Duration::ZERO, |last| self.now - last);
                self.media_gap = self.media_gap.max(gap);
                self.media = Some(self.now);
                self.payload_bytes += packet.payload.len() as u64;
                self.packets += 1;
                self.highest_seq = self.highest_seq.max(*packet.seq_no);
                let ssrc = packet.header.ssrc;
                let mid = self.rtc.direct_api().stream_rx(&ssrc).expect("a known stream").mid();
                let judge = self.slots.get_mut(&mid).expect("a slot of ours");
                if packet.header.marker {
                    let (label, frame) = frame_of(&packet.payload);
                    self.arrivals.push((label, frame, packet.timestamp));
                }
                judge.take(
                    *packet.seq_no,
                    packet.header.timestamp,
                    packet.header.marker,
                    &packet.payload,
                );
            }
            _ => {}
        }
    }

    fn send_frame(&mut self, now: Instant) {
        let Some(sender) = self.sending.as_mut().filter(|s| self.connected && now >= s.next_frame)
        else {
            return;
        };
        let Some(media) = self.rtc.media(sender.mid) else { return };
        let pt = *sender.pt.get_or_insert(media.remote_pts()[0]);
        sender.next_frame = now + sender.interval;
        sender.sent_at.push(now);
        let made = sender.keyframe_at.take_if(|at| *at <= now).is_some();
        let keyframe = std::mem::take(&mut sender.keyframe_wanted) | made;
        let payloads = sender.encoder.frame(keyframe, self.label, sender.frames);
        let timestamp = sender.frames.wrapping_mul(4_500);
        sender.frames += 1;
        let mut direct = self.rtc.direct_api();
        let Some(stream) = direct.stream_tx_by_mid(sender.mid, None) else { return };
        let last = payloads.len() - 1;
        for (i, mut payload) in payloads.into_iter().enumerate() {
            payload.resize(sender.packet_bytes.unwrap_or(payload.len()), 0);
            sender.seq += 1;
            let write = RtpWrite::new(pt, sender.seq.into(), timestamp, now, payload);
            stream.write_rtp(write.marker(i == last).nackable(true));
        }
    }
}

/// An offer that declares a rate for each m-line that only sends.
pub fn declaring(offer: &str, bps: u64) -> String {
    let rate = format!("c=IN IP4 0.0.0.0\r\nb=TIAS:{bps}\r\n");
    let edited = offer.split("\r\nm=").map(|section| {
        let sends = section.contains("a=sendonly");
        if sends { section.replace("c=IN IP4 0.0.0.0\r\n", &rate) } else { section.to_owned() }
    });
    let edited = edited.collect::<Vec<_>>().join("\r\nm=");
    assert!(edited.contains("b=TIAS"), "{offer}");
    edited
}
