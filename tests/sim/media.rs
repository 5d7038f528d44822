//! A client's `RTCPeerConnection`: one `str0m::Rtc` that sends and judges synthetic media.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::crypto::CryptoProvider;
use str0m::media::{Direction, KeyframeRequestKind, MediaKind, Mid, Pt, Simulcast, SimulcastLayer};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use trackyard::wire::codec::Kind;

use super::picture::{Sound, Video, sound};
use super::vp8::Encoder;

pub const VIDEO_EVERY: Duration = Duration::from_millis(100);
pub const SOUND_EVERY: Duration = Duration::from_millis(200);

/// What is received on one m-line.
#[derive(Debug)]
pub enum Slot {
    Video(Video),
    Sound(Sound),
}

impl Slot {
    pub fn video(&mut self) -> Option<&mut Video> {
        match self {
            Slot::Video(video) => Some(video),
            Slot::Sound(_) => None,
        }
    }
}

/// What is sent on one m-line.
pub struct Sender {
    pub mid: Mid,
    pub kind: Kind,
    /// What it shows is moving, or somebody speaks; else nothing is sent unless asked for.
    pub moving: bool,
    pub muted: bool,
    /// In several streams.
    layered: bool,
    /// Sends while it is muted, too.
    pub sly: bool,
    /// Sends ten times as much until then.
    pub rushes: Option<Instant>,
    /// So many more frames each leave as a stream of their own.
    pub restless: u32,
    encoder: Encoder,
    pt: Option<Pt>,
    seq: u64,
    frames: u32,
    next: Instant,
    keyframe: bool,
    began: Instant,
}

pub struct Media {
    pub rtc: Rtc,
    pub label: u32,
    pub local: SocketAddr,
    pub senders: Vec<Sender>,
    pub slots: BTreeMap<Mid, Slot>,
    /// DTLS is up.
    pub connected: bool,
    pub ice_lost: bool,
    pub closed: bool,
    pub keyframe_requests: u64,
    pending: Option<(String, SdpPendingOffer)>,
    new_senders: Vec<(Kind, bool)>,
    new_slots: Vec<Kind>,
    restart: bool,
    deadline: Instant,
    /// From where, to where, what.
    pub outgoing: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
}

fn str_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
    }
}

impl Media {
    pub fn new(crypto: &Arc<CryptoProvider>, label: u32, local: SocketAddr, now: Instant) -> Media {
        let mut rtc = Rtc::builder()
            .set_crypto_provider(crypto.clone())
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_vp8(true)
            .enable_opus(true, false)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").expect("a valid address"));
        Media {
            rtc,
            label,
            local,
            senders: Vec::new(),
            slots: BTreeMap::new(),
            connected: false,
            ice_lost: false,
            closed: false,
            keyframe_requests: 0,
            pending: None,
            new_senders: Vec::new(),
            new_slots: Vec::new(),
            restart: false,
            deadline: now,
            outgoing: Vec::new(),
        }
    }

    pub fn up(&self) -> bool {
        self.connected && !self.ice_lost && !self.closed
    }

    /// The next offer sends one more of that kind.
    pub fn add_sender(&mut self, kind: Kind, simulcast: bool) {
        self.new_senders.push((kind, simulcast));
    }

    /// The next offer receives so many more of that kind.
    pub fn add_slots(&mut self, kind: Kind, count: usize) {
        self.new_slots.extend(std::iter::repeat_n(kind, count));
    }

    /// Slots of that kind, with those that are yet to be offered.
    pub fn slot_count(&self, kind: Kind) -> usize {
        let here = self.slots.values().filter(|s| match s {
            Slot::Video(_) => kind == Kind::Video,
            Slot::Sound(_) => kind == Kind::Audio,
        });
        here.count() + self.new_slots.iter().filter(|k| **k == kind).count()
    }

    /// The next offer has new ICE credentials, and this address instead of the old one.
    pub fn restart_ice(&mut self, local: Option<SocketAddr>) {
        self.restart = true;
        let Some(local) = local.filter(|l| *l != self.local) else { return };
        let old = Candidate::host(self.local, "udp").expect("a valid address");
        self.rtc.direct_api().invalidate_candidate(&old);
        self.local = local;
        self.rtc.add_local_candidate(Candidate::host(local, "udp").expect("a valid address"));
    }

