//! Who may see what only operators need: `/metrics`, and `/api/rooms`, since a room's name is all
//! it takes to enter it.

use super::{ConnId, Gate};
use crate::wire::http::{Head, Response};
use crate::wire::signal::ErrorCode;

/// What proxies add. A request that has one of them came from elsewhere, whatever its connection
/// says.
const OF_PROXIES: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

impl Gate {
    /// With a token configured, whoever shows it (RFC 6750); else whoever is on this machine.
    pub(super) fn check_operator(&self, conn: ConnId, head: &Head) -> Result<(), Response> {
        if let Some(token) = &self.config.metrics_token {
            return match bearer(head) {
                Some(shown) if token.is(shown) => Ok(()),
                _ => {
                    let detail = "this takes the metrics token";
                    let response = Response::problem(401, ErrorCode::Unauthorized, detail);
                    Err(response.with("WWW-Authenticate", "Bearer"))
                }
            };
        }
        let is_local = self.sources.of(conn).is_some_and(|remote| remote.is_loopback());
        if is_local && !OF_PROXIES.iter().any(|name| head.header(name).is_some()) {
            return Ok(());
        }
        let detail = "without a metrics token, only clients on the same machine may see this";
        Err(Response::problem(403, ErrorCode::Forbidden, detail))
    }
}

fn bearer(head: &Head) -> Option<&str> {
    let (scheme, token) = head.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
