//! Toy cryptography that replays: a DTLS handshake of four messages, whose keys whoever listens can
//! tell. SRTP, STUN's HMAC and the fingerprints' SHA-256 are the real ones. All chance comes from
//! `fastrand`, which the run has seeded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use str0m::crypto::dtls::{
    DtlsCert, DtlsImplError, DtlsInstance, DtlsOutput, DtlsProvider, DtlsVersion, KeyingMaterial,
    ProtocolVersion, SrtpProfile,
};
use str0m::crypto::{CryptoError, CryptoProvider, Sha1HmacProvider};
use trackyard::media::srtp::Profile;

/// A whole provider of the toy kind.
pub fn provider() -> CryptoProvider {
    let standard = str0m::crypto::from_feature_flags();
    CryptoProvider { dtls_provider: &ToyDtls, sha1_hmac_provider: &Poisonable, ..standard }
}

/// What the toy handshake agrees on.
pub const PROFILE: Profile = Profile::AeadAes128Gcm;

/// The same, as clients want it.
pub fn shared() -> Arc<CryptoProvider> {
    Arc::new(provider())
}

/// A DTLS record at which the toy panics: a planted fault of the peer's transport.
pub const DTLS_POISON: [u8; 4] = [22, 254, 253, 0xee];
/// The transaction of an ICE check at which it does, so far as it is verified by the worker itself.
const CHECK_POISON: [u8; 12] = [0xee; 12];

/// A check with that transaction.
pub fn poisoned(check: &[u8]) -> Vec<u8> {
    let mut check = check.to_vec();
    check[8..20].copy_from_slice(&CHECK_POISON);
    check
}

/// What the planted panic says, so that its message can be kept out of the log.
pub const PLANTED: &str = "planted in the simulation";

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const APPLICATION: u8 = 23;
const VERSION: [u8; 2] = [254, 253];

const TAG: usize = 16;
const RANDOM: usize = 16;
const FIRST_RESEND: Duration = Duration::from_millis(250);
const RESENDS_MAX: u32 = 8;
/// A timer must be named even when nothing is due.
const QUIET: Duration = Duration::from_secs(100 * 24 * 3_600);

/// Sixteen bytes from a key and pieces of a message; fast and not secure.
fn tag(key: &[u8], pieces: &[&[u8]]) -> [u8; TAG] {
    let mut state = [0x9e37_79b9_7f4a_7c15_u64, 0xc2b2_ae3d_27d4_eb4f];
    let mut feed = |bytes: &[u8]| {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let word = u64::from_le_bytes(word) ^ (chunk.len() as u64) << 56;
            state[0] = (state[0] ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(31);
            state[1] = (state[1].wrapping_add(state[0])).wrapping_mul(0x9fb2_1c65_1e98_df25);
        }
    };
    feed(key);
    pieces.iter().for_each(|p| feed(p));
    let last = |x: u64| (x ^ (x >> 29)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    let mut out = [0; TAG];
    out[..8].copy_from_slice(&last(state[0]).to_le_bytes());
    out[8..].copy_from_slice(&last(state[1] ^ (state[0] >> 32)).to_le_bytes());
    out
}

/// The SRTP keys of a handshake key.
fn keys_of(key: [u8; TAG]) -> Vec<u8> {
    (0..4u8).flat_map(|i| tag(&key, &[&[i]])).take(56).collect()
}

/// What whoever listens learns of keys from a datagram of the server's.
#[derive(Debug, Default)]
pub struct Overheard {
    /// Of answers to hellos, whoever said them.
    offered: Vec<[u8; TAG]>,
    /// The SRTP keys that were agreed on.
    pub agreed: Option<Vec<u8>>,
}

impl Overheard {
    /// Whether keys were agreed on that are not the ones before.
    pub fn hear(&mut self, datagram: &[u8]) -> bool {
        match datagram {
            [HANDSHAKE, _, _, 2, body @ ..] if body.len() > 2 * RANDOM => {
                self.offered.push(tag(&body[..RANDOM], &[&body[RANDOM..2 * RANDOM]]));
                let excess = self.offered.len().saturating_sub(64);
                self.offered.drain(..excess);
            }
            [HANDSHAKE, _, _, 4, body @ ..] => {
                let agreed = self.offered.iter().find(|key| body == tag(&key[..], &[b"agreed"]));
                let agreed = agreed.map(|key| keys_of(*key));
                if agreed.is_some() && agreed != self.agreed {
                    self.agreed = agreed;
                    return true;
                }
            }
            _ => {}
        }
        false
    }
}

fn random() -> [u8; RANDOM] {
    fastrand::u128(..).to_le_bytes()
}

// -- DTLS

#[derive(Debug)]
struct ToyDtls;

impl DtlsProvider for ToyDtls {
    fn generate_certificate(&self) -> Option<DtlsCert> {
        let certificate = [&b"toy certificate "[..], &random()].concat();
        Some(DtlsCert { certificate, private_key: Vec::new() })
    }

    fn new_dtls(
        &self,
        certificate: &DtlsCert,
        now: Instant,
        _version: DtlsVersion,
        _mtu: Option<usize>,
    ) -> Result<Box<dyn DtlsInstance>, CryptoError> {
        Ok(Box::new(Toy {
            certificate: certificate.certificate.clone(),
            secret: random(),
            active: false,
            now,
            state: State::Idle,
            flight: Vec::new(),
            resend: None,
            resends: 0,
            out: VecDeque::new(),
        }))
    }
}

/// How far the handshake is. The client says hello (1), the server answers with its random and
/// certificate (2), the client finishes with its own certificate (3), the server agrees (4).
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Idle,
    /// Client: hello said, with this random.
    Hello([u8; RANDOM]),
    /// Client: finish said, under this key.
    Finishing([u8; TAG]),
    Up([u8; TAG]),
    Closed,
}

