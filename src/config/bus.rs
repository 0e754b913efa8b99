//! One entry of `buses` and its units, each read by itself.
//!
//! Owns the bounds of a bus's and a unit's keys; never compares two of them (see `cross`).
//! Contract section 1.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::device;
use super::keys::Part;
use super::polling::{self, PollingRead};
use super::profiles::Profiles;
use super::settings::{Bus, UnitDefaults};
use super::value::{
    alias, device as device_path, function_code, max_read, merge_gap, share, share_or_none, unit_id, unit_ids,
};
use super::words;
use crate::bus::settings::{Framing, LineSettings, OfflineAfter, Parity, Replies, UnitId, UnitSettings};
use crate::io::settings::{Direction, PortSettings};
use crate::modbus::function;
use crate::modbus::pdu::{self, FunctionCode};
use crate::yaml::problem::{Faults, Place};
use crate::yaml::section::{Field, Section, judge};
use crate::yaml::tree::{Kind, Node};
use crate::yaml::value::{self, choice, count, duration, size};

/// A bus as read; `None`: reported.
pub(super) struct BusRead {
    pub(super) name: Option<String>,
    pub(super) name_at: Place,
    pub(super) device: Option<PathBuf>,
    pub(super) device_at: Place,
    direction: Option<Direction>,
    pub(super) framing: Option<Framing>,
    /// The line, its units yet to be filled in.
    line: Option<LineSettings>,
    unit_defaults: Option<UnitDefaults>,
    /// The units that are mappings at all.
    pub(super) units: Vec<UnitRead>,
    /// Whether that is all of them.
    pub(super) complete: bool,
}

/// One entry of `units` as read; `None`: reported.
pub(super) struct UnitRead {
    pub(super) place: Place,
    pub(super) id_at: Place,
    pub(super) as_at: Place,
    /// Identifiers on the line, in the order of the file, none twice.
    pub(super) ids: Option<Vec<u8>>,
    /// Identifiers clients use, as many as `ids` and in their order.
    pub(super) aliases: Option<Vec<u8>>,
    /// Whether `as` stands in the file.
    pub(super) renamed: bool,
    name: Option<Option<String>>,
    pub(super) response_timeout: Option<Duration>,
    byte_timeout: Option<Duration>,
    pub(super) request_gap: Option<Duration>,
    merge_gap: Option<Option<u16>>,
    max_read: Option<u16>,
    replies: Option<Replies>,
    read_functions: Option<BTreeSet<FunctionCode>>,
    polling: Option<PollingRead>,
}

