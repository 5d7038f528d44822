//! The packets of one track: those of this turn, which are on their way to every subscriber, and
//! those that may be asked for again. Each is kept once, however many receive it.

use super::packet::{Head, Packet};
use crate::base::limits::{CACHE_KEPT_FOR, CACHE_PACKETS_MAX, DATAGRAM_OUT_BYTES_MAX};

/// A ring of packets in the order in which they came. It grows until it remembers
/// [`CACHE_KEPT_FOR`], within [`CACHE_PACKETS_MAX`]; from then on nothing is allocated.
#[derive(Debug)]
pub struct PacketCache {
    /// Packet number `n` is at place `n` by their count, which is a power of two.
    slots: Vec<Stored>,
    /// The packet that has a sequence number: the slot, by the number's rest.
    by_seq: Vec<u16>,
    /// Packets that ever came, and of them those of turns before.
    pushed: u64,
    settled: u64,
    /// Whether packets may be asked for again.
    repeats: bool,
}

/// A packet with its bytes.
#[derive(Debug)]
pub struct Stored {
    head: Head,
    descriptor: usize,
    bytes: usize,
    /// The descriptor, then the payload.
    buffer: Box<[u8; DATAGRAM_OUT_BYTES_MAX]>,
}

/// Places for sequence numbers, so many for each packet: gaps do not hide what is there.
const NUMBERS_PER_PACKET: usize = 2;
const PACKETS_MIN: usize = 16;

impl PacketCache {
    /// Takes no memory before the first packet. `repeats`: whether packets are kept beyond their
    /// turn, to be asked for again.
    pub fn new(repeats: bool) -> PacketCache {
        PacketCache { slots: Vec::new(), by_seq: Vec::new(), pushed: 0, settled: 0, repeats }
    }

    /// Keeps a packet, as one of this turn. `false` if there is no place for it: more came in this
    /// turn than may be kept, or it is longer than what may be sent.
    pub fn push(&mut self, packet: &Packet<'_>) -> bool {
        let kept = self.place_for(&packet.head).is_some_and(|place| place.write(packet));
        if kept {
            self.keep(packet.head.seq);
        }
        kept
    }

    /// The same with a packet that gives up its buffer, for that of one that is forgotten.
    pub fn exchange(&mut self, packet: &mut Stored) -> bool {
        let seq = packet.head.seq;
        let Some(place) = self.place_for(&packet.head) else { return false };
        std::mem::swap(place, packet);
        self.keep(seq);
        true
    }

    fn place_for(&mut self, next: &Head) -> Option<&mut Stored> {
        if self.should_grow(next) && self.slots.len() < CACHE_PACKETS_MAX {
            self.grow(*next);
        }
        let at = self.place(self.pushed);
        let is_free = self.fresh_count() < self.slots.len();
        self.slots.get_mut(at).filter(|_| is_free)
    }

    /// What is in the next place is a packet now.
    fn keep(&mut self, seq: u64) {
        let at = self.place(self.pushed);
        self.pushed += 1;
        self.name(seq, at);
    }

