//! What passes between clients and server: datagrams over lossy links, signalling in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use trackyard::gate::{CloseReason, ConnId, GateInput};
use trackyard::worker::Datagram;

use super::{Event, World};
use crate::client::Client;
use crate::conns::{Down, Up};
use crate::lies::{Lie, Tongue};
use crate::net::{ClientId, Way};
use crate::server::Thread;

/// Between two datagrams of a flood.
const LIES_EVERY: Duration = Duration::from_millis(20);

impl World {
    pub(super) fn transmit(&mut self, transmit: Datagram) {
        let Datagram { remote, bytes, .. } = transmit;
        self.observer.sent(self.server_now(), remote, &bytes);
        self.trace.packet(self.now, [1, remote.port().into(), bytes.len() as u64]);
        if self.chance.u32(..1_000) < self.socket_failures {
            self.socket_failed += 1;
            return;
        }
        let Some((id, _)) = self.net.inward(remote) else { return };
        for at in self.passage(id, Way::Down) {
            self.push(at, Event::ToClient { remote, bytes: bytes.clone() });
        }
    }

    /// When copies of a datagram arrive at the other end of a client's link. On one that does not
    /// reorder, what is late makes what follows as late.
    fn passage(&mut self, id: ClientId, way: Way) -> Vec<Instant> {
        let Some(link) = self.net.link_mut(id) else { return Vec::new() };
        if link.cut.is_some() || link.udp_blocked {
            return Vec::new();
        }
        let quality = link.quality;
        let mut roll = |of: u32| of > 0 && self.chance.u32(..1_000) < of;
        if roll(quality.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(roll(quality.duplication));
        let late = if roll(quality.reorder) { Duration::from_millis(30) } else { Duration::ZERO };
        let latest = link.latest.entry(way).or_insert(self.now);
        let arrival = |_| {
            let jitter = self.chance.u64(..=quality.jitter.as_micros() as u64);
            let at = self.now + quality.delay + Duration::from_micros(jitter) + late;
            if quality.reorder > 0 {
                return at;
            }
            *latest = at.max(*latest);
            *latest
        };
        (0..copies).map(arrival).collect()
    }

    /// A datagram is sent to the server from a public address, whoever sends it.
    pub fn inject(&mut self, remote: SocketAddr, bytes: Vec<u8>) {
        let at = self.now + Duration::from_millis(5);
        self.push(at, Event::ToServer { remote, bytes });
    }

    pub(super) fn arrive(&mut self, remote: SocketAddr, bytes: Vec<u8>) {
        self.observer.received(self.server_now(), remote, &bytes);
        self.trace.packet(self.now, [0, remote.port().into(), bytes.len() as u64]);
        // As SO_REUSEPORT does: by the source, never by the owner.
        let hash = u64::from(remote.port()).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let at = (hash % self.server.threads.len() as u64) as usize;
        self.server.arrive(at, remote, bytes);
        let soon = self.soon();
        self.schedule(Thread::Worker(at), soon);
    }

    // -- signalling

    pub(super) fn tell_gate(&mut self, inputs: Vec<GateInput>) {
        let turn = self.server.gate_turn(self.now + self.skew, inputs);
        self.finish(Thread::Gate, turn);
    }

    pub(super) fn gate_paused(&self) -> Option<Instant> {
        let paused = self.schedules.get(&Thread::Gate)?.paused?;
        (paused > self.now).then_some(paused)
    }

    pub(super) fn signalling_up(&mut self, conn: ConnId, up: Up) {
        if let Some(until) = self.gate_paused() {
            self.push(until, Event::Up(conn, up));
            return;
        }
        if let Some(id) = self.conns.owner(conn)
            && self.net.link(id).is_some_and(|l| l.cut.is_some())
        {
            self.conns.hold_up(conn, up);
            return;
        }
        self.trace.note(self.now, "up", format_args!("{conn:?} {}", up.summary()));
        let inputs = self.conns.arrived(self.now, conn, up);
        if !inputs.is_empty() {
            self.tell_gate(inputs);
        }
    }

    pub(super) fn signalling_down(&mut self, conn: ConnId, down: Down) {
        let Some(id) = self.conns.owner(conn) else { return };
        if self.net.link(id).is_some_and(|l| l.cut.is_some()) {
            self.conns.hold_down(conn, down);
            return;
        }
        if self.conns.is_stalled(conn) && matches!(down, Down::Text(_)) {
            self.conns.hold_down(conn, down);
            return self.after_conns();
        }
        self.trace.note(self.now, "down", format_args!("{conn:?} {}", down.summary()));
        let Some(down) = self.conns.delivered(conn, down) else { return };
        if let Some(client) = self.clients.get_mut(&id) {
            client.signalling(self.now, self.conns.name(conn), down);
            self.after_client(id);
        }
    }

    pub(super) fn look_for_silence(&mut self, conn: ConnId) {
        let owner = self.conns.owner(conn);
        let cut = owner.and_then(|id| self.net.link(id)).and_then(|link| link.cut);
        let reached = cut.unwrap_or(self.now);
        if let Some(reason) = self.conns.silent(self.now, conn, reached) {
            self.trace.note(self.now, "silent", format_args!("{conn:?}"));
            self.tell_gate(vec![GateInput::Closed { conn, code: None, why: reason }]);
        }
        self.after_conns();
    }

    /// What connections have to carry.
    pub(super) fn after_conns(&mut self) {
        for (conn, id, down) in self.conns.take_down() {
            let delay = self.net.link(id).map_or(Duration::from_millis(10), |l| l.quality.delay);
            let at = self.conns.down_at(conn, self.now + delay);
            self.push(at, Event::Down(conn, down));
        }
        for (conn, id, up) in self.conns.take_up() {
            let delay = self.net.link(id).map_or(Duration::from_millis(10), |l| l.quality.delay);
            let at = self.conns.up_at(conn, self.now + delay);
            self.push(at, Event::Up(conn, up));
        }
        for (conn, at) in self.conns.take_checks() {
            self.push(at.max(self.now), Event::Silence(conn));
        }
        for conn in self.conns.take_ended() {
            let why = CloseReason::Done;
            self.tell_gate(vec![GateInput::Closed { conn, code: None, why }]);
        }
        if let Some(conn) = self.conns.take_overfull() {
            let why = CloseReason::OutFull;
            self.tell_gate(vec![GateInput::Closed { conn, code: None, why }]);
        }
    }

    // -- clients

    pub fn add(&mut self, id: ClientId, client: Client) {
        self.net.add(id);
        self.observer.add(id, client.room());
        self.clients.insert(id, client);
        self.after_client(id);
    }

    /// The client is gone from one moment to the next.
    pub fn vanish(&mut self, id: ClientId) {
        self.clients.remove(&id);
        self.tongues.remove(&id);
        self.net.remove(id);
        self.conns.orphan(self.now, id);
    }

    /// Does something with a client and carries out what it then asks for.
    pub fn with<R>(
        &mut self,
        id: ClientId,
        act: impl FnOnce(&mut Client, Instant) -> R,
    ) -> Option<R> {
        let now = self.now;
        let result = act(self.clients.get_mut(&id)?, now);
        self.after_client(id);
        Some(result)
    }

    pub(super) fn after_client(&mut self, id: ClientId) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        for ask in client.take_asks() {
            self.conns.ask(self.now, id, ask);
        }
        let datagrams = client.take_datagrams();
        let deadline = client.deadline().max(self.now + Duration::from_micros(100));
        for (local, mut bytes) in datagrams {
            if let Some(tongue) = self.tongues.get_mut(&id) {
                bytes = tongue.pass(bytes);
            }
            self.depart(id, local, bytes);
        }
        if self.wakes.get(&id).is_none_or(|at| deadline < *at || *at < self.now) {
            self.wakes.insert(id, deadline);
            self.push(deadline, Event::Client(id));
        }
        self.after_conns();
    }

