//! The entries of `mqtt`: what is published where, and the checks between brokers, buses and profiles.
//!
//! Reads password files; looks up no name and opens no socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bus::BusEntry;
use super::section::{self, File};
use super::settings::{Broker, Publication, device_name, topic_level};
use super::token_file::{read_password, warn_if_exposed};
use super::value::Publish;
use crate::document::{Name, Reader, did_you_mean};
use crate::meter::{Group, Point, Profile};
use crate::mqtt::{BrokerSettings, Credentials};
use crate::runtime::host_name;
use crate::sparkplug::{Ids, identifier};

/// Checks the brokers. `None`: an error was reported.
pub(super) fn check(file: &File, buses: &[BusEntry<'_>], reader: &mut Reader<'_, '_>) -> Option<Vec<Broker>> {
    if file.mqtt.is_empty() {
        return Some(Vec::new());
    }
    check_levels(buses, reader);
    check_blocks(buses, reader);
    if file.mqtt.iter().any(|broker| broker.publish == Publish::Sparkplug) {
        check_devices(buses, reader);
    }
    let profiles = profiles(buses);
    let mut brokers: Vec<Option<Broker>> = Vec::new();
    for (index, broker) in file.mqtt.iter().enumerate() {
        let path = format!("mqtt[{index}]");
        let broker = read(broker, &path, &profiles, reader);
        if let Some(broker) = &broker {
            check_alike(broker, &path, brokers.iter().flatten(), reader);
        }
        brokers.push(broker);
    }
    brokers.into_iter().collect()
}

fn read(
    broker: &section::Broker,
    path: &str,
    profiles: &[Arc<Profile>],
    reader: &mut Reader<'_, '_>,
) -> Option<Broker> {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&broker.broker, &key("broker"));
    check_form(broker, path, reader);
    let topic = match broker.publish {
        Publish::Json => "topic",
        Publish::Sparkplug => "sparkplug.node",
    };
    let names = ["client_id", topic].map(|name| (name, reader.line(&key(name)).is_some()));
    let host = host_name().unwrap_or_else(|| {
        for (name, _) in names.iter().filter(|(_, is_given)| !is_given) {
            let what = "this machine has no name of its own, so other gateways would have the same";
            reader.warning(&key(name), what, &format!("set `{name}`, or the host's name"));
        }
        "localhost".to_owned()
    });
    let credentials = credentials(broker, path, reader);
    check_points(broker, path, profiles, reader);
    let address = broker.broker.as_ref()?.0.clone();
    let tls = super::tls::of_broker(broker, address.scheme(), path, reader);
    let sparkplug = ids(broker, &host);
    let topic = match (&sparkplug, &broker.topic) {
        (Some(ids), _) => format!("spBv1.0/{}/+/{}", ids.group, ids.node),
        (None, Some(topic)) => topic.0.clone(),
        (None, None) => format!("metergate/{host}"),
    };
    let client_id = broker.client_id.as_ref().map(|id| id.0.clone());
    let publication = Publication {
        topic,
        points: broker.points.as_ref().map(|points| points.0.iter().map(|name| name.0.clone()).collect()),
        every: broker.every.get(),
        change: broker.change.0.map(|share| share.get()),
        buffer: usize::try_from(broker.buffer.get()).unwrap_or(usize::MAX),
        home_assistant: broker.home_assistant.as_ref().map(|prefix| prefix.0.clone()),
        sparkplug,
    };
    let connection = BrokerSettings {
        address,
        tls,
        client_id: client_id.unwrap_or_else(|| format!("metergate-{host}")),
        credentials,
        status_topic: publication.status_topic(),
    };
    Some(Broker {
        connection,
        password_file: broker.password_file.as_ref().map(|file| file.0.clone()),
        publication,
    })
}