    /// The packets of this turn, in the order in which they came.
    pub fn fresh(&self) -> impl Iterator<Item = Packet<'_>> {
        (self.settled..self.pushed).filter_map(|n| self.slots.get(self.place(n)).map(Stored::read))
    }

    /// How many there are of this turn.
    pub fn fresh_count(&self) -> usize {
        (self.pushed - self.settled) as usize
    }

    /// The turn is over.
    pub fn settle(&mut self) {
        self.settled = self.pushed;
    }

    /// The packet of a stream with that number, if it is still here.
    pub fn get(&self, ssrc: u32, seq: u64) -> Option<Packet<'_>> {
        let mask = self.by_seq.len().checked_sub(1)?;
        let at = *self.by_seq.get(seq as usize & mask)?;
        let slot = self.slots.get(usize::from(at))?;
        let same = slot.head.ssrc == ssrc && slot.head.seq == seq;
        same.then(|| slot.read())
    }

    fn place(&self, number: u64) -> usize {
        number as usize & self.slots.len().saturating_sub(1)
    }

    fn name(&mut self, seq: u64, at: usize) {
        let mask = self.by_seq.len().saturating_sub(1);
        if let Some(place) = self.by_seq.get_mut(seq as usize & mask) {
            *place = at as u16;
        }
    }

    /// Whether the next packet takes the place of one of this turn, or of one that may still be
    /// asked for.
    fn should_grow(&self, next: &Head) -> bool {
        let Some(oldest) = self.slots.get(self.place(self.pushed)) else { return true };
        let count = self.slots.len();
        let age = next.received.saturating_duration_since(oldest.head.received);
        let is_used = self.pushed >= count as u64;
        is_used && (self.fresh_count() >= count || self.repeats && age < CACHE_KEPT_FOR)
    }

    /// Twice as many places; what is there stays. `filler` is what an empty one has for a head.
    fn grow(&mut self, filler: Head) {
        let old = self.slots.len();
        let count = (2 * old).max(PACKETS_MIN);
        // In order, the oldest first: it goes on to be overwritten first.
        let oldest = self.place(self.pushed);
        self.slots.rotate_left(oldest);
        self.slots.resize_with(count, || Stored::empty(filler));
        let fresh = self.pushed - self.settled;
        self.pushed = old as u64;
        self.settled = self.pushed - fresh;
        self.by_seq = vec![u16::MAX; NUMBERS_PER_PACKET * count];
        for at in 0..old {
            let seq = self.slots.get(at).map(|slot| slot.head.seq);
            seq.into_iter().for_each(|seq| self.name(seq, at));
        }
    }
}

impl Stored {
    /// A buffer for a packet; until one is written it has none of its bytes.
    pub fn empty(head: Head) -> Stored {
        Stored { head, descriptor: 0, bytes: 0, buffer: Box::new([0; DATAGRAM_OUT_BYTES_MAX]) }
    }

    /// Copies a packet. `false` if it is longer than what may be sent: then nothing has changed.
    pub fn write(&mut self, packet: &Packet<'_>) -> bool {
        let (descriptor, bytes) = (packet.descriptor.len(), packet.bytes());
        let buffer = self.buffer.get_mut(..bytes);
        let Some((first, rest)) = buffer.and_then(|b| b.split_at_mut_checked(descriptor)) else {
            return false;
        };
        first.copy_from_slice(packet.descriptor);
        rest.copy_from_slice(packet.payload);
        (self.head, self.descriptor, self.bytes) = (packet.head, descriptor, bytes);
        true
    }

    /// The packet.
    pub fn read(&self) -> Packet<'_> {
        let bytes = self.buffer.get(..self.bytes).unwrap_or_default();
        let (descriptor, payload) = bytes.split_at_checked(self.descriptor).unwrap_or((&[], bytes));
        Packet { head: self.head, payload, descriptor }
    }
}

