//! Background reading, the blocks kept from it, and the reads served from them.
//!
//! Owns the plan of polled blocks, the ranges learned from clients and their shares of line time. Blocks themselves
//! belong to their unit's snapshot, which connections read. A client's read that accepts data of some age and misses
//! the snapshot reads the whole range around it, so that traffic does not grow with the number of clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::{ExceptionCode, ReadRange};

use super::budget;
use super::event::{DivisionReason, LineEvent};
use super::now::Now;
use super::overload::{OverloadDetector, PollingLoad};
use super::poll::{Due, PollBlock, PollPlan, reading_cost};
use super::ranges::{BlockUse, RangeTable};
use super::request::{ListenerId, Source};
use super::settings::{LineSettings, Protocol, Replies, UnitId};
use super::shares::{BackgroundShares, ReadingKind};
use super::snapshot::Block;
use super::tables::with_function;
use super::unit::{Unit, Units};
use super::view::PollingView;

/// The polled and learned ranges of a line.
#[derive(Debug)]
pub(super) struct Cache {
    protocol: Protocol,
    /// The polled blocks of profiles; `None` until the port is first opened.
    plan: Option<PollPlan>,
    ranges: RangeTable,
    shares: BackgroundShares,
    overload: OverloadDetector,
    divisions: Vec<DividedBlock>,
    /// Polled ranges that were not answered, consecutive failures only.
    unanswered: Vec<Unanswered>,
    /// Blocks read so far.
    generation: u64,
    is_overrun_noted: bool,
    is_full_noted: bool,
}

/// A polled block that the unit does not answer in full.
#[derive(Debug)]
struct DividedBlock {
    unit: UnitId,
    whole: PollBlock,
    /// What is read instead.
    parts: Vec<PollBlock>,
    retry_at: Instant,
    pause: Duration,
    /// Whether the whole block is being retried.
    is_retrying: bool,
}

/// A polled range that was not answered.
#[derive(Debug)]
struct Unanswered {
    unit: UnitId,
    range: ReadRange,
    times: u32,
    since: Instant,
}

/// A client's read of a range, resolved to the range that is sent.
#[derive(Clone, Debug)]
pub(super) struct AgedRead<'a> {
    pub(super) unit: UnitId,
    pub(super) wanted: &'a ReadRange,
    pub(super) max_age: Duration,
    pub(super) source: Source,
}

impl Cache {
    pub(super) fn new(settings: &LineSettings) -> Self {
        let mut ranges = RangeTable::new(settings.learn_limit);
        ranges.configure(settings.learn_limit, &settings.units);
        Self {
            protocol: settings.protocol,
            plan: None,
            ranges,
            shares: BackgroundShares::default(),
            overload: OverloadDetector::default(),
            divisions: Vec::new(),
            unanswered: Vec::new(),
            generation: 0,
            is_overrun_noted: false,
            is_full_noted: false,
        }
    }

    /// Applies new settings: blocks of units whose profile changed are planned anew, the others continue.
    pub(super) fn configure(&mut self, settings: &LineSettings, units: &mut Units, now: Instant) {
        self.protocol = settings.protocol;
        self.ranges.configure(settings.learn_limit, &settings.units);
        self.is_full_noted = false;
        let Some(plan) = &mut self.plan else { return };
        plan.set_share(settings.poll_share);
        let wanted = budget::blocks(settings);
        let same = |unit: UnitId, block: &PollBlock| {
            wanted.iter().find(|other| {
                other.unit == unit && other.range == block.range && other.measured == block.measured
            })
        };
        self.divisions.retain(|division| same(division.unit, &division.whole).is_some());
        self.unanswered.clear();
        for unit in plan.units() {
            for block in plan.blocks(unit).copied().collect::<Vec<_>>() {
                let is_part = self.divisions.iter().any(|division| division.covers(unit, &block.range));
                if !is_part && same(unit, &block).is_none() {
                    plan.remove(unit, &block.range);
                }
            }
        }
        for block in wanted {
            let PollBlock { unit, range, pace, .. } = block;
            let whole = |division: &&mut DividedBlock| division.unit == unit && division.whole.range == range;
            match self.divisions.iter_mut().find(whole) {
                Some(division) => {
                    for block in division.parts.iter_mut().chain([&mut division.whole]) {
                        block.pace = pace;
                        plan.set_pace(unit, &block.range, pace);
                    }
                }
                None if plan.contains(unit, &range) => plan.set_pace(unit, &range, pace),
                None => plan.insert(block, now),
            }
        }
        units.iter_mut().for_each(|unit| self.note_measured(unit));
        self.replan(units, now);
    }

