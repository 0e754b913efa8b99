//! The names of units and the meaning of their registers, for audit log and trace.
//!
//! Owns the mapping from a bus and a unit on its line to the identifier clients use, its name and its profile. It
//! decides nothing and is not used before a request is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::line::UnitId;
use crate::meter::{Point, Profile};
use crate::modbus::pdu::ReadRange;

/// The names of all units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitDirectory {
    units: BTreeMap<String, BTreeMap<UnitId, UnitName>>,
}

/// The names of one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitName {
    /// The identifier clients use.
    pub alias: u8,
    /// Its display name.
    pub name: Option<String>,
    /// The profile of its registers.
    pub profile: Option<Arc<Profile>>,
}

impl UnitDirectory {
    /// Adds a unit of `bus`.
    pub fn insert(&mut self, bus: &str, unit: UnitId, name: UnitName) {
        self.units.entry(bus.to_owned()).or_default().insert(unit, name);
    }

    /// The unit that clients address as `alias`. Listeners that lead to different buses may give one identifier to
    /// several units; then it is ambiguous: `None`.
    #[must_use]
    pub fn of_alias(&self, alias: u8) -> Option<&UnitName> {
        let mut found = self.units.values().flat_map(BTreeMap::values).filter(|name| name.alias == alias);
        found.next().filter(|_| found.next().is_none())
    }

    /// The names of all buses, in alphabetical order.
    pub fn buses(&self) -> impl Iterator<Item = &str> {
        self.units.keys().map(String::as_str)
    }

    /// Whether `bus` has a unit that clients address as `alias`.
    #[must_use]
    pub fn has(&self, bus: &str, alias: u8) -> bool {
        self.units.get(bus).is_some_and(|units| units.values().any(|name| name.alias == alias))
    }

    /// The names of a unit of `bus`.
    #[must_use]
    pub fn unit(&self, bus: &str, unit: UnitId) -> Option<&UnitName> {
        self.units.get(bus)?.get(&unit)
    }
}

impl UnitName {
    /// The points with a register in `range`, in the order of the profile.
    pub fn points<'n>(&'n self, range: &ReadRange) -> impl Iterator<Item = &'n Point> {
        let range = *range;
        let profile = self.profile.as_deref();
        profile.into_iter().flat_map(move |profile| {
            let held = move |point: &&Point| profile.range_in(point, range.function).overlaps(&range);
            profile.points.iter().filter(held)
        })
    }
}
