//! On healthy links every subscription has its keyframe in time, and its picture goes on whatever
//! others do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use trackyard::base::limits::KEYFRAME_REQUEST_INTERVAL;
use trackyard::wire::codec::Kind;

use super::client::Client;
use super::media::{SOUND_EVERY, VIDEO_EVERY};
use super::model::Model;
use super::net::{ClientId, Quality};
use super::world::World;

/// How often the run looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// From when a slot holds a track and both ends are connected until it is seen or heard: a request
/// may have left just before, to be repeated only then; one goes to the publisher, whose next
/// frame comes to the subscriber; and turns of the server's threads lie between.
fn in_time() -> Duration {
    let way = Quality::GOOD.delay + Quality::GOOD.jitter;
    let next = VIDEO_EVERY.max(SOUND_EVERY);
    KEYFRAME_REQUEST_INTERVAL + 4 * way + next + LOOK_EVERY + Duration::from_millis(10)
}

/// Who sees or hears what of whom.
type Subscription = (ClientId, ClientId, Kind);

#[derive(Debug, Default)]
pub struct Watch {
    /// Since when it should be there.
    since: BTreeMap<Subscription, Instant>,
    /// Whose link or doing explains a black picture.
    unwell: BTreeSet<ClientId>,
    all_unwell: bool,
    /// How many came in time, and the longest that one took.
    pub judged: u64,
    pub longest: Duration,
    fresh: BTreeSet<Subscription>,
}

impl Watch {
    /// Something breaks at one client.
    pub fn excuse(&mut self, id: ClientId) {
        self.unwell.insert(id);
    }

    /// Something breaks for everybody.
    pub fn excuse_all(&mut self) {
        self.all_unwell = true;
    }

    /// All is well again, and begins anew.
    pub fn begin(&mut self) {
        self.since.clear();
        self.fresh.clear();
        self.unwell.clear();
        self.all_unwell = false;
    }

    pub fn look(&mut self, world: &World, model: &Model) {
        if self.all_unwell {
            return self.since.clear();
        }
        let mut due = BTreeSet::new();
        for (id, perceived) in model.view() {
            for (other, kind) in perceived {
                if self.holds(world, (id, other, kind)) {
                    due.insert((id, other, kind));
                }
            }
        }
        self.since.retain(|subscription, _| due.contains(subscription));
        self.fresh.retain(|subscription| due.contains(subscription));
        for subscription in due {
            self.judge(world, subscription);
        }
    }

    fn judge(&mut self, world: &World, subscription: Subscription) {
        let (id, other, kind) = subscription;
        let since = *self.since.entry(subscription).or_insert_with(|| {
            self.fresh.insert(subscription);
            world.now
        });
        let waited = world.now - since;
        let there = world.clients[&id].perceives(world.now, in_time()).contains(&(other, kind));
        if there && self.fresh.remove(&subscription) {
            self.judged += 1;
            self.longest = self.longest.max(waited);
        }
        let late = waited > in_time() && !there;
        assert!(!late, "{id} has had no {kind:?} of {other} in {:?}", in_time());
    }

    /// The slot is there, both ends are connected, and nothing broke.
    fn holds(&self, world: &World, (id, other, kind): Subscription) -> bool {
        let well = |id| {
            let client = world.clients.get(&id);
            !self.unwell.contains(&id) && client.is_some_and(Client::is_settled)
        };
        well(id) && well(other) && seated(&world.clients[&id], other, kind)
    }
}

/// Whether a participant was told where it receives that track, and that it is not muted; whoever
/// plays by WHEP is told nothing.
fn seated(client: &Client, other: ClientId, kind: Kind) -> bool {
    let Some(browser) = client.browser() else { return true };
    let name = format!("n{other}");
    let remotes = browser.roster.values().filter(|r| r.name == name);
    let mut tracks = remotes.flat_map(|r| &r.tracks).filter(|(_, t)| t.kind == kind && !t.muted);
    tracks.any(|(id, _)| browser.table.values().any(|seated| seated == id))
}
