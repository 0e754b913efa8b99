//! What two parts of the file say about each other.
//!
//! Every check runs whose own inputs are sound, whatever else was reported; nothing is changed here.
//! Contract section 1: identifiers unique per listener, one bus per device, deadlines that can be kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::bus::{BusRead, UnitRead};
use super::device;
use super::listener::ListenerRead;
use super::settings::Listener;
use crate::bus::settings::UnitId;
use crate::io::settings::ListenerSettings;
use crate::yaml::nearest::nearest;
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::Field;
use crate::yaml::value::show_duration;

/// Compares everything; gives for each listener the buses it leads to, `None` where that was reported.
pub(super) fn check(
    listeners: &[Option<ListenerRead>],
    buses: &[Option<BusRead>],
    faults: &mut Faults<'_>,
) -> Vec<Option<Vec<usize>>> {
    check_addresses(listeners, faults);
    check_names(buses, faults);
    check_devices(buses, faults);
    for bus in buses.iter().flatten() {
        check_identifiers(bus, faults);
    }
    let routes: Vec<_> = listeners.iter().map(|one| route(one.as_ref()?, buses, faults)).collect();
    let mut reported = Vec::new();
    for (listener, route) in listeners.iter().zip(&routes) {
        let (Some(listener), Some(route)) = (listener, route) else { continue };
        check_routes(listener, route, buses, &mut reported, faults);
        check_deadline(listener, route, buses, faults);
    }
    check_unused(&routes, buses, faults);
    routes
}

/// No listener may lead to a meter under the identifier of the diagnostics unit.
pub(super) fn check_diagnostics(
    id: u8,
    place: &Place,
    routes: &[Option<Vec<usize>>],
    buses: &[Option<BusRead>],
    faults: &mut Faults<'_>,
) {
    let shown: Vec<&UnitRead> = buses
        .iter()
        .enumerate()
        .filter(|(index, _)| routes.iter().flatten().any(|route| route.contains(index)))
        .filter_map(|(_, bus)| bus.as_ref())
        .flat_map(|bus| &bus.units)
        .collect();
    let has = |unit: &&&UnitRead, id: u8| unit.aliases.as_ref().is_some_and(|aliases| aliases.contains(&id));
    let Some(unit) = shown.iter().find(|unit| has(unit, id)) else { return };
    let free = (1..=UnitId::STANDARD_MAX).rev().find(|free| !shown.iter().any(|unit| has(&unit, *free)));
    let message = format!(
        "found {id}, which leads to {} on line {} already; allowed: off, or an identifier no unit has, such as {}",
        unit.place.key,
        unit.place.spot.line,
        free.unwrap_or(u8::MAX)
    );
    faults.error(place, message);
}

/// A finished listener.
pub(super) fn listener(settings: ListenerSettings, buses: Vec<usize>) -> Option<Listener> {
    (!buses.is_empty()).then_some(Listener { settings, buses, unit_map: None })
}

fn check_addresses(listeners: &[Option<ListenerRead>], faults: &mut Faults<'_>) {
    let known: Vec<_> =
        listeners.iter().flatten().filter_map(|one| Some((one.address?, &one.address_at))).collect();
    for (index, (address, place)) in known.iter().enumerate() {
        if let Some((first, first_at)) = known[..index].iter().find(|(earlier, _)| collide(earlier, address))
        {
            let message = format!(
                "found {address}, but {} on line {} already takes {first}; allowed: each address and port once",
                first_at.key, first_at.spot.line
            );
            faults.error(place, message);
        }
    }
}

/// Whether the kernel would refuse the second of the two.
pub(super) fn collide(a: &SocketAddr, b: &SocketAddr) -> bool {
    let same_ip = a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified());
    // Port 0 is another free port each time.
    a.port() == b.port() && a.port() != 0 && same_ip
}

