//! Scheduled background reading: the blocks of profiles, spread evenly, within a share of line time.
//!
//! Owns the plan and its share of line time. It reads nothing itself and has no queue: the line polls it for what is
//! due and reports what began and what it cost. Ranges learned from clients are in `ranges.rs`; they spend from the
//! same share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::modbus::pdu::ReadRange;

use super::settings::{Protocol, UnitId};
use super::tables::Tables;

/// How often a block is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As often as the share of line time allows, and at most once a second.
    Auto,
    /// At this interval.
    Every(Duration),
}

/// One block of a profile that is read for as long as the gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollBlock {
    /// The unit.
    pub unit: UnitId,
    /// The range.
    pub range: ReadRange,
    /// Whether it holds measured values.
    pub measured: bool,
    /// How often it is read.
    pub pace: Pace,
    /// Line time of one reading.
    pub cost: Duration,
}

/// Line time of one reading: both frames, the response time between them, and the silence before.
#[must_use]
pub(super) fn reading_cost(
    protocol: Protocol,
    range: &ReadRange,
    pause: Duration,
    gap: Duration,
) -> Duration {
    let bytes = range.request().len() + REPLY_HEADER + range.byte_count() + 2 * protocol.overhead();
    protocol.wire_time(bytes) + pause + protocol.silence().max(gap)
}

/// A reading that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The unit.
    pub unit: UnitId,
    /// The range to be read.
    pub range: ReadRange,
}

/// The plan of one line.
#[derive(Debug)]
pub struct PollPlan {
    share: f64,
    entries: Vec<PlannedBlock>,
    /// Line time in seconds that may be spent as of `credited_at`; negative after an advance.
    credit: f64,
    credited_at: Instant,
    auto_interval: Duration,
    /// Line time of readings since the last comparison, and the estimate from the configuration alone.
    took: Duration,
    estimated: Duration,
    overrun: Option<f64>,
    /// Share of line time reserved for learned ranges, out of this plan's.
    reserved: f64,
}

#[derive(Debug)]
struct PlannedBlock {
    block: PollBlock,
    /// When its last reading began, unless reading has been interrupted since.
    begun: Option<Instant>,
    /// When it is to be read next.
    due: Instant,
    /// When it is to be read after that, if the next reading comes sooner than an even spread requires.
    even: Option<Instant>,
    /// Time between readings, smoothed.
    achieved: Option<Duration>,
    /// Whether a new plan has put its next reading off, which is no sign of a line that is too full.
    is_postponed: bool,
    /// Whether it was ever read in full.
    was_read: bool,
}

impl PollPlan {
    /// A plan for `blocks` within `share` (0 to 1) of line time, spread evenly over their intervals from `start` on.
    #[must_use]
    pub fn new(blocks: Vec<PollBlock>, share: f64, start: Instant) -> Self {
        let entries = blocks.into_iter().map(|block| PlannedBlock::new(block, start)).collect();
        let credit = BURST.as_secs_f64() * share;
        let mut plan = Self {
            share,
            entries,
            credit,
            credited_at: start,
            auto_interval: INTERVAL_MIN,
            took: Duration::ZERO,
            estimated: Duration::ZERO,
            overrun: None,
            reserved: 0.0,
        };
        plan.replan(|_| true, start);
        plan
    }

    /// Computes the cost of each block again.
    pub fn recost(&mut self, cost: impl Fn(UnitId, &ReadRange) -> Duration) {
        for PlannedBlock { block, .. } in &mut self.entries {
            block.cost = cost(block.unit, &block.range);
        }
    }

    /// Learned ranges want this share of line time: they get up to half of this plan's, and `auto` uses the rest. True
    /// if the change is worth a new plan.
    pub fn reserve(&mut self, wanted: f64) -> bool {
        let reserved = wanted.min(self.share / 2.0);
        let ended = reserved <= 0.0 && self.reserved > 0.0;
        let differs = ended || (reserved - self.reserved).abs() > self.share * RESERVE_STEP;
        if differs {
            self.reserved = reserved;
        }
        differs
    }

