//! The line while something is on the wire: whose answer a frame is, and how a request ends.
//!
//! The second part of [`Line`]. Every end of a request passes one of two functions here, `succeed` and
//! `fail`, so that no request can be answered twice or forgotten.

use std::time::Instant;

use tracing::{debug, info, warn};

use crate::modbus::pdu::{ExceptionCode, RequestPdu};
use crate::modbus::{reply, rtu};

use super::echo::{Front, Phase};
use super::exchange::{Exchange, Failure, Purpose};
use super::line::{Line, OCCUPIED_AFTER, QUIET, REST_SLACK, gave_up};
use super::queue::{Item, Waiter};
use super::receive::{Finality, Frame};
use super::record::{Outcome, PieceKind};
use super::request::{Answer, Target};
use super::sabotage::{Guard, begun, keeps};
use super::settings::UnitId;
use super::tables::with_function;
use super::unit::{Owed, Unit, UnitState};
use super::view::PortState;

impl<T> Line<T> {
    /// Takes bytes in and notes what their arrival alone means.
    pub(super) fn note_bytes(&mut self, bytes: &[u8], now: Instant) {
        // A pause shows that the line can fall silent.
        if self.last_byte.is_none_or(|last| now.saturating_duration_since(last) > QUIET) {
            self.noisy_since = None;
        }
        self.noisy_since.get_or_insert(now);
        self.last_byte = Some(now);
        self.last_activity = Some(self.last_activity.map_or(now, |last| last.max(now)));
        self.recorder.tape.push(bytes, now);
        if self.port == PortState::Open {
            if self.receiver.pending() == 0 {
                self.head_at = Some(now);
            }
            self.receiver.push(bytes);
        } else {
            // Nothing will be made of these, and nobody knows how many will come: they are counted, not kept.
            self.counters.noise_bytes += bytes.len() as u64;
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.any_byte = true;
        }
    }

    /// Takes whole frames out of what has arrived.
    pub(super) fn take_frames(&mut self, finality: Finality, now: Instant) {
        if !self.pass_echo(finality, now) {
            return;
        }
        while let Some(frame) = self.next_frame(finality) {
            self.take_frame(frame, now);
            self.head_at = Some(now);
        }
        if let Some(failure) = self.damage(finality) {
            self.fail(failure, now);
        }
    }

    /// When the bytes that are not yet a frame are to be looked at again.
    pub(super) fn pending_due(&self) -> Option<Instant> {
        let last = self.last_byte.filter(|_| self.receiver.pending() > 0)?;
        let over = self.pending_over(last);
        let quiet = last + QUIET;
        Some(if self.quiet_looked_at == Some(last) { over } else { over.min(quiet) })
    }

    /// The line has been quiet with an unfinished frame.
    pub(super) fn end_of_quiet(&mut self, now: Instant) {
        let Some(last) = self.last_byte.filter(|_| self.receiver.pending() > 0) else { return };
        if now >= self.pending_over(last) {
            self.take_frames(Finality::Over, now);
        } else if now >= last + QUIET && self.quiet_looked_at != Some(last) {
            self.quiet_looked_at = Some(last);
            self.take_frames(Finality::Quiet, now);
        }
    }

    /// Ends the request on the wire when its time is over.
    pub(super) fn judge_exchange(&mut self, now: Instant) {
        let Some(exchange) = &self.exchange else { return };
        if exchange.is_broadcast() {
            if now >= exchange.wire_end {
                self.finish_broadcast(now);
            }
            return;
        }
        if now >= exchange.hard_deadline {
            self.take_frames(Finality::Over, now);
        }
        let Some(exchange) = &self.exchange else { return };
        let waiting_for_rest = self.receiver.pending() > 0 && now < exchange.hard_deadline;
        if now >= exchange.response_deadline && !waiting_for_rest {
            self.fail(Failure::Silent, now);
        }
    }

