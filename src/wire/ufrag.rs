//! The ufrags that we mint carry the worker that owns the peer, so that a check which the kernel
//! gave to another worker finds its owner without any shared table.

use crate::base::ids::WorkerId;
use crate::base::rng::{BASE32, Rng, base32};

/// Characters of a minted ufrag: two for the worker, the rest random (70 bits; RFC 8445 §5.3 asks
/// for at least 24).
const UFRAG_CHARS: usize = 16;
/// Characters of a minted password, 130 bits (RFC 8445 §5.3 asks for at least 128).
const PWD_CHARS: usize = 26;

/// A ufrag whose first two characters are the worker in base 32.
pub fn mint(worker: WorkerId, rng: &mut Rng) -> String {
    let mut ufrag = String::with_capacity(UFRAG_CHARS);
    ufrag.push(base32(worker.0 >> 5));
    ufrag.push(base32(worker.0));
    ufrag.push_str(&rng.token(UFRAG_CHARS - 2));
    ufrag
}

/// An ICE password.
pub fn mint_pwd(rng: &mut Rng) -> String {
    rng.token(PWD_CHARS)
}

/// The worker that minted `ufrag`; `None` if no worker of ours can have.
pub fn worker_of(ufrag: &str) -> Option<WorkerId> {
    if ufrag.len() != UFRAG_CHARS {
        return None;
    }
    let digit = |i: usize| {
        let byte = ufrag.as_bytes().get(i)?;
        BASE32.iter().position(|b| b == byte).map(|p| p as u16)
    };
    Some(WorkerId(digit(0)? << 5 | digit(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ufrag_names_its_worker() {
        let mut rng = Rng::from_seed([3; 32]);
        for id in [0, 1, 31, 32, 63, 1023] {
            let ufrag = mint(WorkerId(id), &mut rng);
            assert_eq!(worker_of(&ufrag), Some(WorkerId(id)));
            assert!(ufrag.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
        for foreign in ["", "abcd", "!!aaaaaaaaaaaaaa", "AAaaaaaaaaaaaaaa"] {
            assert_eq!(worker_of(foreign), None, "{foreign}");
        }
    }
}
