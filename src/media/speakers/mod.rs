//! Who speaks in a room, whom to show, and whom to hear.
//!
//! After Volfin and Cohen, "Dominant speaker identification for multipoint videoconferencing" (2012):
//! a voice is judged over three times, and whoever is to be shown instead of another has to be ahead
//! in them. What they count in bands of the spectrum is counted here in frames that are louder than
//! the track's own noise, since a server knows levels and no sound ([`Levels`]). Their scores rise
//! with these counts, so counts are compared, and their ratios stand for the differences of scores;
//! their decisions are 300 ms apart, these 40 ms, so that a turn is seen within half a second. All
//! numbers without a source were chosen by the simulated meetings of the tests.

mod levels;
mod voice;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

pub use self::levels::{ABOVE_NOISE_DB, Levels, NOISE_MAX, NOISE_PACKETS, Summary, VOICE_MIN};
use self::voice::Voice;
use crate::base::ids::TrackId;

/// What time is counted in: a packet of Opus.
pub const FRAME: Duration = Duration::from_millis(20);
/// In a second.
const FRAMES_PER_SECOND: u32 = 50;
/// A report is about at most so many frames. More hide when in them the voice was; fewer are more
/// letters between workers.
pub const FRAMES_PER_REPORT_MAX: u8 = 10;
/// Decisions are so far apart. Shorter costs a walk over the room's tracks each; longer shows a new
/// speaker later.
pub const DECISION_INTERVAL: Duration = Duration::from_millis(40);

/// Whoever begins to speak counts as speaking after so many frames with a voice of the last ten.
/// Higher is late; lower lights up at every click.
const SPEAKING_FRAMES: u32 = 5;
/// And no more after so long without. Longer lags; shorter goes out between two words.
pub const SPEAKING_HOLD: Duration = Duration::from_millis(700);

/// Whoever is to become dominant needs so many frames with a voice in the last half second: a cough
/// and a yes have fewer. Higher is later than half a second; lower follows each cough.
const DOMINANT_FRAMES: u32 = 16;

/// As many are heard of a room. With fewer tracks all are, and nothing of this matters.
pub const HEARD_MAX: usize = 20;
/// Whoever came in or had a voice less than so long ago keeps the place against those as loud. Longer
/// leaves fewer places for the next; shorter cuts off who takes a breath.
pub const HEARD_HOLD: Duration = Duration::from_secs(3);
/// A voice that is louder by so many decibels takes the place of one that speaks.
const LOUDER_DB: u8 = 6;

/// Somebody who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speaking {
    pub track: TrackId,
    /// Of late, in -dBov.
    pub level: u8,
}

/// What a decision changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changes<'a> {
    /// [`Speakers::dominant`] is another one.
    pub dominant: bool,
    /// Somebody began or ended to speak.
    pub speaking: bool,
    /// From now on to be forwarded to everybody, or no more.
    pub heard: &'a [TrackId],
    pub unheard: &'a [TrackId],
}

/// The voices of one room.
#[derive(Debug)]
pub struct Speakers {
    voices: Vec<Voice>,
    places: HashMap<TrackId, usize>,
    dominant: Option<TrackId>,
    heard_max: usize,
    /// In `voices`, of those who sounded lately, and of those who are heard while others are let in.
    sounding: Vec<usize>,
    places_heard: Vec<usize>,
    /// There may be more places than are heard.
    vacant: bool,
    next: Option<Instant>,
    decided: Option<Instant>,
    /// Since the last decision.
    dominant_left: bool,
    speaking_left: bool,
    heard: Vec<TrackId>,
    unheard: Vec<TrackId>,
}

impl Speakers {
    /// Of an empty room, of which as many tracks are heard at a time.
    pub fn new(heard_max: usize) -> Speakers {
        Speakers {
            voices: Vec::new(),
            places: HashMap::new(),
            dominant: None,
            heard_max,
            sounding: Vec::new(),
            places_heard: Vec::new(),
            vacant: false,
            next: None,
            decided: None,
            dominant_left: false,
            speaking_left: false,
            heard: Vec::new(),
            unheard: Vec::new(),
        }
    }

    /// An audio track was published. It is heard if there is room.
    pub fn add(&mut self, track: TrackId, now: Instant) {
        if self.places.contains_key(&track) {
            return;
        }
        self.places.insert(track, self.voices.len());
        self.voices.push(Voice::new(track, now));
        self.vacant = true;
        self.decide_by(now);
    }

    /// An audio track is gone, and forgotten.
    pub fn remove(&mut self, track: TrackId, now: Instant) {
        self.silence(track, now);
        let Some(place) = self.places.remove(&track) else { return };
        if place >= self.voices.len() {
            return;
        }
        self.voices.swap_remove(place);
        self.vacant = true;
        if let Some(moved) = self.voices.get(place) {
            self.places.insert(moved.track, place);
        }
        self.decide_by(now);
    }

    /// A track was muted: at once it neither speaks nor dominates.
    pub fn silence(&mut self, track: TrackId, now: Instant) {
        let Some(voice) = self.voice(track) else { return };
        let spoke = voice.silence();
        self.speaking_left |= spoke;
        if self.dominant == Some(track) {
            self.dominant = None;
            self.dominant_left = true;
        }
        self.decide_by(now);
    }

    /// A track's [`Levels::take`], or what one packet of it said. One that is not known is ignored:
    /// reports overtake the letters of those who leave.
    pub fn report(&mut self, track: TrackId, summary: Summary, now: Instant) {
        let Some(voice) = self.voice(track) else { return };
        voice.hear(summary, now);
        // Reports of all workers come at about the same time.
        let gathered = now + FRAME;
        let next = self.decided.map_or(gathered, |at| gathered.max(at + DECISION_INTERVAL));
        self.decide_by(next);
    }

