//! The meters' readings as metrics: one family for each kind of quantity, in base units.
//!
//! Owns the way from a profile's units to Prometheus's: kW become watts and kWh watthours. A reading that is too
//! old is left out, so that a silent meter shows as a gap and not as a flat line. Energies stay watthours rather
//! than joules, for they are what is billed; `docs/metrics.md` says so.

use std::collections::BTreeMap;

use crate::meter::Group;

use super::exposition::{Exposition, Family, MetricType};
use super::model::{Point, Status};

/// A sample. There are tens of thousands of them for a long line, so it owns no text.
struct Sample<'a> {
    /// Its place among the units.
    unit: usize,
    point: &'a str,
    /// The label that tells it from others of its point.
    further: Option<(&'static str, &'a str)>,
    value: f64,
}

/// Writes every reading that is fresh, of a model whose units have their detail.
pub(super) fn write(out: &mut Exposition, status: &Status<'_>) {
    let units: Vec<(&str, String)> =
        status.units.iter().map(|unit| (&*unit.bus, unit.unit.to_string())).collect();
    let mut families: BTreeMap<String, (MetricType, Vec<Sample<'_>>)> = BTreeMap::new();
    let mut alerts: Vec<Sample<'_>> = Vec::new();
    for (unit, one) in status.units.iter().enumerate() {
        let points = one.detail.iter().flat_map(|detail| &detail.points).filter(|point| point.is_fresh);
        for point in points {
            if point.is_alert {
                alerts.extend(point.flags.iter().map(|flag| Sample {
                    unit,
                    point: &point.point,
                    further: Some(("alert", &flag.name)),
                    value: f64::from(u8::from(flag.is_set)),
                }));
            }
            if let Some(value) = number(point)
                && let Some(Measure { family, kind, factor, measure }) = measure(point)
            {
                let further = measure.map(|measure| ("measure", measure));
                let sample = Sample { unit, point: &point.quantity, further, value: value * factor };
                families.entry(family).or_insert((kind, Vec::new())).1.push(sample);
            }
        }
    }
    for (name, (kind, samples)) in &families {
        let help = "Readings of the meters, by the names their profile has; docs/metrics.md has the list.";
        write_family(out.family(name, *kind, help), &units, samples);
    }
    if !alerts.is_empty() {
        let help = "Whether a meter has raised this flag.";
        write_family(out.family("metergate_meter_alert", MetricType::Gauge, help), &units, &alerts);
    }
}

fn write_family(mut family: Family<'_>, units: &[(&str, String)], samples: &[Sample<'_>]) {
    for Sample { unit, point, further, value } in samples {
        let (bus, alias) = &units[*unit];
        let labels = [("bus", *bus), ("unit", alias), ("point", *point), further.unwrap_or_default()];
        let count = if further.is_some() { labels.len() } else { labels.len() - 1 };
        family.sample(&labels[..count], value);
    }
}

/// How a point is shown.
#[derive(Debug, PartialEq)]
struct Measure<'a> {
    family: String,
    kind: MetricType,
    factor: f64,
    /// The profile's unit, where it has no base unit here.
    measure: Option<&'a str>,
}

/// `None` for what is no measurement.
fn measure<'a>(point: &'a Point<'_>) -> Option<Measure<'a>> {
    if !point.group.is_measurement() {
        return None;
    }
    let counts = matches!(point.group, Group::Energy | Group::Pulses | Group::Diagnostics);
    let kind = if counts { MetricType::Counter } else { MetricType::Gauge };
    let total = if counts { "_total" } else { "" };
    let demand = if point.group == Group::Demand { "_demand" } else { "" };
    let unit = point.unit.as_deref()?;
    let bases =
        BASES.iter().filter_map(|base| Some((base, base.units.iter().find(|(name, _)| *name == unit)?)));
    let Some((base, (_, factor))) = bases.into_iter().next() else {
        let family = "metergate_meter_other".to_owned();
        return Some(Measure { family, kind: MetricType::Gauge, factor: 1.0, measure: Some(unit) });
    };
    let quantity = match (point.group, base.quantity) {
        (Group::PowerFactor, "ratio") => "power_factor_ratio",
        (_, quantity) => quantity,
    };
    let family = format!("metergate_meter_{quantity}{demand}{}{total}", base.unit);
    Some(Measure { family, kind, factor: *factor, measure: None })
}

/// Of what stands for its quantity. Codes and flags are no measurements.
fn number(point: &Point<'_>) -> Option<f64> {
    let value = point.value.filter(|_| point.is_chosen && point.text.is_none())?;
    Some(value.to_f64())
}

/// What some units of profiles are in one base unit.
struct Base {
    /// The units, and what makes one of them one of the base unit.
    units: &'static [(&'static str, f64)],
    quantity: &'static str,
    /// The base unit, as the end of a name.
    unit: &'static str,
}

const BASES: &[Base] = &[
    Base { units: &[("Wh", 1.0), ("kWh", 1e3), ("MWh", 1e6)], quantity: "real_energy", unit: "_watthours" },
    Base {
        units: &[("VARh", 1.0), ("kVARh", 1e3), ("MVARh", 1e6)],
        quantity: "reactive_energy",
        unit: "_varhours",
    },
    Base {
        units: &[("VAh", 1.0), ("kVAh", 1e3), ("MVAh", 1e6)],
        quantity: "apparent_energy",
        unit: "_voltamperehours",
    },
    Base { units: &[("W", 1.0), ("kW", 1e3), ("MW", 1e6)], quantity: "real_power", unit: "_watts" },
    Base { units: &[("VAR", 1.0), ("kVAR", 1e3), ("MVAR", 1e6)], quantity: "reactive_power", unit: "_vars" },
    Base {
        units: &[("VA", 1.0), ("kVA", 1e3), ("MVA", 1e6)],
        quantity: "apparent_power",
        unit: "_voltamperes",
    },
    Base { units: &[("mV", 1e-3), ("V", 1.0), ("kV", 1e3)], quantity: "voltage", unit: "_volts" },
    Base { units: &[("mA", 1e-3), ("A", 1.0)], quantity: "current", unit: "_amperes" },
    Base { units: &[("Hz", 1.0)], quantity: "frequency", unit: "_hertz" },
    Base { units: &[("ratio", 1.0)], quantity: "ratio", unit: "" },
    Base { units: &[("pulses", 1.0)], quantity: "pulses", unit: "" },
    Base { units: &[("count", 1.0)], quantity: "events", unit: "" },
    Base { units: &[("degC", 1.0)], quantity: "temperature", unit: "_celsius" },
    Base {
        units: &[("ms", 1e-3), ("s", 1.0), ("min", 60.0), ("h", 3600.0)],
        quantity: "time",
        unit: "_seconds",
    },
];
