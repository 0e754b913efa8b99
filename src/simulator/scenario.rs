//! The text of a scenario into a chain of meters, or into everything that is wrong with it.
//!
//! Owns the bounds of the file's sections and what its faults say of its meters; never stops at the first mistake
//! and never reads a file. How to write one: `docs/simulator.md`.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::Part;
use super::settings::{ChainSettings, Fault, FaultKind, MeterSettings, Phase, Shape, SystemType};
use crate::yaml::nearest::nearest;
use crate::yaml::problem::{Faults, Problems, unreadable};
use crate::yaml::section::{Section, judge, optional};
use crate::yaml::text;
use crate::yaml::tree::Node;
use crate::yaml::value::{Allowed, Judged, choice, count, decimal, duration, name, whole_number};

/// Checks the text of a scenario; `file_name` stands in the messages.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, file_name: &str) -> Result<ChainSettings, Problems> {
    let text = text::bounded(text, file_name)?;
    let mut faults = Faults::new(file_name, text);
    let chain = read(text, &mut faults);
    faults.finish()?;
    // Not reached: a part is missing only where a fault was noted.
    chain.ok_or_else(|| unreadable(file_name, "the scenario is incomplete".to_owned()))
}

/// An entry of `meters` as read; `None`: reported.
struct MeterRead {
    ids: Option<RangeInclusive<u8>>,
    name: Option<String>,
    settings: Option<MeterSettings>,
}

fn read(text: &str, faults: &mut Faults<'_>) -> Option<ChainSettings> {
    let root = text::read(text, "a mapping with meters", faults)?;
    let section = Section::open(&root, "", Part::Scenario, faults)?;
    let baud_rate = section.value("baud_rate", faults, baud_rate);
    let seed = section.value("seed", faults, |n| count(n, 0, u32::MAX));
    let turnaround = section.value("turnaround", faults, turnaround_time);
    let entries = section.list("meters", MAX_METERS, faults);
    let sound = entries.is_some();
    let mut reads = Vec::new();
    for (path, item) in entries.unwrap_or_default() {
        // Whatever stands at the top is judged there, so that a fault in it is told once.
        let usual = MeterSettings {
            turnaround: turnaround.unwrap_or(super::settings::TURNAROUND),
            ..MeterSettings::usual(1)
        };
        reads.push(read_meter(item, &path, &usual, faults));
    }
    let known: Vec<MeterRead> = reads.into_iter().flatten().collect();
    let events = match section.node("faults") {
        Some(_) => section.list("faults", MAX_FAULTS, faults).unwrap_or_default(),
        None => Vec::new(),
    };
    let meters = meters_of(&known);
    let events: Vec<_> =
        events.into_iter().map(|(path, item)| read_fault(item, &path, &known, &meters, faults)).collect();
    let meters: Option<Vec<MeterSettings>> = meters.into_iter().collect();
    Some(ChainSettings {
        baud_rate: baud_rate?,
        character_bits: 10,
        meters: meters.filter(|_| sound)?,
        faults: events.into_iter().collect::<Option<_>>()?,
        seed: u64::from(seed?),
    })
}

/// One entry per meter; `None`: something of it was reported.
fn meters_of(reads: &[MeterRead]) -> Vec<Option<MeterSettings>> {
    let each = |read: &MeterRead| {
        let ids = read.ids.clone().unwrap_or(0..=0);
        let settings = read.settings.clone();
        ids.map(move |unit| settings.clone().map(|settings| MeterSettings { unit, ..settings }))
            .collect::<Vec<_>>()
    };
    reads.iter().flat_map(each).collect()
}

fn read_meter(node: &Node, path: &str, usual: &MeterSettings, faults: &mut Faults<'_>) -> Option<MeterRead> {
    let section = Section::open(node, path, Part::Meter, faults)?;
    let ids = section.value("id", faults, unit_ids);
    let called = optional(section.field("name", faults, name));
    if called.as_ref().is_some_and(Option::is_some) && ids.as_ref().is_some_and(|ids| ids.len() > 1) {
        let message = "found a name for several meters; allowed: a name where id is one number";
        faults.error(&section.place_of("name"), message);
    }
    let system_type = section.value("system_type", faults, system_type);
    let rating = optional(section.field("ct_rating", faults, |n| number(n, 20, 5000)));
    let ratio = section.value("pt_ratio", faults, pt_ratio);
    let voltage = optional(section.field("voltage", faults, |n| number(n, 82, 32000)));
    if let (Some(ratio), Some(wiring)) = (ratio, system_type) {
        let volts = voltage.flatten().unwrap_or(wiring.usual_voltage());
        check_voltage(volts, ratio, voltage.is_some(), &section, faults);
    }
    let turnaround = optional(section.field("turnaround", faults, turnaround_time));
    let own_rate = optional(section.field("baud_rate", faults, baud_rate));
    let load = read_load(&section, faults);
    let settings = || {
        let (shape, amperes, power_factor) = load?;
        Some(MeterSettings {
            unit: 0,
            name: called.clone()?,
            system_type: system_type?,
            sensor_rating: rating?,
            system_voltage: voltage?,
            transformer_ratio: ratio?,
            shape,
            amperes,
            power_factor,
            turnaround: turnaround?.unwrap_or(usual.turnaround),
            baud_rate: own_rate?,
        })
    };
    Some(MeterRead { settings: settings(), name: called.flatten(), ids })
}

