use super::*;
use crate::wire::stun;

fn at(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

fn tuple(port: u16) -> FourTuple {
    let remote = SocketAddr::new("192.0.2.1".parse().unwrap(), port);
    FourTuple { remote, local: "192.0.2.2".parse().unwrap() }
}

fn request(transaction: u64, nominates: bool) -> Vec<u8> {
    let mut attributes = vec![0, 6, 0, 3, b'a', b':', b'b', 0, 0, 0x24, 0, 4, 1, 2, 3, 4];
    if nominates {
        attributes.extend([0, 0x25, 0, 0]);
    }
    attributes.extend([0, 8, 0, 20]);
    attributes.extend([7; 20]);
    let mut datagram = vec![0, 1, 0, attributes.len() as u8, 0x21, 0x12, 0xa4, 0x42];
    datagram.extend(transaction.to_be_bytes());
    datagram.extend([0; 4]);
    datagram.extend(attributes);
    datagram
}

struct Client {
    paths: Paths,
    sends_to: Option<FourTuple>,
    transaction: u64,
}

impl Client {
    fn new() -> Client {
        Client { paths: Paths::new(), sends_to: None, transaction: 0 }
    }

    fn check(&mut self, port: u16, nominates: bool, now: Instant) -> Result<bool, DropReason> {
        self.transaction += 1;
        self.replay(self.transaction, port, nominates, now)
    }

    fn replay(
        &mut self,
        transaction: u64,
        port: u16,
        nominates: bool,
        now: Instant,
    ) -> Result<bool, DropReason> {
        let datagram = request(transaction, nominates);
        let check = stun::check(&datagram).unwrap();
        let result = self.paths.check(tuple(port), WorkerId(0), &check, self.sends_to, now);
        self.paths.check_invariants();
        result.map(|evicted| evicted.is_some())
    }

    fn weigh(&mut self, now: Instant) -> Move {
        self.paths.weigh(self.sends_to.unwrap(), now)
    }
}

#[test]
fn a_replay_from_elsewhere_is_known() {
    let start = Instant::now();
    let mut client = Client::new();
    assert_eq!(client.check(1, true, start), Ok(false));
    assert_eq!(client.replay(1, 1, true, at(start, 50)), Ok(false), "sent again by the client");
    for port in 2..20_000 {
        assert_eq!(client.replay(1, port, true, at(start, 90)), Err(DropReason::StunReplay));
    }
    assert_eq!(client.paths.iter().count(), 1);
}

#[test]
fn living_paths_do_not_give_way() {
    let start = Instant::now();
    let mut client = Client::new();
    for port in 1..=8 {
        assert_eq!(client.check(port, false, start), Ok(false));
    }
    client.sends_to = Some(tuple(1));
    for second in 1..15 {
        let now = at(start, second * 1_000);
        assert_eq!(client.check(100 + second as u16, true, now), Err(DropReason::AddressLimit));
    }
    client.check(2, false, at(start, 14_000)).unwrap();
    let later = at(start, 15_000);
    assert_eq!(client.check(200, false, later), Ok(true), "a dead one does");
    assert!(client.paths.get_mut(tuple(1)).is_some(), "but not the one that media takes");
    assert!(client.paths.get_mut(tuple(2)).is_some());
}

#[test]
fn churn_is_bounded_by_rate_and_by_ufrag() {
    let start = Instant::now();
    let mut client = Client::new();
    let (mut admitted, mut now) = (0, start);
    for port in 1..=40_000 {
        now += Duration::from_millis(100);
        admitted += usize::from(client.check(port, false, now).is_ok());
    }
    assert_eq!(admitted, PEER_ADDRESSES_PER_UFRAG);
    client.paths.restart();
    now += PATH_DEAD_AFTER;
    assert!(client.check(50_000, false, now).is_ok(), "an ICE restart begins anew");
}

#[test]
fn media_stays_while_its_path_lives() {
    let start = Instant::now();
    let mut client = Client::new();
    client.check(1, true, start).unwrap();
    client.sends_to = Some(tuple(1));
    let mut now = start;
    for _ in 0..100 {
        now += Duration::from_millis(300);
        client.paths.heard(tuple(1), now);
        client.check(2, true, now + Duration::from_millis(1)).unwrap();
        assert!(matches!(client.weigh(now + Duration::from_millis(299)), Move::At(_)));
    }
}

#[test]
fn media_follows_a_client_whose_address_changed() {
    let start = Instant::now();
    let mut client = Client::new();
    client.check(1, true, start).unwrap();
    client.sends_to = Some(tuple(1));
    client.check(2, true, at(start, 100)).unwrap();
    let due = start + PATH_SILENT_AFTER;
    assert_eq!(client.weigh(at(start, 100)), Move::At(due));
    assert_eq!(client.weigh(due), Move::To(tuple(2)));
    assert_eq!(client.paths.set_aside_for(tuple(2), due), [tuple(1).remote]);
    client.sends_to = Some(tuple(2));
    assert_eq!(client.weigh(at(start, 60_000)), Move::Stay, "what was set aside is no choice");
}

#[test]
fn a_client_that_nominates_with_each_check_is_taken_at_its_word() {
    let start = Instant::now();
    let mut client = Client::new();
    client.check(1, true, start).unwrap();
    client.check(2, false, at(start, 10_000)).unwrap();
    client.sends_to = Some(tuple(1));
    assert_eq!(client.weigh(at(start, 11_000)), Move::Stay, "a spare path is kept warm");
    client.check(1, false, at(start, 12_000)).unwrap();
    client.check(2, false, at(start, 13_000)).unwrap();
    assert_eq!(client.weigh(at(start, 14_000)), Move::To(tuple(2)), "one that never says");
}
