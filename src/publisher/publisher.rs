//! When what is published: states when they change, readings every so often, sooner when a value moves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::plan::{Plan, PlannedBlock, PlannedUnit};
use super::readings::{Decoded, Part, decode, parts};
use super::sink::{Age, Batch, Clocks, Json, Moment, Sink, Sparkplug};
use crate::line::{Now, UnitId, UnitView};
use crate::meter::{Point, Profile};
use crate::mqtt::{Outbox, SparkplugOutbox, WallClock};
use crate::status::{Number, Published, PublishedUnit, UnitState};

/// When the state of each unit began, as the gateway saw it, and the clock that gives its time: shared by all brokers, so that
/// one that is added later gets the same.
#[derive(Debug, Default)]
pub struct StateTracks(Mutex<Tracks>);

#[derive(Debug, Default)]
struct Tracks {
    /// By the names of the buses.
    states: BTreeMap<String, States>,
    /// `None`: nothing was observed yet.
    clock: Option<WallClock>,
}

/// The states of the units of a bus, by the identifiers clients use, and when each began.
type States = BTreeMap<u8, StateTrack>;

/// Since when a meter is in a state.
#[derive(Clone, Copy, Debug)]
struct StateTrack {
    meter: UnitId,
    state: UnitState,
    since: Now,
}

impl StateTracks {
    /// Records the states of all units, and forgets the units that are gone. Returns the clock that gives all times.
    pub fn observe(&self, published: &Published, clocks: &Clocks) -> WallClock {
        let mut tracks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut tracks.states);
        for bus in &published.buses {
            let known = before.get(bus.name());
            let track = |unit: PublishedUnit<'_>| {
                let state = unit.state();
                let meter = unit.settings.id;
                let before = known.and_then(|known| known.get(&unit.alias)).copied();
                let same = before.filter(|before| (before.meter, before.state) == (meter, state));
                (unit.alias, same.unwrap_or(StateTrack { meter, state, since: clocks.now }))
            };
            tracks.states.insert(bus.name().to_owned(), bus.units().map(track).collect());
        }
        let clock = tracks.clock.get_or_insert_with(|| WallClock::new(clocks.now, clocks.wall));
        clock.follow(clocks.now, clocks.wall);
        *clock
    }

    /// When this state of a unit began; `None`: it has not been seen.
    fn since(&self, bus: &str, alias: u8, state: UnitState) -> Option<Now> {
        let tracks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let track = tracks.states.get(bus)?.get(&alias)?;
        (track.state == state).then_some(track.since)
    }
}

/// Decides for one broker. What it remembers of a unit outlasts a reload.
#[derive(Debug)]
pub struct Publisher {
    plan: Arc<Plan>,
    states: Arc<StateTracks>,
    units: BTreeMap<Arc<str>, UnitTrack>,
    /// `None`: nothing was published yet.
    clock: Option<WallClock>,
}

/// What was published of a unit, by the topic of its state.
#[derive(Debug, Default)]
struct UnitTrack {
    /// And when it began.
    state: Option<(UnitState, SystemTime)>,
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
    /// The newest reading that was published: none from before it follows.
    newest: Option<ReadingKey>,
    /// The last values, by the names of the points: what is read together may differ from reading to reading, and the
    /// snapshot drops what it cannot vouch for any longer.
    values: BTreeMap<String, ValueTrack>,
}

/// The last value of a point.
#[derive(Clone, Copy, Debug)]
struct ValueTrack {
    reading: ReadingTrack,
    value: Option<Number>,
    /// `None`: no value of it yet.
    published: Option<PublishedValue>,
}

/// The value of a point that was published last.
#[derive(Clone, Copy, Debug)]
struct PublishedValue {
    at: Instant,
    reading: ReadingKey,
    value: Option<Number>,
}

/// The last values that are from one transaction.
struct BlockReading<'p> {
    reading: ReadingTrack,
    values: Decoded<'p>,
    /// Since when one of its points has not been published; `None`: it never was.
    waiting_since: Option<Instant>,
    has_moved: bool,
}

/// Tells transactions apart, in their order: a line that is started anew counts from the beginning.
type ReadingKey = (Instant, u64);

/// The transaction that a value is from.
#[derive(Clone, Copy, Debug)]
struct ReadingTrack {
    begun: Now,
    generation: u64,
}

impl Publisher {
    /// One that has published nothing.
    #[must_use]
    pub fn new(plan: Arc<Plan>, states: Arc<StateTracks>) -> Self {
        Self { plan, states, units: BTreeMap::new(), clock: None }
    }

    /// Continues with another plan.
    pub fn replace_plan(&mut self, plan: Arc<Plan>) {
        self.units.retain(|topic, _| plan.has_state(topic));
        let earlier: BTreeMap<&str, &PlannedUnit> =
            self.plan.units.iter().map(|unit| (&*unit.state_topic, unit)).collect();
        for unit in &plan.units {
            if let Some(track) = self.units.get_mut(&unit.state_topic)
                && let Some(before) = earlier.get(&*unit.state_topic)
            {
                track.continue_as(before, unit);
            }
        }
        for block in self.units.values_mut().flat_map(|unit| unit.blocks.values_mut()) {
            // A shorter interval counts from the last message.
            block.due = block.due.min(block.published.map(|at| at + plan.publication.every));
        }
        self.plan = plan;
    }

