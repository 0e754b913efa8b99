//! The line and its snapshot: what is read on our own account, what is kept of it, and what is served from it.
//!
//! The fourth part of [`Line`]. A read that may be served from data of some age and is not at hand refreshes the
//! whole planned or learned range around it, so that traffic does not grow with the clients. Only reads under
//! the unit's present epoch are kept: a write drops what was known before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{info, warn};

use crate::modbus::pdu::{ExceptionCode, ReadRange, RequestPdu};
use crate::modbus::rtu;

use super::budget;
use super::line::Line;
use super::poll::{Due, Plan, USUAL_PAUSE, reading_cost};
use super::queue::Waiter;
use super::request::{Answer, Request, Target};
use super::settings::UnitId;
use super::snapshot::Block;
use super::tables::{Tables, with_function};
use super::turns::Turn;
use super::unit::Unit;
use super::view::PollingView;

/// A planned block or learned range that met with silence.
#[derive(Debug)]
pub(crate) struct Silence {
    unit: UnitId,
    range: ReadRange,
    times: u32,
    since: Instant,
}

impl<T> Line<T> {
    /// Answers a read from the snapshot. The asker has looked there himself; what has come in since then is
    /// worth a second look. A write that he asked for before it and that has not been sent yet comes first.
    pub(super) fn answer_from_snapshot(&mut self, request: Request<T>, now: Instant) -> Option<Request<T>> {
        let behind = self.closing || self.queue.has_write(request.source, request.target);
        let Some((id, wanted)) = shared(&request).filter(|_| !behind) else { return Some(request) };
        let unit = self.units.get(&id);
        match unit.and_then(|unit| unit.snapshot.answer(&wanted, request.max_age, now)) {
            Some(pdu) => {
                self.reply(request.to, Answer::Reply(pdu));
                None
            }
            None => Some(request),
        }
    }

    /// The range to be read in place of a client's own, if data of some age would have served it too.
    pub(super) fn whole_for(&mut self, request: &Request<T>, now: Instant) -> Option<ReadRange> {
        let (id, wanted) = shared(request)?;
        let tables = self.tables_of(request);
        let planned = self.plan.as_ref().and_then(|plan| plan.covering(id, &wanted, tables));
        if planned.is_some() {
            return planned;
        }
        // Nobody is made to wait for more than he asked for where that met with silence last.
        let silences = &self.silences;
        let gives = |range: &ReadRange| {
            let same = tables.are_same(range, &wanted);
            same || !silences.iter().any(|silence| silence.unit == id && silence.range == *range)
        };
        let asked = self.learned.covering(id, &wanted, tables, gives);
        let asked = asked.or_else(|| self.learned.known_as(id, &wanted, tables)).unwrap_or(wanted);
        let held = |id: UnitId, range: &ReadRange| held(&self.units, id, range);
        self.learned.note_asked(id, asked, request.max_age, now, held);
        self.learned.covering(id, &wanted, tables, gives)
    }

    /// Which tables may serve a read: one that takes no aged data is read as it is, and so shows the very table
    /// it asks for.
    pub(super) fn tables_of(&self, request: &Request<T>) -> Tables {
        shared(request).map_or(Tables::Apart, |(id, _)| self.tables(id))
    }

    /// Which tables of the unit hold the same registers.
    pub(super) fn tables(&self, id: UnitId) -> Tables {
        self.units.get(&id).map(|unit| unit.settings.polling.tables()).unwrap_or_default()
    }

    /// The planned or learned range that asks for the same values, if there is one.
    fn known_as(&self, id: UnitId, range: &ReadRange) -> Option<ReadRange> {
        let tables = self.tables(id);
        let planned = self.plan.as_ref().and_then(|plan| plan.known_as(id, range, tables));
        planned.or_else(|| self.learned.known_as(id, range, tables))
    }

