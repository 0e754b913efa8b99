//! The last hours of each meter and each line, minute by minute, in memory.
//!
//! Owns its bounds, for configured units only: 12 hours of means of the quantities in a profile's headline, without
//! energies; single readings of the first ten minutes; one hour of health; ten minutes of counters for the findings.
//! A mean covers the readings taken within the minute, each counted once; a minute without a reading stays empty. The
//! history is lost at a restart, and independent of the wall clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::line::{BusId, PortState, UnitId};
use crate::meter::Group;

use super::current_findings;
use super::model::{BusMinute, UnitMinute};
use super::published::{Published, PublishedBus, PublishedUnit};
use super::readings::Readings;
use super::recent::{Rates, RecentWindow};

/// The history of all lines and units.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// When the current minute began.
    began: Option<Instant>,
    units: BTreeMap<(BusId, UnitId), UnitTrack>,
    buses: BTreeMap<BusId, BusTrack>,
    /// The request rates of clients.
    pub(super) rates: Rates,
}

/// The history of one unit.
#[derive(Clone, Debug, Default)]
pub struct UnitTrack {
    /// By the names of the quantities, in the order of the profile's headline.
    pub readings: Vec<ReadingTrack>,
    /// The last full minutes, the newest last; at most [`HEALTH_MINUTES`]. `None`: no sample was taken.
    pub minutes: VecDeque<Option<UnitMinute>>,
    /// The generation of the newest block at the last sample.
    generation: Option<u64>,
    before: Option<[u64; 2]>,
    answer_time: Mean,
}

/// The history of one quantity.
#[derive(Clone, Debug)]
pub struct ReadingTrack {
    /// The name of the point that is no copy.
    pub quantity: String,
    /// Means of the last full minutes, the newest last, not a number where nothing was read; at most
    /// [`READING_MINUTES`], and none before the first reading.
    pub means: VecDeque<f32>,
    /// The single readings, until there are enough means.
    pub(super) first: FirstReadings,
    mean: Mean,
    counted: Option<Instant>,
}

/// The first minutes of a quantity, reading by reading; empty as soon as there are [`FIRST_MINUTES`] of means.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstReadings {
    began: Option<Instant>,
    /// Tenths of a second after `began`, and the value; at most [`FIRST_READINGS`].
    readings: Vec<(u16, f32)>,
}

/// The history of one line.
#[derive(Clone, Debug, Default)]
pub struct BusTrack {
    /// The last full minutes, the newest last; at most [`HEALTH_MINUTES`]. `None`: no sample was taken.
    pub minutes: VecDeque<Option<BusMinute>>,
    /// The last seconds, and the last ten minutes' counters.
    pub(super) recent: RecentWindow,
    before: Option<[u64; 6]>,
}

/// A mean that is being calculated.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl History {
    /// Samples the gateway; to be called about once a second. Ends the minute when it is over.
    pub fn sample(&mut self, published: &Published, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let over = now.saturating_duration_since(began).as_secs() / MINUTE.as_secs();
        let over = u32::try_from(over).unwrap_or(u32::MAX);
        self.forget(published);
        self.rates.sample(published, now);
        for unit in published.units() {
            let track = self.units.entry((unit.bus.id, unit.settings.id)).or_default();
            track.sample(&unit);
            if over > 0 {
                track.end_minute(&unit, now);
            }
        }
        for bus in &published.buses {
            let track = self.buses.entry(bus.id).or_default();
            let elapsed = now.saturating_duration_since(began);
            track.before.get_or_insert_with(|| line_counters(bus));
            track.recent.sample(bus, now);
            if over > 0 {
                track.end_minute(bus, elapsed);
            }
        }
        for bus in &published.buses {
            let found = current_findings::of_bus(bus, self.recent(bus), now);
            if let Some(track) = self.buses.get_mut(&bus.id) {
                track.recent.note_findings(&found);
            }
        }
        // Minutes without a sample stay empty.
        for _ in 1..over.min(u32::try_from(READING_MINUTES).unwrap_or(u32::MAX)) {
            for track in self.units.values_mut() {
                track.readings.iter_mut().for_each(ReadingTrack::end_minute);
                push(&mut track.minutes, None, HEALTH_MINUTES);
            }
            for track in self.buses.values_mut() {
                push(&mut track.minutes, None, HEALTH_MINUTES);
            }
        }
        if over > 0 {
            self.began = Some(began + MINUTE * over);
        }
    }

    /// Adds the history of a unit before the first sample: means of each quantity of the headline, in its order, and
    /// minutes; the newest last.
    pub fn preload_unit(
        &mut self,
        bus: BusId,
        unit: UnitId,
        readings: Vec<(String, Vec<f32>)>,
        minutes: Vec<UnitMinute>,
    ) {
        let track = self.units.entry((bus, unit)).or_default();
        for (quantity, means) in readings {
            let known = track.readings.iter().position(|known| known.quantity == quantity);
            let index = known.unwrap_or_else(|| {
                track.readings.push(ReadingTrack::new(&quantity));
                track.readings.len() - 1
            });
            let reading = &mut track.readings[index];
            put_before(&mut reading.means, means, READING_MINUTES);
            reading.drop_first_readings();
        }
        put_before(&mut track.minutes, minutes.into_iter().map(Some).collect(), HEALTH_MINUTES);
    }

    /// The same for a line.
    pub fn preload_bus(&mut self, bus: BusId, minutes: Vec<BusMinute>) {
        let track = self.buses.entry(bus).or_default();
        put_before(&mut track.minutes, minutes.into_iter().map(Some).collect(), HEALTH_MINUTES);
    }

    /// The history of a unit.
    #[must_use]
    pub fn unit(&self, unit: &PublishedUnit<'_>) -> Option<&UnitTrack> {
        self.units.get(&(unit.bus.id, unit.settings.id))
    }

    /// The last ten minutes of a line.
    pub(super) fn recent(&self, bus: &PublishedBus) -> Option<&RecentWindow> {
        self.bus(bus).map(|track| &track.recent)
    }

    /// The history of a line.
    #[must_use]
    pub fn bus(&self, bus: &PublishedBus) -> Option<&BusTrack> {
        self.buses.get(&bus.id)
    }

    /// How long ago the last full minute ended.
    #[must_use]
    pub fn since_last_minute(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began))
    }

    /// Drops what is no longer configured.
    fn forget(&mut self, published: &Published) {
        self.buses.retain(|bus, _| published.bus(*bus).is_some());
        self.units.retain(|(bus, id), _| {
            published.bus(*bus).is_some_and(|bus| bus.settings.line.units.iter().any(|unit| unit.id == *id))
        });
    }
}