/// The meter refuses such a voltage itself, so nobody can have set it up.
fn check_voltage(volts: u16, ratio: u16, sound: bool, section: &Section<'_, Part>, faults: &mut Faults<'_>) {
    let input = f64::from(volts) * 100.0 / f64::from(ratio);
    if sound && !(82.0..=660.0).contains(&input) {
        let message = format!(
            "found {volts} V, which are {input:.0} V behind a pt_ratio of {}; allowed: 82 to 660 V there",
            f64::from(ratio) / 100.0
        );
        let key = if section.node("voltage").is_some() { "voltage" } else { "pt_ratio" };
        faults.error(&section.place_of(key), message);
    }
}

type LoadRead = (Shape, Option<f64>, Option<f64>);

fn read_load(section: &Section<'_, Part>, faults: &mut Faults<'_>) -> Option<LoadRead> {
    let place = section.place_of("load");
    let absent = Node::empty_mapping(place.spot);
    let node = section.node("load").unwrap_or(&absent);
    let inner = Section::open(node, &place.key, Part::Load, faults)?;
    let shape = inner.value("shape", faults, |n| choice(n, SHAPES, shape_word));
    let amps = optional(inner.field("amps", faults, |n| real(n, 0.0, 6000.0, "6000")));
    let factor = optional(inner.field("pf", faults, |n| real(n, 0.01, 1.0, "1")));
    Some((shape?, amps?, factor?))
}

/// The words of `fault`, with what belongs to each.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Dead,
    Late,
    Noisy,
    Echo,
    WrongUnit,
    ReversedCt,
    PhaseLoss,
    PowerCycle,
    Garbage,
}

fn read_fault(
    node: &Node,
    path: &str,
    reads: &[MeterRead],
    meters: &[Option<MeterSettings>],
    faults: &mut Faults<'_>,
) -> Option<Fault> {
    let section = Section::open(node, path, Part::Fault, faults)?;
    let kind = section.value("fault", faults, |n| choice(n, KINDS, kind_word));
    let at = section.value("at", faults, |n| duration(n, Duration::ZERO, LONGEST));
    let lasts = optional(section.field("for", faults, |n| duration(n, SHORTEST, LONGEST)));
    let whom = read_whom(&section, kind, reads, faults);
    let delay = belonging(&section, "delay", Kind::Late, kind, faults, |n| duration(n, SHORTEST, MINUTE));
    let share = belonging(&section, "share", Kind::Noisy, kind, faults, share);
    let unit = belonging(&section, "as", Kind::WrongUnit, kind, faults, |n| {
        count(n, 1, u32::from(UNIT_MAX))
            .and_then(|unit| u8::try_from(unit).map_err(|_| Allowed(String::new())))
    });
    let phase_of = if kind == Some(Kind::PhaseLoss) { Kind::PhaseLoss } else { Kind::ReversedCt };
    let phase =
        belonging(&section, "phase", phase_of, kind, faults, |n| choice(n, Phase::ALL, Phase::letter));
    let kind = kind?;
    let found = match kind {
        Kind::Dead => FaultKind::Dead,
        Kind::Late => FaultKind::Late(delay?),
        Kind::Noisy => FaultKind::Noisy(share?),
        Kind::Echo => FaultKind::Echo,
        Kind::WrongUnit => FaultKind::WrongUnit(unit?),
        Kind::ReversedCt => FaultKind::ReversedCt(phase?),
        Kind::PhaseLoss => FaultKind::PhaseLoss(phase?),
        Kind::PowerCycle => FaultKind::PowerCycle,
        Kind::Garbage => FaultKind::Garbage,
    };
    let whom = whom?;
    for index in &whom {
        let wiring = meters.get(*index).and_then(|meter| meter.as_ref()).map(|meter| meter.system_type);
        check_phase(&found, wiring, &section, faults)?;
    }
    let usual = (kind == Kind::PowerCycle).then_some(POWER_OFF);
    Some(Fault { at: at?, lasts: lasts?.or(usual), meters: whom, kind: found })
}

