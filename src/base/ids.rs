//! Identities. Small, `Copy`, and printed the same way in code, JSON, log and metrics.

use std::fmt::{self, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rng::{BASE32, Rng, base32};

/// Index of a worker thread, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

impl WorkerId {
    /// The worker as an index into a table of all workers.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// A gate session: one WebSocket participant (over all its reconnects) or one WHIP/WHEP resource.
/// Minted by the gate in order, never reused while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

macro_rules! public_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);

        impl $name {
            /// A fresh identity: 60 random bits, so that two never meet in one process.
            pub fn mint(rng: &mut Rng) -> $name {
                $name(rng.next_u64() >> 4)
            }

            /// Reads what [`fmt::Display`] wrote; `None` for anything else.
            pub fn parse(text: &str) -> Option<$name> {
                let digits = text.strip_prefix($prefix)?;
                if digits.len() != 12 {
                    return None;
                }
                let mut value = 0;
                for byte in digits.bytes() {
                    let digit = BASE32.iter().position(|b| *b == byte)? as u64;
                    value = value << 5 | digit;
                }
                Some($name(value))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                (0..12).rev().try_for_each(|i| f.write_char(base32((self.0 >> (5 * i)) as u16)))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                $name::parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("not an id that starts with ", $prefix)))
            }
        }
    };
}

public_id!(
    /// One person or device in a room, for as long as their session lives.
    ParticipantId,
    "p-"
);
public_id!(
    /// One published audio or video source.
    TrackId,
    "t-"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let mut rng = Rng::from_seed([1; 32]);
        for _ in 0..100 {
            let id = ParticipantId::mint(&mut rng);
            assert_eq!(ParticipantId::parse(&id.to_string()), Some(id));
        }
        for bad in ["", "p-", "p-aaaaaaaaaaa", "t-aaaaaaaaaaaa", "p-aaaaaaaaaaa!"] {
            assert_eq!(ParticipantId::parse(bad), None, "{bad}");
        }
    }
}