fn check_names(buses: &[Option<BusRead>], faults: &mut Faults<'_>) {
    let mut seen = BTreeMap::new();
    for bus in buses.iter().flatten() {
        let Some(name) = &bus.name else { continue };
        if let Some(first) = seen.get(name) {
            let message = format!("found {name}, the name of {first} too; allowed: each name once");
            faults.error(&bus.name_at, message);
        } else {
            seen.insert(name, bus.name_at.key.trim_end_matches(".name").to_owned());
        }
    }
}

fn check_devices(buses: &[Option<BusRead>], faults: &mut Faults<'_>) {
    let mut seen = BTreeMap::new();
    for bus in buses.iter().flatten() {
        let Some(found) = &bus.device else { continue };
        let resolved = device::resolved(found);
        if let Some((first, first_at)) = seen.get(&resolved) {
            let message = format!(
                "found {}, the same device as {first} of {first_at}; allowed: one bus on a device",
                found.display()
            );
            faults.error(&bus.device_at, message);
        } else {
            seen.insert(resolved, (found.display(), &bus.device_at.key));
        }
    }
}

/// Identifiers on the line, and those clients use, each once in a bus.
fn check_identifiers(bus: &BusRead, faults: &mut Faults<'_>) {
    let mut on_line: BTreeMap<u8, &UnitRead> = BTreeMap::new();
    let mut for_clients: BTreeMap<u8, &UnitRead> = BTreeMap::new();
    for unit in &bus.units {
        let taken = unit.ids.clone().and_then(|ids| claim(&mut on_line, ids, unit));
        if let Some((id, first)) = taken {
            let (key, line) = (&first.place.key, first.id_at.spot.line);
            let message = format!(
                "found unit {id} a second time, {key} on line {line} has it already; \
                 allowed: each unit once on a bus"
            );
            faults.error(&unit.id_at, message);
        }
        let taken_alias = unit.aliases.clone().and_then(|aliases| claim(&mut for_clients, aliases, unit));
        // A unit listed twice under its own identifier is one fault, not two.
        if let Some((alias, first)) = taken_alias.filter(|_| unit.renamed || taken.is_none()) {
            let place = if unit.renamed { &unit.as_at } else { &unit.id_at };
            let (key, line) = (&first.place.key, first.place.spot.line);
            let message = format!(
                "found identifier {alias} for clients, which leads to {key} on line {line} already; \
                 allowed: each identifier once on a listener, see the key as"
            );
            faults.error(place, message);
        }
    }
}

/// Notes who has each of the identifiers; gives the first that had an owner, and the owner.
fn claim<'u>(
    owners: &mut BTreeMap<u8, &'u UnitRead>,
    ids: std::ops::RangeInclusive<u8>,
    unit: &'u UnitRead,
) -> Option<(u8, &'u UnitRead)> {
    let mut taken = None;
    for id in ids {
        let owner = *owners.entry(id).or_insert(unit);
        if !std::ptr::eq(owner, unit) && taken.is_none() {
            taken = Some((id, owner));
        }
    }
    taken
}

/// The buses a listener names.
fn route(listener: &ListenerRead, buses: &[Option<BusRead>], faults: &mut Faults<'_>) -> Option<Vec<usize>> {
    let names = match &listener.buses {
        Field::Absent => return Some((0..buses.len()).collect()),
        Field::Faulty => return None,
        Field::Given(names) => names,
    };
    // With a name missing, nobody can say which name is unknown.
    let known: Option<Vec<&str>> =
        buses.iter().map(|bus| bus.as_ref().and_then(|bus| bus.name.as_deref())).collect();
    let mut route = Vec::new();
    let mut sound = true;
    for entry in names {
        let Some(name) = &entry.name else {
            sound = false;
            continue;
        };
        let has_it = |bus: &Option<BusRead>| bus.as_ref().is_some_and(|bus| bus.name.as_ref() == Some(name));
        match buses.iter().position(has_it) {
            Some(index) if route.contains(&index) => {
                let message = format!("found {name} a second time; allowed: each bus once on a listener");
                faults.error(&entry.place, message);
                sound = false;
            }
            Some(index) => route.push(index),
            None => {
                sound = false;
                if let Some(known) = known.as_ref().filter(|known| !known.is_empty()) {
                    let hint = nearest(name, known.iter().copied());
                    let hint = hint.map_or(String::new(), |near| format!(" (did you mean {near}?)"));
                    let message =
                        format!("found no bus of the name {name}{hint}; allowed: {}", known.join(", "));
                    faults.error(&entry.place, message);
                }
            }
        }
    }
    // What is known of a faulty list is still worth comparing; the fault itself keeps the file out.
    (sound || !route.is_empty()).then_some(route)
}

