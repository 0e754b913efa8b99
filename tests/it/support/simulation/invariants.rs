//! The promises, checked at each step: the requests, the units' executions, and the outputs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use metergate::line::{Answer, LineSettings, ListenerId, Now, PortState, Target, UnitState, UnitView, View};
use metergate::modbus::pdu::{ExceptionCode, ReadRange, RequestPdu};

use super::own::Own;
use super::polling::{COUNTERS, COUNTERS_END, time_told};
use super::wire::{MILLI, Nanos};

/// Broken promises are reported as text.
pub(crate) type Check = Result<(), String>;

/// A request the machine has been handed and has not answered.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) connection: u64,
    pub(crate) target: Target,
    pub(crate) pdu: RequestPdu,
    pub(crate) at: Nanos,
    pub(crate) max_age: Nanos,
    pub(crate) listener: ListenerId,
    pub(crate) deadline: Nanos,
    /// The last write to its unit that was answered before it was asked.
    pub(crate) floor: Nanos,
    /// What the same connection has been given of all of this, by the counters in it, with the same age.
    pub(crate) seen: Nanos,
    /// Writes of the same connection that were asked for before it, and not answered then.
    pub(crate) behind: Vec<RequestPdu>,
    /// How often the same request had been sent before it was asked.
    pub(crate) sent_before: u32,
    /// It must be answered with data of the unit, or the unit's own exception.
    pub(crate) must_succeed: bool,
}

/// What a unit did on a request, and meant to answer.
#[derive(Debug)]
pub(crate) struct Execution {
    /// When its request began to be sent.
    pub(crate) sent: Nanos,
    /// When it had arrived.
    pub(crate) at: Nanos,
    pub(crate) pdu: RequestPdu,
    pub(crate) reply: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Invariants {
    pub(crate) asked: BTreeMap<u64, Asked>,
    pub(crate) view: View,
    pub(crate) own: Own,
    executions: BTreeMap<u8, Vec<Execution>>,
    floors: BTreeMap<u8, Nanos>,
    /// What each connection was last told by the counters of a range of a unit, by the age it takes.
    given: BTreeMap<(u64, Target, Nanos), Vec<(ReadRange, Nanos)>>,
    /// How often each write was asked for, and how often it went out.
    writes: BTreeMap<(u8, Vec<u8>), u32>,
    sent: BTreeMap<(u8, Vec<u8>), u32>,
    /// A read that was sent and that no client waited for.
    unexplained: Option<(u8, RequestPdu, Nanos)>,
    /// Of when the clients of each listener were last given each counter: unit, table and address.
    told: BTreeMap<(ListenerId, u8, u8, u16), Nanos>,
    /// The units of the present settings.
    configured: BTreeSet<u8>,
}

impl Invariants {
    pub(crate) fn new(settings: &LineSettings) -> Self {
        Self {
            asked: BTreeMap::new(),
            view: View::default(),
            own: Own::new(settings),
            executions: BTreeMap::new(),
            floors: BTreeMap::new(),
            given: BTreeMap::new(),
            writes: BTreeMap::new(),
            sent: BTreeMap::new(),
            unexplained: None,
            told: BTreeMap::new(),
            configured: settings.units.iter().map(|unit| unit.id.get()).collect(),
        }
    }

    /// The line is about to be handed other settings.
    pub(crate) fn reload(&mut self, settings: &LineSettings, now: Nanos) {
        self.own.reload(settings, now);
        self.configured = settings.units.iter().map(|unit| unit.id.get()).collect();
    }

    /// The process has ended, and with it what its clients waited for. What they and the units know stays.
    pub(crate) fn restart(&mut self, settings: &LineSettings, now: Nanos) {
        self.asked.clear();
        self.unexplained = None;
        self.view = View::default();
        self.own.restart(settings, now);
    }

    /// Whether a reload has taken the unit away.
    fn is_gone(&self, target: Target) -> bool {
        matches!(target, Target::Unit(unit) if !self.configured.contains(&unit.get()))
    }

    /// The request with what is known when it is asked.
    pub(crate) fn complete(&self, mut asked: Asked) -> Asked {
        asked.behind = self.own_writes(&asked).cloned().collect();
        asked.seen = self.seen(&asked);
        asked.floor = self.floors.get(&number(asked.target)).copied().unwrap_or(0);
        asked.sent_before = self.sent.get(&write_key(&asked)).copied().unwrap_or(0);
        asked
    }

