//! A participant's slots, offers and mutes (`src/web/sdk/peer.js`, `publications.js`).

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};
use trackyard::wire::codec::Kind;

use super::{Asked, Browser, CONNECT, SPARE_SLOTS, Socket};
use crate::media::{Media, Sender};

impl Browser {
    pub(super) fn seat(&mut self, _now: Instant, slots: &Value) {
        self.table.clear();
        for slot in slots.as_array().into_iter().flatten() {
            if let (Some(mid), Some(track)) = (slot["mid"].as_str(), slot["track"].as_str()) {
                self.table.insert(mid.into(), track.into());
            }
        }
    }

    pub(super) fn unplaced(&self) -> (usize, usize) {
        let seated: BTreeSet<&String> = self.table.values().collect();
        let tracks = self.roster.values().flat_map(|r| &r.tracks);
        let open = tracks.filter(|(id, t)| !seated.contains(id) && !t.broken);
        open.fold((0, 0), |(audio, video), (_, t)| match t.kind {
            Kind::Audio => (audio + 1, video),
            Kind::Video => (audio, video + 1),
        })
    }

    /// Of the tracks that sit somewhere, how many are of that kind.
    pub(super) fn seated(&self, kind: Kind) -> usize {
        let known = |id: &String| self.roster.values().find_map(|r| r.tracks.get(id));
        self.table.values().filter_map(known).filter(|t| t.kind == kind).count()
    }

    pub(super) fn want_slots(&mut self, now: Instant) {
        let wanted = [
            (Kind::Audio, self.missing.0 + self.seated(Kind::Audio)),
            (Kind::Video, self.missing.1 + self.seated(Kind::Video)),
        ];
        self.want(now, wanted);
    }

    pub(super) fn want(&mut self, now: Instant, wanted: [(Kind, usize); 2]) {
        let Some(media) = &mut self.media else { return };
        for (kind, wanted) in wanted {
            let have = media.slot_count(kind);
            if have < wanted {
                media.add_slots(kind, wanted + SPARE_SLOTS - have);
                self.wants_round = true;
            }
        }
        self.pump(now);
    }

    // -- negotiating

    pub(super) fn rebuild(&mut self, now: Instant) {
        self.rebuilds += 1;
        let label = self.id;
        let mut media = Media::new(&self.crypto, label, self.local, now);
        if self.wishes.audio {
            media.add_sender(Kind::Audio, false);
        }
        if self.wishes.video {
            media.add_sender(Kind::Video, self.wishes.simulcast);
        }
        if let Some(mut old) = self.media.replace(media) {
            old.close(now);
            let media = self.media.as_mut().expect("just put there");
            media.outgoing.append(&mut old.outgoing);
        }
        self.own_mids.clear();
        (self.round, self.answered, self.was_up, self.restarts) = (false, false, false, 0);
        (self.origin, self.watch_at, self.state_seen) = (None, None, (false, false));
        self.waiting.retain(|_, (asked, _)| *asked != Asked::Offer);
        self.wants_round = true;
        let tracks = || self.roster.values().flat_map(|r| r.tracks.values());
        let count = |kind| tracks().filter(|t| t.kind == kind && !t.broken).count().max(1);
        let wanted = [(Kind::Audio, count(Kind::Audio)), (Kind::Video, count(Kind::Video))];
        self.want(now, wanted);
    }

    pub(super) fn ready(&self) -> bool {
        self.joined && !self.over && matches!(self.socket, Socket::Open(_))
    }

    pub(super) fn pump(&mut self, now: Instant) {
        let paused = self.pause_until.is_some_and(|until| now < until);
        if self.round || !self.wants_round || !self.ready() || paused {
            return;
        }
        self.pause_until = None;
        self.wants_round = false;
        let Some(media) = &mut self.media else { return };
        let Some(mut sdp) = media.offer(now) else { return };
        if self.lies_about_certificate {
            sdp = sdp.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:");
            let end = |line: &str| line.len().saturating_sub(3);
            let lines = sdp.lines().map(|l| match l.starts_with("a=fingerprint") {
                true => &l[..end(l)],
                false => l,
            });
            sdp = lines.flat_map(|l| [l, "\r\n"]).collect();
        }
        let describe = |sender: &Sender| {
            let (source, muted) = match sender.kind {
                Kind::Video => ("camera", self.wishes.video_muted),
                Kind::Audio => ("microphone", self.wishes.audio_muted),
            };
            (sender.mid.to_string(), source, muted)
        };
        let tracks: Vec<_> = media.senders.iter().map(describe).collect();
        self.own_mids = tracks.iter().map(|(mid, _, muted)| (mid.clone(), *muted)).collect();
        let tracks: Vec<_> = tracks
            .into_iter()
            .map(|(mid, source, muted)| json!({"mid": mid, "source": source, "muted": muted}))
            .collect();
        self.round = true;
        self.request(now, Asked::Offer, json!({"type": "offer", "sdp": sdp, "tracks": tracks}));
    }

    pub(super) fn take_answer(&mut self, now: Instant, answer: &Value) {
        self.round = false;
        self.refusals = 0;
        let sdp = answer["sdp"].as_str().expect("an answer has a description");
        let origin = sdp.lines().find(|l| l.starts_with("o=")).map(str::to_owned);
        let forgotten = self.origin.is_some() && self.origin != origin;
        self.origin = origin;
        if forgotten {
            self.rebuild(now);
            return;
        }
        let Some(media) = &mut self.media else { return };
        if let Err(error) = media.answer(sdp) {
            self.complaints.push(format!("an answer that does not fit: {error}: {sdp}"));
            return;
        }
        media.poll(now);
        if !std::mem::replace(&mut self.answered, true) && !media.up() {
            self.watch_at = Some(now + CONNECT);
        }
        if media.has_news() {
            self.wants_round = true;
        }
        self.say_mutes(now);
        self.pump(now);
    }

    /// Tells the server of mutes that it does not know of.
    pub(super) fn say_mutes(&mut self, now: Instant) {
        let wishes = self.wishes;
        let Some(media) = &mut self.media else { return };
        let mut news = Vec::new();
        for sender in &mut media.senders {
            let muted = match sender.kind {
                Kind::Video => wishes.video_muted,
                Kind::Audio => wishes.audio_muted,
            };
            (sender.muted, sender.sly) = (muted, wishes.sly);
            sender.moving = wishes.moving;
            let said = self.own_mids.get_mut(&sender.mid.to_string());
            if let Some(said) = said.filter(|said| **said != muted) {
                *said = muted;
                news.push((sender.mid.to_string(), muted));
            }
        }
        if !self.ready() {
            // Said after the resume.
            news.iter().for_each(|(mid, muted)| {
                self.own_mids.insert(mid.clone(), !muted);
            });
            return;
        }
        for (mid, muted) in news {
            let message = json!({"type": "update", "mid": mid, "muted": muted});
            self.unconfirmed.insert(self.next_request, (mid, muted));
            self.request(now, Asked::Update, message);
        }
    }
}
