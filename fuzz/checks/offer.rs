//! Offers through the whole of a worker: gate, parser, negotiation, answer. Each gets one answer
//! or one refusal, an answer has the offer's m-lines, and nothing breaks however they follow each
//! other.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use trackyard::base::ids::{ParticipantId, SessionId, WorkerId};
use trackyard::base::rng::Rng;
use trackyard::room::mail::{
    Address, Outgoing, PeerLetter, Role, RoomLetter, RoomSettings, ToGate, ToWorker,
};
use trackyard::wire::sdp::gate_offer;
use trackyard::wire::sdpfrag;
use trackyard::wire::signal::PublishLimits;
use trackyard::worker::{Crypto, Worker, WorkerConfig};

const OFFERS_MAX: usize = 4;

/// Offers with a zero byte between them. What is no offer but a fragment restarts ICE.
pub fn check(data: &[u8]) {
    super::pardon_str0m();
    let now = super::start();
    let mut worker = worker(now);
    let address = Address {
        participant: ParticipantId(1),
        session: SessionId(1),
        worker: WorkerId(0),
        home: WorkerId(0),
    };
    let join =
        RoomLetter::Join { address, name: "n".into(), role: Role::Participant, request: None };
    worker.handle_letter(now, ToWorker::Room("room".into(), join));
    for (i, part) in data.split(|b| *b == 0).take(OFFERS_MAX).enumerate() {
        let now = now + Duration::from_millis(100 * i as u64);
        let sdp = String::from_utf8_lossy(part).into_owned();
        worker.take_letters();
        match sdpfrag::parse(part).map(|f| (f.ufrag, f.pwd)) {
            Some((Some(ufrag), Some(pwd))) if !sdp.starts_with("v=0") => {
                give(&mut worker, now, PeerLetter::RestartIce { ufrag, pwd });
            }
            _ => {
                let offer = PeerLetter::Offer {
                    address,
                    room: "room".into(),
                    role: Role::Participant,
                    request: Some(i as u64),
                    sdp: sdp.clone(),
                    tracks: Vec::new(),
                };
                give(&mut worker, now, offer);
                answered(&mut worker, &sdp);
            }
        }
    }
    give(&mut worker, now + Duration::from_secs(1), PeerLetter::Close);
    assert_eq!(worker.counters_mut().panics, 0);
}

/// A worker of one, with the one certificate of the process.
pub fn worker(now: Instant) -> Worker {
    static CRYPTO: OnceLock<Crypto> = OnceLock::new();
    let candidates: Vec<SocketAddr> = vec![([192, 0, 2, 1], 8443).into()];
    let crypto = CRYPTO.get_or_init(Crypto::generate).clone();
    let config = WorkerConfig {
        id: WorkerId(0),
        workers: 1,
        candidates,
        crypto,
        ntp: 0,
        rooms: RoomSettings::default(),
        limits: PublishLimits::default(),
    };
    Worker::new(config, Rng::from_seed([7; 32]), now)
}

fn give(worker: &mut Worker, now: Instant, letter: PeerLetter) {
    worker.handle_letter(now, ToWorker::Peer(ParticipantId(1), letter));
    worker.handle_timeout(now);
    worker.flush_all(now);
    worker.check_invariants();
    assert_eq!(worker.counters_mut().panics, 0);
}

fn answered(worker: &mut Worker, offer: &str) {
    let mut answers = 0;
    for letter in worker.take_letters() {
        match letter {
            Outgoing::Gate(ToGate::Answered { answer, .. }) => {
                answers += 1;
                let gated = gate_offer(offer).expect("only what passed the gate is answered");
                let mids: Vec<&str> =
                    answer.sdp.lines().filter_map(|l| l.strip_prefix("a=mid:")).collect();
                assert_eq!(mids, gated.mids, "{}", answer.sdp);
                let kinds = |sdp: &str| -> Vec<String> {
                    let lines = sdp.lines().filter_map(|l| l.strip_prefix("m="));
                    lines.map(|l| l.split(' ').next().unwrap_or_default().to_owned()).collect()
                };
                assert_eq!(kinds(&answer.sdp), kinds(offer), "{}", answer.sdp);
                assert!(answer.tracks.iter().all(|t| gated.mids.contains(&t.mid)));
            }
            Outgoing::Gate(ToGate::Refused { message, .. }) => {
                answers += 1;
                // What a stranger wrote comes back at most once, whatever it was.
                assert!(message.len() <= offer.len() + 1_024, "{} bytes", message.len());
            }
            _ => {}
        }
    }
    assert_eq!(answers, 1, "one answer for each offer");
}