    pub(crate) fn ask(&mut self, id: u64, asked: Asked) {
        let asked = self.complete(asked);
        if !asked.pdu.is_read() {
            *self.writes.entry(write_key(&asked)).or_default() += 1;
        }
        if let Some(range) = asked.pdu.range().filter(|_| asked.max_age > 0) {
            self.own.note_aged(number(asked.target), &range);
        }
        self.asked.insert(id, asked);
    }

    /// The youngest counters the connection was given by a read that held all of this one.
    fn seen(&self, asked: &Asked) -> Nanos {
        let Some(range) = asked.pdu.range() else { return 0 };
        let range = self.own.seen(number(asked.target), &range);
        let given = self.given.get(&(asked.connection, asked.target, asked.max_age));
        let covering = given.into_iter().flatten().filter(|(whole, _)| whole.covers(&range));
        covering.map(|(_, told)| *told).max().unwrap_or(0)
    }

    /// Writes of the connection to the same unit that have not been answered.
    fn own_writes(&self, asked: &Asked) -> impl Iterator<Item = &RequestPdu> {
        let (connection, target) = (asked.connection, asked.target);
        let own = self.asked.values().filter(move |other| other.connection == connection);
        let same = own.filter(move |other| other.target == target || other.target == Target::Broadcast);
        same.map(|other| &other.pdu).filter(|pdu| !pdu.is_read())
    }

    pub(crate) fn execute(&mut self, unit: u8, execution: Execution) {
        self.executions.entry(unit).or_default().push(execution);
    }

    /// What a connection does first: a read that takes data of some age may be answered from what was last
    /// published, without the bus.
    pub(crate) fn at_hand(&self, asked: &Asked, now: Now) -> Option<Bytes> {
        let Target::Unit(unit) = asked.target else { return None };
        if self.own_writes(asked).next().is_some() {
            return None;
        }
        let seen = self.view.unit(unit)?;
        seen.snapshot.answer(&asked.pdu.range()?, Duration::from_nanos(asked.max_age), asked.listener, now)
    }

    /// A request with this line time is sent: a client waits for it or it is a background reading, and a write is sent
    /// once.
    pub(crate) fn transmit(&mut self, unit: u8, pdu: &RequestPdu, took: Nanos, now: Nanos) -> Check {
        // A client that joined a wider read waits for it, too, even if the one that began it has left.
        let serves = |asked: &Asked| {
            // Only who takes aged data is served from another table than he asked.
            let seen =
                |range: &ReadRange| if asked.max_age > 0 { self.own.seen(unit, range) } else { *range };
            let wider =
                pdu.range().zip(asked.pdu.range()).is_some_and(|(all, part)| seen(&all).covers(&seen(&part)));
            number(asked.target) == unit && (asked.pdu == *pdu || wider)
        };
        let wanted = self.asked.values().any(|asked| serves(asked) && asked.deadline > now);
        let unasked = self.is_searched(unit) || self.view.echo.is_none();
        self.own.transmit(unit, now);
        if !wanted && !unasked {
            self.unexplained = Some((unit, pdu.clone(), took));
        }
        if pdu.is_read() {
            return Ok(());
        }
        let key = (unit, pdu.bytes().to_vec());
        let asked = self.writes.get(&key).copied().unwrap_or(0);
        let times = self.sent.entry(key).or_default();
        *times += 1;
        let times = *times;
        check(times <= asked, || {
            format!("the write {pdu:?} to unit {unit} was asked for {asked} times and went out {times} times")
        })?;
        check(wanted, || format!("no client waits for the write {pdu:?} to unit {unit}"))
    }

    /// What was sent without a client waiting was sent to find out whether its unit is there, or is a reading on the
    /// gateway's own account. To be asked when what was sent has been published, too.
    pub(crate) fn explained(&mut self, now: Nanos) -> Check {
        let Some((unit, pdu, took)) = self.unexplained.take() else { return Ok(()) };
        if self.is_searched(unit) {
            return Ok(());
        }
        self.own.spend(took);
        self.own.within_share(now)?;
        let own = pdu.range().is_some_and(|range| self.own.may_read(unit, &range));
        check(own, || format!("no client waits for the read {pdu:?} of unit {unit}"))
    }

    fn is_searched(&self, unit: u8) -> bool {
        let state = self.view.units.iter().find(|seen| seen.id.get() == unit).map(|seen| seen.state);
        matches!(state, Some(UnitState::Offline | UnitState::Confirming)) || self.view.is_silent
    }

