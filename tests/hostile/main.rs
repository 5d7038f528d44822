//! The attacks that broke other media servers, over real sockets, against the program as it is
//! shipped: a running room goes on as if nothing were, and nothing stays behind.
//!
//! `cargo test --test hostile` runs each attack briefly, with bounds that hold on a busy machine.
//! `cargo test --test hostile -- --ignored --nocapture` runs the scoreboard: full rates, one row
//! a figure.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "real sockets, real time, and threads that share what they saw"
)]

#[path = "../common/mod.rs"]
mod common;

mod descriptors;
mod feedback;
mod flood;
mod ice;
mod media;
mod names;
mod negotiation;
mod operators;
mod room;
mod scoreboard;
mod server;
mod smuggling;
mod tls;
mod websocket;
