//! Where states and readings go, and in what form: messages of JSON, or the devices of an edge node.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::plan::{PlannedBlock, PlannedUnit};
use super::sparkplug::value as metric_value;
use crate::line::Now;
use crate::meter::Point;
use crate::mqtt::{Outbox, Reading, SparkplugOutbox, WallClock};
use crate::runtime::timestamp;
use crate::sparkplug::{self, Quality};
use crate::status::{Number, UnitState};

/// The same instant by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The monotonic clock, suspends included.
    pub now: Now,
    /// The clock on the wall.
    pub wall: SystemTime,
}

/// A form in which is published.
pub(super) trait Sink {
    /// How many readings of a block go out at a time.
    fn batch(&self) -> Batch;

    /// The clock by which everything that follows has its times, and what waits gets them anew.
    fn set_clock(&self, clock: WallClock, before: Option<WallClock>);

    /// The state of a unit has changed.
    fn put_state(&self, unit: &PlannedUnit, state: UnitState, since: SystemTime);

    /// The state of a unit, changed or not: a reload may have defined its device anew.
    fn keep_state(&self, unit: &PlannedUnit, state: UnitState, now: Moment);

    /// A reading of a block, or of a part of it, is due.
    fn put_reading(
        &self,
        unit: &PlannedUnit,
        block: &PlannedBlock,
        begun: Moment,
        age: Age,
        values: &[(&Point, Option<Number>)],
        now: Instant,
    );
}

/// An instant with its time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Now,
    pub(super) time: SystemTime,
}

impl Moment {
    pub(super) fn new(at: Now, clock: &WallClock) -> Self {
        Self { at, time: clock.time_at(at) }
    }

    fn taken(self) -> sparkplug::Taken {
        sparkplug::Taken::new(self.at.instant, self.time)
    }
}

/// Whether a reading is as young as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Young,
    /// Newer ones have been missed since.
    Stale,
}

/// How many readings of a block that is read in parts go out at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// One: a message has one time, and those of a topic never go back.
    One,
    /// All: each value has a time of its own, and only what has changed is sent.
    All,
}

/// Messages of JSON.
pub(super) struct Json<'o>(pub(super) &'o Outbox);

impl Sink for Json<'_> {
    fn batch(&self) -> Batch {
        Batch::One
    }

    fn set_clock(&self, clock: WallClock, _: Option<WallClock>) {
        self.0.set_clock(clock);
    }

    fn put_state(&self, unit: &PlannedUnit, state: UnitState, since: SystemTime) {
        let payload = State { state: state.word(), since: timestamp::utc(since) };
        self.0.set_state(Arc::clone(&unit.state_topic), json(&payload));
    }

    /// The outbox has it.
    fn keep_state(&self, _: &PlannedUnit, _: UnitState, _: Moment) {}

    fn put_reading(
        &self,
        _: &PlannedUnit,
        block: &PlannedBlock,
        begun: Moment,
        _: Age,
        values: &[(&Point, Option<Number>)],
        now: Instant,
    ) {
        let rest = json(&Rest { values: Values(values) });
        // The outbox writes the brace, with the time.
        let rest = rest.slice(1..);
        self.0.push(Reading { topic: Arc::clone(&block.topic), begun: begun.at, rest }, now);
    }
}

/// Devices of an edge node.
pub(super) struct Sparkplug<'o>(pub(super) &'o SparkplugOutbox);

impl Sink for Sparkplug<'_> {
    fn batch(&self) -> Batch {
        Batch::All
    }

    fn set_clock(&self, clock: WallClock, before: Option<WallClock>) {
        if let Some(before) = before {
            self.0.shift_times(clock.millis_ahead_of(&before));
        }
    }

    /// A device is alive or not, which is kept.
    fn put_state(&self, _: &PlannedUnit, _: UnitState, _: SystemTime) {}

    fn keep_state(&self, unit: &PlannedUnit, state: UnitState, now: Moment) {
        self.0.set_alive(&unit.device, state.is_answering(), now.taken());
    }

    fn put_reading(
        &self,
        unit: &PlannedUnit,
        _: &PlannedBlock,
        begun: Moment,
        age: Age,
        values: &[(&Point, Option<Number>)],
        now: Instant,
    ) {
        let quality = match age {
            Age::Young => Quality::Good,
            Age::Stale => Quality::Stale,
        };
        let value = |(point, number): &(&'_ Point, Option<Number>)| metric_value(point, (*number)?);
        let values = values.iter().map(|one| (one.0.name.as_str(), value(one))).collect();
        self.0.record(&unit.device, begun.taken(), quality, values, now);
    }
}

/// The payload of a unit's state.
#[derive(Serialize)]
struct State {
    state: &'static str,
    since: String,
}

/// The payload of a reading but for its time.
#[derive(Serialize)]
struct Rest<'r> {
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
    let json = serde_json::to_vec(value).expect("the keys of a payload are text");
    // Without the capacity that was left: the outbox counts the bytes of the payload.
    json.into_boxed_slice().into()
}