    /// Plans the background readings, or spreads them anew when the line could not be used for a while.
    pub(super) fn begin_polling(&mut self, now: Instant) {
        if self.plan.is_some() {
            return self.replan(now);
        }
        let blocks = budget::blocks(&self.settings);
        self.plan = Some(Plan::new(blocks, self.settings.poll_share, now));
        for id in self.settings.units.iter().map(|unit| unit.id).collect::<Vec<_>>() {
            self.note_measured(id);
        }
    }

    /// The line cannot be used: how long readings take to come round meanwhile says nothing of how full it is.
    pub(super) fn interrupt_polling(&mut self) {
        self.crowding.interrupt();
        if let Some(plan) = &mut self.plan {
            plan.interrupt();
        }
    }

    /// Queues the background reading that is due, one at a time.
    pub(super) fn queue_background(&mut self, now: Instant) {
        if self.background_waits() {
            return;
        }
        let (units, learned) = (&self.units, &mut self.learned);
        let usable = |id: UnitId| units.get(&id).is_some_and(may_be_polled);
        let Some(plan) = &mut self.plan else { return };
        if !plan.may_spend(now) {
            return;
        }
        let due = self.turns.order().into_iter().find_map(|turn| {
            let due = match turn {
                Turn::Planned => plan.due(now, usable),
                Turn::Learned => learned.due(now, usable, |id, range| held(units, id, range)),
            };
            Some((turn, due?))
        });
        if let Some((turn, Due { unit, range })) = due {
            let cost = self.reading_cost(unit, &range);
            self.turns.take(turn, cost);
            self.queue.push_background(Target::Unit(unit), range, cost);
            self.watch_crowding(now);
        }
        if self.learned.take_changed() {
            let wanted = self.learned.demand(|id, range| self.reading_cost(id, range));
            if self.plan.as_mut().is_some_and(|plan| plan.reserve(wanted)) {
                self.replan(now);
            }
        }
    }

    /// Says once when the line has become too full to read as planned, and once when it is as planned again.
    fn watch_crowding(&mut self, now: Instant) {
        let Some(plan) = &self.plan else { return };
        let slowdown = plan.crowding();
        let Some(full) = self.crowding.note(slowdown, now) else { return };
        let bus = &self.settings.name;
        let usable = |id: UnitId| self.units.get(&id).is_some_and(|unit| !unit.is_offline());
        if !full {
            info!(%bus, "blocks are read as often as planned again");
        } else if plan.is_beyond_its_share(usable) {
            warn!(%bus, "the line is too full: blocks are read {slowdown:.1} times slower than planned, because \
                background readings ask for more than `poll_share` gives; a longer `poll`, or fewer `blocks` or \
                units on this bus would do");
        } else {
            warn!(%bus, "the line is too full: blocks are read {slowdown:.1} times slower than planned, because \
                clients and units that do not answer take the line; a `max_age` on listeners that have none, or \
                fewer units on this bus would do");
        }
    }

    /// Whether a background reading waits for the line, and not for a unit that owes an answer.
    fn background_waits(&self) -> bool {
        self.queue.has_background(|target| match target {
            Target::Unit(id) => self.units.get(&id).is_some_and(|unit| unit.owed.is_none()),
            Target::Broadcast => false,
        })
    }

    /// The unit was away or is back: what it was silent to meanwhile says nothing about the length of blocks.
    pub(super) fn forget_silences(&mut self, id: UnitId) {
        self.silences.retain(|silence| silence.unit != id);
    }

    /// When a background reading will be due.
    pub(super) fn next_background(&self) -> Option<Instant> {
        if self.background_waits() {
            return None;
        }
        let plan = self.plan.as_ref()?;
        let usable = |id: UnitId| self.units.get(&id).is_some_and(may_be_polled);
        let due = plan.next_due(usable).into_iter().chain(self.learned.next_due(usable)).min();
        // A unit that owes an answer may be read again when its guard is over.
        let owing = self.units.values().filter(|unit| !unit.is_offline()).filter_map(Unit::held_until);
        Some(due.into_iter().chain(owing).min()?.max(plan.affordable_from()?))
    }

