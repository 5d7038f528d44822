//! What each fuzz target holds true of its input. One function a target, from bytes to a panic
//! or none, so that libFuzzer and the plain replay of the corpora check the same.

pub mod allocate;
pub mod answers;
pub mod config;
pub mod deadlines;
pub mod demux;
pub mod dependency_descriptor;
pub mod dtls;
pub mod estimate;
pub mod feedback;
pub mod gate;
pub mod http;
pub mod keyframes;
pub mod names;
pub mod offer;
pub mod payload;
pub mod rewriter;
pub mod room;
pub mod rtcp;
pub mod sdp;
pub mod sdpfrag;
pub mod signal;
pub mod srtp;
pub mod stun;
pub mod websocket;
pub mod worker;

use std::time::Instant;

use arbitrary::{Arbitrary, Unstructured};

/// A target's name, which is that of its corpus, and its check.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 25] = [
    ("allocate", allocate::check),
    ("answers", answers::check),
    ("config", config::check),
    ("deadlines", deadlines::check),
    ("demux", demux::check),
    ("dependency_descriptor", dependency_descriptor::check),
    ("dtls", dtls::check),
    ("estimate", estimate::check),
    ("feedback", feedback::check),
    ("gate", gate::check),
    ("http", http::check),
    ("keyframes", keyframes::check),
    ("names", names::check),
    ("offer", offer::check),
    ("payload", payload::check),
    ("rewriter", rewriter::check),
    ("room", room::check),
    ("rtcp", rtcp::check),
    ("sdp", sdp::check),
    ("sdpfrag", sdpfrag::check),
    ("signal", signal::check),
    ("srtp", srtp::check),
    ("stun", stun::check),
    ("websocket", websocket::check),
    ("worker", worker::check),
];

/// Panics of `str0m` are caught by the server and felt by one client alone: libFuzzer, which ends
/// at any panic, is not told of them.
fn pardon_str0m() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.location().is_some_and(|l| l.file().contains("/str0m-")) {
                usual(info);
            }
        }));
    });
}

/// When the world begins. Only differences of it matter.
fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "somebody must make up the first instant")]
    Instant::now()
}

/// As many steps as the data holds.
fn steps<'a, T: Arbitrary<'a>>(data: &'a [u8]) -> impl Iterator<Item = T> + use<'a, T> {
    let mut data = Unstructured::new(data);
    std::iter::from_fn(move || match data.is_empty() {
        true => None,
        false => T::arbitrary(&mut data).ok(),
    })
}
