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
use super::value::MAX_READ;
use crate::bus::settings::UnitId;
use crate::modbus::rtu;
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
        check_unit_map(listener, route, buses, faults);
        check_deadline(listener, route, buses, faults);
        check_wire_time(listener, route, buses, faults);
    }
    check_unused(&routes, buses, faults);
    routes
}

/// No listener may lead to a meter under the identifier of the diagnostics unit.
pub(super) fn check_diagnostics(
    id: u8,
    place: &Place,
    listeners: &[Option<ListenerRead>],
    routes: &[Option<Vec<usize>>],
    buses: &[Option<BusRead>],
    faults: &mut Faults<'_>,
) {
    let mut served = BTreeMap::new();
    for (listener, route) in listeners.iter().zip(routes) {
        let (Some(listener), Some(route)) = (listener, route) else { continue };
        match &listener.unit_map {
            Field::Absent => served.extend(units_of(route, buses).rev().flat_map(under_aliases)),
            Field::Given(mapped) => {
                for one in mapped.iter().filter(|one| one.sent == id) {
                    let message = format!(
                        "found {id}, the identifier of the diagnostics unit on line {}; allowed: another one, or \
                         another diagnostics_unit",
                        place.spot.line
                    );
                    faults.error(&one.sent_at, message);
                }
            }
            Field::Faulty => {}
        }
    }
    let Some(unit) = served.get(&id) else { return };
    let free = (1..=UnitId::STANDARD_MAX).rev().find(|free| !served.contains_key(free));
    let message = format!(
        "found {id}, which leads to {} on line {} already; allowed: off, or an identifier no unit has, such as {}",
        unit.place.key,
        unit.place.spot.line,
        free.unwrap_or(u8::MAX)
    );
    faults.error(place, message);
}

/// The units a listener leads to, in order of the file.
fn units_of<'b>(
    route: &'b [usize],
    buses: &'b [Option<BusRead>],
) -> impl DoubleEndedIterator<Item = &'b UnitRead> {
    let routed = buses.iter().enumerate().filter(|(index, _)| route.contains(index));
    routed.filter_map(|(_, bus)| bus.as_ref()).flat_map(|bus| &bus.units)
}

/// A unit entry under each identifier clients use for it.
fn under_aliases(unit: &UnitRead) -> impl Iterator<Item = (u8, &UnitRead)> {
    unit.aliases.iter().flatten().map(move |alias| (*alias, unit))
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
        let taken = unit.ids.as_deref().and_then(|ids| claim(&mut on_line, ids, unit));
        if let Some((id, first)) = taken {
            let (key, line) = (&first.place.key, first.id_at.spot.line);
            let message = format!(
                "found unit {id} a second time, {key} on line {line} has it already; \
                 allowed: each unit once on a bus"
            );
            faults.error(&unit.id_at, message);
        }
        let taken_alias = unit.aliases.as_deref().and_then(|aliases| claim(&mut for_clients, aliases, unit));
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
    ids: &[u8],
    unit: &'u UnitRead,
) -> Option<(u8, &'u UnitRead)> {
    let mut taken = None;
    for &id in ids {
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
            let taken = under_aliases(unit).find_map(|(alias, _)| Some((alias, *owners.get(&alias)?)));
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
            own.extend(under_aliases(unit));
        }
        for (alias, unit) in own {
            owners.entry(alias).or_insert(unit);
        }
    }
}