    /// A datagram leaves a client.
    fn depart(&mut self, id: ClientId, local: SocketAddr, bytes: Vec<u8>) {
        let Some(public) = self.net.outward(id, local) else { return };
        self.observer.spoken(id, public, &bytes);
        for at in self.passage(id, Way::Up) {
            self.push(at, Event::ToServer { remote: public, bytes: bytes.clone() });
        }
    }

    /// A client says something untrue so many times, under its own keys.
    pub fn flood(&mut self, id: ClientId, lie: Lie, left: u32) {
        let Some(keys) = self.observer.keys_of(id) else { return };
        let Some(local) = self.clients.get(&id).and_then(|c| c.media()).map(|m| m.local) else {
            return;
        };
        let tongue = self.tongues.entry(id).or_insert_with(|| Tongue::new(keys));
        if tongue.keys != keys {
            *tongue = Tongue::new(keys);
        }
        let compound = lie.compound(&self.observer.streams_to(id), &mut self.chance);
        let bytes = tongue.say(&compound);
        self.depart(id, local, bytes);
        if left > 1 {
            self.push(self.now + LIES_EVERY, Event::Flood(id, lie, left - 1));
        }
    }

    /// A client says goodbye and is gone.
    pub fn leave(&mut self, id: ClientId) {
        self.with(id, |client, now| client.leave(now));
        self.clients.remove(&id);
        self.tongues.remove(&id);
        self.net.remove(id);
        self.conns.abandon(id);
    }

    /// The client's TCP connections are reset.
    pub fn cut_sockets(&mut self, id: ClientId) {
        self.conns.reset(id);
        self.after_conns();
    }

    /// The client is on another network: its old addresses and connections are dead.
    pub fn change_network(&mut self, id: ClientId, local: SocketAddr) {
        self.net.rebind(id);
        self.conns.orphan(self.now, id);
        self.with(id, |client, now| client.change_network(now, local));
    }

    /// A check comes from the client at which its worker panics.
    pub fn poison(&mut self, id: ClientId) {
        let Some(check) = self.observer.last_check(id) else { return };
        let poison = crate::crypto::poisoned(check);
        self.poisoned += 1;
        self.inject_as(id, &poison);
    }

    /// A datagram comes from the client at which its transport panics.
    pub fn break_transport(&mut self, id: ClientId) {
        self.broken += 1;
        self.inject_as(id, &crate::crypto::DTLS_POISON);
    }

    fn inject_as(&mut self, id: ClientId, bytes: &[u8]) {
        let local = self.clients.get(&id).and_then(|c| c.media()).map(|m| m.local);
        let Some(remote) = local.and_then(|local| self.net.outward(id, local)) else { return };
        self.inject(remote, bytes.to_vec());
    }

    /// What was held up while a link was cut goes on.
    pub fn mend(&mut self, id: ClientId) {
        if let Some(link) = self.net.link_mut(id) {
            link.cut = None;
        }
        self.conns.release(id);
        self.after_conns();
    }
}