    /// Declares the line occupied when bytes come without a pause and without a frame.
    pub(super) fn watch_for_babble(&mut self, now: Instant) {
        let Some(since) = self.noisy_since.filter(|_| self.port == PortState::Open) else { return };
        let limit = OCCUPIED_AFTER.max(self.wire_time(2 * rtu::ADU_MAX));
        // A request on the wire changes nothing: behind an adapter that delivers in lumps, an endless stream
        // has pauses long enough to send into.
        if now.saturating_duration_since(since) < limit {
            return;
        }
        self.port = PortState::Occupied;
        self.receiver.begin();
        self.counters.occupied += 1;
        warn!(bus = %self.settings.name, "line occupied: bytes without end, nothing is sent into them; \
            look for a unit that keeps sending, a missing termination or the wrong baud rate");
        self.fail_everything(ExceptionCode::GATEWAY_PATH_UNAVAILABLE, now);
    }

    /// Waiters whose deadline has come while their request is on the wire are told so; the request goes on.
    pub(super) fn expire_on_the_wire(&mut self, now: Instant) {
        let Some(exchange) = &mut self.exchange else { return };
        let (late, stay): (Vec<_>, Vec<_>) =
            exchange.item.waiters.drain(..).partition(|waiter| waiter.deadline <= now);
        exchange.item.waiters = stay;
        for waiter in late {
            self.recorder.statistics.expired += 1;
            self.reply(waiter.to, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        }
    }

    /// When what is pending will be no frame any more: its rest has not come within its wire time and a
    /// slack. With nothing awaited, or no longer, a pause is enough.
    fn pending_over(&self, last: Instant) -> Instant {
        let rest = last + self.wire_time(self.receiver.missing()) + REST_SLACK;
        if self.exchange.is_some() {
            return rest;
        }
        let quiet = last + QUIET;
        let guard = self.units.values().filter_map(Unit::held_until).max();
        guard.map_or(quiet, |guard| rest.min(quiet.max(guard)))
    }

    /// Takes an echo off the front. False while it cannot be told yet whether one is coming.
    fn pass_echo(&mut self, finality: Finality, now: Instant) -> bool {
        let Some(exchange) = &mut self.exchange else { return true };
        let front = self.echo.judge(&mut exchange.echo, self.receiver.bytes());
        match front {
            Front::Echo(length) => {
                self.receiver.strip(length);
                self.mark(PieceKind::Echo, length, now);
                self.head_at = Some(now);
                self.noisy_since = None;
                true
            }
            Front::Undecided => finality != Finality::Open,
            Front::Other => true,
            Front::Collision => {
                self.counters.collisions += 1;
                true
            }
        }
    }

    fn next_frame(&mut self, finality: Finality) -> Option<Frame> {
        let (exchange, units) = (&self.exchange, &self.units);
        self.receiver.next(
            |unit, function| {
                let awaited = exchange
                    .as_ref()
                    .filter(|exchange| exchange.item.target == Target::Unit(unit))
                    .map(|exchange| (&exchange.item.pdu, true));
                let owed = || units.get(&unit)?.owed.as_ref().map(|owed| (&owed.request, false));
                awaited.or_else(owed).filter(|(request, _)| request.function().0 == function)
            },
            finality,
        )
    }

    /// Whose frame this is.
    fn take_frame(&mut self, frame: Frame, now: Instant) {
        let fits = |request: &RequestPdu| {
            reply::answers(request, &frame.pdu)
                || !keeps(Guard::LengthCheck) && frame.pdu[0] == request.function().0
        };
        let target = Target::Unit(frame.unit);
        let length = frame.pdu.len() + rtu::OVERHEAD;
        if self.take_late_echo(&frame) {
            return self.mark(PieceKind::Echo, length, now);
        }
        let asked = |other: Target| other == target || !keeps(Guard::UnitCheck);
        if let Some(exchange) = self.exchange.take_if(|ex| asked(ex.item.target) && fits(&ex.item.pdu)) {
            self.mark(PieceKind::Answer, length, now);
            self.succeed(exchange, &frame, now);
            return;
        }
        let awaited_elsewhere = self.exchange.as_ref().is_some_and(|exchange| exchange.item.target != target);
        if awaited_elsewhere {
            self.note_foreign();
        }
        self.changed = true;
        let owed = self.units.get(&frame.unit).and_then(|unit| unit.owed.as_ref());
        if owed.is_some_and(|owed| fits(&owed.request)) {
            self.mark(PieceKind::Late(frame.unit), length, now);
            self.take_late_answer(&frame, now);
        } else {
            self.mark(PieceKind::Foreign, length, now);
            if let Some(unit) = self.units.get_mut(&frame.unit) {
                unit.note_unexpected(fits, now);
            }
        }
    }

    /// On a line that echoes, a write whose answer equals it is not answered by an echo that noise hid.
    fn take_late_echo(&mut self, frame: &Frame) -> bool {
        let Some(exchange) = &mut self.exchange else { return false };
        let item = &exchange.item;
        let is_echo = item.target == Target::Unit(frame.unit)
            && item.pdu.bytes() == &frame.pdu
            && self.echo.is_still_due(&item.pdu, &exchange.echo);
        if is_echo {
            exchange.echo = Phase::Seen;
        }
        is_echo
    }

    /// The answer to a request that was given up: it ends the guard, and answers whoever still waits for it
    /// and takes data of that age.
    fn take_late_answer(&mut self, frame: &Frame, now: Instant) {
        // Frames that nobody asked for are as good as babble; this one was.
        self.noisy_since = None;
        let Some(unit) = self.units.get_mut(&frame.unit) else { return };
        let Some(owed) = unit.note_late(now) else { return };
        let (bus, late) = (&self.settings.name, now.saturating_duration_since(owed.sent_at));
        if unit.counters.late_answers == 1 {
            info!(%bus, unit = %frame.unit, "a late answer, {late:?} after its request; more of these are logged \
                as debug, and a longer `response_timeout` would wait for them");
        } else {
            debug!(%bus, unit = %frame.unit, "a late answer, {late:?} after its request");
        }
        Self::note_exception(unit, frame);
        let changed = unit.note_answer(&owed.request, None, now);
        self.note_state(frame.unit, changed, now);
        let item = owed.item.and_then(|key| self.queue.remove(key));
        if exception_of(frame).is_none() {
            let begun = begun(owed.sent_at, now);
            if let Some(Item { waiters, .. }) = &item {
                self.note_takers(frame.unit, &owed.request, waiters, owed.sent_at, now);
            }
            self.keep(frame.unit, &owed.request, &frame.pdu, begun, owed.epoch);
        }
        let Some(item) = item else { return };
        let Item { waiters, attempts, .. } = item;
        let (fresh, rest): (Vec<_>, Vec<_>) =
            waiters.into_iter().partition(|waiter| waiter.takes_data_of(owed.sent_at));
        if !rest.is_empty() {
            self.queue.put_back(Item { waiters: rest, ..item });
        }
        self.answer_all(fresh, attempts, &owed.request, frame);
    }

    /// The unit answered, with data or an exception of its own.
    fn succeed(&mut self, exchange: Exchange<T>, frame: &Frame, now: Instant) {
        self.noisy_since = None;
        let outcome = exception_of(frame).map_or(Outcome::Answered, Outcome::Exception);
        self.note_end(&exchange, outcome, now);
        let head = self.head_at.unwrap_or(now);
        let response_time = head.saturating_duration_since(exchange.wire_end);
        if frame.is_first || self.echo.is_past(&exchange.echo) {
            self.echo.conclude(&exchange.item.pdu, &exchange.echo);
        }
        let Exchange { item, sent_at, epoch, .. } = exchange;
        if let Some(unit) = self.units.get_mut(&frame.unit) {
            Self::note_exception(unit, frame);
            let changed = unit.note_answer(&item.pdu, Some(response_time), now);
            self.note_state(frame.unit, changed, now);
            self.note_pause(frame.unit, now);
        }
        match exception_of(frame) {
            Some(code) => self.note_refused(frame.unit, &item.pdu, code, now),
            None => {
                self.note_takers(frame.unit, &item.pdu, &item.waiters, sent_at, now);
                self.keep(frame.unit, &item.pdu, &frame.pdu, begun(sent_at, now), epoch);
            }
        }
        self.changed = true;
        self.answer_all(item.waiters, item.attempts, &item.pdu, frame);
    }

    /// Gives each waiter its part of the answer. Who asked for less than what was refused with 0x02 or 0x03
    /// asks again, alone.
    fn answer_all(&mut self, waiters: Vec<Waiter<T>>, attempts: u32, asked: &RequestPdu, frame: &Frame) {
        let exception = exception_of(frame);
        let of_the_range = exception.is_some_and(|code| {
            code == ExceptionCode::ILLEGAL_DATA_ADDRESS || code == ExceptionCode::ILLEGAL_DATA_VALUE
        });
        let asked = asked.range();
        let tables =
            self.units.get(&frame.unit).map(|unit| unit.settings.polling.tables()).unwrap_or_default();
        let mut alone = Vec::new();
        for waiter in waiters {
            let wanted = waiter.pdu.range();
            if of_the_range && wanted != asked && !self.closing {
                alone.push(waiter);
                continue;
            }
            let part = match (exception, asked, wanted) {
                (None, Some(asked), Some(wanted)) => tables.cut(&asked, &frame.pdu, &wanted),
                _ => Some(with_function(&frame.pdu, waiter.pdu.function())),
            };
            let answer =
                part.map_or(Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND), Answer::Reply);
            self.reply(waiter.to, answer);
        }
        self.ask_alone(Target::Unit(frame.unit), alone, attempts);
    }

