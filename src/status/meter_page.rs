//! One unit of a picture as its own page shows it.
//!
//! Owns the translation into the view model of `page`: which of several formats of a quantity is shown, and the words
//! for a value that is not there. Never makes a value up.

use std::time::Instant;

use super::exchanges;
use super::history::History;
use super::overview_page::{Names, gateway, meter};
use super::picture::{Picture, UnitPicture};
use super::readings::Readings;
use super::trouble;
use crate::meter::decode::{Reading, Unscaled, Value};
use crate::meter::profile::{Point, Valid};
use crate::meter::words::Group;
use crate::page;

/// The page of a unit.
pub(crate) fn page(
    picture: &Picture,
    unit: &UnitPicture<'_>,
    history: &History,
    now: Instant,
) -> page::MeterPage {
    let names = Names::of(picture);
    let readings = Readings::of(unit);
    let wire: Vec<_> = unit.bus.on_the_wire().collect();
    let place = wire.iter().position(|other| other.settings.id == unit.settings.id);
    let neighbour = |place: Option<usize>| Some(names.meter(wire.get(place?)?));
    let findings = trouble::of_bus(unit.bus, history, now).into_iter();
    page::MeterPage {
        gateway: gateway(picture, now),
        bus: unit.bus.name().to_owned(),
        meter: meter(unit, &names, history, now),
        profile: unit.profile.map(|known| known.profile.title.clone()),
        previous: neighbour(place.and_then(|place| place.checked_sub(1))),
        next: neighbour(place.map(|place| place + 1)),
        headline: readings.as_ref().map(headline).unwrap_or_default(),
        // What is wrong with the line is wrong with each of its meters.
        findings: findings.filter(|one| one.unit.is_none_or(|id| id == unit.settings.id)).collect(),
        alerts: readings.as_ref().and_then(alerts),
        history: series(unit, history),
        counters: counters(unit, now),
        groups: readings.as_ref().map(|readings| groups(unit, readings, now)).unwrap_or_default(),
        transactions: exchanges::of_unit(picture, unit, now),
    }
}

fn headline(readings: &Readings<'_>) -> Vec<page::Headline> {
    let shown = |(point, reading): (&Point, Option<&Reading<'_>>)| page::Headline {
        label: label(point),
        value: reading.and_then(|reading| reading.value.number()),
        unit: unit_of(point),
    };
    readings.headline().into_iter().map(shown).collect()
}

/// The alerts that are set; `None` where no register with alerts has been read.
fn alerts(readings: &Readings<'_>) -> Option<Vec<String>> {
    let mut read = readings.points.iter().filter(|(point, _)| point.is_alert());
    read.any(|(_, reading)| reading.is_some())
        .then(|| readings.alerts().iter().map(|raised| raised.bit.means.clone()).collect())
}

fn series(unit: &UnitPicture<'_>, history: &History) -> Vec<page::Series> {
    let tracks = history.unit(unit).map(|track| track.readings.as_slice()).unwrap_or_default();
    let shown = |track: &super::history::ReadingTrack| {
        let point = unit.profile?.profile.point(&track.quantity)?;
        let means = track.means.iter().map(|mean| Some(f64::from(*mean)).filter(|mean| mean.is_finite()));
        let minutes: Vec<_> = means.collect();
        // What a meter never gives needs no plot.
        (!minutes.is_empty()).then(|| page::Series { label: label(point), unit: unit_of(point), minutes })
    };
    tracks.iter().filter_map(shown).collect()
}

fn counters(unit: &UnitPicture<'_>, now: Instant) -> page::Counters {
    let Some(view) = unit.view else { return page::Counters::default() };
    page::Counters {
        requests: view.counters.transactions,
        timeouts: view.counters.timeouts,
        crc_errors: view.counters.crc_errors,
        late_answers: view.counters.late_answers,
        exceptions: view.counters.exceptions,
        last_answer: view.last_good.map(|at| now.saturating_duration_since(at)),
    }
}

