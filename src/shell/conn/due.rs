//! What a connection does when its time has come.

use std::time::Instant;

use super::{Conn, Phase};
use crate::base::limits::{CONN_IDLE_TIMEOUT, WS_PING_INTERVAL, WS_SILENCE_MAX};
use crate::gate::{CloseReason, GateInput};

impl Conn {
    /// When to call [`Conn::due`].
    pub fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::WebSocket(ws) if !ws.closing => ws.ping_at.min(ws.heard_at + WS_SILENCE_MAX),
            _ => self.deadline,
        }
    }

    /// The deadline has come. Returns whether the connection is over; else pump it.
    pub fn due(&mut self, now: Instant, inputs: &mut Vec<GateInput>) -> bool {
        if self.deadline() > now {
            return false;
        }
        let why = match &mut self.phase {
            Phase::WebSocket(ws) if !ws.closing => {
                if now < ws.heard_at + WS_SILENCE_MAX {
                    ws.ping_at = now + WS_PING_INTERVAL;
                    ws.framing.ping();
                    ws.framing.take_output(self.out.end());
                    return false;
                }
                CloseReason::Silent
            }
            Phase::WebSocket(_) | Phase::Ending => CloseReason::Done,
            Phase::Head { fresh: true, .. } if self.out.is_empty() => CloseReason::Idle,
            Phase::Asked { .. } => {
                self.deadline = now + CONN_IDLE_TIMEOUT;
                return false;
            }
            Phase::Head { .. } | Phase::Body { .. } | Phase::ChunkedBody { .. } => {
                CloseReason::Slow
            }
        };
        self.tell(inputs, None, why);
        true
    }
}