/// Each entry of a `unit_map` has to lead to a unit of the listener's buses.
fn check_unit_map(
    listener: &ListenerRead,
    route: &[usize],
    buses: &[Option<BusRead>],
    faults: &mut Faults<'_>,
) {
    let Field::Given(mapped) = &listener.unit_map else { return };
    // With a bus or an identifier missing, nobody can say which unit is unknown.
    let is_known = |bus: &BusRead| bus.complete && bus.units.iter().all(|unit| unit.aliases.is_some());
    if !buses.iter().all(|bus| bus.as_ref().is_some_and(is_known)) || matches!(listener.buses, Field::Faulty)
    {
        return;
    }
    let known: BTreeMap<u8, &UnitRead> = units_of(route, buses).flat_map(under_aliases).collect();
    let words: Vec<String> = known.keys().map(u8::to_string).collect();
    for one in mapped.iter().filter(|one| !known.contains_key(&one.unit)) {
        let found = one.unit;
        // Somebody may have written what stands on the meter.
        let on_line = units_of(route, buses).find_map(|unit| {
            let at = unit.ids.as_ref()?.iter().position(|id| *id == found)?;
            unit.aliases.as_ref()?.get(at).map(u8::to_string)
        });
        let near = on_line
            .or_else(|| nearest(&found.to_string(), words.iter().map(String::as_str)).map(str::to_owned));
        let elsewhere =
            buses.iter().enumerate().flat_map(|(index, bus)| bus.iter().map(move |bus| (index, bus)));
        let elsewhere = elsewhere.filter(|(index, _)| !route.contains(index)).find_map(|(_, bus)| {
            let has_it = bus.units.iter().flat_map(under_aliases).any(|(alias, _)| alias == found);
            bus.name.as_ref().filter(|_| has_it)
        });
        let hint = match (elsewhere, near) {
            (Some(name), _) => format!(" (bus {name} has it, but is not among the listener's buses)"),
            (None, Some(near)) => format!(" (did you mean {near}?)"),
            (None, None) => String::new(),
        };
        let message = format!(
            "found {found}, which is the identifier of no unit of this listener{hint}; allowed: {}",
            show_identifiers(known.keys().copied())
        );
        faults.error(&one.unit_at, message);
    }
}

/// `1, 5-8`, the identifiers in order.
fn show_identifiers(identifiers: impl Iterator<Item = u8>) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for id in identifiers {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
            Some(_) | None => runs.push((id, id)),
        }
    }
    let shown = |(first, last): (u8, u8)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.into_iter().map(shown).collect::<Vec<_>>().join(", ")
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

/// The longest read has to fit into the deadline by its bytes alone; what does not is refused even on an idle line.
fn check_wire_time(
    listener: &ListenerRead,
    route: &[usize],
    buses: &[Option<BusRead>],
    faults: &mut Faults<'_>,
) {
    let Some(deadline) = listener.request_deadline else { return };
    for bus in route.iter().filter_map(|index| buses[*index].as_ref()) {
        let (Some(framing), Some(name)) = (bus.framing, &bus.name) else { continue };
        let gap = bus.units.iter().filter_map(|unit| unit.request_gap).max().unwrap_or_default();
        let silence = rtu::silence(framing.baud_rate);
        let needed = |registers: u32| {
            let reply = READ_REPLY_LENGTH + 2 * registers as usize;
            silence.max(gap) + framing.wire_time(READ_REQUEST_LENGTH) + silence + framing.wire_time(reply)
        };
        let longest = needed(MAX_READ);
        if longest <= deadline {
            continue;
        }
        let fits = (1..MAX_READ).rev().find(|registers| needed(*registers) <= deadline);
        let refused = fits.map_or_else(
            || "every read is answered with 0x0B".to_owned(),
            |fits| format!("reads of more than {fits} registers are answered with 0x0B"),
        );
        let whole = longest.as_secs() + 1;
        let message = format!(
            "{} is too short for the longest reads on bus {name}: {MAX_READ} registers take {:.1} s at {framing}, \
             so {refused}; use request_deadline: {whole}s or more, or a higher baud_rate",
            show_duration(deadline),
            longest.as_secs_f64(),
        );
        faults.warning(&listener.request_deadline_at, message);
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

/// Bytes of a read request on the line, and of the answer beside its registers.
const READ_REQUEST_LENGTH: usize = 8;
const READ_REPLY_LENGTH: usize = 5;

/// What a deadline leaves for the wire and the way back, beyond the response timeout.
const DEADLINE_SLACK: Duration = Duration::from_millis(100);
