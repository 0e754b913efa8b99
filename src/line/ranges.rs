//! The ranges of one line that are read because clients request them.
//!
//! Two origins: *demanded* ranges are blocks of a profile that are not polled, and are read as a whole from a client's
//! first read inside one; *learned* ranges come from clients' reads anywhere else. Requested ranges are kept one by
//! one, and the *merged* ranges that are read instead are derived from them, by unit and table, when something they
//! depend on has changed. A merged range that the unit does not answer in full is divided, and never prevents the
//! reading of exactly what a client requested.
//!
//! Planned ranges are in `poll.rs`. This module has no clock, no queue and no values: costs, and how clients use the
//! snapshot's blocks, are arguments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use crate::modbus::pdu::{FunctionCode, ReadRange};

use super::poll::{Due, INTERVAL_MIN};
use super::request::Source;
use super::settings::{DemandedBlock, Polling, Replies, UnitId, UnitSettings};
use super::snapshot::Block;
use super::tables::Tables;

/// How clients have used a block of the snapshot, or a part of it, since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockUse {
    /// When a client was last served from it.
    pub at: Instant,
    /// The smallest `max_age` of the clients served from it.
    pub max_age: Duration,
}

impl BlockUse {
    /// The use of a whole block; `None` if no client was served from it.
    #[must_use]
    pub(super) fn of(block: &Block) -> Option<Self> {
        Some(Self { at: block.wanted_at()?, max_age: block.wanted_age()? })
    }
}

/// Two ranges of one unit that cannot be merged and keep invalidating each other's blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The unit.
    pub unit: UnitId,
    /// The two, in the order of their addresses.
    pub ranges: [ReadRange; 2],
    /// How often within the last minute; counting stops soon after it is a conflict.
    pub times: usize,
    /// The clients that last requested them, a few at most.
    pub clients: Vec<Source>,
}

/// The demanded and learned ranges of one line.
#[derive(Debug)]
pub(super) struct RangeTable {
    limit: usize,
    units: BTreeMap<UnitId, UnitRanges>,
    undone: BTreeMap<(UnitId, RangeKey, RangeKey), VecDeque<Instant>>,
    /// When a range last found no free slot.
    full_at: Option<Instant>,
    is_changed: bool,
}

impl RangeTable {
    /// A table for at most `learn_limit` merged and active demanded ranges; zero: nothing is learned.
    #[must_use]
    pub(super) fn new(learn_limit: usize) -> Self {
        Self {
            limit: learn_limit,
            units: BTreeMap::new(),
            undone: BTreeMap::new(),
            full_at: None,
            is_changed: false,
        }
    }

    /// Sets the limit and the units, at the start and at each reload. A unit whose polling, merging and kind of replies
    /// are unchanged keeps its ranges; the ranges of any other start again, and those of a removed unit are dropped.
    pub(super) fn configure(&mut self, learn_limit: usize, units: &[UnitSettings]) {
        self.limit = learn_limit;
        let mut before = std::mem::take(&mut self.units);
        for settings in units {
            let rules = Rules::of(settings);
            let kept = before.remove(&settings.id).filter(|ranges| ranges.rules == rules);
            let mut ranges = kept.unwrap_or_else(|| UnitRanges::new(rules));
            // A lower limit is met when the merged ranges are derived again.
            ranges.mark_all_dirty();
            self.units.insert(settings.id, ranges);
        }
        while self.len() > learn_limit && self.evict(None) {}
        let known = &self.units;
        self.undone.retain(|(unit, ..), _| known.contains_key(unit));
        self.full_at = None;
        self.is_changed = true;
    }

    /// A client that accepts data as old as `max_age` requested a range outside every polled block, and the snapshot
    /// did not serve it. Call this before [`enclosing`](Self::enclosing) for the same request.
    pub(super) fn note_asked(
        &mut self,
        unit: UnitId,
        wanted: &ReadRange,
        max_age: Duration,
        now: Instant,
        source: Source,
    ) {
        if self.limit == 0 {
            return;
        }
        let Some(ranges) = self.units.get(&unit) else { return };
        if let Some(index) = ranges.demanded_around(wanted, now) {
            let has_room = ranges.demanded[index].is_active || self.make_room(now);
            let Some(ranges) = self.units.get_mut(&unit) else { return };
            let block = &mut ranges.demanded[index];
            self.is_changed |= !block.is_active && has_room;
            block.is_active = has_room;
            if block.is_denied == has_room {
                block.is_denied = !has_room;
                ranges.mark_all_dirty();
            }
            if has_room {
                ranges.demanded[index].source = Some(source.clone());
                let is_in_part = ranges.note_demanded(index, wanted, max_age, now);
                if is_in_part {
                    return;
                }
            }
        }
        let Some(ranges) = self.units.get_mut(&unit) else { return };
        self.is_changed |= ranges.note_asked(wanted, max_age, now, source);
    }

    /// The range to read instead of `wanted`: the smallest part of a demanded block around it, else the learned range
    /// that holds it, in the table in which it is read. `None`: `wanted` is read unchanged, as are ranges requested for
    /// the first time, unless a learned range already covers them.
    #[must_use]
    pub(super) fn enclosing(
        &mut self,
        unit: UnitId,
        wanted: &ReadRange,
        now: Instant,
        cost: impl Fn(UnitId, &ReadRange) -> Duration,
    ) -> Option<ReadRange> {
        if self.limit == 0 {
            return None;
        }
        self.settle(unit, now, &cost);
        self.units.get(&unit)?.enclosing(wanted, now)
    }

    /// A reading of exactly this range began.
    pub(super) fn note_begun(&mut self, unit: UnitId, range: &ReadRange, at: Instant) {
        if let Some(ranges) = self.units.get_mut(&unit) {
            ranges.note_begun(range, at);
        }
    }

    /// The unit answered this range in full.
    pub(super) fn note_read(&mut self, unit: UnitId, range: &ReadRange) {
        if let Some(ranges) = self.units.get_mut(&unit) {
            self.is_changed |= ranges.note_read(range);
        }
    }

    /// A reading of exactly this range ended without its whole answer. Exceptions 05 and 06 do not count; exceptions 02
    /// and 03 are for [`note_refused`](Self::note_refused). True if the range is read in parts, or not at all, from now
    /// on.
    pub(super) fn note_failed(&mut self, unit: UnitId, range: &ReadRange, now: Instant) -> bool {
        let is_divided = self.units.get_mut(&unit).is_some_and(|ranges| ranges.note_failed(range, now));
        self.is_changed |= is_divided;
        is_divided
    }

    /// The unit refused exactly this range with exception 02 or 03: a demanded block is divided at once; for any other
    /// range it counts as one more failure. True as with [`note_failed`](Self::note_failed).
    pub(super) fn note_refused(&mut self, unit: UnitId, range: &ReadRange, now: Instant) -> bool {
        let is_divided = self.units.get_mut(&unit).is_some_and(|ranges| ranges.note_refused(range, now));
        self.is_changed |= is_divided;
        is_divided
    }

    /// The unit is back from off-line: ranges that failed before are retried as a whole.
    pub(super) fn note_returned(&mut self, unit: UnitId) {
        if let Some(ranges) = self.units.get_mut(&unit) {
            ranges.note_returned();
        }
    }

    /// A reading of `by` invalidated the block of `of`, because no client may be served older values than before.
    pub(super) fn note_undone(&mut self, unit: UnitId, by: &ReadRange, of: &ReadRange, now: Instant) {
        let (first, second) = (range_key(by).min(range_key(of)), range_key(by).max(range_key(of)));
        let key = (unit, first, second);
        if self.undone.len() >= UNDONE_PAIRS && !self.undone.contains_key(&key) {
            let oldest = self.undone.iter().min_by_key(|(_, times)| times.back()).map(|(key, _)| *key);
            if let Some(oldest) = oldest {
                self.undone.remove(&oldest);
            }
        }
        let times = self.undone.entry(key).or_default();
        times.push_back(now);
        if times.len() > UNDONE_COUNTED {
            times.pop_front();
        }
    }

    /// The pairs of ranges that invalidated each other more than ten times within the last minute.
    pub(super) fn conflicts(&self, now: Instant) -> impl Iterator<Item = Conflict> {
        self.undone.iter().filter_map(move |((unit, first, second), times)| {
            let recent = |at: &&Instant| now.saturating_duration_since(**at) < MINUTE;
            let times = times.iter().filter(recent).count();
            let ranges = [range_at(*first), range_at(*second)];
            (times > UNDONE_TOLERATED).then(|| {
                let clients: BTreeSet<_> =
                    ranges.iter().flat_map(|range| self.sources(*unit, range)).collect();
                Conflict { unit: *unit, ranges, times, clients: clients.into_iter().collect() }
            })
        })
    }

    /// The clients that last requested the ranges within `range`, a few at most.
    #[must_use]
    pub(super) fn sources(&self, unit: UnitId, range: &ReadRange) -> Vec<Source> {
        let Some(ranges) = self.units.get(&unit) else { return Vec::new() };
        let tables = ranges.rules.tables();
        let asked = ranges.asked.iter().filter(|(_, asked)| asked.is_alive);
        let asked = asked.filter(|(key, _)| tables.part(range, &range_at(**key)).is_some());
        let demanded =
            ranges.demanded.iter().filter(|block| tables.part(&block.block.range, range).is_some());
        let sources = asked
            .map(|(_, asked)| asked.source.clone())
            .chain(demanded.filter_map(|block| block.source.clone()));
        sources.collect::<BTreeSet<_>>().into_iter().take(SOURCES_NAMED).collect()
    }

    /// A range to be read again now; of several, the one whose data expires first. `block_use(unit, range, part)` is
    /// the use of `part` that the snapshot recorded for the block of exactly `range`, or of the whole block where it
    /// does not distinguish parts.
    #[must_use]
    pub(super) fn due(
        &mut self,
        now: Instant,
        usable: impl Fn(UnitId) -> bool,
        cost: impl Fn(UnitId, &ReadRange) -> Duration,
        block_use: impl Fn(UnitId, &ReadRange, &ReadRange) -> Option<BlockUse>,
    ) -> Option<Due> {
        self.forget_unused(now, &block_use);
        loop {
            let usable = self.units.iter().filter(|(unit, _)| usable(**unit));
            let due = usable.flat_map(|(unit, ranges)| ranges.due(now).map(|(at, key)| (at, *unit, key)));
            let (_, unit, key) = due.min()?;
            if let Some(range) = self.decide(unit, key, now, &cost, &block_use) {
                return Some(Due { unit, range });
            }
        }
    }

    /// When [`due`](Self::due) will have something to decide.
    #[must_use]
    pub(super) fn next_due(&self, usable: impl Fn(UnitId) -> bool) -> Option<Instant> {
        self.units.iter().filter(|(unit, _)| usable(**unit)).filter_map(|(_, ranges)| ranges.next_due()).min()
    }

    /// Forgets ranges no client has used for ten minutes, or for its `max_age` where that is longer. [`due`](Self::due)
    /// does this too; a line without background reading calls it by itself from time to time.
    pub(super) fn forget_unused(
        &mut self,
        now: Instant,
        block_use: impl Fn(UnitId, &ReadRange, &ReadRange) -> Option<BlockUse>,
    ) {
        for (unit, ranges) in &mut self.units {
            if ranges.forget_at.is_some_and(|at| at <= now) {
                self.is_changed |= ranges.forget_unused(now, |range, part| block_use(*unit, range, part));
            }
        }
    }

    /// Whether [`demand`](Self::demand) may have changed since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// The share of line time needed to refresh the ranges in use, where a reading costs `cost`.
    #[must_use]
    pub(super) fn demand(&self, cost: impl Fn(UnitId, &ReadRange) -> Duration) -> f64 {
        let all = self.units.iter().flat_map(|(unit, ranges)| {
            ranges.readings.iter().map(move |(key, reading)| (*unit, range_at(*key), reading))
        });
        all.filter(|(.., reading)| reading.is_refreshed)
            .map(|(unit, range, reading)| load(cost(unit, &range), rate(reading.age.max_age)))
            .sum()
    }

