//! The index of a packet, and which were there before (RFC 3711 §3.3.1, §3.3.2, appendix A).

/// The last index that one key protects (48 bits, RFC 3711 §9.2).
pub const INDEX_MAX: u64 = (1 << 48) - 1;

/// Of one incoming stream (SSRC): the index of a packet from its 16 bits of sequence number, and
/// none twice. Begins with the rollover counter 0, as the sender does; what was not
/// [accepted](ReceiveIndex::accept) changes nothing.
///
/// A stream of which nothing came before it wrapped for the first time cannot be followed: for
/// that, senders begin below 2^15 (RFC 3711 §3.3.1).
#[derive(Debug, Clone, Default)]
pub struct ReceiveIndex {
    seen: Window<STREAM_WORDS>,
}

/// 960 packets at least, 128 bytes: a quarter of a second of the fastest stream that is taken.
/// RFC 3711 asks for 64; fewer loses what a path holds back, as far behind as a burst is long.
const STREAM_WORDS: usize = 16;

/// Which of the last indices were there: the highest, and a ring of bits, whose words are cleared
/// when the highest enters them (RFC 6479). So one word less than it has is remembered for sure.
#[derive(Debug, Clone, Copy)]
pub struct Window<const WORDS: usize> {
    highest: u64,
    bits: [u64; WORDS],
}

const WORD_BITS: u64 = u64::BITS as u64;

impl ReceiveIndex {
    /// The index that a packet most likely has: the nearest to the highest so far. `None` if that
    /// was there before or is too old to tell, or there is none (beyond [`INDEX_MAX`]).
    pub fn guess(&self, seq: u16) -> Option<u64> {
        let index = nearest(self.seen.highest, seq);
        (index <= INDEX_MAX && !self.seen.has(index)).then_some(index)
    }

    /// How far an index is from the highest so far.
    pub fn distance(&self, index: u64) -> u64 {
        self.seen.highest.abs_diff(index)
    }

    /// The packet whose index was guessed turned out to be genuine.
    pub fn accept(&mut self, index: u64) {
        debug_assert!(index <= INDEX_MAX, "guessed");
        self.seen.add(index);
    }
}

/// Of the indices with these low bits, the nearest to another; at half a round the one in the same
/// round (RFC 3711 appendix A). There are none below 0.
fn nearest(highest: u64, seq: u16) -> u64 {
    let (roc, last) = (highest >> 16, highest as u16);
    let roc = match last < 1 << 15 {
        true if seq > last && seq - last > (1 << 15) => roc.saturating_sub(1),
        false if last - (1 << 15) > seq => roc + 1,
        _ => roc,
    };
    (roc << 16) | u64::from(seq)
}

impl<const WORDS: usize> Window<WORDS> {
    /// Indices that are remembered for sure, the highest among them.
    const REMEMBERED: u64 = (WORDS as u64 - 1) * WORD_BITS;

    /// Whether an index was there, or is too old to tell.
    pub fn has(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => false,
            Some(back) if back >= Self::REMEMBERED => true,
            Some(_) => self.bits.get(word(index, WORDS)).is_none_or(|w| w & bit(index) != 0),
        }
    }

    /// An index that was not there.
    pub fn add(&mut self, index: u64) {
        debug_assert!(!self.has(index), "once only");
        if index > self.highest {
            let entered = index / WORD_BITS - self.highest / WORD_BITS;
            for n in 0..entered.min(WORDS as u64) {
                if let Some(word) = self.bits.get_mut(word(index - n * WORD_BITS, WORDS)) {
                    *word = 0;
                }
            }
            self.highest = index;
        }
        if let Some(word) = self.bits.get_mut(word(index, WORDS)) {
            *word |= bit(index);
        }
    }
}

impl<const WORDS: usize> Default for Window<WORDS> {
    fn default() -> Self {
        Window { highest: 0, bits: [0; WORDS] }
    }
}

fn word(index: u64, words: usize) -> usize {
    (index / WORD_BITS) as usize % words
}

fn bit(index: u64) -> u64 {
    1 << (index % WORD_BITS)
}

#[cfg(test)]
mod tests;
