//! One person at a microphone: 20 ms of sound at a time, as a browser tells its level.

use super::*;

/// What is behind the voice, in -dBov.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Room {
    Quiet(u8),
    /// A fan, or a street.
    Loud(u8),
    /// Noise is taken out: digital silence.
    Suppressed,
    /// Nothing is sent but a packet of comfort noise every 400 ms.
    Dtx(u8),
}

pub struct Person {
    pub rng: Rng,
    pub room: Room,
    /// Loudest of the voice, in -dBov.
    pub voice: u8,
    /// Has something to say.
    pub talks: bool,
    /// Coughs, clicks, yes and no, one in so many frames.
    pub fidgets: u64,
    pub types: bool,
    /// What is sounding: frames left, and how loud.
    pub event: (u64, u8),
    /// Frames left of this syllable's sound, and then of its gap; and of this phrase, and the pause.
    syllable: (u64, u64),
    phrase: (u64, u64),
    frame: u64,
}

impl Person {
    pub fn new(rng: &mut Rng) -> Person {
        let mut rng = rng.fork();
        let room = match between(&mut rng, 0, 10) {
            0 | 1 => Room::Loud(between(&mut rng, 40, 50) as u8),
            2 | 3 => Room::Suppressed,
            4 | 5 => Room::Dtx(between(&mut rng, 60, 80) as u8),
            _ => Room::Quiet(between(&mut rng, 60, 95) as u8),
        };
        let voice = match room {
            Room::Loud(noise) => noise - between(&mut rng, 20, 25) as u8,
            _ => between(&mut rng, 18, 38) as u8,
        };
        let (fidgets, types) = (3_000, chance(&mut rng, 10));
        let idle = (0, 0);
        Person {
            rng,
            room,
            voice,
            talks: false,
            fidgets,
            types,
            event: idle_event(),
            syllable: idle,
            phrase: idle,
            frame: 0,
        }
    }

    /// Begins to talk, with a syllable.
    pub fn begin(&mut self) {
        self.talks = true;
        (self.phrase, self.syllable) = ((0, 0), (0, 0));
    }

    /// The next 20 ms: a level and a voice bit, if a packet is sent.
    pub fn sound(&mut self) -> Option<(u8, bool)> {
        self.frame += 1;
        let voice = self.talks.then(|| self.talk()).flatten();
        let noise = self.noise();
        let loudest = voice.into_iter().chain(self.event()).min();
        match (self.room, loudest) {
            (Room::Dtx(_), None) => self.frame.is_multiple_of(20).then_some((noise, false)),
            (_, None) => Some((noise, true)),
            (_, Some(level)) => Some((level.min(noise), true)),
        }
    }

    fn noise(&mut self) -> u8 {
        match self.room {
            Room::Suppressed => 127,
            Room::Quiet(level) | Room::Loud(level) | Room::Dtx(level) => {
                (u64::from(level) + between(&mut self.rng, 0, 5) - 2) as u8
            }
        }
    }

    /// The level of the voice; `None` in a pause.
    fn talk(&mut self) -> Option<u8> {
        let rng = &mut self.rng;
        if self.phrase == (0, 0) {
            self.phrase = (between(rng, 60, 200), between(rng, 10, 35));
            self.syllable = (0, 0);
        }
        if self.phrase.0 == 0 {
            self.phrase.1 -= 1;
            return None;
        }
        self.phrase.0 -= 1;
        // Four syllables a second, two thirds of each of them sounds.
        if self.syllable == (0, 0) {
            self.syllable = (between(rng, 6, 12), between(rng, 2, 6));
        }
        let level = u64::from(self.voice);
        if self.syllable.0 > 0 {
            self.syllable.0 -= 1;
            return Some((level + between(rng, 0, 7)) as u8);
        }
        self.syllable.1 -= 1;
        Some((level + between(rng, 12, 26)) as u8)
    }

    /// What is no speech, or hardly.
    fn event(&mut self) -> Option<u8> {
        let rng = &mut self.rng;
        if self.event.0 == 0 && chance(rng, self.fidgets) {
            self.event = match between(rng, 0, 4) {
                // A cough, a door, a yes.
                0 => (between(rng, 6, 16), between(rng, 15, 30) as u8),
                1 => (between(rng, 1, 5), between(rng, 15, 40) as u8),
                _ => (between(rng, 8, 16), between(rng, 20, 40) as u8),
            };
        }
        if self.event.0 == 0 && self.types && chance(rng, 8) {
            self.event = (between(rng, 1, 3), between(rng, 40, 56) as u8);
        }
        if self.event.0 == 0 {
            return None;
        }
        self.event.0 -= 1;
        Some((u64::from(self.event.1) + between(rng, 0, 4)) as u8)
    }
}

fn idle_event() -> (u64, u8) {
    (0, 0)
}
