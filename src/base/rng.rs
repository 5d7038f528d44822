//! The only source of chance in the cores: seeded by the shell, so that the same seed and the
//! same inputs give the same outputs.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A cryptographic generator: session secrets, ICE passwords and identities come from it.
#[derive(Debug, Clone)]
pub struct Rng(ChaCha12Rng);

/// Lower-case base 32 without look-alikes (RFC 4648 §6 alphabet, lower case): every character
/// is an ice-char (RFC 8839 §5.4) and safe in a URL.
pub const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The character of the low five bits.
#[expect(clippy::indexing_slicing, reason = "five bits are below 32")]
pub fn base32(bits: u16) -> char {
    BASE32[usize::from(bits & 31)] as char
}

impl Rng {
    /// A generator that replays exactly from its seed.
    pub fn from_seed(seed: [u8; 32]) -> Rng {
        Rng(ChaCha12Rng::from_seed(seed))
    }

    /// A generator for a part of the program, independent of the parent's later output.
    pub fn fork(&mut self) -> Rng {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        Rng::from_seed(seed)
    }

    /// Uniform over all of `u64`.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `len` characters of [`BASE32`], 5 bits each.
    pub fn token(&mut self, len: usize) -> String {
        let mut bytes = vec![0; len];
        self.0.fill_bytes(&mut bytes);
        bytes.iter().map(|b| base32(u16::from(*b))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_tokens() {
        let mut a = Rng::from_seed([7; 32]);
        let mut b = Rng::from_seed([7; 32]);
        assert_eq!(a.token(26), b.token(26));
        assert_ne!(a.token(26), a.token(26));
        assert_ne!(a.fork().next_u64(), a.next_u64());
    }
}
