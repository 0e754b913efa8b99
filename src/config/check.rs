//! The checks between keys and sections, and the [`Config`] that results.
//!
//! Among others: identifiers are unique per listener, a device has one bus, deadlines can be kept. A check runs
//! whenever its own inputs are sound, whatever else was reported.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::broker;
use super::bus::{BusEntry, check_characters, warn_of_unstable_name};
use super::device;
use super::profiles::Profiles;
use super::rules::{self, Reached, check_networks};
use super::section::{self, File, ListenerSection, MAX_READ, SerialListener};
use super::settings::{Config, Listener, Status};
use super::tls;
use super::token_file::{MAKE_TOKEN, read_token, warn_if_exposed};
use super::unit::{UnitEntry, show_identifiers};
use super::value::Address;
use crate::audit::AuditSettings;
use crate::config::StatusSettings;
use crate::document::{Name, Reader, did_you_mean, nearest, show};
use crate::events::EventFileSettings;
use crate::line::{Framing, Protocol, UnitId};
use crate::modbus::{AduFraming, rtu};
use crate::serial::PortDevice;
use crate::server::connection::{DEADLINE_MARGIN, line_deadline};
use crate::server::{BROADCAST_UNIT, Broadcast, ClientPort, ListenAt, ListenerSettings, Writes};
use crate::tls::TlsServer;

/// Checks a file and builds its configuration. `None`: an error was reported, here or before.
pub(super) fn check(file: &File, reader: &mut Reader<'_, '_>) -> Option<Config> {
    for (key, is_empty) in [("listeners", file.listeners.is_empty()), ("buses", file.buses.is_empty())] {
        if is_empty && reader.is_sound(key) {
            reader.error(key, "the list is empty", "allowed: at least one");
        }
    }
    let mut profiles = Profiles::of(&file.profiles, reader);
    let buses = file.buses.iter().enumerate();
    let buses: Vec<_> = buses
        .map(|(index, bus)| BusEntry::new(bus, format!("buses[{index}]"), &mut profiles, reader))
        .collect();
    let listeners = file.listeners.iter().enumerate();
    let listeners: Vec<_> = listeners
        .map(|(index, listener)| ListenerEntry::new(listener, format!("listeners[{index}]"), reader))
        .collect();
    check_addresses(&listeners, reader);
    check_names(&buses, reader);
    check_devices(&buses, &listeners, reader);
    check_loops(&buses, &listeners, reader);
    let mut aliases = FreeAliases::new(&buses);
    for bus in &buses {
        check_identifiers(bus, &mut aliases, reader);
    }
    let routes: Vec<_> = listeners.iter().map(|listener| route(listener, &buses, reader)).collect();
    let mut reported = BTreeSet::new();
    for (listener, route) in listeners.iter().zip(&routes) {
        let Some(route) = route else { continue };
        check_routes(listener, route, &buses, &mut aliases, &mut reported, reader);
        check_unit_map(listener, route, &buses, reader);
        if let Some(reached) = reached(file, listener, route, &buses, reader) {
            rules::check_reach(listener.listener, &listener.path, &reached, reader);
        }
        check_deadline(listener, route, &buses, reader);
        check_wire_time(listener, route, &buses, reader);
    }
    check_unused(&routes, &buses, reader);
    check_diagnostics(file, &listeners, &routes, &buses, reader);
    let status = status(file, &listeners, reader);
    let audit = file
        .audit
        .as_ref()
        .map(|audit| AuditSettings { file: audit.file.0.clone(), max_size: audit.max_size.get() });
    let events = file
        .events
        .as_ref()
        .map(|events| EventFileSettings { file: events.file.0.clone(), max_size: events.max_size.get() });
    check_records(audit.as_ref(), events.as_ref(), reader);
    let brokers = broker::check(file, &buses, reader);
    if reader.has_errors() {
        return None;
    }
    let listeners = listeners.iter().zip(routes).map(|(listener, route)| listener.finish(route?));
    Some(Config {
        site: file.site.as_ref().map(|site| site.0.clone()),
        listeners: listeners.collect::<Option<_>>()?,
        buses: buses.iter().map(BusEntry::finish).collect::<Option<_>>()?,
        log_level: file.log_level,
        diagnostics_unit: file.diagnostics_unit.0,
        profiles: file.profiles.0.clone(),
        audit,
        events,
        status,
        brokers: brokers?,
    })
}

/// The file of events is written anew when it is full, and the audit moves its predecessors: one would destroy what the
/// other has written.
fn check_records(
    audit: Option<&AuditSettings>,
    events: Option<&EventFileSettings>,
    reader: &mut Reader<'_, '_>,
) {
    let (Some(audit), Some(events)) = (audit, events) else { return };
    let shared = audit.files().any(|one| events.files().iter().any(|other| same_file(&one, other)));
    if shared && ["audit", "events"].iter().all(|path| reader.is_sound(path)) {
        let what =
            format!("{} is a file of the audit{}", events.file.display(), reader.on_line("audit.file"));
        reader.error("events.file", &what, "name another file, such as /var/lib/metergate/events.jsonl");
    }
}

