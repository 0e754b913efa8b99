//! One entry of `listeners`, read by itself.
//!
//! Owns the bounds of a listener's keys; never looks at buses or other listeners (see `cross`).
//! Contract section 1.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::keys::Part;
use super::value::{address, network};
use super::words;
use crate::io::settings::{Broadcast, ListenerSettings, Writes};
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Field, Section, judge};
use crate::yaml::tree::Node;
use crate::yaml::value::{self, choice, duration, size};

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
    let at = section.value("address", faults, address);
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
    let settings = || {
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
    })
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