/// The places of the meters a fault is about; none: the line.
fn read_whom(
    section: &Section<'_, Part>,
    kind: Option<Kind>,
    reads: &[MeterRead],
    faults: &mut Faults<'_>,
) -> Option<Vec<usize>> {
    let place = section.place_of("meter");
    let Some(node) = section.node("meter") else {
        if kind.is_none_or(|kind| matches!(kind, Kind::Echo | Kind::Noisy)) {
            return Some(Vec::new());
        }
        faults.error(&place, "the key is missing; allowed: the id or the name of a meter of this scenario");
        return None;
    };
    if kind == Some(Kind::Echo) {
        faults.error(&place, "found a meter; allowed: none, an echo is of the whole line");
        return None;
    }
    let typed = judge(node, &place, faults, name)?;
    let unit = node.plain_text().and_then(whole_number);
    let mut found = Vec::new();
    let mut index = 0;
    for read in reads {
        for id in read.ids.clone().unwrap_or(0..=0) {
            if unit == Some(u32::from(id)) || read.name.as_ref() == Some(&typed) {
                found.push(index);
            }
            index += 1;
        }
    }
    // Where an id could not be read nobody knows whether it was this one.
    let all_known = reads.iter().all(|read| read.ids.is_some());
    if found.is_empty() && all_known {
        faults.error(&place, unknown_meter(&typed, reads));
    }
    (!found.is_empty()).then_some(found)
}

fn unknown_meter(typed: &str, reads: &[MeterRead]) -> String {
    let names = reads.iter().filter_map(|read| read.name.as_deref());
    let hint = nearest(typed, names).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    let ids: Vec<String> =
        reads
            .iter()
            .filter_map(|read| read.ids.as_ref())
            .map(|ids| {
                if ids.len() == 1 {
                    ids.start().to_string()
                } else {
                    format!("{}-{}", ids.start(), ids.end())
                }
            })
            .collect();
    format!("no meter of this scenario has this id or name{hint}; there are: {}", ids.join(", "))
}

/// A key that one kind of fault needs and no other takes. `None`: there is no value, whether or not there is one
/// to be had.
fn belonging<T>(
    section: &Section<'_, Part>,
    key: &str,
    owner: Kind,
    kind: Option<Kind>,
    faults: &mut Faults<'_>,
    rule: impl FnOnce(&Node) -> Judged<T>,
) -> Option<T> {
    let kind = kind?;
    if kind == owner {
        return section.value(key, faults, rule);
    }
    if section.node(key).is_some() {
        let owners = match key {
            "phase" => "reversed_ct and phase_loss".to_owned(),
            _ => kind_word(owner).to_owned(),
        };
        let message = format!("found a {key} on {}; allowed: on {owners} only", kind_word(kind));
        faults.error(&section.place_of(key), message);
    }
    None
}

fn check_phase(
    kind: &FaultKind,
    wiring: Option<SystemType>,
    section: &Section<'_, Part>,
    faults: &mut Faults<'_>,
) -> Option<()> {
    let (phase, what) = match kind {
        FaultKind::ReversedCt(phase) => (*phase, "sensor"),
        FaultKind::PhaseLoss(phase) => (*phase, "conductor"),
        FaultKind::Dead
        | FaultKind::Late(_)
        | FaultKind::Noisy(_)
        | FaultKind::Echo
        | FaultKind::WrongUnit(_)
        | FaultKind::Garbage
        | FaultKind::PowerCycle => return Some(()),
    };
    let wiring = wiring?;
    let there = if what == "sensor" { wiring.phases() } else { wiring.conductors() };
    if phase.index() < there {
        return Some(());
    }
    let all: Vec<_> = Phase::ALL.iter().take(there).map(|phase| phase.letter()).collect();
    let message = format!(
        "found {}, of which a meter of system type {} has no {what}; allowed: {}",
        phase.letter(),
        wiring.code(),
        all.join(", ")
    );
    faults.error(&section.place_of("phase"), message);
    None
}

fn baud_rate(node: &Node) -> Judged<NonZeroU32> {
    count(node, 300, 1_000_000).and_then(|rate| NonZeroU32::new(rate).ok_or_else(|| Allowed(String::new())))
}

