//! The page and the SDK, as they are in the binary.

use crate::wire::http::{Head, Response};

/// The page loads nothing from elsewhere and may be framed by nobody.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self'; \
    img-src 'self' data: blob:; media-src 'self' blob: mediastream:; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! asset {
    ($name:literal, $media_type:expr) => {
        ($name, $media_type, include_bytes!(concat!("../web/", $name)))
    };
}

/// Path below the root, media type, bytes.
const FILES: [(&str, &str, &[u8]); 27] = [
    asset!("index.html", HTML),
    asset!("style.css", CSS),
    asset!("app.js", JAVASCRIPT),
    asset!("page/buttons.js", JAVASCRIPT),
    asset!("page/call.js", JAVASCRIPT),
    asset!("page/controls.js", JAVASCRIPT),
    asset!("page/current.js", JAVASCRIPT),
    asset!("page/devices.js", JAVASCRIPT),
    asset!("page/dom.js", JAVASCRIPT),
    asset!("page/lobby.js", JAVASCRIPT),
    asset!("page/memory.js", JAVASCRIPT),
    asset!("page/tiles.js", JAVASCRIPT),
    asset!("page/toasts.js", JAVASCRIPT),
    asset!("trackyard.js", JAVASCRIPT),
    asset!("sdk/capture.js", JAVASCRIPT),
    asset!("sdk/errors.js", JAVASCRIPT),
    asset!("sdk/layers.js", JAVASCRIPT),
    asset!("sdk/peer.js", JAVASCRIPT),
    asset!("sdk/publications.js", JAVASCRIPT),
    asset!("sdk/room.js", JAVASCRIPT),
    asset!("sdk/roster.js", JAVASCRIPT),
    asset!("sdk/sdp.js", JAVASCRIPT),
    asset!("sdk/signal.js", JAVASCRIPT),
    asset!("sdk/stats.js", JAVASCRIPT),
    asset!("sdk/wants.js", JAVASCRIPT),
    asset!("trackyard.d.ts", TEXT),
    asset!("icon.svg", "image/svg+xml"),
];

/// The files with their entity tags, which are hashes of their content.
#[derive(Debug)]
pub(super) struct Assets {
    etags: Vec<String>,
}

impl Assets {
    pub fn new() -> Assets {
        let etag = |(_, _, bytes): &(_, _, &[u8])| format!("\"{:016x}\"", super::fnv1a(bytes));
        Assets { etags: FILES.iter().map(etag).collect() }
    }

    pub fn has(&self, name: &str) -> bool {
        FILES.iter().any(|(n, _, _)| *n == name)
    }

    /// The file, or 304 when the client has it already; `None` when there is none of that name.
    ///
    /// `no-cache` lets browsers keep it but ask each time, so a new binary is a new page at once.
    pub fn serve(&self, name: &str, head: &Head) -> Option<Response> {
        let mut files = FILES.iter().zip(&self.etags);
        let ((_, media_type, bytes), etag) = files.find(|((n, _, _), _)| *n == name)?;
        let known = head.header("if-none-match").unwrap_or_default();
        let is_known = |tag: &str| {
            let tag = tag.trim();
            tag == "*" || tag.trim_start_matches("W/") == etag
        };
        let response = match known.split(',').any(is_known) {
            true => Response::empty(304),
            false => Response {
                body: (*bytes).into(),
                ..Response::empty(200).with("Content-Type", *media_type)
            },
        };
        let response = response
            .with("ETag", etag.clone())
            .with("Cache-Control", "no-cache")
            .with("Content-Security-Policy", CONTENT_SECURITY_POLICY)
            .with("X-Content-Type-Options", "nosniff")
            .with("Referrer-Policy", "no-referrer")
            .with("Permissions-Policy", "camera=(self), microphone=(self), display-capture=(self)");
        Some(response)
    }
}
