//! Offers: the client always offers, the server always answers. What it sends becomes tracks,
//! where it receives becomes slots.

#![expect(
    clippy::indexing_slicing,
    reason = "keys come from tables that forget a peer together with it; workers from their count"
)]

use std::time::Instant;

use str0m::change::SdpOffer;
use str0m::media::Mid;
use str0m::{Candidate, IceCreds};

use super::guard::{AtWork, contained};
use super::mux::PeerKey;
use super::peer::{Peer, PeerTrack, Transport};
use super::slot::{Line, Slot};
use super::{Worker, convert, tap};
use crate::base::ids::{ParticipantId, TrackId};
use crate::base::limits::TRACKS_PER_PARTICIPANT_MAX;
use crate::room::mail::{
    Address, Answer, IceCredentials, Outgoing, Role, RoomLetter, RoomName, SlotOffer, ToGate,
    ToWorker, TrackOffer,
};
use crate::wire::signal::{
    ErrorCode, LeaveReason, OwnTrack, PublishLimits, RequestId, Source, TrackDescription,
};
use crate::wire::ufrag;
use crate::wire::{bandwidth, sdp};

/// To whoever offers what `str0m` has no answer for.
const UNANSWERABLE: &str = "an offer that cannot be answered";

/// [`crate::room::mail::PeerLetter::Offer`] as a value of its own.
pub(super) struct OfferLetter {
    pub address: Address,
    pub room: RoomName,
    pub role: Role,
    pub request: Option<RequestId>,
    pub sdp: String,
    pub tracks: Vec<TrackDescription>,
}

/// The most that Opus may take (RFC 6716 §2.1.1), in bit/s.
const OPUS_MAX: u64 = 510_000;

/// The offer as if it had declared no more than the limits allow, where there are any.
fn within(limits: &PublishLimits, tracks: &[TrackDescription], offer: String) -> String {
    if *limits == PublishLimits::default() {
        return offer;
    }
    bandwidth::with_limits(&offer, |kind, mid| match kind {
        "video" => match tracks.iter().find(|t| t.mid == mid).map(|t| t.source) {
            Some(Source::Screen) => limits.screen_bitrate,
            _ => limits.camera_bitrate,
        },
        "audio" => Some(OPUS_MAX),
        _ => None,
    })
}

impl Worker {
    /// Answers an offer, or says why not.
    pub(super) fn offer(&mut self, letter: OfferLetter, now: Instant) {
        let (session, request) = (letter.address.session, letter.request);
        let participant = letter.address.participant;
        self.at_work = AtWork::Room(letter.room.clone());
        let reply = match self.negotiate(letter, now) {
            Ok(answer) => ToGate::Answered { session, request, answer },
            Err(message) => {
                log::info!("refused an offer of {participant}: {message}");
                ToGate::Refused { session, request, code: ErrorCode::BadSdp, message }
            }
        };
        self.letters.push(Outgoing::Gate(reply));
    }

    fn negotiate(&mut self, letter: OfferLetter, now: Instant) -> Result<Answer, String> {
        let offer = sdp::gate_offer(&letter.sdp).map_err(|e| e.to_string())?;
        let plain = sdp::without_simulcast(&offer.text);
        let Some(parsed) = contained(|| SdpOffer::from_sdp_string(&plain)) else {
            self.counters.transport_faults += 1;
            return Err(UNANSWERABLE.into());
        };
        let parsed = parsed.map_err(|e| e.to_string())?;
        let participant = letter.address.participant;
        let old = self.by_participant.get(&participant).copied();
        // Another certificate is another RTCPeerConnection: its client began anew.
        let stays = old.filter(|key| self.peers[key.0].fingerprint == offer.fingerprint);
        // RFC 3264 §8: an m-line is stopped, never taken away. `str0m` would answer one too many.
        let before = stays.map_or(0, |key| sdp::m_lines(&self.peers[key.0].offer));
        if offer.mids.len() < before {
            return Err(format!("the offer before had {before} m-lines; none may go"));
        }
        let key = match stays {
            Some(key) => key,
            None => {
                if let Some(old) = old {
                    self.close(old, now);
                }
                self.add_peer(&letter, now)?
            }
        };
        let fresh = stays.is_none();
        self.at_work = AtWork::Peer(key);
        let peer = &mut self.peers[key.0];
        let answer = contained(|| {
            let answer = peer.rtc.sdp_api().accept_offer(parsed)?;
            Ok::<_, str0m::RtcError>(answer.to_sdp_string())
        });
        peer.broken = answer.is_none();
        self.counters.transport_faults += u64::from(peer.broken);
        let answer = match answer {
            Some(Ok(answer)) if sdp::mids(&answer).eq(offer.mids.iter().map(String::as_str)) => {
                answer
            }
            Some(Err(error)) => {
                if fresh {
                    self.close(key, now);
                }
                return Err(error.to_string());
            }
            // `str0m` left an m-line out, and what it now thinks was agreed fits nobody else; or
            // it panicked.
            Some(Ok(_)) | None => {
                match fresh {
                    true => self.close(key, now),
                    false => self.lose(key, LeaveReason::Closed, "its offer has no answer", now),
                }
                return Err(UNANSWERABLE.into());
            }
        };
        let answer = self.own_ice_credentials(key, answer);
        let peer = &mut self.peers[key.0];
        peer.fingerprint = offer.fingerprint;
        let text = within(&self.config.limits, &letter.tracks, offer.text);
        peer.declares(bandwidth::declared_bps(&text));
        peer.agree(text, &offer.mids);
        self.read_media(key, &offer.mids, &letter.tracks, now);
        for PeerTrack { id, muted, .. } in self.peers[key.0].tracks.clone() {
            self.set_muted(id, muted, now);
        }
        self.tell_room(key, fresh);
        self.tick(key, now);
        Ok(self.answer(key, answer))
    }

