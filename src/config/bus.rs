//! An entry of `buses`, checked by itself.

use std::collections::BTreeMap;
use std::path::Path;

use super::device;
use super::profiles::Profiles;
use super::section;
use super::settings::{Bus, UnitDefaults};
use super::unit::UnitEntry;
use crate::document::{Count, Reader, YesNo};
use crate::line::{Framing, LineSettings, OfflineAfter, Parity, Protocol, UnitId, UnitSettings};
use crate::serial::{Direction, PortDevice, PortSettings};

/// An entry of `buses`, checked by itself.
pub(super) struct BusEntry<'f> {
    pub(super) bus: &'f section::Bus,
    pub(super) path: String,
    /// `None`: an error was reported.
    pub(super) name: Option<&'f str>,
    /// `None`: an error was reported.
    pub(super) framing: Option<Framing>,
    /// `None`: an error was reported.
    pub(super) protocol: Option<Protocol>,
    pub(super) units: Vec<UnitEntry<'f>>,
}

impl<'f> BusEntry<'f> {
    /// Checks the entry and its units by themselves.
    pub(super) fn new(
        bus: &'f section::Bus,
        path: String,
        profiles: &mut Profiles,
        reader: &mut Reader<'_, '_>,
    ) -> Self {
        let key = |name: &str| format!("{path}.{name}");
        reader.require(&bus.name, &key("name"));
        reader.require(&bus.device, &key("device"));
        match bus.device.as_ref().map(|device| &device.0) {
            Some(PortDevice::Path(path)) => warn_of_unstable_name(path, &key("device"), reader),
            Some(PortDevice::Server(_)) if bus.direction() == Direction::Rs485 => {
                let what = "the serial server switches the direction by itself, so rs485 does nothing here";
                reader.warning(
                    &key("direction"),
                    what,
                    "leave the key out, and set the server's port to RS-485",
                );
            }
            Some(PortDevice::ModbusTcp(_)) => refuse_serial_keys(bus, &path, reader),
            Some(PortDevice::Server(_)) | None => {}
        }
        let framing = check_characters(bus.baud_rate.map(Count::get), bus.framing(), &path, reader);
        let device = bus.device.as_ref().map(|device| &device.0);
        let protocol = device.zip(framing).map(|(device, framing)| device.protocol(framing));
        if bus.units.is_empty() && reader.is_sound(&key("units")) {
            reader.error(&key("units"), "the list is empty", "allowed: at least one");
        }
        let units = bus.units.iter().enumerate();
        let units = units
            .map(|(index, unit)| {
                UnitEntry::new(unit, key(&format!("units[{index}]")), bus, &path, profiles, reader)
            })
            .collect();
        let name = bus.name.as_ref().map(|name| name.0.as_str());
        Self { bus, name, framing, protocol, units, path }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    pub(super) fn finish(&self) -> Option<Bus> {
        let (bus, framing) = (self.bus, self.framing?);
        let mut line = LineSettings {
            name: self.name?.to_owned(),
            protocol: self.protocol?,
            response_timeout: bus.response_timeout.get(),
            request_gap: bus.request_gap.get(),
            turnaround_delay: bus.turnaround_delay.get(),
            late_guard: bus.late_guard.unwrap_or(bus.response_timeout).get(),
            retries: bus.retries.get(),
            queue_limit: bus.queue_limit.size(),
            poll_share: bus.poll_share.get(),
            learn_limit: bus.learn_limit.size(),
            failure_share: bus.failure_share.get(),
            offline_after: OfflineAfter {
                failures: bus.offline_after.failures.get(),
                time: bus.offline_after.time.get(),
            },
            probe_max: bus.probe_max.get(),
            echo: bus.echo(),
            units: Vec::new(),
        };
        let (mut aliases, mut wire) = (BTreeMap::new(), Vec::new());
        let (mut profiles, mut read_functions) = (BTreeMap::new(), BTreeMap::new());
        let mut groups = BTreeMap::new();
        for unit in &self.units {
            for (id, alias) in unit.ids?.iter().zip(unit.aliases.as_ref()?) {
                let id = UnitId::new(*id)?;
                aliases.insert(*alias, id);
                wire.push(id);
                profiles.extend(unit.polling.as_ref()?.profile.clone().map(|profile| (id, profile)));
                groups.extend(unit.group().map(|group| (id, group.to_owned())));
                if !unit.read_functions.is_empty() {
                    read_functions.insert(id, unit.read_functions.clone());
                }
                line.units.push(UnitSettings { client_id: *alias, ..unit.settings(id, bus)? });
            }
        }
        line.units.sort_by_key(|unit| unit.id);
        let device = bus.device.as_ref()?.0.clone();
        let port = PortSettings { device, framing, direction: bus.direction() };
        let unit_defaults = UnitDefaults {
            byte_timeout: bus.byte_timeout().get(),
            merge_gap: bus.merge_gap.0,
            max_read: bus.max_read.narrow()?,
        };
        let wire_order = bus.wire_order;
        Some(Bus { port, line, aliases, wire, wire_order, groups, profiles, read_functions, unit_defaults })
    }
}

/// Reports the keys of a serial line beside `modbus-tcp://`.
fn refuse_serial_keys(bus: &section::Bus, path: &str, reader: &mut Reader<'_, '_>) {
    let late = "where an answer names its request, so that a late one is never taken for another's";
    let wire = "where there is no serial line";
    let pause = "where response_timeout is the time for the whole answer";
    let keys = [
        ("baud_rate", bus.baud_rate.is_some(), wire),
        ("parity", bus.parity.is_some(), wire),
        ("stop_bits", bus.stop_bits.is_some(), wire),
        ("direction", bus.direction.is_some(), wire),
        ("echo", bus.echo.is_some(), wire),
        ("byte_timeout", bus.byte_timeout.is_some(), pause),
        ("late_guard", bus.late_guard.is_some(), late),
        ("wire_order", bus.wire_order == YesNo::Yes, wire),
    ];
    let of_bus = keys.into_iter().filter(|(_, is_given, _)| *is_given);
    let of_units = bus.units.iter().enumerate().filter(|(_, unit)| unit.byte_timeout.is_some());
    let of_units = of_units.map(|(index, _)| (format!("units[{index}].byte_timeout"), pause));
    for (key, why) in of_bus.map(|(key, _, why)| (key.to_owned(), why)).chain(of_units) {
        let what = format!("found beside modbus-tcp://, {why}");
        reader.error_at_key(&format!("{path}.{key}"), &what, "leave the key out");
    }
}

/// The form of characters on a line; `None`: an error was reported. `rate`: as it is written.
pub(super) fn check_characters(
    rate: Option<u32>,
    framing: Option<Framing>,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> Option<Framing> {
    let key = |name: &str| format!("{path}.{name}");
    if let Some(rate) = rate.filter(|rate| !USUAL_BAUD_RATES.contains(rate)) {
        let what = format!("{rate} is not a usual baud rate");
        reader.warning(&key("baud_rate"), &what, "many adapters refuse it or round it to one of their own");
    }
    if framing.is_some_and(|framing| framing.stop_bits == 2 && framing.parity != Parity::None) {
        let what = "two stop bits with a parity bit make 12 bits per character";
        reader.warning(&key("stop_bits"), what, "Modbus has 11: a parity bit or a second stop bit");
    }
    let is_sound = ["baud_rate", "parity", "stop_bits"].iter().all(|name| reader.is_sound(&key(name)));
    framing.filter(|_| is_sound)
}

pub(super) fn warn_of_unstable_name(device: &Path, path: &str, reader: &mut Reader<'_, '_>) {
    if let Some((what, help)) = device::unstable_name(device) {
        reader.warning(path, &what, &help);
    }
}

/// The rates for which serial drivers have constants, and some that are common besides.
const USUAL_BAUD_RATES: &[u32] = &[
    300, 600, 1200, 1800, 2400, 4800, 9600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800, 115_200, 230_400,
    460_800, 500_000, 576_000, 921_600, 1_000_000,
];