    /// Forgets everything learned: the port may now lead to another line.
    pub(super) fn reset(&mut self, settings: &LineSettings) {
        let generation = self.generation;
        *self = Self { generation, ..Self::new(settings) };
    }

    /// Plans the background readings, or spreads them anew after the line was unusable for a while.
    pub(super) fn begin_polling(&mut self, settings: &LineSettings, units: &mut Units, now: Instant) {
        if self.plan.is_none() {
            self.plan = Some(PollPlan::new(budget::blocks(settings), settings.poll_share, now));
            units.iter_mut().for_each(|unit| self.note_measured(unit));
        }
        self.replan(units, now);
    }

    /// The line is unusable: delays of readings meanwhile do not count as overload.
    pub(super) fn interrupt(&mut self) {
        self.overload.interrupt();
        if let Some(plan) = &mut self.plan {
            plan.interrupt();
        }
    }

    // Client reads.

    /// The range to read instead of a client's own, if it accepts data of some age.
    pub(super) fn enclosing_range(
        &mut self,
        asked: AgedRead<'_>,
        units: &Units,
        now: Instant,
    ) -> Option<ReadRange> {
        let AgedRead { unit: id, wanted, max_age, source } = asked;
        let unit = units.get(id)?;
        if unit.settings().replies == Replies::Strict {
            let tables = unit.settings().tables();
            let planned = self.plan.as_ref().and_then(|plan| plan.covering(id, wanted, tables));
            if planned.is_some() {
                return planned;
            }
        }
        self.ranges.note_asked(id, wanted, max_age, now, source);
        let protocol = self.protocol;
        self.ranges.enclosing(id, wanted, now, |id, range| cost(protocol, units, id, range))
    }

    /// A client's read missed the snapshot: records whether the block that would have served it was ruled out because
    /// younger data had been served.
    pub(super) fn note_undone(&mut self, unit: &Unit, wanted: &ReadRange, max_age: Duration, now: Now) {
        let tables = unit.settings().tables();
        let covering =
            unit.snapshot().blocks().iter().filter(|block| tables.part(&block.range, wanted).is_some());
        let youngest = covering.max_by_key(|block| block.begun.instant);
        let Some(older) = youngest.filter(|block| block.age(now) <= max_age) else { return };
        for younger in unit.snapshot().younger(wanted, older.begun.instant) {
            self.ranges.note_undone(unit.id(), &younger.range, &older.range, now.instant);
        }
    }

    // Background readings.

    /// The background reading that is due, if the share of line time allows one.
    pub(super) fn next_reading(
        &mut self,
        units: &Units,
        now: Instant,
        events: &mut Vec<LineEvent>,
    ) -> Option<(UnitId, ReadRange)> {
        self.retry_divided(units, now);
        let protocol = self.protocol;
        let plan = self.plan.as_mut()?;
        if !plan.may_spend(now) {
            return None;
        }
        let usable = |id: UnitId| units.get(id).is_some_and(|unit| may_be_polled(unit, now));
        let cost = |id: UnitId, range: &ReadRange| cost(protocol, units, id, range);
        let ranges = &mut self.ranges;
        let due = self.shares.order().into_iter().find_map(|kind| {
            let due = match kind {
                ReadingKind::Planned => plan.due(now, usable),
                ReadingKind::Learned => {
                    ranges.due(now, usable, cost, |id, range, _| block_use(units, id, range))
                }
            };
            Some((kind, due?))
        });
        let reading = due.map(|(kind, Due { unit, range })| {
            self.shares.charge(kind, cost(unit, &range));
            (unit, range)
        });
        if reading.is_some() {
            self.watch_load(units, now, events);
        }
        if self.ranges.take_changed() {
            let wanted = self.ranges.demand(cost);
            if self.plan.as_mut().is_some_and(|plan| plan.reserve(wanted)) {
                self.replan_shared(units, now);
            }
        }
        reading
    }

    /// When a background reading will be due.
    pub(super) fn next_due(&self, units: &Units, now: Instant) -> Option<Instant> {
        let plan = self.plan.as_ref()?;
        let usable = |id: UnitId| units.get(id).is_some_and(|unit| may_be_polled(unit, now));
        let due = plan.next_due(usable).into_iter().chain(self.ranges.next_due(usable)).min();
        let retry = self.divisions.iter().filter(|division| !division.is_retrying);
        let retry = retry.filter(|division| usable(division.unit)).map(|division| division.retry_at).min();
        // A unit that owes an answer may be read again once its guard has ended.
        let owing = units.iter().filter(|unit| unit.is_open()).filter_map(|unit| unit.unpolled_until(now));
        Some(due.into_iter().chain(retry).chain(owing).min()?.max(plan.affordable_from()?))
    }

