//! The names of buses and units and the meaning of their registers, for audit log, trace and capture.
//!
//! Owns the mapping from a bus to its name, and from a unit on its line to the identifier clients use, its name and its
//! profile. It decides nothing and is not used before a request is answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::line::{BusId, UnitId};
use crate::meter::{Point, Profile};
use crate::modbus::pdu::ReadRange;

/// The names of all buses and units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitDirectory {
    buses: BTreeMap<BusId, BusNames>,
}

#[derive(Clone, Debug, PartialEq)]
struct BusNames {
    name: String,
    units: BTreeMap<UnitId, UnitName>,
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
    /// Adds a bus and its units.
    pub fn insert(&mut self, bus: BusId, name: &str, units: BTreeMap<UnitId, UnitName>) {
        self.buses.insert(bus, BusNames { name: name.to_owned(), units });
    }

    /// The unit that clients address as `alias`. Listeners that lead to different buses may give one identifier to
    /// several units; then it is ambiguous: `None`.
    #[must_use]
    pub fn of_alias(&self, alias: u8) -> Option<&UnitName> {
        let mut found =
            self.buses.values().flat_map(|bus| bus.units.values()).filter(|name| name.alias == alias);
        found.next().filter(|_| found.next().is_none())
    }

    /// All buses and their names, in the order in which they were started.
    pub fn buses(&self) -> impl Iterator<Item = (BusId, &str)> {
        self.buses.iter().map(|(&id, bus)| (id, bus.name.as_str()))
    }

    /// The bus with this name.
    #[must_use]
    pub fn find_bus(&self, name: &str) -> Option<BusId> {
        self.buses().find_map(|(id, known)| (known == name).then_some(id))
    }

    /// The name of a bus, also of one that a reload has removed while its last traffic was still read.
    #[must_use]
    pub fn bus(&self, bus: BusId) -> &str {
        self.buses.get(&bus).map_or(REMOVED_BUS, |bus| &bus.name)
    }

    /// Whether `bus` has a unit that clients address as `alias`.
    #[must_use]
    pub fn has(&self, bus: BusId, alias: u8) -> bool {
        self.buses.get(&bus).is_some_and(|bus| bus.units.values().any(|name| name.alias == alias))
    }

    /// The names of a unit of `bus`.
    #[must_use]
    pub fn unit(&self, bus: BusId, unit: UnitId) -> Option<&UnitName> {
        self.buses.get(&bus)?.units.get(&unit)
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

/// Stands for the name of a bus that is no longer configured.
const REMOVED_BUS: &str = "(removed)";
