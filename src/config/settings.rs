//! The checked configuration, as the other modules receive it.
//!
//! Holds the settings types of `line`, `serial`, `server`, `audit` and `events`; no text and no positions. Made by
//! [`super::parse`] and [`super::load()`], or from a [`super::section::File`] filled in by code. Keys, defaults and
//! bounds are in [`super::section`] and `config/metergate.yaml`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Token;
use crate::audit::AuditSettings;
use crate::document::{Problem, YesNo};
use crate::events::EventFileSettings;
use crate::line::{LineSettings, Pace, UnitId};
use crate::meter::Profile;
use crate::modbus::pdu::FunctionCode;
use crate::mqtt::BrokerSettings;
use crate::serial::PortSettings;
use crate::server::ListenerSettings;
use crate::sparkplug::{Ids, identifier};
use crate::tls::TlsServer;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Title of the pages; `None`: the host's name.
    pub site: Option<String>,
    /// At least one; their addresses differ.
    pub listeners: Vec<Listener>,
    /// At least one; their names and devices differ.
    pub buses: Vec<Bus>,
    /// Level of the log.
    pub log_level: LogLevel,
    /// Unit identifier of the diagnostics unit, which holds the gateway's own counters.
    pub diagnostics_unit: Option<u8>,
    /// Directory of profiles beside the built-in ones; only the default one may be absent.
    pub profiles: PathBuf,
    /// The audit file; `None`: writes are recorded in the log only.
    pub audit: Option<AuditSettings>,
    /// The file that keeps events; `None`: in memory only.
    pub events: Option<EventFileSettings>,
    /// The status page; `None`: it is off.
    pub status: Option<Status>,
    /// The brokers that readings are published to; no two have the same client identifier or topic at one address.
    pub brokers: Vec<Broker>,
}

/// A broker, and what is published there.
#[derive(Clone, Debug, PartialEq)]
pub struct Broker {
    /// The settings of the connection.
    pub connection: BrokerSettings,
    /// The file the password was read from.
    pub password_file: Option<PathBuf>,
    /// What is published.
    pub publication: Publication,
}

/// What is published at a broker, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// What all topics begin with; the filter of all topics of an edge node.
    pub topic: String,
    /// Names and groups of points, each known to a profile; `None`: every measurement.
    pub points: Option<Vec<String>>,
    /// Time between two messages of a block.
    pub every: Duration,
    /// The share by which a point moves to be published sooner; `None`: it is not.
    pub change: Option<f64>,
    /// Bytes of readings kept in memory while the broker is away.
    pub buffer: usize,
    /// The prefix of Home Assistant's discovery; `None`: no discovery.
    pub home_assistant: Option<String>,
    /// What the edge node of Sparkplug is called; `None`: it is published as JSON.
    pub sparkplug: Option<Ids>,
}

impl Publication {
    /// The topic that tells whether the gateway is there.
    #[must_use]
    pub fn status_topic(&self) -> String {
        match &self.sparkplug {
            None => format!("{}/status", self.topic),
            Some(ids) => ids.death_topic(),
        }
    }
}

/// The level of a topic for a bus: its name, without what separates levels or stands for several.
#[must_use]
pub fn topic_level(name: &str) -> String {
    name.replace(['/', '+', '#'], "_")
}

/// What a unit is called as a device of Sparkplug.
#[must_use]
pub fn device_name(bus: &str, alias: u8, name: Option<&str>) -> String {
    name.map_or_else(|| format!("{}-{alias}", identifier(bus)), identifier)
}

/// The header that every answer of a status address has, by which commands tell a gateway from another HTTP server.
pub const API_HEADER: &str = "metergate-api";

/// The settings of the status page's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSettings {
    /// Address and port.
    pub address: SocketAddr,
    /// The token that clients must send; `None` only on a loopback address.
    pub token: Option<Token>,
    /// HTTPS; `None`: HTTP.
    pub tls: Option<Arc<TlsServer>>,
}

/// The status page, and where its settings come from.
#[derive(Clone, Debug)]
pub struct Status {
    /// The settings of its server.
    pub settings: StatusSettings,
    /// The file its token was read from.
    pub token_file: Option<PathBuf>,
    /// Whether the file has the key `status`. Without it, an address in use does not keep the gateway from starting.
    pub given: bool,
}

impl PartialEq for Status {
    /// Ignores `given`, which matters only at the start.
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings && self.token_file == other.token_file
    }
}

/// A TCP listener and its buses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The settings of its server.
    pub settings: ListenerSettings,
    /// Indexes into [`Config::buses`], at least one, each once; all if the file names none.
    pub buses: Vec<usize>,
    /// Maps the identifiers that clients send here, 0 to 255, to keys of [`Bus::aliases`] of one of `buses`; no other
    /// identifier is served. `None`: every unit is served under its key.
    pub unit_map: Option<BTreeMap<u8, u8>>,
}

/// One serial line: its port, its units, and their identifiers for clients.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// The settings of the port.
    pub port: PortSettings,
    /// The settings of the line.
    pub line: LineSettings,
    /// Units by the identifiers that clients use, 1 to 255; every unit occurs once.
    pub aliases: BTreeMap<u8, UnitId>,
    /// All units in the order of the file.
    pub wire: Vec<UnitId>,
    /// Whether `wire` is the order of the wire, nearest first.
    pub wire_order: YesNo,
    /// The groups of units that have one.
    pub groups: BTreeMap<UnitId, String>,
    /// The profiles of units that have one.
    pub profiles: BTreeMap<UnitId, UnitProfile>,
    /// Further read-only functions of units that have any; none of them is defined in the standard.
    pub read_functions: BTreeMap<UnitId, BTreeSet<FunctionCode>>,
    /// Defaults of the bus for its units.
    pub unit_defaults: UnitDefaults,
}

impl Bus {
    /// Its units in the order of the wire, nearest first, if the file lists them in this order (`wire_order: yes`).
    #[must_use]
    pub fn order_of_the_wire(&self) -> Option<&[UnitId]> {
        match self.wire_order {
            YesNo::Yes => Some(&self.wire),
            YesNo::No => None,
        }
    }
}

/// Settings of a bus that are only defaults for its units; each unit has its own in [`crate::line::UnitSettings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitDefaults {
    /// Longest pause inside an answer, beyond wire time.
    pub byte_timeout: Duration,
    /// Largest gap between two learned ranges that are read together; `None`: even adjacent ranges are read apart.
    pub merge_gap: Option<u16>,
    /// Largest number of registers in one background read.
    pub max_read: u16,
}

/// The profile of a unit, and which of its blocks are read in the background. The line's form of it is
/// [`crate::line::Polling`].
#[derive(Clone, Debug, PartialEq)]
pub struct UnitProfile {
    /// Shared by the units that name it.
    pub profile: Arc<Profile>,
    /// Interval of measurements; `None`: nothing is read in the background.
    pub poll: Option<Pace>,
    /// Interval of the other blocks.
    pub poll_slow: Duration,
    /// Names of the blocks that are read in the background, in the profile's order.
    pub blocks: Vec<String>,
}

/// Level of the log: this and everything more severe is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Conditions that need attention.
    Warn,
    /// Changes of state.
    Info,
    /// Connections and decisions.
    Debug,
    /// Frames.
    Trace,
}

/// A configuration and its warnings.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Settings that work but are probably not intended, in the order of the file.
    pub warnings: Vec<Problem>,
}
