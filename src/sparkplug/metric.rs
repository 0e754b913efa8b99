//! A metric: what births say of it, its last value, and what was sent of it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::payload::{Metric, MetricValue, PropertySet, PropertyValue, PropertyValueKind};

/// A metric, as births define it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDefinition {
    /// Unique within its device.
    pub name: String,
    /// The type of its values.
    pub datatype: DataType,
    /// The unit of its values.
    pub unit: Option<&'static str>,
}

/// The types of values.
///
/// Only those that every host decodes alike: hosts differ in where they look for a UInt32, and in how a negative number
/// of 16 bits is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// 32 bits, in two's complement.
    Int32,
    /// 64 bits, in two's complement.
    Int64,
    /// 64 bits.
    UInt64,
    /// IEEE 754, single precision.
    Float,
    /// IEEE 754, double precision.
    Double,
    /// True or false.
    Boolean,
    /// Text.
    String,
}

impl DataType {
    /// Its number in payloads.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Int32 => 3,
            Self::Int64 => 4,
            Self::UInt64 => 8,
            Self::Float => 9,
            Self::Double => 10,
            Self::Boolean => 11,
            Self::String => 12,
        }
    }
}

/// What a value is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// The meter has no value.
    Bad,
    /// The value of the last reading.
    Good,
    /// There is no reading yet, or none that is young enough.
    Stale,
}

impl Quality {
    /// Its number in payloads.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Self::Bad => 0,
            Self::Good => 192,
            Self::Stale => 500,
        }
    }
}

/// When something was taken, by both clocks: order is by the monotonic one, which is never set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// By the monotonic clock.
    pub at: Instant,
    /// Milliseconds since 1970.
    pub time: u64,
}

impl Taken {
    /// The same instant by both clocks.
    #[must_use]
    pub fn new(at: Instant, wall: SystemTime) -> Self {
        Self { at, time: millis(wall) }
    }

    /// The same instant after the clock on the wall was set, by so many milliseconds.
    pub(super) fn shift(&mut self, millis: i64) {
        self.time = self.time.saturating_add_signed(millis);
    }
}

/// The time in payloads: milliseconds since 1970.
#[must_use]
pub fn millis(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sampled {
    pub(super) value: Option<MetricValue>,
    pub(super) quality: Quality,
}

/// A metric and what is known of it.
#[derive(Clone, Debug)]
pub(super) struct MetricTrack {
    pub(super) definition: MetricDefinition,
    /// `None`: nothing since the device was last lost.
    latest: Option<(Taken, Sampled)>,
    /// When the value was taken that was sent last in this session, and its quality.
    sent: Option<(Instant, Quality)>,
    /// A change was dropped: the next value is sent, changed or not.
    is_owed: bool,
}

impl MetricTrack {
    pub(super) fn new(definition: MetricDefinition) -> Self {
        Self { definition, latest: None, sent: None, is_owed: false }
    }

    pub(super) fn has_value(&self) -> bool {
        self.latest.is_some()
    }

    /// The device was lost: what was read before counts no more.
    pub(super) fn forget_value(&mut self) {
        self.latest = None;
    }

    /// The change that was to be sent is dropped.
    pub(super) fn owe(&mut self) {
        self.is_owed = true;
    }

    /// Remembers a value. Returns whether it is to be sent: it has changed.
    pub(super) fn note(&mut self, taken: Taken, sampled: &Sampled) -> bool {
        if let Some((before, same)) = &mut self.latest
            && same == sampled
        {
            before.at = before.at.max(taken.at);
            before.time = before.time.max(taken.time);
            return std::mem::take(&mut self.is_owed);
        }
        self.is_owed = false;
        self.latest = Some((taken, sampled.clone()));
        true
    }

    /// The metric in a birth. Without a value it has none since the device was lost, or since the node began: any reading
    /// that follows is younger.
    pub(super) fn birth(&mut self, alias: u64, lost: Option<Taken>, began: Taken) -> (Instant, Metric) {
        let has_value = self.has_value();
        let never = || (lost.unwrap_or(began), Sampled { value: None, quality: Quality::Stale });
        let (taken, sampled) = self.latest.clone().unwrap_or_else(never);
        self.sent = (has_value || lost.is_some()).then_some((taken.at, sampled.quality));
        self.is_owed = false;
        let unit = self.definition.unit.map(|unit| PropertyValueKind::String(unit.to_owned()));
        let unit = unit.map(|unit| (UNIT, DataType::String, unit));
        let metric = Metric {
            name: Some(self.definition.name.clone()),
            alias: Some(alias),
            timestamp: Some(taken.time),
            datatype: Some(self.definition.datatype.number()),
            is_historical: None,
            is_null: sampled.value.is_none().then_some(true),
            properties: Some(properties([Some(quality(sampled.quality)), unit])),
            value: sampled.value,
        };
        (taken.at, metric)
    }

    /// The metric in data; `None`: this value was sent with a birth.
    pub(super) fn data(&mut self, alias: u64, taken: Taken, sampled: Sampled) -> Option<Metric> {
        let before = self.sent;
        if before == Some((taken.at, sampled.quality)) {
            return None;
        }
        // A reading turns stale after it was taken: what is not stale of the same time is older.
        let is_older = |(at, known)| {
            let has_turned_stale = known == Quality::Stale && sampled.quality != Quality::Stale;
            taken.at < at || (taken.at == at && has_turned_stale)
        };
        let is_historical = before.is_some_and(is_older);
        if !is_historical {
            self.sent = Some((taken.at, sampled.quality));
        }
        // What a host holds of the quality stays until it is sent another.
        let tells_quality = is_historical || before.is_none_or(|(_, quality)| quality != sampled.quality);
        Some(Metric {
            name: None,
            alias: Some(alias),
            timestamp: Some(taken.time),
            datatype: None,
            is_historical: is_historical.then_some(true),
            is_null: sampled.value.is_none().then_some(true),
            properties: tells_quality.then(|| properties([Some(quality(sampled.quality)), None])),
            value: sampled.value,
        })
    }

    /// The clock on the wall was set.
    pub(super) fn shift(&mut self, millis: i64) {
        if let Some((taken, _)) = &mut self.latest {
            taken.shift(millis);
        }
    }

    /// Goes on as the same metric after a reload.
    pub(super) fn continue_from(&mut self, earlier: &Self) {
        self.latest.clone_from(&earlier.latest);
        self.is_owed = earlier.is_owed;
    }
}

type Property = (&'static str, DataType, PropertyValueKind);

fn quality(quality: Quality) -> Property {
    (QUALITY, DataType::Int32, PropertyValueKind::Int(quality.number()))
}

fn properties(all: [Option<Property>; 2]) -> PropertySet {
    let mut set = PropertySet::default();
    for (key, datatype, value) in all.into_iter().flatten() {
        set.keys.push(key.to_owned());
        set.values.push(PropertyValue { datatype: Some(datatype.number()), value: Some(value) });
    }
    set
}

/// The property that the standard defines.
const QUALITY: &str = "Quality";

/// The property by which Ignition and others show the unit.
const UNIT: &str = "engUnit";
