//! Events of a line, for the log and for the lists of events and findings.
//!
//! The line itself does not log. The task that drives it does, and rate-limits it.

use std::fmt;
use std::time::Duration;

use crate::modbus::pdu::ReadRange;

use super::health::UnitState;
use super::record::Misfit;
use super::settings::{LineSettings, Protocol, UnitId};

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub enum LineEvent {
    /// A unit answers that was never seen, suspected or off-line.
    Found {
        /// The unit.
        unit: UnitId,
        /// Its state before.
        was: UnitState,
        /// How long it had not answered.
        away: Duration,
    },
    /// A unit stopped answering; the read it answered last is being repeated.
    Suspected {
        /// The unit.
        unit: UnitId,
    },
    /// A unit is off-line.
    Lost {
        /// The unit.
        unit: UnitId,
        /// How long it has not answered.
        silent_for: Duration,
    },
    /// No unit gives an intact answer any more.
    LineSilent {
        /// Whether answers come that are damaged or break off.
        is_damaged: bool,
    },
    /// A unit answers on a line that was silent.
    LineRecovered {
        /// The unit.
        unit: UnitId,
    },
    /// Bytes keep arriving: nothing is sent.
    Occupied,
    /// The line is free again.
    Free,
    /// An answer came after its request had been given up.
    Late {
        /// The unit.
        unit: UnitId,
        /// How long after its request began to be sent.
        after: Duration,
        /// How many came so far.
        count: u64,
    },
    /// An intact answer that does not fit its request.
    Misfit {
        /// The unit.
        unit: UnitId,
        /// How it differs.
        misfit: Misfit,
    },
    /// Another client sends requests on this wire.
    ForeignRequest,
    /// A block of a background reading is read in parts from now on.
    Divided {
        /// The unit.
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
        /// By which factor.
        slowdown: f64,
        /// Whether background readings alone need more than `poll_share`.
        is_beyond_share: bool,
    },
    /// Blocks are read as often as planned again.
    AsPlanned,
    /// Background readings take more line time than `check` estimated.
    Overrun {
        /// Line time used over line time estimated.
        ratio: f64,
    },
    /// A learned range found no free slot.
    LearnLimit {
        /// The limit.
        limit: usize,
    },
}

/// Why a block is read in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DivisionReason {
    /// The unit refused it.
    Refused,
    /// Its answers did not fit the request.
    Misfit,
    /// The unit did not answer it, but answered other reads.
    Unanswered,
}

/// The log level of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventLevel {
    /// Something is wrong.
    Warning,
    /// Something has changed.
    Info,
    /// For diagnosis.
    Debug,
}

impl LineEvent {
    /// Its log level.
    #[must_use]
    pub fn level(&self) -> EventLevel {
        match self {
            Self::Lost { .. }
            | Self::LineSilent { .. }
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

    /// The event as text, for a line with these settings.
    #[must_use]
    pub fn describe<'a>(&'a self, settings: &'a LineSettings) -> Described<'a> {
        Described { event: self, settings }
    }

    /// The unit concerned, if any.
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
            Self::LineSilent { .. }
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

/// Displays an event, with the unit as clients address it.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    event: &'a LineEvent,
    settings: &'a LineSettings,
}

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, settings } = *self;
        let label = event.unit().map(|unit| settings.label(unit)).unwrap_or_default();
        match event {
            LineEvent::Found { was: UnitState::NeverSeen, .. } => write!(f, "{label} is on-line"),
            LineEvent::Found { away, .. } => {
                write!(f, "{label} answers again after {}", Seconds(*away))
            }
            LineEvent::Suspected { .. } => {
                write!(f, "{label} stopped answering; asking again what it answered last")
            }
            LineEvent::Lost { silent_for, .. } => write!(
                f,
                "{label} is off-line (no answer for {}); it is probed now and then",
                Seconds(*silent_for)
            ),
            LineEvent::LineSilent { is_damaged: true } => f.write_str(ONLY_DAMAGED_ANSWERS),
            LineEvent::LineSilent { is_damaged: false } => f.write_str(describe_silence(settings.protocol)),
            LineEvent::LineRecovered { .. } => write!(f, "line no longer silent: {label} answers"),
            LineEvent::Occupied => f.write_str(
                "line occupied: bytes without end, nothing is sent into them; look for a unit that keeps \
                 sending, a missing termination or the wrong baud rate",
            ),
            LineEvent::Free => f.write_str("line free again"),
            LineEvent::Late { after, count: 1, .. } => write!(
                f,
                "{label} answered late, {after:?} after its request; more late answers are logged as debug, \
                 and a longer `response_timeout` would wait for them"
            ),
            LineEvent::Late { after, .. } => {
                write!(f, "{label} answered late, {after:?} after its request")
            }
            LineEvent::Misfit { misfit, .. } => write!(f, "{label} {misfit}"),
            LineEvent::ForeignRequest => f.write_str(
                "another client sends requests on this wire; only one may: connect it to the gateway instead",
            ),
            LineEvent::Divided { range: ReadRange { function, start, quantity }, why, is_read, .. } => {
                let end = start + (quantity - 1);
                let then = if *is_read { "it is read in parts" } else { "it is not read in the background" };
                write!(
                    f,
                    "{label} {why} the read of {start} to {end} by function {function} as a whole; {then}"
                )
            }
            LineEvent::TooFull { slowdown, is_beyond_share: true } => write!(
                f,
                "the line is too full: blocks are read {slowdown:.1} times slower than planned, because \
                 background readings ask for more than `poll_share` gives; a longer `poll`, or fewer `blocks` or \
                 units on this bus would help"
            ),
            LineEvent::TooFull { slowdown, is_beyond_share: false } => write!(
                f,
                "the line is too full: blocks are read {slowdown:.1} times slower than planned, because clients \
                 and units that do not answer take the line; a `max_age` on listeners that have none, or fewer \
                 units on this bus would help"
            ),
            LineEvent::AsPlanned => f.write_str("blocks are read as often as planned again"),
            LineEvent::Overrun { ratio } => write!(
                f,
                "background readings take {:.0} % of the line time that `check` estimates; slow units or units \
                 that do not answer make the difference",
                ratio * 100.0
            ),
            LineEvent::LearnLimit { limit } => write!(
                f,
                "clients read more ranges than `learn_limit` ({limit}) keeps fresh; raise it, or let the clients \
                 read longer ranges"
            ),
        }
    }
}

fn describe_silence(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Rtu(_) => {
            "line silent: no unit answers; check the cable, its A and B wires and the power of the units"
        }
        Protocol::Tcp => {
            "line silent: no unit answers, though the server takes the connection; check the server and the line \
             behind it"
        }
    }
}

const ONLY_DAMAGED_ANSWERS: &str = "line silent: no unit gives an intact answer, though answers come damaged or break \
    off; `metergate doctor` says which, and what may cause it";

impl fmt::Display for DivisionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refuses",
            Self::Misfit => "gives no fitting answer to",
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
