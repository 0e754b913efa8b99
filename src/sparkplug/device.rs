//! A device: its metrics, whether it was born, and the data that waits for it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::metric::{MetricDefinition, MetricTrack, Quality, Sampled, Taken};
use super::payload::{Metric, MetricValue};

/// A device, as births define it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDefinition {
    /// Its identifier, unique within the node.
    pub name: String,
    /// The meter behind it: a name that moves to another meter is another device.
    pub meter: Meter,
    /// Everything that is ever sent of it.
    pub metrics: Vec<MetricDefinition>,
}

/// A meter, as the gateway reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// The name of its bus.
    pub bus: String,
    /// Its identifier on the line.
    pub unit: u8,
}

/// A device and what waits to be sent of it.
#[derive(Debug)]
pub(super) struct Device {
    name: Arc<str>,
    meter: Meter,
    metrics: Vec<MetricTrack>,
    first_alias: u64,
    /// Whether the meter answers.
    is_alive: bool,
    /// When it answered no more, if ever.
    lost: Option<Taken>,
    birth: Birth,
    /// Changes, oldest first.
    kept: VecDeque<Record>,
}

/// What the hosts hold of a device in this session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Birth {
    /// It was not born.
    NotBorn,
    Born,
    /// It was born, and was lost since; its death has not been sent.
    OwesDeath,
}

/// The values of one reading that had changed.
#[derive(Debug)]
pub(super) struct Record {
    /// Orders the records of all devices.
    pub(super) number: u64,
    taken: Taken,
    quality: Quality,
    /// Each with the place of its metric.
    values: Vec<(usize, Option<MetricValue>)>,
}

impl Record {
    /// The memory it takes: its place in the queue, which is up to twice as long as its contents, and its values.
    pub(super) fn cost(&self) -> usize {
        2 * size_of::<Self>() + self.values.len() * size_of::<(usize, Option<MetricValue>)>()
    }
}

