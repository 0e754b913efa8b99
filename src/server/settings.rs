//! The settings of a listener. `config` builds them from the file.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Whether writes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Writes {
    /// Refused with 0x01.
    Deny,
    /// Sent, once.
    Allow,
}

/// The handling of a request to unit 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Broadcast {
    /// Answered with 0x0A.
    Refuse,
    /// Sent, never answered.
    Silent,
    /// Sent, and answered as a unit would answer the same request.
    Acknowledge,
}

/// One TCP listener. Limits and durations are within the bounds of docs/configuration.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// Oldest data a read may be served, counted from when its request began to be sent.
    pub max_age: Duration,
    /// Whether writes are allowed.
    pub writes: Writes,
    /// The handling of a request to unit 0.
    pub broadcast: Broadcast,
    /// Queue and line together; every request is answered within it.
    pub request_deadline: Duration,
    /// Requests of one connection in flight; beyond it the connection is not read.
    pub max_in_flight: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections from one address.
    pub max_connections_per_ip: usize,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// Networks that may connect; empty: all.
    pub allow: Vec<IpNet>,
}