/// Whether two absolute paths are one, as far as they say so: `/a//./b` is `/a/b`.
fn same_file(one: &Path, other: &Path) -> bool {
    one.components().eq(other.components())
}

/// An entry of `listeners`, checked by itself.
struct ListenerEntry<'f> {
    listener: &'f ListenerSection,
    path: String,
    /// `None`: an error was reported.
    at: Option<ListenAt>,
    /// `None`: an error was reported, or the listener has no such key.
    deadline: Option<Duration>,
    /// `None`: plain, or an error was reported.
    tls: Option<Arc<TlsServer>>,
}

impl<'f> ListenerEntry<'f> {
    /// Checks the entry by itself.
    fn new(listener: &'f ListenerSection, path: String, reader: &mut Reader<'_, '_>) -> Self {
        let (at, deadline) = match listener {
            ListenerSection::Tcp(listener) => check_tcp(listener, &path, reader),
            ListenerSection::Serial(listener) => (check_serial(listener, &path, reader), None),
        };
        let mut entry = Self { listener, path, at, deadline, tls: None };
        entry.check_broadcast(reader);
        rules::check(listener, &entry.path, reader);
        if let ListenerSection::Tcp(listener) = listener {
            let section = listener.tls.as_ref();
            entry.tls = section.and_then(|section| tls::of_listener(section, listener, &entry.path, reader));
        }
        entry
    }

    fn check_broadcast(&self, reader: &mut Reader<'_, '_>) {
        let (listener, key) = (self.listener, |name: &str| self.key(name));
        let broadcasts = listener.broadcast() != Broadcast::Refuse;
        let denies = listener.rules().is_empty() && listener.writes().unwrap_or(Writes::Deny) == Writes::Deny;
        if broadcasts && denies && reader.is_sound(&key("writes")) {
            let what = "broadcasts are writes, and writes: deny answers each of them with 0x01";
            reader.warning(&key("broadcast"), what, "set writes: allow, or broadcast: refuse");
        }
        for sent in
            listener.unit_map().iter().flat_map(|map| &map.0).filter(|_| broadcasts).map(|(sent, _)| *sent)
        {
            if sent == 0 && !self.is_serial() {
                let word = if listener.broadcast() == Broadcast::Silent { "silent" } else { "acknowledge" };
                let what = format!("found 0, which `broadcast: {word}` sends to every unit");
                reader.error_at_key(&key("unit_map.0"), &what, "allowed: 0 with broadcast: refuse only");
            }
        }
        if self.is_serial() && listener.unit_map().is_some_and(|map| map.0.iter().any(|(sent, _)| *sent == 0))
        {
            let what = "a request to 0 is a broadcast on a serial line, and never answered";
            reader.error_at_key(&key("unit_map.0"), what, "allowed: 1 to 255 here");
        }
    }

