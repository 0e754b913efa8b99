//! The readings of a unit, point by point, and which of several representations stands for a quantity.
//!
//! Owns the choice between a point and its copies. It depends on the configuration, not on which was read last: a float
//! and a count of the same energy differ in the last digits, and a counter that alternates between them would seem to
//! start over. Never invents a value.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::meter::{Bit, Point, Profile, Reading, Sample, Unscaled, Value};

use super::published::PublishedUnit;
use crate::config::UnitProfile;
use crate::modbus::pdu::ReadRange;

/// The points that stand for the quantities of a unit, one each, in the order of the profile, whether or not they have
/// been read: `planned` is what is read in the background.
#[must_use]
pub fn standing_points<'p>(known: &'p UnitProfile, planned: &[ReadRange]) -> Vec<&'p Point> {
    let profile = &*known.profile;
    let billed = profile.bill_by().filter(|billed| planned.iter().any(|range| range.covers(&billed.range)));
    let mut chosen: BTreeMap<&str, (Rank, &Point)> = BTreeMap::new();
    for point in &profile.points {
        let rank = rank(profile, &known.blocks, point);
        if is_superseded(point, billed) {
            continue;
        }
        match chosen.get(original(point)) {
            Some((before, _)) if *before <= rank => {}
            Some(_) | None => drop(chosen.insert(original(point), (rank, point))),
        }
    }
    let is_chosen =
        |point: &&Point| chosen.get(original(point)).is_some_and(|(_, one)| one.name == point.name);
    profile.points.iter().filter(is_chosen).collect()
}

/// Of two representations of a quantity the one with the lower rank counts: the one that is read in the background, then
/// the original.
type Rank = (bool, bool);

fn rank(profile: &Profile, polled: &[String], point: &Point) -> Rank {
    (!polled.contains(&profile.blocks[point.block].name), point.copy_of.is_some())
}

/// The name of the quantity.
fn original(point: &Point) -> &str {
    point.copy_of.as_deref().unwrap_or(&point.name)
}

/// Of the energy to bill by, the count stands for it while it is read, and nothing else.
fn is_superseded(point: &Point, billed: Option<&Point>) -> bool {
    billed.is_some_and(|billed| billed.name == original(point)) && !point.bill_by
}

/// The readings in a unit's blocks.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    /// Its profile.
    pub profile: &'a Profile,
    /// The wanted points, in the profile's order, and the reading of each.
    pub points: Vec<(&'a Point, Option<Reading<'a>>)>,
    /// The blocks that are read in the background.
    polled: &'a [String],
    /// The point to bill by, if the unit gives it and it is read in the background.
    billed: Option<&'a Point>,
}

/// Whether it is a count whose scale has not been read yet.
fn is_without_scale(reading: &Reading<'_>) -> bool {
    matches!(reading.value, Value::Unscaled { why: Unscaled::NotRead, .. })
}

/// A flag a meter has raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Raised<'a> {
    /// The point that holds it.
    pub point: &'a Point,
    /// The flag.
    pub bit: &'a Bit,
    /// When the request for its register began.
    pub asked_at: Instant,
}

impl<'a> Readings<'a> {
    /// All points. `None` without a profile.
    #[must_use]
    pub(super) fn of(unit: &PublishedUnit<'a>) -> Option<Self> {
        Self::some(unit, |_, _| true)
    }

    /// Only the points of headline, alerts and validity: a tenth of the work where all units are shown.
    #[must_use]
    pub(super) fn summary(unit: &PublishedUnit<'a>) -> Option<Self> {
        Self::some(unit, |profile, point| {
            let original = point.copy_of.as_ref().unwrap_or(&point.name);
            profile.headline.contains(original)
                || profile.bill_by().is_some_and(|billed| billed.name == *original)
                || point.is_alert()
                || profile.validity.as_ref().is_some_and(|validity| validity.point == point.name)
        })
    }

