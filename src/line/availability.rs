//! The state of a unit as everything outside the line shows it: what the line knows of the unit's health, as long as the
//! unit can be reached at all.
//!
//! Derived here and nowhere else, from what is published, and never stored.

use super::health::UnitState;
use super::settings::UnitId;
use super::view::{PortState, View};

/// The state of a unit, as contract section 5 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Not heard since the start.
    NeverSeen,
    /// It answers.
    Online,
    /// It stopped answering: what it answered last is being asked again.
    Confirming,
    /// It does not answer, and others do.
    Offline,
    /// Nothing can be known of it: the port is closed, or the line as a whole is silent.
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

    /// How many units give no answers: they are off-line or unreachable. Those never asked are not among them.
    #[must_use]
    pub fn count_lost(&self) -> usize {
        self.units.iter().filter(|unit| self.availability(unit.id).is_lost()).count()
    }
}

impl Availability {
    /// Whether it gives answers.
    #[must_use]
    pub fn is_answering(self) -> bool {
        match self {
            Self::Online | Self::Confirming => true,
            Self::NeverSeen | Self::Offline | Self::Unreachable => false,
        }
    }

    /// Whether it gives none, and was to.
    #[must_use]
    pub fn is_lost(self) -> bool {
        match self {
            Self::Offline | Self::Unreachable => true,
            Self::NeverSeen | Self::Online | Self::Confirming => false,
        }
    }
}
