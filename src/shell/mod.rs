//! Floor 5: the only place with system calls, clocks and threads. It carries bytes in and out and
//! decides nothing.

pub mod conn;
pub mod gate_loop;
pub mod mailbox;
pub mod phase;
pub mod tls;
pub mod websocket;