    /// A request goes out: a write makes what is known of its units untrue, a read begins a block. Gives the
    /// epoch under which its answer will have been read.
    pub(super) fn note_sent(&mut self, target: Target, pdu: &RequestPdu, now: Instant) -> u64 {
        match (target, pdu.is_read()) {
            (Target::Broadcast, _) => self.units.values_mut().for_each(Unit::note_write),
            (Target::Unit(id), false) => {
                if let Some(unit) = self.units.get_mut(&id) {
                    unit.note_write();
                }
            }
            (Target::Unit(id), true) => {
                let known = pdu.range().and_then(|range| self.known_as(id, &range));
                if let (Some(plan), Some(range)) = (&mut self.plan, known) {
                    plan.note_begun(id, &range, now);
                    self.learned.note_begun(id, &range, now);
                }
            }
        }
        match target {
            Target::Unit(id) => self.units.get(&id).map_or(0, |unit| unit.epoch),
            Target::Broadcast => 0,
        }
    }

    /// Somebody who takes data of some age is about to be given this read, begun at `begun`, which he may have
    /// joined: it has to be kept, or an older block would answer him next.
    pub(super) fn note_takers(
        &mut self,
        id: UnitId,
        pdu: &RequestPdu,
        waiters: &[Waiter<T>],
        begun: Instant,
        now: Instant,
    ) {
        let Some(range) = pdu.range().filter(|range| self.known_as(id, range).is_none()) else { return };
        let ages = waiters.iter().map(|waiter| waiter.max_age).filter(|age| !age.is_zero());
        let Some(max_age) = ages.min() else { return };
        let held = |id: UnitId, range: &ReadRange| held(&self.units, id, range);
        self.learned.note_asked(id, range, max_age, now, held);
        if let Some(unit) = self.units.get_mut(&id).filter(|_| !self.learned.contains(id, &range)) {
            // There is no room for it.
            unit.drop_older(&range, begun);
        }
    }

    /// A read begun at `begun` under `epoch` was answered: keeps it if anybody is going to want it again.
    pub(super) fn keep(&mut self, id: UnitId, pdu: &RequestPdu, reply: &Bytes, begun: Instant, epoch: u64) {
        // Under one name, so that neither table keeps an older block beside it.
        let Some(range) = pdu.range().and_then(|range| self.known_as(id, &range)) else { return };
        let reply = with_function(reply, range.function);
        self.generation += 1;
        if let Some(plan) = &mut self.plan {
            plan.note_read(id, &range);
        }
        self.learned.note_read(id, &range);
        self.silences.retain(|silence| silence.unit != id || silence.range != range);
        let learned = &self.learned;
        let plan = &self.plan;
        if let Some(unit) = self.units.get_mut(&id) {
            unit.keep(Block::new(range, reply, begun, self.generation), epoch);
            // What has been forgotten in the meantime is not kept either.
            unit.drop_blocks(|block| {
                !learned.contains(id, &block.range)
                    && !plan.as_ref().is_some_and(|plan| plan.contains(id, &block.range))
            });
        }
    }

    /// The unit refused a range: if it is one of ours, it is read in parts from now on.
    pub(super) fn note_refused(&mut self, id: UnitId, pdu: &RequestPdu, code: ExceptionCode, now: Instant) {
        let of_the_range =
            code == ExceptionCode::ILLEGAL_DATA_ADDRESS || code == ExceptionCode::ILLEGAL_DATA_VALUE;
        if let Some(range) = pdu.range().filter(|_| of_the_range) {
            self.learned.forget(id, &range);
            self.split(id, &range, &format!("refused with {code}"), now);
        }
    }

    /// A read got no good answer.
    pub(super) fn note_failed(&mut self, id: UnitId, pdu: &RequestPdu) {
        let known = pdu.range().and_then(|range| self.known_as(id, &range));
        if let (Some(plan), Some(range)) = (&mut self.plan, known) {
            plan.note_failed(id, &range);
        }
    }