#[derive(Debug)]
enum Said {
    Packet(Vec<u8>),
    Connected,
    PeerCert(Vec<u8>),
    Keys([u8; TAG]),
    Data(Vec<u8>),
    CloseNotify,
}

#[derive(Debug)]
struct Toy {
    certificate: Vec<u8>,
    secret: [u8; RANDOM],
    active: bool,
    now: Instant,
    state: State,
    /// What is sent again while no answer comes.
    flight: Vec<u8>,
    resend: Option<Instant>,
    resends: u32,
    out: VecDeque<Said>,
}

fn put<'a>(buffer: &'a mut [u8], bytes: &[u8]) -> &'a [u8] {
    let (place, _) = buffer.split_at_mut(bytes.len());
    place.copy_from_slice(bytes);
    place
}

fn record(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![kind, VERSION[0], VERSION[1]];
    parts.iter().for_each(|p| bytes.extend_from_slice(p));
    bytes
}

impl Toy {
    /// The server's random for a hello: always the same for the same one, so a second hello
    /// (resent, or somebody else's) changes nothing for the first.
    fn answer_to(&self, hello: &[u8]) -> [u8; RANDOM] {
        tag(&self.secret, &[hello])
    }

    fn fly(&mut self, bytes: Vec<u8>) {
        self.flight = bytes.clone();
        self.resend = Some(self.now + FIRST_RESEND);
        self.resends = 0;
        self.out.push_back(Said::Packet(bytes));
    }

    fn up(&mut self, key: [u8; TAG], certificate: &[u8]) {
        self.state = State::Up(key);
        self.resend = None;
        self.out.push_back(Said::PeerCert(certificate.to_vec()));
        self.out.push_back(Said::Connected);
        self.out.push_back(Said::Keys(key));
    }

    fn handshake(&mut self, kind: u8, body: &[u8]) {
        match (kind, self.active, self.state.clone()) {
            (1, false, State::Idle | State::Up(_)) if body.len() == RANDOM => {
                let random = self.answer_to(body);
                let answer = record(HANDSHAKE, &[&[2], body, &random, &self.certificate]);
                self.out.push_back(Said::Packet(answer));
            }
            (2, true, State::Hello(mine)) if body.len() > 2 * RANDOM && body[..RANDOM] == mine => {
                let (theirs, certificate) = body[RANDOM..].split_at(RANDOM);
                let key = tag(&mine, &[theirs]);
                self.state = State::Finishing(key);
                let proof = tag(&key, &[&self.certificate]);
                self.out.push_back(Said::PeerCert(certificate.to_vec()));
                let flight = record(HANDSHAKE, &[&[3], &mine, &proof, &self.certificate]);
                self.fly(flight);
            }
            (3, false, State::Idle | State::Up(_)) if body.len() > RANDOM + TAG => {
                let (hello, rest) = body.split_at(RANDOM);
                let (proof, certificate) = rest.split_at(TAG);
                let key = tag(hello, &[&self.answer_to(hello)]);
                if proof != tag(&key, &[certificate]) {
                    return;
                }
                match self.state {
                    State::Idle => self.up(key, certificate),
                    State::Up(known) if known == key => {}
                    _ => return,
                }
                let agreed = tag(&key, &[b"agreed"]);
                self.out.push_back(Said::Packet(record(HANDSHAKE, &[&[4], &agreed])));
            }
            (4, true, State::Finishing(key)) if body == tag(&key, &[b"agreed"]) => {
                self.state = State::Up(key);
                self.resend = None;
                self.flight.clear();
                self.out.push_back(Said::Connected);
                self.out.push_back(Said::Keys(key));
            }
            _ => {}
        }
    }