    /// A background reading ended: charges its line time to the share and compares it with the estimate.
    pub(super) fn spend(
        &mut self,
        unit: &Unit,
        range: &ReadRange,
        took: Duration,
        events: &mut Vec<LineEvent>,
    ) {
        let gap = unit.settings().request_gap;
        let usual = self.protocol.usual_response_time();
        let pause = match self.protocol {
            Protocol::Rtu(_) => usual,
            // The configuration says nothing of how long a server takes: the plan is made with what was learned.
            Protocol::Tcp => unit.planned_pause().unwrap_or(usual),
        };
        let estimated = reading_cost(self.protocol, range, pause, gap);
        let silence = self.protocol.silence().max(gap);
        let Some(plan) = &mut self.plan else { return };
        if !plan.spend(took + silence, estimated) {
            return;
        }
        let ratio = plan.overrun().unwrap_or(1.0);
        let is_overrun = ratio > OVERRUN_NOTED;
        if is_overrun && !self.is_overrun_noted {
            events.push(LineEvent::Overrun { ratio });
        }
        self.is_overrun_noted = is_overrun;
    }

    /// A read begins, a client's or a background reading.
    pub(super) fn note_begun(&mut self, unit: &Unit, range: &ReadRange, now: Instant) {
        let Some(range) = self.canonical_range(unit, range) else { return };
        if let Some(plan) = &mut self.plan {
            plan.note_begun(unit.id(), &range, now);
        }
        self.ranges.note_begun(unit.id(), &range, now);
    }

    // Outcomes of reads.

    /// A read begun at `begun` under `epoch` was answered with data: keeps the data if it is likely to be read again,
    /// and forbids older data on `listeners`, whose clients receive it.
    pub(super) fn keep(&mut self, unit: &mut Unit, read: &AnsweredRead<'_>, listeners: &[ListenerId]) {
        let AnsweredRead { range, reply, begun, latest, epoch } = *read;
        // Under one name, so that no table keeps an older block beside it.
        let known = self.canonical_range(unit, range);
        if !listeners.is_empty() {
            unit.note_served(range, latest);
        }
        match known {
            Some(known) => {
                self.generation += 1;
                let reply = with_function(reply, known.function);
                let block = Block::new(known, reply, begun, self.generation).no_younger_than(latest);
                listeners.iter().for_each(|listener| block.note_served(*listener));
                unit.keep(block, epoch);
            }
            None => {
                for listener in listeners {
                    unit.snapshot().forbid_older(range, latest, *listener);
                }
            }
        }
        let Some(known) = known else { return };
        self.note_whole(unit, &known, begun.instant);
        let (plan, ranges, id) = (&self.plan, &self.ranges, unit.id());
        // Ranges forgotten in the meantime lose their blocks, too.
        unit.drop_blocks(|block| {
            !ranges.contains(id, &block.range)
                && !plan.as_ref().is_some_and(|plan| plan.contains(id, &block.range))
        });
    }

    /// A read of this range got an exception, or no answer that fits: updates the background readings accordingly.
    pub(super) fn note_failed(
        &mut self,
        units: &mut Units,
        id: UnitId,
        range: &ReadRange,
        failure: ReadFailure,
        now: Instant,
        events: &mut Vec<LineEvent>,
    ) {
        let Some(known) = units.get(id).and_then(|unit| self.canonical_range(unit, range)) else { return };
        let is_planned = self.plan.as_mut().is_some_and(|plan| {
            plan.note_failed(id, &known);
            plan.contains(id, &known)
        });
        match failure {
            ReadFailure::Exception(code) if is_of_the_range(code) => {
                if is_planned {
                    self.divide(units, id, &known, DivisionReason::Refused, now, events);
                }
                if self.ranges.note_refused(id, &known, now) && !is_planned {
                    let why = DivisionReason::Refused;
                    events.push(LineEvent::Divided { unit: id, range: known, why, is_read: true });
                }
            }
            ReadFailure::Exception(code) if is_passing(code) => {}
            ReadFailure::Exception(_) | ReadFailure::Misfit | ReadFailure::NoAnswer => {
                self.ranges.note_failed(id, &known, now);
                if self.is_retrying(id, &known) {
                    self.divide(units, id, &known, failure.reason(), now, events);
                } else if is_planned {
                    self.note_unanswered(units, id, &known, failure, now, events);
                }
            }
        }
    }