// A slot's index is kept in 16 bits.
const _: () = assert!(CACHE_PACKETS_MAX < u16::MAX as usize);
const _: () = assert!(CACHE_PACKETS_MAX.is_power_of_two() && PACKETS_MIN.is_power_of_two());

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::media::extensions::Extensions;
    use crate::wire::codec::Codec;
    use crate::wire::frame::Frame;
    use crate::wire::payload::Counters;

    fn head(seq: u64, received: Instant) -> Head {
        Head {
            ssrc: 1,
            take: 0,
            seq,
            timestamp: seq as u32,
            marker: false,
            codec: Codec::Vp8,
            starts_keyframe: false,
            frame: Frame::plain(false),
            counters: Counters::default(),
            extensions: Extensions::default(),
            received,
        }
    }

    fn push(cache: &mut PacketCache, seq: u64, received: Instant) -> bool {
        let payload = [seq as u8; 300];
        cache.push(&Packet { head: head(seq, received), payload: &payload, descriptor: &[7, 8] })
    }

    #[test]
    fn a_second_is_remembered_and_the_ring_grows_no_further() {
        let start = Instant::now();
        let mut cache = PacketCache::new(true);
        for seq in 0..3_000u64 {
            let now = start + Duration::from_millis(5) * seq as u32;
            assert!(push(&mut cache, seq, now));
            assert_eq!(cache.fresh().map(|p| p.head.seq).collect::<Vec<_>>(), [seq]);
            cache.settle();
            let back = CACHE_KEPT_FOR.as_millis() as u64 / 5;
            let old = cache.get(1, seq.saturating_sub(back - 1)).expect("a second is kept");
            assert_eq!(old.payload, [old.head.seq as u8; 300]);
            assert_eq!(old.descriptor, [7, 8]);
            assert_eq!(cache.get(1, seq + 1), None);
            assert_eq!(cache.get(2, seq), None);
        }
        assert_eq!(cache.slots.len(), 256);
    }

    #[test]
    fn audio_is_kept_for_its_turn_alone() {
        let now = Instant::now();
        let mut cache = PacketCache::new(false);
        for turn in 0..100 {
            for seq in 0..10 {
                assert!(push(&mut cache, 10 * turn + seq, now));
            }
            let fresh: Vec<u64> = cache.fresh().map(|p| p.head.seq).collect();
            assert_eq!(fresh, (10 * turn..10 * turn + 10).collect::<Vec<_>>());
            cache.settle();
        }
        assert_eq!(cache.slots.len(), PACKETS_MIN);
    }

    #[test]
    fn a_turn_holds_as_much_as_may_be_kept_and_no_more() {
        let now = Instant::now();
        let mut cache = PacketCache::new(true);
        for seq in 0..CACHE_PACKETS_MAX as u64 {
            assert!(push(&mut cache, seq, now));
        }
        assert!(!push(&mut cache, 1 << 20, now));
        assert_eq!(cache.fresh_count(), CACHE_PACKETS_MAX);
        assert!(cache.fresh().map(|p| p.head.seq).eq(0..CACHE_PACKETS_MAX as u64));
        cache.settle();
        assert!(push(&mut cache, 1 << 20, now));
        assert_eq!(cache.fresh().count(), 1);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let head = head(1, Instant::now());
        let mut cache = PacketCache::new(true);
        let longest = vec![1; DATAGRAM_OUT_BYTES_MAX];
        assert!(cache.push(&Packet { head, payload: &longest, descriptor: &[] }));
        assert!(!cache.push(&Packet { head, payload: &longest, descriptor: &[1] }));
    }

    #[test]
    fn a_packet_that_changes_places_is_kept_and_leaves_a_buffer() {
        let now = Instant::now();
        let mut cache = PacketCache::new(false);
        let mut stored = Stored::empty(head(0, now));
        for seq in 0..3 * PACKETS_MIN as u64 {
            let payload = [seq as u8; 200];
            let packet = Packet { head: head(seq, now), payload: &payload, descriptor: &[9] };
            assert!(stored.write(&packet));
            assert!(cache.exchange(&mut stored));
            assert_eq!(cache.get(1, seq), Some(packet));
            let before = seq.checked_sub(PACKETS_MIN as u64);
            assert_eq!(stored.head.seq, before.unwrap_or(0), "what was forgotten");
            cache.settle();
        }
        for seq in 0..CACHE_PACKETS_MAX as u64 {
            assert!(stored.write(&Packet { head: head(seq, now), payload: &[1], descriptor: &[] }));
            assert!(cache.exchange(&mut stored));
        }
        assert!(!cache.exchange(&mut stored));
    }

    #[test]
    fn reordered_and_lost_packets_are_found_by_their_numbers() {
        let start = Instant::now();
        let mut cache = PacketCache::new(true);
        let numbers: Vec<u64> = (0..400u64).filter(|n| n % 7 != 0).map(|n| n ^ 1).collect();
        for (i, seq) in numbers.iter().enumerate() {
            assert!(push(&mut cache, *seq, start + Duration::from_millis(2) * i as u32));
            cache.settle();
        }
        for seq in 0..400 {
            let found = cache.get(1, seq).map(|p| p.head.seq);
            assert_eq!(found, numbers.contains(&seq).then_some(seq), "{seq}");
        }
    }
}
