//! Events of a line, for the log and for lists of events and findings.
//!
//! The line itself does not log. The task that drives it does, and limits how often.

use std::fmt;
use std::time::Duration;

use crate::modbus::pdu::ReadRange;

use super::health::UnitState;
use super::record::Misfit;
use super::settings::{LineSettings, UnitId};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A unit answers, after it was never seen, suspected or off-line.
    Found {
        /// Which.
        unit: UnitId,
        /// What it was before.
        was: UnitState,
        /// How long it had not answered.
        away: Duration,
    },
    /// A unit stopped answering and is asked what it answered last.
    Suspected {
        /// Which.
        unit: UnitId,
    },
    /// A unit is off-line.
    Lost {
        /// Which.
        unit: UnitId,
        /// How long it has not answered.
        silent_for: Duration,
    },
    /// No unit answers any more.
    LineSilent,
    /// A unit answers on a line that was silent.
    LineRecovered {
        /// Which.
        unit: UnitId,
    },
    /// Bytes without end: nothing is sent into them.
    Occupied,
    /// The line is free again.
    Free,
    /// An answer came after its request had been given up.
    Late {
        /// Whose.
        unit: UnitId,
        /// How long after its request began to be sent.
        after: Duration,
        /// How many came so far.
        count: u64,
    },
    /// An intact answer that does not fit its request.
    Misfit {
        /// Whose.
        unit: UnitId,
        /// In what way.
        misfit: Misfit,
    },
    /// Another client sends requests on this wire.
    ForeignRequest,
    /// A block that the gateway reads on its own account is read in parts.
    Divided {
        /// Whose.
        unit: UnitId,
        /// The block.
        range: ReadRange,
        /// Why.
        why: DivisionReason,
        /// Whether anything of it is still read.
        is_read: bool,
    },
    /// Blocks are read more slowly than planned.
    TooFull {
        /// How many times.
        slowdown: f64,
        /// Whether background readings alone ask for more than `poll_share`.
        is_beyond_share: bool,
    },
    /// Blocks are read as often as planned again.
    AsPlanned,
    /// Background readings take more line time than `check` estimates.
    Overrun {
        /// Line time used over line time estimated.
        ratio: f64,
    },
    /// A learned range found no room.
    LearnLimit {
        /// How many there may be.
        limit: usize,
    },
}

/// Why a block is read in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DivisionReason {
    /// The unit refused it as a whole.
    Refused,
    /// The unit did not answer it, and answered other reads.
    Unanswered,
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLevel {
    /// Something is wrong.
    Warning,
    /// Something has changed.
    Info,
    /// For diagnosis.
    Debug,
}

impl Event {
    /// How loud it is.
    #[must_use]
    pub fn level(&self) -> EventLevel {
        match self {
            Self::Lost { .. }
            | Self::LineSilent
            | Self::Occupied
            | Self::TooFull { .. }
            | Self::Misfit { .. }
            | Self::ForeignRequest
            | Self::LearnLimit { .. } => EventLevel::Warning,
            Self::Found { was: UnitState::Confirming, .. } | Self::Suspected { .. } => EventLevel::Debug,
            Self::Late { count, .. } if *count > 1 => EventLevel::Debug,
            Self::Divided { is_read: false, .. } => EventLevel::Warning,
            Self::Found { .. }
            | Self::LineRecovered { .. }
            | Self::Free
            | Self::Late { .. }
            | Self::Divided { .. }
            | Self::AsPlanned
            | Self::Overrun { .. } => EventLevel::Info,
        }
    }

    /// The event in words, on a line with these settings.
    #[must_use]
    pub fn describe<'a>(&'a self, settings: &'a LineSettings) -> Described<'a> {
        Described { event: self, settings }
    }