    /// A write to the unit may have changed its settings.
    pub(super) fn note_write(&mut self, id: UnitId, now: Instant) {
        if let Some(plan) = &mut self.plan {
            plan.note_settings_lost(id, now);
        }
    }

    /// The unit is back from off-line, perhaps as another meter: its settings are read, and blocks that it did not answer in
    /// full are retried.
    pub(super) fn note_returned(&mut self, id: UnitId, now: Instant) {
        if let Some(plan) = &mut self.plan {
            plan.note_settings_lost(id, now);
        }
        self.ranges.note_returned(id);
        self.unanswered.retain(|entry| entry.unit != id);
        for division in self.divisions.iter_mut().filter(|division| division.unit == id) {
            (division.retry_at, division.pause) = (now, Duration::ZERO);
        }
    }

    /// Which units answer, or how fast, has changed: the automatic interval changes with it.
    pub(super) fn replan(&mut self, units: &mut Units, now: Instant) {
        self.replan_shared(units, now);
        units.iter_mut().for_each(Unit::plan_with_present_pause);
    }

    /// The unit answered: plans again if it takes much longer or shorter than planned.
    pub(super) fn note_pause(&mut self, units: &mut Units, id: UnitId, now: Instant) {
        let Some(unit) = units.get(id) else { return };
        let Some(measured) = unit.response_time() else { return };
        let planned = unit.planned_pause().unwrap_or(self.protocol.usual_response_time());
        let moved = measured.abs_diff(planned);
        if moved > PAUSE_STEP && moved * 4 > planned {
            self.replan(units, now);
        }
    }

    /// The state of background reading.
    pub(super) fn view(&self, now: Instant) -> PollingView {
        self.plan.as_ref().map_or_else(PollingView::default, |plan| PollingView {
            interval: plan.auto_interval(),
            slowdown: plan.slowdown(),
            overrun: plan.overrun(),
            learned: self.ranges.len(),
            is_full: self.overload.is_full(),
            is_learning_full: self.ranges.is_full(now),
            conflicts: self.ranges.conflicts(now).collect(),
        })
    }

    /// Reports once that a range found no free slot.
    pub(super) fn watch_limit(&mut self, limit: usize, now: Instant, events: &mut Vec<LineEvent>) {
        let is_full = self.ranges.is_full(now);
        if is_full && !self.is_full_noted {
            events.push(LineEvent::LearnLimit { limit });
        }
        self.is_full_noted = is_full;
    }

    fn replan_shared(&mut self, units: &Units, now: Instant) {
        let protocol = self.protocol;
        let Some(plan) = &mut self.plan else { return };
        plan.recost(|id, range| cost(protocol, units, id, range));
        plan.replan(|id| units.get(id).is_some_and(|unit| !unit.is_offline()), now);
    }

    /// Reports once when the line becomes too full to read as planned, and once when it reads as planned again.
    fn watch_load(&mut self, units: &Units, now: Instant, events: &mut Vec<LineEvent>) {
        let Some(plan) = &self.plan else { return };
        let slowdown = plan.cycle_slowdown();
        match self.overload.note(slowdown, now) {
            None => {}
            Some(PollingLoad::AsPlanned) => events.push(LineEvent::AsPlanned),
            Some(PollingLoad::TooFull) => {
                let usable = |id: UnitId| units.get(id).is_some_and(|unit| !unit.is_offline());
                let is_beyond_share = plan.is_beyond_its_share(usable);
                events.push(LineEvent::TooFull { slowdown, is_beyond_share });
            }
        }
    }

    /// The planned or learned range with the same values, if there is one.
    fn canonical_range(&self, unit: &Unit, range: &ReadRange) -> Option<ReadRange> {
        let tables = unit.settings().tables();
        let planned = self.plan.as_ref().and_then(|plan| plan.canonical_range(unit.id(), range, tables));
        planned.or_else(|| self.ranges.canonical_range(unit.id(), range))
    }

    /// The unit answered this range in full.
    fn note_whole(&mut self, unit: &mut Unit, range: &ReadRange, begun: Instant) {
        let id = unit.id();
        if let Some(plan) = &mut self.plan {
            plan.note_read(id, range, begun);
        }
        self.ranges.note_read(id, range);
        self.unanswered.retain(|entry| entry.unit != id || entry.range != *range);
        if self.is_retrying(id, range) {
            self.divisions.retain(|division| division.unit != id || division.whole.range != *range);
            self.note_measured(unit);
        }
    }

