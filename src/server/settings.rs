//! The settings of a listener. `config` builds them from the file.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::rules::{Permission, Rule};
use crate::endpoint::{DevicePath, Endpoint};
use crate::line::{Echo, Framing};
use crate::modbus::AduFraming;
use crate::serial::{Direction, PortDevice, PortSettings};
use crate::tls::TlsServer;

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

/// Where a listener receives its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAt {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At a serial port, which has one client.
    Serial(ClientPort),
}

/// The port of a serial client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPort {
    /// The device.
    pub device: DevicePath,
    /// The form of characters on its line.
    pub framing: Framing,
    /// How the RS-485 driver is switched.
    pub direction: Direction,
    /// Whether the adapter returns what is sent.
    pub echo: Echo,
}

/// One listener. At a serial port, limits of connections are without effect. Limits and durations are within the bounds of docs/configuration.md.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where it listens.
    pub at: ListenAt,
    /// How requests are framed.
    pub framing: AduFraming,
    /// Oldest data a read may be served, counted from when its request began to be sent.
    pub max_age: Duration,
    /// Whether writes are allowed; with `rules`, they decide.
    pub writes: Writes,
    /// Who may do what; empty: as `writes` says.
    pub rules: Vec<Rule>,
    /// Modbus/TCP Security; `None`: plain.
    pub tls: Option<Arc<TlsServer>>,
    /// The handling of a request to unit 0.
    pub broadcast: Broadcast,
    /// Queue and line together; every request is answered within it.
    pub request_deadline: Duration,
    /// RTU: an answer that cannot begin within this is not sent. `None`: as late as `request_deadline`.
    pub answer_within: Option<Duration>,
    /// Requests of one connection in flight, those superseded included; beyond it the connection is not read.
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

impl ListenAt {
    /// The TCP address, if it is one.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Serial(_) => None,
        }
    }

    /// The serial port, if it is one.
    #[must_use]
    pub fn serial(&self) -> Option<&ClientPort> {
        match self {
            Self::Tcp(_) => None,
            Self::Serial(port) => Some(port),
        }
    }
}

impl ClientPort {
    /// The settings its port is opened with.
    #[must_use]
    pub fn port(&self) -> PortSettings {
        let device = PortDevice::Path(self.device.as_path().to_owned());
        PortSettings { device, framing: self.framing, direction: self.direction }
    }
}

impl ListenerSettings {
    /// Where it listens, as clients and users call it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match &self.at {
            ListenAt::Tcp(address) => Endpoint::Tcp(*address),
            ListenAt::Serial(port) => Endpoint::Serial(port.device.clone()),
        }
    }

    /// Whether any client may write anything.
    #[must_use]
    pub fn allows_writes(&self) -> bool {
        if self.rules.is_empty() {
            return self.writes == Writes::Allow;
        }
        self.rules.iter().any(|rule| rule.may == Permission::Write)
    }

    /// How long after its arrival a request may be answered.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.answer_within.map_or(self.request_deadline, |within| within.min(self.request_deadline))
    }
}