    /// The unit it is about, if it is about one.
    #[must_use]
    pub fn unit(&self) -> Option<UnitId> {
        match self {
            Self::Found { unit, .. }
            | Self::Suspected { unit }
            | Self::Lost { unit, .. }
            | Self::LineRecovered { unit }
            | Self::Late { unit, .. }
            | Self::Misfit { unit, .. }
            | Self::Divided { unit, .. } => Some(*unit),
            Self::LineSilent
            | Self::Occupied
            | Self::Free
            | Self::ForeignRequest
            | Self::TooFull { .. }
            | Self::AsPlanned
            | Self::Overrun { .. }
            | Self::LearnLimit { .. } => None,
        }
    }
}

/// An event in words, with its unit as clients know it.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    event: &'a Event,
    settings: &'a LineSettings,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, settings } = *self;
        let label = event.unit().map(|unit| settings.label(unit)).unwrap_or_default();
        match event {
            Event::Found { was: UnitState::NeverSeen, .. } => write!(f, "{label} is on-line"),
            Event::Found { away, .. } => {
                write!(f, "{label} answers again after {}", Seconds(*away))
            }
            Event::Suspected { .. } => {
                write!(f, "{label} stopped answering; asking again what it answered last")
            }
            Event::Lost { silent_for, .. } => write!(
                f,
                "{label} is off-line (no answer for {}); it is probed now and then",
                Seconds(*silent_for)
            ),
            Event::LineSilent => f.write_str(
                "line silent: no unit answers; check the cable, its A and B wires and the power of the units",
            ),
            Event::LineRecovered { .. } => write!(f, "line no longer silent: {label} answers"),
            Event::Occupied => f.write_str(
                "line occupied: bytes without end, nothing is sent into them; look for a unit that keeps \
                 sending, a missing termination or the wrong baud rate",
            ),
            Event::Free => f.write_str("line free again"),
            Event::Late { after, count: 1, .. } => write!(
                f,
                "{label} answered late, {after:?} after its request; more late answers are logged as debug, \
                 and a longer `response_timeout` would wait for them"
            ),
            Event::Late { after, .. } => {
                write!(f, "{label} answered late, {after:?} after its request")
            }
            Event::Misfit { misfit, .. } => write!(f, "{label} {misfit}"),
            Event::ForeignRequest => f.write_str(
                "another client sends requests on this wire; only one may: connect it to the gateway instead",
            ),
            Event::Divided { range: ReadRange { function, start, quantity }, why, is_read, .. } => {
                let end = start + (quantity - 1);
                let then = if *is_read { "it is read in parts" } else { "it is not read in the background" };
                write!(
                    f,
                    "{label} {why} the read of {start} to {end} by function {function} as a whole; {then}"
                )
            }
            Event::TooFull { slowdown, is_beyond_share: true } => write!(
                f,
                "the line is too full: blocks are read {slowdown:.1} times slower than planned, because \
                 background readings ask for more than `poll_share` gives; a longer `poll`, or fewer `blocks` or \
                 units on this bus would help"
            ),
            Event::TooFull { slowdown, is_beyond_share: false } => write!(
                f,
                "the line is too full: blocks are read {slowdown:.1} times slower than planned, because clients \
                 and units that do not answer take the line; a `max_age` on listeners that have none, or fewer \
                 units on this bus would help"
            ),
            Event::AsPlanned => f.write_str("blocks are read as often as planned again"),
            Event::Overrun { ratio } => write!(
                f,
                "background readings take {:.0} % of the line time that `check` estimates; slow units or units \
                 that do not answer make the difference",
                ratio * 100.0
            ),
            Event::LearnLimit { limit } => write!(
                f,
                "clients read more ranges than `learn_limit` ({limit}) keeps fresh; raise it, or let the clients \
                 read longer ranges"
            ),
        }
    }
}

impl fmt::Display for DivisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refuses",
            Self::Unanswered => "does not answer",
        })
    }
}

/// A duration in whole seconds, or in milliseconds below one.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(f, "{} ms", self.0.as_millis()),
            seconds => write!(f, "{seconds} s"),
        }
    }
}
