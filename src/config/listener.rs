//! One entry of `listeners`, read by itself.
//!
//! Owns the bounds of a listener's keys; never looks at buses or other listeners (see `cross`).
//! Contract section 1.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::keys::Part;
use super::settings::Listener;
use super::value::{address, alias, network};
use super::words;
use crate::io::settings::{Broadcast, ListenerSettings, Writes};
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Field, Section, judge};
use crate::yaml::tree::{Kind, Node, shorten};
use crate::yaml::value::{self, Allowed, Judged, choice, duration, size, whole_number};

/// A listener as read; `None`: reported.
pub(super) struct ListenerRead {
    pub(super) settings: Option<ListenerSettings>,
    pub(super) address: Option<SocketAddr>,
    pub(super) address_at: Place,
    pub(super) request_deadline: Option<Duration>,
    pub(super) request_deadline_at: Place,
    /// Whether the deadline stands in the file.
    pub(super) deadline_given: bool,
    /// The names of its buses; absent: all.
    pub(super) buses: Field<Vec<BusName>>,
    /// What clients send and the unit it means; absent: every unit under its own identifier.
    pub(super) unit_map: Field<Vec<Mapped>>,
}

impl ListenerRead {
    /// The finished listener, which leads to these buses. `None`: something of it was reported.
    pub(super) fn finish(self, buses: Vec<usize>) -> Option<Listener> {
        let unit_map: Option<BTreeMap<u8, u8>> = match self.unit_map {
            Field::Absent => None,
            Field::Faulty => return None,
            Field::Given(mapped) => Some(mapped.iter().map(|one| (one.sent, one.unit)).collect()),
        };
        let settings = self.settings?;
        (!buses.is_empty()).then_some(Listener { settings, buses, unit_map })
    }
}

/// One entry of a listener's `unit_map`.
#[derive(Debug)]
pub(super) struct Mapped {
    /// What the client sends.
    pub(super) sent: u8,
    pub(super) sent_at: Place,
    /// The unit it means, by the identifier it has without a map.
    pub(super) unit: u8,
    pub(super) unit_at: Place,
}

/// One name in a listener's `buses`.
#[derive(Debug)]
pub(super) struct BusName {
    pub(super) name: Option<String>,
    pub(super) place: Place,
}

/// Reads one entry of `listeners`.
pub(super) fn read(node: &Node, path: &str, faults: &mut Faults<'_>) -> Option<ListenerRead> {
    let section = Section::open(node, path, Part::Listener, faults)?;
    // A listener on a device, which is refused for that already, has no address.
    let on_device = section.node("device").is_some();
    let at = if on_device && section.node("address").is_none() {
        None
    } else {
        section.value("address", faults, address)
    };
    let framing = section.value("framing", faults, framing);
    let unit_map = read_unit_map(&section, faults);
    let buses = read_buses(&section, faults);
    let max_age = section.value("max_age", faults, |n| duration(n, Duration::ZERO, DAY));
    let writes = section.value("writes", faults, |n| choice(n, words::WRITES, words::writes));
    let broadcast = section.value("broadcast", faults, |n| choice(n, words::BROADCASTS, words::broadcast));
    let deadline = section.value("request_deadline", faults, |n| duration(n, MIN_DEADLINE, MAX_DEADLINE));
    let max_in_flight = section.value("max_in_flight", faults, |n| size(n, 1, MAX_IN_FLIGHT));
    let max_connections = section.value("max_connections", faults, |n| size(n, 1, MAX_CONNECTIONS));
    let per_ip = section.value("max_connections_per_ip", faults, |n| size(n, 1, MAX_CONNECTIONS));
    let idle_timeout = section.value("idle_timeout", faults, |n| duration(n, MIN_IDLE, DAY));
    let allow = read_allow(&section, faults).or(Some(Vec::new()));
    if writes == Some(Writes::Deny) && broadcast.is_some_and(|broadcast| broadcast != Broadcast::Refuse) {
        let message = "broadcasts are writes, and writes: deny answers each of them with 0x01; \
                       say writes: allow, or broadcast: refuse";
        faults.warning(&section.place_of("broadcast"), message);
    }
    let broadcasts = broadcast.filter(|broadcast| *broadcast != Broadcast::Refuse);
    if let (Some(broadcast), Field::Given(mapped)) = (broadcasts, &unit_map) {
        for one in mapped.iter().filter(|one| one.sent == 0) {
            let message = format!(
                "found 0, which `broadcast: {}` sends to every unit; allowed: 0 with broadcast: refuse only",
                words::broadcast(broadcast)
            );
            faults.error(&one.sent_at, message);
        }
    }
    let settings = || {
        let () = framing?;
        Some(ListenerSettings {
            address: at?,
            max_age: max_age?,
            writes: writes?,
            broadcast: broadcast?,
            request_deadline: deadline?,
            max_in_flight: max_in_flight?,
            max_connections: max_connections?,
            max_connections_per_ip: per_ip?,
            idle_timeout: idle_timeout?,
            allow: allow?,
        })
    };
    Some(ListenerRead {
        settings: settings(),
        address: at,
        address_at: section.place_of("address"),
        request_deadline: deadline,
        request_deadline_at: section.place_of("request_deadline"),
        deadline_given: section.node("request_deadline").is_some(),
        buses,
        unit_map,
    })
}