    fn sealed(&self, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
        let State::Up(key) = self.state else { return None };
        let mine = [kind, u8::from(self.active)];
        Some(record(kind, &[&tag(&key, &[&mine, body]), body]))
    }

    fn opened<'a>(&self, kind: u8, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let State::Up(key) = self.state else { return None };
        let (proof, body) = bytes.split_at_checked(TAG)?;
        (proof == tag(&key, &[&[kind, u8::from(!self.active)], body])).then_some(body)
    }
}

impl DtlsInstance for Toy {
    fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    fn handle_packet(&mut self, packet: &[u8]) -> Result<(), DtlsImplError> {
        assert!(!packet.starts_with(&DTLS_POISON), "{PLANTED}");
        if packet.is_empty() && self.active && self.state == State::Idle {
            let random = random();
            self.state = State::Hello(random);
            self.fly(record(HANDSHAKE, &[&[1], &random]));
            return Ok(());
        }
        let Some((&[kind, major, minor], body)) = packet.split_first_chunk() else {
            return Ok(());
        };
        if [major, minor] != VERSION {
            return Ok(());
        }
        match (kind, body) {
            (HANDSHAKE, [kind, body @ ..]) => self.handshake(*kind, body),
            (APPLICATION, body) => {
                if let Some(data) = self.opened(kind, body) {
                    self.out.push_back(Said::Data(data.to_vec()));
                }
            }
            (ALERT, body) if self.opened(kind, body).is_some() => {
                self.out.push_back(Said::CloseNotify);
            }
            _ => {}
        }
        Ok(())
    }

    fn poll_output<'a>(&mut self, buffer: &'a mut [u8]) -> DtlsOutput<'a> {
        let Some(said) = self.out.pop_front() else {
            // Only a flight under way needs a timer; the rest of the time is quiet.
            return DtlsOutput::Timeout(self.resend.unwrap_or(self.now + QUIET));
        };
        match said {
            Said::Packet(bytes) => DtlsOutput::Packet(put(buffer, &bytes)),
            Said::PeerCert(bytes) => DtlsOutput::PeerCert(put(buffer, &bytes)),
            Said::Data(bytes) => DtlsOutput::ApplicationData(put(buffer, &bytes)),
            Said::Connected => DtlsOutput::Connected,
            Said::CloseNotify => DtlsOutput::CloseNotify,
            Said::Keys(key) => {
                let bytes = keys_of(key);
                let profile = SrtpProfile::AEAD_AES_128_GCM;
                DtlsOutput::KeyingMaterial(KeyingMaterial::new(&bytes), profile)
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) -> Result<(), DtlsImplError> {
        self.now = self.now.max(now);
        if self.resend.is_some_and(|at| at <= now) {
            self.resends += 1;
            let more = self.resends < RESENDS_MAX;
            self.resend = more.then(|| now + FIRST_RESEND * (1 << self.resends.min(3)));
            self.out.push_back(Said::Packet(self.flight.clone()));
        }
        Ok(())
    }

    fn send_application_data(&mut self, data: &[u8]) -> Result<usize, DtlsImplError> {
        match self.sealed(APPLICATION, data) {
            Some(packet) => {
                self.out.push_back(Said::Packet(packet));
                Ok(data.len())
            }
            None => Ok(0),
        }
    }

    fn is_active(&self) -> bool {
        self.active
    }

    fn protocol_version(&self) -> Option<ProtocolVersion> {
        None
    }

    fn is_closing(&self) -> bool {
        self.state == State::Closed
    }

    fn is_closed(&self) -> bool {
        self.state == State::Closed && self.out.is_empty()
    }

    fn close(&mut self) -> Result<(), DtlsImplError> {
        if let Some(alert) = self.sealed(ALERT, &[1, 0]) {
            self.out.push_back(Said::Packet(alert));
        }
        self.state = State::Closed;
        self.resend = None;
        Ok(())
    }
}

// -- STUN

#[derive(Debug)]
struct Poisonable;

impl Sha1HmacProvider for Poisonable {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        // The worker verifies in three parts: the last begins behind the length.
        let poisoned = payloads.iter().any(|part| part.get(4..16) == Some(&CHECK_POISON));
        assert!(!poisoned, "{PLANTED}");
        str0m::crypto::from_feature_flags().sha1_hmac_provider.sha1_hmac(key, payloads)
    }
}