    /// Whether it is at a serial port.
    fn is_serial(&self) -> bool {
        match self.listener {
            ListenerSection::Serial(_) => true,
            ListenerSection::Tcp(_) => false,
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// The TCP address, if it has one and it is sound.
    fn address(&self) -> Option<SocketAddr> {
        self.at.as_ref()?.tcp()
    }

    /// The key that limits the answers to requests for one unit, and its value.
    fn shortest_deadline(&self, reader: &Reader<'_, '_>) -> Option<(&'static str, Duration)> {
        let within_is_sound = reader.is_sound(&self.key(ANSWER_WITHIN));
        let (deadline, within) = match self.listener {
            ListenerSection::Serial(listener) => {
                return within_is_sound.then(|| (ANSWER_WITHIN, listener.answer_within.get()));
            }
            ListenerSection::Tcp(listener) => {
                let is_rtu = listener.framing == AduFraming::Rtu && within_is_sound;
                (self.deadline?, listener.answer_within.filter(|_| is_rtu).map(|within| within.get()))
            }
        };
        Some(match within {
            Some(within) if within < deadline => (ANSWER_WITHIN, within),
            Some(_) | None => (REQUEST_DEADLINE, deadline),
        })
    }

    fn finish(&self, buses: Vec<usize>) -> Option<Listener> {
        let at = self.at.clone()?;
        let settings = match self.listener {
            ListenerSection::Tcp(listener) => ListenerSettings {
                at,
                framing: listener.framing,
                max_age: listener.max_age.get(),
                writes: listener.writes.unwrap_or(Writes::Deny),
                rules: listener.rules.iter().map(rules::rule).collect(),
                tls: self.tls.clone(),
                broadcast: listener.broadcast,
                request_deadline: self.deadline?,
                answer_within: listener.answer_within.map(|within| within.get()),
                max_in_flight: match (listener.framing, listener.max_in_flight) {
                    (AduFraming::Tcp, Some(limit)) => limit.size(),
                    (AduFraming::Tcp, None) | (AduFraming::Rtu, _) => MAX_IN_FLIGHT,
                },
                max_connections: listener.max_connections.size(),
                max_connections_per_ip: listener.max_connections_per_ip.size(),
                idle_timeout: listener.idle_timeout.get(),
                allow: (listener.allow.iter().flat_map(|networks| &networks.0))
                    .map(|network| network.0)
                    .collect(),
            },
            ListenerSection::Serial(listener) => {
                let default = section::Listener::default();
                let within = listener.answer_within.get();
                ListenerSettings {
                    at,
                    framing: AduFraming::Rtu,
                    max_age: listener.max_age.get(),
                    writes: listener.writes.unwrap_or(Writes::Deny),
                    rules: listener.rules.iter().map(rules::rule).collect(),
                    tls: None,
                    broadcast: listener.broadcast,
                    // Of broadcasts, for which no client waits.
                    request_deadline: default.request_deadline.get().max(within),
                    answer_within: Some(within),
                    max_in_flight: MAX_IN_FLIGHT,
                    max_connections: 1,
                    max_connections_per_ip: 1,
                    idle_timeout: default.idle_timeout.get(),
                    allow: Vec::new(),
                }
            }
        };
        let unit_map = self.listener.unit_map().map(|map| map.0.iter().copied().collect());
        Some(Listener { settings, buses, unit_map })
    }
}

/// Where a listener with `address` is, and its deadline; `None`: an error was reported.
fn check_tcp(
    listener: &section::Listener,
    path: &str,
    reader: &mut Reader<'_, '_>,
) -> (Option<ListenAt>, Option<Duration>) {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&listener.address, &key("address"));
    let deadline = reader.is_sound(&key("request_deadline")).then(|| listener.request_deadline.get());
    check_framing(listener, path, reader);
    if let Some(networks) = &listener.allow {
        check_networks(&networks.0, &key("allow"), reader);
    }
    (listener.address.map(|address| ListenAt::Tcp(address.0)), deadline)
}

/// Where a listener with `device` is; `None`: an error was reported.
fn check_serial(listener: &SerialListener, path: &str, reader: &mut Reader<'_, '_>) -> Option<ListenAt> {
    let key = |name: &str| format!("{path}.{name}");
    reader.require(&listener.device, &key("device"));
    if let Some(device) = &listener.device {
        warn_of_unstable_name(device.0.as_path(), &key("device"), reader);
    }
    if listener.broadcast == Broadcast::Acknowledge {
        let what = "a broadcast is never answered on a serial line";
        reader.warning(&key("broadcast"), what, "set broadcast: silent");
    }
    let framing = listener.stop_bits.narrow().map(|stop_bits| Framing {
        baud_rate: listener.baud_rate.get(),
        parity: listener.parity,
        stop_bits,
    });
    let framing = check_characters(Some(listener.baud_rate.get()), framing, path, reader)?;
    check_answer_within(listener.answer_within.get(), framing, path, reader);
    Some(ListenAt::Serial(ClientPort {
        device: listener.device.as_ref()?.0.clone(),
        framing,
        direction: listener.direction,
        echo: listener.echo,
    }))
}

/// An answer begins after a silence, and nothing is left of a shorter time.
fn check_answer_within(within: Duration, framing: Framing, path: &str, reader: &mut Reader<'_, '_>) {
    let key = format!("{path}.{ANSWER_WITHIN}");
    let silence = rtu::silence(framing.baud_rate);
    let shortest = silence + DEADLINE_MARGIN;
    if within < shortest && reader.is_sound(&key) {
        let what = format!(
            "{} is too short at {} baud: an answer begins after {} of silence, and it has to be there by then",
            show(within),
            framing.baud_rate,
            show(whole_millis(silence))
        );
        reader.error(&key, &what, &format!("allowed: at least {}", show(whole_millis(shortest))));
    }
}

/// Rounded up to a millisecond.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(duration.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX))
}

/// The keys of which each framing has its own.
fn check_framing(listener: &section::Listener, path: &str, reader: &mut Reader<'_, '_>) {
    let key = |name: &str| format!("{path}.{name}");
    if !reader.is_sound(&key("framing")) {
        return;
    }
    match (listener.framing, listener.answer_within) {
        (AduFraming::Tcp, Some(_)) => {
            let what = "found beside framing: tcp, where an answer names its request and may be late";
            reader.error_at_key(&key("answer_within"), what, "allowed: with framing: rtu only");
        }
        (AduFraming::Rtu, Some(within)) if within.get() > listener.request_deadline.get() => {
            let what = format!(
                "{} is longer than the request_deadline of {}, by which every request is answered",
                show(within.get()),
                show(listener.request_deadline.get())
            );
            reader.warning(&key("answer_within"), &what, "shorten it, or leave the key out");
        }
        (AduFraming::Rtu, Some(_)) | (AduFraming::Tcp | AduFraming::Rtu, None) => {}
    }
    if listener.framing == AduFraming::Rtu {
        if listener.max_in_flight.is_some() {
            let what = "a client has one request in flight with framing: rtu, whatever this says";
            reader.warning(&key("max_in_flight"), what, "leave the key out");
        }
        if listener.broadcast == Broadcast::Acknowledge {
            let what = "a broadcast is never answered with framing: rtu";
            reader.warning(&key("broadcast"), what, "set broadcast: silent");
        }
    }
}

