//! What must hold while nothing is under way, and what is left when all have gone.

use std::time::Duration;

use super::World;
use crate::net::ClientId;

impl World {
    /// A number for somebody of whom the model does not know.
    pub fn mint_hostile(&mut self) -> ClientId {
        self.hostile += 1;
        1_000_000 + self.hostile
    }

    /// Sessions that those may have.
    pub fn hostile_sessions(&self) -> usize {
        self.hostile as usize
    }

    /// Nobody is there, and nothing of them.
    pub fn is_empty(&self) -> bool {
        let workers = self.server.threads.iter().all(|t| t.worker.census() == Default::default());
        workers && self.server.gate.census() == Default::default() && self.conns.open_here() == 0
    }

    /// What must hold while nothing is under way.
    pub fn check_calm(&mut self) {
        let settled = |world: &World| {
            let post = world.server.post;
            post.sent == post.received + post.dropped
        };
        let mut tries = 0;
        while !settled(self) {
            tries += 1;
            assert!(tries < 5_000, "letters were lost: {:?}", self.server.post);
            self.run_for(Duration::from_millis(1));
        }
        let counters = self.server.threads.iter_mut().map(|t| *t.worker.counters_mut());
        let seen = counters
            .fold((0, 0), |(panics, faults), c| (panics + c.panics, faults + c.transport_faults));
        let planted = (self.poisoned, self.broken);
        assert!(seen.0 <= planted.0 && seen.1 <= planted.1, "panics: {seen:?} of {planted:?}");
        for (id, client) in &self.clients {
            let faults = client.media().map(|m| m.faults()).unwrap_or_default();
            assert!(faults.is_empty(), "{id} was sent what no decoder can show: {faults:?}");
            if let Some(browser) = client.browser().filter(|b| !b.lies_about_certificate) {
                assert!(browser.complaints.is_empty(), "{id}: {:?}", browser.complaints);
            }
        }
    }

    /// The simulator itself forgets what it need not know any more, so that what is live is the
    /// server's and its clients'.
    pub fn forget_the_past(&mut self) {
        self.observer.forget(&self.clients.keys().copied().collect());
        self.queue.shrink_to_fit();
        self.server.threads.iter_mut().for_each(|t| t.socket.shrink_to_fit());
    }

    /// For whoever has to find out why.
    pub fn describe(&mut self) -> String {
        let mut text = format!("{:?}, {:?}\n", self.server.gate.census(), self.server.post);
        for thread in &mut self.server.threads {
            text += &format!("{:?}\n{:?}\n", thread.worker.census(), thread.worker.counters_mut());
        }
        for (id, client) in &self.clients {
            text += &format!("{id}: settled {}, {:?}\n", client.is_settled(), self.net.link(*id));
            if let Some(media) = client.media() {
                text += &format!("  {}\n", media.describe());
            }
            if let Some(browser) = client.browser() {
                text += &format!("  {}\n", browser.describe());
            }
        }
        text
    }
}
