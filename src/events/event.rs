//! One event, as the file and the JSON hold it and the page shows it.

use std::time::Duration;

use crate::endpoint::ClientAddress;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An event from `begin` to `end`, both UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Ascending in the order in which events are recorded; the same in all lines of the file about one event.
    pub id: u64,
    /// Its kind.
    pub kind: EventKind,
    /// The bus concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus: Option<String>,
    /// The unit concerned, by the identifier that clients use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<u8>,
    /// The unit's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The client concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientAddress>,
    /// Distinguishes findings of the same kind and unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it began.
    pub begin: Timestamp,
    /// When it ended; `None`: it continues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// The number of writes, for an event of [`EventKind::Writes`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    /// How many of them the gateway refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// Its duration in seconds, independent of clock steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Description for people.
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
    /// Bytes of no answer filled most of a line's time.
    LineOccupied,
    /// There was no connection to a broker.
    BrokerLost,
    /// A finding.
    Finding,
    /// The gateway was started; begins at the stop before, if that is known.
    Start,
    /// The gateway was stopped.
    Stop,
    /// A configuration was applied or refused.
    Reload,
    /// The clock was set.
    ClockStep,
    /// The writes of a client within an hour.
    Writes,
}

impl EventKind {
    /// Its name in the JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::PortLost => "port-lost",
            Self::LineSilent => "line-silent",
            Self::LineOccupied => "line-occupied",
            Self::BrokerLost => "broker-lost",
            Self::Finding => "finding",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::ClockStep => "clock-step",
            Self::Writes => "writes",
        }
    }
}

/// A condition that holds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its kind; one with a duration.
    pub kind: EventKind,
    /// The bus concerned; empty: none, but a broker, which is the subject.
    pub bus: String,
    /// The unit concerned, by the identifier that clients use.
    pub unit: Option<u8>,
    /// The unit's name.
    pub name: Option<String>,
    /// Distinguishes conditions of the same kind and unit.
    pub subject: Option<String>,
    /// How long it has held.
    pub held_for: Duration,
    /// Description for people.
    pub text: String,
}

/// The identity of a condition: equal for the same condition at different times, and for its event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConditionKey {
    pub(super) kind: EventKind,
    pub(super) bus: String,
    pub(super) unit: Option<u8>,
    pub(super) subject: Option<String>,
}

impl Condition {
    pub(super) fn key(&self) -> ConditionKey {
        ConditionKey {
            kind: self.kind,
            bus: self.bus.clone(),
            unit: self.unit,
            subject: self.subject.clone(),
        }
    }
}

/// Numbers of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// All of them.
    pub total: u64,
    /// Those the gateway refused.
    pub refused: u64,
}

impl Event {
    /// An event without duration that concerns no bus, unit or client.
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

    pub(super) fn key(&self) -> ConditionKey {
        let bus = self.bus.clone().unwrap_or_default();
        ConditionKey { kind: self.kind, bus, unit: self.unit, subject: self.subject.clone() }
    }
}
