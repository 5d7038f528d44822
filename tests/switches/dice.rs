//! Chance from one seed.

use std::time::Duration;

use trackyard::base::rng::Rng;

pub struct Dice(Rng);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        let mut bytes = [0x51; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        Dice(Rng::from_seed(bytes))
    }

    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.any() % n
    }

    /// So often of a thousand times.
    pub fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    pub fn ms(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from * 1_000 + self.below((to - from) * 1_000 + 1))
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}