    fn add_peer(&mut self, letter: &OfferLetter, now: Instant) -> Result<PeerKey, String> {
        let creds = self.mint_credentials();
        let mut rtc = convert::rtc_config()
            .set_crypto_provider(self.config.crypto.provider.clone())
            .set_dtls_cert((*self.config.crypto.certificate).clone())
            .set_local_ice_credentials(creds.clone())
            .build(now);
        let keys = tap::take_slot();
        for address in &self.config.candidates {
            let candidate = Candidate::host(*address, "udp").map_err(|e| e.to_string())?;
            rtc.add_local_candidate(candidate);
        }
        let peer = Peer::new(
            letter.address,
            letter.room.clone(),
            letter.role.clone(),
            Transport {
                rtc: Box::new(rtc),
                credentials: creds.clone(),
                keys,
                ssrc: self.rng.next_u64() as u32,
            },
        );
        let key = PeerKey(self.peers.insert(peer));
        self.by_participant.insert(letter.address.participant, key);
        self.mux.add_ufrag(creds.ufrag, key);
        Ok(key)
    }

    fn mint_credentials(&mut self) -> IceCreds {
        IceCreds {
            ufrag: ufrag::mint(self.config.id, &mut self.rng),
            pass: ufrag::mint_pwd(&mut self.rng),
        }
    }

    /// An ICE restart gave the `Rtc` credentials of its own making; ours name the worker.
    fn own_ice_credentials(&mut self, key: PeerKey, answer: String) -> String {
        let current = self.peers[key.0].rtc.direct_api().local_ice_credentials();
        if current.ufrag == self.peers[key.0].credentials.ufrag {
            return answer;
        }
        let creds = self.mint_credentials();
        let peer = &mut self.peers[key.0];
        peer.rtc.direct_api().set_local_ice_credentials(creds.clone());
        self.mux.remove_ufrag(&peer.credentials.ufrag);
        peer.credentials = creds.clone();
        peer.paths.restart();
        log::info!("ice restart {:?} {}", peer.room, peer.address.participant);
        self.mux.add_ufrag(creds.ufrag.clone(), key);
        answer.replace(&current.ufrag, &creds.ufrag).replace(&current.pass, &creds.pass)
    }