    /// The offer to make now: the one that got no answer, or a new one if there is a reason.
    pub fn offer(&mut self, now: Instant) -> Option<String> {
        if let Some((sdp, _)) = &self.pending {
            return Some(sdp.clone());
        }
        let mut api = self.rtc.sdp_api();
        for (kind, simulcast) in self.new_senders.drain(..) {
            let layered = simulcast;
            let layer = |rid: &str| SimulcastLayer { rid: rid.into(), attributes: None };
            let simulcast = simulcast
                .then(|| Simulcast { send: vec![layer("f"), layer("h")], recv: Vec::new() });
            let mid = api.add_media(str_kind(kind), Direction::SendOnly, None, None, simulcast);
            self.senders.push(Sender {
                mid,
                kind,
                moving: true,
                muted: false,
                layered,
                sly: false,
                rushes: None,
                restless: 0,
                encoder: Encoder::default(),
                pt: None,
                seq: u64::from(fastrand::u16(..30_000)),
                frames: 0,
                next: now,
                keyframe: true,
                began: now,
            });
        }
        for kind in self.new_slots.drain(..) {
            let mid = api.add_media(str_kind(kind), Direction::RecvOnly, None, None, None);
            let slot = match kind {
                Kind::Video => Slot::Video(Video::default()),
                Kind::Audio => Slot::Sound(Sound::default()),
            };
            self.slots.insert(mid, slot);
        }
        if std::mem::take(&mut self.restart) {
            api.ice_restart(true);
        }
        let (offer, pending) = api.apply()?;
        let sdp = offer.to_sdp_string();
        self.pending = Some((sdp.clone(), pending));
        Some(sdp)
    }

    /// Whether the next offer would say something new.
    pub fn has_news(&self) -> bool {
        let added = !self.new_senders.is_empty() || !self.new_slots.is_empty();
        added || self.restart || self.pending.is_some()
    }