/// The units behind a listener, in the order of the file.
fn units_of<'b, 'f>(route: &[usize], buses: &'b [BusEntry<'f>]) -> Vec<&'b UnitEntry<'f>> {
    let routed = buses.iter().enumerate().filter(|(index, _)| route.contains(index));
    routed.flat_map(|(_, bus)| &bus.units).collect()
}

/// A unit entry with each identifier that clients use for it.
fn with_aliases<'b, 'f>(unit: &'b UnitEntry<'f>) -> impl Iterator<Item = (u8, &'b UnitEntry<'f>)> {
    unit.aliases.iter().flatten().map(move |alias| (*alias, unit))
}

fn check_addresses(listeners: &[ListenerEntry<'_>], reader: &mut Reader<'_, '_>) {
    for (index, listener) in listeners.iter().enumerate() {
        if let Some(address) = listener.address() {
            check_address(address, &listener.key("address"), &listeners[..index], reader);
        }
    }
}

fn check_address(
    address: SocketAddr,
    path: &str,
    earlier: &[ListenerEntry<'_>],
    reader: &mut Reader<'_, '_>,
) {
    let taken = earlier.iter().filter_map(|listener| Some((listener, listener.address()?)));
    if let Some((listener, first)) = taken.into_iter().find(|(_, other)| collide(other, &address)) {
        let first_path = listener.key("address");
        let what =
            format!("found {address}, but {first_path}{} already takes {first}", reader.on_line(&first_path));
        reader.error(path, &what, "allowed: each address and port once");
    }
}

/// A listener on `[::]` has the port on IPv4, too, unless another listener has it there.
fn check_both_families(status: SocketAddr, listeners: &[ListenerEntry<'_>], reader: &mut Reader<'_, '_>) {
    let on_port = |ipv4: bool| {
        let mut all = listeners.iter().filter_map(|listener| Some((listener, listener.address()?)));
        all.find(|(_, at)| at.port() == status.port() && at.is_ipv4() == ipv4)
            .map(|(listener, at)| (listener.key("address"), at))
    };
    if !status.is_ipv4() || status.port() == 0 || on_port(true).is_some() {
        return;
    }
    if let Some((first, at)) = on_port(false).filter(|(_, at)| at.ip().is_unspecified()) {
        let what = format!("found {status}, but {first}{} takes {at} for IPv4, too", reader.on_line(&first));
        reader.error("status.address", &what, "allowed: another port");
    }
}

/// Whether the kernel refuses to bind both.
fn collide(a: &SocketAddr, b: &SocketAddr) -> bool {
    let same_ip = a.is_ipv4() == b.is_ipv4()
        && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified());
    // Port 0 stands for a different free port each time.
    a.port() == b.port() && a.port() != 0 && same_ip
}

fn check_names(buses: &[BusEntry<'_>], reader: &mut Reader<'_, '_>) {
    let mut seen: BTreeMap<&str, &String> = BTreeMap::new();
    for bus in buses {
        let Some(name) = bus.name else { continue };
        if let Some(first) = seen.get(name) {
            let what = format!("found `{name}`, the name of {first}{} too", reader.on_line(first));
            reader.error(&bus.key("name"), &what, "give this bus another name");
        } else {
            seen.insert(name, &bus.path);
        }
    }
}

fn check_devices(buses: &[BusEntry<'_>], listeners: &[ListenerEntry<'_>], reader: &mut Reader<'_, '_>) {
    let mut seen: BTreeMap<_, (String, String)> = BTreeMap::new();
    for bus in buses {
        let Some(device) = &bus.bus.device else { continue };
        let resolved = device::resolve(&device.0);
        if let Some((first, path)) = seen.get(&resolved) {
            let (what, other) = match &device.0 {
                PortDevice::Path(_) => ("device", "another device"),
                PortDevice::Server(_) => ("serial server", "another port of the server"),
                PortDevice::ModbusTcp(_) => ("Modbus TCP server", "another server"),
            };
            let what =
                format!("found `{}`, the same {what} as {first} of {path}{}", device.0, reader.on_line(path));
            reader.error(
                &bus.key("device"),
                &what,
                &format!("move these units to that bus, or name {other}"),
            );
        } else {
            seen.insert(resolved, (device.0.to_string(), bus.key("device")));
        }
    }
    for listener in listeners {
        let Some(at) = listener.at.as_ref().and_then(ListenAt::serial) else { continue };
        let resolved = device::resolve(&at.port().device);
        if let Some((first, path)) = seen.get(&resolved) {
            let what = format!(
                "found `{}`, the same device as {first} of {path}{}",
                at.device,
                reader.on_line(path)
            );
            reader.error(&listener.key("device"), &what, "name the adapter that the client is wired to");
        } else {
            seen.insert(resolved, (at.device.to_string(), listener.key("device")));
        }
    }
}

/// A bus behind a server must not lead back to a listener of this gateway. No name is looked up.
fn check_loops(buses: &[BusEntry<'_>], listeners: &[ListenerEntry<'_>], reader: &mut Reader<'_, '_>) {
    for bus in buses {
        let Some(device) = bus.bus.device.as_ref().map(|device| &device.0) else { continue };
        let (server, elsewhere) = match device {
            PortDevice::Path(_) => continue,
            PortDevice::Server(server) => (server, "allowed: a serial server elsewhere"),
            PortDevice::ModbusTcp(server) => (server, "allowed: a Modbus TCP server elsewhere"),
        };
        let leads_to = |listener: &&ListenerEntry<'_>| {
            listener.address().is_some_and(|address| device::leads_to(server, address))
        };
        if let Some(listener) = listeners.iter().find(leads_to) {
            let listener = listener.key("address");
            let line = reader.on_line(&listener);
            let what = format!("found {device}, where this gateway itself listens ({listener}{line})");
            reader.error(&bus.key("device"), &what, elsewhere);
        }
    }
}

/// Checks that each identifier, on the line and for clients, occurs once on a bus.
fn check_identifiers(bus: &BusEntry<'_>, free: &mut FreeAliases, reader: &mut Reader<'_, '_>) {
    let mut on_line: BTreeMap<u8, &UnitEntry<'_>> = BTreeMap::new();
    let mut for_clients: BTreeMap<u8, &UnitEntry<'_>> = BTreeMap::new();
    for unit in &bus.units {
        if reader.is_full() {
            return;
        }
        let taken = unit.ids.and_then(|ids| claim(&mut on_line, ids, unit));
        if let Some((id, first)) = taken {
            let first = match reader.line(&first.path) {
                Some(line) => format!("line {line}"),
                None => first.path.clone(),
            };
            let what = format!("found unit {id} a second time, {first} has it already");
            reader.error(&format!("{}.id", unit.path), &what, "remove it from one of the two lines");
        }
        let taken_alias = unit.aliases.as_deref().and_then(|aliases| claim(&mut for_clients, aliases, unit));
        // A unit listed twice under its own identifier is reported once, not twice.
        if let Some((alias, first)) = taken_alias.filter(|_| unit.is_renamed || taken.is_none()) {
            let what = format!("clients call {} by identifier {alias} already", first.location(reader));
            reader.error(&unit.alias_path(), &what, &free.suggest(unit));
        }
    }
}

/// Records `unit` as owner of each identifier that has none; returns the first that has another owner, with it.
fn claim<'u, 'f>(
    owners: &mut BTreeMap<u8, &'u UnitEntry<'f>>,
    ids: &[u8],
    unit: &'u UnitEntry<'f>,
) -> Option<(u8, &'u UnitEntry<'f>)> {
    let mut taken = None;
    for &id in ids {
        let owner = *owners.entry(id).or_insert(unit);
        if !std::ptr::eq(owner, unit) && taken.is_none() {
            taken = Some((id, owner));
        }
    }
    taken
}

/// The identifiers for clients that are free to be suggested.
struct FreeAliases {
    /// How many units have each identifier.
    owners: BTreeMap<u8, usize>,
    /// Identifiers that were suggested before.
    reserved: BTreeSet<u8>,
}

impl FreeAliases {
    fn new(buses: &[BusEntry<'_>]) -> Self {
        let mut owners = BTreeMap::new();
        for (alias, _) in buses.iter().flat_map(|bus| &bus.units).flat_map(with_aliases) {
            *owners.entry(alias).or_default() += 1;
        }
        Self { owners, reserved: BTreeSet::new() }
    }

    /// Help with a value of `as` whose identifiers no other unit has; they are reserved for this one.
    fn suggest(&mut self, unit: &UnitEntry<'_>) -> String {
        let units = unit.ids.map_or(1, <[u8]>::len);
        let more = u8::try_from(units.saturating_sub(1)).unwrap_or(u8::MAX);
        let runs = (1..=u8::MAX - more).map(|first| first..=first + more);
        let own = unit.aliases.as_deref().unwrap_or_default();
        let is_free = |alias: u8| {
            let owners = self.owners.get(&alias).copied().unwrap_or_default();
            owners == usize::from(own.contains(&alias)) && !self.reserved.contains(&alias)
        };
        let run = runs.into_iter().find(|run| run.clone().all(is_free));
        let verb = if unit.is_renamed { "write" } else { "add" };
        let Some(run) = run else { return "give it an identifier of its own by the key `as`".to_owned() };
        self.reserved.extend(run.clone());
        let (first, last) = (run.start(), run.end());
        if more > 0 {
            format!("{verb} `as: {first}`, so that clients call these units {first} to {last}")
        } else {
            format!("{verb} `as: {first}`, so that clients call this unit {first}")
        }
    }
}

/// The indexes of the buses a listener names; `None`: an error was reported.
fn route(
    listener: &ListenerEntry<'_>,
    buses: &[BusEntry<'_>],
    reader: &mut Reader<'_, '_>,
) -> Option<Vec<usize>> {
    let path = listener.key("buses");
    let Some(names) = listener.listener.buses() else {
        return reader.is_sound(&path).then(|| (0..buses.len()).collect());
    };
    // If a bus has no name, no name of the list can be called unknown.
    let known: Option<Vec<&str>> = buses.iter().map(|bus| bus.name).collect();
    let is_whole = reader.is_sound(&path);
    let mut route = Vec::new();
    for (path, Name(name)) in reader.items(&path, &names.0) {
        match (buses.iter().position(|bus| bus.name == Some(name)), &known) {
            (Some(bus), _) if route.contains(&bus) => {
                let what = format!("found {name} a second time");
                reader.error(&path, &what, "allowed: each bus once on a listener");
            }
            (Some(bus), _) => route.push(bus),
            (None, Some(known)) if !known.is_empty() => {
                let hint = did_you_mean(name, known.iter().copied());
                reader.error(
                    &path,
                    &format!("no bus is called `{name}`"),
                    &format!("{hint}allowed: {}", known.join(", ")),
                );
            }
            (None, _) => {}
        }
    }
    // The sound part of a faulty list is still checked further; the file is refused because of the fault anyway.
    (is_whole && !route.is_empty()).then_some(route)
}

/// Checks that no identifier leads to two buses of one listener.
fn check_routes(
    listener: &ListenerEntry<'_>,
    route: &[usize],
    buses: &[BusEntry<'_>],
    free: &mut FreeAliases,
    reported: &mut BTreeSet<String>,
    reader: &mut Reader<'_, '_>,
) {
    let mut owners: BTreeMap<u8, (&UnitEntry<'_>, &BusEntry<'_>)> = BTreeMap::new();
    // In the order of the file, so that the later of two units is reported.
    let routed = buses.iter().enumerate().filter(|(index, _)| route.contains(index));
    for (_, bus) in routed {
        let mut own: BTreeMap<u8, &UnitEntry<'_>> = BTreeMap::new();
        for unit in &bus.units {
            if reader.is_full() {
                return;
            }
            let taken = with_aliases(unit).find_map(|(alias, _)| Some((alias, *owners.get(&alias)?)));
            if let Some((alias, (first, other))) = taken.filter(|_| reported.insert(unit.path.clone()))
                // One message about an identifier is enough.
                && reader.is_sound(&unit.alias_path())
            {
                let on_line = reader.on_line(&listener.path);
                let what = format!(
                    "clients of the listener{on_line} call {} by identifier {alias} already",
                    first.location(reader)
                );
                let mut help = free.suggest(unit);
                if let (Some(one), Some(two)) = (other.name, bus.name) {
                    help.push_str(&format!(
                        "; or give each bus a listener of its own, one with `buses: [{one}]`, one with `buses: [{two}]`"
                    ));
                }
                reader.error(&unit.alias_path(), &what, &help);
            }
            own.extend(with_aliases(unit));
        }
        for (alias, unit) in own {
            owners.entry(alias).or_insert((unit, bus));
        }
    }
}

/// Checks that each entry of a `unit_map` leads to a unit of the listener's buses.
fn check_unit_map(
    listener: &ListenerEntry<'_>,
    route: &[usize],
    buses: &[BusEntry<'_>],
    reader: &mut Reader<'_, '_>,
) {
    let Some(map) = listener.listener.unit_map() else { return };
    // If a bus or an identifier is missing, no unit can be called unknown.
    let is_known = |index: &usize| {
        let units = &buses[*index].units;
        !units.is_empty() && units.iter().all(|unit| unit.aliases.is_some())
    };
    let is_listed =
        reader.is_sound_itself(&listener.key("unit_map")) && reader.is_sound(&listener.key("buses"));
    if !is_listed || !route.iter().all(is_known) {
        return;
    }
    let units = units_of(route, buses);
    let known: BTreeMap<u8, _> = units.iter().copied().flat_map(with_aliases).collect();
    let words: Vec<String> = known.keys().map(u8::to_string).collect();
    for (sent, found) in map.0.iter().filter(|(_, unit)| !known.contains_key(unit)) {
        // It may be the identifier set on the meter.
        let on_line = units.iter().find_map(|unit| {
            let at = unit.ids?.iter().position(|id| id == found)?;
            unit.aliases.as_ref()?.get(at).map(u8::to_string)
        });
        let near = on_line
            .or_else(|| nearest(&found.to_string(), words.iter().map(String::as_str)).map(str::to_owned));
        let elsewhere = buses.iter().enumerate().filter(|(index, _)| !route.contains(index));
        let elsewhere = elsewhere.into_iter().find_map(|(_, bus)| {
            let has_it = bus.units.iter().flat_map(with_aliases).any(|(alias, _)| alias == *found);
            bus.name.filter(|_| has_it)
        });
        let hint = match (elsewhere, near) {
            (Some(name), _) => format!("bus {name} has it, but is not among the listener's buses; "),
            (None, Some(near)) => format!("did you mean {near}? "),
            (None, None) => String::new(),
        };
        let what = format!("found {found}, which is the identifier of no unit of this listener");
        let help = format!("{hint}allowed: {}", show_identifiers(known.keys().copied()));
        reader.error(&listener.key(&format!("unit_map.{sent}")), &what, &help);
    }
}

/// What clients of a listener reach; `None`: an error was reported that leaves it open.
fn reached(
    file: &File,
    listener: &ListenerEntry<'_>,
    route: &[usize],
    buses: &[BusEntry<'_>],
    reader: &Reader<'_, '_>,
) -> Option<Reached> {
    if !["unit_map", "buses"].iter().all(|name| reader.is_sound(&listener.key(name))) {
        return None;
    }
    let mut units = Reached::new();
    for unit in units_of(route, buses) {
        let profile = unit.polling.as_ref()?.profile.as_ref().map(|profile| Arc::clone(&profile.profile));
        units.extend(unit.aliases.as_ref()?.iter().map(|alias| (*alias, profile.clone())));
    }
    let mut reached = match listener.listener.unit_map() {
        Some(map) => {
            map.0.iter().filter_map(|(sent, unit)| Some((*sent, units.get(unit)?.clone()))).collect()
        }
        None => units,
    };
    if listener.listener.broadcast() != Broadcast::Refuse {
        reached.entry(BROADCAST_UNIT).or_default();
    }
    reached.extend(file.diagnostics_unit.0.map(|unit| (unit, None)));
    Some(reached)
}

/// Checks that one attempt at the slowest unit fits into the deadline.
fn check_deadline(
    listener: &ListenerEntry<'_>,
    route: &[usize],
    buses: &[BusEntry<'_>],
    reader: &mut Reader<'_, '_>,
) {
    let units = units_of(route, buses).into_iter();
    let slowest = units.filter_map(|unit| Some((unit.response_timeout?, unit))).max_by_key(|(slow, _)| *slow);
    let (Some(deadline), Some((slow, unit))) = (listener.deadline, slowest) else { return };
    let needed = slow + DEADLINE_SLACK;
    if deadline < needed {
        let path = listener.key("request_deadline");
        let default = if reader.line(&path).is_some() { "" } else { "the default of " };
        let limit = match reader.line(&unit.response_timeout_path) {
            Some(line) => format!("response_timeout on line {line}"),
            None => "the default response_timeout".to_owned(),
        };
        let what = format!(
            "{default}{} is too short for one attempt: {limit} is {}, and clients get 0x0B when a meter takes longer \
             than {}",
            show(deadline),
            show(slow),
            show(deadline)
        );
        let help =
            format!("write `request_deadline: {}` or more, or a shorter response_timeout", show(needed));
        reader.warning(&path, &what, &help);
    }
}

/// Checks that the wire time of the longest read fits into the shortest deadline; longer reads are refused even on an idle line.
fn check_wire_time(
    listener: &ListenerEntry<'_>,
    route: &[usize],
    buses: &[BusEntry<'_>],
    reader: &mut Reader<'_, '_>,
) {
    let Some((key, deadline)) = listener.shortest_deadline(reader) else { return };
    let usable = line_deadline(deadline);
    for bus in route.iter().map(|index| &buses[*index]) {
        let (Some(Protocol::Rtu(framing)), Some(name)) = (bus.protocol, bus.name) else { continue };
        let gap = bus.units.iter().filter_map(|unit| unit.request_gap).max().unwrap_or_default();
        let silence = rtu::silence(framing.baud_rate);
        let needed = |registers: u32| {
            let reply = READ_REPLY_LENGTH + 2 * registers as usize;
            silence.max(gap) + framing.wire_time(READ_REQUEST_LENGTH) + silence + framing.wire_time(reply)
        };
        let longest = needed(MAX_READ);
        if longest <= usable {
            continue;
        }
        let fits = (1..MAX_READ).rev().find(|registers| needed(*registers) <= usable);
        let refused = fits.map_or_else(
            || "every read is answered with 0x0B".to_owned(),
            |fits| format!("reads of more than {fits} registers are answered with 0x0B"),
        );
        let what = format!(
            "{} is too short for the longest reads on bus {name}: {MAX_READ} registers take {:.*} s at {framing}, \
             so {refused}",
            show(deadline),
            if longest < Duration::from_secs(1) { 2 } else { 1 },
            longest.as_secs_f64(),
        );
        let enough = if key == ANSWER_WITHIN {
            let steps = longest.as_millis() / DEADLINE_SLACK.as_millis() + 2;
            let enough = DEADLINE_SLACK * u32::try_from(steps).unwrap_or(u32::MAX);
            let also = listener.deadline.filter(|deadline| *deadline < enough);
            let also = also.map_or("", |_| ", and a request_deadline that is no shorter");
            format!("{} or more{also}", show(enough))
        } else {
            format!("{}s or more", (longest + DEADLINE_SLACK).as_secs() + 1)
        };
        let help = format!("use {key}: {enough}, or a higher baud_rate");
        reader.warning(&listener.key(key), &what, &help);
    }
}

fn check_unused(routes: &[Option<Vec<usize>>], buses: &[BusEntry<'_>], reader: &mut Reader<'_, '_>) {
    let Some(routes) = routes.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return };
    for (index, bus) in buses.iter().enumerate() {
        if !routes.is_empty() && !routes.iter().any(|route| route.contains(&index)) {
            let help = "its units cannot be reached; name it in the `buses` of a listener";
            reader.warning(&bus.key("name"), "no listener leads to this bus", help);
        }
    }
}

/// Checks that no listener leads to a meter under the identifier of the diagnostics unit.
fn check_diagnostics(
    file: &File,
    listeners: &[ListenerEntry<'_>],
    routes: &[Option<Vec<usize>>],
    buses: &[BusEntry<'_>],
    reader: &mut Reader<'_, '_>,
) {
    let Some(id) = file.diagnostics_unit.0 else { return };
    let mut served = BTreeMap::new();
    for (listener, route) in listeners.iter().zip(routes) {
        let path = listener.key("unit_map");
        match listener.listener.unit_map() {
            _ if !reader.is_sound(&path) => {}
            None => served.extend(
                route
                    .iter()
                    .flat_map(|route| units_of(route, buses).into_iter().rev())
                    .flat_map(with_aliases),
            ),
            Some(map) if map.0.iter().any(|(sent, _)| *sent == id) => {
                let line = reader.on_line("diagnostics_unit");
                let what = format!("found {id}, the identifier of the diagnostics unit{line}");
                reader.error_at_key(
                    &format!("{path}.{id}"),
                    &what,
                    "allowed: another one, or another diagnostics_unit",
                );
            }
            Some(_) => {}
        }
    }
    let Some(unit) = served.get(&id) else { return };
    let free = (1..=UnitId::STANDARD_MAX).rev().find(|free| !served.contains_key(free));
    let what = format!("clients call {} by identifier {id} already", unit.location(reader));
    let help = format!("allowed: off, or an identifier no unit has, such as {}", free.unwrap_or(u8::MAX));
    reader.error("diagnostics_unit", &what, &help);
}

/// The status page; `None`: it is off, or an error was reported.
fn status(file: &File, listeners: &[ListenerEntry<'_>], reader: &mut Reader<'_, '_>) -> Option<Status> {
    let page = match &file.status {
        Some(section::Status::Off) => return None,
        Some(section::Status::On(page)) => page.clone(),
        None => section::StatusPage::default(),
    };
    let Address(address) = page.address;
    let is_sound = reader.is_sound("status.address") && reader.is_sound("status.token_file");
    if file.status.is_some() && reader.is_sound("status.address") {
        check_address(address, "status.address", listeners, reader);
        check_both_families(address, listeners, reader);
    }
    if let Some(file) = &page.token_file {
        warn_if_exposed(&file.0, "status.token_file", reader);
    }
    let token = match page.token_file.as_ref().map(|file| read_token(&file.0)) {
        None => None,
        Some(Ok(token)) => Some(token),
        Some(Err(error)) => {
            reader.error("status.token_file", &error.to_string(), &error.remedy());
            return None;
        }
    };
    if is_sound && token.is_none() && !address.ip().is_loopback() {
        let what = format!("found {address}, which others can reach, and no token_file beside it");
        let help = format!(
            "write 127.0.0.1:{}, so that only this machine reaches the page, or add `token_file:` ({MAKE_TOKEN})",
            address.port()
        );
        reader.error("status.address", &what, &help);
    }
    let tls = match &page.tls {
        Some(section) => Some(tls::of_status(section, reader)?),
        None => None,
    };
    let token_file = page.token_file.map(|file| file.0);
    Some(Status {
        settings: StatusSettings { address, token, tls },
        token_file,
        given: file.status.is_some(),
    })
}

/// Bytes of a read request on the line, and of its answer without registers.
const READ_REQUEST_LENGTH: usize = 8;
const READ_REPLY_LENGTH: usize = 5;

/// Default limit of requests in flight per connection.
const MAX_IN_FLIGHT: usize = 16;

/// Time that a deadline must leave for wire and reply beyond the response timeout.
const DEADLINE_SLACK: Duration = Duration::from_millis(100);

/// The keys of a listener that limit how late an answer may be.
const REQUEST_DEADLINE: &str = "request_deadline";
const ANSWER_WITHIN: &str = "answer_within";
