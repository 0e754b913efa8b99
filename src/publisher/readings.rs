//! Which transactions a message is made of: each message holds one.
//!
//! A block that is read whole is one transaction, and one message. If a meter refuses the whole, it is read in parts, and
//! each part is a message of its own, with its own time; the parts take turns. What the snapshot no longer holds is the publisher's to remember.
//! A count whose scale has not been read has no value yet, which is another thing than a meter that has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::plan::PlannedBlock;
use crate::line::{Block, UnitView};
use crate::meter::{Point, Profile, Sample, Unscaled, Value};
use crate::modbus::pdu::ReadRange;
use crate::status::Number;

/// The published points of one block that one transaction holds.
pub(super) struct Part<'v> {
    pub(super) block: &'v Arc<Block>,
    pub(super) points: Vec<usize>,
}

/// Points with their values; `None`: the meter has none.
pub(super) type Decoded<'p> = Vec<(&'p Point, Option<Number>)>;

/// The newest readings of a block, part by part.
pub(super) fn parts<'v>(planned: &PlannedBlock, profile: &Profile, view: &'v UnitView) -> Vec<Part<'v>> {
    let blocks = view.snapshot.blocks();
    let mut together: BTreeMap<Option<ReadRange>, Vec<usize>> = BTreeMap::new();
    for point in &planned.points {
        let range = view.measured.iter().find(|range| range.covers(&profile.points[*point].range));
        together.entry(range.copied()).or_default().push(*point);
    }
    let newest = |points: &[usize]| {
        let of = |place: &usize| &profile.points[*place];
        let holds = |block: &&Arc<Block>| {
            sample(block).is_some_and(|sample| sample.holds(profile, points.iter().map(of)))
        };
        blocks.iter().filter(holds).max_by_key(|block| (block.begun.instant, block.generation))
    };
    let mut parts: BTreeMap<u64, Part<'v>> = BTreeMap::new();
    for (range, points) in together {
        // Nothing reads the others in the background, so clients decide what is read with what.
        let size = if range.is_some() { points.len() } else { 1 };
        for points in points.chunks(size) {
            let Some(block) = newest(points) else { continue };
            let part = parts.entry(block.generation).or_insert_with(|| Part { block, points: Vec::new() });
            part.points.extend(points);
        }
    }
    for part in parts.values_mut() {
        part.points.sort_unstable();
    }
    parts.into_values().collect()
}

/// The values of a part, without the points whose scale has not been read.
pub(super) fn decode<'p>(part: &Part<'_>, profile: &'p Profile, view: &UnitView) -> Decoded<'p> {
    let Some(own) = sample(part.block) else { return Vec::new() };
    let samples = Sample::each(view.snapshot.reads());
    let points = part.points.iter().map(|place| &profile.points[*place]);
    let value = |point| {
        let value = profile.decode_in(point, &own, &samples)?.value;
        is_known(&value).then(|| (point, Number::of(&value)))
    };
    points.filter_map(value).collect()
}

/// Whether what the value is scaled by has been read.
fn is_known(value: &Value<'_>) -> bool {
    match value {
        Value::Unscaled { why: Unscaled::NotRead, .. } => false,
        Value::Unscaled { why: Unscaled::Changed | Unscaled::Impossible(_) | Unscaled::NoRatio, .. }
        | Value::Number(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Code { .. }
        | Value::Bits { .. }
        | Value::Version(_)
        | Value::Text(_)
        | Value::NotAvailable
        | Value::NotANumber { .. } => true,
    }
}

fn sample(block: &Arc<Block>) -> Option<Sample<'_>> {
    Sample::new(block.range, &block.reply, block.begun.instant)
}