    /// Puts what is due into the outbox.
    pub fn publish(&mut self, published: &Published, clocks: &Clocks, outbox: &Outbox) {
        self.publish_to(published, clocks, &Json(outbox));
    }

    /// The same as an edge node of Sparkplug.
    pub fn publish_sparkplug(&mut self, published: &Published, clocks: &Clocks, outbox: &SparkplugOutbox) {
        self.publish_to(published, clocks, &Sparkplug(outbox));
    }

    fn publish_to(&mut self, published: &Published, clocks: &Clocks, sink: &impl Sink) {
        let clock = self.states.observe(published, clocks);
        if self.clock != Some(clock) {
            sink.set_clock(clock, self.clock.replace(clock));
        }
        let now = Moment::new(clocks.now, &clock);
        let units: BTreeMap<(&str, u8), PublishedUnit<'_>> =
            published.units().map(|unit| ((unit.bus.name(), unit.alias), unit)).collect();
        let plan = Arc::clone(&self.plan);
        for planned in &plan.units {
            // A start and a reload make the plan a moment before its units are published: until then the identifier clients
            // use may have no meter, or another.
            let unit = units.get(&(planned.bus.as_str(), planned.alias));
            let unit = unit.filter(|unit| unit.settings.id == planned.id);
            let track = self.units.entry(Arc::clone(&planned.state_topic)).or_default();
            let Some(unit) = unit else {
                if track.state.is_none() {
                    let present = Present { now, clock };
                    track.publish_state(planned, UnitState::NeverSeen, clocks.now, &present, sink);
                }
                continue;
            };
            let state = unit.state();
            let since = self.states.since(&planned.bus, planned.alias, state).unwrap_or(clocks.now);
            track.publish_state(planned, state, since, &Present { now, clock }, sink);
            sink.keep_state(planned, state, now);
            let (Some(view), Some(profile)) = (unit.view, &planned.profile) else { continue };
            let is_known = unit.profile.is_some_and(|known| Arc::ptr_eq(&known.profile, profile));
            if !state.is_answering() || !is_known {
                continue;
            }
            let timing = Timing { every: plan.publication.every, change: plan.publication.change };
            for block in &planned.blocks {
                track.publish_block(
                    planned,
                    block,
                    Source { profile, view },
                    &timing,
                    &Present { now, clock },
                    sink,
                );
            }
        }
    }
}

/// The present, and the clock that gives all times.
struct Present {
    now: Moment,
    clock: WallClock,
}

/// How often a block is published.
struct Timing {
    every: Duration,
    change: Option<f64>,
}

/// Where the values of a unit are.
#[derive(Clone, Copy)]
struct Source<'s> {
    profile: &'s Profile,
    view: &'s UnitView,
}

impl UnitTrack {
    /// Goes on after a reload.
    fn continue_as(&mut self, before: &PlannedUnit, now: &PlannedUnit) {
        if before.id != now.id {
            // Another meter by the same identifier.
            self.blocks.clear();
        }
        self.blocks.retain(|topic, _| now.blocks.iter().any(|block| block.topic == *topic));
        for (topic, track) in &mut self.blocks {
            let (before_points, points) = (before.points_of(topic), now.points_of(topic));
            track.values.retain(|name, _| {
                let is_same = |point: &&Point| point.name == *name && before_points.contains(point);
                points.iter().any(is_same)
            });
            // A new device and a new metric hold no value until the next message.
            if before.device != now.device || before_points != points {
                track.due = None;
            }
        }
    }

    fn publish_state(
        &mut self,
        planned: &PlannedUnit,
        state: UnitState,
        since: Now,
        present: &Present,
        sink: &impl Sink,
    ) {
        let since = present.clock.time_at(since);
        let before = self.state.replace((state, since));
        if before == self.state {
            return;
        }
        let is_another = before.is_none_or(|(before, _)| before != state);
        if is_another && !state.is_answering() {
            self.valid_from = Some(present.now.at.instant);
            // The first reading after the outage is published at once, and none from before it again.
            for block in self.blocks.values_mut() {
                block.due = None;
                block.values.clear();
            }
        }
        sink.put_state(planned, state, since);
    }