    /// A read met with silence. A planned block to which the unit stays silent while it answers other reads is
    /// too long for it, and so is a learned range. One that is silent to both, or answers late, tells nothing.
    pub(super) fn note_silent(&mut self, id: UnitId, pdu: &RequestPdu, now: Instant) {
        let (plan, learned) = (&self.plan, &self.learned);
        let is_planned =
            |id: UnitId, range: &ReadRange| plan.as_ref().is_some_and(|plan| plan.contains(id, range));
        let is_ours = |id: UnitId, range: &ReadRange| is_planned(id, range) || learned.contains(id, range);
        self.silences.retain(|silence| is_ours(silence.unit, &silence.range));
        let Some(range) = pdu.range().filter(|range| is_ours(id, range)) else { return };
        let of_it = |silence: &&mut Silence| silence.unit == id && silence.range == range;
        let Some(silence) = self.silences.iter_mut().find(of_it) else {
            self.silences.push(Silence { unit: id, range, times: 1, since: now });
            return;
        };
        silence.times += 1;
        let (times, since) = (silence.times, silence.since);
        let answers_others = self.units.get(&id).and_then(|unit| unit.last_good).is_some_and(|at| at > since);
        let was_read =
            plan.as_ref().is_some_and(|plan| plan.was_read(id, &range)) || learned.was_read(id, &range);
        let enough = if was_read { SILENCES_TO_SPLIT_AFTER_ALL } else { SILENCES_TO_SPLIT };
        if times >= enough && answers_others {
            self.silences.retain(|silence| silence.unit != id || silence.range != range);
            self.learned.forget(id, &range);
            self.split(id, &range, "met with silence while other reads are answered", now);
        }
    }

    /// A background reading ended: its line time comes out of the budget, and is compared with the estimate.
    pub(super) fn spend(&mut self, target: Target, range: Option<ReadRange>, took: Duration) {
        let (Target::Unit(id), Some(range)) = (target, range) else { return };
        let gap = self.units.get(&id).map_or(Duration::ZERO, |unit| unit.settings.request_gap);
        let estimated = reading_cost(self.settings.framing, &range, USUAL_PAUSE, gap);
        let silence = rtu::silence(self.settings.framing.baud_rate).max(gap);
        let Some(plan) = &mut self.plan else { return };
        if !plan.spend(took + silence, estimated) {
            return;
        }
        let slow = plan.overrun().is_some_and(|overrun| overrun > OVERRUN_NOTED);
        if slow != self.overrun_noted {
            self.overrun_noted = slow;
            let percent = plan.overrun().unwrap_or(1.0) * 100.0;
            info!(bus = %self.settings.name, "background readings take {percent:.0} % of the line time `check` \
                estimates; meters that pause longer than {USUAL_PAUSE:?} or do not answer make the difference");
        }
    }

    /// Which units answer, or how fast, has changed: the automatic interval changes with it.
    pub(super) fn replan(&mut self, now: Instant) {
        let Some(mut plan) = self.plan.take() else { return };
        plan.recost(|id, range| self.reading_cost(id, range));
        plan.replan(|id| self.units.get(&id).is_some_and(|unit| !unit.is_offline()), now);
        self.plan = Some(plan);
        for unit in self.units.values_mut() {
            unit.planned_pause = unit.response_time;
        }
    }

    /// The unit answered: when it takes much longer or shorter than planned, the plan is made anew.
    pub(super) fn note_pause(&mut self, id: UnitId, now: Instant) {
        let Some(unit) = self.units.get(&id) else { return };
        let Some(measured) = unit.response_time else { return };
        let planned = unit.planned_pause.unwrap_or(USUAL_PAUSE);
        let moved = measured.abs_diff(planned);
        if moved > PAUSE_STEP && moved * 4 > planned {
            self.replan(now);
        }
    }

    /// How the background readings go.
    pub(super) fn polling_view(&self) -> PollingView {
        self.plan.as_ref().map_or_else(PollingView::default, |plan| PollingView {
            interval: plan.auto_interval(),
            slowdown: plan.slowdown(),
            overrun: plan.overrun(),
            learned: self.learned.len(),
            is_full: self.crowding.is_full(),
        })
    }

