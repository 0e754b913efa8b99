//! One entry of `buses` and its units, each read by itself.
//!
//! Owns the bounds of a bus's and a unit's keys; never compares two of them (see `cross`).
//! Contract section 1.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::device;
use super::keys::Part;
use super::polling::{self, PollingRead};
use super::profiles::Profiles;
use super::settings::Bus;
use super::value::{alias, device as device_path, share, share_or_none, unit_ids};
use super::words;
use crate::bus::settings::{Framing, LineSettings, OfflineAfter, Parity, UnitId, UnitSettings};
use crate::io::settings::{Direction, PortSettings};
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Field, Section};
use crate::yaml::tree::Node;
use crate::yaml::value::{self, choice, count, duration, size};

/// A bus as read; `None`: reported.
pub(super) struct BusRead {
    pub(super) name: Option<String>,
    pub(super) name_at: Place,
    pub(super) device: Option<PathBuf>,
    pub(super) device_at: Place,
    direction: Option<Direction>,
    /// The line, its units yet to be filled in.
    line: Option<LineSettings>,
    /// The units that are mappings at all.
    pub(super) units: Vec<UnitRead>,
}

/// One entry of `units` as read; `None`: reported.
pub(super) struct UnitRead {
    pub(super) place: Place,
    pub(super) id_at: Place,
    pub(super) as_at: Place,
    /// Identifiers on the line.
    pub(super) ids: Option<RangeInclusive<u8>>,
    /// Identifiers clients use, as many as `ids`.
    pub(super) aliases: Option<RangeInclusive<u8>>,
    /// Whether `as` stands in the file.
    pub(super) renamed: bool,
    name: Option<Option<String>>,
    pub(super) response_timeout: Option<Duration>,
    request_gap: Option<Duration>,
    polling: Option<PollingRead>,
}

impl BusRead {
    /// The finished bus. `None` where anything of it was reported, its comparisons included.
    pub(super) fn finish(self) -> Option<Bus> {
        let mut line = self.line?;
        let mut aliases = BTreeMap::new();
        let mut profiles = BTreeMap::new();
        let mut wire = Vec::new();
        for unit in self.units {
            let (name, response_timeout, request_gap) =
                (unit.name?, unit.response_timeout?, unit.request_gap?);
            let PollingRead { profile, polling } = unit.polling?;
            for (id, alias) in unit.ids?.zip(unit.aliases?) {
                let id = UnitId::new(id)?;
                aliases.insert(alias, id);
                wire.push(id);
                profiles.extend(profile.clone().map(|profile| (id, profile)));
                line.units.push(UnitSettings {
                    name: name.clone(),
                    request_gap,
                    polling: polling.clone(),
                    ..UnitSettings::new(id, response_timeout)
                });
            }
        }
        line.units.sort_by_key(|unit| unit.id);
        let port = PortSettings { device: self.device?, framing: line.framing, direction: self.direction? };
        Some(Bus { port, line, aliases, wire, read_functions: BTreeMap::new(), profiles })
    }
}

/// Reads one entry of `buses`.
pub(super) fn read(
    node: &Node,
    path: &str,
    profiles: &mut Profiles,
    faults: &mut Faults<'_>,
) -> Option<BusRead> {
    let section = Section::open(node, path, Part::Bus, faults)?;
    let name = section.value("name", faults, value::name);
    let found = section.value("device", faults, device_path);
    if let Some(warning) = found.as_deref().and_then(device::unstable) {
        faults.warning(&section.place_of("device"), warning);
    }
    let direction = section.value("direction", faults, |n| choice(n, words::DIRECTIONS, words::direction));
    let line = read_line(&section, name.clone(), faults);
    let (settings, inherited) = (line.settings, line.inherited);
    for (path, item) in section.list_again("units", usize::from(UnitId::STANDARD_MAX)) {
        let _dropped = read_unit(item, &path, &inherited, profiles, faults);
    }
    let units = section.list("units", usize::from(UnitId::STANDARD_MAX), faults).into_iter().flatten();
    let units = units.filter_map(|(path, item)| read_unit(item, &path, &inherited, profiles, faults));
    Some(BusRead {
        name_at: section.place_of("name"),
        device_at: section.place_of("device"),
        units: units.collect(),
        name,
        device: found,
        direction,
        line: settings,
    })
}

struct LineRead {
    settings: Option<LineSettings>,
    inherited: Inherited,
}

/// What units inherit is sound even where the rest of the line is not.
struct Inherited {
    response_timeout: Option<Duration>,
    request_gap: Option<Duration>,
}

fn read_line(section: &Section<'_, Part>, name: Option<String>, faults: &mut Faults<'_>) -> LineRead {
    let framing = read_framing(section, faults);
    let echo = section.value("echo", faults, |n| choice(n, words::ECHOES, words::echo));
    let response_timeout =
        section.value("response_timeout", faults, |n| duration(n, MIN_RESPONSE_TIMEOUT, MINUTE));
    let request_gap = section.value("request_gap", faults, |n| duration(n, Duration::ZERO, SECOND));
    let turnaround =
        section.value("turnaround_delay", faults, |n| duration(n, Duration::ZERO, MAX_TURNAROUND));
    let late_guard = section.field("late_guard", faults, |n| duration(n, MIN_RESPONSE_TIMEOUT, MINUTE));
    let late_guard = late_guard.or(response_timeout);
    let retries = section.value("retries", faults, |n| count(n, 0, MAX_RETRIES));
    let queue_limit = section.value("queue_limit", faults, |n| size(n, 1, MAX_QUEUE));
    let poll_share = section.value("poll_share", faults, share_or_none);
    let learn_limit = section.value("learn_limit", faults, |n| size(n, 0, MAX_LEARNED));
    let failure_share = section.value("failure_share", faults, share);
    let offline_after = read_offline_after(section, faults);
    let probe_max = section.value("probe_max", faults, |n| duration(n, SECOND, HOUR));
    let settings = || {
        Some(LineSettings {
            name: name?,
            framing: framing?,
            response_timeout: response_timeout?,
            request_gap: request_gap?,
            turnaround_delay: turnaround?,
            late_guard: late_guard?,
            retries: retries?,
            queue_limit: queue_limit?,
            poll_share: poll_share?,
            learn_limit: learn_limit?,
            failure_share: failure_share?,
            offline_after: offline_after?,
            probe_max: probe_max?,
            echo: echo?,
            units: Vec::new(),
        })
    };
    LineRead { settings: settings(), inherited: Inherited { response_timeout, request_gap } }
}

