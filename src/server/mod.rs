//! Modbus TCP listeners and the connections of their clients.
//!
//! Owns sockets, limits, and which request gets which reply. What a client is given is decided in `line`.

pub mod admission;
pub mod connection;
pub mod listener;
pub mod listener_metrics;
pub mod routes;
pub mod settings;