    // Polled blocks that are not answered in full.

    /// A polled block that gets no answer that fits, while the unit answers other reads, is too long for the unit. A
    /// unit that is silent to all reads is no evidence.
    fn note_unanswered(
        &mut self,
        units: &mut Units,
        id: UnitId,
        range: &ReadRange,
        failure: ReadFailure,
        now: Instant,
        events: &mut Vec<LineEvent>,
    ) {
        let Some(entry) = self.unanswered.iter_mut().find(|entry| entry.unit == id && entry.range == *range)
        else {
            self.unanswered.push(Unanswered { unit: id, range: *range, times: 1, since: now });
            return;
        };
        entry.times += 1;
        let (times, since) = (entry.times, entry.since);
        let answers_others = units.get(id).and_then(|unit| unit.last_good_at()).is_some_and(|at| at > since);
        let was_read = self.plan.as_ref().is_some_and(|plan| plan.was_read(id, range));
        let enough = match failure {
            ReadFailure::Exception(_) | ReadFailure::Misfit => TIMES_TO_DIVIDE,
            ReadFailure::NoAnswer if was_read => TIMES_TO_DIVIDE_AFTER_ALL,
            ReadFailure::NoAnswer => TIMES_TO_DIVIDE,
        };
        let speaks = answers_others || failure != ReadFailure::NoAnswer;
        if times >= enough && speaks {
            self.unanswered.retain(|entry| entry.unit != id || entry.range != *range);
            self.divide(units, id, range, failure.reason(), now, events);
        }
    }

    /// Replaces a planned range by two halves, cut between values, or drops it if it cannot be cut. A block that was
    /// divided before and retried as a whole is divided in the same place.
    fn divide(
        &mut self,
        units: &mut Units,
        id: UnitId,
        range: &ReadRange,
        why: DivisionReason,
        now: Instant,
        events: &mut Vec<LineEvent>,
    ) {
        let Some(unit) = units.get(id) else { return };
        let Some(block) = self.plan.as_mut().and_then(|plan| plan.remove(id, range)) else { return };
        let known = self.divisions.iter_mut().find(|division| division.covers(id, range));
        let parts = match known {
            Some(division) if division.whole.range == *range => {
                division.is_retrying = false;
                division.pause = (division.pause * 2).clamp(RETRY_MIN, RETRY_MAX);
                division.retry_at = now + division.pause;
                division.parts.clone()
            }
            known => {
                let halves = cut(unit, range).into_iter().flatten();
                let pause = self.protocol.usual_response_time();
                let cost = |range: &ReadRange| reading_cost(self.protocol, range, pause, Duration::ZERO);
                let parts: Vec<PollBlock> =
                    halves.map(|range| PollBlock { range, cost: cost(&range), ..block }).collect();
                match known {
                    Some(division) => {
                        division.parts.retain(|part| part.range != *range);
                        division.parts.extend(parts.iter().copied());
                    }
                    None => self.divisions.push(DividedBlock {
                        unit: id,
                        whole: block,
                        parts: parts.clone(),
                        retry_at: now + RETRY_MIN,
                        pause: RETRY_MIN,
                        is_retrying: false,
                    }),
                }
                events.push(LineEvent::Divided { unit: id, range: *range, why, is_read: !parts.is_empty() });
                parts
            }
        };
        if let Some(plan) = &mut self.plan {
            parts.into_iter().for_each(|part| plan.insert(part, now));
        }
        units.iter_mut().for_each(|unit| self.note_measured(unit));
        self.replan(units, now);
    }

    /// Retries divided blocks as a whole when their pause is over.
    fn retry_divided(&mut self, units: &Units, now: Instant) {
        let Some(plan) = &mut self.plan else { return };
        let due = |division: &&mut DividedBlock| !division.is_retrying && division.retry_at <= now;
        for division in self.divisions.iter_mut().filter(due) {
            if !units.get(division.unit).is_some_and(|unit| may_be_polled(unit, now)) {
                continue;
            }
            division.is_retrying = true;
            for part in &division.parts {
                plan.remove(division.unit, &part.range);
            }
            plan.insert(division.whole, now);
        }
    }

