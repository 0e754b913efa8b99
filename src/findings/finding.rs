//! The output of the rules: findings, as pages and commands print them.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::line::UnitId;

use super::remedy::Remedy;

/// A fault or a remarkable state, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// Its kind.
    pub kind: Kind,
    /// The unit concerned; `None`: the line as a whole.
    pub unit: Option<UnitId>,
    /// What was observed: a sentence without its full stop.
    pub what: String,
    /// What to do about it.
    pub remedy: Remedy,
    /// Distinguishes findings of the same kind and unit: an alert's name or the ranges concerned; empty: the only one.
    pub subject: String,
    /// Start of the trouble.
    pub active_since: Instant,
    /// Last observation of its evidence.
    pub last_seen: Instant,
}

impl Finding {
    /// A finding observed at this instant.
    pub(super) fn new(
        severity: Severity,
        kind: Kind,
        unit: Option<UnitId>,
        what: String,
        remedy: Remedy,
        at: Instant,
    ) -> Self {
        Self { severity, kind, unit, what, remedy, subject: String::new(), active_since: at, last_seen: at }
    }

    /// Sets when its evidence was observed first and last.
    pub(super) fn seen(self, first: Instant, last: Instant) -> Self {
        Self { active_since: first, last_seen: last, ..self }
    }

    /// Sets what distinguishes it from other findings of its kind.
    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }
}

/// Severity of a finding, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Data is missing or wrong.
    Fault,
    /// It works, but not as well as it should, or may fail soon.
    Warning,
    /// For information; no action needed.
    Note,
}

/// The kinds of findings. Their names are part of the JSON and must not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The port is not open.
    PortClosed,
    /// Bytes of no answer fill most of the line's time.
    LineOccupied,
    /// No unit of the line answers.
    LineSilent,
    /// No unit from some point to the end of the line answers: a broken cable, or no power there.
    WireBreak,
    /// The driver counts faulty characters.
    FaultyCharacters,
    /// Bytes that belong to no frame.
    Noise,
    /// The answers of several units break off.
    LineTruncated,
    /// The adapter echoes what is sent.
    Echo,
    /// `echo` says otherwise than the adapter does.
    EchoSetting,
    /// What is sent comes back altered.
    Collision,
    /// Frames of units to which no request was sent.
    ForeignFrames,
    /// The line is in use almost all the time.
    LineFull,
    /// Background reading takes longer than planned.
    PollingSlow,
    /// Clients read more ranges than `learn_limit` allows to be kept fresh.
    LearnLimit,
    /// Overlapping ranges that clients read invalidate each other's data.
    RangesUndone,
    /// Another client sends requests on the line.
    ForeignRequests,
    /// A client sends RTU over TCP to a Modbus TCP listener.
    RtuOverTcp,
    /// A client speaks Modbus TCP to a listener for RTU over TCP.
    TcpToRtu,
    /// The certificate of a listener or the status page expires soon, or has expired.
    CertificateExpires,
    /// The port of a serial client is not open.
    ClientPortClosed,
    /// The audit file lacks writes.
    AuditIncomplete,
    /// A unit does not answer.
    Silent,
    /// Some answers of a unit are missing.
    Lossy,
    /// A unit uses most of its response timeout.
    Slow,
    /// A unit answers after its response timeout.
    Late,
    /// Answers of a unit are damaged.
    Garbled,
    /// The answers of a unit break off.
    Truncated,
    /// Two units seem to have the same address.
    DuplicateAddress,
    /// A unit answers with bytes that form no frame.
    Unreadable,
    /// The answers of a unit are intact but do not fit the requests.
    Misfit,
    /// Another unit answers in a unit's place.
    AddressChanged,
    /// A unit refuses requests with exceptions.
    Refusing,
    /// A unit does not answer certain reads, while it answers others.
    Ignoring,
    /// An alert that the meter itself reports.
    Alert,
    /// An implausibly low power factor.
    LowPowerFactor,
    /// There is no connection to a broker.
    BrokerAway,
    /// A broker takes less than is published.
    BrokerSlow,
}

impl Severity {
    /// Its name in text and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl Kind {
    /// Its name in the JSON; never changes.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PortClosed => "port_closed",
            Self::LineOccupied => "line_occupied",
            Self::LineSilent => "line_silent",
            Self::WireBreak => "wire_break",
            Self::FaultyCharacters => "faulty_characters",
            Self::Noise => "noise",
            Self::LineTruncated => "line_truncated",
            Self::Echo => "echo",
            Self::EchoSetting => "echo_setting",
            Self::Collision => "collision",
            Self::ForeignFrames => "foreign_frames",
            Self::LineFull => "line_full",
            Self::PollingSlow => "polling_slow",
            Self::LearnLimit => "learn_limit",
            Self::RangesUndone => "ranges_undone",
            Self::ForeignRequests => "foreign_requests",
            Self::RtuOverTcp => "rtu_over_tcp",
            Self::TcpToRtu => "tcp_to_rtu",
            Self::CertificateExpires => "certificate_expires",
            Self::ClientPortClosed => "client_port_closed",
            Self::AuditIncomplete => "audit_incomplete",
            Self::Silent => "silent",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::Garbled => "garbled",
            Self::Truncated => "truncated",
            Self::DuplicateAddress => "duplicate_address",
            Self::Unreadable => "unreadable",
            Self::Misfit => "misfit",
            Self::AddressChanged => "address_changed",
            Self::Refusing => "refusing",
            Self::Ignoring => "ignoring",
            Self::Alert => "alert",
            Self::LowPowerFactor => "low_power_factor",
            Self::BrokerAway => "broker_away",
            Self::BrokerSlow => "broker_slow",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
