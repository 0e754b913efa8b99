//! One entry of `units`: its identifiers, its functions, and the settings inherited from its bus.
//!
//! Never compares it with another entry (see `check`).

use std::collections::BTreeSet;
use std::time::Duration;

use super::polling::{self, UnitPolling};
use super::profiles::Profiles;
use super::section::{Bus, Unit};
use super::value::{Device, Function};
use crate::document::Reader;
use crate::line::{Replies, UnitId, UnitSettings};
use crate::modbus::function;
use crate::modbus::pdu::{self, FunctionCode};
use crate::serial::PortDevice;

/// An entry of `units`, checked by itself; `None` in a field: an error was reported.
pub(super) struct UnitEntry<'f> {
    pub(super) path: String,
    /// Identifiers on the line, in the order of the file, each once.
    pub(super) ids: Option<&'f [u8]>,
    /// Identifiers for clients, as many as `ids` and in their order.
    pub(super) aliases: Option<Vec<u8>>,
    /// Whether `as` is in the file.
    pub(super) is_renamed: bool,
    pub(super) response_timeout: Option<Duration>,
    /// The key that sets `response_timeout`: the unit's or the bus's.
    pub(super) response_timeout_path: String,
    pub(super) request_gap: Option<Duration>,
    pub(super) polling: Option<UnitPolling>,
    pub(super) read_functions: BTreeSet<FunctionCode>,
    unit: &'f Unit,
}

impl<'f> UnitEntry<'f> {
    /// Checks the entry by itself.
    pub(super) fn new(
        unit: &'f Unit,
        path: String,
        bus: &Bus,
        bus_path: &str,
        profiles: &mut Profiles,
        reader: &mut Reader<'_, '_>,
    ) -> Self {
        let key = |name: &str| format!("{path}.{name}");
        let ids = identifiers(unit, &key("id"), bus, reader);
        let aliases = ids.and_then(|ids| match unit.alias {
            _ if !reader.is_sound(&key("as")) => None,
            None => Some(ids.to_vec()),
            Some(first) => aliases_from(first.narrow()?, ids.len(), &key("as"), reader),
        });
        if unit.replies == Replies::Loose && unit.profile.is_some() {
            let what = "found loose beside a profile, whose registers need answers that fit";
            reader.error(&key("replies"), what, "allowed: strict, or no profile");
        }
        let read_functions = read_functions(unit, &key("read_functions"), reader);
        let inherited = |name: &str, own: bool| {
            reader.is_sound(&key(name)) && (own || reader.is_sound(&format!("{bus_path}.{name}")))
        };
        let response_timeout = inherited("response_timeout", unit.response_timeout.is_some())
            .then(|| unit.response_timeout.unwrap_or(bus.response_timeout).get());
        let request_gap = inherited("request_gap", unit.request_gap.is_some())
            .then(|| unit.request_gap.unwrap_or(bus.request_gap).get());
        let max_read = inherited("max_read", unit.max_read.is_some())
            .then(|| unit.max_read.unwrap_or(bus.max_read).narrow())
            .flatten();
        let polling = polling::read(unit, &path, max_read, profiles, reader);
        let is_renamed = unit.alias.is_some();
        let setter = if unit.response_timeout.is_some() { path.as_str() } else { bus_path };
        let response_timeout_path = format!("{setter}.response_timeout");
        Self {
            path,
            ids,
            aliases,
            is_renamed,
            response_timeout,
            response_timeout_path,
            request_gap,
            polling,
            read_functions,
            unit,
        }
    }

    /// The settings of one of the entry's units.
    pub(super) fn settings(&self, id: UnitId, bus: &Bus) -> Option<UnitSettings> {
        let unit = self.unit;
        Some(UnitSettings {
            client_id: id.get(),
            id,
            name: unit.name.as_ref().map(|name| name.0.clone()),
            response_timeout: self.response_timeout?,
            byte_timeout: unit.byte_timeout.unwrap_or(bus.byte_timeout()).get(),
            request_gap: self.request_gap?,
            merge_gap: unit.merge_gap.unwrap_or(bus.merge_gap).0,
            max_read: unit.max_read.unwrap_or(bus.max_read).narrow()?,
            replies: unit.replies,
            polling: self.polling.as_ref()?.polling.clone(),
        })
    }