/// Each quantity once: exponents are part of what they scale, and reserved registers mean nothing.
fn groups(unit: &UnitPicture<'_>, readings: &Readings<'_>, now: Instant) -> Vec<page::PointGroup> {
    let quantities = readings.quantities();
    let code = readings.validity_code();
    let shown = |original: &Point| {
        let reading = quantities.get(original.name.as_str()).copied();
        let point = reading.map_or(original, |reading| reading.point);
        let is_void = code.is_some_and(|code| readings.profile.valid(original, code) == Valid::No);
        let value = match reading {
            Some(reading) => value(&reading.value, is_void),
            None => page::PointValue::Missing(not_read(unit, readings, original).to_owned()),
        };
        page::Point {
            name: point.name.clone(),
            description: original.description.clone(),
            register: point.register,
            value,
            unit: unit_of(point),
            age: reading.map(|reading| now.saturating_duration_since(reading.asked_at)),
        }
    };
    let group = |group: &Group| {
        let originals = readings.profile.group(*group).filter(|point| point.copy_of.is_none());
        let points: Vec<_> = originals.map(shown).collect();
        (!points.is_empty()).then(|| page::PointGroup { title: title(*group).to_owned(), points })
    };
    let said = |group: &&Group| !matches!(group, Group::Scale | Group::Reserved);
    Group::ALL.iter().filter(said).filter_map(group).collect()
}

/// Why there is no reading.
fn not_read(unit: &UnitPicture<'_>, readings: &Readings<'_>, original: &Point) -> &'static str {
    let is_polled = |point: &Point| {
        let block = &readings.profile.blocks[point.block].name;
        unit.profile.is_some_and(|known| known.poll.is_some() && known.blocks.contains(block))
    };
    if is_polled(original) || readings.profile.copies_of(original).any(is_polled) {
        "not read yet"
    } else {
        "not among what is read in the background"
    }
}

fn value(value: &Value<'_>, is_void: bool) -> page::PointValue {
    let missing = |why: &str| page::PointValue::Missing(why.to_owned());
    match value {
        Value::Float(value) => page::PointValue::Float(*value),
        Value::Number(number) => page::PointValue::Text(number.to_string()),
        Value::Code { code, means } => page::PointValue::Text(format!("{code}: {means}")),
        Value::Bits { set, bits } => page::PointValue::Text(match (set.is_empty(), bits) {
            (true, 0) => "none".to_owned(),
            (true, bits) => format!("0x{bits:04X}"),
            (false, _) => set.iter().map(|bit| bit.means.as_str()).collect::<Vec<_>>().join(", "),
        }),
        Value::Version(version) => page::PointValue::Text(version.to_string()),
        Value::NotAvailable if is_void => missing("not for this system type"),
        Value::NotAvailable => missing("the meter has none"),
        Value::NotANumber { .. } => missing("not a number"),
        Value::Unscaled { why, .. } => missing(match why {
            Unscaled::NotRead => "its exponent has not been read",
            Unscaled::Changed => "its exponent changed while it was read",
            Unscaled::Impossible(_) => "its exponent is none the profile allows",
        }),
    }
}

/// What a quantity is called where there is little room: its description up to the first comma.
fn label(point: &Point) -> String {
    point.description.split(',').next().unwrap_or_default().to_owned()
}

/// A ratio is a number without a unit.
fn unit_of(point: &Point) -> String {
    point.unit.filter(|unit| !matches!(*unit, "ratio" | "count")).unwrap_or_default().to_owned()
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Energy => "Energy",
        Group::Power => "Power",
        Group::PowerFactor => "Power factor",
        Group::Voltage => "Voltage",
        Group::Current => "Current",
        Group::Frequency => "Frequency",
        Group::Demand => "Demand",
        Group::Pulses => "Pulses",
        Group::Configuration => "Configuration",
        Group::Scale => "Exponents",
        Group::Diagnostics => "Diagnostics",
        Group::Identity => "Identity",
        Group::Other => "Other",
        Group::Reserved => "Reserved",
    }
}