    /// The request on the wire got no good answer.
    fn fail(&mut self, failure: Failure, now: Instant) {
        let Some(exchange) = self.exchange.take() else { return };
        self.note_end(&exchange, failure.outcome(), now);
        self.counters.failures += 1;
        self.changed = true;
        if failure == Failure::Garbled {
            // It ended at its length: no babble.
            self.noisy_since = None;
        }
        if matches!(exchange.echo, Phase::Seen) || (failure == Failure::Silent && !exchange.any_byte) {
            self.echo.conclude(&exchange.item.pdu, &exchange.echo);
        }
        let Exchange { item, purpose, sent_at, wire_end, epoch, .. } = exchange;
        let Target::Unit(id) = item.target else { return };
        let limits = self.settings.offline_after;
        let probe_pause = self.probe_pause_max(now.saturating_duration_since(sent_at));
        let Some(unit) = self.units.get_mut(&id) else { return };
        match failure {
            Failure::Silent => unit.counters.timeouts += 1,
            Failure::Truncated | Failure::Garbled => unit.counters.crc_errors += 1,
        }
        let became_offline = unit.note_failure(&item.pdu, sent_at, now, limits);
        if purpose == Purpose::Probe {
            unit.note_probe_failure(now, probe_pause);
        }
        let again = (item.pdu.is_read() || !keeps(Guard::WriteOnce))
            && item.attempts <= self.settings.retries
            && !unit.is_offline()
            && purpose == Purpose::Client
            && !self.closing;
        // A whole answer, though damaged, has come: nothing is owed.
        if failure != Failure::Garbled {
            let key = again.then_some(item.key);
            let request = item.pdu.clone();
            let until = (wire_end + unit.settings.response_timeout).max(now);
            unit.owe(Owed { request, sent_at, epoch, item: key, until });
        }
        self.note_failed(id, &item.pdu);
        if failure == Failure::Silent {
            self.note_silent(id, &item.pdu, now);
        }
        self.note_state(id, became_offline, now);
        self.retry_or_give_up(item, again, failure, now);
        if became_offline {
            self.flush(id);
        }
    }

