//! Ranges learned from clients, so that units without a profile profit from the snapshot too.
//!
//! A range that is asked for a second time is learned. It is read again just before it gets too old for those
//! who were answered from it, and only if somebody was since it was last read; so a range nobody wants any more
//! costs nothing, and one that is asked for less often than it ages is read when it is asked for. Who is served
//! from the snapshot is not seen here but noted on the block, which is looked at when something is decided.

use std::time::{Duration, Instant};

use crate::modbus::pdu::ReadRange;

use super::poll::{Due, INTERVAL_MIN};
use super::settings::UnitId;
use super::snapshot::Block;
use super::tables::Tables;

/// What clients ask of the units of one line.
#[derive(Debug)]
pub struct Learned {
    limit: usize,
    entries: Vec<Entry>,
    /// Whether what is refreshed, or how often, may have changed since that was last asked.
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    unit: UnitId,
    range: ReadRange,
    /// How often it was asked for without an answer at hand.
    asked: u32,
    /// When somebody last asked for it or a part of it, as far as known.
    wanted_at: Instant,
    /// The smallest `max_age` of those who ask for it or a part of it, and when one of them last did.
    max_age: Duration,
    age_at: Instant,
    /// When its last reading began, and whether a further one was already decided on.
    begun: Option<Instant>,
    decided: bool,
    /// Whether that decision was to read it again.
    refreshed: bool,
    /// Whether it was ever read whole.
    was_read: bool,
}

impl Learned {
    /// Learns at most `limit` ranges.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, entries: Vec::new(), changed: false }
    }

    /// A client that takes data as old as `max_age` asked for a range, or a part of one that is learned, that was
    /// not at hand. `block` is what the snapshot holds of a range.
    ///
    /// Room is made by what was asked for only once, else by what nobody has wanted for a while; while neither
    /// is there, nothing is added.
    pub fn note_asked<'a>(
        &mut self,
        unit: UnitId,
        range: ReadRange,
        max_age: Duration,
        now: Instant,
        block: impl Fn(UnitId, &ReadRange) -> Option<&'a Block>,
    ) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(unit, &range)) {
            entry.asked = entry.asked.saturating_add(1);
            entry.wanted_at = now;
            self.changed |= entry.note_age(max_age, now);
            return;
        }
        if self.entries.len() >= self.limit && !self.make_room(now, block) {
            return;
        }
        self.entries.push(Entry {
            unit,
            range,
            asked: 1,
            wanted_at: now,
            max_age,
            age_at: now,
            begun: None,
            decided: true,
            refreshed: false,
            was_read: false,
        });
    }

    /// A reading of exactly this range began.
    pub fn note_begun(&mut self, unit: UnitId, range: &ReadRange, at: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(unit, range)) {
            entry.begun = Some(at);
            entry.decided = false;
        }
    }

    /// The unit gave this range whole.
    pub fn note_read(&mut self, unit: UnitId, range: &ReadRange) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(unit, range)) {
            entry.was_read = true;
        }
    }

    /// Whether the unit ever gave this range whole.
    #[must_use]
    pub fn was_read(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.entries.iter().any(|entry| entry.is(unit, range) && entry.was_read)
    }

    /// The unit does not give the range: it is not asked for on our own account.
    pub fn forget(&mut self, unit: UnitId, range: &ReadRange) {
        self.entries.retain(|entry| !entry.is(unit, range));
        self.changed = true;
    }

    /// A range that is to be read again now, of several the one that gets too old first. `block` is what the
    /// snapshot holds of it, which tells whether anybody was answered from it.
    pub fn due<'a>(
        &mut self,
        now: Instant,
        usable: impl Fn(UnitId) -> bool,
        block: impl Fn(UnitId, &ReadRange) -> Option<&'a Block>,
    ) -> Option<Due> {
        let before = self.entries.len();
        self.entries.retain_mut(|entry| {
            if entry.is_forgotten(now) {
                entry.note_used(block(entry.unit, &entry.range));
            }
            !entry.is_forgotten(now)
        });
        self.changed |= self.entries.len() != before;
        loop {
            let looked_at =
                |entry: &&mut Entry| usable(entry.unit) && entry.refresh_at().is_some_and(|at| at <= now);
            let first = self.entries.iter_mut().filter(looked_at);
            let entry = first.min_by_key(|entry| entry.begun.map(|begun| begun + entry.max_age))?;
            entry.decided = true;
            let before = (entry.refreshed, entry.max_age);
            entry.refreshed = false;
            let since = entry.begun;
            let held = block(entry.unit, &entry.range);
            if let Some(wanted) = held.filter(|block| block.wanted_at() >= since).and_then(Block::wanted_age)
            {
                // Who was answered from it has asked again.
                entry.asked = entry.asked.saturating_add(1);
                entry.note_used(held);
                entry.note_age(wanted, now);
                entry.refreshed = true;
            }
            self.changed |= before != (entry.refreshed, entry.max_age);
            if entry.refreshed {
                return Some(Due { unit: entry.unit, range: entry.range });
            }
        }
    }

    /// When the next range will be looked at.
    #[must_use]
    pub fn next_due(&self, usable: impl Fn(UnitId) -> bool) -> Option<Instant> {
        self.entries.iter().filter(|entry| usable(entry.unit)).filter_map(Entry::refresh_at).min()
    }

    /// Whether [`demand`](Self::demand) may have changed since this was last asked.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The share of line time that keeping fresh what is wanted takes, where a reading costs `cost`.
    #[must_use]
    pub fn demand(&self, cost: impl Fn(UnitId, &ReadRange) -> Duration) -> f64 {
        let refreshed = self.entries.iter().filter(|entry| entry.refreshed);
        refreshed.map(|entry| cost(entry.unit, &entry.range).as_secs_f64() / entry.pace().as_secs_f64()).sum()
    }

    /// The smallest learned range that covers `wanted` of a unit with these `tables`, of those for which `gives`
    /// holds.
    #[must_use]
    pub fn covering(
        &self,
        unit: UnitId,
        wanted: &ReadRange,
        tables: Tables,
        gives: impl Fn(&ReadRange) -> bool,
    ) -> Option<ReadRange> {
        let learned = self.entries.iter().filter(|entry| entry.unit == unit && entry.is_learned());
        learned
            .map(|entry| entry.range)
            .filter(|range| tables.part(range, wanted).is_some() && gives(range))
            .min_by_key(|range| range.quantity)
    }

    /// Whether exactly this range is remembered: a reading of it is worth keeping.
    #[must_use]
    pub fn contains(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.entries.iter().any(|entry| entry.is(unit, range))
    }

    /// The range under which these values are remembered, where a mirrored table was asked for.
    #[must_use]
    pub fn known_as(&self, unit: UnitId, range: &ReadRange, tables: Tables) -> Option<ReadRange> {
        let mut own = self.entries.iter().filter(|entry| entry.unit == unit).map(|entry| entry.range);
        own.find(|own| tables.are_same(own, range))
    }

    /// Ranges remembered, learned ones and those asked for once.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the range that is wanted least, unless all are in use. Whether there is room now.
    fn make_room<'a>(
        &mut self,
        now: Instant,
        block: impl Fn(UnitId, &ReadRange) -> Option<&'a Block>,
    ) -> bool {
        for entry in &mut self.entries {
            let held = block(entry.unit, &entry.range);
            entry.note_used(held);
            if held.is_some_and(|block| block.wanted_at().is_some()) {
                entry.asked = entry.asked.max(ASKED_TO_LEARN);
            }
        }
        let rank = |index: &usize| (self.entries[*index].is_learned(), self.entries[*index].wanted_at);
        let Some(least) = (0..self.entries.len()).min_by_key(rank) else { return false };
        if self.entries[least].is_in_use(now) {
            return false;
        }
        self.entries.swap_remove(least);
        self.changed = true;
        true
    }
}