/// Nothing to choose from as yet.
fn framing(node: &Node) -> Judged<()> {
    match node.text() {
        Some("tcp") => Ok(()),
        Some("rtu") => Err(Allowed("tcp (rtu is not yet supported)".to_owned())),
        Some(_) | None => Err(Allowed("tcp".to_owned())),
    }
}

fn read_unit_map(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Field<Vec<Mapped>> {
    let Some(node) = section.node("unit_map") else { return Field::Absent };
    let place = section.place_of("unit_map");
    let entries = match &node.kind {
        Kind::Mapping(entries) if !entries.is_empty() => entries,
        Kind::Refused => return Field::Faulty,
        Kind::Mapping(_) | Kind::Empty | Kind::Scalar { .. } | Kind::List(_) => {
            let is_mapping = matches!(node.kind, Kind::Mapping(_));
            let found = if is_mapping { "a mapping without entries".to_owned() } else { node.describe() };
            let message = format!(
                "found {found}; allowed: identifiers clients send, each with the unit it means, such as {{1: 5, 255: 5}}"
            );
            faults.error(&place, message);
            return Field::Faulty;
        }
    };
    let mut mapped = Vec::new();
    let mut sound = true;
    // A key that stands there twice is reported, and its first value counts.
    for entry in entries.iter().filter(|entry| !entry.doubled) {
        let key = format!("{}.{}", place.key, shorten(&entry.key));
        let sent_at = Place { spot: entry.key_spot, key: key.clone() };
        let sent = whole_number(&entry.key).and_then(|sent| u8::try_from(sent).ok());
        if sent.is_none() {
            let message = format!(
                "found {} for an identifier that clients send; allowed: a whole number from 0 to {}",
                shorten(&entry.key),
                u8::MAX
            );
            faults.error(&sent_at, message);
        }
        let unit_at = Place { spot: entry.value.spot, key };
        match sent.zip(judge(&entry.value, &unit_at, faults, alias)) {
            Some((sent, unit)) => mapped.push(Mapped { sent, sent_at, unit, unit_at }),
            None => sound = false,
        }
    }
    if sound { Field::Given(mapped) } else { Field::Faulty }
}

fn read_buses(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Field<Vec<BusName>> {
    if section.node("buses").is_none() {
        return Field::Absent;
    }
    let Some(items) = section.list("buses", super::file::MAX_BUSES, faults) else { return Field::Faulty };
    let read = |(path, item): (String, &Node)| {
        let place = Place { spot: item.spot, key: path };
        let name = judge(item, &place, faults, value::name);
        BusName { name, place }
    };
    Field::Given(items.into_iter().map(read).collect())
}

/// An empty list is refused: read as "nobody" or as "anybody", it would surprise somebody.
fn read_allow(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Field<Vec<IpNet>> {
    if section.node("allow").is_none() {
        return Field::Absent;
    }
    let Some(items) = section.list("allow", MAX_NETWORKS, faults) else { return Field::Faulty };
    let mut networks = Vec::new();
    let mut sound = true;
    for (path, item) in items {
        let place = Place { spot: item.spot, key: path };
        let Some(found) = judge(item, &place, faults, network) else {
            sound = false;
            continue;
        };
        if found.trunc() != found {
            let (whole, one) = (found.trunc(), IpNet::from(found.addr()));
            let message =
                format!("{found} admits all of {whole}; write {whole} if that is meant, else {one}");
            faults.warning(&place, message);
        }
        networks.push(found);
    }
    if sound { Field::Given(networks) } else { Field::Faulty }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MIN_DEADLINE: Duration = Duration::from_millis(110);
const MAX_DEADLINE: Duration = Duration::from_secs(5 * 60);
const MIN_IDLE: Duration = Duration::from_secs(1);
/// Requests of one connection in flight.
const MAX_IN_FLIGHT: u32 = 256;
/// Connections of one listener.
const MAX_CONNECTIONS: u32 = 10_000;
/// Entries of `allow`.
const MAX_NETWORKS: usize = 256;
