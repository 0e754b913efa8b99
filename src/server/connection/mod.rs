//! One Modbus TCP client, from its bytes to its replies.
//!
//! Owns the connection: framing, limits, timers, which request gets which reply, and its end. It decides nothing about
//! the line and spawns nothing: requests wait as entries of a table, not as tasks.
//!
//! ```text
//! task ──┬── peer        what can be seen of the client without reading
//!        └── session ──┬── in_flight   requests without a reply: their order, outcomes, backstop
//!                      ├── handover    requests on their way to a bus that has no room
//!                      └── replies     bytes that the kernel has not taken
//! ```
//!
//! Replies go out as they come, except that requests of one transaction identifier are answered in the order
//! asked. Every request is answered before its deadline, by the connection itself if no bus does.
//! Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapters 3.1 and 4.4.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::runtime::LogRateLimiter;
use crate::server::admission::IdleTracker;
use crate::server::routes::ListenerState;
use crate::traffic::Link;

mod handover;
mod in_flight;
mod peer;
mod replies;
mod session;
mod task;

pub use in_flight::{BACKSTOP_MARGIN, DEADLINE_MARGIN, REFUSAL_DELAY};
pub use peer::{PeerState, Receive};
pub use task::{PARTIAL_ADU_TIMEOUT, WRITE_TIMEOUT, run};

/// What a connection knows of its client and its listener.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its two ends.
    pub link: Arc<Link>,
    /// The listener as it is configured at the moment.
    pub listener: Arc<ArcSwap<ListenerState>>,
    /// How the listener sees whether the connection is idle, and has it close.
    pub idle: Arc<IdleTracker>,
    /// Shared by the connections of a listener, for log lines that any stranger can cause.
    pub log_limiter: Arc<LogRateLimiter>,
}