    /// Line time of one reading, with the pause the unit was measured to make.
    fn reading_cost(&self, id: UnitId, range: &ReadRange) -> Duration {
        let unit = self.units.get(&id);
        let pause = unit.and_then(|unit| unit.response_time).unwrap_or(USUAL_PAUSE);
        let gap = unit.map_or(Duration::ZERO, |unit| unit.settings.request_gap);
        reading_cost(self.settings.framing, range, pause, gap)
    }

    /// Reads a planned range in two halves from now on, cut between values, or not at all if it cannot be cut.
    fn split(&mut self, id: UnitId, range: &ReadRange, why: &str, now: Instant) {
        if !self.plan.as_ref().is_some_and(|plan| plan.contains(id, range)) {
            return;
        }
        let halves = self.units.get(&id).and_then(|unit| cut(unit, range));
        let parts: Vec<_> =
            halves.into_iter().flatten().map(|part| (part, self.reading_cost(id, &part))).collect();
        let bus = &self.settings.name;
        let ReadRange { function, start, quantity } = range;
        if parts.is_empty() {
            warn!(%bus, unit = %id, %function, start, quantity, "{why}: not read in the background any more");
        } else {
            info!(%bus, unit = %id, %function, start, quantity, "{why}: read in two parts from now on");
        }
        // What is planned from now on is not learned as well, perhaps through the other table.
        let tables = self.tables(id);
        for (part, _) in &parts {
            if let Some(learned) = self.learned.known_as(id, part, tables) {
                self.learned.forget(id, &learned);
            }
        }
        if let Some(plan) = &mut self.plan {
            plan.replace(id, range, &parts, now);
        }
        self.note_measured(id);
        self.replan(now);
    }

    /// Tells the unit which of its blocks are measurements.
    fn note_measured(&mut self, id: UnitId) {
        let Some(plan) = &self.plan else { return };
        let measured = plan.blocks(id).filter(|block| block.measured).map(|block| block.range).collect();
        if let Some(unit) = self.units.get_mut(&id) {
            unit.measured = measured;
        }
    }
}

/// Unit and range of a read that may be served from data of some age.
fn shared<T>(request: &Request<T>) -> Option<(UnitId, ReadRange)> {
    match request.target {
        Target::Unit(id) if !request.max_age.is_zero() => request.pdu.range().map(|range| (id, range)),
        Target::Unit(_) | Target::Broadcast => None,
    }
}

/// What the snapshot of a unit holds of exactly this range.
fn held<'a>(units: &'a BTreeMap<UnitId, Unit>, id: UnitId, range: &ReadRange) -> Option<&'a Block> {
    units.get(&id)?.snapshot.block(range).map(Arc::as_ref)
}

fn may_be_polled(unit: &Unit) -> bool {
    !unit.is_offline() && unit.owed.is_none()
}

/// `range` in two: at the end of its core where it has one, else as near the middle as the values in it allow.
fn cut(unit: &Unit, range: &ReadRange) -> Option<[ReadRange; 2]> {
    let polling = &unit.settings.polling;
    let whole = |at: &u16| !polling.uncut.contains(&(range.function, range.start + at));
    let middle = range.quantity / 2;
    let nearest = || (1..range.quantity).filter(whole).min_by_key(|at| at.abs_diff(middle));
    let at = polling.core_edge(range).filter(whole).or_else(nearest)?;
    let first = ReadRange { quantity: at, ..*range };
    let second = ReadRange { start: range.start + at, quantity: range.quantity - at, ..*range };
    Some([first, second])
}

/// Silences of a planned block or a learned range, with other reads answered in between, that show it is too long.
const SILENCES_TO_SPLIT: u32 = 2;

/// The same of a block that has been read whole: on a line that loses an answer now and then, two in a row are
/// nothing, and what is split stays split.
const SILENCES_TO_SPLIT_AFTER_ALL: u32 = 10;

/// A change of a unit's response time is worth a new plan from here on, and from a quarter of it on.
const PAUSE_STEP: Duration = Duration::from_millis(5);

/// From this part of the estimate on, the difference is worth a line in the log.
const OVERRUN_NOTED: f64 = 1.25;