impl Entry {
    fn is(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.unit == unit && self.range == *range
    }

    fn is_learned(&self) -> bool {
        self.asked >= ASKED_TO_LEARN
    }

    /// Whether it must not make room for another range.
    fn is_in_use(&self, now: Instant) -> bool {
        let unused = now.saturating_duration_since(self.wanted_at);
        self.is_learned() && unused < IN_USE.max(self.max_age.saturating_mul(2))
    }

    /// Whether nobody has wanted it for so long that nobody will.
    fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.wanted_at) >= FORGET_AFTER.max(self.max_age)
    }

    /// Somebody may have been answered from `block` without anybody here noticing.
    fn note_used(&mut self, block: Option<&Block>) {
        if let Some(at) = block.and_then(Block::wanted_at) {
            self.wanted_at = self.wanted_at.max(at);
        }
    }

    /// Somebody who takes data as old as `max_age` wants it. The smallest age counts until nobody has asked with
    /// it for a while. True when that changed it.
    fn note_age(&mut self, max_age: Duration, now: Instant) -> bool {
        let before = self.max_age;
        let lapsed = now.saturating_duration_since(self.age_at) > self.max_age.saturating_mul(AGE_LAPSES);
        if max_age <= self.max_age || lapsed {
            (self.max_age, self.age_at) = (max_age, now);
        }
        before != self.max_age
    }

    /// Just before the last reading gets too old, leaving time for the line. `None` once that has been decided
    /// for this reading, or where the age is shorter than that.
    fn refresh_at(&self) -> Option<Instant> {
        let pace = self.pace();
        self.begun.filter(|_| !self.decided && pace < self.max_age).map(|begun| begun + pace)
    }

    /// Time from one reading to the next; no shorter than a meter takes to renew its values.
    fn pace(&self) -> Duration {
        let lead = (self.max_age / 5).max(LEAD_MIN);
        self.max_age.saturating_sub(lead).max(INTERVAL_MIN)
    }
}

/// Asked for so often, a range is learned.
const ASKED_TO_LEARN: u32 = 2;

/// A range nobody has wanted for so long is forgotten, unless they take older data than that.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// A learned range that was wanted so recently, or within twice its age, does not make room for another.
const IN_USE: Duration = Duration::from_secs(60);

/// Nobody has asked with the smallest age for so many times its length: a longer one counts.
const AGE_LAPSES: u32 = 3;

/// How long before it gets too old a range is read again, at least.
const LEAD_MIN: Duration = Duration::from_millis(300);