    /// Brings tracks and slots in line with the m-lines.
    fn read_media(
        &mut self,
        key: PeerKey,
        mids: &[String],
        described: &[TrackDescription],
        now: Instant,
    ) {
        let mut tracks = Vec::new();
        let mut slots = Vec::new();
        let peer = &mut self.peers[key.0];
        let rids = sdp::encodings(&peer.offer);
        let mut old_slots = std::mem::take(&mut peer.slots);
        for (line, name) in mids.iter().enumerate() {
            let line = Line(line as u16);
            let mid = Mid::from(name.as_str());
            let Some(media) = peer.rtc.media(mid).filter(|m| !m.stopped()) else {
                continue;
            };
            let (kind, direction) = (convert::kind(media.kind()), media.direction());
            if direction.is_receiving()
                && peer.role.publishes()
                && tracks.len() < TRACKS_PER_PARTICIPANT_MAX
            {
                let description =
                    described.iter().find(|d| d.mid == *name && d.source.kind() == kind);
                let known = peer.tracks.iter().find(|t| t.mid == mid);
                tracks.push(PeerTrack {
                    id: known.map_or_else(|| TrackId::mint(&mut self.rng), |t| t.id),
                    mid,
                    name: name.clone(),
                    kind,
                    source: description.map_or(Source::of(kind), |d| d.source),
                    muted: description.is_some_and(|d| d.muted),
                    rids: rids
                        .iter()
                        .find(|(of, _)| of == name)
                        .map_or_else(Vec::new, |(_, r)| r.clone()),
                });
            }
            if direction.is_sending()
                && peer.role.subscribes()
                && let Some(agreed) = convert::agreed(&mut peer.rtc, mid, name, line)
            {
                slots.push(match old_slots.iter().position(|s| s.agreed.mid == mid) {
                    Some(at) => old_slots.swap_remove(at).with(agreed),
                    None => Slot::new(agreed, &mut self.rng, now),
                });
            }
        }
        peer.set_slots(slots);
        let old_tracks = std::mem::replace(&mut peer.tracks, tracks.clone());
        peer.streams.keep(&old_tracks, &tracks);
        for slot in old_slots {
            if let Some(track) = slot.track {
                self.tracks.unsubscribe(track.id, (key, slot.agreed.line));
            }
        }
        for track in &old_tracks {
            if !tracks.iter().any(|t| t.id == track.id) {
                self.unpublish(track.id);
            }
        }
        for track in &tracks {
            if !old_tracks.iter().any(|t| t.id == track.id) {
                self.tracks.publish(track.id, track.source, key);
            }
        }
    }

    fn tell_room(&mut self, key: PeerKey, fresh: bool) {
        let peer = &self.peers[key.0];
        let tracks = peer.tracks.iter().map(|t| TrackOffer {
            id: t.id,
            mid: t.name.clone(),
            kind: t.kind,
            source: t.source,
            muted: t.muted,
        });
        let slots = peer.slots.iter().map(|s| SlotOffer {
            mid: s.agreed.name.clone(),
            kind: s.agreed.kind,
            codecs: s.codec_list(),
        });
        let letter = RoomLetter::Negotiated {
            participant: peer.address.participant,
            fresh,
            tracks: tracks.collect(),
            slots: slots.collect(),
        };
        let letter = ToWorker::Room(peer.room.clone(), letter);
        self.letters.push(Outgoing::Worker(peer.address.home, letter));
    }

    fn answer(&mut self, key: PeerKey, answer: String) -> Answer {
        let Some(peer) = self.peers.get_mut(key.0) else {
            return Answer { sdp: answer, tracks: Vec::new(), ice: Default::default() };
        };
        let mut text = sdp::in_offered_order(&answer, &peer.offer);
        text = bandwidth::with_declared(&text, &peer.offer);
        text = sdp::with_simulcast(&text, &sdp::encodings(&peer.offer));
        text = sdp::with_candidates_everywhere(&text);
        if matches!(peer.role, Role::Whep { only: Some(_) }) {
            text = sdp::with_stream(&text, "trackyard");
        }
        let creds = peer.rtc.direct_api().local_ice_credentials();
        let ice = IceCredentials {
            ufrag: creds.ufrag,
            pwd: creds.pass,
            candidates: sdp::candidates(&text),
        };
        let own = |t: &PeerTrack| OwnTrack { mid: t.name.clone(), track: t.id };
        Answer { sdp: text, tracks: peer.tracks.iter().map(own).collect(), ice }
    }

    /// WHIP and WHEP restart ICE with a fragment: the offer as it was, with other credentials.
    pub(super) fn restart_ice(
        &mut self,
        participant: ParticipantId,
        ufrag: &str,
        pwd: &str,
        now: Instant,
    ) {
        let Some(key) = self.by_participant.get(&participant).copied() else {
            return;
        };
        let peer = &self.peers[key.0];
        let session = peer.address.session;
        let described = peer.tracks.iter().map(|t| TrackDescription {
            mid: t.name.clone(),
            source: t.source,
            muted: t.muted,
        });
        let letter = OfferLetter {
            address: peer.address,
            room: peer.room.clone(),
            role: peer.role.clone(),
            request: None,
            sdp: sdp::with_ice_credentials(&peer.offer, ufrag, pwd),
            tracks: described.collect(),
        };
        let result = self.negotiate(letter, now).map(|answer| answer.ice);
        self.letters.push(Outgoing::Gate(ToGate::Restarted { session, result }));
    }
}
