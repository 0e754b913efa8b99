//! The line while it is free: what goes on the wire next, and when; what has waited too long.
//!
//! The third part of [`Line`]. Owns the silence before a request: 3.5 characters or the configured gap,
//! measured from the last byte in either direction (MODBUS over Serial Line V1.02, chapter 2.5.1.1).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::info;

use crate::modbus::pdu::ExceptionCode;
use crate::modbus::rtu;

use super::exchange::{Exchange, Purpose};
use super::line::{Line, OCCUPIED_QUIET, Output, REST_SLACK, gave_up};
use super::queue::{Item, Waiter};
use super::request::Target;
use super::sabotage::{Guard, keeps};
use super::settings::UnitId;
use super::unit::{PROBE_PAUSE_MIN, Unit};
use super::view::PortState;

impl<T> Line<T> {
    /// Sends the next request, if the line is free and has been silent for long enough.
    pub(super) fn send_next(&mut self, now: Instant) {
        self.end_occupation(now);
        if !self.is_free() || now < self.silent_from() {
            return;
        }
        // A request may be the first call after a stall: what waited too long meanwhile stays off the wire.
        self.expire(now);
        self.queue_background(now);
        let targets = self.queue.candidates().map(|item| item.target);
        let ready: BTreeSet<Target> = targets.filter(|&target| self.ready_at(target) <= now).collect();
        // Many dead units, probed each second while no unit is on-line, must leave room for the living.
        let due = if self.probed_last && !ready.is_empty() { None } else { self.due_probe(now) };
        if let Some(id) = due {
            self.send_unasked(id, Purpose::Probe, now);
            return;
        }
        let taken = self.queue.take(|item| ready.contains(&item.target));
        let Some(item) = taken else { return };
        match item.target {
            Target::Unit(id) if !self.echo.may_send(&item.pdu) => {
                self.queue.put_back(item);
                self.send_unasked(id, Purpose::EchoCheck, now);
            }
            Target::Unit(_) | Target::Broadcast => self.send(item, Purpose::Client, now),
        }
    }

    /// When something can be sent, if the line is free and something waits.
    pub(super) fn next_start(&self) -> Option<Instant> {
        if !self.is_free() {
            return None;
        }
        let soonest = self.silent_from();
        let mut next: Option<Instant> = None;
        for item in self.queue.candidates() {
            let ready = self.ready_at(item.target);
            next = Some(next.map_or(ready, |next| next.min(ready)));
            if ready <= soonest {
                break;
            }
        }
        let nobody_online = self.nobody_online();
        let probes = self.units.values().filter_map(|unit| {
            Some(unit.probe_due(nobody_online)?.max(self.ready_at(Target::Unit(unit.settings.id))))
        });
        let background = self.next_background().map(|due| due.max(soonest));
        probes.chain(next).chain(background).min()
    }