    /// Whether the block of exactly this range is worth keeping: an active part of a demanded block, a merged range, or
    /// a requested one.
    #[must_use]
    pub(super) fn contains(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.units.get(&unit).is_some_and(|ranges| ranges.contains(range_key(range)))
    }

    /// The range under which these values are kept, if a mirrored table was requested.
    #[must_use]
    pub(super) fn canonical_range(&self, unit: UnitId, range: &ReadRange) -> Option<ReadRange> {
        let ranges = self.units.get(&unit)?;
        let own = ranges.own_name(range);
        ranges.contains(range_key(&own)).then_some(own)
    }

    /// Number of learned ranges and active demanded blocks, to which the limit applies together.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.units.values().map(UnitRanges::len).sum()
    }

    /// Whether a range found no free slot within the last minute.
    #[must_use]
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at.is_some_and(|at| now.saturating_duration_since(at) < MINUTE)
    }

    /// Decides, once for each reading, whether the range is read again, and as part of which range.
    fn decide(
        &mut self,
        unit: UnitId,
        at: RangeKey,
        now: Instant,
        cost: &impl Fn(UnitId, &ReadRange) -> Duration,
        block_use: &impl Fn(UnitId, &ReadRange, &ReadRange) -> Option<BlockUse>,
    ) -> Option<ReadRange> {
        let ranges = self.units.get_mut(&unit)?;
        let reading = ranges.readings.get(&at)?;
        let (held_in, begun) = (reading.held_in, reading.begun);
        let before = (reading.is_refreshed, reading.age.max_age);
        let used = block_use(unit, &held_in, &held_in).filter(|used| Some(used.at) >= begun);
        ranges.update(at, |reading| {
            // Clients that read less often than the range would be refreshed may use it just before its data expires.
            let is_last = used.is_some() || reading.is_last_look;
            (reading.is_decided, reading.is_last_look, reading.is_refreshed) = (is_last, !is_last, false);
            if let Some(used) = used {
                reading.used_at = reading.used_at.max(used.at);
                reading.age.note(used.max_age, now);
            }
        });
        let decided = used.and_then(|_| self.refresh(unit, at, (held_in, begun), now, cost, block_use));
        let after = self.units.get(&unit).and_then(|ranges| ranges.readings.get(&at));
        let after = after.map(|reading| (reading.is_refreshed, reading.age.max_age));
        self.is_changed |= Some(before) != after || decided.is_some_and(|range| range_key(&range) != at);
        decided
    }

    /// The range to read again because the block of `held_in`, whose reading began at `begun`, is in use.
    fn refresh(
        &mut self,
        unit: UnitId,
        at: RangeKey,
        (held_in, begun): (ReadRange, Option<Instant>),
        now: Instant,
        cost: &impl Fn(UnitId, &ReadRange) -> Duration,
        block_use: &impl Fn(UnitId, &ReadRange, &ReadRange) -> Option<BlockUse>,
    ) -> Option<ReadRange> {
        let ranges = self.units.get_mut(&unit)?;
        ranges.note_members_used(at, |part| block_use(unit, &held_in, part), now);
        if let Some(demanded) = ranges.refresh_demanded(at, now) {
            return demanded;
        }
        if let Some(whole) = ranges.try_whole_around(at, now) {
            return Some(whole);
        }
        ranges.note_used_again(at);
        self.settle(unit, now, cost);
        self.units.get_mut(&unit)?.refresh_learned(at, begun)
    }

    /// Derives the merged ranges of a unit anew where they may have changed, and assigns slots to the learned ones,
    /// first to those that had one before.
    fn settle(&mut self, unit: UnitId, now: Instant, cost: &impl Fn(UnitId, &ReadRange) -> Duration) {
        let Some(ranges) = self.units.get_mut(&unit) else { return };
        let cost = |range: &ReadRange| cost(unit, range);
        let mut wanting = ranges.derive(now, cost);
        if wanting.is_empty() {
            return;
        }
        self.is_changed = true;
        wanting.sort();
        for (_, key) in wanting {
            if !self.make_room(now) {
                break;
            }
            if let Some(merged) = self.units.get_mut(&unit).and_then(|ranges| ranges.merged_mut(key)) {
                merged.is_learned = true;
            }
        }
    }

    /// Frees a slot for one more range, if need be by evicting the one unused for longest. False, with the time
    /// recorded, if all are in use.
    fn make_room(&mut self, now: Instant) -> bool {
        let has_room = self.len() < self.limit || self.evict(Some(now));
        if !has_room {
            self.full_at = Some(now);
        }
        has_room
    }

    /// Evicts the range unused for longest; only one that is not in use, if `now` is given.
    fn evict(&mut self, now: Option<Instant>) -> bool {
        let all = self.units.iter().flat_map(|(unit, ranges)| {
            ranges.occupants().map(move |(used_at, age, key)| (used_at, *unit, key, age))
        });
        let spare = all.filter(|(used_at, .., age)| !now.is_some_and(|now| is_in_use(*used_at, *age, now)));
        let Some((_, unit, key, _)) = spare.min() else { return false };
        self.is_changed = true;
        if let Some(ranges) = self.units.get_mut(&unit) {
            ranges.evict(key);
        }
        true
    }
}

/// A range as a key, in the order of tables and addresses.
type RangeKey = (FunctionCode, u16, u16);

/// The settings of a unit that matter here; its polled blocks do not.
#[derive(Debug, PartialEq)]
struct Rules {
    merge_gap: Option<u16>,
    max_read: u16,
    replies: Replies,
    polling: Polling,
}

impl Rules {
    fn of(settings: &UnitSettings) -> Self {
        Self {
            merge_gap: settings.merge_gap,
            max_read: settings.max_read,
            replies: settings.replies,
            polling: Polling { blocks: Vec::new(), ..settings.polling.clone() },
        }
    }

    fn tables(&self) -> Tables {
        self.polling.tables()
    }

    /// Whether a block must not be cut before this register.
    fn is_uncut(&self, function: FunctionCode, at: u16) -> bool {
        let asked = ReadRange { function, start: at, quantity: 1 };
        let mut uncut = self.polling.uncut.iter().filter(|(_, address)| *address == at);
        uncut.any(|(own, _)| self.tables().are_same(&asked, &ReadRange { function: *own, ..asked }))
    }

    /// Cuts `range` in two: at the edge of its core where that lies inside, else as near the middle as values allow.
    fn cut(&self, range: &ReadRange, core: Option<ReadRange>) -> Option<[ReadRange; 2]> {
        let is_allowed = |at: &u16| {
            (1..range.quantity).contains(at) && !self.is_uncut(range.function, range.start.wrapping_add(*at))
        };
        let core = core.filter(|core| core.function == range.function);
        let edges =
            core.into_iter().flat_map(|core| [core.start.checked_add(core.quantity), Some(core.start)]);
        let edge = edges.flatten().filter_map(|edge| edge.checked_sub(range.start)).find(is_allowed);
        let middle = range.quantity / 2;
        let nearest = || (1..range.quantity).filter(is_allowed).min_by_key(|at| at.abs_diff(middle));
        let at = edge.or_else(nearest)?;
        let first = ReadRange { quantity: at, ..*range };
        let second = ReadRange { start: range.start + at, quantity: range.quantity - at, ..*range };
        Some([first, second])
    }
}

/// The ranges of one unit.
#[derive(Debug)]
struct UnitRanges {
    rules: Rules,
    demanded: Vec<Demanded>,
    asked: BTreeMap<RangeKey, RequestedRange>,
    tables: BTreeMap<FunctionCode, MergedTable>,
    /// The readings of each demanded part, merged range and requested range.
    readings: BTreeMap<RangeKey, ReadingState>,
    /// When to decide on which reading.
    agenda: BTreeSet<(Instant, RangeKey)>,
    /// Ranges that are no longer read, but whose blocks show whether their replacement is in use.
    replaced: BTreeSet<RangeKey>,
    /// Before this instant, no range has been unused long enough to be forgotten.
    forget_at: Option<Instant>,
}

/// A block of the profile that is read as a whole once a client has requested a part of it.
#[derive(Debug)]
struct Demanded {
    block: DemandedBlock,
    is_active: bool,
    /// Whether it found no free slot, so that clients' own ranges are read.
    is_denied: bool,
    source: Option<Source>,
    division: Option<DemandedParts>,
}

/// How a demanded block is read that the unit does not answer in full.
#[derive(Debug)]
struct DemandedParts {
    /// What is read; empty: nothing.
    parts: Vec<ReadRange>,
    /// When the whole is to be retried; `None`: at once.
    retry_at: Option<Instant>,
    /// From a failed retry to the next.
    pause: Duration,
    /// Whether a retry is under way.
    is_tried: bool,
}

/// A requested range.
#[derive(Debug)]
struct RequestedRange {
    /// Number of requests, since it was last forgotten.
    times: u32,
    /// Whether it was used recently enough not to be forgotten.
    is_alive: bool,
    used_at: Instant,
    age: Age,
    source: Source,
    /// The merged range that holds it, as last derived.
    merged: Option<RangeKey>,
}

/// The merged ranges of one table.
#[derive(Debug, Default)]
struct MergedTable {
    /// In the order of their addresses.
    merged: Vec<Merged>,
    /// Addresses across which nothing is joined for now, and until when.
    cuts: BTreeMap<u16, Instant>,
    is_dirty: bool,
}

/// A range that is read instead of its members.
#[derive(Debug)]
struct Merged {
    range: ReadRange,
    members: Vec<RangeKey>,
    /// Whether it is read as a whole; else each member is a candidate.
    is_learned: bool,
}

/// The readings of one range.
#[derive(Debug)]
struct ReadingState {
    /// When the last one began.
    begun: Option<Instant>,
    /// The range of that reading, if a different one was read before this one replaced it.
    held_in: ReadRange,
    /// Whether the next reading has been decided.
    is_decided: bool,
    /// Whether it was unused when it was due for a refresh, and is checked once more.
    is_last_look: bool,
    /// Whether the decision was to read it again.
    is_refreshed: bool,
    used_at: Instant,
    age: Age,
    /// Consecutive failures.
    failures: u32,
    /// Whether it was ever answered in full.
    was_read: bool,
}

/// The smallest `max_age` with which a range is used.
#[derive(Clone, Copy, Debug)]
struct Age {
    max_age: Duration,
    noted_at: Instant,
}

impl UnitRanges {
    fn new(rules: Rules) -> Self {
        let demanded = rules.polling.demanded.iter().map(|block| Demanded {
            block: *block,
            is_active: false,
            is_denied: false,
            source: None,
            division: None,
        });
        Self {
            demanded: demanded.collect(),
            rules,
            asked: BTreeMap::new(),
            tables: BTreeMap::new(),
            readings: BTreeMap::new(),
            agenda: BTreeSet::new(),
            replaced: BTreeSet::new(),
            forget_at: None,
        }
    }

