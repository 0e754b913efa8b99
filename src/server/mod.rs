//! Modbus TCP listeners and the connections of their clients.
//!
//! Owns sockets, limits, and which request gets which reply. The contents of replies are decided in `line`.

mod admission;
pub mod connection;
pub mod listener;
mod listener_metrics;
mod routes;
mod settings;

pub use admission::IdleTracker;
pub use listener::{Families, ListenerState, Routes};
pub use listener_metrics::{Counted, DEPARTED_KEPT, DEPARTED_MAX, Departed, ListenerMetrics, RtuClient};
pub use settings::{Broadcast, ListenerSettings, Writes};
