//! The state of a unit as everything outside the line shows it: the line's health of the unit, as long as the unit can
//! be reached at all.
//!
//! Derived here and nowhere else, from what is published, and never stored.

use super::health::UnitState;
use super::settings::UnitId;
use super::view::{PortState, View};

/// The state of a unit, as in docs/diagnostics-unit.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Not heard since the start.
    NeverSeen,
    /// It answers.
    Online,
    /// It stopped answering: the read it answered last is being repeated.
    Confirming,
    /// It does not answer, and other units do.
    Offline,
    /// Its state cannot be determined: the port is closed, or the line as a whole is silent.
    Unreachable,
}

impl View {
    /// The state of one unit.
    #[must_use]
    pub fn availability(&self, id: UnitId) -> Availability {
        if self.port == PortState::Closed || self.is_silent {
            return Availability::Unreachable;
        }
        match self.unit(id).map(|unit| unit.state) {
            None | Some(UnitState::NeverSeen) => Availability::NeverSeen,
            Some(UnitState::Online) => Availability::Online,
            Some(UnitState::Confirming) => Availability::Confirming,
            Some(UnitState::Offline) => Availability::Offline,
        }
    }

    /// How many units do not answer: off-line or unreachable. Units that were never polled are not counted.
    #[must_use]
    pub fn count_lost(&self) -> usize {
        self.units.iter().filter(|unit| self.availability(unit.id).is_lost()).count()
    }
}

impl Availability {
    /// Whether it answers.
    #[must_use]
    pub fn is_answering(self) -> bool {
        match self {
            Self::Online | Self::Confirming => true,
            Self::NeverSeen | Self::Offline | Self::Unreachable => false,
        }
    }

    /// Whether it should answer and does not.
    #[must_use]
    pub fn is_lost(self) -> bool {
        match self {
            Self::Offline | Self::Unreachable => true,
            Self::NeverSeen | Self::Online | Self::Confirming => false,
        }
    }
}
