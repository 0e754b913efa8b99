//! A configuration back into YAML, every key with the value that holds.
//!
//! What is written parses to an equal configuration; quoting is left to the YAML library.
//! Absent on purpose: keys whose absence is their meaning (`allow` for anybody, `name`, `profile`, `audit`).

use serde_yaml::{Mapping, Value};

use super::keys::Part;
use super::settings::{Bus, Config, Listener, Status, UnitProfile};
use super::value::{show_bytes, show_poll, show_share};
use super::words;
use crate::bus::settings::{LineSettings, UnitSettings};
use crate::yaml::KeyTable;
use crate::yaml::value::show_duration;

impl Config {
    /// The resolved configuration as a file of its own, every default written out.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let mut file = Section::new(Part::File);
        let listeners = self.listeners.iter().map(|listener| self.listener(listener)).collect();
        file.put("listeners", Value::Sequence(listeners));
        file.put("buses", Value::Sequence(self.buses.iter().map(bus).collect()));
        match self.diagnostics_unit {
            Some(id) => file.put("diagnostics_unit", id),
            None => file.put("diagnostics_unit", "off"),
        }
        file.put("profiles", self.profiles.display().to_string());
        file.put("status", self.status.as_ref().map_or_else(|| Value::from("off"), status));
        if let Some(audit) = &self.audit {
            let mut section = Section::new(Part::Audit);
            section.put("file", audit.file.display().to_string());
            section.put("max_size", show_bytes(audit.max_size));
            file.put("audit", section.finish());
        }
        file.put("log_level", words::log_level(self.log_level));
        serde_yaml::to_string(&file.finish()).expect("text keys with plain values can always be written")
    }

    fn listener(&self, listener: &Listener) -> Value {
        let Listener { settings, buses, unit_map: _ } = listener;
        let mut section = Section::new(Part::Listener);
        section.put("address", settings.address.to_string());
        let names = buses.iter().filter_map(|index| self.buses.get(*index));
        let names = names.map(|bus| Value::from(bus.line.name.clone()));
        section.put("buses", Value::Sequence(names.collect()));
        section.put("max_age", show_duration(settings.max_age));
        section.put("writes", words::writes(settings.writes));
        section.put("broadcast", words::broadcast(settings.broadcast));
        section.put("request_deadline", show_duration(settings.request_deadline));
        section.put("max_in_flight", settings.max_in_flight);
        section.put("max_connections", settings.max_connections);
        section.put("max_connections_per_ip", settings.max_connections_per_ip);
        section.put("idle_timeout", show_duration(settings.idle_timeout));
        if !settings.allow.is_empty() {
            let networks = settings.allow.iter().map(|network| Value::from(network.to_string()));
            section.put("allow", Value::Sequence(networks.collect()));
        }
        section.finish()
    }
}

fn status(status: &Status) -> Value {
    let mut section = Section::new(Part::Status);
    section.put("address", status.settings.address.to_string());
    if let Some(file) = &status.token_file {
        section.put("token_file", file.display().to_string());
    }
    section.finish()
}

fn bus(bus: &Bus) -> Value {
    let Bus { port, line, aliases, wire, read_functions: _, profiles } = bus;
    let mut section = Section::new(Part::Bus);
    section.put("name", line.name.clone());
    section.put("device", port.device.display().to_string());
    section.put("baud_rate", line.framing.baud_rate);
    section.put("parity", words::parity(line.framing.parity));
    section.put("stop_bits", line.framing.stop_bits);
    section.put("direction", words::direction(port.direction));
    section.put("echo", words::echo(line.echo));
    put_limits(&mut section, line);
    let client_id =
        |unit: &UnitSettings| aliases.iter().find(|(_, id)| **id == unit.id).map(|(alias, _)| *alias);
    let in_order = wire.iter().filter_map(|id| line.units.iter().find(|unit| unit.id == *id));
    let units = in_order.map(|one| unit(one, client_id(one), profiles.get(&one.id)));
    section.put("units", Value::Sequence(units.collect()));
    section.finish()
}

fn put_limits(section: &mut Section, line: &LineSettings) {
    section.put("response_timeout", show_duration(line.response_timeout));
    section.put("request_gap", show_duration(line.request_gap));
    section.put("turnaround_delay", show_duration(line.turnaround_delay));
    section.put("late_guard", show_duration(line.late_guard));
    section.put("retries", line.retries);
    section.put("queue_limit", line.queue_limit);
    section.put("poll_share", show_share(line.poll_share));
    section.put("learn_limit", line.learn_limit);
    section.put("failure_share", show_share(line.failure_share));
    let mut offline_after = Section::new(Part::OfflineAfter);
    offline_after.put("failures", line.offline_after.failures);
    offline_after.put("time", show_duration(line.offline_after.time));
    section.put("offline_after", offline_after.finish());
    section.put("probe_max", show_duration(line.probe_max));
}

fn unit(unit: &UnitSettings, client_id: Option<u8>, profile: Option<&UnitProfile>) -> Value {
    let mut section = Section::new(Part::Unit);
    section.put("id", unit.id.get());
    if let Some(client_id) = client_id {
        section.put("as", client_id);
    }
    if let Some(name) = &unit.name {
        section.put("name", name.clone());
    }
    match profile {
        Some(UnitProfile { profile, poll, poll_slow, blocks }) => {
            section.put("profile", profile.name.clone());
            section.put("poll", show_poll(*poll));
            section.put("poll_slow", show_duration(*poll_slow));
            // An empty list is refused; the profile's own choice is empty then.
            if !blocks.is_empty() {
                let names = blocks.iter().map(|name| Value::from(name.clone()));
                section.put("blocks", Value::Sequence(names.collect()));
            }
        }
        None => section.put("poll", "off"),
    }
    section.put("response_timeout", show_duration(unit.response_timeout));
    section.put("request_gap", show_duration(unit.request_gap));
    section.finish()
}

/// A mapping being written, its keys in the order of the table.
struct Section {
    part: Part,
    values: Vec<(&'static str, Value)>,
}

impl Section {
    fn new(part: Part) -> Self {
        Self { part, values: Vec::new() }
    }

    fn put(&mut self, key: &'static str, value: impl Into<Value>) {
        self.values.push((key, value.into()));
    }

    /// In the table's order.
    fn finish(mut self) -> Value {
        let mut mapping = Mapping::new();
        for key in self.part.keys() {
            let own = self.values.iter().position(|(name, _)| *name == key.name);
            if let Some(index) = own {
                mapping.insert(Value::from(key.name), self.values.swap_remove(index).1);
            }
        }
        Value::Mapping(mapping)
    }
}