impl UnitTrack {
    fn sample(&mut self, unit: &PublishedUnit<'_>) {
        let Some(view) = unit.view else { return };
        self.before.get_or_insert_with(|| unit_counters(unit));
        if let Some(time) = view.response_time {
            self.answer_time.add(time.as_secs_f64() * 1000.0);
        }
        let generation = view.snapshot.blocks().iter().map(|block| block.generation).max();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let Some(readings) = Readings::summary(unit) else { return self.readings.clear() };
        // The mean of a counter has no use.
        let mut headline = readings.headline();
        headline.retain(|(point, _)| point.group != Group::Energy);
        let same =
            self.readings.iter().map(|track| &track.quantity).eq(headline.iter().map(|(p, _)| &p.name));
        if !same {
            self.readings = headline.iter().map(|(point, _)| ReadingTrack::new(&point.name)).collect();
        }
        for (track, (_, reading)) in self.readings.iter_mut().zip(headline) {
            let Some(reading) = reading.filter(|reading| Some(reading.asked_at) != track.counted) else {
                continue;
            };
            track.counted = Some(reading.asked_at);
            if let Some(number) = reading.value.number() {
                track.mean.add(number);
                if track.means.len() < FIRST_MINUTES {
                    track.first.note(reading.asked_at, single(number));
                }
            }
        }
    }

    fn end_minute(&mut self, unit: &PublishedUnit<'_>, now: Instant) {
        let minute = self.minute(unit, now);
        self.readings.iter_mut().for_each(ReadingTrack::end_minute);
        self.before = Some(unit_counters(unit));
        self.answer_time = Mean::default();
        push(&mut self.minutes, Some(minute), HEALTH_MINUTES);
    }

    /// The current minute so far.
    fn minute(&self, unit: &PublishedUnit<'_>, now: Instant) -> UnitMinute {
        let [transactions, errors] = added(self.before, unit_counters(unit));
        let age = unit.view.and_then(|view| view.age(now));
        UnitMinute {
            state: unit.state(),
            transactions,
            errors,
            answer_time_ms: self.answer_time.value(),
            age_ms: age.map(|age| u32::try_from(age.as_millis()).unwrap_or(u32::MAX)),
        }
    }

    /// The last hour and the current minute, so that a plot begins with the first second.
    pub(super) fn hour(&self, unit: &PublishedUnit<'_>, now: Instant) -> Vec<Option<UnitMinute>> {
        let running = self.before.map(|_| Some(self.minute(unit, now)));
        self.minutes.iter().copied().chain(running).collect()
    }
}

impl ReadingTrack {
    fn new(quantity: &str) -> Self {
        Self {
            quantity: quantity.to_owned(),
            means: VecDeque::new(),
            first: FirstReadings::default(),
            mean: Mean::default(),
            counted: None,
        }
    }

    fn end_minute(&mut self) {
        let mean = self.mean.take();
        // A quantity that the meter never has takes no memory.
        if mean.is_some() || !self.means.is_empty() {
            push(&mut self.means, mean.unwrap_or(f32::NAN), READING_MINUTES);
        }
        self.drop_first_readings();
    }