    /// When the first of those who wait will have waited too long.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let expiries =
            self.queue.items().flat_map(|item| item.waiters.iter().map(|waiter| expiry(item, waiter)));
        expiries.min()
    }

    /// Tells those who have waited too long: nothing is sent that could not be answered in time.
    pub(super) fn expire(&mut self, now: Instant) {
        for (attempts, waiter) in self.queue.remove_waiters(|item, waiter| expiry(item, waiter) <= now) {
            self.recorder.statistics.expired += 1;
            self.give_up(attempts, waiter);
        }
        self.expire_on_the_wire(now);
    }

    /// Answers one whose request will not be sent any more, after so many attempts.
    pub(super) fn give_up(&mut self, attempts: u32, waiter: Waiter<T>) {
        let code = if attempts == 0 {
            ExceptionCode::SERVER_DEVICE_BUSY
        } else {
            ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND
        };
        self.reply(waiter.to, gave_up(attempts, code));
        self.changed = true;
    }

    /// Each asks for no more than he wanted, once for all who want the same, so that traffic does not grow with
    /// the clients when a reading they share fails.
    pub(super) fn ask_alone(&mut self, target: Target, waiters: Vec<Waiter<T>>, attempts: u32) {
        let mut groups: BTreeMap<Bytes, Vec<Waiter<T>>> = BTreeMap::new();
        for waiter in waiters {
            groups.entry(waiter.pdu.bytes().clone()).or_default().push(waiter);
        }
        for group in groups.into_values() {
            let cost = group.first().map_or(Duration::ZERO, |waiter| self.cost(&waiter.pdu, target));
            self.queue.push_alone(target, group, attempts, cost);
        }
    }

    /// The longest pause between two probes that cost `cost` each, so that all off-line units together take
    /// no more than `failure_share` of the line.
    pub(super) fn probe_pause_max(&self, cost: Duration) -> Duration {
        let offline = self.units.values().filter(|unit| unit.is_offline()).count().max(1);
        let budget = cost.as_secs_f64() * offline as f64 / self.settings.failure_share;
        Duration::try_from_secs_f64(budget)
            .unwrap_or(Duration::MAX)
            .clamp(PROBE_PAUSE_MIN, self.settings.probe_max.max(PROBE_PAUSE_MIN))
    }

    fn is_free(&self) -> bool {
        !self.closing
            && self.exchange.is_none()
            && self.port == PortState::Open
            && self.receiver.pending() == 0
    }

    /// When the silence every request needs is over.
    fn silent_from(&self) -> Instant {
        self.after_silence(Duration::ZERO)
    }

    fn after_silence(&self, gap: Duration) -> Instant {
        let silence = rtu::silence(self.settings.framing.baud_rate).max(gap);
        let silence = if keeps(Guard::Silence) { silence } else { Duration::ZERO };
        let silent = self.last_activity.map(|last| last + silence);
        silent.max(self.turnaround_until).expect("the port's opening counts as activity")
    }

    /// When a request to `target` may be sent as far as silence and owed answers go.
    fn ready_at(&self, target: Target) -> Instant {
        let unit = match target {
            Target::Unit(id) => self.units.get(&id),
            Target::Broadcast => None,
        };
        let gap = unit.map_or(self.settings.request_gap, |unit| unit.settings.request_gap);
        let silent = self.after_silence(gap);
        unit.and_then(Unit::held_until).map_or(silent, |held| held.max(silent))
    }

    fn nobody_online(&self) -> bool {
        !self.units.values().any(Unit::is_online)
    }

    fn due_probe(&self, now: Instant) -> Option<UnitId> {
        let nobody_online = self.nobody_online();
        let due = |unit: &&Unit| {
            unit.probe_due(nobody_online).is_some_and(|due| due <= now)
                && self.ready_at(Target::Unit(unit.settings.id)) <= now
        };
        // The one that has waited longest, so that many dead units take turns.
        let first = self.units.values().filter(due).min_by_key(|unit| unit.probe_due(nobody_online));
        first.map(|unit| unit.settings.id)
    }

    /// Sends a read that no client asked for.
    fn send_unasked(&mut self, id: UnitId, purpose: Purpose, now: Instant) {
        let Some(unit) = self.units.get(&id) else { return };
        // Its answer must tell more than that the adapter echoes.
        let usual = Some(unit.probe()).filter(super::echo::differs_from_its_answer);
        let pdu = usual.unwrap_or_else(super::unit::first_register);
        let target = Target::Unit(id);
        // Without a range nothing joins it.
        let item = Item {
            background: false,
            key: UNASKED,
            target,
            pdu,
            range: None,
            cost: Duration::ZERO,
            attempts: 0,
            waiters: vec![],
        };
        self.send(item, purpose, now);
    }

    fn send(&mut self, mut item: Item<T>, purpose: Purpose, now: Instant) {
        item.attempts += 1;
        self.probed_last = purpose == Purpose::Probe;
        let epoch = self.note_sent(item.target, &item.pdu, now);
        let (unit, timeout) = self.addressee(item.target, purpose);
        let adu = rtu::encode(unit, item.pdu.bytes());
        let wire_end = now + self.wire_time(adu.len());
        let response_deadline = wire_end + timeout;
        self.record_the_rest(now);
        self.receiver.begin();
        self.exchange = Some(Exchange {
            echo: self.echo.watch(&item.pdu, &adu),
            adu: adu.clone(),
            askers: self.recorder.note_sending(&item, now),
            item,
            purpose,
            sent_at: now,
            wire_end,
            response_deadline,
            hard_deadline: response_deadline + self.wire_time(rtu::ADU_MAX) + REST_SLACK,
            epoch,
            any_byte: false,
        });
        self.last_activity = Some(wire_end);
        self.counters.transactions += 1;
        self.changed = true;
        self.outputs.push_back(Output::Transmit(adu));
    }

    /// The identifier to send to, and how long its answer may take to begin.
    fn addressee(&mut self, target: Target, purpose: Purpose) -> (u8, Duration) {
        let Target::Unit(id) = target else { return (0, Duration::ZERO) };
        let neighbour = self.slowest_like(id);
        let Some(unit) = self.units.get_mut(&id) else { return (id.get(), self.settings.response_timeout) };
        unit.counters.transactions += 1;
        // Nothing is sent to a unit before its guard has passed.
        unit.owed = None;
        let timeout = match purpose {
            Purpose::Client | Purpose::EchoCheck => unit.settings.response_timeout,
            Purpose::Probe => unit.probe_timeout(neighbour),
        };
        (id.get(), timeout)
    }

    /// What the slowest unit usually takes of those whose `response_timeout` is the same.
    fn slowest_like(&self, id: UnitId) -> Option<Duration> {
        let timeout = self.units.get(&id)?.settings.response_timeout;
        let alike = self.units.values().filter(|unit| unit.settings.response_timeout == timeout);
        alike.filter_map(|unit| unit.response_time).max()
    }

    fn end_occupation(&mut self, now: Instant) {
        let quiet = self.last_byte.is_none_or(|last| now >= last + OCCUPIED_QUIET);
        if self.port == PortState::Occupied && quiet {
            self.port = PortState::Open;
            self.receiver.begin();
            self.record_the_rest(now);
            self.noisy_since = None;
            self.changed = true;
            self.begin_polling(now);
            info!(bus = %self.settings.name, "line free again");
        }
    }
}

/// When it is too late to send `item` for `waiter`: its answer could not be there before the deadline.
fn expiry<T>(item: &Item<T>, waiter: &Waiter<T>) -> Instant {
    waiter.deadline.checked_sub(item.cost).unwrap_or(waiter.deadline)
}

/// The key of what no client asked for.
const UNASKED: u64 = u64::MAX;