    /// Whether this is a divided block being retried as a whole.
    fn is_retrying(&self, id: UnitId, range: &ReadRange) -> bool {
        let mut own = self.divisions.iter().filter(|division| division.unit == id);
        own.any(|division| division.is_retrying && division.whole.range == *range)
    }

    /// Records which of the polled blocks of a unit are measurements.
    fn note_measured(&self, unit: &mut Unit) {
        let Some(plan) = &self.plan else { return };
        let measured = plan.blocks(unit.id()).filter(|block| block.measured).map(|block| block.range);
        unit.set_measured(measured.collect::<Vec<_>>().into());
    }
}

impl DividedBlock {
    fn covers(&self, unit: UnitId, range: &ReadRange) -> bool {
        self.unit == unit && self.whole.range.covers(range)
    }
}

/// A read that was answered with data.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnsweredRead<'a> {
    pub(super) range: &'a ReadRange,
    pub(super) reply: &'a Bytes,
    /// When its request began to be sent, or the first of the same reads that this may answer.
    pub(super) begun: Now,
    /// When the last of these was sent.
    pub(super) latest: Instant,
    /// The unit's write epoch at that time.
    pub(super) epoch: u64,
}

/// How a read without data ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadFailure {
    /// With an exception of the unit.
    Exception(ExceptionCode),
    /// With an intact answer that does not fit.
    Misfit,
    /// Without an intact answer.
    NoAnswer,
}

impl ReadFailure {
    /// Why a block is divided that failed like this.
    fn reason(self) -> DivisionReason {
        match self {
            Self::Exception(_) => DivisionReason::Refused,
            Self::Misfit => DivisionReason::Misfit,
            Self::NoAnswer => DivisionReason::Unanswered,
        }
    }
}

/// Whether a unit may answer so to a read that is too long and still answer a shorter one.
fn is_of_the_range(code: ExceptionCode) -> bool {
    code == ExceptionCode::ILLEGAL_DATA_ADDRESS || code == ExceptionCode::ILLEGAL_DATA_VALUE
}

/// Whether the exception is temporary: 05 acknowledge, 06 busy.
pub(super) fn is_passing(code: ExceptionCode) -> bool {
    code.0 == 0x05 || code == ExceptionCode::SERVER_DEVICE_BUSY
}

/// How clients have used the snapshot's block of exactly this range.
fn block_use(units: &Units, id: UnitId, range: &ReadRange) -> Option<BlockUse> {
    units.get(id)?.snapshot().block(range).map(Arc::as_ref).and_then(BlockUse::of)
}

/// Line time of one reading, with the measured response time of the unit.
fn cost(protocol: Protocol, units: &Units, id: UnitId, range: &ReadRange) -> Duration {
    let unit = units.get(id);
    let pause = unit.and_then(Unit::response_time).unwrap_or(protocol.usual_response_time());
    let gap = unit.map_or(Duration::ZERO, |unit| unit.settings().request_gap);
    reading_cost(protocol, range, pause, gap)
}

fn may_be_polled(unit: &Unit, now: Instant) -> bool {
    unit.is_open() && unit.unpolled_until(now).is_none()
}

/// Cuts `range` in two: at the end of its core where it has one, else as near the middle as the values in it allow.
fn cut(unit: &Unit, range: &ReadRange) -> Option<[ReadRange; 2]> {
    let polling = &unit.settings().polling;
    let whole = |at: &u16| !polling.uncut.contains(&(range.function, range.start + at));
    let middle = range.quantity / 2;
    let nearest = || (1..range.quantity).filter(whole).min_by_key(|at| at.abs_diff(middle));
    let at = polling.core_edge(range).filter(whole).or_else(nearest)?;
    let first = ReadRange { quantity: at, ..*range };
    let second = ReadRange { start: range.start + at, quantity: range.quantity - at, ..*range };
    Some([first, second])
}

/// Failures without an answer that fits, with other reads answered in between, before a polled block is divided.
const TIMES_TO_DIVIDE: u32 = 2;

/// The same for a block that has been read in full: on a line that loses an answer occasionally, two failures in a row
/// are no evidence.
const TIMES_TO_DIVIDE_AFTER_ALL: u32 = 10;

/// First pause before a divided block is retried as a whole.
const RETRY_MIN: Duration = Duration::from_secs(10);

/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// A change of a unit's response time by this much, and by a quarter of it, is worth a new plan.
const PAUSE_STEP: Duration = Duration::from_millis(5);

/// From this ratio of time to estimate on, the difference is reported.
const OVERRUN_NOTED: f64 = 1.25;