    /// The range under which the values of `range` are kept: a demanded range if there is one, and holding registers
    /// where input registers repeat them.
    fn own_name(&self, range: &ReadRange) -> ReadRange {
        let tables = self.rules.tables();
        let demanded = self.demanded.iter().flat_map(Demanded::ranges);
        let holding = ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, ..*range };
        let mut same = demanded.filter(|own| tables.are_same(range, own));
        same.next().copied().unwrap_or_else(|| tables.in_table_of(range, &holding))
    }

    fn contains(&self, at: RangeKey) -> bool {
        let is_part =
            |block: &Demanded| block.is_active && block.ranges().any(|range| range_key(range) == at);
        self.asked.get(&at).is_some_and(|asked| asked.is_alive)
            || self.merged(at).is_some_and(|merged| merged.is_learned)
            || self.replaced.contains(&at)
            || self.demanded.iter().any(is_part)
    }

    fn len(&self) -> usize {
        let learned = self.tables.values().flat_map(|table| &table.merged);
        learned.filter(|merged| merged.is_learned).count()
            + self.demanded.iter().filter(|block| block.is_active).count()
    }

    fn merged(&self, at: RangeKey) -> Option<&Merged> {
        let merged = &self.tables.get(&at.0)?.merged;
        merged.get(merged.binary_search_by_key(&at, |merged| range_key(&merged.range)).ok()?)
    }

    fn merged_mut(&mut self, at: RangeKey) -> Option<&mut Merged> {
        let merged = &mut self.tables.get_mut(&at.0)?.merged;
        let index = merged.binary_search_by_key(&at, |merged| range_key(&merged.range)).ok()?;
        merged.get_mut(index)
    }

    fn mark_dirty(&mut self, function: FunctionCode) {
        self.tables.entry(function).or_default().is_dirty = true;
    }

    fn mark_all_dirty(&mut self) {
        self.tables.values_mut().for_each(|table| table.is_dirty = true);
    }

    /// Changes the state of the readings of a range, and with it when to decide on the next.
    fn update(&mut self, at: RangeKey, change: impl FnOnce(&mut ReadingState)) {
        let Some(reading) = self.readings.get_mut(&at) else { return };
        if let Some(due) = reading.refresh_at() {
            self.agenda.remove(&(due, at));
        }
        change(reading);
        if let Some(due) = reading.refresh_at() {
            self.agenda.insert((due, at));
        }
    }

    /// Starts tracking the readings of a range, unless they are tracked already.
    fn track(&mut self, range: ReadRange, age: Age, used_at: Instant) {
        self.readings.entry(range_key(&range)).or_insert_with(|| ReadingState::new(range, age, used_at));
    }

    fn untrack(&mut self, at: RangeKey) {
        if let Some(due) = self.readings.remove(&at).and_then(|reading| reading.refresh_at()) {
            self.agenda.remove(&(due, at));
        }
    }

    fn list_replaced(&mut self) {
        let replaced = self.readings.iter().filter(|(at, reading)| range_key(&reading.held_in) != **at);
        self.replaced = replaced.map(|(_, reading)| range_key(&reading.held_in)).collect();
    }

    fn next_due(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// The readings to decide on now, and when the data of the last one expires.
    fn due(&self, now: Instant) -> impl Iterator<Item = (Instant, RangeKey)> {
        self.agenda.iter().take_while(move |(due, _)| *due <= now).filter_map(|(_, at)| {
            let reading = self.readings.get(at)?;
            Some((reading.begun? + reading.age.max_age, *at))
        })
    }

    /// An active demanded block, whole or divided, around `wanted`.
    fn demanded_around(&self, wanted: &ReadRange, now: Instant) -> Option<usize> {
        let tables = self.rules.tables();
        let smallest = |block: &Demanded| {
            let around = block.current(now).filter(|range| tables.part(range, wanted).is_some());
            around.map(|range| range.quantity).min()
        };
        let around =
            self.demanded.iter().enumerate().filter_map(|(index, block)| Some((smallest(block)?, index)));
        around.min().map(|(_, index)| index)
    }

    /// A client requested a part of a demanded block. True if it lies inside one of the block's parts, false if only
    /// the retry of the whole holds it.
    fn note_demanded(&mut self, index: usize, wanted: &ReadRange, max_age: Duration, now: Instant) -> bool {
        let tables = self.rules.tables();
        let all: Vec<_> = self.demanded[index].ranges().copied().collect();
        for range in &all {
            self.track(*range, Age::new(max_age, now), now);
        }
        let whole = self.demanded[index].block.range;
        let parts: Vec<_> = self.demanded[index].parts().to_vec();
        let around = parts.iter().filter(|part| tables.part(part, wanted).is_some());
        let around: Vec<_> = around.map(range_key).collect();
        for at in around.iter().copied().chain([range_key(&whole)]) {
            self.update(at, |reading| reading.note_asked(max_age, now));
        }
        self.note_forget_at(now);
        !around.is_empty()
    }

    /// A client requested a range. True if the set of refreshed ranges may have changed.
    fn note_asked(&mut self, wanted: &ReadRange, max_age: Duration, now: Instant, source: Source) -> bool {
        let own = self.own_name(wanted);
        let at = range_key(&own);
        if self.asked.len() >= ASKED_MAX && !self.asked.contains_key(&at) {
            self.forget_longest_unused();
        }
        let fresh = || RequestedRange {
            times: 0,
            is_alive: false,
            used_at: now,
            age: Age::new(max_age, now),
            source: source.clone(),
            merged: None,
        };
        let asked = self.asked.entry(at).or_insert_with(&fresh);
        if !asked.is_alive {
            *asked = fresh();
        }
        let is_new = !asked.is_alive;
        asked.is_alive = true;
        asked.times = asked.times.saturating_add(1);
        (asked.used_at, asked.source) = (now, source);
        let is_paced_anew = asked.age.note(max_age, now);
        let wants_room = asked.times >= ASKED_TO_LEARN;
        let around = asked.merged;
        let is_learned =
            around.and_then(|around| self.merged(around)).is_some_and(|merged| merged.is_learned);
        self.track(own, Age::new(max_age, now), now);
        self.note_forget_at(now);
        for at in [Some(at), around.filter(|around| *around != at)].into_iter().flatten() {
            self.update(at, |reading| reading.note_asked(max_age, now));
        }
        let is_changed = is_new || is_paced_anew || (wants_room && !is_learned);
        if is_changed {
            self.mark_dirty(own.function);
        }
        is_changed
    }

    /// The earliest time at which a range used `now` may be forgotten.
    fn note_forget_at(&mut self, now: Instant) {
        let soonest = now + FORGET_AFTER;
        self.forget_at = Some(self.forget_at.map_or(soonest, |at| at.min(soonest)));
    }

    fn forget_longest_unused(&mut self) {
        let longest = self.asked.iter().min_by_key(|(at, asked)| (asked.used_at, **at));
        let Some(at) = longest.map(|(at, _)| *at) else { return };
        self.asked.remove(&at);
        self.mark_dirty(at.0);
        if self.merged(at).is_none() {
            self.untrack(at);
        }
    }

    /// Ranges unused for long are removed from their merged range and are no longer demanded.
    fn forget_unused(
        &mut self,
        now: Instant,
        block_use: impl Fn(&ReadRange, &ReadRange) -> Option<BlockUse>,
    ) -> bool {
        let tables = self.rules.tables();
        let mut is_changed = false;
        let mut next = None;
        let mut keep_until =
            |until: Instant| next = Some(next.map_or(until, |next: Instant| next.min(until)));
        let mut dirty = BTreeSet::new();
        for (at, asked) in self.asked.iter_mut().filter(|(_, asked)| asked.is_alive) {
            if asked.forget_at() <= now {
                let own = range_at(*at);
                let blocks = [Some(*at), asked.merged];
                let held = blocks.into_iter().flatten().filter_map(|block| self.readings.get(&block));
                let held = held.filter_map(|reading| block_use(&reading.held_in, &own));
                asked.used_at = held.map(|used| used.at).fold(asked.used_at, Instant::max);
            }
            asked.is_alive = asked.forget_at() > now;
            if asked.is_alive {
                keep_until(asked.forget_at());
            } else {
                dirty.insert(at.0);
            }
        }
        for block in self.demanded.iter_mut().filter(|block| block.is_active) {
            let until = |range: &ReadRange| {
                let reading = self.readings.get(&range_key(range))?;
                let used = block_use(&reading.held_in, &reading.held_in).map(|used| used.at);
                let used_at = used.map_or(reading.used_at, |at| at.max(reading.used_at));
                Some(used_at + FORGET_AFTER.max(reading.age.max_age))
            };
            let whole = block.block.range;
            let within = self
                .asked
                .iter()
                .filter(|(at, asked)| asked.is_alive && tables.part(&whole, &range_at(**at)).is_some());
            let asked_until = within.map(|(_, asked)| asked.forget_at()).max();
            let until = block.ranges().filter_map(until).max().max(asked_until);
            block.is_active = until.is_some_and(|until| until > now);
            if let Some(until) = until.filter(|_| block.is_active) {
                keep_until(until);
            } else {
                is_changed = true;
                for range in block.ranges() {
                    if let Some(reading) = self.readings.get_mut(&range_key(range)) {
                        reading.is_refreshed = false;
                    }
                }
            }
        }
        self.forget_at = next;
        is_changed |= !dirty.is_empty();
        dirty.into_iter().for_each(|function| self.mark_dirty(function));
        is_changed
    }

    fn enclosing(&self, wanted: &ReadRange, now: Instant) -> Option<ReadRange> {
        let tables = self.rules.tables();
        let open = self.demanded.iter().filter(|block| !block.is_denied);
        let around = open.flat_map(|block| block.current(now));
        let around = around.filter(|range| tables.part(range, wanted).is_some());
        if let Some(part) = around.min_by_key(|range| range.quantity) {
            return Some(*part);
        }
        let own = self.own_name(wanted);
        let at = range_key(&own);
        let Some(asked) = self.asked.get(&at).filter(|asked| asked.is_alive) else {
            return self.smallest_learned(&own, None);
        };
        // A range that the unit did not answer is read exactly as the client requests it, in its table.
        if self.readings.get(&at).is_some_and(ReadingState::is_excluded) {
            return None;
        }
        let gap = u32::from(self.rules.merge_gap.unwrap_or(0));
        let merged = asked.merged.and_then(|merged| self.merged(merged)).filter(|merged| merged.is_learned);
        let whole = merged
            .filter(|merged| asked.times >= ASKED_TO_LEARN || merged.reaches_around(&own, gap))
            .map(|merged| merged.range);
        whole.or_else(|| self.smallest_learned(&own, asked.merged))
    }

    /// The smallest learned range around one that is not learned itself, except for the range derived with it.
    fn smallest_learned(&self, own: &ReadRange, except: Option<RangeKey>) -> Option<ReadRange> {
        if self.rules.replies == Replies::Loose {
            return None;
        }
        let merged = &self.tables.get(&own.function)?.merged;
        let around =
            starting_near(merged, own).filter(|merged| merged.is_learned && merged.range.covers(own));
        around
            .map(|merged| merged.range)
            .filter(|range| Some(range_key(range)) != except)
            .min_by_key(|range| range.quantity)
    }

    fn note_begun(&mut self, range: &ReadRange, begun: Instant) {
        let own = self.own_name(range);
        let at = range_key(&own);
        let was_replaced = self.readings.get(&at).is_some_and(|reading| reading.held_in != own);
        self.update(at, |reading| {
            (reading.begun, reading.held_in) = (Some(begun), own);
            (reading.is_decided, reading.is_last_look) = (false, false);
        });
        if was_replaced {
            self.list_replaced();
        }
        let tried = self.demanded.iter_mut().filter(|block| block.block.range == own);
        for division in tried.filter_map(|block| block.division.as_mut()) {
            division.is_tried |= division.is_due(begun);
        }
    }

    fn note_read(&mut self, range: &ReadRange) -> bool {
        let at = range_key(&self.own_name(range));
        let was_excluded = self.readings.get(&at).is_some_and(ReadingState::is_excluded);
        self.update(at, |reading| (reading.failures, reading.was_read) = (0, true));
        if was_excluded {
            self.mark_dirty(at.0);
        }
        let whole = |block: &Demanded| range_key(&block.block.range) == at && block.division.is_some();
        let Some(index) = self.demanded.iter().position(whole) else { return was_excluded };
        let division = self.demanded[index].division.take();
        for part in division.into_iter().flat_map(|division| division.parts) {
            if let Some(reading) = self.readings.get(&range_key(&part)) {
                let (used_at, age) = (reading.used_at, reading.age);
                self.update(at, |whole| {
                    whole.used_at = whole.used_at.max(used_at);
                    whole.age = if age.max_age < whole.age.max_age { age } else { whole.age };
                });
            }
            self.untrack_unless_asked(range_key(&part));
        }
        self.list_replaced();
        self.mark_all_dirty();
        true
    }

    fn note_failed(&mut self, range: &ReadRange, now: Instant) -> bool {
        let own = self.own_name(range);
        let at = range_key(&own);
        self.update(at, |reading| reading.failures = reading.failures.saturating_add(1));
        let Some(reading) = self.readings.get(&at) else { return self.restore_division(at, now) };
        let (is_excluded, is_enough) = (reading.is_excluded(), reading.failures >= FAILURES_TO_DIVIDE);
        if self.restore_division(at, now) {
            return true;
        }
        if self.demanded.iter().any(|block| block.parts().contains(&own)) {
            return is_enough && self.divide_demanded(&own, now);
        }
        if self.asked.get(&at).is_some_and(|asked| asked.is_alive) {
            if is_excluded {
                self.mark_dirty(at.0);
            }
            return false;
        }
        is_enough && self.divide_merged(at, now)
    }

    fn note_refused(&mut self, range: &ReadRange, now: Instant) -> bool {
        let own = self.own_name(range);
        if self.demanded.iter().any(|block| block.parts().contains(&own)) {
            return self.divide_demanded(&own, now);
        }
        self.note_failed(range, now)
    }

    fn note_returned(&mut self) {
        for division in self.demanded.iter_mut().filter_map(|block| block.division.as_mut()) {
            (division.retry_at, division.is_tried, division.pause) = (None, false, RETRY_MIN);
        }
        for at in self.readings.keys().copied().collect::<Vec<_>>() {
            self.update(at, |reading| reading.failures = 0);
        }
        self.tables.values_mut().for_each(|table| table.cuts.clear());
        self.mark_all_dirty();
    }

    /// The retry of a divided block failed: it is read in its parts again.
    fn restore_division(&mut self, at: RangeKey, now: Instant) -> bool {
        let whole = |block: &&mut Demanded| range_key(&block.block.range) == at;
        let Some(block) = self.demanded.iter_mut().find(whole) else { return false };
        let Some(division) = &mut block.division else { return false };
        if !division.is_due(now) && !division.is_tried {
            return false;
        }
        division.pause =
            if division.retry_at.is_some() { (division.pause * 2).min(RETRY_MAX) } else { RETRY_MIN };
        (division.retry_at, division.is_tried) = (Some(now + division.pause), false);
        for part in division.parts.clone() {
            self.update(range_key(&part), |reading| reading.is_decided = false);
        }
        true
    }

    /// Divides a demanded block, or a part of one, in two, or drops it if it cannot be cut.
    fn divide_demanded(&mut self, part: &ReadRange, now: Instant) -> bool {
        let Some(block) = self.demanded.iter_mut().find(|block| block.parts().contains(part)) else {
            return false;
        };
        let halves = self.rules.cut(part, block.block.core);
        let division = block.division.get_or_insert_with(|| DemandedParts {
            parts: vec![block.block.range],
            retry_at: Some(now + RETRY_MIN),
            pause: RETRY_MIN,
            is_tried: false,
        });
        division.parts.retain(|other| other != part);
        division.parts.extend(halves.into_iter().flatten());
        division.parts.sort_by_key(range_key);
        let is_whole = block.block.range == *part;
        let before = self
            .readings
            .get(&range_key(part))
            .map(|before| (before.begun, before.held_in, before.is_decided, before.age, before.used_at));
        if let Some((begun, held_in, is_decided, age, used_at)) = before {
            for half in halves.into_iter().flatten() {
                self.track(half, age, used_at);
                // Whether the block of the whole is in use decides on the first reading of its halves.
                self.update(range_key(&half), |reading| {
                    (reading.begun, reading.held_in, reading.is_decided) = (begun, held_in, is_decided);
                });
            }
        }
        if is_whole {
            self.update(range_key(part), |reading| {
                (reading.failures, reading.is_decided, reading.is_refreshed) = (0, true, false);
            });
        } else {
            self.untrack_unless_asked(range_key(part));
        }
        self.list_replaced();
        self.mark_all_dirty();
        true
    }

    /// Divides a merged range at the join nearest its middle, which is not made again for a while.
    fn divide_merged(&mut self, at: RangeKey, now: Instant) -> bool {
        let Some(merged) = self.merged(at) else { return false };
        let (range, function) = (merged.range, merged.range.function);
        let middle = range.start + range.quantity / 2;
        let crosses = |join: u16| {
            let mut members = merged.members.iter().map(|member| range_at(*member));
            members.any(|member| member.start < join && end(&member) > u32::from(join))
        };
        let joins: BTreeSet<u16> =
            merged.members.iter().map(|member| member.1).filter(|at| *at > range.start).collect();
        let rank =
            |join: &u16| (self.rules.is_uncut(function, *join), crosses(*join), join.abs_diff(middle), *join);
        let Some(join) = joins.into_iter().min_by_key(rank) else { return false };
        let table = self.tables.entry(function).or_default();
        table.cuts.insert(join, now + JOIN_AGAIN_AFTER);
        table.is_dirty = true;
        true
    }

    fn untrack_unless_asked(&mut self, at: RangeKey) {
        let is_demanded = self.demanded.iter().flat_map(Demanded::ranges).any(|range| range_key(range) == at);
        if !is_demanded && !self.asked.contains_key(&at) && self.merged(at).is_none() {
            self.untrack(at);
        }
    }

    /// Clients were served from the block of `at`: the requested ranges that lie in it are in use. `used` is the use of
    /// one of them.
    fn note_members_used(
        &mut self,
        at: RangeKey,
        used: impl Fn(&ReadRange) -> Option<BlockUse>,
        now: Instant,
    ) {
        let age = self.readings.get(&at).map(|reading| reading.age.max_age);
        let members = self.merged(at).map(|merged| merged.members.clone()).unwrap_or_else(|| vec![at]);
        for member in members {
            let Some(asked) = self.asked.get_mut(&member) else { continue };
            if let Some(used) = used(&range_at(member)) {
                asked.used_at = asked.used_at.max(used.at);
            }
            // No client uses the whole with so small an age any more, so none uses a part of it.
            if let Some(age) = age.filter(|age| *age > asked.age.max_age) {
                asked.age = Age::new(age, now);
                self.tables.entry(member.0).or_default().is_dirty = true;
            }
        }
    }

    /// A part of a demanded block is read again, or the whole of it if that is to be retried. `None` if `at` is
    /// neither; an inner `None` if it is not read again now.
    fn refresh_demanded(&mut self, at: RangeKey, now: Instant) -> Option<Option<ReadRange>> {
        let is_part = |block: &&mut Demanded| block.parts().iter().any(|part| range_key(part) == at);
        let block = self.demanded.iter_mut().find(is_part)?;
        if !block.is_active {
            return Some(None);
        }
        let mut range = range_at(at);
        let whole = block.block.range;
        if let Some(division) = block.division.as_mut().filter(|division| division.is_due(now)) {
            if division.is_tried {
                return Some(None);
            }
            (division.is_tried, range) = (true, whole);
        }
        self.update(at, |reading| reading.is_refreshed = true);
        Some(Some(range))
    }

    /// The whole of a divided demanded block that is to be retried, where a range inside it is read by itself because
    /// the unit did not answer the part that held it.
    fn try_whole_around(&mut self, at: RangeKey, now: Instant) -> Option<ReadRange> {
        let tables = self.rules.tables();
        let around = |block: &&mut Demanded| {
            block.is_active && tables.part(&block.block.range, &range_at(at)).is_some()
        };
        let block = self.demanded.iter_mut().find(around)?;
        let division =
            block.division.as_mut().filter(|division| division.is_due(now) && !division.is_tried)?;
        division.is_tried = true;
        let whole = block.block.range;
        // The range itself is read, too: the retry may fail.
        self.update(at, |reading| reading.is_decided = false);
        Some(whole)
    }

    /// A requested range was used again without a new request, which may make it a learned one.
    fn note_used_again(&mut self, at: RangeKey) {
        let Some(asked) = self.asked.get_mut(&at).filter(|asked| asked.is_alive) else { return };
        asked.times = asked.times.saturating_add(1);
        let around = asked.merged;
        if !around.and_then(|around| self.merged(around)).is_some_and(|merged| merged.is_learned) {
            self.mark_dirty(at.0);
        }
    }

    /// The learned range to read again because the reading of `at`, begun at `begun`, is in use.
    fn refresh_learned(&mut self, at: RangeKey, begun: Option<Instant>) -> Option<ReadRange> {
        let around = match self.asked.get(&at) {
            Some(asked) => asked.merged?,
            None => at,
        };
        let merged = self.merged(around).filter(|merged| merged.is_learned)?;
        let range = merged.range;
        let reading = self.readings.get(&around)?;
        let is_at_hand = reading.begun > begun || (reading.is_decided && reading.is_refreshed);
        if around != at && is_at_hand {
            return None;
        }
        self.update(around, |reading| (reading.is_decided, reading.is_refreshed) = (true, true));
        Some(range)
    }

    /// The ranges that occupy slots: when last used, with which age, and which.
    fn occupants(&self) -> impl Iterator<Item = (Instant, Duration, RangeKey)> {
        let demanded = self.demanded.iter().filter(|block| block.is_active).filter_map(|block| {
            let readings = block.ranges().filter_map(|range| self.readings.get(&range_key(range)));
            let used = readings.map(|reading| (reading.used_at, reading.age.max_age)).max()?;
            Some((used.0, used.1, range_key(&block.block.range)))
        });
        let merged = self.tables.values().flat_map(|table| &table.merged);
        let learned = merged.filter(|merged| merged.is_learned).filter_map(|merged| {
            let at = range_key(&merged.range);
            let reading = self.readings.get(&at)?;
            Some((reading.used_at, reading.age.max_age, at))
        });
        demanded.chain(learned)
    }

    /// Frees the slot of a learned range, whose members become candidates again, or of a demanded block.
    fn evict(&mut self, at: RangeKey) {
        let ranges =
            self.demanded.iter_mut().find(|block| block.is_active && range_key(&block.block.range) == at);
        let mut gone = vec![at];
        if let Some(block) = ranges {
            block.is_active = false;
            gone.extend(block.ranges().map(range_key));
        } else if let Some(merged) = self.merged_mut(at) {
            merged.is_learned = false;
            for member in merged.members.clone() {
                if let Some(asked) = self.asked.get_mut(&member) {
                    asked.times = asked.times.min(ASKED_TO_LEARN - 1);
                }
            }
        }
        gone.into_iter().for_each(|at| self.update(at, |reading| reading.is_refreshed = false));
    }

    /// Derives the merged ranges of the tables where they may have changed. Returns those that want a slot, with
    /// whether they lacked one before.
    fn derive(&mut self, now: Instant, cost: impl Fn(&ReadRange) -> Duration) -> Vec<(bool, RangeKey)> {
        let stale = |table: &MergedTable| table.is_dirty || table.cuts.values().any(|until| *until <= now);
        let stale = self.tables.iter().filter(|(_, table)| stale(table)).map(|(function, _)| *function);
        let mut wanting = Vec::new();
        for function in stale.collect::<Vec<_>>() {
            wanting.extend(self.derive_table(function, now, &cost));
        }
        wanting
    }

    fn derive_table(
        &mut self,
        function: FunctionCode,
        now: Instant,
        cost: impl Fn(&ReadRange) -> Duration,
    ) -> Vec<(bool, RangeKey)> {
        let mut spans = self.spans(function, now, cost);
        spans.sort_by_key(|span| range_key(&span.range));
        let table = self.tables.entry(function).or_default();
        table.is_dirty = false;
        let before = std::mem::take(&mut table.merged);
        let members = (function, 0, 0)..=(function, u16::MAX, u16::MAX);
        let mut had_room = BTreeSet::new();
        for (at, asked) in self.asked.range_mut(members) {
            let around = asked.merged.take();
            let was = before.binary_search_by_key(&around, |merged| Some(range_key(&merged.range)));
            if was.is_ok_and(|index| before[index].is_learned) {
                had_room.insert(*at);
            }
        }
        let mut wanting = Vec::new();
        for span in spans {
            let at = range_key(&span.range);
            self.begin_merged(&span, &before, now);
            let mut wants_room = false;
            for member in &span.members {
                let Some(asked) = self.asked.get_mut(member) else { continue };
                asked.merged = Some(at);
                // A range the unit refuses is not read for other clients either.
                let is_excluded = self.readings.get(member).is_some_and(ReadingState::is_excluded);
                wants_room |= asked.times >= ASKED_TO_LEARN && !is_excluded;
            }
            if wants_room {
                wanting.push((!span.members.iter().any(|member| had_room.contains(member)), at));
            }
            let merged = Merged { range: span.range, members: span.members, is_learned: false };
            self.tables.entry(function).or_default().merged.push(merged);
        }
        for gone in before {
            let at = range_key(&gone.range);
            self.untrack_unless_asked(at);
        }
        self.list_replaced();
        wanting
    }

    /// The requested ranges of one table, joined where that is allowed and saves line time.
    fn spans(
        &mut self,
        function: FunctionCode,
        now: Instant,
        cost: impl Fn(&ReadRange) -> Duration,
    ) -> Vec<JoinedRange> {
        let table = self.tables.entry(function).or_default();
        table.cuts.retain(|_, until| *until > now);
        let tables = self.rules.tables();
        let parts = self.demanded.iter().filter(|block| !block.is_denied).flat_map(Demanded::parts);
        let parts: Vec<_> = parts.collect();
        let (mut apart, mut joinable) = (Vec::new(), Vec::new());
        for (at, asked) in self.asked.range((function, 0, 0)..=(function, u16::MAX, u16::MAX)) {
            let range = range_at(*at);
            if !asked.is_alive || parts.iter().any(|part| tables.part(part, &range).is_some()) {
                continue;
            }
            let is_excluded = self.readings.get(at).is_some_and(ReadingState::is_excluded);
            let is_apart = is_excluded || self.rules.replies == Replies::Loose;
            let span = JoinedRange { range, rate: rate(asked.age.max_age), members: vec![*at] };
            if is_apart { apart.push(span) } else { joinable.push(span) }
        }
        let bits = if is_bits(function) { BITS_PER_REGISTER } else { 1 };
        let rules = JoinRules {
            quantity_max: u32::from(self.rules.max_read) * bits,
            gap: self.rules.merge_gap.map(u32::from),
            cuts: self
                .tables
                .get(&function)
                .map(|table| table.cuts.keys().copied().collect())
                .unwrap_or_default(),
            not_given: apart.iter().map(|span| (span.range.start, span.range.quantity)).collect(),
        };
        let mut spans = rules.join(joinable, cost);
        spans.append(&mut apart);
        spans
    }

    /// Starts tracking the readings of a merged range. Until it has been read itself, the block of the learned range it
    /// grew from shows whether it is in use.
    fn begin_merged(&mut self, span: &JoinedRange, before: &[Merged], now: Instant) {
        let at = range_key(&span.range);
        let members = span.members.iter().filter_map(|member| self.asked.get(member));
        let age = members.clone().map(|asked| asked.age.max_age).min().unwrap_or(Duration::MAX);
        let used_at = members.map(|asked| asked.used_at).max().unwrap_or(now);
        let near = starting_near(before, &span.range);
        let near = near.filter(|other| other.is_learned && other.range.overlaps(&span.range));
        let near = near.filter_map(|other| self.readings.get(&range_key(&other.range)));
        let grown_from = near
            .max_by_key(|reading| reading.begun)
            .map(|reading| (reading.begun, reading.held_in, reading.is_decided, reading.is_refreshed));
        self.track(span.range, Age::new(age, now), used_at);
        self.update(at, |reading| {
            reading.used_at = reading.used_at.max(used_at);
            if age < reading.age.max_age {
                reading.age = Age::new(age, now);
            }
            if let Some(grown_from) = grown_from.filter(|grown_from| grown_from.0 > reading.begun) {
                (reading.begun, reading.held_in, reading.is_decided, reading.is_refreshed) = grown_from;
            }
        });
    }
}

