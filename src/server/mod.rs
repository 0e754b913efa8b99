//! Listeners, for Modbus TCP, RTU over TCP or a client at a serial port, and the connections of their clients.
//!
//! Owns sockets, limits, what is refused before a line (`routes`, `rules`), which reply belongs to which request, and the answer
//! in place of a bus that gives none (`connection`). Everything else in a reply is decided in `line`.

mod admission;
pub mod connection;
mod handshakes;
pub mod listener;
mod listener_metrics;
mod routes;
mod rules;
mod settings;
mod tls_clients;

pub use admission::IdleTracker;
pub use handshakes::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, HANDSHAKES_PER_ADDRESS};
pub use listener::{Families, ListenerState, REVERIFY_PERIOD, Routes};
pub use listener_metrics::{
    Counted, DEPARTED_KEPT, DEPARTED_MAX, Departed, ListenerMetrics, MisframedClient,
};
pub(crate) use routes::BROADCAST_UNIT;
pub use rules::{Permission, Requester, Rule, RuleTable};
pub use settings::{Broadcast, ClientPort, ListenAt, ListenerSettings, Writes};
pub use tls_clients::{Roles, TlsClients};
