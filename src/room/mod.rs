//! Floor 3: who is in a room, what they publish, and which track sits in which slot.

pub mod mail;
