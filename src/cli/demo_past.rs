//! The day before the demo began: what its gateway would have measured and noted, had it run.
//!
//! Owns how far back that goes and what went wrong then. The readings are asked of the simulated meters themselves, at
//! past instants of their own time, and decoded by their profile; no value is made up.

use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::config::{Bus, UnitProfile};
use crate::events::{Event, EventKind};
use crate::gateway::Gateway;
use crate::line::{Budget, UnitId};
use crate::meter::{Group, Point, Profile, Sample};
use crate::modbus::pdu::ReadRange;
use crate::simulator::{ChainSettings, Fault, FaultKind, Meter, MeterSettings, START};
use crate::status::{BusMinute, HEALTH_MINUTES, MINUTE, READING_MINUTES, UnitMinute, UnitState};

/// The chain, whose meters have run for a day.
pub(super) fn begin_a_day_ago(chain: ChainSettings) -> ChainSettings {
    ChainSettings { age: AGE, ..chain }
}

/// The same, two of whose meters were without power for a while in that day.
pub(super) fn with_outages(chain: ChainSettings) -> ChainSettings {
    let meters = chain.meters.len();
    if meters < FEWEST_WITH_OUTAGES {
        return chain;
    }
    let outage = |meter, (ago, lasts)| Fault {
        at: AGE - ago,
        lasts: Some(lasts),
        meters: vec![meter],
        kind: FaultKind::PowerCycle,
    };
    let past = vec![outage(meters / 2, OUTAGES[0]), outage(meters - 1, OUTAGES[1])];
    ChainSettings { past, ..chain }
}

/// What there was of one day.
#[derive(Debug)]
pub(super) struct Past {
    bus: String,
    units: Vec<UnitPast>,
    minutes: Vec<BusMinute>,
    events: Vec<Event>,
}

#[derive(Debug)]
struct UnitPast {
    id: UnitId,
    readings: Vec<(String, Vec<f32>)>,
    minutes: Vec<UnitMinute>,
}

impl Past {
    /// Works it out; takes a while.
    pub(super) fn of(chain: &ChainSettings, bus: &Bus) -> Self {
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        // The time of these meters begins a day ago by being called now.
        let began = Instant::now();
        let budget = Budget::of(&bus.line, began);
        let meters = Meter::all_of(chain, began).into_iter().enumerate().zip(&chain.meters);
        let heard = meters.filter(|((index, _), settings)| is_heard(chain, *index, settings));
        let per_minute = (MOST_READS / (chain.meters.len() * READING_MINUTES).max(1)).clamp(1, 6);
        let units = heard.filter_map(|((_, mut meter), settings)| {
            let id = UnitId::new(settings.unit)?;
            let profile = bus.profiles.get(&id)?;
            let readings = readings(&mut meter, profile, began, chain.age, per_minute);
            Some(UnitPast { id, readings, minutes: minutes_of_unit(&budget, id, settings) })
        });
        let units: Vec<UnitPast> = units.collect();
        let minutes = minutes_of_line(&budget, units.len(), bus.wire.len());
        Self { bus: bus.line.name.clone(), units, minutes, events: events(chain, bus, now) }
    }

    /// Puts it before what the gateway itself has seen.
    pub(super) fn put_into(self, gateway: &Gateway) {
        let Self { bus, units, minutes, events } = self;
        let Some(bus) = gateway.names().find_bus(&bus) else { return };
        gateway.history().with(|history| {
            history.preload_bus(bus, minutes);
            for UnitPast { id, readings, minutes } in units {
                history.preload_unit(bus, id, readings, minutes);
            }
        });
        gateway.events().with(|list| list.prepend(events));
    }
}

/// Whether a gateway hears the meter at the start. Of one it never hears there is no past.
fn is_heard(chain: &ChainSettings, index: usize, meter: &MeterSettings) -> bool {
    let is_at_the_rate = meter.baud_rate.is_none_or(|rate| rate == chain.baud_rate);
    let is_alone = chain.meters.iter().filter(|other| other.unit == meter.unit).count() == 1;
    let fails_at_once =
        |fault: &Fault| fault.at.is_zero() && (fault.meters.is_empty() || fault.meters.contains(&index));
    is_at_the_rate && is_alone && !chain.faults.iter().any(fails_at_once)
}