    /// An answer is given.
    pub(crate) fn reply(&mut self, id: u64, answer: &Answer, now: Now) -> Check {
        let asked =
            self.asked.remove(&id).ok_or_else(|| format!("request {id} has its answer: {answer:?}"))?;
        match answer {
            Answer::Reply(reply) | Answer::Unreached(reply) => self.data(id, &asked, reply, now)?,
            Answer::Sent => {
                check(asked.target == Target::Broadcast, || format!("request {id} is no broadcast"))?;
                check(self.times_sent(&asked) == 1, || format!("broadcast {id} is not on the wire"))?;
                self.raise_floors(&asked);
            }
            Answer::NotSent(code) | Answer::Refused(code) => {
                check(asked.pdu.is_read() || self.times_sent(&asked) == 0, || {
                    format!("write {id} was sent, and its client told it was not")
                })?;
                self.failure(id, &asked, *code)?;
            }
            Answer::NoAnswer(code) => {
                check(asked.pdu.is_read() || self.times_sent(&asked) == 1, || {
                    format!("write {id} was never sent, and its client told it may have been")
                })?;
                self.failure(id, &asked, *code)?;
            }
        }
        let failed = !matches!(answer, Answer::Reply(_) | Answer::Sent);
        check(!(asked.must_succeed && failed), || {
            format!("{answer:?} for request {id} on a healthy line: {asked:?}")
        })
    }

    /// No answer is overdue.
    pub(crate) fn nothing_overdue(&self, now: Nanos) -> Check {
        match self.asked.iter().find(|(_, asked)| asked.deadline <= now) {
            None => Ok(()),
            Some((id, asked)) => Err(format!("request {id} has no answer at its deadline: {asked:?}")),
        }
    }

    fn data(&mut self, id: u64, asked: &Asked, reply: &[u8], now: Now) -> Check {
        self.is_true(id, asked, reply)?;
        self.counters(id, asked, reply)?;
        if !asked.pdu.is_read() && reply[0] & 0x80 == 0 {
            self.raise_floors(asked);
        }
        let seen = self.view.units.iter().find(|seen| seen.id.get() == number(asked.target));
        let held = |seen: &UnitView| {
            let range = asked.pdu.range()?;
            seen.snapshot.answer(&range, Duration::from_nanos(asked.max_age), asked.listener, now)
        };
        let published = seen.is_some_and(|seen| {
            seen.last_good == Some(now.instant) || held(seen).is_some_and(|held| held == reply)
        });
        // An exception of a server in front of the unit is no sign of the unit.
        let is_unreached = matches!(reply, [function, 0x0A | 0x0B] if function & 0x80 != 0);
        // A unit that a reload has taken away is not in the view any more.
        check(published || is_unreached || self.is_gone(asked.target), || {
            format!("the answer to {id} was not published before it was given")
        })
    }

    /// The reply is what the unit gave for the request, in time, and not before a write that came before it.
    pub(crate) fn is_true(&self, id: u64, asked: &Asked, reply: &[u8]) -> Check {
        let unit = number(asked.target);
        let empty = Vec::new();
        let log = self.executions.get(&unit).unwrap_or(&empty);
        let own = &self.own;
        let same = |execution: &&Execution| {
            gives(execution, &asked.pdu, reply, |range| match asked.max_age {
                0 => range,
                _ => own.seen(unit, &range),
            })
        };
        let waits = |write: &&RequestPdu| {
            let is_before = |other: &Asked| other.connection == asked.connection && other.at <= asked.at;
            let same = |other: &Asked| is_before(other) && other.pdu == **write;
            self.asked.values().any(|other| same(other) && self.times_sent(other) == 0)
        };
        let overtaken = asked.behind.iter().find(waits);
        check(overtaken.is_none(), || format!("read {id} {asked:?} overtook {overtaken:?}"))?;
        // What this very connection wrote comes before what it reads next, answered or not.
        let own_write = log.iter().filter(|execution| asked.behind.contains(&execution.pdu));
        let floor = own_write.map(|execution| execution.at).max().unwrap_or(0).max(asked.floor);
        let in_time = |execution: &&Execution| {
            if asked.pdu.is_read() {
                execution.at >= floor && execution.sent + asked.max_age >= asked.at
            } else {
                execution.sent >= asked.at
            }
        };
        if log.iter().rev().filter(same).find(in_time).is_none() {
            let stale = log.iter().rev().find(same);
            return Err(match stale {
                Some(execution) => format!(
                    "stale: request {id} {asked:?} got {reply:02X?}, sent at {}, read at {}",
                    execution.sent, execution.at
                ),
                None => format!("wrong: request {id} {asked:?} got {reply:02X?}"),
            });
        }
        Ok(())
    }

