//! The client at a serial port, for which the gateway is an RTU server.
//!
//! Owns the port, the silence before an answer, and what of the line is a request to this gateway. Requests are handled
//! as those of any connection (`session`); one is in flight at a time, because no answer names its request. The next
//! request supersedes it, and so does one to another server on the same line. An answer begins within `answer_within` or
//! is not sent.
//!
//! ```text
//! supervision ── task ──┬── ManagedPort           opened, lost, opened again
//!                       └── rtu_server ──┬── wire ── echo   bytes and instants in, requests and frames to be sent out
//!                                        └── session        routes, snapshot, buses, audit
//! ```

mod echo;
mod rtu_server;
mod supervision;
mod task;
mod wire;

pub use rtu_server::RtuServer;
pub use supervision::supervise;
pub use task::{SerialClientParts, run};
pub use wire::{ClientWire, WireAction};
