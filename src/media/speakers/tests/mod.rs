//! A room of people who talk, cough and type, by chance.

mod meetings;
mod people;

use super::*;
use crate::base::rng::Rng;
use people::Person;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Uniform from the first to below the second.
fn between(rng: &mut Rng, from: u64, to: u64) -> u64 {
    from + rng.next_u64() % (to - from)
}

fn chance(rng: &mut Rng, one_in: u64) -> bool {
    rng.next_u64().is_multiple_of(one_in)
}