impl Demanded {
    /// The whole, and its parts if it is divided.
    fn ranges(&self) -> impl Iterator<Item = &ReadRange> {
        let parts = self.division.iter().flat_map(|division| &division.parts);
        parts.chain(std::iter::once(&self.block.range))
    }

    /// The ranges that are read, apart from retries of the whole.
    fn parts(&self) -> &[ReadRange] {
        self.division.as_ref().map_or(std::slice::from_ref(&self.block.range), |division| &division.parts)
    }

    /// The ranges that are read now: the whole while that is to be retried.
    fn current(&self, now: Instant) -> impl Iterator<Item = &ReadRange> {
        let is_tried = self.division.as_ref().is_some_and(|division| division.is_due(now));
        let current = if is_tried { std::slice::from_ref(&self.block.range) } else { self.parts() };
        current.iter()
    }
}

impl DemandedParts {
    fn is_due(&self, now: Instant) -> bool {
        self.retry_at.is_none_or(|at| at <= now)
    }
}

impl RequestedRange {
    fn forget_at(&self) -> Instant {
        self.used_at + FORGET_AFTER.max(self.age.max_age)
    }
}

impl Merged {
    /// Whether it would hold `own` if that were not one of its members.
    fn reaches_around(&self, own: &ReadRange, gap: u32) -> bool {
        let others = self.members.iter().map(|member| range_at(*member)).filter(|member| member != own);
        let ahead =
            others.clone().filter(|member| member.start <= own.start).map(|member| end(&member)).max();
        let Some(ahead) = ahead else { return false };
        let reach = others.clone().map(|member| end(&member)).max().unwrap_or(0);
        let mut behind = others.filter(|member| member.start > own.start);
        ahead >= end(own)
            || (reach >= end(own) && behind.any(|member| u32::from(member.start) <= ahead + gap))
    }
}