/// No identifier may lead to two buses of one listener.
fn check_routes(
    listener: &ListenerRead,
    route: &[usize],
    buses: &[Option<BusRead>],
    reported: &mut Vec<*const UnitRead>,
    faults: &mut Faults<'_>,
) {
    let mut owners: BTreeMap<u8, &UnitRead> = BTreeMap::new();
    // In order of the file, so that the later of two units is the one to change.
    let routed = buses.iter().enumerate().filter(|(index, _)| route.contains(index));
    for bus in routed.filter_map(|(_, bus)| bus.as_ref()) {
        let mut own: BTreeMap<u8, &UnitRead> = BTreeMap::new();
        for unit in &bus.units {
            let Some(aliases) = unit.aliases.clone() else { continue };
            let taken = aliases.clone().find_map(|alias| Some((alias, *owners.get(&alias)?)));
            if let Some((alias, first)) = taken.filter(|_| !reported.contains(&std::ptr::from_ref(unit))) {
                reported.push(unit);
                let place = if unit.renamed { &unit.as_at } else { &unit.id_at };
                let message = format!(
                    "found identifier {alias} for clients, which leads to {} on line {} already, on the same \
                     listener ({}); allowed: each identifier once on a listener, see the keys as and buses",
                    first.place.key,
                    first.place.spot.line,
                    listener.address_at.key.trim_end_matches(".address")
                );
                faults.error(place, message);
            }
            own.extend(aliases.map(|alias| (alias, unit)));
        }
        for (alias, unit) in own {
            owners.entry(alias).or_insert(unit);
        }
    }
}

/// One attempt at the slowest unit has to fit into the deadline.
fn check_deadline(
    listener: &ListenerRead,
    route: &[usize],
    buses: &[Option<BusRead>],
    faults: &mut Faults<'_>,
) {
    let units = route.iter().filter_map(|index| buses[*index].as_ref()).flat_map(|bus| &bus.units);
    let slowest = units.filter_map(|unit| Some((unit.response_timeout?, unit))).max_by_key(|(slow, _)| *slow);
    let (Some(deadline), Some((slow, unit))) = (listener.request_deadline, slowest) else { return };
    let needed = slow + DEADLINE_SLACK;
    if deadline < needed {
        let found = if listener.deadline_given { "found" } else { "the key is missing, and its default is" };
        let message = format!(
            "{found} {}, too short for one attempt: the response_timeout of {} on line {} is {}; \
             allowed: at least {}",
            show_duration(deadline),
            unit.place.key,
            unit.place.spot.line,
            show_duration(slow),
            show_duration(needed)
        );
        faults.error(&listener.request_deadline_at, message);
    }
}

fn check_unused(routes: &[Option<Vec<usize>>], buses: &[Option<BusRead>], faults: &mut Faults<'_>) {
    let Some(routes) = routes.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return };
    for (index, bus) in buses.iter().enumerate() {
        let used = routes.is_empty() || routes.iter().any(|route| route.contains(&index));
        if let Some(bus) = bus.as_ref().filter(|_| !used) {
            faults.warning(&bus.name_at, "no listener leads to this bus; nobody can ask its units");
        }
    }
}

/// What a deadline leaves for the wire and the way back, beyond the response timeout.
const DEADLINE_SLACK: Duration = Duration::from_millis(100);