    fn publish_block(
        &mut self,
        unit: &PlannedUnit,
        block: &PlannedBlock,
        Source { profile, view }: Source<'_>,
        timing: &Timing,
        present: &Present,
        sink: &impl Sink,
    ) {
        let now = present.now.at.instant;
        let track = self.blocks.entry(Arc::clone(&block.topic)).or_default();
        let is_due = track.due.is_none_or(|due| due <= now);
        let may_be_sooner = timing.change.is_some()
            && track.published.is_none_or(|at| now.saturating_duration_since(at) >= SOONEST);
        if !is_due && !may_be_sooner {
            return;
        }
        let parts = parts(block, profile, view);
        let is_valid = |part: &&Part<'_>| self.valid_from.is_none_or(|from| part.block.begun.instant >= from);
        for part in parts.iter().filter(is_valid) {
            track.note(part, &decode(part, profile, view));
        }
        let points = block.points.iter().map(|place| &profile.points[*place]);
        let readings = track.readings(points, timing.change);
        let readings = match sink.batch() {
            Batch::All if is_due || readings.iter().any(|one| one.has_moved) => readings,
            Batch::All => Vec::new(),
            Batch::One => track.next(readings, is_due).into_iter().collect(),
        };
        if readings.is_empty() {
            return;
        }
        for one in readings {
            let begun = one.reading.begun;
            let is_stale = present.now.at.since(begun) > 3 * timing.every.max(block.interval);
            let age = if is_stale { Age::Stale } else { Age::Young };
            sink.put_reading(unit, block, Moment::new(begun, &present.clock), age, &one.values, now);
            track.note_published(&one, now);
        }
        let late = track.due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        // The next falls on the same grid, unless a value moved or a whole interval was missed.
        let on_grid = track.due.filter(|_| is_due && late < timing.every);
        track.due = Some(on_grid.unwrap_or(now) + timing.every);
        track.published = Some(now);
    }
}

impl BlockTrack {
    /// Remembers a reading.
    fn note(&mut self, part: &Part<'_>, values: &[(&Point, Option<Number>)]) {
        let reading = ReadingTrack { begun: part.block.begun, generation: part.block.generation };
        for (point, value) in values {
            match self.values.get_mut(&point.name) {
                // The newest was dropped from the snapshot, and an older one is left there.
                Some(before) if before.reading.key() > reading.key() => {}
                Some(before) => (before.reading, before.value) = (reading, *value),
                None => {
                    let track = ValueTrack { reading, value: *value, published: None };
                    self.values.insert(point.name.clone(), track);
                }
            }
        }
    }

    /// The last readings of these points, oldest first. A point has moved if it differs by more than this share from what
    /// was published of it.
    fn readings<'p>(
        &self,
        points: impl Iterator<Item = &'p Point>,
        share: Option<f64>,
    ) -> Vec<BlockReading<'p>> {
        let mut readings: BTreeMap<ReadingKey, BlockReading<'p>> = BTreeMap::new();
        for point in points {
            let Some(track) = self.values.get(&point.name) else { continue };
            let at = track.published.map(|published| published.at);
            let one = readings.entry(track.reading.key()).or_insert_with(|| BlockReading {
                reading: track.reading,
                values: Vec::new(),
                waiting_since: at,
                has_moved: false,
            });
            one.values.push((point, track.value));
            one.waiting_since = one.waiting_since.min(at);
            one.has_moved |= share.is_some_and(|share| track.has_moved(share));
        }
        readings.into_values().collect()
    }

    /// The reading for the one message that is due, or comes sooner: of those newer than the last that was published, the
    /// one that has waited longest, so that no part of a block keeps another from being published. Without a newer one the
    /// last is due again.
    fn next<'p>(&self, readings: Vec<BlockReading<'p>>, is_due: bool) -> Option<BlockReading<'p>> {
        let (newer, older): (Vec<_>, Vec<_>) =
            readings.into_iter().partition(|one| self.newest.is_none_or(|newest| one.reading.key() > newest));
        // Of several that wait alike, the oldest: the others may still follow it.
        let next =
            newer.into_iter().filter(|one| is_due || one.has_moved).min_by_key(|one| one.waiting_since);
        next.or_else(|| older.into_iter().find(|one| is_due && Some(one.reading.key()) == self.newest))
    }

    /// This reading was published.
    fn note_published(&mut self, one: &BlockReading<'_>, at: Instant) {
        let reading = one.reading.key();
        self.newest = self.newest.max(Some(reading));
        for (point, value) in &one.values {
            if let Some(track) = self.values.get_mut(&point.name) {
                track.published = Some(PublishedValue { at, reading, value: *value });
            }
        }
    }
}

impl ValueTrack {
    /// Whether a newer reading than the one that was published differs by more than this share.
    fn has_moved(&self, share: f64) -> bool {
        let Some(before) = self.published else { return true };
        self.reading.key() > before.reading
            && match (before.value.map(Number::to_f64), self.value.map(Number::to_f64)) {
                (Some(before), Some(now)) => (now - before).abs() > share * before.abs(),
                (before, now) => before.is_some() != now.is_some(),
            }
    }
}

impl ReadingTrack {
    fn key(&self) -> ReadingKey {
        (self.begun.instant, self.generation)
    }
}

/// Shortest time between two messages of a block because of a change.
const SOONEST: Duration = Duration::from_secs(1);
