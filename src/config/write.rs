//! Writes a configuration as YAML, with the effective value of every key.
//!
//! The result parses to an equal configuration; the YAML library quotes where necessary. Keys whose absence has a
//! meaning of its own, such as `allow` for all networks, are left out.

use serde_yaml::Value;

use super::section::{
    self, Audit, Events, File, ListenerSection, OfflineAfter, PollSlow, SerialListener, StatusPage,
};
use super::settings::{Broker, Bus, Config, Listener, Publication, UnitProfile};
use super::value::{
    self, Address, Change, ClientId, Device, DeviceFile, DiagnosticsUnit, Directory, FilePath, Function,
    MergeGap, Network, Poll, ProfileName, Publish, Registers, SentUnits, Size, SparkplugId, Topic, UnitIds,
    UnitMap, UserName,
};
use crate::document::{Count, Duration, List, Name, Share};
use crate::line::{Framing, LineSettings, Protocol, UnitId};
use crate::modbus::AduFraming;
use crate::server::{ListenAt, Rule};
use crate::tls::TlsFiles;

impl Config {
    /// The configuration as a complete file, with every default written out.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        let written = serde_yaml::to_value(File::from(self))
            .and_then(|file| serde_yaml::to_string(&without_absent(file)));
        written.expect("text keys with plain values can always be written")
    }
}