    fn voice(&mut self, track: TrackId) -> Option<&mut Voice> {
        self.voices.get_mut(*self.places.get(&track)?)
    }

    fn decide_by(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// When [`Self::decide`] has something to do; `None` while all are silent.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Who is shown large: the last one who clearly had the word. `None` before anybody spoke, and
    /// when that one is gone.
    pub fn dominant(&self) -> Option<TrackId> {
        self.dominant
    }

    /// Who speaks now, in no order.
    pub fn speaking(&self) -> impl Iterator<Item = Speaking> {
        let speaking = self.voices.iter().filter(|voice| voice.speaking);
        speaking.map(|voice| Speaking { track: voice.track, level: voice.level() })
    }

    /// Whether a track is to be forwarded to everybody, as was last decided.
    pub fn is_heard(&self, track: TrackId) -> bool {
        let voice = self.places.get(&track).and_then(|place| self.voices.get(*place));
        voice.is_some_and(|voice| voice.heard)
    }

    /// Who is to be forwarded to everybody, in no order.
    pub fn heard(&self) -> impl Iterator<Item = TrackId> {
        self.voices.iter().filter(|voice| voice.heard).map(|voice| voice.track)
    }

    /// Decides on all that was reported, if it is time.
    pub fn decide(&mut self, now: Instant) -> Changes<'_> {
        self.heard.clear();
        self.unheard.clear();
        let due = self.next.is_some_and(|next| next <= now);
        let (mut dominant, mut speaking) = (false, false);
        if due {
            dominant = std::mem::take(&mut self.dominant_left);
            speaking = std::mem::take(&mut self.speaking_left);
            self.sounding.clear();
            for (place, voice) in self.voices.iter_mut().enumerate() {
                speaking |= voice.advance(now);
                if voice.sounds() {
                    self.sounding.push(place);
                }
            }
            dominant |= self.elect();
            self.admit(now);
            self.next = (!self.sounding.is_empty()).then_some(now + DECISION_INTERVAL);
            self.decided = Some(now);
        }
        Changes { dominant, speaking, heard: &self.heard, unheard: &self.unheard }
    }

    /// Chooses who is dominant; says whether that is another one.
    fn elect(&mut self) -> bool {
        let holder = self.dominant.and_then(|track| self.voices.get(*self.places.get(&track)?));
        let leads = |voice: &&Voice| {
            voice.medium() >= DOMINANT_FRAMES && holder.is_none_or(|holder| voice.leads(holder))
        };
        let sounding = self.sounding.iter().filter_map(|place| self.voices.get(*place));
        let best = sounding.filter(leads).max_by_key(|v| (v.medium(), !v.level()));
        let Some(best) = best else { return false };
        self.dominant = Some(best.track);
        true
    }

    /// Lets voices in that are not heard, for those that can do without.
    fn admit(&mut self, now: Instant) {
        let is_newcomer = |place: &usize| self.voices.get(*place).is_some_and(Voice::is_newcomer);
        let newcomers = self.sounding.iter().any(is_newcomer);
        if !newcomers && !self.vacant {
            return;
        }
        let places = self.voices.iter().enumerate().filter(|(_, voice)| voice.heard);
        self.places_heard.clear();
        self.places_heard.extend(places.map(|(place, _)| place));
        for at in 0..self.sounding.len() {
            let Some(place) = self.sounding.get(at).copied() else { continue };
            self.let_in(place, now);
        }
        if std::mem::take(&mut self.vacant) {
            (0..self.voices.len()).for_each(|place| self.let_in(place, now));
        }
    }

    /// Lets one in, if there is room or it is a newcomer who gets another one's place.
    fn let_in(&mut self, place: usize, now: Instant) {
        let Some(voice) = self.voices.get(place).filter(|voice| !voice.heard) else { return };
        if self.places_heard.len() < self.heard_max {
            self.places_heard.push(place);
        } else if voice.is_newcomer() {
            let victim = self.victim(voice.level(), now);
            let Some(at) = victim.and_then(|at| self.places_heard.get_mut(at)) else { return };
            let gone = std::mem::replace(at, place);
            if let Some(gone) = self.voices.get_mut(gone) {
                gone.heard = false;
                self.unheard.push(gone.track);
            }
        } else {
            return;
        }
        if let Some(voice) = self.voices.get_mut(place) {
            (voice.heard, voice.heard_since) = (true, now);
            self.heard.push(voice.track);
        }
    }

    /// Whose place a voice of that level gets: who was silent for longest, or else the softest. A
    /// place in `places_heard`.
    fn victim(&self, level: u8, now: Instant) -> Option<usize> {
        let heard = self.places_heard.iter().enumerate();
        let heard = heard.filter_map(|(at, place)| Some((at, self.voices.get(*place)?)));
        let settled = heard.filter(|(_, voice)| {
            let since = now.saturating_duration_since(voice.heard_since);
            since >= HEARD_HOLD && Some(voice.track) != self.dominant
        });
        let (mut longest, mut softest) = (None, None);
        for (at, voice) in settled {
            let silent = voice.silent_for(now);
            if silent >= HEARD_HOLD {
                longest = longest.max(Some((silent, at)));
            } else if voice.level() >= level.saturating_add(LOUDER_DB) {
                softest = softest.max(Some((voice.level(), at)));
            }
        }
        longest.map(|(_, at)| at).or(softest.map(|(_, at)| at))
    }
}