    /// The name of the entry's units.
    pub(super) fn name(&self) -> Option<&'f str> {
        self.unit.name.as_ref().map(|name| name.0.as_str())
    }

    /// The group of the entry's units.
    pub(super) fn group(&self) -> Option<&'f str> {
        self.unit.group.as_ref().map(|group| group.0.as_str())
    }

    /// The path of the key that sets the identifiers for clients.
    pub(super) fn alias_path(&self) -> String {
        format!("{}.{}", self.path, if self.is_renamed { "as" } else { "id" })
    }

    /// `the unit on line 7`, for messages about other entries.
    pub(super) fn location(&self, reader: &Reader<'_, '_>) -> String {
        let unit = if self.ids.is_some_and(|ids| ids.len() > 1) { "one of the units" } else { "the unit" };
        match reader.line(&self.path) {
            Some(line) => format!("{unit} on line {line}"),
            None => format!("{unit} {}", self.path),
        }
    }
}

/// Checks that each identifier occurs once; warns of identifiers that the standard reserves.
fn identifiers<'f>(unit: &'f Unit, path: &str, bus: &Bus, reader: &mut Reader<'_, '_>) -> Option<&'f [u8]> {
    if !reader.is_sound(path) {
        return None;
    }
    reader.require(&unit.id, path);
    let ids = unit.id.as_ref()?;
    if ids.0.is_empty() || ids.0.contains(&0) {
        reader.error(path, "found no identifier of a unit", "allowed: 1 to 255");
        return None;
    }
    if let Some(index) = (1..ids.0.len()).find(|index| ids.0[..*index].contains(&ids.0[*index])) {
        let what = format!("found unit {} a second time", ids.0[index]);
        reader.error(&format!("{path}[{index}]"), &what, "allowed: each unit once");
        return None;
    }
    // A meter with an Ethernet port has no identifier of its own; the messaging guide recommends 255 for it.
    let is_its_own_server =
        |id: u8| id == UnitId::MAX && matches!(bus.device, Some(Device(PortDevice::ModbusTcp(_))));
    let beyond = |id: &&u8| **id > UnitId::STANDARD_MAX && !is_its_own_server(**id);
    if let Some(beyond) = ids.0.iter().find(beyond) {
        let what = format!("the standard reserves {} to {}", UnitId::STANDARD_MAX + 1, UnitId::MAX);
        let help = format!("keep {beyond} only if the device cannot be set to another identifier");
        reader.warning(path, &what, &help);
    }
    Some(&ids.0)
}

fn aliases_from(first: u8, units: usize, path: &str, reader: &mut Reader<'_, '_>) -> Option<Vec<u8>> {
    let more = u8::try_from(units.checked_sub(1)?).ok()?;
    if let Some(last) = first.checked_add(more) {
        return Some((first..=last).collect());
    }
    let (last, most) = (u16::from(first) + u16::from(more), UnitId::MAX - more);
    let what = format!("found {first}, which calls these {units} units {first} to {last}");
    let help = format!("allowed: 1 to {most}, so that the last is {} at most", UnitId::MAX);
    reader.error(path, &what, &help);
    None
}

fn read_functions(unit: &Unit, path: &str, reader: &mut Reader<'_, '_>) -> BTreeSet<FunctionCode> {
    let mut functions = BTreeSet::new();
    for (path, Function(found)) in reader.items(path, &unit.read_functions.0) {
        let found = *found;
        let name = function::name(found).unwrap_or_default();
        match Standard::of(found) {
            Standard::Undefined if functions.insert(found) => {}
            Standard::Undefined => {
                reader.error(&path, &format!("found {found} a second time"), "allowed: each function once");
            }
            Standard::Reads => {
                reader.warning(&path, &format!("{found} ({name}) is a read already"), "leave it out");
            }
            Standard::Writes => {
                let what = format!("found {found} ({name}), which the standard defines as a write");
                reader.error(&path, &what, ALLOWED_FUNCTIONS);
            }
            Standard::Depends => {
                let what = format!(
                    "found {found} ({name}), which reads or writes depending on its sub-function; the gateway lets the \
                     reading ones pass already"
                );
                reader.error(&path, &what, ALLOWED_FUNCTIONS);
            }
        }
    }
    functions
}

/// The standard's definition of a function.
enum Standard {
    Undefined,
    Reads,
    Writes,
    /// Reads or writes, depending on the sub-function.
    Depends,
}

impl Standard {
    fn of(function: FunctionCode) -> Self {
        match function {
            FunctionCode::DIAGNOSTICS | FunctionCode::ENCAPSULATED_INTERFACE => Self::Depends,
            _ if function::name(function).is_none() => Self::Undefined,
            _ if pdu::is_read(&[function.0]) => Self::Reads,
            _ => Self::Writes,
        }
    }
}

const ALLOWED_FUNCTIONS: &str = "allowed: functions that only read, such as 0x41 of some makers";

/// Formats identifiers in ascending order: `1, 5-8`.
pub(super) fn show_identifiers(identifiers: impl Iterator<Item = u8>) -> String {
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