    /// Computes the automatic interval again, counting only units that are `usable`, and spreads their readings evenly
    /// from `now` on.
    pub fn replan(&mut self, usable: impl Fn(UnitId) -> bool, now: Instant) {
        let (mut fixed, mut auto) = (0.0, 0.0);
        for entry in self.entries.iter().filter(|entry| usable(entry.block.unit)) {
            let cost = entry.block.cost.as_secs_f64();
            match entry.block.pace {
                Pace::Auto => auto += cost,
                Pace::Every(interval) => fixed += cost / interval.max(INTERVAL_MIN).as_secs_f64(),
            }
        }
        let left = (self.share - self.reserved - fixed).max(self.share * SHARE_LEFT_MIN);
        let interval = if auto > 0.0 { auto / left } else { 0.0 };
        self.auto_interval =
            Duration::try_from_secs_f64(interval).unwrap_or(INTERVAL_MAX).clamp(INTERVAL_MIN, INTERVAL_MAX);
        for entry in self.entries.iter_mut().filter(|entry| !usable(entry.block.unit)) {
            entry.interrupt();
        }
        self.spread(usable, now);
    }

    /// Reading is interrupted: measurements of the pace end here.
    pub fn interrupt(&mut self) {
        self.entries.iter_mut().for_each(PlannedBlock::interrupt);
    }

    /// A reading of this range failed, which is no sign of overload.
    pub fn note_failed(&mut self, unit: UnitId, range: &ReadRange) {
        for entry in self.entries.iter_mut().filter(|entry| entry.is(unit, range)) {
            entry.begun = None;
        }
    }

    /// The current interval of `auto`.
    #[must_use]
    pub fn auto_interval(&self) -> Duration {
        self.auto_interval
    }

    /// How many times longer than planned one round of all readings takes: 1 is as planned.
    #[must_use]
    pub fn cycle_slowdown(&self) -> f64 {
        let (mut planned, mut achieved) = (0.0, 0.0);
        for entry in &self.entries {
            if let Some(between) = entry.achieved {
                let cost = entry.block.cost.as_secs_f64();
                planned += cost / self.interval(entry).as_secs_f64();
                achieved += cost / between.max(INTERVAL_MIN / 2).as_secs_f64();
            }
        }
        if achieved > 0.0 { planned / achieved } else { 1.0 }
    }

    /// Whether planned and learned readings alone need more line time than their share.
    #[must_use]
    pub fn is_beyond_its_share(&self, usable: impl Fn(UnitId) -> bool) -> bool {
        let asked = self
            .entries
            .iter()
            .filter(|entry| usable(entry.block.unit))
            .map(|entry| entry.block.cost.as_secs_f64() / self.interval(entry).as_secs_f64());
        asked.sum::<f64>() + self.reserved > self.share * (1.0 + ROUNDING)
    }