/// Keys that only one form of messages has.
fn check_form(broker: &section::Broker, path: &str, reader: &mut Reader<'_, '_>) {
    let (others, form) = match broker.publish {
        Publish::Json => (&["sparkplug"][..], "sparkplug"),
        Publish::Sparkplug => (&["topic", "home_assistant"][..], "json"),
    };
    for name in others {
        let key = format!("{path}.{name}");
        if reader.line(&key).is_some() {
            let what = format!("it has no effect without `publish: {form}` beside it");
            reader.warning(&key, &what, "leave the key out");
        }
    }
}

/// What the edge node is called; `None`: there is none.
fn ids(broker: &section::Broker, host: &str) -> Option<Ids> {
    if broker.publish != Publish::Sparkplug {
        return None;
    }
    let section::Sparkplug { group, node, primary_host } = broker.sparkplug.clone().unwrap_or_default();
    Some(Ids {
        group: group.0,
        node: node.map_or_else(|| identifier(host), |node| node.0),
        primary_host: primary_host.map(|host| host.0),
    })
}

fn credentials(broker: &section::Broker, path: &str, reader: &mut Reader<'_, '_>) -> Option<Credentials> {
    let key = format!("{path}.password_file");
    if let Some(file) = &broker.password_file {
        warn_if_exposed(&file.0, &format!("{path}.password_file"), reader);
    }
    let password = match broker.password_file.as_ref().map(|file| read_password(&file.0)) {
        None => None,
        Some(Ok(password)) => Some(password),
        Some(Err(error)) => {
            reader.error(&key, &error.to_string(), &error.remedy());
            None
        }
    };
    if broker.username.is_none() && broker.password_file.is_some() && reader.is_sound(&key) {
        reader.error_at_key(&key, "found without a username beside it", "allowed: with `username` only");
    }
    Some(Credentials { username: broker.username.as_ref()?.0.clone(), password })
}

/// Two clients of one name are thrown out in turns by their broker, and two that publish under one topic undo each
/// other's states.
fn check_alike<'b>(
    broker: &Broker,
    path: &str,
    mut earlier: impl Iterator<Item = &'b Broker> + Clone,
    reader: &mut Reader<'_, '_>,
) {
    let is_there = |other: &&Broker| other.connection.address == broker.connection.address;
    let mut there = earlier.clone().filter(is_there);
    if there.any(|other| other.connection.client_id == broker.connection.client_id) {
        let what = format!("found {} at the same broker a second time", broker.connection.client_id);
        reader.error(&format!("{path}.client_id"), &what, "allowed: another client_id for each entry");
    }
    let is_alike = |other: &Broker| other.publication.topic == broker.publication.topic;
    if earlier.any(|other| is_there(&other) && is_alike(other)) {
        let what = format!("found {} at the same broker a second time", broker.publication.topic);
        match broker.publication.sparkplug {
            None => reader.error(&format!("{path}.topic"), &what, "allowed: another topic for each entry"),
            Some(_) => reader.error(
                &format!("{path}.sparkplug.node"),
                &what,
                "allowed: another group or another node for each entry",
            ),
        }
    }
}