    /// The counters in a reply show when they were read: whole, at one instant, young enough, and not before a write
    /// that was acknowledged. Independent of the executions.
    fn counters(&mut self, id: u64, asked: &Asked, reply: &[u8]) -> Check {
        let Some(range) = asked.pdu.range().filter(|range| matches!(range.function.0, 3 | 4)) else {
            return Ok(());
        };
        if reply[0] & 0x80 != 0 {
            return Ok(());
        }
        let unit = number(asked.target);
        let table = self.own.table(unit, range.function).0;
        let told = time_told(unit, table, &range, reply).map_err(|fault| format!("request {id}: {fault}"))?;
        let Some(told) = told else { return Ok(()) };
        check(told >= asked.seen, || {
            format!("request {id} {asked:?} got counters of {told}, and its connection younger ones before")
        })?;
        for address in range.start..range.start + range.quantity {
            if !(COUNTERS..COUNTERS_END).contains(&address) {
                continue;
            }
            let last = self.told.entry((asked.listener, unit, table, address)).or_default();
            check(told >= *last, || {
                format!(
                    "backwards: request {id} {asked:?} got counters of {told}, register {address} was given of {last}"
                )
            })?;
            *last = told;
        }
        let whole = self.own.seen(unit, &range);
        let given = self.given.entry((asked.connection, asked.target, asked.max_age)).or_default();
        given.retain(|(range, _)| *range != whole);
        given.push((whole, told));
        let latest = told + MILLI;
        check(latest > asked.floor && latest + asked.max_age > asked.at, || {
            format!("stale: request {id} {asked:?} got counters of {told}")
        })
    }

    fn failure(&self, id: u64, asked: &Asked, code: ExceptionCode) -> Check {
        match code {
            ExceptionCode::SERVER_DEVICE_BUSY => {
                check(self.times_sent(asked) == 0, || format!("0x06 for {id}, which was sent"))
            }
            ExceptionCode::GATEWAY_PATH_UNAVAILABLE => {
                let has_path = self.view.port == PortState::Open && !self.is_gone(asked.target);
                check(!has_path, || format!("0x0A for {id} while the line is open"))
            }
            ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND => Ok(()),
            _ => Err(format!("{code} for request {id} is not the gateway's to give")),
        }
    }

    fn times_sent(&self, asked: &Asked) -> u32 {
        self.sent.get(&write_key(asked)).copied().unwrap_or(0) - asked.sent_before
    }

    /// A write was answered: reads asked from now on show it.
    fn raise_floors(&mut self, asked: &Asked) {
        for (unit, log) in &self.executions {
            let addressed = asked.target == Target::Broadcast || number(asked.target) == *unit;
            let done = log.iter().rev().find(|execution| addressed && execution.pdu == asked.pdu);
            if let Some(execution) = done {
                let floor = self.floors.entry(*unit).or_default();
                *floor = execution.at.max(*floor);
            }
        }
    }
}

/// Whether the execution answers `pdu` with `reply`: as it is, or cut from one wider read, of the same `table`
/// or one that repeats it.
fn gives(
    execution: &Execution,
    pdu: &RequestPdu,
    reply: &[u8],
    table: impl Fn(ReadRange) -> ReadRange,
) -> bool {
    if execution.pdu == *pdu {
        // A write that the unit limited has the unit's own reply, and no other.
        return execution.reply == reply;
    }
    let (Some(asked), Some(wanted)) = (execution.pdu.range(), pdu.range()) else { return false };
    if execution.reply[0] & 0x80 != 0 {
        // "No such address" proves nothing about a part of the range.
        let own = reply[0] == wanted.function.0 | 0x80;
        let same = own && execution.reply[1..] == reply[1..];
        return table(asked).covers(&table(wanted))
            && same
            && (table(asked) == table(wanted) || !matches!(reply[1], 2 | 3));
    }
    if reply[0] != wanted.function.0 {
        return false;
    }
    let part = table(asked).cut(&execution.reply.clone().into(), &table(wanted));
    part.is_some_and(|part| part[1..] == reply[1..])
}

fn write_key(asked: &Asked) -> (u8, Vec<u8>) {
    (number(asked.target), asked.pdu.bytes().to_vec())
}

pub(crate) fn number(target: Target) -> u8 {
    match target {
        Target::Unit(unit) => unit.get(),
        Target::Broadcast => 0,
    }
}

pub(crate) fn check(holds: bool, fault: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(fault()) }
}