/// Means of each quantity of the headline, minute by minute. What only grows has no mean worth a plot.
fn readings(
    meter: &mut Meter,
    known: &UnitProfile,
    began: Instant,
    age: Duration,
    per_minute: usize,
) -> Vec<(String, Vec<f32>)> {
    let profile = &known.profile;
    let quantities = profile.headline.iter().filter_map(|name| profile.point(name));
    let quantities: Vec<&Point> = quantities.filter(|point| point.group != Group::Energy).collect();
    let polled = |point: &&Point| known.blocks.contains(&profile.blocks[point.block].name);
    // As the gateway does it: of a point and its copies the one that is read in the background.
    let read: Vec<&Point> = quantities
        .iter()
        .map(|quantity| {
            let stands_for = |point: &&Point| {
                point.name == quantity.name || point.copy_of.as_ref() == Some(&quantity.name)
            };
            profile.points.iter().filter(stands_for).find(polled).unwrap_or(quantity)
        })
        .collect();
    let mut ranges: Vec<ReadRange> = read.iter().map(|point| profile.blocks[point.block].range).collect();
    ranges.dedup();
    let mut means: Vec<Vec<f32>> = vec![Vec::new(); read.len()];
    let count = u32::try_from(per_minute).unwrap_or(1);
    let minutes = u32::try_from(READING_MINUTES.min(whole_minutes(age))).unwrap_or_default();
    for minute in (1..=minutes).rev() {
        let from = began + age.saturating_sub(MINUTE * minute);
        let mut sums = vec![(0.0, 0_u32); read.len()];
        for at in (0..count).map(|index| from + MINUTE / count * index) {
            if !meter.is_up(at) {
                continue;
            }
            for (sum, value) in sums.iter_mut().zip(values(meter, profile, &ranges, &read, at)) {
                if let Some(value) = value {
                    *sum = (sum.0 + value, sum.1 + 1);
                }
            }
        }
        for (means, (sum, count)) in means.iter_mut().zip(sums) {
            means.push(if count == 0 { f32::NAN } else { single(sum / f64::from(count)) });
        }
    }
    // What the meter never gives has no means; its name keeps its place.
    let given = means
        .into_iter()
        .map(|means| if means.iter().all(|mean| mean.is_nan()) { Vec::new() } else { means });
    quantities.iter().map(|point| point.name.clone()).zip(given).collect()
}

/// What the meter answers to a read of its blocks at that instant.
fn values(
    meter: &mut Meter,
    profile: &Profile,
    ranges: &[ReadRange],
    points: &[&Point],
    at: Instant,
) -> Vec<Option<f64>> {
    let replies: Vec<_> = ranges.iter().map(|range| (*range, meter.answer(&range.request(), at))).collect();
    let samples: Vec<Sample<'_>> =
        replies.iter().filter_map(|(range, reply)| Sample::new(*range, reply, at)).collect();
    points.iter().map(|point| profile.decode(point, &samples)?.value.number()).collect()
}

/// An hour of a unit that answers everything the plan asks.
fn minutes_of_unit(budget: &Budget, id: UnitId, settings: &MeterSettings) -> Vec<UnitMinute> {
    let planned = || budget.blocks.iter().filter(|block| block.unit == id);
    let age = planned().filter(|block| block.measured).map(|block| block.interval).max();
    let minute = UnitMinute {
        state: UnitState::Online,
        transactions: planned().map(|block| per_minute(block.interval)).sum(),
        errors: 0,
        answer_time_ms: Some(single(settings.turnaround.as_secs_f64() * 1000.0)),
        age_ms: age.map(|age| u32::try_from(age.as_millis()).unwrap_or(u32::MAX)),
    };
    vec![minute; HEALTH_MINUTES]
}

/// An hour of a line on which so many of all units answer; none where that is not all of them.
fn minutes_of_line(budget: &Budget, heard: usize, all: usize) -> Vec<BusMinute> {
    if heard < all {
        return Vec::new();
    }
    let percent = (budget.utilisation * 100.0).min(100.0);
    let minute = BusMinute {
        utilisation_percent: single(percent),
        polling_percent: percent,
        transactions: budget.blocks.iter().map(|block| per_minute(block.interval)).sum(),
        port_open: true,
        ..BusMinute::default()
    };
    vec![minute; HEALTH_MINUTES]
}

fn events(chain: &ChainSettings, bus: &Bus, now: Timestamp) -> Vec<Event> {
    let mut past: Vec<&Fault> = chain.past.iter().collect();
    past.sort_by_key(|fault| fault.at);
    let units = past.into_iter().flat_map(|fault| fault.meters.iter().map(move |meter| (fault, *meter)));
    let event = |(number, (fault, meter)): (u64, (&Fault, usize))| {
        let unit = chain.meters.get(meter)?.unit;
        let begin = now.checked_sub(chain.age.checked_sub(fault.at)?).ok()?;
        let lasted = fault.lasts? + START;
        Some(Event {
            id: number,
            kind: EventKind::Outage,
            bus: Some(bus.line.name.clone()),
            unit: Some(unit),
            name: bus.line.units.iter().find(|known| known.client_id == unit)?.name.clone(),
            client: None,
            subject: None,
            begin,
            end: begin.checked_add(lasted).ok(),
            writes: None,
            refused: None,
            seconds: Some(lasted.as_secs()),
            text: "off-line".to_owned(),
        })
    };
    (1..).zip(units).filter_map(event).collect()
}

fn per_minute(interval: Duration) -> u32 {
    u32::try_from(MINUTE.as_millis() / interval.as_millis().max(1)).unwrap_or(u32::MAX)
}

fn whole_minutes(duration: Duration) -> usize {
    usize::try_from(duration.as_secs() / MINUTE.as_secs()).unwrap_or(usize::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a mean")]
fn single(value: f64) -> f32 {
    value as f32
}

/// How long the meters have run.
const AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long ago, and how long.
const OUTAGES: [(Duration, Duration); 2] = [
    (Duration::from_secs(5 * 60 * 60), Duration::from_secs(27 * 60)),
    (Duration::from_secs(9 * 60 * 60 + 23 * 60), Duration::from_secs(4 * 60)),
];

/// Of fewer meters none has had an outage: half of the demo would be missing.
const FEWEST_WITH_OUTAGES: usize = 3;

/// Reads of all meters together, as far as a read a minute does not need more.
const MOST_READS: usize = 24_000;