impl ReadingState {
    fn new(range: ReadRange, age: Age, used_at: Instant) -> Self {
        Self {
            begun: None,
            held_in: range,
            is_decided: true,
            is_last_look: false,
            is_refreshed: false,
            used_at,
            age,
            failures: 0,
            was_read: false,
        }
    }

    fn note_asked(&mut self, max_age: Duration, now: Instant) {
        self.used_at = self.used_at.max(now);
        self.age.note(max_age, now);
    }

    /// Shortly before the data of the last reading expires, leaving time for the line; if it was not in use then, when
    /// it expires. `None` once that has been decided, if the age is shorter than that, and while the unit does not
    /// answer the range.
    fn refresh_at(&self) -> Option<Instant> {
        let pace = pace(self.age.max_age);
        let is_open = !self.is_decided && pace < self.age.max_age && self.failures < FAILURES_TO_DIVIDE;
        let after = if self.is_last_look { self.age.max_age } else { pace };
        self.begun.filter(|_| is_open).map(|begun| begun + after)
    }

    /// Whether the unit is known not to answer exactly this range: it is not joined to others, which would fail with
    /// it.
    fn is_excluded(&self) -> bool {
        self.failures >= if self.was_read { FAILURES_TO_DIVIDE } else { 1 }
    }
}

impl Age {
    fn new(max_age: Duration, now: Instant) -> Self {
        Self { max_age, noted_at: now }
    }

    /// A client uses the range with this `max_age`. The smallest counts until none has used it for a while. True if
    /// that changed it.
    fn note(&mut self, max_age: Duration, now: Instant) -> bool {
        let before = self.max_age;
        let lapsed = now.saturating_duration_since(self.noted_at) > self.max_age.saturating_mul(AGE_LAPSES);
        if max_age <= self.max_age || lapsed {
            *self = Self::new(max_age, now);
        }
        before != self.max_age
    }
}

/// Requested ranges that are read as one.
#[derive(Clone, Debug)]
struct JoinedRange {
    range: ReadRange,
    /// Readings per second.
    rate: f64,
    members: Vec<RangeKey>,
}

/// What limits the joining of ranges of one table.
struct JoinRules {
    quantity_max: u32,
    /// `None`: nothing is joined.
    gap: Option<u32>,
    /// Addresses across which nothing is joined.
    cuts: BTreeSet<u16>,
    /// Start and quantity of ranges that the unit does not answer.
    not_given: BTreeSet<(u16, u16)>,
}

impl JoinRules {
    /// Joins ranges so that together they need the least line time, with as few ranges as possible.
    fn join(&self, spans: Vec<JoinedRange>, cost: impl Fn(&ReadRange) -> Duration) -> Vec<JoinedRange> {
        let spans = absorb(spans);
        let Some(gap) = self.gap else { return spans };
        let mut joined = self.divide_best(&spans, gap, &cost);
        joined.sort_by_key(|span| range_key(&span.range));
        // Neighbours with another range inside one of them are not adjacent in that order.
        while let Some((first, second, both)) = self.next_pair(&joined, gap, &cost) {
            joined.remove(second);
            joined[first] = both;
        }
        joined
    }

    /// Divides ranges, in the order of their addresses, into runs that need the least line time.
    fn divide_best(
        &self,
        spans: &[JoinedRange],
        gap: u32,
        cost: impl Fn(&ReadRange) -> Duration,
    ) -> Vec<JoinedRange> {
        // For the ranges from each on: line time, number of runs, and where the first run ends. Of equal solutions the
        // one with the longest first run is taken, so that requests further behind change little.
        let mut best = vec![(0.0, 0_usize, 0_usize); spans.len() + 1];
        for first in (0..spans.len()).rev() {
            let JoinedRange { mut range, mut rate, .. } = spans[first];
            let mut least: Option<(f64, usize, usize)> = None;
            for (last, next) in spans.iter().enumerate().skip(first) {
                if last > first {
                    let is_near = u32::from(next.range.start) <= end(&range) + gap;
                    let Some(longer) = union(&range, &next.range).filter(|_| is_near) else { break };
                    if u32::from(longer.quantity) > self.quantity_max {
                        break;
                    }
                    (range, rate) = (longer, rate.max(next.rate));
                    // Of ranges with equal starts the longest comes first.
                    if range != spans[first].range && self.is_divided(&range) {
                        continue;
                    }
                }
                let (behind, runs, _) = best[last + 1];
                let (total, runs) = (behind + load(cost(&range), rate), runs + 1);
                let is_better = least.is_none_or(|(least, fewest, _)| {
                    total < least * (1.0 - ROUNDING) || (total <= least * (1.0 + ROUNDING) && runs <= fewest)
                });
                if is_better {
                    least = Some((total, runs, last + 1));
                }
            }
            best[first] = least.unwrap_or((f64::INFINITY, 0, first + 1));
        }
        let mut joined = Vec::new();
        let mut first = 0;
        while first < spans.len() {
            let behind = best[first].2;
            let run = spans[first..behind].iter().cloned();
            joined.extend(run.reduce(|one, other| JoinedRange::both(&one, &other).unwrap_or(one)));
            first = behind;
        }
        joined
    }

    /// Two ranges that cost no more as one.
    fn next_pair(
        &self,
        spans: &[JoinedRange],
        gap: u32,
        cost: impl Fn(&ReadRange) -> Duration,
    ) -> Option<(usize, usize, JoinedRange)> {
        for (first, one) in spans.iter().enumerate() {
            let near =
                |(_, other): &(usize, &JoinedRange)| u32::from(other.range.start) <= end(&one.range) + gap;
            for (second, other) in spans.iter().enumerate().skip(first + 1).take_while(near) {
                let Some(both) = JoinedRange::both(one, other) else { continue };
                let is_member = both.members.contains(&range_key(&both.range));
                let is_long = u32::from(both.range.quantity) > self.quantity_max;
                if is_long || (!is_member && self.is_divided(&both.range)) {
                    continue;
                }
                let apart = load(cost(&one.range), one.rate) + load(cost(&other.range), other.rate);
                if load(cost(&both.range), both.rate) <= apart * (1.0 + ROUNDING) {
                    return Some((first, second, both));
                }
            }
        }
        None
    }