    /// Back into the queue for whoever can still be answered in time; 0x0B for the others. Who asked for less than
    /// was sent asks for that alone: the unit may be silent only to what is too long for it. What came in its full
    /// length was not.
    fn retry_or_give_up(&mut self, mut item: Item<T>, again: bool, failure: Failure, now: Instant) {
        let Target::Unit(id) = item.target else { return };
        let held = self.units.get(&id).and_then(Unit::held_until).unwrap_or(now);
        let earliest = held + self.cost(&item.pdu, item.target);
        let in_time = |waiter: &Waiter<T>| waiter.deadline > earliest && !self.closing;
        let tables = self.tables(id);
        let sent = item.pdu.range();
        let too_long = failure != Failure::Garbled || !again;
        let less = |waiter: &Waiter<T>| {
            let ranges = waiter.pdu.range().zip(sent);
            too_long && ranges.is_some_and(|(wanted, sent)| !tables.are_same(&wanted, &sent))
        };
        let offline = self.units.get(&id).is_none_or(Unit::is_offline);
        let (mut alone, mut stay, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for waiter in std::mem::take(&mut item.waiters) {
            match (in_time(&waiter), less(&waiter)) {
                (true, true) if !offline => alone.push(waiter),
                (true, false) if again => stay.push(waiter),
                (true | false, _) => out.push(waiter),
            }
        }
        self.ask_alone(item.target, alone, item.attempts);
        for waiter in out {
            self.reply(waiter.to, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        }
        if !stay.is_empty() {
            item.waiters = stay;
            // Clients wait for it: it must not keep readings of other units from being planned.
            item.background = false;
            self.queue.put_back(item);
        }
    }

    /// The unit is off-line: nothing that waits for it will reach it.
    fn flush(&mut self, id: UnitId) {
        self.queue.drop_background(|item| item.target == Target::Unit(id));
        for (attempts, waiter) in self.queue.remove_waiters(|item, _| item.target == Target::Unit(id)) {
            self.reply(waiter.to, gave_up(attempts, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        }
    }

    /// The line was lost or given up under the request on the wire, whose answer may still come when the line
    /// is back. Gives those who waited for it.
    pub(super) fn abandon(&mut self, now: Instant) -> Vec<Waiter<T>> {
        let Some(exchange) = self.exchange.take() else { return vec![] };
        let occupied = self.port == PortState::Occupied;
        let outcome = if occupied { Outcome::Occupied } else { Outcome::PortLost };
        self.note_end(&exchange, outcome, now);
        let Exchange { item, sent_at, wire_end, epoch, .. } = exchange;
        match item.target {
            Target::Broadcast => self.turnaround_until = Some(wire_end + self.settings.turnaround_delay),
            Target::Unit(id) => {
                if let Some(unit) = self.units.get_mut(&id) {
                    let until = (wire_end + unit.settings.response_timeout).max(now);
                    unit.owe(Owed { request: item.pdu, sent_at, epoch, item: None, until });
                }
            }
        }
        item.waiters
    }

    fn finish_broadcast(&mut self, now: Instant) {
        let Some(exchange) = self.exchange.take() else { return };
        self.note_end(&exchange, Outcome::Sent, now);
        self.turnaround_until = Some(exchange.wire_end + self.settings.turnaround_delay);
        self.changed = true;
        for waiter in exchange.item.waiters {
            self.reply(waiter.to, Answer::Sent);
        }
    }

    /// Whether the awaited answer came, but not intact.
    fn damage(&self, finality: Finality) -> Option<Failure> {
        let exchange = self.exchange.as_ref().filter(|exchange| !exchange.is_broadcast())?;
        // A damaged echo, or what another unit still owes, may look like the head of the answer. Then the
        // answer itself may yet come, and must stay owed.
        let others_owe = self.units.values().any(|unit| unit.owed.is_some());
        let is_the_answer = self.echo.is_past(&exchange.echo) && !others_owe;
        if self.receiver.pending() > 0 {
            None
        } else if self.receiver.is_garbled() && is_the_answer {
            Some(Failure::Garbled)
        } else if self.receiver.is_truncated() && finality == Finality::Over {
            Some(Failure::Truncated)
        } else {
            None
        }
    }

    fn note_exception(unit: &mut Unit, frame: &Frame) {
        if let Some(code) = exception_of(frame) {
            unit.counters.exceptions += 1;
            unit.statistics.note_exception(code);
            unit.last_exception = Some(code);
        }
    }

    /// A unit's state may have changed: one line per change, not per failure, and a new plan.
    fn note_state(&mut self, id: UnitId, changed: bool, now: Instant) {
        let Some(unit) = self.units.get(&id).filter(|_| changed) else { return };
        let was_away = unit.is_offline() || unit.state() == UnitState::Recovering;
        let bus = &self.settings.name;
        if unit.is_offline() {
            let time = self.settings.offline_after.time;
            warn!(%bus, unit = %id, "off-line: no answer for {time:?}; probing it now and then");
        } else {
            info!(%bus, unit = %id, "{}", unit.state());
        }
        if was_away {
            self.forget_silences(id);
        }
        self.replan(now);
    }
}

/// The exception a unit's reply carries, if it is one.
fn exception_of(frame: &Frame) -> Option<ExceptionCode> {
    (frame.pdu[0] & 0x80 != 0).then(|| ExceptionCode(frame.pdu[1]))
}
