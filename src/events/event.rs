//! One event, as the file, the JSON and the page have it.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What happened, from `begin` to `end`. The instants are UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Ascending in the order of beginnings; an event has the same number in all lines of the file.
    pub id: u64,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The bus it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The unit it is about, by the identifier that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u8>,
    /// The unit's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// Which of several conditions of this kind, for a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended; `None`: it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// How long it lasted, whatever the clock was set to meanwhile; in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// What happened, for people.
    pub text: String,
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A unit was off-line.
    Outage,
    /// A port was closed.
    PortLost,
    /// No unit of a line answered.
    LineSilent,
    /// Something kept sending on a line.
    LineOccupied,
    /// A finding.
    Finding,
    /// The gateway was started; from when it had ended, if that is known.
    Start,
    /// The gateway was stopped, and is not running until the next start.
    Stop,
    /// A configuration was taken over, or refused.
    Reload,
    /// The clock was set.
    ClockStep,
    /// The writes of a client within an hour.
    Writes,
}

impl EventKind {
    /// As the JSON has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::PortLost => "port-lost",
            Self::LineSilent => "line-silent",
            Self::LineOccupied => "line-occupied",
            Self::Finding => "finding",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::ClockStep => "clock-step",
            Self::Writes => "writes",
        }
    }
}

/// Something that holds at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its kind; one of those that have a duration.
    pub kind: EventKind,
    /// The bus it is about.
    pub bus: String,
    /// The unit it is about, by the identifier that clients use.
    pub unit: Option<u8>,
    /// The unit's name.
    pub name: Option<String>,
    /// Which of several of this kind.
    pub subject: Option<String>,
    /// How long it has held.
    pub held_for: Duration,
    /// What is wrong, for people.
    pub text: String,
}

/// What makes two conditions, or a condition and an event, the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) kind: EventKind,
    pub(super) bus: String,
    pub(super) unit: Option<u8>,
    pub(super) subject: Option<String>,
}

impl Condition {
    pub(super) fn key(&self) -> Key {
        Key { kind: self.kind, bus: self.bus.clone(), unit: self.unit, subject: self.subject.clone() }
    }
}

impl Event {
    pub(super) fn key(&self) -> Key {
        let bus = self.bus.clone().unwrap_or_default();
        Key { kind: self.kind, bus, unit: self.unit, subject: self.subject.clone() }
    }
}
