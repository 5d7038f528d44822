//! Trackyard: a WebRTC media server (SFU).
//!
//! Everything that decides is pure; everything that touches the world is thin.
//! The floors, from the ground up; a module imports only from floors below its own
//! (`tests/tidy.rs` reads the `use` lines):
//!
//! | floor | module | what lives there |
//! |---|---|---|
//! | 6 | `main.rs` | the program |
//! | 5 | [`shell`] | mio loops, UDP batches, TLS, WebSocket and HTTP bytes, certificates, mailboxes, the benchmark |
//! | 4 | [`worker`] | what one core owns: mux, peers (the only owners of `str0m::Rtc`), negotiation, slots, forwarding, RTCP |
//! | 4 | [`config`] | one typed value from flags, environment and file |
//! | 4 | [`gate`] | sessions, HTTP routes, WHIP and WHEP resources, the page's files |
//! | 3 | [`room`] | membership, tracks, slot assignment, and the letters between gate, rooms and peers |
//! | 2 | [`media`] | one stream or one subscription: SRTP, packet cache, layers, rewriting, retransmission, reports, keyframe requests, what may be sent and how it is spent, who speaks |
//! | 1 | [`wire`] | bytes to types and back, stateless: demux, STUN peek, SDP, signalling JSON, RTP, RTCP, payload descriptors |
//! | 0 | [`base`] | identities, deadlines, limits, counters, the seeded random generator |
//!
//! A datagram's way: `shell::udp` receives a batch, `worker::mux` finds the peer by its 4-tuple.
//! ICE and DTLS go to the peer's `Rtc`. Media is opened where it was received (`media::srtp`), read
//! (`worker::streams`), and kept once for its track (`media::cache`); at the end of the turn each
//! subscriber is visited once with all that came for it (`worker::forward`), which is written and
//! sealed in one arena (`worker::slot`, `worker::transmits`) and leaves in one batched call. A
//! signalling message's way: `shell::conn` frames it, `gate` checks it, a letter carries it to the
//! worker that owns the peer or the room, and the answer comes back the same way.
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test makes up its first instant"))]

pub mod base;
pub mod config;
pub mod gate;
pub mod media;
pub mod room;
pub mod shell;
pub mod wire;
pub mod worker;