    /// Takes the answer to the last offer. Error: it does not fit.
    pub fn answer(&mut self, sdp: &str) -> Result<(), String> {
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|e| e.to_string())?;
        let (_, pending) = self.pending.take().ok_or("nothing was offered")?;
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|e| e.to_string())
    }

    /// The last offer was refused.
    pub fn rollback(&mut self) {
        self.pending = None;
    }

    pub fn receive(&mut self, now: Instant, source: SocketAddr, bytes: &[u8]) {
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, bytes) else { return };
        // As in a browser: what does not fit is dropped.
        let _ = self.rtc.handle_input(Input::Receive(now, receive));
        self.drain(now);
    }

    /// Sends what is due.
    pub fn poll(&mut self, now: Instant) {
        if self.connected {
            for at in 0..self.senders.len() {
                self.send(at, now);
            }
            self.ask(now);
        }
        let _ = self.rtc.handle_input(Input::Timeout(now));
        self.drain(now);
    }

    pub fn deadline(&self) -> Instant {
        let sends = self.senders.iter().filter(|s| self.connected && s.wants_to_send());
        let asks = self.slots.values().filter_map(|s| match s {
            Slot::Video(video) => video.deadline(),
            Slot::Sound(_) => None,
        });
        let sends = sends.map(|s| s.next).chain(asks.filter(|_| self.connected));
        sends.fold(self.deadline, Instant::min)
    }

    /// Closes it politely; what is left to say is in `outgoing`.
    pub fn close(&mut self, now: Instant) {
        let _ = self.rtc.close();
        self.drain(now);
    }

    pub fn describe(&self) -> String {
        let senders = self.senders.iter();
        let senders: Vec<_> =
            senders.map(|s| (s.kind, s.moving, s.muted, s.frames, s.next, s.mid)).collect();
        format!(
            "dtls {} ice lost {} closed {}, sends {senders:?}, slots {:?}",
            self.connected, self.ice_lost, self.closed, self.slots
        )
    }

    fn ask(&mut self, now: Instant) {
        for (mid, slot) in &mut self.slots {
            let Slot::Video(video) = slot else { continue };
            if video.wants_keyframe(now)
                && let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(*mid, None)
            {
                stream.request_keyframe(KeyframeRequestKind::Pli);
            }
        }
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Transmit(t)) => {
                    self.outgoing.push((self.local, t.destination, t.contents.into()));
                }
                Ok(Output::Timeout(at)) => break self.deadline = at,
                Ok(Output::Event(event)) => self.event(now, event),
                Err(_) => {
                    self.closed = true;
                    self.deadline = now + Duration::from_secs(1_000_000);
                    return;
                }
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Closed => self.closed = true,
            Event::IceConnectionStateChange(state) => {
                self.ice_lost = state == IceConnectionState::Disconnected;
            }
            Event::KeyframeRequest(request) => {
                self.keyframe_requests += 1;
                if let Some(sender) = self.senders.iter_mut().find(|s| s.mid == request.mid) {
                    sender.keyframe = true;
                }
            }
            Event::RtpPacket(packet) => {
                let ssrc = packet.header.ssrc;
                let Some(mid) = self.rtc.direct_api().stream_rx(&ssrc).map(|s| s.mid()) else {
                    return;
                };
                let head = (packet.header.timestamp, packet.header.marker);
                match self.slots.get_mut(&mid) {
                    Some(Slot::Video(video)) => {
                        video.take(now, *packet.seq_no, head, &packet.payload);
                    }
                    Some(Slot::Sound(sound)) => sound.take(now, &packet.payload),
                    None => {}
                }
            }
            _ => {}
        }
    }

    /// The first video that is sent in one stream, and its SSRC.
    pub fn video_ssrc(&mut self) -> Option<(usize, u32)> {
        let plain = |s: &Sender| s.kind == Kind::Video && !s.layered;
        let at = self.senders.iter().position(plain)?;
        let mut direct = self.rtc.direct_api();
        Some((at, *direct.stream_tx_by_mid(self.senders[at].mid, None)?.ssrc()))
    }

    /// What a sender sends leaves as another stream from now on, as after a collision
    /// (RFC 3550 §8.2).
    pub fn change_ssrc(&mut self, at: usize, ssrc: u32) {
        let sender = &mut self.senders[at];
        let mut direct = self.rtc.direct_api();
        let Some(old) = direct.stream_tx_by_mid(sender.mid, None).map(|s| s.ssrc()) else { return };
        if *old != ssrc {
            // `reset_stream_tx` would leave the stream filed under its old name.
            direct.remove_stream_tx(old);
            direct.declare_stream_tx(ssrc.into(), Some(fastrand::u32(..).into()), sender.mid, None);
            sender.seq = u64::from(fastrand::u16(..30_000));
        }
    }

    fn send(&mut self, at: usize, now: Instant) {
        let sender = &mut self.senders[at];
        if !sender.wants_to_send() || now < sender.next {
            return;
        }
        let Some(media) = self.rtc.media(sender.mid) else { return };
        let Some(pt) = sender.pt.or(media.remote_pts().first().copied()) else { return };
        sender.pt = Some(pt);
        let keyframe = std::mem::take(&mut sender.keyframe);
        let since = now.saturating_duration_since(sender.began);
        let (every, clock, payloads) = match sender.kind {
            Kind::Video => {
                let frame = sender.encoder.frame(keyframe, self.label, sender.frames);
                (VIDEO_EVERY, 90_000, frame)
            }
            Kind::Audio => (SOUND_EVERY, 48_000, vec![sound(self.label, sender.frames)]),
        };
        let timestamp = (since.as_micros() as u64 * clock / 1_000_000) as u32;
        let rushes = sender.rushes.is_some_and(|until| now < until);
        sender.next = now + if rushes { every / 10 } else { every };
        sender.frames += 1;
        let restless = sender.restless > 0;
        sender.restless = sender.restless.saturating_sub(1);
        if restless {
            self.change_ssrc(at, fastrand::u32(..));
        }
        let sender = &mut self.senders[at];
        let mut direct = self.rtc.direct_api();
        let stream = direct.stream_tx_by_mid(sender.mid, None);
        let Some(stream) = stream else { return };
        let last = payloads.len() - 1;
        for (i, payload) in payloads.into_iter().enumerate() {
            sender.seq += 1;
            let values = ExtensionValues {
                audio_level: (sender.kind == Kind::Audio).then_some(-30),
                ..Default::default()
            };
            let write = RtpWrite::new(pt, sender.seq.into(), timestamp, now, payload);
            let nackable = sender.kind == Kind::Video;
            stream.write_rtp(write.marker(i == last).ext_vals(values).nackable(nackable));
        }
    }
}

impl Sender {
    fn wants_to_send(&self) -> bool {
        (!self.muted || self.sly) && (self.moving || (self.keyframe && self.kind == Kind::Video))
    }
}