impl Device {
    pub(super) fn new(definition: DeviceDefinition, first_alias: u64) -> Self {
        Self {
            name: definition.name.into(),
            meter: definition.meter,
            metrics: definition.metrics.into_iter().map(MetricTrack::new).collect(),
            first_alias,
            is_alive: false,
            lost: None,
            birth: Birth::NotBorn,
            kept: VecDeque::new(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn metrics(&self) -> usize {
        self.metrics.len()
    }

    pub(super) fn is_defined_as(&self, definition: &DeviceDefinition) -> bool {
        let metrics = self.metrics.iter().map(|metric| &metric.definition);
        *self.name == *definition.name && self.meter == definition.meter && metrics.eq(&definition.metrics)
    }

    /// Whether it is the same device with other metrics at most.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.name == other.name && self.meter == other.meter
    }

    pub(super) fn birth(&self) -> Birth {
        self.birth
    }

    /// A new session, or a rebirth: the hosts hold nothing of it.
    pub(super) fn begin(&mut self) {
        self.birth = Birth::NotBorn;
    }

    /// Whether the meter answers and something was read of it: a birth without any value says nothing.
    pub(super) fn is_due(&self) -> bool {
        self.birth == Birth::NotBorn && self.is_alive && self.metrics.iter().any(MetricTrack::has_value)
    }

    /// Whether the meter answers. Returns whether something is to be sent for it.
    pub(super) fn set_alive(&mut self, is_alive: bool, now: Taken) -> bool {
        if std::mem::replace(&mut self.is_alive, is_alive) == is_alive || is_alive {
            return false;
        }
        self.lost = Some(now);
        self.metrics.iter_mut().for_each(MetricTrack::forget_value);
        let was_born = self.birth == Birth::Born;
        if was_born {
            self.birth = Birth::OwesDeath;
        }
        was_born
    }

    /// Keeps what has changed with a reading; `None`: nothing has.
    pub(super) fn record(
        &mut self,
        number: u64,
        taken: Taken,
        quality: Quality,
        values: Vec<(&str, Option<MetricValue>)>,
    ) -> Option<&Record> {
        if !self.is_alive {
            return None;
        }
        let mut changed = Vec::new();
        for (name, value) in values {
            let Some(place) = self.metrics.iter().position(|metric| metric.definition.name == name) else {
                continue;
            };
            let sampled = sampled(value.clone(), quality);
            if self.metrics[place].note(taken, &sampled) {
                changed.push((place, value));
            }
        }
        if changed.is_empty() {
            return None;
        }
        changed.shrink_to_fit();
        self.kept.push_back(Record { number, taken, quality, values: changed });
        self.kept.back()
    }

    /// The number of the oldest record that waits.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.kept.front().map(|record| record.number)
    }

    /// The memory that its records take.
    pub(super) fn cost(&self) -> usize {
        self.kept.iter().map(Record::cost).sum()
    }

    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    pub(super) fn take_oldest(&mut self) -> Option<Record> {
        let record = self.kept.pop_front()?;
        // A queue never gets smaller by itself.
        if self.kept.capacity() > SMALL_QUEUE.max(4 * self.kept.len()) {
            self.kept.shrink_to(2 * self.kept.len());
        }
        Some(record)
    }

    /// The record is not sent: what had changed is sent with the next reading.
    pub(super) fn owe(&mut self, record: &Record) {
        for (place, _) in &record.values {
            self.metrics[*place].owe();
        }
    }

    /// Its birth: every metric, by the time of its value.
    pub(super) fn bear(&mut self, began: Taken) -> Vec<Metric> {
        self.birth = Birth::Born;
        let lost = self.lost;
        let aliased = self.metrics.iter_mut().zip(self.first_alias..);
        let mut metrics: Vec<_> = aliased.map(|(metric, alias)| metric.birth(alias, lost, began)).collect();
        metrics.sort_by_key(|(at, _)| *at);
        metrics.into_iter().map(|(_, metric)| metric).collect()
    }

    /// The metrics of a record; none if a birth had its values.
    pub(super) fn data(&mut self, record: Record) -> Vec<Metric> {
        let Record { number: _, taken, quality, values } = record;
        let metric = |(place, value): (usize, Option<MetricValue>)| {
            let alias = self.first_alias + place as u64;
            self.metrics[place].data(alias, taken, sampled(value, quality))
        };
        values.into_iter().filter_map(metric).collect()
    }

    /// The clock on the wall was set.
    pub(super) fn shift_times(&mut self, millis: i64) {
        self.metrics.iter_mut().for_each(|metric| metric.shift(millis));
        let records = self.kept.iter_mut().map(|record| &mut record.taken);
        records.chain(&mut self.lost).for_each(|taken| taken.shift(millis));
    }

    /// Goes on as the same device after a reload, with other metrics perhaps. Returns how many changes that waited are of none
    /// of them.
    pub(super) fn continue_from(&mut self, earlier: Self) -> usize {
        let places: Vec<Option<usize>> = earlier
            .metrics
            .iter()
            .map(|before| self.metrics.iter().position(|metric| metric.definition == before.definition))
            .collect();
        for (before, place) in earlier.metrics.iter().zip(&places) {
            if let Some(place) = place {
                self.metrics[*place].continue_from(before);
            }
        }
        self.kept = earlier.kept;
        for record in &mut self.kept {
            record.values.retain_mut(|(place, _)| match places[*place] {
                Some(now) => {
                    *place = now;
                    true
                }
                None => false,
            });
        }
        let before = self.kept.len();
        self.kept.retain(|record| !record.values.is_empty());
        (self.is_alive, self.lost, self.birth) = (earlier.is_alive, earlier.lost, earlier.birth);
        before - self.kept.len()
    }
}

fn sampled(value: Option<MetricValue>, quality: Quality) -> Sampled {
    let quality = if value.is_none() { Quality::Bad } else { quality };
    Sampled { value, quality }
}

/// Places of a queue that are not given back.
const SMALL_QUEUE: usize = 64;
