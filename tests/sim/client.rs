//! Whoever is at the other end of the network.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trackyard::wire::codec::Kind;

use super::browser::{Ask, Browser};
use super::conns::Down;
use super::hostile::{Liar, never};
use super::http::Http;
use super::media::Media;
use super::net::ClientId;

pub enum Client {
    Browser(Box<Browser>),
    Http(Box<Http>),
    Liar(Box<Liar>),
}

impl Client {
    pub fn room(&self) -> &str {
        match self {
            Client::Browser(browser) => &browser.room,
            Client::Http(http) => &http.room,
            Client::Liar(liar) => &liar.room,
        }
    }

    pub fn browser(&self) -> Option<&Browser> {
        match self {
            Client::Browser(browser) => Some(browser),
            Client::Http(_) | Client::Liar(_) => None,
        }
    }

    pub fn media(&self) -> Option<&Media> {
        match self {
            Client::Browser(browser) => browser.media.as_ref(),
            Client::Http(http) => http.media.as_ref(),
            Client::Liar(_) => None,
        }
    }

    pub fn media_mut(&mut self) -> Option<&mut Media> {
        match self {
            Client::Browser(browser) => browser.media.as_mut(),
            Client::Http(http) => http.media.as_mut(),
            Client::Liar(_) => None,
        }
    }

    /// Signalling and media are up.
    pub fn is_settled(&self) -> bool {
        match self {
            Client::Browser(browser) => browser.is_settled(),
            Client::Http(http) => http.is_settled(),
            Client::Liar(_) => true,
        }
    }

    /// Whose picture and sound came in the last `window`.
    pub fn perceives(&self, now: Instant, window: Duration) -> BTreeSet<(ClientId, Kind)> {
        self.media().map(|m| m.perceives(now, window)).unwrap_or_default()
    }

    pub fn set_moving(&mut self, moving: bool) {
        match self {
            Client::Browser(browser) => browser.wishes.moving = moving,
            Client::Http(http) => http.moving = moving,
            Client::Liar(_) => {}
        }
    }

    pub fn receive(
        &mut self,
        now: Instant,
        (source, local): (SocketAddr, SocketAddr),
        bytes: &[u8],
    ) {
        if let Some(media) = self.media_mut().filter(|m| m.local == local) {
            media.receive(now, source, bytes);
        }
        self.poll(now);
    }

    pub fn signalling(&mut self, now: Instant, name: u64, down: Down) {
        match (self, down) {
            (Client::Browser(browser), Down::Opened) => browser.on_open(now, name),
            (Client::Browser(browser), Down::Text(text)) => browser.on_text(now, name, &text),
            (Client::Browser(browser), Down::Closed | Down::Response(_)) => {
                browser.on_close(now, name)
            }
            (Client::Http(http), Down::Response(response)) => {
                http.on_response(now, name, &response)
            }
            (Client::Http(http), _) => http.on_close(now, name),
            (Client::Liar(liar), Down::Opened) => liar.on_open(),
            (Client::Liar(liar), Down::Text(_)) => liar.on_text(),
            (Client::Liar(_), _) => {}
        }
    }

    pub fn change_network(&mut self, now: Instant, local: SocketAddr) {
        match self {
            Client::Browser(browser) => browser.change_network(now, local),
            Client::Http(http) => http.change_network(now, local),
            Client::Liar(_) => {}
        }
    }

    pub fn leave(&mut self, now: Instant) {
        match self {
            Client::Browser(browser) => browser.leave(now),
            Client::Http(http) => http.leave(now),
            Client::Liar(liar) => liar.asks.push(Ask::Close(1, 1_000)),
        }
    }

    pub fn poll(&mut self, now: Instant) {
        match self {
            Client::Browser(browser) => browser.poll(now),
            Client::Http(http) => http.poll(now),
            Client::Liar(_) => {}
        }
    }

    pub fn deadline(&self) -> Instant {
        match self {
            Client::Browser(browser) => browser.deadline(),
            Client::Http(http) => http.deadline(),
            Client::Liar(_) => never(super::epoch()),
        }
    }

    pub fn take_asks(&mut self) -> Vec<Ask> {
        match self {
            Client::Browser(browser) => std::mem::take(&mut browser.asks),
            Client::Http(http) => std::mem::take(&mut http.asks),
            Client::Liar(liar) => {
                let said = liar.say.drain(..).map(|up| Ask::Say(1, up));
                let mut asks: Vec<Ask> = said.collect();
                asks.append(&mut liar.asks);
                asks
            }
        }
    }

    pub fn take_datagrams(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let outgoing = self.media_mut().map(|m| std::mem::take(&mut m.outgoing));
        let outgoing = outgoing.unwrap_or_default();
        outgoing.into_iter().map(|(local, _, bytes)| (local, bytes)).collect()
    }
}