    /// How much slower than planned the slowest block is read: 1 is as planned, or not known.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        let slowest = self.entries.iter().filter_map(|entry| {
            let planned = self.interval(entry).as_secs_f64();
            entry.achieved.map(|achieved| achieved.as_secs_f64() / planned)
        });
        slowest.fold(1.0, f64::max)
    }

    /// The reading that has been due longest, if the share allows one now. `usable`: which units may be read.
    #[must_use]
    pub fn due(&mut self, now: Instant, usable: impl Fn(UnitId) -> bool) -> Option<Due> {
        if !self.may_spend(now) {
            return None;
        }
        let due = self.entries.iter().filter(|entry| entry.due <= now && usable(entry.block.unit));
        due.min_by_key(|entry| entry.due)
            .map(|entry| Due { unit: entry.block.unit, range: entry.block.range })
    }

    /// When a reading will be due and affordable.
    #[must_use]
    pub fn next_due(&self, usable: impl Fn(UnitId) -> bool) -> Option<Instant> {
        let due =
            self.entries.iter().filter(|entry| usable(entry.block.unit)).map(|entry| entry.due).min()?;
        Some(self.affordable_from()?.max(due))
    }

    /// Whether the share allows another reading now.
    pub fn may_spend(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.credited_at).as_secs_f64() * self.share;
        self.credit = (self.credit + earned).min(BURST.as_secs_f64() * self.share);
        self.credited_at = now;
        self.credit > 0.0
    }

    /// When the share allows another reading; `None`: never.
    #[must_use]
    pub fn affordable_from(&self) -> Option<Instant> {
        if self.credit > 0.0 {
            return Some(self.credited_at);
        }
        let wait = Duration::try_from_secs_f64(-self.credit / self.share).ok()?;
        Some(self.credited_at + wait + CREDIT_STEP)
    }

    /// A reading of this range began, for a client or not: the next is due an interval later, or as much sooner as this
    /// one was late.
    pub fn note_begun(&mut self, unit: UnitId, range: &ReadRange, at: Instant) {
        let auto = self.auto_interval;
        for entry in self.entries.iter_mut().filter(|entry| entry.is(unit, range)) {
            let between = entry.begun.map(|before| at.saturating_duration_since(before));
            if let Some(between) = between.filter(|_| !entry.is_postponed) {
                entry.achieved = Some(entry.achieved.map_or(between, |mean| (mean * 3 + between) / 4));
            }
            (entry.begun, entry.is_postponed) = (Some(at), false);
            entry.due = entry.due_after(at, interval_of(entry, auto));
        }
    }

    /// The unit answered this range in full, in a read that began `at`. With its first answer its settings are due: counts
    /// that are scaled by them have no value before.
    pub fn note_read(&mut self, unit: UnitId, range: &ReadRange, at: Instant) {
        let of_unit = || self.entries.iter().filter(|entry| entry.block.unit == unit);
        let is_first =
            of_unit().any(|entry| entry.block.range == *range) && !of_unit().any(|entry| entry.was_read);
        for entry in self.entries.iter_mut().filter(|entry| entry.block.unit == unit) {
            if entry.block.range == *range {
                entry.was_read = true;
            } else if is_first && !entry.block.measured && entry.begun.is_none() && entry.due > at {
                entry.even = entry.even.or(Some(entry.due));
                entry.due = at;
            }
        }
    }

    /// The settings of the unit are not known any more: they are due, for counts that are scaled by them have no value
    /// before.
    pub fn note_settings_lost(&mut self, unit: UnitId, now: Instant) {
        for entry in self.entries.iter_mut().filter(|entry| entry.block.unit == unit && !entry.block.measured)
        {
            let soonest = entry.begun.map_or(now, |begun| now.max(begun + INTERVAL_MIN));
            if soonest < entry.due {
                entry.even = entry.even.or(Some(entry.due));
                entry.due = soonest;
            }
        }
    }

    /// Whether the unit ever answered this range in full.
    #[must_use]
    pub fn was_read(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.entries.iter().any(|entry| entry.is(unit, range) && entry.was_read)
    }

    /// Charges a background reading, for which the configuration alone estimates `estimated`. True when that completes
    /// another comparison.
    pub fn spend(&mut self, took: Duration, estimated: Duration) -> bool {
        self.credit -= took.as_secs_f64();
        self.took += took;
        self.estimated += estimated;
        let complete = self.estimated >= COMPARED_TIME;
        if complete {
            self.overrun = Some(self.took.as_secs_f64() / self.estimated.as_secs_f64());
            (self.took, self.estimated) = (Duration::ZERO, Duration::ZERO);
        }
        complete
    }

    /// Line time of readings over the estimate from the configuration alone, as last compared; 1 is as estimated.
    #[must_use]
    pub fn overrun(&self) -> Option<f64> {
        self.overrun
    }

    /// The smallest planned range that covers `wanted` of a unit with these `tables`: a client's read is widened to it.
    #[must_use]
    pub fn covering(&self, unit: UnitId, wanted: &ReadRange, tables: Tables) -> Option<ReadRange> {
        let ranges = self.blocks(unit).map(|block| block.range);
        ranges.filter(|range| tables.part(range, wanted).is_some()).min_by_key(|range| range.quantity)
    }

    /// Adds `block`.
    pub fn insert(&mut self, block: PollBlock, now: Instant) {
        self.entries.push(PlannedBlock::new(block, now));
    }

    /// Removes this range; returns its block.
    pub fn remove(&mut self, unit: UnitId, range: &ReadRange) -> Option<PollBlock> {
        let index = self.entries.iter().position(|entry| entry.is(unit, range))?;
        Some(self.entries.swap_remove(index).block)
    }

    /// Changes the pace of this range from the next [`replan`](Self::replan) on.
    pub fn set_pace(&mut self, unit: UnitId, range: &ReadRange, pace: Pace) {
        for entry in self.entries.iter_mut().filter(|entry| entry.is(unit, range)) {
            entry.block.pace = pace;
        }
    }

    /// Changes the share of line time.
    pub fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    /// The planned range with the same values, if a mirrored table was requested.
    #[must_use]
    pub fn canonical_range(&self, unit: UnitId, range: &ReadRange, tables: Tables) -> Option<ReadRange> {
        self.blocks(unit).map(|block| block.range).find(|own| tables.are_same(own, range))
    }

    /// The units that have blocks.
    #[must_use]
    pub fn units(&self) -> BTreeSet<UnitId> {
        self.entries.iter().map(|entry| entry.block.unit).collect()
    }

    /// Whether exactly this range is planned.
    #[must_use]
    pub fn contains(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.entries.iter().any(|entry| entry.is(unit, range))
    }

    /// The blocks of a unit.
    pub fn blocks(&self, unit: UnitId) -> impl Iterator<Item = &PollBlock> {
        self.entries.iter().map(|entry| &entry.block).filter(move |block| block.unit == unit)
    }

    fn interval(&self, entry: &PlannedBlock) -> Duration {
        interval_of(entry, self.auto_interval)
    }

    /// Spreads blocks of equal pace over the coming interval, in the order in which they are due; the first keeps its
    /// time if that is soon enough. Overdue blocks are read soon, and evenly after that.
    fn spread(&mut self, usable: impl Fn(UnitId) -> bool, now: Instant) {
        let auto = self.auto_interval;
        let mut paces: BTreeMap<Duration, Vec<&mut PlannedBlock>> = BTreeMap::new();
        for entry in self.entries.iter_mut().filter(|entry| usable(entry.block.unit)) {
            paces.entry(interval_of(entry, auto)).or_default().push(entry);
        }
        for (interval, mut entries) in paces {
            entries.sort_by_key(|entry| entry.due);
            let count = u32::try_from(entries.len()).unwrap_or(u32::MAX).max(1);
            let first = entries.first().map_or(now, |entry| entry.due.clamp(now, now + interval / count));
            for (index, entry) in (0_u32..).zip(entries) {
                let before = entry.due;
                let even = first + interval / count * index;
                let soon = first + interval.min(SPREAD_MAX) / count * index;
                // What was to come sooner than an even spread requires, and has not, still does.
                let sooner = (entry.due <= now || entry.even.is_some()) && soon < even;
                (entry.due, entry.even) = if sooner { (soon, Some(even)) } else { (even, None) };
                let renewed = entry.begun.map_or(now, |begun| begun + INTERVAL_MIN);
                entry.due = entry.due.max(renewed);
                entry.is_postponed |= before > now && entry.due > before;
            }
        }
    }
}

