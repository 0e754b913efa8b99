//! The names of units and the meaning of their registers, for what people read: audit and trace.
//!
//! Owns the way from a bus and a unit on its line to the identifier clients use, its name and its profile. It
//! decides nothing and is not used before a request is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::line::UnitId;
use crate::meter::{Point, Profile};
use crate::modbus::pdu::ReadRange;

/// What all units are called.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitDirectory {
    units: BTreeMap<String, BTreeMap<UnitId, UnitName>>,
}

/// What one unit is called.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitName {
    /// The identifier clients use.
    pub alias: u8,
    /// What people call it.
    pub name: Option<String>,
    /// What its registers mean.
    pub profile: Option<Arc<Profile>>,
}

impl UnitDirectory {
    /// UnitDirectory a unit of `bus`.
    pub fn insert(&mut self, bus: &str, unit: UnitId, name: UnitName) {
        self.units.entry(bus.to_owned()).or_default().insert(unit, name);
    }

    /// What the unit is called that clients know as `alias`. Listeners that lead to different buses may give one
    /// identifier to several; then nobody knows.
    #[must_use]
    pub fn of_alias(&self, alias: u8) -> Option<&UnitName> {
        let mut found = self.units.values().flat_map(BTreeMap::values).filter(|name| name.alias == alias);
        found.next().filter(|_| found.next().is_none())
    }

    /// The names of all buses, in the order of the alphabet.
    pub fn buses(&self) -> impl Iterator<Item = &str> {
        self.units.keys().map(String::as_str)
    }

    /// Whether `bus` has a unit that clients know as `alias`.
    #[must_use]
    pub fn has(&self, bus: &str, alias: u8) -> bool {
        self.units.get(bus).is_some_and(|units| units.values().any(|name| name.alias == alias))
    }

    /// What a unit of `bus` is called.
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