fn read_framing(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<Framing> {
    let baud_rate = section.value("baud_rate", faults, |n| count(n, MIN_BAUD_RATE, MAX_BAUD_RATE));
    let parity = section.value("parity", faults, |n| choice(n, words::PARITIES, words::parity));
    let stop_bits = section.value("stop_bits", faults, |n| count(n, 1, 2));
    if let Some(odd) = baud_rate.filter(|rate| !USUAL_BAUD_RATES.contains(rate)) {
        let message =
            format!("{odd} is no usual baud rate; many adapters refuse it or round it to one of their own");
        faults.warning(&section.place_of("baud_rate"), message);
    }
    if stop_bits == Some(2) && parity.is_some_and(|parity| parity != Parity::None) {
        let message = "two stop bits with a parity bit make 12 bits per character; \
                       Modbus has 11: a parity bit or a second stop bit";
        faults.warning(&section.place_of("stop_bits"), message);
    }
    let stop_bits = u8::try_from(stop_bits?).ok()?;
    Some(Framing { baud_rate: baud_rate?, parity: parity?, stop_bits })
}

fn read_offline_after(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<OfflineAfter> {
    let path = section.place_of("offline_after").key;
    let absent = Node::empty_mapping(section.place.spot);
    let node = section.node("offline_after").unwrap_or(&absent);
    let inner = Section::open(node, &path, Part::OfflineAfter, faults)?;
    let failures = inner.value("failures", faults, |n| count(n, 1, MAX_FAILURES));
    let time = inner.value("time", faults, |n| duration(n, Duration::ZERO, HOUR));
    Some(OfflineAfter { failures: failures?, time: time? })
}

fn read_unit(
    node: &Node,
    path: &str,
    inherited: &Inherited,
    profiles: &mut Profiles,
    faults: &mut Faults<'_>,
) -> Option<UnitRead> {
    let section = Section::open(node, path, Part::Unit, faults)?;
    let ids = section.value("id", faults, unit_ids);
    let first = section.field("as", faults, alias);
    let renamed = first != Field::Absent;
    let name = match section.field("name", faults, value::name) {
        Field::Absent => Some(None),
        Field::Faulty => None,
        Field::Given(name) => Some(Some(name)),
    };
    let own_timeout =
        section.field("response_timeout", faults, |n| duration(n, MIN_RESPONSE_TIMEOUT, MINUTE));
    let own_gap = section.field("request_gap", faults, |n| duration(n, Duration::ZERO, SECOND));
    let polling = polling::read(&section, profiles, faults);
    let aliases = match (first, &ids) {
        (Field::Absent, ids) => ids.clone(),
        (Field::Given(first), Some(ids)) => aliases_from(first, ids, &section.place_of("as"), faults),
        (Field::Given(_) | Field::Faulty, _) => None,
    };
    Some(UnitRead {
        place: section.place.clone(),
        id_at: section.place_of("id"),
        as_at: section.place_of("as"),
        ids,
        aliases,
        renamed,
        name,
        response_timeout: own_timeout.or(inherited.response_timeout),
        request_gap: own_gap.or(inherited.request_gap),
        polling,
    })
}

fn aliases_from(
    first: u8,
    ids: &RangeInclusive<u8>,
    place: &Place,
    faults: &mut Faults<'_>,
) -> Option<RangeInclusive<u8>> {
    let more = ids.end() - ids.start();
    if let Some(last) = first.checked_add(more).filter(|last| *last <= UnitId::STANDARD_MAX) {
        return Some(first..=last);
    }
    let (units, last, most) =
        (u16::from(more) + 1, u16::from(first) + u16::from(more), UnitId::STANDARD_MAX - more);
    let message = format!(
        "found {first}, which calls these {units} units {first} to {last}; allowed: 1 to {most}, \
         so that the last is {} at most",
        UnitId::STANDARD_MAX
    );
    faults.error(place, message);
    None
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MIN_RESPONSE_TIMEOUT: Duration = Duration::from_millis(10);
const MAX_TURNAROUND: Duration = Duration::from_secs(10);
const MIN_BAUD_RATE: u32 = 300;
const MAX_BAUD_RATE: u32 = 1_000_000;
const MAX_RETRIES: u32 = 10;
/// Requests waiting on one bus.
const MAX_QUEUE: u32 = 65_536;
/// Ranges learned from clients on one bus.
const MAX_LEARNED: u32 = 65_536;
const MAX_FAILURES: u32 = 1000;

/// What serial drivers have a name for.
const USUAL_BAUD_RATES: &[u32] = &[
    300, 600, 1200, 1800, 2400, 4800, 9600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800, 115_200, 230_400,
    460_800, 500_000, 576_000, 921_600, 1_000_000,
];