fn turnaround_time(node: &Node) -> Judged<Duration> {
    duration(node, Duration::ZERO, LONGEST_TURNAROUND)
}

fn unit_ids(node: &Node) -> Judged<RangeInclusive<u8>> {
    let unit = |text: &str| {
        let unit = whole_number(text.trim()).and_then(|unit| u8::try_from(unit).ok());
        unit.filter(|unit| (1..=UNIT_MAX).contains(unit))
    };
    let parse = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(unit(first)?..=unit(last)?)
    };
    let allowed = || Allowed(format!("1 to {UNIT_MAX}, or a range such as 2-8"));
    node.text().and_then(parse).filter(|ids| !ids.is_empty()).ok_or_else(allowed)
}

fn system_type(node: &Node) -> Judged<SystemType> {
    let code = node.plain_text().and_then(whole_number).and_then(|code| u16::try_from(code).ok());
    let codes = || SystemType::ALL.iter().map(|one| one.code().to_string()).collect::<Vec<_>>().join(", ");
    code.and_then(SystemType::from_code).ok_or_else(|| Allowed(codes()))
}

fn number(node: &Node, min: u16, max: u16) -> Judged<u16> {
    let found = count(node, u32::from(min), u32::from(max))?;
    u16::try_from(found).map_err(|_| Allowed(format!("a whole number from {min} to {max}")))
}

fn pt_ratio(node: &Node) -> Judged<u16> {
    let hundredths = node.plain_text().and_then(|text| decimal(text, 2));
    let ratio = hundredths.and_then(|ratio| u16::try_from(ratio).ok());
    let allowed = || Allowed("a ratio from 0.01 to 320, with up to two decimals".to_owned());
    ratio.filter(|ratio| (1..=32000).contains(ratio)).ok_or_else(allowed)
}

fn real(node: &Node, min: f64, max: f64, shown: &str) -> Judged<f64> {
    let found = node.plain_text().and_then(|text| decimal(text, 4));
    let found = found.and_then(|found| u32::try_from(found).ok()).map(|found| f64::from(found) / 10_000.0);
    let allowed = || Allowed(format!("a number from {min} to {shown}, with up to four decimals"));
    found.filter(|found| (min..=max).contains(found)).ok_or_else(allowed)
}

fn share(node: &Node) -> Judged<f64> {
    let hundredths = node.text().and_then(|text| decimal(text.strip_suffix('%')?.trim_end(), 2));
    let found =
        hundredths.and_then(|found| u16::try_from(found).ok()).filter(|found| (1..=10_000).contains(found));
    found
        .map(|found| f64::from(found) / 10_000.0)
        .ok_or_else(|| Allowed("a share of frames from 0.01% to 100%".to_owned()))
}

fn shape_word(shape: Shape) -> &'static str {
    match shape {
        Shape::Breathing => "breathing",
        Shape::Steady => "steady",
        Shape::Daily => "daily",
        Shape::Switching => "switching",
    }
}

/// How a fault of this kind is written.
pub(super) fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Dead => "dead",
        Kind::Late => "late",
        Kind::Noisy => "noisy",
        Kind::Echo => "echo",
        Kind::WrongUnit => "wrong_unit",
        Kind::ReversedCt => "reversed_ct",
        Kind::PhaseLoss => "phase_loss",
        Kind::PowerCycle => "power_cycle",
        Kind::Garbage => "garbage",
    }
}

const SHAPES: &[Shape] = &[Shape::Breathing, Shape::Steady, Shape::Daily, Shape::Switching];

const KINDS: &[Kind] = &[
    Kind::Dead,
    Kind::Late,
    Kind::Noisy,
    Kind::Echo,
    Kind::WrongUnit,
    Kind::ReversedCt,
    Kind::PhaseLoss,
    Kind::PowerCycle,
    Kind::Garbage,
];

/// Highest unit identifier on a line.
const UNIT_MAX: u8 = 247;
/// Entries of `meters`: more than a line has identifiers, for those that share one.
const MAX_METERS: usize = 256;
/// Entries of `faults`.
const MAX_FAULTS: usize = 1000;
/// Shortest fault and shortest delay.
const SHORTEST: Duration = Duration::from_millis(1);
/// Latest fault and longest fault.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Longest delay of an answer.
const MINUTE: Duration = Duration::from_secs(60);
/// Longest pause of a meter before it answers.
const LONGEST_TURNAROUND: Duration = Duration::from_secs(10);
/// How long a power cycle is without power unless it says so.
const POWER_OFF: Duration = Duration::from_secs(2);