    /// Whether a range must not be made by joining: it has a cut inside, or holds a range that the unit does not
    /// answer.
    fn is_divided(&self, range: &ReadRange) -> bool {
        let within = |start: u16, quantity: u16| u32::from(start) + u32::from(quantity) <= end(range);
        let last = range.start + (range.quantity - 1);
        self.cuts.range(range.start..=last).any(|at| *at > range.start)
            || self
                .not_given
                .range((range.start, 0)..=(last, u16::MAX))
                .any(|(start, quantity)| within(*start, *quantity))
    }
}

impl JoinedRange {
    fn both(one: &Self, other: &Self) -> Option<Self> {
        let members = one.members.iter().chain(&other.members).copied().collect();
        Some(Self { range: union(&one.range, &other.range)?, rate: one.rate.max(other.rate), members })
    }
}

/// Those of `merged`, which are in the order of their addresses, that may reach into `range`.
fn starting_near<'a>(merged: &'a [Merged], range: &ReadRange) -> impl Iterator<Item = &'a Merged> {
    let (start, end) = (range.start, end(range));
    let ahead = &merged[..merged.partition_point(|merged| u32::from(merged.range.start) < end)];
    ahead.iter().rev().take_while(move |merged| start.saturating_sub(merged.range.start) < QUANTITY_MAX)
}

/// Removes the ranges that lie in one that is read as often anyway. The rest is in the order of starts, the longest
/// first.
fn absorb(mut spans: Vec<JoinedRange>) -> Vec<JoinedRange> {
    spans.sort_by_key(|span| (span.range.start, u16::MAX - span.range.quantity));
    let mut kept: Vec<JoinedRange> = Vec::new();
    for span in spans {
        let near =
            kept.iter_mut().rev().take_while(|other| span.range.start - other.range.start < QUANTITY_MAX);
        let mut around = near.filter(|other| other.range.covers(&span.range) && other.rate >= span.rate);
        match around.next() {
            Some(around) => around.members.extend(span.members),
            None => kept.push(span),
        }
    }
    kept
}

/// The shortest range that holds both; `None` if that is longer than a range can be.
fn union(one: &ReadRange, other: &ReadRange) -> Option<ReadRange> {
    let start = one.start.min(other.start);
    let quantity = u16::try_from(end(one).max(end(other)) - u32::from(start)).ok()?;
    Some(ReadRange { start, quantity, ..*one })
}

fn range_key(range: &ReadRange) -> RangeKey {
    (range.function, range.start, range.quantity)
}

fn range_at((function, start, quantity): RangeKey) -> ReadRange {
    ReadRange { function, start, quantity }
}

/// The address after the last one.
fn end(range: &ReadRange) -> u32 {
    u32::from(range.start) + u32::from(range.quantity)
}

fn is_bits(function: FunctionCode) -> bool {
    function == FunctionCode::READ_COILS || function == FunctionCode::READ_DISCRETE_INPUTS
}

/// Whether a range must not be evicted.
fn is_in_use(used_at: Instant, max_age: Duration, now: Instant) -> bool {
    now.saturating_duration_since(used_at) < IN_USE.max(max_age.saturating_mul(2))
}

/// Interval between readings, for clients that accept data as old as `max_age`; no shorter than a meter takes to renew
/// its values.
fn pace(max_age: Duration) -> Duration {
    let lead = (max_age / 5).max(LEAD_MIN);
    max_age.saturating_sub(lead).max(INTERVAL_MIN)
}

/// Readings per second at that interval.
fn rate(max_age: Duration) -> f64 {
    pace(max_age).as_secs_f64().recip()
}

/// The share of line time that readings at a rate need.
fn load(cost: Duration, rate: f64) -> f64 {
    cost.as_secs_f64() * rate
}

/// Number of requests after which a range is learned.
const ASKED_TO_LEARN: u32 = 2;

/// Largest number of requested ranges kept of each unit.
const ASKED_MAX: usize = 4096;

/// A range unused for this long is forgotten, unless its clients accept older data than that.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// A range used within this time, or within twice its age, is not evicted.
const IN_USE: Duration = Duration::from_secs(60);

/// Consecutive failures after which a range is divided, or no longer read in the background.
const FAILURES_TO_DIVIDE: u32 = 2;

/// How long a failed join is not repeated.
const JOIN_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// From the division of a demanded block to the first retry of the whole, and the longest pause between two.
const RETRY_MIN: Duration = Duration::from_secs(10);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// After this many times the smallest age without use at that age, a longer age counts.
const AGE_LAPSES: u32 = 3;

/// Shortest time before its data expires that a range is read again.
const LEAD_MIN: Duration = Duration::from_millis(300);

/// A read of bits may be as long as one of registers.
const BITS_PER_REGISTER: u32 = 16;

/// The longest read of the standard: coils, of which a reply holds eight in a byte (chapter 6.1).
const QUANTITY_MAX: u16 = 2000;

/// How often two ranges may invalidate each other in a minute.
const UNDONE_TOLERATED: usize = 10;

/// How many times are counted of each pair, and how many pairs.
const UNDONE_COUNTED: usize = UNDONE_TOLERATED + 10;
const UNDONE_PAIRS: usize = 64;

/// Largest number of clients listed for one range.
const SOURCES_NAMED: usize = 8;

const MINUTE: Duration = Duration::from_secs(60);

