//! What is wrong, in words: the values that the rules make and that pages and commands print.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::line::UnitId;

use super::remedy::Remedy;

/// One thing that somebody should know of, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The unit it is about; `None`: the line as a whole.
    pub unit: Option<UnitId>,
    /// What is seen, a sentence without its full stop.
    pub what: String,
    /// What to do about it.
    pub remedy: Remedy,
    /// What tells it from others of its kind and unit: an alert's name, the ranges it is about; or empty.
    pub subject: String,
    /// Since when it is wrong.
    pub active_since: Instant,
    /// When its evidence was last seen.
    pub last_seen: Instant,
}

impl Finding {
    /// One that is seen at this instant.
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

    /// The same, whose evidence came first and last at these instants.
    pub(super) fn seen(self, first: Instant, last: Instant) -> Self {
        Self { active_since: first, last_seen: last, ..self }
    }

    /// The same, one of several of its kind.
    pub(super) fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: subject.into(), ..self }
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Data is missing or untrue.
    Fault,
    /// It works, and will not for long, or not as well as it should.
    Warning,
    /// Worth knowing; nothing to do.
    Note,
}

/// The kinds of findings. Their words are part of the JSON, so they stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The port is not open.
    PortClosed,
    /// Bytes come without end.
    LineOccupied,
    /// No unit of the line answers.
    LineSilent,
    /// The end of a line does not answer: a broken cable, or its power.
    WireBreak,
    /// The driver counts faulty characters.
    FaultyCharacters,
    /// Bytes that belong to no frame.
    Noise,
    /// What is sent comes back.
    Echo,
    /// What is sent comes back altered.
    Collision,
    /// Units answer that were not asked.
    ForeignFrames,
    /// The line has no time left.
    LineFull,
    /// Background readings come later than planned.
    PollingSlow,
    /// Clients read more ranges than are kept fresh.
    LearnLimit,
    /// Ranges that clients read make each other's data unusable.
    RangesUndone,
    /// Another client sends requests on the line.
    ForeignRequests,
    /// A client speaks RTU over TCP to a listener for Modbus TCP.
    RtuOverTcp,
    /// A unit does not answer.
    Silent,
    /// A unit answers now and then.
    Lossy,
    /// A unit takes nearly as long as it may.
    Slow,
    /// A unit answers after its time.
    Late,
    /// Answers of a unit come damaged.
    Garbled,
    /// Two units seem to answer to one identifier.
    DuplicateAddress,
    /// A unit answers with bytes that are no frame.
    Unreadable,
    /// A unit answers something else than it was asked.
    Misfit,
    /// Another unit answers in a unit's place.
    AddressChanged,
    /// A unit refuses what it is asked.
    Refusing,
    /// The meter reports it.
    Alert,
    /// A power factor too low to be true.
    LowPowerFactor,
}

impl Severity {
    /// One word.
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
    /// One word, the same for ever.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PortClosed => "port_closed",
            Self::LineOccupied => "line_occupied",
            Self::LineSilent => "line_silent",
            Self::WireBreak => "wire_break",
            Self::FaultyCharacters => "faulty_characters",
            Self::Noise => "noise",
            Self::Echo => "echo",
            Self::Collision => "collision",
            Self::ForeignFrames => "foreign_frames",
            Self::LineFull => "line_full",
            Self::PollingSlow => "polling_slow",
            Self::LearnLimit => "learn_limit",
            Self::RangesUndone => "ranges_undone",
            Self::ForeignRequests => "foreign_requests",
            Self::RtuOverTcp => "rtu_over_tcp",
            Self::Silent => "silent",
            Self::Lossy => "lossy",
            Self::Slow => "slow",
            Self::Late => "late",
            Self::Garbled => "garbled",
            Self::DuplicateAddress => "duplicate_address",
            Self::Unreadable => "unreadable",
            Self::Misfit => "misfit",
            Self::AddressChanged => "address_changed",
            Self::Refusing => "refusing",
            Self::Alert => "alert",
            Self::LowPowerFactor => "low_power_factor",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
