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
use crate::mqtt::{Message, Outbox, SparkplugOutbox};
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
    /// The state of a unit has changed.
    fn put_state(&self, unit: &PlannedUnit, state: UnitState, since: SystemTime);

    /// The state of a unit, changed or not: a reload may have defined its device anew.
    fn keep_state(&self, unit: &PlannedUnit, state: UnitState, clocks: &Clocks);

    /// A reading of a block, or of a part of it, is due.
    fn put_reading(
        &self,
        unit: &PlannedUnit,
        block: &PlannedBlock,
        taken: &Taken,
        values: &[(&Point, Option<Number>)],
        now: Instant,
    );
}

/// When the request of a reading began to be sent.
pub(super) struct Taken {
    pub(super) at: Instant,
    pub(super) time: SystemTime,
    /// Whether newer readings have been missed since.
    pub(super) is_stale: bool,
}

/// Messages of JSON.
pub(super) struct Json<'o>(pub(super) &'o Outbox);

impl Sink for Json<'_> {
    fn put_state(&self, unit: &PlannedUnit, state: UnitState, since: SystemTime) {
        let payload = State { state: state.word(), since: timestamp::utc(since) };
        self.0.set_state(Arc::clone(&unit.state_topic), json(&payload));
    }

    /// The outbox has it.
    fn keep_state(&self, _: &PlannedUnit, _: UnitState, _: &Clocks) {}

    fn put_reading(
        &self,
        _: &PlannedUnit,
        block: &PlannedBlock,
        taken: &Taken,
        values: &[(&Point, Option<Number>)],
        now: Instant,
    ) {
        let payload = json(&Reading { time: timestamp::utc(taken.time), values: Values(values) });
        self.0.push(Message { topic: Arc::clone(&block.topic), payload, retained: false }, now);
    }
}

/// Devices of an edge node.
pub(super) struct Sparkplug<'o>(pub(super) &'o SparkplugOutbox);

impl Sink for Sparkplug<'_> {
    /// A device is alive or not, which is kept.
    fn put_state(&self, _: &PlannedUnit, _: UnitState, _: SystemTime) {}

    fn keep_state(&self, unit: &PlannedUnit, state: UnitState, clocks: &Clocks) {
        let now = sparkplug::Taken::new(clocks.now.instant, clocks.wall);
        self.0.set_alive(&unit.device, state.is_answering(), now);
    }

    fn put_reading(
        &self,
        unit: &PlannedUnit,
        _: &PlannedBlock,
        taken: &Taken,
        values: &[(&Point, Option<Number>)],
        now: Instant,
    ) {
        let quality = if taken.is_stale { Quality::Stale } else { Quality::Good };
        let value = |(point, number): &(&'_ Point, Option<Number>)| metric_value(point, (*number)?);
        let values = values.iter().map(|one| (one.0.name.as_str(), value(one))).collect();
        let taken = sparkplug::Taken::new(taken.at, taken.time);
        self.0.record(&unit.device, taken, quality, values, now);
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
    time: String,
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