/// Tolerance for rounding in sums of line time.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    const HOLDING: FunctionCode = FunctionCode::READ_HOLDING_REGISTERS;
    const INPUT: FunctionCode = FunctionCode::READ_INPUT_REGISTERS;
    const COILS: FunctionCode = FunctionCode::READ_COILS;

    /// A table of one unit, a clock moved by hand, and the use of blocks.
    struct Line {
        table: RangeTable,
        now: Instant,
        uses: BTreeMap<RangeKey, BlockUse>,
    }

    impl Line {
        fn new(limit: usize, settings: UnitSettings) -> Self {
            let mut table = RangeTable::new(limit);
            table.configure(limit, &[settings]);
            Self { table, now: start(), uses: BTreeMap::new() }
        }

        fn ask_aged(&mut self, wanted: ReadRange, seconds: u64) -> Option<ReadRange> {
            self.table.note_asked(unit(), &wanted, secs(seconds), self.now, source());
            self.whole(wanted)
        }

        fn ask(&mut self, wanted: ReadRange) -> Option<ReadRange> {
            self.ask_aged(wanted, 5)
        }

        fn ask_twice(&mut self, wanted: ReadRange) -> Option<ReadRange> {
            self.ask(wanted);
            self.ask(wanted)
        }

        fn whole(&mut self, wanted: ReadRange) -> Option<ReadRange> {
            self.table.enclosing(unit(), &wanted, self.now, cost)
        }

        fn fail(&mut self, range: ReadRange) -> bool {
            self.table.note_begun(unit(), &range, self.now);
            self.table.note_failed(unit(), &range, self.now)
        }

        fn read(&mut self, range: ReadRange) {
            self.table.note_begun(unit(), &range, self.now);
            self.table.note_read(unit(), &range);
        }

        fn use_block(&mut self, range: ReadRange, seconds: u64) {
            self.uses.insert(range_key(&range), BlockUse { at: self.now, max_age: secs(seconds) });
        }

        fn due(&mut self) -> Option<ReadRange> {
            let uses = &self.uses;
            let block_use = |_, range: &ReadRange, _: &ReadRange| uses.get(&range_key(range)).copied();
            self.table.due(self.now, |_| true, cost, block_use).map(|due| due.range)
        }

        fn next_due(&self) -> Option<Duration> {
            self.table.next_due(|_| true).map(|at| at - self.now)
        }

        fn wait(&mut self, seconds: u64) {
            self.now += secs(seconds);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
    fn start() -> Instant {
        Instant::now()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn unit() -> UnitId {
        UnitId::new(7).unwrap()
    }

    fn source() -> Source {
        Source { address: IpAddr::from([10, 0, 0, 1]).into(), connection: 1 }
    }

    fn settings() -> UnitSettings {
        UnitSettings::new(unit(), Duration::from_millis(500))
    }

    fn range(function: FunctionCode, start: u16, quantity: u16) -> ReadRange {
        ReadRange { function, start, quantity }
    }

    fn holding(start: u16, quantity: u16) -> ReadRange {
        range(HOLDING, start, quantity)
    }

    fn cost(_: UnitId, range: &ReadRange) -> Duration {
        Duration::from_micros(15_000 + 570 * range.byte_count() as u64)
    }

    fn with_block(block: ReadRange, core: Option<ReadRange>) -> UnitSettings {
        let mut settings = settings();
        settings.polling.demanded.push(DemandedBlock { range: block, core });
        settings
    }

    #[test]
    fn what_is_asked_once_is_read_by_itself_and_the_second_asking_of_any_part_reads_the_whole() {
        let mut line = Line::new(256, settings());
        for start in (0..50).step_by(2) {
            assert_eq!(line.ask(holding(start, 2)), None);
        }
        assert_eq!(line.table.len(), 0);
        assert_eq!(line.ask(holding(24, 2)), Some(holding(0, 50)));
        assert_eq!(line.table.len(), 1);
        assert_eq!(line.whole(holding(11, 7)), Some(holding(0, 50)));
        assert_eq!(line.ask(holding(11, 7)), Some(holding(0, 50)));
        assert_eq!(line.ask(holding(50, 2)), None);
        assert_eq!(line.ask(holding(50, 2)), Some(holding(0, 52)));
    }

    #[test]
    fn ranges_apart_are_joined_across_no_more_than_the_merge_gap() {
        for (gap, apart, joined) in
            [(Some(0), 1, false), (Some(2), 2, true), (Some(2), 3, false), (None, 0, false)]
        {
            let mut line = Line::new(256, UnitSettings { merge_gap: gap, ..settings() });
            line.ask(holding(0, 4));
            let whole = line.ask_twice(holding(4 + apart, 4));
            let expected = if joined { holding(0, 8 + apart) } else { holding(4 + apart, 4) };
            assert_eq!(whole, Some(expected), "{gap:?} {apart}");
        }
    }

    #[test]
    fn a_gap_that_costs_more_than_a_reading_is_not_read() {
        let mut line = Line::new(256, UnitSettings { merge_gap: Some(32), ..settings() });
        line.ask(holding(0, 4));
        assert_eq!(line.ask_twice(holding(36, 4)), Some(holding(36, 4)));
    }

    #[test]
    fn a_merged_range_is_no_longer_than_max_read_and_sixteen_times_that_of_coils() {
        let mut line = Line::new(256, UnitSettings { max_read: 20, ..settings() });
        for start in 0..5 {
            line.ask(holding(start * 10, 10));
            line.ask(range(COILS, start * 100, 100));
        }
        assert_eq!(line.ask(holding(0, 10)).map(|whole| whole.quantity), Some(20));
        assert_eq!(line.ask(range(COILS, 0, 100)).map(|whole| whole.quantity), Some(300));
        assert_eq!(line.ask_twice(holding(100, 60)), Some(holding(100, 60)));
    }

    #[test]
    fn a_long_range_wanted_rarely_is_not_read_as_often_as_a_short_one() {
        let mut line = Line::new(256, settings());
        line.ask_aged(holding(0, 2), 2);
        line.ask_aged(holding(2, 100), 60);
        assert_eq!(line.ask_aged(holding(0, 2), 2), Some(holding(0, 2)));
        assert_eq!(line.ask_aged(holding(2, 100), 60), Some(holding(2, 100)));
        line.ask_aged(holding(2, 100), 2);
        assert_eq!(line.ask_aged(holding(0, 2), 2), Some(holding(0, 102)));
    }

    #[test]
    fn slow_points_are_joined_to_each_other_and_not_one_by_one_to_a_fast_one() {
        let mut line = Line::new(256, settings());
        line.ask_aged(holding(0, 1), 2);
        for start in 1..=50 {
            line.ask_aged(holding(start, 1), 16);
        }
        assert_eq!(line.ask_aged(holding(0, 1), 2), Some(holding(0, 1)));
        assert_eq!(line.ask_aged(holding(30, 1), 16), Some(holding(1, 50)));
    }

    #[test]
    fn a_merged_range_is_divided_after_two_failures_in_a_row_and_joined_again_after_ten_minutes() {
        let mut line = Line::new(256, settings());
        for start in 0..4 {
            line.ask_twice(holding(start * 10, 10));
            line.read(holding(start * 10, 10));
        }
        let whole = holding(0, 40);
        assert!(!line.fail(whole));
        line.read(whole);
        assert!(!line.fail(whole));
        assert!(line.fail(whole));
        assert_eq!(line.ask(holding(10, 10)), Some(holding(0, 20)));
        assert_eq!(line.ask(holding(20, 10)), Some(holding(20, 20)));
        line.wait(590);
        for start in 0..4 {
            line.ask(holding(start * 10, 10));
        }
        assert_eq!(line.whole(holding(10, 10)), Some(holding(0, 20)));
        line.wait(10);
        assert_eq!(line.whole(holding(10, 10)), Some(whole));
    }

    #[test]
    fn a_unit_that_returns_is_read_in_whole_ranges_again() {
        let mut line = Line::new(256, settings());
        line.ask(holding(0, 10));
        let whole = line.ask_twice(holding(10, 10)).unwrap();
        assert!(!line.fail(whole) && line.fail(whole));
        assert_eq!(line.ask(holding(0, 10)), Some(holding(0, 10)));
        line.table.note_returned(unit());
        assert_eq!(line.ask(holding(0, 10)), Some(whole));
    }

    #[test]
    fn a_division_cuts_no_value_where_it_can_be_helped() {
        let mut settings = settings();
        settings.polling.uncut.insert((HOLDING, 20));
        let mut line = Line::new(256, settings);
        for start in 0..4 {
            line.ask_twice(holding(start * 10, 10));
        }
        assert!(!line.fail(holding(0, 40)) && line.fail(holding(0, 40)));
        assert_eq!(line.ask(holding(10, 10)), Some(holding(10, 30)));
    }

    #[test]
    fn a_range_that_the_unit_never_gave_stays_out_of_merged_ranges_until_it_is_given() {
        let mut line = Line::new(256, UnitSettings { merge_gap: Some(4), ..settings() });
        line.ask(holding(4, 2));
        assert!(!line.fail(holding(4, 2)));
        line.ask(holding(0, 4));
        assert_eq!(line.ask_twice(holding(6, 4)), Some(holding(6, 4)));
        assert_eq!(line.ask(holding(4, 2)), None);
        line.read(holding(4, 2));
        assert_eq!(line.ask(holding(6, 4)), Some(holding(0, 10)));
    }

    #[test]
    fn a_range_asked_for_that_fails_is_not_refreshed_before_it_was_answered_again() {
        let mut line = Line::new(256, settings());
        let own = holding(0, 10);
        line.ask_twice(own);
        line.read(own);
        assert!(line.next_due().is_some());
        assert!(!line.fail(own));
        assert!(!line.fail(own));
        assert_eq!(line.next_due(), None);
        assert!(line.table.contains(unit(), &own));
        line.read(own);
        assert_eq!(line.next_due(), Some(secs(4)));
    }

    #[test]
    fn what_is_in_use_is_read_just_before_it_is_too_old_for_its_smallest_age() {
        let mut line = Line::new(256, settings());
        line.ask_aged(holding(0, 2), 30);
        let whole = line.ask_twice(holding(2, 2)).unwrap();
        line.read(whole);
        assert_eq!(line.next_due(), Some(secs(4)));
        line.wait(3);
        assert_eq!(line.due(), None);
        line.use_block(whole, 5);
        line.wait(1);
        assert_eq!(line.due(), Some(whole));
        assert_eq!(line.due(), None);
        assert!((line.table.demand(cost) - cost(unit(), &whole).as_secs_f64() / 4.0).abs() < 1e-9);
        line.read(whole);
        // No client was served from it since: it is not read again unless one is before its data expires.
        line.wait(4);
        assert!(line.table.take_changed());
        assert_eq!(line.due(), None);
        assert!(line.table.take_changed());
        assert!(line.table.demand(cost).abs() < 1e-9);
        assert_eq!(line.next_due(), Some(secs(1)));
        line.wait(1);
        assert_eq!(line.due(), None);
        assert_eq!(line.next_due(), None);
    }

    #[test]
    fn what_is_used_after_it_would_have_been_refreshed_is_read_when_it_is_too_old() {
        let mut line = Line::new(256, settings());
        let whole = line.ask_twice(holding(0, 2)).unwrap();
        line.read(whole);
        line.wait(4);
        assert_eq!(line.due(), None);
        line.use_block(whole, 5);
        assert_eq!(line.due(), None);
        line.wait(1);
        assert_eq!(line.due(), Some(whole));
        assert_eq!(line.due(), None);
    }

    #[test]
    fn a_range_that_is_read_by_itself_inside_a_divided_block_leads_to_tries_of_the_whole() {
        let block = holding(0, 2);
        let mut line = Line::new(256, with_block(block, None));
        line.ask(holding(0, 1));
        for part in [block, holding(0, 1), holding(1, 1)] {
            assert!(line.table.note_refused(unit(), &part, line.now), "{part:?}");
        }
        assert_eq!(line.ask_twice(holding(0, 1)), Some(holding(0, 1)));
        for _ in 0..2 {
            line.read(holding(0, 1));
            line.use_block(holding(0, 1), 5);
            line.wait(4);
            assert_eq!(line.due(), Some(holding(0, 1)));
        }
        line.read(holding(0, 1));
        line.use_block(holding(0, 1), 5);
        line.wait(4);
        assert_eq!(line.due(), Some(block));
        assert_eq!(line.due(), Some(holding(0, 1)), "the try may fail");
        line.read(block);
        assert_eq!(line.ask(holding(0, 1)), Some(block));
    }

    #[test]
    fn a_range_that_is_too_short_lived_to_be_refreshed_is_read_when_it_is_asked_for() {
        let mut line = Line::new(256, settings());
        let whole = holding(0, 2);
        line.ask_aged(whole, 1);
        line.ask_aged(whole, 1);
        line.read(whole);
        assert_eq!(line.next_due(), None);
    }

    #[test]
    fn points_answered_from_their_own_blocks_are_refreshed_as_one_range() {
        let mut line = Line::new(256, settings());
        for start in 0..10 {
            line.ask(holding(start, 1));
            line.read(holding(start, 1));
            line.use_block(holding(start, 1), 5);
        }
        line.wait(4);
        assert_eq!(line.due(), Some(holding(0, 10)));
        line.read(holding(0, 10));
        assert_eq!(line.due(), None);
    }

    #[test]
    fn a_range_that_grows_is_refreshed_on_account_of_the_block_it_grew_from() {
        let mut line = Line::new(256, settings());
        line.ask_twice(holding(0, 10));
        line.read(holding(0, 10));
        line.use_block(holding(0, 10), 5);
        line.wait(1);
        line.ask(holding(10, 2));
        assert_eq!(line.whole(holding(0, 2)), Some(holding(0, 12)));
        line.wait(3);
        assert_eq!(line.due(), Some(holding(0, 12)));
    }

    #[test]
    fn what_is_not_used_for_ten_minutes_is_no_longer_part_of_a_merged_range() {
        let mut line = Line::new(256, settings());
        line.ask(holding(0, 10));
        assert_eq!(line.ask_twice(holding(10, 10)), Some(holding(0, 20)));
        line.wait(599);
        assert_eq!(line.ask(holding(10, 10)), Some(holding(0, 20)));
        line.wait(1);
        assert_eq!(line.due(), None);
        assert_eq!(line.ask(holding(10, 10)), Some(holding(10, 10)));
        assert!(!line.table.contains(unit(), &holding(0, 10)));
        line.wait(600);
        assert_eq!(line.due(), None);
        assert_eq!(line.whole(holding(10, 10)), None);
        assert_eq!(line.table.len(), 0);
    }

    #[test]
    fn the_use_of_a_merged_block_keeps_its_members() {
        let mut line = Line::new(256, settings());
        line.ask(holding(0, 10));
        let whole = line.ask_twice(holding(10, 10)).unwrap();
        line.read(whole);
        line.wait(590);
        line.use_block(whole, 5);
        line.wait(10);
        assert_eq!(line.due(), Some(whole));
        assert_eq!(line.ask(holding(0, 10)), Some(whole));
    }

    #[test]
    fn the_limit_bounds_learned_ranges_and_those_in_use_keep_their_room() {
        let mut line = Line::new(2, settings());
        line.ask_twice(holding(0, 2));
        line.wait(1);
        line.ask_twice(holding(100, 2));
        for start in 10..20 {
            line.ask(holding(start * 100, 2));
        }
        assert!(!line.table.is_full(line.now));
        assert_eq!(line.ask_twice(holding(200, 2)), None);
        assert_eq!(line.table.len(), 2);
        assert!(line.table.is_full(line.now));
        assert!(line.table.contains(unit(), &holding(200, 2)));
        line.wait(59);
        assert_eq!(line.ask(holding(200, 2)), Some(holding(200, 2)));
        assert_eq!(line.table.len(), 2);
        assert_eq!(line.whole(holding(0, 2)), None);
        assert_eq!(line.whole(holding(100, 2)), Some(holding(100, 2)));
        line.wait(60);
        assert!(!line.table.is_full(line.now));
    }

    #[test]
    fn nothing_is_kept_with_a_limit_of_zero() {
        let mut line = Line::new(0, with_block(holding(0, 20), None));
        assert_eq!(line.ask_twice(holding(0, 2)), None);
        assert_eq!(line.ask_twice(holding(50, 2)), None);
        assert!(!line.table.contains(unit(), &holding(50, 2)));
        assert!(!line.table.is_full(line.now));
    }

    #[test]
    fn of_a_loose_unit_only_exactly_the_same_read_is_kept() {
        let mut line = Line::new(256, UnitSettings { replies: Replies::Loose, ..settings() });
        line.ask_twice(holding(0, 20));
        assert_eq!(line.ask_twice(holding(20, 4)), Some(holding(20, 4)));
        assert_eq!(line.ask(holding(2, 4)), None);
        assert_eq!(line.ask(holding(2, 4)), Some(holding(2, 4)));
    }

    #[test]
    fn no_more_than_4096_ranges_asked_for_are_kept_and_the_longest_unused_goes() {
        let mut line = Line::new(256, UnitSettings { merge_gap: None, ..settings() });
        for start in 0..4096 {
            line.table.note_asked(unit(), &holding(start * 3, 1), secs(5), line.now, source());
        }
        line.wait(1);
        line.ask(holding(0, 1));
        line.table.note_asked(unit(), &holding(30_000, 1), secs(5), line.now, source());
        assert_eq!(line.table.units[&unit()].asked.len(), 4096);
        assert!(line.table.contains(unit(), &holding(0, 1)));
        assert!(!line.table.contains(unit(), &holding(3, 1)));
        assert!(line.table.contains(unit(), &holding(30_000, 1)));
    }

    #[test]
    fn mirrored_tables_share_one_range() {
        let mut settings = settings();
        settings.polling.mirrored = true;
        let mut line = Line::new(256, settings);
        line.ask(holding(0, 10));
        line.ask(range(INPUT, 10, 10));
        assert_eq!(line.ask(range(INPUT, 0, 10)), Some(holding(0, 20)));
        let known = line.table.canonical_range(unit(), &range(INPUT, 0, 20));
        assert_eq!(known, Some(holding(0, 20)));
    }

    #[test]
    fn a_demanded_block_is_read_whole_from_the_first_read_inside_it() {
        let block = range(INPUT, 0, 40);
        let mut line = Line::new(256, with_block(block, None));
        assert_eq!(line.whole(range(INPUT, 4, 2)), Some(block));
        assert!(!line.table.contains(unit(), &block));
        assert_eq!(line.ask(range(INPUT, 4, 2)), Some(block));
        assert!(line.table.contains(unit(), &block));
        line.read(block);
        line.use_block(block, 5);
        line.wait(4);
        assert_eq!(line.due(), Some(block));
        line.wait(600);
        assert_eq!(line.due(), None);
        assert_eq!(line.table.len(), 0);
    }

    #[test]
    fn a_demanded_block_that_finds_no_room_is_not_read_whole() {
        let block = range(INPUT, 0, 40);
        let mut line = Line::new(1, with_block(block, None));
        line.ask_twice(holding(0, 2));
        assert_eq!(line.ask(range(INPUT, 4, 2)), None);
        assert!(line.table.is_full(line.now));
        assert!(line.table.contains(unit(), &range(INPUT, 4, 2)));
        line.wait(60);
        assert_eq!(line.ask(range(INPUT, 4, 2)), Some(block));
    }

    #[test]
    fn a_refused_demanded_block_is_divided_at_its_core_else_near_the_middle_between_values() {
        let mut settings = with_block(holding(0, 40), Some(holding(0, 12)));
        settings.polling.uncut.insert((HOLDING, 26));
        settings.polling.uncut.extend((1..4).map(|at| (HOLDING, at)));
        let mut line = Line::new(256, settings);
        line.ask(holding(0, 2));
        assert!(line.table.note_refused(unit(), &holding(0, 40), line.now));
        assert_eq!(line.ask(holding(0, 2)), Some(holding(0, 12)));
        assert_eq!(line.ask(holding(30, 2)), Some(holding(12, 28)));
        assert_eq!(line.ask_twice(holding(10, 4)), Some(holding(10, 4)));
        assert!(line.table.note_refused(unit(), &holding(12, 28), line.now));
        assert_eq!(line.ask(holding(24, 1)), Some(holding(12, 13)));
        assert_eq!(line.ask(holding(26, 1)), Some(holding(25, 15)));
        for part in [holding(0, 12), holding(0, 6), holding(0, 4)] {
            assert!(line.table.note_refused(unit(), &part, line.now), "{part:?}");
        }
        assert_eq!(line.ask(holding(0, 2)), None);
        assert_eq!(line.ask_twice(holding(4, 2)), Some(holding(4, 2)));
    }

    #[test]
    fn a_divided_demanded_block_is_tried_whole_after_pauses_that_double() {
        let block = holding(0, 40);
        let mut line = Line::new(256, with_block(block, None));
        line.ask(holding(0, 2));
        line.table.note_refused(unit(), &block, line.now);
        for pause in [10, 20, 40, 80, 160, 320, 600, 600] {
            line.wait(pause - 1);
            assert_eq!(line.ask(holding(0, 2)), Some(holding(0, 20)));
            line.wait(1);
            assert_eq!(line.ask(holding(0, 2)), Some(block));
            assert!(line.fail(block));
            assert_eq!(line.ask(holding(0, 2)), Some(holding(0, 20)));
        }
        line.table.note_returned(unit());
        assert_eq!(line.ask(holding(0, 2)), Some(block));
        assert!(line.table.note_refused(unit(), &block, line.now));
        line.wait(10);
        assert_eq!(line.ask(holding(0, 2)), Some(block));
        line.read(block);
        assert_eq!(line.ask(holding(0, 2)), Some(block));
        assert!(!line.table.contains(unit(), &holding(0, 20)));
    }

    #[test]
    fn the_try_of_a_whole_block_takes_the_place_of_one_reading_of_its_parts() {
        let block = holding(0, 40);
        let parts = [holding(0, 20), holding(20, 20)];
        let mut line = Line::new(256, with_block(block, None));
        line.ask_aged(holding(0, 2), 20);
        line.ask_aged(holding(20, 2), 20);
        line.table.note_refused(unit(), &block, line.now);
        for part in parts {
            line.read(part);
            line.use_block(part, 20);
        }
        line.wait(16);
        assert_eq!(line.due(), Some(block));
        assert_eq!(line.due(), None);
        assert!(line.fail(block));
        assert_eq!(line.due(), Some(parts[0]));
        assert_eq!(line.due(), Some(parts[1]));
        assert_eq!(line.due(), None);
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_units_whose_keys_did_not_change() {
        let mut line = Line::new(256, settings());
        line.ask_twice(holding(0, 2));
        line.table.configure(256, &[UnitSettings { response_timeout: secs(1), ..settings() }]);
        assert_eq!(line.whole(holding(0, 2)), Some(holding(0, 2)));
        line.table.configure(256, &[UnitSettings { merge_gap: Some(3), ..settings() }]);
        assert_eq!(line.whole(holding(0, 2)), None);
        assert_eq!(line.table.len(), 0);
        line.ask_twice(holding(0, 2));
        line.ask_twice(holding(100, 2));
        line.table.configure(1, &[UnitSettings { merge_gap: Some(3), ..settings() }]);
        assert_eq!(line.table.len(), 1);
    }

    #[test]
    fn ranges_that_undo_each_other_more_than_ten_times_a_minute_are_a_conflict() {
        let mut line = Line::new(256, settings());
        let (one, other) = (holding(0, 100), holding(90, 100));
        line.ask(one);
        for _ in 0..5 {
            line.table.note_undone(unit(), &one, &other, line.now);
            line.table.note_undone(unit(), &other, &one, line.now);
        }
        assert_eq!(line.table.conflicts(line.now).count(), 0);
        line.table.note_undone(unit(), &other, &one, line.now);
        let found = line.table.conflicts(line.now).next();
        assert_eq!(
            found,
            Some(Conflict { unit: unit(), ranges: [one, other], times: 11, clients: vec![source()] })
        );
        line.wait(60);
        assert_eq!(line.table.conflicts(line.now).count(), 0);
        for start in 0..1000 {
            line.table.note_undone(unit(), &holding(start, 2), &one, line.now);
        }
        assert_eq!(line.table.undone.len(), UNDONE_PAIRS);
    }

    /// Any ranges, of which some fail: each lies whole in one merged range, none is too long, none crosses a cut, and
    /// no two could be joined.
    fn check(line: &Line, max_read: u16) {
        let ranges = &line.table.units[&unit()];
        for (at, asked) in ranges.asked.iter().filter(|(_, asked)| asked.is_alive) {
            let merged = ranges.merged(asked.merged.expect("derived")).expect("exists");
            assert!(merged.range.covers(&range_at(*at)));
            assert!(merged.members.contains(at));
        }
        for (function, table) in &ranges.tables {
            let bits = if is_bits(*function) { 16 } else { 1 };
            for merged in &table.merged {
                let is_asked = merged.members.contains(&range_key(&merged.range));
                assert!(is_asked || merged.range.quantity <= max_read * bits, "{merged:?}");
                let last = merged.range.start + (merged.range.quantity - 1);
                let cuts = table.cuts.range(merged.range.start..=last);
                assert!(is_asked || cuts.filter(|(at, _)| **at > merged.range.start).count() == 0);
            }
        }
        for (at, reading) in &ranges.readings {
            let is_listed = reading.refresh_at().is_some_and(|due| ranges.agenda.contains(&(due, *at)));
            assert_eq!(is_listed, reading.refresh_at().is_some());
        }
        let listed = ranges.readings.values().filter(|reading| reading.refresh_at().is_some()).count();
        assert_eq!(listed, ranges.agenda.len());
        assert!(line.table.len() <= line.table.limit);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask(ReadRange, u64),
        Read(ReadRange),
        Fail(ReadRange),
        Refresh,
        Wait(u64),
        Return,
    }

    fn step() -> impl Strategy<Value = Step> {
        let any_range = (prop_oneof![Just(HOLDING), Just(COILS)], 0_u16..160, 1_u16..30)
            .prop_map(|(function, start, quantity)| range(function, start, quantity));
        prop_oneof![
            8 => (any_range.clone(), 1_u64..60).prop_map(|(range, age)| Step::Ask(range, age)),
            2 => any_range.clone().prop_map(Step::Read),
            4 => any_range.prop_map(Step::Fail),
            2 => Just(Step::Refresh),
            1 => (1_u64..200).prop_map(Step::Wait),
            1 => Just(Step::Return),
        ]
    }

    /// Carries out the steps; returns what was read.
    fn walk(steps: &[Step], max_read: u16, gap: Option<u16>, limit: usize) -> Vec<Option<ReadRange>> {
        let mut line = Line::new(limit, UnitSettings { max_read, merge_gap: gap, ..settings() });
        let mut read = Vec::new();
        for step in steps {
            match *step {
                Step::Ask(range, age) => {
                    let whole = line.ask_aged(range, age);
                    assert!(whole.is_none_or(|whole| whole.covers(&range)));
                    line.read(whole.unwrap_or(range));
                    line.use_block(whole.unwrap_or(range), age);
                    read.push(whole);
                    check(&line, max_read);
                }
                Step::Read(range) => {
                    let whole = line.whole(range).unwrap_or(range);
                    line.read(whole);
                }
                Step::Fail(range) => {
                    let whole = line.whole(range).unwrap_or(range);
                    if line.fail(whole) {
                        assert_ne!(line.whole(range), Some(whole));
                    }
                }
                Step::Refresh => read.push(line.due()),
                Step::Wait(seconds) => line.wait(seconds),
                Step::Return => line.table.note_returned(unit()),
            }
        }
        read
    }

    proptest! {
        #[test]
        fn whatever_is_asked_for_lies_whole_in_one_merged_range_within_all_limits(
            steps in proptest::collection::vec(step(), 1..80),
            max_read in 10_u16..=125,
            gap in proptest::option::of(0_u16..8),
            limit in 1_usize..8,
        ) {
            let read = walk(&steps, max_read, gap, limit);
            prop_assert_eq!(read, walk(&steps, max_read, gap, limit));
        }

        #[test]
        fn no_two_merged_ranges_would_cost_less_as_one_and_none_more_than_its_members(
            asked in proptest::collection::vec((0_u16..300, 1_u16..40, 1_u64..60), 1..40),
        ) {
            let mut line = Line::new(256, settings());
            for (start, quantity, age) in asked {
                line.ask_aged(holding(start, quantity), age);
            }
            let ranges = &line.table.units[&unit()];
            let merged = &ranges.tables[&HOLDING].merged;
            let load_of = |range: &ReadRange, members: &[RangeKey]| {
                let fastest = members.iter().map(|member| rate(ranges.asked[member].age.max_age));
                load(cost(unit(), range), fastest.fold(0.0, f64::max))
            };
            for (index, one) in merged.iter().enumerate() {
                let apart: f64 = one.members.iter().map(|member| load_of(&range_at(*member), &[*member])).sum();
                prop_assert!(load_of(&one.range, &one.members) <= apart * 1.000_001);
                for other in &merged[index + 1..] {
                    let both = union(&one.range, &other.range).expect("short");
                    let members: Vec<_> = one.members.iter().chain(&other.members).copied().collect();
                    let is_near = u32::from(other.range.start) <= end(&one.range);
                    if is_near && both.quantity <= 125 {
                        let apart = load_of(&one.range, &one.members) + load_of(&other.range, &other.members);
                        prop_assert!(load_of(&both, &members) > apart);
                    }
                }
            }
        }
    }
}