/// Two devices of one name would be one, and so would two that differ in case only, for some hosts.
fn check_devices(buses: &[BusEntry<'_>], reader: &mut Reader<'_, '_>) {
    let mut devices: BTreeMap<String, (String, String)> = BTreeMap::new();
    for bus in buses {
        let Some(bus_name) = bus.name else { continue };
        for unit in &bus.units {
            for alias in unit.aliases.iter().flatten() {
                let device = device_name(bus_name, *alias, unit.name());
                let this = format!("unit {alias} of bus {bus_name}");
                let before = devices.insert(device.to_lowercase(), (device.clone(), this));
                let Some((other, location)) = before else { continue };
                let path = match unit.name() {
                    Some(_) => format!("{}.name", unit.path),
                    None => unit.alias_path(),
                };
                let what = format!("found {device} as a device of Sparkplug, as {location} is");
                if other == device {
                    let help = "allowed: names that also differ with _ for / + #, another for each unit";
                    reader.error(&path, &what, help);
                } else {
                    let what =
                        format!("{what} but for upper and lower case, which some hosts take for the same");
                    reader.warning(&path, &what, "choose names that differ in more");
                }
            }
        }
    }
}

/// Buses whose names differ only in what a topic has no place for would share their topics.
fn check_levels(buses: &[BusEntry<'_>], reader: &mut Reader<'_, '_>) {
    let mut levels: BTreeMap<String, &str> = BTreeMap::new();
    for bus in buses {
        let Some(name) = bus.name else { continue };
        let level = topic_level(name);
        match levels.get(&level) {
            Some(other) if *other != name => {
                let what = format!("found {name}, which is `{level}` in MQTT topics, as bus {other} is");
                reader.error(&bus.key("name"), &what, "allowed: names that also differ with _ for / + #");
            }
            Some(_) | None => drop(levels.insert(level, name)),
        }
    }
}

/// The topic of a block of that name would be the one of the unit's state.
fn check_blocks(buses: &[BusEntry<'_>], reader: &mut Reader<'_, '_>) {
    for unit in buses.iter().flat_map(|bus| &bus.units) {
        let known = unit.polling.as_ref().and_then(|polling| polling.profile.as_ref());
        if let Some(known) = known.filter(|known| known.profile.block(STATE).is_some()) {
            let what = format!(
                "the profile {} has a block named `{STATE}`, where the state of the unit is published over MQTT",
                known.profile.name
            );
            reader.error(&format!("{}.profile", unit.path), &what, "rename the block in the profile");
        }
    }
}

/// The profiles of all units, each once.
fn profiles(buses: &[BusEntry<'_>]) -> Vec<Arc<Profile>> {
    let units = buses.iter().flat_map(|bus| &bus.units);
    let known = units.filter_map(|unit| unit.polling.as_ref()?.profile.as_ref());
    let profiles: BTreeMap<_, _> =
        known.map(|known| (known.profile.name.as_str(), Arc::clone(&known.profile))).collect();
    profiles.into_values().collect()
}

fn check_points(
    broker: &section::Broker,
    path: &str,
    profiles: &[Arc<Profile>],
    reader: &mut Reader<'_, '_>,
) {
    if profiles.is_empty() {
        let what = "no unit has a profile, so nothing but the states of the units is published";
        reader.warning(&format!("{path}.broker"), what, "give the units a `profile`");
        return;
    }
    let key = format!("{path}.points");
    let Some(names) = broker.points.as_ref().filter(|names| reader.is_whole(&key, &names.0)) else { return };
    for (index, Name(name)) in names.0.iter().enumerate() {
        let path = format!("{key}[{index}]");
        let is_group = groups().any(|group| group.word() == name);
        let points: Vec<&Point> = profiles.iter().filter_map(|profile| profile.point(name)).collect();
        if !is_group && points.is_empty() {
            let groups: Vec<_> = groups().map(Group::word).collect();
            let known = profiles.iter().flat_map(|profile| &profile.points).map(|point| point.name.as_str());
            let help = format!(
                "{}allowed: the name of a point (`metergate points` lists them), or a group: {}",
                did_you_mean(name, groups.iter().copied().chain(known)),
                groups.join(", ")
            );
            reader.error(&path, &format!("no point and no group is called `{name}`"), &help);
        } else if !is_group && points.iter().all(|point| !point.format.is_number()) {
            let what = format!("{name} is no number, and only numbers are published");
            reader.error(&path, &what, "allowed: points with a number");
        } else if names.0[..index].iter().any(|earlier| earlier.0 == *name) {
            reader.error(&path, &format!("found {name} a second time"), "allowed: each name once");
        }
    }
}

/// The groups that can be named: all but registers without a meaning.
fn groups() -> impl Iterator<Item = Group> {
    Group::ALL.iter().copied().filter(|group| *group != Group::Reserved)
}

/// The last level of the topic of a unit's state.
const STATE: &str = "state";
