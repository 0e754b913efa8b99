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
    /// Of the writes of a client: how many there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    /// How many of these were refused by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
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

/// So many writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// All of them.
    pub total: u64,
    /// Those that the gateway refused.
    pub refused: u64,
}

impl Event {
    /// One that happened in an instant, to nothing in particular.
    pub(super) fn instant(id: u64, kind: EventKind, text: String, at: Timestamp) -> Self {
        Self {
            id,
            kind,
            bus: None,
            unit: None,
            name: None,
            client: None,
            subject: None,
            begin: at,
            end: Some(at),
            writes: None,
            refused: None,
            seconds: None,
            text,
        }
    }

    pub(super) fn add_writes(&mut self, more: Writes) {
        let total = self.writes.unwrap_or(0) + more.total;
        let refused = self.refused.unwrap_or(0) + more.refused;
        (self.writes, self.refused) = (Some(total), Some(refused));
        let writes = if total == 1 { "write" } else { "writes" };
        let of = if self.client.is_none() { " of further clients" } else { "" };
        self.text = match refused {
            0 => format!("{total} {writes}{of}"),
            _ => format!("{total} {writes}{of}, {refused} refused"),
        };
    }

    pub(super) fn key(&self) -> Key {
        let bus = self.bus.clone().unwrap_or_default();
        Key { kind: self.kind, bus, unit: self.unit, subject: self.subject.clone() }
    }
}
