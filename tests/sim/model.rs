//! Who must be where and see whom, kept apart from the server and far simpler than it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use trackyard::wire::codec::Kind;

use super::browser::Browser;
use super::client::Client;
use super::net::ClientId;
use super::world::World;

/// What is seen and heard lately: a picture or a packet of sound in this time.
const LATELY: Duration = Duration::from_millis(1_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    Participant,
    Whip,
    /// Of all, or of one.
    Whep(Option<ClientId>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub room: String,
    pub role: As,
    /// What they send and have not muted.
    pub video: bool,
    pub audio: bool,
    pub video_muted: bool,
    pub audio_muted: bool,
}

impl Person {
    fn sends(&self, kind: Kind) -> bool {
        match kind {
            Kind::Video => self.video && !self.video_muted,
            Kind::Audio => self.audio && !self.audio_muted,
        }
    }
}

/// All who are meant to be there.
#[derive(Debug, Default, Clone)]
pub struct Model {
    pub people: BTreeMap<ClientId, Person>,
}

/// Client and whom they perceive.
pub type View = BTreeMap<ClientId, BTreeSet<(ClientId, Kind)>>;

fn name(id: ClientId) -> String {
    format!("n{id}")
}

impl Model {
    /// Whom `id` must see and hear, and nobody else.
    fn perceives(&self, id: ClientId) -> BTreeSet<(ClientId, Kind)> {
        let person = &self.people[&id];
        let only = match person.role {
            As::Participant => None,
            As::Whip => return BTreeSet::new(),
            As::Whep(only) => only,
        };
        let others = self.people.iter().filter(|(other, p)| {
            **other != id && p.room == person.room && only.is_none_or(|only| only == **other)
        });
        let kinds = [Kind::Video, Kind::Audio];
        others
            .flat_map(|(other, p)| kinds.into_iter().filter(|k| p.sends(*k)).map(|k| (*other, k)))
            .collect()
    }

    /// As it should be.
    pub fn view(&self) -> View {
        self.people.keys().map(|id| (*id, self.perceives(*id))).collect()
    }

    /// Names in the roster of a room, without `except`.
    fn roster(&self, room: &str, except: ClientId) -> BTreeSet<String> {
        let listed = self
            .people
            .iter()
            .filter(|(id, p)| p.room == room && **id != except && !matches!(p.role, As::Whep(_)));
        listed.map(|(id, _)| name(*id)).collect()
    }

    /// Error: what is not as it should be, the first of it.
    pub fn compare(&self, world: &World) -> Result<(), String> {
        for (id, person) in &self.people {
            let client = world.clients.get(id).ok_or(format!("{id} is not there"))?;
            if !client.is_settled() {
                return Err(format!("{id} is not connected"));
            }
            if let Client::Browser(browser) = client {
                self.compare_roster(*id, person, browser)?;
            }
            let (is, should) = (client.perceives(world.now, LATELY), self.perceives(*id));
            if is != should {
                return Err(format!("{id} perceives {is:?}, not {should:?}"));
            }
        }
        let census = world.server.gate.census();
        let people = self.people.len();
        if !(people..=people + world.hostile_sessions()).contains(&census.sessions) {
            return Err(format!("{} sessions for {} people", census.sessions, self.people.len()));
        }
        Ok(())
    }

    fn compare_roster(
        &self,
        id: ClientId,
        person: &Person,
        browser: &Browser,
    ) -> Result<(), String> {
        let names: BTreeSet<String> = browser.roster.values().map(|r| r.name.clone()).collect();
        let should = self.roster(&person.room, id);
        let hostile = |name: &String| name.starts_with("hostile");
        let names: BTreeSet<String> = names.into_iter().filter(|n| !hostile(n)).collect();
        if names != should {
            return Err(format!("{id} knows of {names:?}, not {should:?}"));
        }
        if browser.roster.len()
            != names.len() + browser.roster.values().filter(|r| hostile(&r.name)).count()
        {
            return Err(format!("{id} knows somebody twice: {:?}", browser.roster));
        }
        for remote in browser.roster.values().filter(|r| !hostile(&r.name)) {
            let other: ClientId = remote.name[1..].parse().expect("a name of ours");
            let other = &self.people[&other];
            for (kind, sent, muted) in [
                (Kind::Video, other.video, other.video_muted),
                (Kind::Audio, other.audio, other.audio_muted),
            ] {
                let known: Vec<bool> =
                    remote.tracks.values().filter(|t| t.kind == kind).map(|t| t.muted).collect();
                let should: Vec<bool> = sent.then_some(muted).into_iter().collect();
                if known != should {
                    return Err(format!(
                        "{id} knows of {}'s {kind:?} as {known:?}, not {should:?}",
                        remote.name
                    ));
                }
            }
        }
        Ok(())
    }
}
