//! One client, from its bytes to its replies.
//!
//! Owns the connection: framing, limits, timers, which request gets which reply, and its end. It decides nothing about
//! the line and spawns nothing: requests wait as entries of a table, not as tasks.
//!
//! ```text
//! task ──┬── peer        the state of the client, observed without reading
//!        ├── decoder     requests, in either framing
//!        └── session ──┬── in_flight   requests without a reply: their order, outcomes, backstop
//!                      ├── handover    requests that wait for the channel of a bus
//!                      └── replies     bytes that the kernel has not accepted
//! ```
//!
//! Replies are sent as they come, except that requests of one transaction identifier are answered in their order. Every
//! request is answered before its deadline, by the connection itself if no bus does.
//!
//! With RTU over TCP no reply names its request, so a client has one request in flight. Its next request supersedes the
//! one before, which is not answered any more; nor is a broadcast, nor what would be answered too late. The same holds
//! for the client at a serial port (`serial_client`), which has a task of its own and the same session.
//! Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapters 3.1 and 4.4.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::runtime::LogRateLimiter;
use crate::server::admission::IdleTracker;
use crate::server::routes::ListenerState;
use crate::traffic::Link;

mod decoder;
mod handover;
mod in_flight;
mod peer;
mod replies;
pub mod serial_client;
mod session;
mod task;

pub use decoder::PARTIAL_ADU_TIMEOUT;
pub use in_flight::{BACKSTOP_MARGIN, DEADLINE_MARGIN, REFUSAL_DELAY, line_deadline};
pub use peer::{PeerState, Receive};
pub use task::{SHUTDOWN_TIMEOUT, WRITE_TIMEOUT, run};

/// The number of the next connection of this process.
pub(crate) fn next_connection() -> u64 {
    CONNECTIONS.fetch_add(1, Ordering::Relaxed)
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// A connection's client and listener, and what its connections share.
#[derive(Clone, Debug)]
pub struct ClientContext {
    /// Its two ends.
    pub link: Arc<Link>,
    /// The listener's present settings.
    pub listener: Arc<ArcSwap<ListenerState>>,
    /// Publishes to the listener whether the connection is idle, and receives its request to close.
    pub idle: Arc<IdleTracker>,
    /// Shared by the connections of a listener, for log lines that any client can cause.
    pub log_limiter: Arc<LogRateLimiter>,
}
