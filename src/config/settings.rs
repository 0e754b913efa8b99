//! The checked configuration, as the other modules receive it.
//!
//! Holds what was understood, in the settings types of `line`, `serial`, `server` and `audit`; never text or positions. Made by [`super::parse`]
//! and [`super::load()`], or from a [`super::section::File`] filled in by code.
//! Keys, defaults and bounds: contract section 1, and `config/metergate.yaml`.

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
use crate::serial::PortSettings;
use crate::server::ListenerSettings;

/// The whole configuration, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What the pages are titled; `None`: the host's name.
    pub site: Option<String>,
    /// At least one, no two on one address.
    pub listeners: Vec<Listener>,
    /// At least one, no two of one name or on one device.
    pub buses: Vec<Bus>,
    /// What the log shows.
    pub log_level: LogLevel,
    /// The unit identifier at which the gateway shows its own counters.
    pub diagnostics_unit: Option<u8>,
    /// Where profiles were looked for beside the built-in ones; only the default may not be there.
    pub profiles: PathBuf,
    /// The file that records writes; `None`: the log only.
    pub audit: Option<AuditSettings>,
    /// The file that keeps events; `None`: in memory only.
    pub events: Option<EventFileSettings>,
    /// The status page; `None`: there is none.
    pub status: Option<Status>,
}

/// The status page, as its server obeys it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// What opens it; `None` only on a loopback address.
    pub token: Option<Token>,
}

/// The status page, and what only the file knows of it.
#[derive(Clone, Debug)]
pub struct Status {
    /// What it obeys.
    pub settings: StatusSettings,
    /// Where its token was read.
    pub token_file: Option<PathBuf>,
    /// Whether it is in the file. Where it is not, an address in use is no reason not to start.
    pub given: bool,
}

impl PartialEq for Status {
    /// Once it runs, it makes no difference whether it stood in the file.
    fn eq(&self, other: &Self) -> bool {
        self.settings == other.settings && self.token_file == other.token_file
    }
}

/// One TCP listener and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What the listener obeys.
    pub settings: ListenerSettings,
    /// Indexes into [`Config::buses`], at least one, each once; all of them where the file names none.
    pub buses: Vec<usize>,
    /// What clients send here, 0 to 255, and the unit it means, by its key in [`Bus::aliases`] of one of
    /// `buses`; nothing else is served here. `None`: every unit under that key.
    pub unit_map: Option<BTreeMap<u8, u8>>,
}

/// One serial line: its port, its units, and what clients call them.
#[derive(Clone, Debug, PartialEq)]
pub struct Bus {
    /// How the port is opened.
    pub port: PortSettings,
    /// What the line obeys.
    pub line: LineSettings,
    /// The identifier clients use, 1 to 255, and the unit it stands for; every unit stands here once.
    pub aliases: BTreeMap<u8, UnitId>,
    /// Every unit once, in the order of the file.
    pub wire: Vec<UnitId>,
    /// Whether `wire` is the order of the wire, nearest first.
    pub wire_order: YesNo,
    /// The units that are shown and added up with others, and the name of their group.
    pub groups: BTreeMap<UnitId, String>,
    /// The units of whose registers something is known.
    pub profiles: BTreeMap<UnitId, UnitProfile>,
    /// Further functions that only read, of the units that have any; never one the standard defines.
    pub read_functions: BTreeMap<UnitId, BTreeSet<FunctionCode>>,
    /// What the bus says for units that do not say it themselves.
    pub unit_defaults: UnitDefaults,
}

impl Bus {
    /// Its units in the order of the wire, nearest first, if the file says that it lists them so.
    #[must_use]
    pub fn order_of_the_wire(&self) -> Option<&[UnitId]> {
        match self.wire_order {
            YesNo::Yes => Some(&self.wire),
            YesNo::No => None,
        }
    }
}

/// Settings of a bus that only its units use; each has its own in [`crate::line::UnitSettings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitDefaults {
    /// Longest pause inside an answer, beyond wire time.
    pub byte_timeout: Duration,
    /// Registers not asked for that may be read to join two learned ranges; `None`: touching ranges stay apart, too.
    pub merge_gap: Option<u16>,
    /// Longest read of registers the gateway makes on its own.
    pub max_read: u16,
}

/// What a unit's registers mean, and which of them are read in the background. The line obeys its own
/// translation of it, [`crate::line::Polling`].
#[derive(Clone, Debug, PartialEq)]
pub struct UnitProfile {
    /// Shared by the units that name it.
    pub profile: Arc<Profile>,
    /// How often measurements are read; `None`: nothing is read.
    pub poll: Option<Pace>,
    /// How often the other blocks are read.
    pub poll_slow: Duration,
    /// The names of the blocks that are read, in the profile's order.
    pub blocks: Vec<String>,
}

/// What the log shows: this and everything graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What stopped working.
    Error,
    /// What needs attention.
    Warn,
    /// Changes of state.
    Info,
    /// Connections and decisions.
    Debug,
    /// Frames.
    Trace,
}

/// A configuration, and what is odd about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What works but was hardly meant, in order of the file.
    pub warnings: Vec<Problem>,
}