    /// Drops the single readings once there are means enough.
    fn drop_first_readings(&mut self) {
        if self.means.len() >= FIRST_MINUTES {
            self.first = FirstReadings::default();
        }
    }
}

impl FirstReadings {
    fn note(&mut self, asked_at: Instant, value: f32) {
        let began = *self.began.get_or_insert(asked_at);
        let Ok(tenths) = u16::try_from(asked_at.saturating_duration_since(began).as_millis() / 100) else {
            return;
        };
        if self.readings.len() >= FIRST_READINGS {
            // A plot this long needs only every second one.
            let mut index = 0;
            self.readings.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.readings.push((tenths, value));
    }

    /// How long ago each was read, the newest last.
    pub(super) fn ages(&self, now: Instant) -> impl Iterator<Item = (Duration, f32)> {
        let since = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
        let ago = move |tenths: u16| since.saturating_sub(Duration::from_millis(100) * u32::from(tenths));
        self.readings.iter().map(move |(tenths, value)| (ago(*tenths), *value))
    }
}

impl BusTrack {
    fn end_minute(&mut self, bus: &PublishedBus, elapsed: Duration) {
        let minute = self.minute(bus, elapsed);
        self.before = Some(line_counters(bus));
        push(&mut self.minutes, Some(minute), HEALTH_MINUTES);
    }

    /// The current minute so far.
    fn minute(&self, bus: &PublishedBus, elapsed: Duration) -> BusMinute {
        let [busy, transactions, failures, clients, polling, failing] =
            added(self.before, line_counters(bus));
        let percent = |millis: u32| f64::from(millis) / (elapsed.as_secs_f64() * 1000.0) * 100.0;
        BusMinute {
            utilisation_percent: single(percent(busy)).min(100.0),
            clients_percent: percent(clients),
            polling_percent: percent(polling),
            failures_percent: percent(failing),
            transactions,
            failures,
            port_open: bus.view.port != PortState::Closed,
        }
    }

    /// The last hour and the current minute, of which `elapsed` has passed.
    pub(super) fn hour(&self, bus: &PublishedBus, elapsed: Duration) -> Vec<Option<BusMinute>> {
        let running =
            self.before.filter(|_| elapsed >= LEAST_ELAPSED).map(|_| Some(self.minute(bus, elapsed)));
        self.minutes.iter().copied().chain(running).collect()
    }
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> Option<f32> {
        let Self { sum, count } = self;
        (count > 0).then(|| single(sum / f64::from(count)))
    }

    /// Returns the mean and starts anew.
    fn take(&mut self) -> Option<f32> {
        std::mem::take(self).value()
    }
}

/// Transactions and errors.
fn unit_counters(unit: &PublishedUnit<'_>) -> [u64; 2] {
    let counters = unit.view.map(|view| view.counters).unwrap_or_default();
    [counters.transactions, counters.timeouts + counters.crc_errors]
}

/// Milliseconds used, transactions, failures; milliseconds for clients, for polling, and lost to failures.
fn line_counters(bus: &PublishedBus) -> [u64; 6] {
    let (counters, times) = (bus.view.counters, bus.view.statistics);
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let polling = times.background + times.probes;
    let times = [times.clients, polling, times.failures].map(millis);
    [millis(counters.busy), counters.transactions, counters.failures, times[0], times[1], times[2]]
}

/// The increase of counters. A restarted bus counts from zero.
fn added<const N: usize>(before: Option<[u64; N]>, now: [u64; N]) -> [u32; N] {
    let before = before.unwrap_or([0; N]);
    let pairs: [(u64, u64); N] = std::array::from_fn(|index| (before[index], now[index]));
    pairs.map(|(before, now)| u32::try_from(now.checked_sub(before).unwrap_or(now)).unwrap_or(u32::MAX))
}

fn push<T>(minutes: &mut VecDeque<T>, minute: T, most: usize) {
    if minutes.len() >= most {
        minutes.pop_front();
    }
    minutes.push_back(minute);
}

fn put_before<T>(minutes: &mut VecDeque<T>, earlier: Vec<T>, most: usize) {
    let newer = std::mem::take(minutes);
    let surplus = (earlier.len() + newer.len()).saturating_sub(most);
    *minutes = earlier.into_iter().chain(newer).skip(surplus).collect();
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits are enough for a mean")]
fn single(value: f64) -> f32 {
    value as f32
}

/// Shares of a shorter time are not meaningful.
const LEAST_ELAPSED: Duration = Duration::from_millis(900);

/// The interval of the history.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Minutes of readings that are kept: 12 hours.
pub const READING_MINUTES: usize = 12 * 60;

/// Minutes of readings that make a plot by themselves.
const FIRST_MINUTES: usize = 10;

/// Readings that are kept of the minutes before.
const FIRST_READINGS: usize = 120;

/// Minutes of health that are kept: one hour.
pub const HEALTH_MINUTES: usize = 60;