impl PlannedBlock {
    fn new(block: PollBlock, due: Instant) -> Self {
        Self { block, begun: None, due, even: None, achieved: None, is_postponed: false, was_read: false }
    }

    fn interrupt(&mut self) {
        (self.begun, self.achieved) = (None, None);
    }

    /// When it is due after a reading that began `at`. At most a quarter of the interval of lateness is made up for, so
    /// that an overloaded line is not followed by a rush.
    fn due_after(&mut self, at: Instant, interval: Duration) -> Instant {
        let soonest = at + INTERVAL_MIN;
        match self.even.take() {
            Some(even) if even > soonest => even,
            Some(even) if even + interval > soonest => even + interval,
            None if self.due <= at => (self.due + interval).max(at + interval * 3 / 4).max(soonest),
            Some(_) | None => at + interval,
        }
    }

    fn is(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.block.unit == unit && self.block.range == *range
    }
}

fn interval_of(entry: &PlannedBlock, auto: Duration) -> Duration {
    match entry.block.pace {
        Pace::Auto => auto,
        Pace::Every(interval) => interval.max(INTERVAL_MIN),
    }
}

/// Estimated line time after which readings are compared with the estimate.
const COMPARED_TIME: Duration = Duration::from_secs(10);

/// Function code and byte count of a reply.
const REPLY_HEADER: usize = 2;

/// Shortest interval: meters renew their values once a second.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// The longest automatic interval.
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Overdue blocks are spread over this at most, so that slow blocks are read soon after a start.
const SPREAD_MAX: Duration = Duration::from_secs(10);

/// Largest unused credit, as time.
const BURST: Duration = Duration::from_secs(1);

/// Smallest part of the share left for `auto` when fixed intervals take more than the share.
const SHARE_LEFT_MIN: f64 = 0.1;

/// A change of the learned ranges' needs that is worth a new plan, as a part of the share.
const RESERVE_STEP: f64 = 0.05;

/// Tolerance for rounding in sums of shares.
const ROUNDING: f64 = 1e-6;

/// Added so that the credit is above zero when the time has come, in spite of rounding.
const CREDIT_STEP: Duration = Duration::from_millis(1);