impl BusRead {
    /// The finished bus. `None` where anything of it was reported, its comparisons included.
    pub(super) fn finish(self) -> Option<Bus> {
        let mut line = self.line?;
        let mut aliases = BTreeMap::new();
        let mut profiles = BTreeMap::new();
        let mut read_functions = BTreeMap::new();
        let mut wire = Vec::new();
        for unit in self.units {
            let functions = unit.read_functions?;
            let PollingRead { profile, polling } = unit.polling?;
            let (name, response_timeout, byte_timeout) =
                (unit.name?, unit.response_timeout?, unit.byte_timeout?);
            let (request_gap, merge_gap, max_read) = (unit.request_gap?, unit.merge_gap?, unit.max_read?);
            let replies = unit.replies?;
            for (id, alias) in unit.ids?.into_iter().zip(unit.aliases?) {
                let id = UnitId::new(id)?;
                aliases.insert(alias, id);
                wire.push(id);
                profiles.extend(profile.clone().map(|profile| (id, profile)));
                if !functions.is_empty() {
                    read_functions.insert(id, functions.clone());
                }
                line.units.push(UnitSettings {
                    id,
                    name: name.clone(),
                    response_timeout,
                    byte_timeout,
                    request_gap,
                    merge_gap,
                    max_read,
                    replies,
                    polling: polling.clone(),
                });
            }
        }
        line.units.sort_by_key(|unit| unit.id);
        let port = PortSettings { device: self.device?, framing: line.framing, direction: self.direction? };
        let unit_defaults = self.unit_defaults?;
        Some(Bus { port, line, aliases, wire, profiles, read_functions, unit_defaults })
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
    let LineRead { framing, settings, inherited } = line;
    for (path, item) in section.list_again("units", usize::from(UnitId::MAX)) {
        let _dropped = read_unit(item, &path, &inherited, profiles, faults);
    }
    let listed = section.list("units", usize::from(UnitId::MAX), faults).unwrap_or_default();
    let read = |(path, item): &(String, &Node)| read_unit(item, path, &inherited, profiles, faults);
    let units: Vec<UnitRead> = listed.iter().filter_map(read).collect();
    Some(BusRead {
        name_at: section.place_of("name"),
        device_at: section.place_of("device"),
        complete: !units.is_empty() && units.len() == listed.len(),
        units,
        name,
        device: found,
        direction,
        framing,
        line: settings,
        unit_defaults: inherited.as_defaults(),
    })
}

struct LineRead {
    framing: Option<Framing>,
    settings: Option<LineSettings>,
    inherited: Inherited,
}

/// What units inherit is sound even where the rest of the line is not.
struct Inherited {
    response_timeout: Option<Duration>,
    byte_timeout: Option<Duration>,
    request_gap: Option<Duration>,
    merge_gap: Option<Option<u16>>,
    max_read: Option<u16>,
}

impl Inherited {
    /// What of it no other settings of the bus hold.
    fn as_defaults(&self) -> Option<UnitDefaults> {
        Some(UnitDefaults {
            byte_timeout: self.byte_timeout?,
            merge_gap: self.merge_gap?,
            max_read: self.max_read?,
        })
    }
}

fn read_line(section: &Section<'_, Part>, name: Option<String>, faults: &mut Faults<'_>) -> LineRead {
    let framing = read_framing(section, faults);
    let echo = section.value("echo", faults, |n| choice(n, words::ECHOES, words::echo));
    let response_timeout =
        section.value("response_timeout", faults, |n| duration(n, MIN_RESPONSE_TIMEOUT, MINUTE));
    let byte_timeout =
        section.value("byte_timeout", faults, |n| duration(n, MIN_BYTE_TIMEOUT, MAX_BYTE_TIMEOUT));
    let request_gap = section.value("request_gap", faults, |n| duration(n, Duration::ZERO, SECOND));
    let turnaround =
        section.value("turnaround_delay", faults, |n| duration(n, Duration::ZERO, MAX_TURNAROUND));
    let late_guard = section.field("late_guard", faults, |n| duration(n, MIN_RESPONSE_TIMEOUT, MINUTE));
    let late_guard = late_guard.or(response_timeout);
    let retries = section.value("retries", faults, |n| count(n, 0, MAX_RETRIES));
    let queue_limit = section.value("queue_limit", faults, |n| size(n, 1, MAX_QUEUE));
    let poll_share = section.value("poll_share", faults, share_or_none);
    let learn_limit = section.value("learn_limit", faults, |n| size(n, 0, MAX_LEARNED));
    let merge_gap = section.value("merge_gap", faults, merge_gap);
    let max_read = section.value("max_read", faults, max_read);
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
    let inherited = Inherited { response_timeout, byte_timeout, request_gap, merge_gap, max_read };
    LineRead { framing, settings: settings(), inherited }
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
    let ids = read_ids(&section, faults);
    let first = section.field("as", faults, alias);
    let renamed = first != Field::Absent;
    let name = match section.field("name", faults, value::name) {
        Field::Absent => Some(None),
        Field::Faulty => None,
        Field::Given(name) => Some(Some(name)),
    };
    let replies = section.value("replies", faults, |n| choice(n, words::REPLIES, words::replies));
    let replies = replies.filter(|replies| may_have_replies(*replies, &section, faults));
    let read_functions = read_functions(&section, faults);
    let response_timeout =
        section.field("response_timeout", faults, |n| duration(n, MIN_RESPONSE_TIMEOUT, MINUTE));
    let byte_timeout =
        section.field("byte_timeout", faults, |n| duration(n, MIN_BYTE_TIMEOUT, MAX_BYTE_TIMEOUT));
    let request_gap = section.field("request_gap", faults, |n| duration(n, Duration::ZERO, SECOND));
    let merge_gap = section.field("merge_gap", faults, merge_gap);
    let max_read = section.field("max_read", faults, max_read).or(inherited.max_read);
    let polling = polling::read(&section, max_read, profiles, faults);
    let aliases = match (first, &ids) {
        (Field::Absent, ids) => ids.clone(),
        (Field::Given(first), Some(ids)) => aliases_from(first, ids.len(), &section.place_of("as"), faults),
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
        response_timeout: response_timeout.or(inherited.response_timeout),
        byte_timeout: byte_timeout.or(inherited.byte_timeout),
        request_gap: request_gap.or(inherited.request_gap),
        merge_gap: merge_gap.or(inherited.merge_gap),
        max_read,
        replies,
        read_functions,
        polling,
    })
}

