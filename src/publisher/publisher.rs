//! When what is published: states when they change, readings every so often, sooner when a value moves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::plan::{Plan, PlannedBlock, PlannedUnit};
use super::readings::{Part, decode, parts};
use crate::line::{Now, UnitView};
use crate::meter::{Point, Profile};
use crate::modbus::pdu::ReadRange;
use crate::mqtt::{Message, Outbox};
use crate::runtime::timestamp;
use crate::status::{Number, Published, PublishedUnit, UnitState};

/// The same instant by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The monotonic clock, suspends included.
    pub now: Now,
    /// The clock on the wall.
    pub wall: SystemTime,
}

/// Decides for one broker. What it remembers of a unit outlasts a reload.
#[derive(Debug)]
pub struct Publisher {
    plan: Arc<Plan>,
    units: BTreeMap<Arc<str>, UnitTrack>,
}

/// What was published of a unit, by the topic of its state.
#[derive(Debug, Default)]
struct UnitTrack {
    state: Option<UnitState>,
    /// Readings begun before this are from before an outage.
    valid_from: Option<Instant>,
    blocks: BTreeMap<Arc<str>, BlockTrack>,
}

/// What was published of a block, by its topic.
#[derive(Debug, Default)]
struct BlockTrack {
    /// `None`: nothing yet.
    published: Option<Instant>,
    due: Option<Instant>,
    parts: BTreeMap<ReadRange, PartTrack>,
}

/// The last reading of a part of a block.
#[derive(Debug)]
struct PartTrack {
    begun: Instant,
    /// As published: it stays with the reading, whatever becomes of the clock on the wall.
    time: String,
    values: Vec<Option<f64>>,
}

impl Publisher {
    /// One that has published nothing.
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        Self { plan, units: BTreeMap::new() }
    }

    /// Continues with another plan.
    pub fn replace_plan(&mut self, plan: Arc<Plan>) {
        self.units.retain(|topic, _| plan.has_state(topic));
        self.plan = plan;
    }

    /// Puts what is due into the outbox.
    pub fn publish(&mut self, published: &Published, clocks: &Clocks, outbox: &Outbox) {
        let units: BTreeMap<(&str, u8), PublishedUnit<'_>> =
            published.units().map(|unit| ((unit.bus.name(), unit.alias), unit)).collect();
        let plan = Arc::clone(&self.plan);
        for planned in &plan.units {
            let unit = units.get(&(planned.bus.as_str(), planned.alias));
            let track = self.units.entry(Arc::clone(&planned.state_topic)).or_default();
            // A start and a reload make the plan a moment before its units are published.
            let state = unit.map_or(UnitState::NeverSeen, PublishedUnit::state);
            track.publish_state(planned, state, clocks, outbox);
            let Some(unit) = unit else { continue };
            let (Some(view), Some(profile)) = (unit.view, &planned.profile) else { continue };
            let is_known = unit.profile.is_some_and(|known| Arc::ptr_eq(&known.profile, profile));
            if !unit.state().is_answering() || !is_known {
                continue;
            }
            for block in &planned.blocks {
                let timing = Timing { every: plan.publication.every, change: plan.publication.change };
                track.publish_block(block, profile, view, &timing, clocks, outbox);
            }
        }
    }
}

/// How often a block is published.
struct Timing {
    every: Duration,
    change: Option<f64>,
}

impl UnitTrack {
    fn publish_state(&mut self, planned: &PlannedUnit, state: UnitState, clocks: &Clocks, outbox: &Outbox) {
        if self.state == Some(state) {
            return;
        }
        if !state.is_answering() {
            self.valid_from = Some(clocks.now.instant);
        }
        self.state = Some(state);
        let payload = State { state: state.word(), since: timestamp::utc(clocks.wall) };
        outbox.set_state(Arc::clone(&planned.state_topic), json(&payload));
    }

    fn publish_block(
        &mut self,
        block: &PlannedBlock,
        profile: &Profile,
        view: &UnitView,
        timing: &Timing,
        clocks: &Clocks,
        outbox: &Outbox,
    ) {
        let now = clocks.now.instant;
        let track = self.blocks.entry(Arc::clone(&block.topic)).or_default();
        let is_due = track.due.is_none_or(|due| due <= now);
        let may_be_sooner = timing.change.is_some()
            && track.published.is_none_or(|at| now.saturating_duration_since(at) >= SOONEST);
        if !is_due && !may_be_sooner {
            return;
        }
        let mut parts = parts(block, profile, view);
        parts.retain(|part| self.valid_from.is_none_or(|from| part.block.begun.instant >= from));
        track.parts.retain(|range, _| parts.iter().any(|part| part.block.range == *range));
        let has_moved = !is_due
            && timing.change.is_some_and(|share| {
                parts.iter().any(|part| track.has_moved(part, &decode(part, profile, view), share))
            });
        if parts.is_empty() || (!is_due && !has_moved) {
            return;
        }
        for part in &parts {
            let values = decode(part, profile, view);
            let time = track.note(part, &values, clocks);
            let payload = json(&Reading { time, values: Values(&values) });
            outbox.push(Message { topic: Arc::clone(&block.topic), payload, retained: false });
        }
        let late = track.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        // The next falls on the same grid, unless a value moved or a whole interval was missed.
        let on_grid = track.due.filter(|_| is_due && late < timing.every);
        track.due = Some(on_grid.unwrap_or(now) + timing.every);
        track.published = Some(now);
    }
}

impl BlockTrack {
    /// Whether a value of a newer reading differs by more than this share.
    fn has_moved(&self, part: &Part<'_>, values: &[(&Point, Option<Number>)], share: f64) -> bool {
        let Some(before) = self.parts.get(&part.block.range) else { return true };
        let has_moved = |(before, (_, now)): (&Option<f64>, &(&Point, Option<Number>))| match (
            before,
            now.map(Number::to_f64),
        ) {
            (Some(before), Some(now)) => (now - before).abs() > share * before.abs(),
            (before, now) => before.is_some() != now.is_some(),
        };
        let is_newer = part.block.begun.instant > before.begun;
        is_newer && (before.values.len() != values.len() || before.values.iter().zip(values).any(has_moved))
    }

    /// Remembers a reading; returns its time.
    fn note(&mut self, part: &Part<'_>, values: &[(&Point, Option<Number>)], clocks: &Clocks) -> &str {
        let begun = part.block.begun;
        let values = values.iter().map(|(_, value)| value.map(Number::to_f64)).collect();
        let age = clocks.now.since(begun);
        let time = || timestamp::utc(clocks.wall.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH));
        let track = self.parts.entry(part.block.range).or_insert_with(|| PartTrack {
            begun: begun.instant,
            time: time(),
            values: Vec::new(),
        });
        if track.begun != begun.instant {
            (track.begun, track.time) = (begun.instant, time());
        }
        track.values = values;
        &track.time
    }
}

/// The payload of a unit's state.
#[derive(Serialize)]
struct State {
    state: &'static str,
    since: String,
}

/// The payload of a reading.
#[derive(Serialize)]
struct Reading<'r> {
    time: &'r str,
    values: Values<'r>,
}

struct Values<'r>(&'r [(&'r Point, Option<Number>)]);

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (point, value) in self.0 {
            map.serialize_entry(&point.name, value)?;
        }
        map.end()
    }
}

pub(super) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("the keys of a payload are text").into()
}

/// Shortest time between two messages of a block because of a change.
const SOONEST: Duration = Duration::from_secs(1);