    fn some(unit: &PublishedUnit<'a>, wanted: impl Fn(&Profile, &Point) -> bool) -> Option<Self> {
        let known = unit.profile?;
        let profile: &'a Profile = &known.profile;
        let samples = unit.view.map(|view| Sample::each(view.snapshot.reads())).unwrap_or_default();
        let points = profile.points.iter().filter(|point| wanted(profile, point));
        let points = points.map(|point| (point, profile.decode(point, &samples))).collect();
        let measured = unit.view.map(|view| &*view.measured).unwrap_or_default();
        let is_measured = |point: &&Point| measured.iter().any(|range| range.covers(&point.range));
        let billed = profile.bill_by().filter(is_measured);
        Some(Self { profile, points, polled: &known.blocks, billed })
    }

    /// One reading for each quantity, by the name of the original: of a point and its copies the one that is read in
    /// the background, else the original, else the first copy. Of the energy to bill by only the count, while that is
    /// read in the background.
    #[must_use]
    pub(super) fn quantities(&self) -> BTreeMap<&'a str, &Reading<'a>> {
        let mut chosen: BTreeMap<&str, (Rank, &Reading<'_>)> = BTreeMap::new();
        for (point, reading) in &self.points {
            let Some(reading) = reading else { continue };
            if is_superseded(point, self.billed) {
                continue;
            }
            let rank = rank(self.profile, self.polled, point);
            match chosen.get(original(point)) {
                Some((before, _)) if *before <= rank => {}
                Some(_) | None => drop(chosen.insert(original(point), (rank, reading))),
            }
        }
        chosen.into_iter().map(|(name, (_, reading))| (name, reading)).collect()
    }

    /// The quantities of the profile's headline, the energy to bill by among them, and the reading of each.
    #[must_use]
    pub(super) fn headline(&self) -> Vec<(&'a Point, Option<&Reading<'a>>)> {
        let quantities = self.quantities();
        let profile = self.profile;
        let named = profile.headline.iter().filter_map(|name| profile.point(name));
        let billed = profile.bill_by().filter(|billed| !profile.headline.contains(&billed.name));
        let reading = |point: &Point| {
            let chosen = quantities.get(point.name.as_str()).copied();
            chosen.filter(|reading| !is_without_scale(reading)).or_else(|| self.scaled_copy(point)).or(chosen)
        };
        named.chain(billed).map(|point| (point, reading(point))).collect()
    }

    /// A copy that has a value while the count still waits for its exponent, which is read rarely: so there is a number
    /// soon after a start.
    fn scaled_copy(&self, original: &Point) -> Option<&Reading<'a>> {
        let is_copy = |point: &Point| point.copy_of.as_deref() == Some(original.name.as_str());
        let copies = self.points.iter().filter(|(point, _)| is_copy(point));
        copies.filter_map(|(_, reading)| reading.as_ref()).find(|reading| reading.value.number().is_some())
    }

    /// The flags that the meter has set.
    #[must_use]
    pub(super) fn alerts(&self) -> Vec<Raised<'a>> {
        let mut raised = Vec::new();
        for (point, reading) in &self.points {
            let Some(Reading { value: Value::Bits { set, .. }, asked_at, .. }) = reading else { continue };
            if point.is_alert() {
                raised.extend(set.iter().map(|bit| Raised { point, bit, asked_at: *asked_at }));
            }
        }
        raised
    }

    /// The code of the setting that tells which points mean something.
    #[must_use]
    pub(super) fn validity_code(&self) -> Option<u16> {
        let name = &self.profile.validity.as_ref()?.point;
        let (_, reading) = self.points.iter().find(|(point, _)| point.name == *name)?;
        match reading.as_ref()?.value {
            Value::Code { code, .. } => Some(code),
            Value::Number(_)
            | Value::Float(_)
            | Value::Double(_)
            | Value::Bits { .. }
            | Value::Version(_)
            | Value::Text(_)
            | Value::NotAvailable
            | Value::NotANumber { .. }
            | Value::Unscaled { .. } => None,
        }
    }
}
