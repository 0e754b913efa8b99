//! Rules about the readings of a meter: its alerts, in the words of its profile, and implausibly low power factors.
//!
//! The powers of the 4000-R are unsigned, so a current sensor reversed or on the wrong phase can only be suspected
//! from a power factor under 0.5 (guide, alert bits 11 to 13).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::line::UnitView;
use crate::meter::{Group, Point, Profile, Reading, Sample, Value};

use super::finding::{Finding, Kind, Severity};
use super::remedy::Remedy;

pub(super) fn findings(now: &UnitView, profile: &Profile, at: Instant) -> Vec<Finding> {
    let samples = Sample::each(now.snapshot.reads());
    let readings: Vec<Reading<'_>> = profile
        .points
        .iter()
        .filter(is_examined)
        .filter_map(|point| profile.decode(point, &samples))
        .collect();
    let mut reported = BTreeSet::new();
    let mut findings: Vec<_> = alerts(now, &readings, at, &mut reported).into_iter().collect();
    findings.extend(low_power_factors(now, &readings, at, &reported));
    findings
}

/// Whether a rule uses the point. The findings of every meter are made each second for a page, so other points are not
/// decoded.
fn is_examined(point: &&Point) -> bool {
    point.is_alert() || matches!(point.group, Group::Power | Group::PowerFactor)
}

/// All alert bits that are set, as one finding: a lost phase alone sets three. Their names are added to `reported`, so
/// that the power factors do not report them again.
fn alerts<'p>(
    now: &UnitView,
    readings: &[Reading<'p>],
    at: Instant,
    reported: &mut BTreeSet<&'p str>,
) -> Option<Finding> {
    let (mut names, mut means) = (Vec::new(), Vec::new());
    let mut steps: Vec<String> = Vec::new();
    let mut asked_at: Option<Instant> = None;
    for reading in readings {
        let Value::Bits { set, .. } = &reading.value else { continue };
        for bit in set {
            reported.insert(bit.name.as_str());
            names.push(bit.name.as_str());
            means.push(bit.means.as_str());
            let step = bit.remedy.as_deref().unwrap_or(SEE_GUIDE);
            if !steps.iter().any(|known| known == step) {
                steps.push(step.to_owned());
            }
            asked_at = Some(asked_at.map_or(reading.asked_at, |first| first.min(reading.asked_at)));
        }
    }
    let asked_at = asked_at?;
    let age = super::format::duration(at.saturating_duration_since(asked_at));
    let what = format!("The meter reports: {} (read {age} ago)", means.join("; "));
    let remedy = Remedy::steps(steps);
    let finding = Finding::new(Severity::Warning, Kind::Alert, Some(now.id), what, remedy, asked_at);
    Some(finding.about(names.join(", ")))
}

/// Power factors below [`LOW_POWER_FACTOR`] under load, unless the meter's own alerts report them. Old readings are
/// ignored.
fn low_power_factors(
    now: &UnitView,
    readings: &[Reading<'_>],
    at: Instant,
    reported: &BTreeSet<&str>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    let fresh = |reading: &&Reading<'_>| at.saturating_duration_since(reading.asked_at) <= FRESH_FOR;
    let of_group = readings.iter().filter(|reading| reading.point.group == Group::PowerFactor);
    for reading in of_group.filter(fresh) {
        let original = reading.point.copy_of.as_deref().unwrap_or(&reading.point.name);
        let Some(factor) = ratio(reading).filter(|factor| *factor < LOW_POWER_FACTOR) else {
            continue;
        };
        if reported.contains(original) || !has_load(readings, original) || !named.insert(original) {
            continue;
        }
        let what = format!(
            "{}: {factor:.2}; suspected: a current sensor reversed or on the wrong phase",
            reading.point.description
        );
        let (kind, remedy) = (Kind::LowPowerFactor, Remedy::step(LOW_POWER_FACTOR_REMEDY));
        let found = Finding::new(Severity::Warning, kind, Some(now.id), what, remedy, reading.asked_at);
        findings.push(found.about(original));
    }
    findings
}

/// The power factor from 0 to 1: the sign marks import and export, or leading and lagging, and some meters use percent.
fn ratio(reading: &Reading<'_>) -> Option<f64> {
    let number = reading.value.number()?.abs();
    Some(if reading.point.unit == Some("%") { number / 100.0 } else { number })
}

/// Whether there is a load; without one a power factor has no meaning.
fn has_load(readings: &[Reading<'_>], power_factor: &str) -> bool {
    let apparent = power_factor.replacen("power_factor", "apparent_power", 1);
    let is_it = |reading: &&Reading<'_>| {
        reading.point.name == apparent || reading.point.copy_of.as_deref() == Some(&apparent)
    };
    readings.iter().filter(is_it).any(|reading| reading.value.number().is_some_and(|power| power.abs() > 0.0))
}

const SEE_GUIDE: &str = "The meter's guide explains this alert";

const LOW_POWER_FACTOR_REMEDY: &str = "Compare each sensor's phase, arrow and colours with the voltage of the same \
    phase; the power factor of an idling motor can indeed be this low";

/// Largest age of a power factor that is used: an off-line unit keeps its last reading.
const FRESH_FOR: Duration = Duration::from_secs(120);

/// A power factor below this is hardly that of the load.
const LOW_POWER_FACTOR: f64 = 0.5;
