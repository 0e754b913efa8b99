//! Ranges learned from clients, so that units without a profile profit from the snapshot too.
//!
//! A range that is asked for a second time is learned. It is read again just before it gets too old for those
//! who were answered from it, and only if somebody was since it was last read; so a range nobody wants any more
//! costs nothing, and one that is asked for less often than it ages is read when it is asked for.

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
}

#[derive(Debug)]
struct Entry {
    unit: UnitId,
    range: ReadRange,
    /// How often it was asked for without an answer at hand.
    asked: u32,
    /// When somebody last asked, or it was last read because somebody had.
    wanted_at: Instant,
    /// The smallest `max_age` of those who ask.
    max_age: Duration,
    /// When its last reading began, and whether a further one was already decided on.
    begun: Option<Instant>,
    decided: bool,
}

impl Learned {
    /// Learns at most `limit` ranges; the one not wanted for longest makes room.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, entries: Vec::new() }
    }

    /// A client that takes data as old as `max_age` asked for a range that was not at hand.
    pub fn note_asked(&mut self, unit: UnitId, range: ReadRange, max_age: Duration, now: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(unit, &range)) {
            entry.asked = entry.asked.saturating_add(1);
            entry.wanted_at = now;
            entry.max_age = entry.max_age.min(max_age);
            return;
        }
        if self.entries.len() >= self.limit {
            let oldest = (0..self.entries.len()).min_by_key(|&index| self.entries[index].wanted_at);
            let Some(oldest) = oldest else { return };
            self.entries.swap_remove(oldest);
        }
        self.entries.push(Entry {
            unit,
            range,
            asked: 1,
            wanted_at: now,
            max_age,
            begun: None,
            decided: true,
        });
    }

    /// A reading of exactly this range began.
    pub fn note_begun(&mut self, unit: UnitId, range: &ReadRange, at: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is(unit, range)) {
            entry.begun = Some(at);
            entry.decided = entry.asked < ASKED_TO_LEARN;
        }
    }

    /// The unit refused the range: it is not asked for on our own account.
    pub fn forget(&mut self, unit: UnitId, range: &ReadRange) {
        self.entries.retain(|entry| !entry.is(unit, range));
    }

    /// A range that is to be read again now. `block` is what the snapshot holds of it, which tells whether
    /// anybody was answered from it.
    pub fn due<'a>(
        &mut self,
        now: Instant,
        usable: impl Fn(UnitId) -> bool,
        block: impl Fn(UnitId, &ReadRange) -> Option<&'a Block>,
    ) -> Option<Due> {
        self.entries.retain(|entry| now.saturating_duration_since(entry.wanted_at) < FORGET_AFTER);
        for entry in self.entries.iter_mut().filter(|entry| usable(entry.unit)) {
            if entry.refresh_at().is_none_or(|at| at > now) {
                continue;
            }
            entry.decided = true;
            if let Some(wanted) = block(entry.unit, &entry.range).and_then(Block::wanted_age) {
                entry.wanted_at = now;
                entry.max_age = wanted;
                return Some(Due { unit: entry.unit, range: entry.range });
            }
        }
        None
    }

    /// When the next range will be looked at.
    #[must_use]
    pub fn next_due(&self, usable: impl Fn(UnitId) -> bool) -> Option<Instant> {
        self.entries.iter().filter(|entry| usable(entry.unit)).filter_map(Entry::refresh_at).min()
    }

    /// The smallest learned range that covers `wanted` of a unit with these `tables`.
    #[must_use]
    pub fn covering(&self, unit: UnitId, wanted: &ReadRange, tables: Tables) -> Option<ReadRange> {
        let learned = self.entries.iter().filter(|entry| entry.unit == unit && entry.asked >= ASKED_TO_LEARN);
        learned
            .map(|entry| entry.range)
            .filter(|range| tables.part(range, wanted).is_some())
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
}

impl Entry {
    fn is(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.unit == unit && self.range == *range
    }

    /// Just before the last reading gets too old, leaving time for the line; not sooner than a meter renews
    /// its values. `None` once that has been decided for this reading.
    fn refresh_at(&self) -> Option<Instant> {
        let lead = (self.max_age / 5).max(LEAD_MIN);
        let after = self.max_age.saturating_sub(lead).max(INTERVAL_MIN);
        self.begun.filter(|_| !self.decided && after < self.max_age).map(|begun| begun + after)
    }
}

/// Asked for so often without an answer at hand, a range is learned.
const ASKED_TO_LEARN: u32 = 2;

/// A range nobody has wanted for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How long before it gets too old a range is read again, at least.
const LEAD_MIN: Duration = Duration::from_millis(300);