/// Each identifier once; those beyond the standard's are warned of.
fn read_ids(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<Vec<u8>> {
    let place = section.place_of("id");
    // Of a list each entry has a place of its own.
    let listed = match section.node("id").map(|node| &node.kind) {
        Some(Kind::List(items)) if (1..=usize::from(UnitId::MAX)).contains(&items.len()) => Some(items),
        Some(_) | None => None,
    };
    let ids = match listed {
        None => section.value("id", faults, unit_ids)?,
        Some(items) => {
            let mut ids = Vec::new();
            let mut sound = true;
            for (index, item) in items.iter().enumerate() {
                let own = Place { spot: item.spot, key: format!("{}[{index}]", place.key) };
                match judge(item, &own, faults, unit_id) {
                    Some(id) if ids.contains(&id) => {
                        faults.error(&own, format!("found unit {id} a second time; allowed: each unit once"));
                        sound = false;
                    }
                    Some(id) => ids.push(id),
                    None => sound = false,
                }
            }
            sound.then_some(ids)?
        }
    };
    if let Some(beyond) = ids.iter().find(|id| **id > UnitId::STANDARD_MAX) {
        let message = format!(
            "the standard reserves {} to {}; keep {beyond} only if the device cannot be set to another \
             identifier",
            UnitId::STANDARD_MAX + 1,
            UnitId::MAX
        );
        faults.warning(&place, message);
    }
    Some(ids)
}

/// A profile says what each register means, so an answer that does not fit its request cannot be used.
fn may_have_replies(replies: Replies, section: &Section<'_, Part>, faults: &mut Faults<'_>) -> bool {
    let refused = replies == Replies::Loose && section.node("profile").is_some();
    if refused {
        let message = "found loose beside a profile, whose registers need answers that fit; \
                       allowed: strict, or no profile";
        faults.error(&section.place_of("replies"), message);
    }
    !refused
}

fn read_functions(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<BTreeSet<FunctionCode>> {
    let mut functions = BTreeSet::new();
    let Some(node) = section.node("read_functions") else { return Some(functions) };
    if matches!(&node.kind, Kind::List(items) if items.is_empty()) {
        return Some(functions);
    }
    let mut sound = true;
    for (path, item) in section.list("read_functions", MAX_READ_FUNCTIONS, faults)? {
        let place = Place { spot: item.spot, key: path };
        let Some(found) = judge(item, &place, faults, function_code) else {
            sound = false;
            continue;
        };
        let name = function::name(found).unwrap_or_default();
        match Standard::of(found) {
            Standard::Undefined if !functions.insert(found) => {
                faults.error(&place, format!("found {found} a second time; allowed: each function once"));
                sound = false;
            }
            Standard::Undefined => {}
            Standard::Reads => {
                faults.warning(&place, format!("{found} ({name}) is a read already; leave it out"));
            }
            Standard::Writes => {
                let message = format!(
                    "found {found} ({name}), which the standard defines as a write; \
                     allowed: functions that only read, such as 0x41 of some makers"
                );
                faults.error(&place, message);
                sound = false;
            }
            Standard::Depends => {
                let message = format!(
                    "found {found} ({name}), which does not only read: that depends on its sub-function, and \
                     those that only read are known; allowed: functions that only read, such as 0x41 of some makers"
                );
                faults.error(&place, message);
                sound = false;
            }
        }
    }
    sound.then_some(functions)
}

/// What the standard says of a function.
enum Standard {
    Undefined,
    Reads,
    Writes,
    /// On what follows the function code.
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

fn aliases_from(first: u8, units: usize, place: &Place, faults: &mut Faults<'_>) -> Option<Vec<u8>> {
    let more = u8::try_from(units.checked_sub(1)?).ok()?;
    if let Some(last) = first.checked_add(more) {
        return Some((first..=last).collect());
    }
    let (last, most) = (u16::from(first) + u16::from(more), UnitId::MAX - more);
    let message = format!(
        "found {first}, which calls these {units} units {first} to {last}; allowed: 1 to {most}, \
         so that the last is {} at most",
        UnitId::MAX
    );
    faults.error(place, message);
    None
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MIN_RESPONSE_TIMEOUT: Duration = Duration::from_millis(10);
const MIN_BYTE_TIMEOUT: Duration = Duration::from_millis(1);
const MAX_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TURNAROUND: Duration = Duration::from_secs(10);
const MIN_BAUD_RATE: u32 = 300;
const MAX_BAUD_RATE: u32 = 1_000_000;
const MAX_RETRIES: u32 = 10;
/// Requests waiting on one bus.
const MAX_QUEUE: u32 = 65_536;
/// Ranges learned from clients on one bus.
const MAX_LEARNED: u32 = 65_536;
const MAX_FAILURES: u32 = 1000;
/// Entries of `read_functions`.
const MAX_READ_FUNCTIONS: usize = 127;

/// What serial drivers have a name for.
const USUAL_BAUD_RATES: &[u32] = &[
    300, 600, 1200, 1800, 2400, 4800, 9600, 14_400, 19_200, 28_800, 38_400, 57_600, 76_800, 115_200, 230_400,
    460_800, 500_000, 576_000, 921_600, 1_000_000,
];