/// Removes keys without a value.
fn without_absent(value: Value) -> Value {
    match value {
        Value::Mapping(keys) => {
            let present = keys.into_iter().filter(|(_, value)| !value.is_null());
            Value::Mapping(present.map(|(key, value)| (key, without_absent(value))).collect())
        }
        Value::Sequence(items) => Value::Sequence(items.into_iter().map(without_absent).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => value,
    }
}

impl From<&Config> for File {
    fn from(config: &Config) -> Self {
        let Config {
            site,
            listeners,
            buses,
            log_level,
            diagnostics_unit,
            profiles,
            audit,
            events,
            status,
            brokers,
        } = config;
        let page = |status: &super::Status| {
            section::Status::On(StatusPage {
                address: Address(status.settings.address),
                token_file: status.token_file.clone().map(FilePath),
                tls: status.settings.tls.as_ref().map(|server| section::StatusTls {
                    certificate: FilePath(server.files().certificate.clone()),
                    key: FilePath(server.files().key.clone()),
                }),
            })
        };
        Self {
            site: site.clone().map(Name),
            listeners: listeners.iter().map(|one| listener(one, buses)).collect(),
            buses: buses.iter().map(bus).collect(),
            diagnostics_unit: DiagnosticsUnit(*diagnostics_unit),
            profiles: Directory(profiles.clone()),
            status: Some(status.as_ref().map_or(section::Status::Off, page)),
            audit: audit
                .as_ref()
                .map(|audit| Audit { file: FilePath(audit.file.clone()), max_size: Size(audit.max_size) }),
            events: events.as_ref().map(|events| Events {
                file: FilePath(events.file.clone()),
                max_size: Size(events.max_size),
            }),
            mqtt: brokers.iter().map(broker).collect(),
            log_level: *log_level,
        }
    }
}

fn broker(broker: &Broker) -> section::Broker {
    let Broker { connection, password_file, publication } = broker;
    let Publication { topic, points, every, change, buffer, home_assistant, sparkplug } = publication;
    let id = |id: &String| SparkplugId(id.clone());
    let files = connection.tls.as_ref().map(|tls| tls.files().clone()).unwrap_or_default();
    let (certificate, key) = files.identity.unzip();
    section::Broker {
        broker: Some(value::Broker(connection.address.clone())),
        client_id: Some(ClientId(connection.client_id.clone())),
        username: connection.credentials.as_ref().map(|known| UserName(known.username.clone())),
        password_file: password_file.clone().map(FilePath),
        ca: files.ca.map(FilePath),
        certificate: certificate.map(FilePath),
        key: key.map(FilePath),
        publish: if sparkplug.is_some() { Publish::Sparkplug } else { Publish::Json },
        topic: sparkplug.is_none().then(|| Topic(topic.clone())),
        points: points.as_ref().map(|points| List(points.iter().cloned().map(Name).collect())),
        every: Duration::clamped(*every),
        change: Change(change.map(Share::clamped)),
        buffer: Size(*buffer as u64),
        home_assistant: home_assistant.clone().map(Topic),
        sparkplug: sparkplug.as_ref().map(|ids| section::Sparkplug {
            group: id(&ids.group),
            node: Some(id(&ids.node)),
            primary_host: ids.primary_host.as_ref().map(id),
        }),
    }
}

fn listener(listener: &Listener, known: &[Bus]) -> ListenerSection {
    let Listener { settings, buses, unit_map } = listener;
    let names = buses.iter().filter_map(|index| known.get(*index)).map(|bus| Name(bus.line.name.clone()));
    let buses = Some(List(names.collect()));
    let unit_map =
        unit_map.as_ref().map(|map| UnitMap(map.iter().map(|(sent, unit)| (*sent, *unit)).collect()));
    let address = match &settings.at {
        ListenAt::Tcp(address) => *address,
        ListenAt::Serial(port) => {
            return ListenerSection::Serial(SerialListener {
                device: Some(DeviceFile(port.device.clone())),
                baud_rate: Count::clamped(port.framing.baud_rate as usize),
                parity: port.framing.parity,
                stop_bits: Count::clamped(port.framing.stop_bits.into()),
                direction: port.direction,
                echo: port.echo,
                buses,
                unit_map,
                max_age: Duration::clamped(settings.max_age),
                writes: settings.rules.is_empty().then_some(settings.writes),
                rules: settings.rules.iter().map(rule).collect(),
                broadcast: settings.broadcast,
                answer_within: Duration::clamped(settings.deadline()),
            });
        }
    };
    ListenerSection::Tcp(section::Listener {
        address: Some(Address(address)),
        framing: settings.framing,
        buses,
        unit_map,
        max_age: Duration::clamped(settings.max_age),
        writes: settings.rules.is_empty().then_some(settings.writes),
        rules: settings.rules.iter().map(rule).collect(),
        tls: settings.tls.as_ref().and_then(|server| tls(server.files())),
        broadcast: settings.broadcast,
        request_deadline: Duration::clamped(settings.request_deadline),
        answer_within: settings.answer_within.map(Duration::clamped),
        max_in_flight: match settings.framing {
            AduFraming::Tcp => Some(Count::clamped(settings.max_in_flight)),
            AduFraming::Rtu => None,
        },
        max_connections: Count::clamped(settings.max_connections),
        max_connections_per_ip: Count::clamped(settings.max_connections_per_ip),
        idle_timeout: Duration::clamped(settings.idle_timeout),
        allow: (!settings.allow.is_empty())
            .then(|| List(settings.allow.iter().map(|network| Network(*network)).collect())),
    })
}

/// The files of a listener; every listener with TLS has authorities of clients.
fn tls(files: &TlsFiles) -> Option<section::Tls> {
    let TlsFiles { certificate, key, client_ca, crl } = files;
    Some(section::Tls {
        certificate: FilePath(certificate.clone()),
        key: FilePath(key.clone()),
        client_ca: FilePath(client_ca.clone()?),
        crl: crl.clone().map(FilePath),
    })
}

fn rule(rule: &Rule) -> section::Rule {
    let Rule { roles, from, units, registers, may } = rule;
    section::Rule {
        role: (!roles.is_empty()).then(|| List(roles.iter().cloned().map(Name).collect())),
        from: (!from.is_empty()).then(|| List(from.iter().copied().map(Network).collect())),
        units: (!units.is_empty()).then(|| SentUnits(units.clone())),
        registers: registers.clone().map(Registers),
        may: Some(*may),
    }
}

fn bus(bus: &Bus) -> section::Bus {
    let Bus { port, line, unit_defaults, wire, wire_order, .. } = bus;
    let framing = framing_of(line);
    section::Bus {
        name: Some(Name(line.name.clone())),
        device: Some(Device(port.device.clone())),
        baud_rate: framing.map(|framing| Count::clamped(framing.baud_rate as usize)),
        parity: framing.map(|framing| framing.parity),
        stop_bits: framing.map(|framing| Count::clamped(framing.stop_bits.into())),
        direction: framing.map(|_| port.direction),
        echo: framing.map(|_| line.echo),
        response_timeout: Duration::clamped(line.response_timeout),
        byte_timeout: framing.map(|_| Duration::clamped(unit_defaults.byte_timeout)),
        request_gap: Duration::clamped(line.request_gap),
        turnaround_delay: Duration::clamped(line.turnaround_delay),
        late_guard: framing.map(|_| Duration::clamped(line.late_guard)),
        retries: Count::clamped(line.retries as usize),
        queue_limit: Count::clamped(line.queue_limit),
        poll_share: Share::clamped(line.poll_share),
        failure_share: Share::clamped(line.failure_share),
        offline_after: OfflineAfter {
            failures: Count::clamped(line.offline_after.failures as usize),
            time: Duration::clamped(line.offline_after.time),
        },
        wire_order: *wire_order,
        probe_max: Duration::clamped(line.probe_max),
        learn_limit: Count::clamped(line.learn_limit),
        merge_gap: MergeGap(unit_defaults.merge_gap),
        max_read: Count::clamped(unit_defaults.max_read.into()),
        units: wire.iter().filter_map(|id| unit(bus, *id)).collect(),
    }
}

/// The form of characters on the wire; `None`: there is no serial line, and the keys of one are not written.
fn framing_of(line: &LineSettings) -> Option<Framing> {
    match line.protocol {
        Protocol::Rtu(framing) => Some(framing),
        Protocol::Tcp => None,
    }
}

fn unit(bus: &Bus, id: UnitId) -> Option<section::Unit> {
    let unit = bus.line.units.iter().find(|unit| unit.id == id)?;
    let alias = bus.aliases.iter().find(|(_, unit)| **unit == id).map(|(alias, _)| *alias);
    let profile = bus.profiles.get(&id);
    let functions = bus.read_functions.get(&id).into_iter().flatten().copied();
    // An empty list would be refused. It occurs only if the profile's own choice is empty.
    let blocks = profile.map(|profile| &profile.blocks).filter(|blocks| !blocks.is_empty());
    let slow = |profile: &UnitProfile| PollSlow(Duration::clamped(profile.poll_slow));
    Some(section::Unit {
        id: Some(UnitIds(vec![id.get()])),
        alias: alias.map(|alias| Count::clamped(alias.into())),
        name: unit.name.clone().map(Name),
        group: bus.groups.get(&id).cloned().map(Name),
        profile: profile.map(|profile| ProfileName(profile.profile.name.clone())),
        poll: Some(Poll(profile.and_then(|profile| profile.poll))),
        poll_slow: profile.map(slow),
        blocks: blocks.map(|blocks| List(blocks.iter().cloned().map(Name).collect())),
        replies: unit.replies,
        read_functions: List(functions.map(Function).collect()),
        response_timeout: Some(Duration::clamped(unit.response_timeout)),
        byte_timeout: framing_of(&bus.line).map(|_| Duration::clamped(unit.byte_timeout)),
        request_gap: Some(Duration::clamped(unit.request_gap)),
        merge_gap: Some(MergeGap(unit.merge_gap)),
        max_read: Some(Count::clamped(unit.max_read.into())),
    })
}
