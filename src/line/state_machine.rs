//! One serial line as a state machine without input or output.
//!
//! Routes events between parts that own their state: the wire (the meaning of bytes), the scheduler (what is sent
//! next), the units (health and owed answers), the cache (what is read and kept) and the recorder. It never reads a
//! clock, never waits, never logs and never touches a port: instants and bytes are arguments, actions are outputs.
//! Source: MODBUS over Serial Line V1.02, chapters 2.4 (client states) and 2.5 (timing).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::{ExceptionCode, ReadRange, RequestPdu};
use crate::modbus::{reply, rtu};

use super::attempt::Disconnection;
use super::attempt::{AttemptFailure, Ended, Misfits, Origin, Outgoing, WireEvent, exception_of};
use super::cache::{AgedRead, AnsweredRead, Cache, ReadFailure, is_passing};
use super::echo::differs_from_its_answer;
use super::event::LineEvent;
use super::health::{Transition, UnitState};
use super::ignored::ReadStatus;
use super::incidents::RequestSummary;
use super::mbap_wire::is_unreached;
use super::now::Now;
use super::owed::{EndedGuard, LateAnswer, Owed};
use super::probing::{PAUSE_MIN, ProbeEnd, first_register};
use super::queue::{Item, OWN_TURN, Purpose, Removed, Turn, Waiter};
use super::receive::Frame;
use super::record::{Cause, Misfit, Outcome, Received, Record};
use super::recorder::{Closed, Recorder, Requesters};
use super::request::{Answer, ListenerId, Request, Target};
use super::rtu_wire::FRAME_MIN;
use super::scheduler::{NextRequest, OwnPurpose, Scheduler, Situation};
use super::settings::{LineSettings, Protocol, Replies, UnitId};
use super::silent_line::{SilentLine, Suspicion};
use super::tables::{Tables, with_function};
use super::unit::{Unit, Units};
use super::view::{PortState, View};
use super::wire::Wire;

/// What happened to the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// It was opened; the devices behind it are unknown.
    Opened,
    /// It was lost, or its settings were refused.
    Lost,
    /// The server closed its connection in the usual course, and it is being made again: requests wait.
    Interrupted,
}

/// Whether a reload changed what the port is opened with: device, framing, direction or echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortSettingsChange {
    /// It stays open.
    Unchanged,
    /// It is reopened; everything learned of the line behind it is forgotten.
    Reopened,
}

/// What the caller has to do, in this order.
#[derive(Debug)]
pub enum Output<T> {
    /// Send these bytes at once and in one piece.
    Transmit(Bytes),
    /// Close the connection: nothing can be had of it any more.
    Disconnect(Disconnection),
    /// A record of the line. Precedes the `Reply` that results from it.
    Record(Arc<Record>),
    /// An event, for the log.
    Event(LineEvent),
    /// Publish this view. Always before the `Reply` it belongs to.
    Publish(Arc<View>),
    /// Send the answer to the client.
    Reply {
        /// Where it goes.
        to: T,
        /// The one answer to that request.
        answer: Answer,
    },
}

/// One serial line. `T` is where a reply goes; it is carried through untouched.
///
/// The one rule: call one `handle_*`, then [`poll_output`](Self::poll_output) until it returns none, then sleep
/// until [`poll_timeout`](Self::poll_timeout). Calling [`handle_timeout`](Self::handle_timeout) early does
/// nothing. `now` never goes backwards.
#[derive(Debug)]
pub struct Line<T> {
    settings: LineSettings,
    wire: Wire,
    in_flight: Option<InFlight<T>>,
    scheduler: Scheduler<T>,
    units: Units,
    /// Units that a reload removed and that still owe an answer.
    retired: BTreeMap<UnitId, Unit>,
    silent_line: SilentLine,
    cache: Cache,
    recorder: Recorder,
    outputs: VecDeque<Output<T>>,
    events: Vec<LineEvent>,
    changed: bool,
    closing: bool,
    /// Whether requests that were on the wire wait again: their clients may have left in the meantime.
    has_requeued: bool,
    /// The instant of the last call.
    now: Option<Now>,
}

/// What the transaction in flight is for.
#[derive(Debug)]
struct InFlight<T> {
    item: Item<T>,
    /// `None`: a queued item.
    own: Option<OwnPurpose>,
    turn: Turn,
    /// How long the line was reserved for it.
    reserved: Duration,
    requesters: Requesters,
    /// When its data counts as begun.
    begun: Now,
    /// The unit's write epoch when it was sent: data read under another epoch is not kept.
    epoch: u64,
    /// Whether a client requested exactly this range; the outcome of a widened read proves nothing about it.
    is_as_asked: bool,
    /// Whether the unit has sent an intact frame since that is not the answer.
    is_alive: bool,
}

/// When an abandoned request was sent, under which epoch, and the flow to charge.
#[derive(Clone, Debug)]
struct Sending {
    sent_at: Now,
    wire_end: Instant,
    epoch: u64,
    turn: Turn,
}

impl<T> Line<T> {
    /// A line whose port is closed.
    #[must_use]
    pub fn new(settings: LineSettings) -> Self {
        Self {
            wire: Wire::new(settings.protocol, settings.echo),
            in_flight: None,
            scheduler: Scheduler::new(&settings),
            units: Units::new(&settings),
            retired: BTreeMap::new(),
            silent_line: SilentLine::default(),
            cache: Cache::new(&settings),
            recorder: Recorder::default(),
            outputs: VecDeque::new(),
            events: Vec::new(),
            changed: true,
            closing: false,
            has_requeued: false,
            now: None,
            settings,
        }
    }

    /// Has the next request to a Modbus TCP server carry this transaction identifier: one that an earlier process has not
    /// used lately, because the server may still answer that.
    pub fn begin_identifiers_at(&mut self, id: u16) {
        self.wire.begin_identifiers_at(id);
    }

    /// Handles a client's request. It is answered once, before its deadline.
    pub fn handle_request(&mut self, request: Request<T>, now: impl Into<Now>) {
        let now = self.advance(now);
        if let Some(request) = self.answer_from_snapshot(request, now)
            && let Some((request, purpose)) = self.admit(request, now.instant)
            && let Some(request) = self.join_in_flight(request, purpose, now)
        {
            self.enqueue(request, purpose, now);
        }
        self.finish(now);
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: impl Into<Now>) {
        let now = self.advance(now);
        self.release(now.instant);
        self.wire.handle_bytes(bytes, now.instant);
        self.handle_wire(now);
        self.finish(now);
    }

    /// The port was opened or lost.
    pub fn handle_port(&mut self, event: PortEvent, now: impl Into<Now>) {
        let now = self.advance(now);
        self.changed = true;
        match event {
            PortEvent::Opened => {
                let was_closed = self.wire.port() == PortState::Closed;
                self.recorder.statistics_mut().openings += u64::from(was_closed);
                self.wire.open(now.instant);
                if self.wire.owes_answers() {
                    self.owe_unknown(now.instant);
                }
                if was_closed {
                    self.cache.begin_polling(&self.settings, &mut self.units, now.instant);
                }
            }
            PortEvent::Lost => {
                let was_open = self.wire.port() != PortState::Closed;
                self.recorder.statistics_mut().losses += u64::from(was_open);
                self.silent_line.reset();
                let ended = self.wire.close();
                self.abandon(ended, Outcome::PortLost, now);
                self.fail_waiting(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
                self.record_stray(now.instant);
            }
            PortEvent::Interrupted => {
                self.cache.interrupt();
                let ended = self.wire.interrupt(now.instant);
                self.interrupt(ended, now);
                self.record_stray(now.instant);
            }
        }
        self.finish(now);
    }

    /// A reload changed the settings. Requests keep waiting; owed answers, turnaround and everything learned stay. If
    /// the port is `Reopened`, only owed answers and turnaround stay. The caller opens and closes the port.
    pub fn handle_settings(&mut self, settings: LineSettings, port: PortSettingsChange, now: impl Into<Now>) {
        let now = self.advance(now);
        self.changed = true;
        if port == PortSettingsChange::Reopened {
            let ended = self.wire.close();
            self.abandon(ended, Outcome::PortLost, now);
            self.wire.configure(settings.protocol, settings.echo);
            self.silent_line.reset();
            self.units.iter_mut().for_each(Unit::reset);
            self.cache.reset(&settings);
        }
        let before = std::mem::replace(&mut self.settings, settings);
        self.change_units(&before);
        self.scheduler.configure(&self.settings);
        self.cache.configure(&self.settings, &mut self.units, now.instant);
        self.finish(now);
    }

    /// To be called at the instant of [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: impl Into<Now>) {
        let now = self.advance(now);
        self.handle_wire(now);
        self.finish(now);
    }

    /// Drops the requests of clients for which `gone` holds, as far as they are not on the wire. What is on the wire
    /// continues.
    pub fn drop_requests(&mut self, gone: impl Fn(&T) -> bool) {
        for removed in self.scheduler.queue_mut().remove_waiters(|_, waiter| gone(&waiter.to)) {
            self.give_up(removed, ExceptionCode::SERVER_DEVICE_BUSY);
        }
        self.settle_client_probes();
    }

    /// Whether requests that were on the wire have been queued again since the last call.
    pub fn take_requeued(&mut self) -> bool {
        std::mem::take(&mut self.has_requeued)
    }

    /// Clients for which `half_closed` holds have closed their sending side and have most likely left. Their reads
    /// continue with the weight of background reading.
    pub fn demote_requests(&mut self, half_closed: impl Fn(&T) -> bool) {
        self.scheduler.queue_mut().demote(half_closed);
    }

    /// The bus is being stopped: waiting and new requests are answered 0x0A, nothing more is sent. The request on the
    /// wire continues; [`is_idle`](Self::is_idle) holds once it has ended.
    pub fn close(&mut self) {
        self.closing = true;
        self.fail_waiting(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &LineSettings {
        &self.settings
    }

    /// Whether a request is on the wire.
    #[must_use]
    pub fn is_awaiting_answer(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether no request is on the wire and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.scheduler.queue().is_empty()
    }

    /// The next output, if any.
    pub fn poll_output(&mut self) -> Option<Output<T>> {
        let before_reply = matches!(self.outputs.front(), None | Some(Output::Reply { .. }));
        if self.changed && before_reply {
            self.changed = false;
            return Some(Output::Publish(Arc::new(self.view())));
        }
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None`: not before something happens.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let now = self.now?.instant;
        let wire = self.wire.poll_timeout(&self.units, now);
        let deadline = self
            .in_flight
            .as_ref()
            .and_then(|in_flight| in_flight.item.waiters.iter().map(|waiter| waiter.deadline).min());
        let expiry = self.scheduler.queue().next_expiry();
        let next = if self.closing { None } else { self.scheduler.poll_timeout(&self.situation(), now) };
        let background = || self.cache.next_due(&self.units, now);
        let background = if self.may_read_background() { background() } else { None };
        let background = background.map(|due| due.max(self.wire.silent_from(Duration::ZERO)));
        [wire, deadline, expiry, next, background].into_iter().flatten().min()
    }

    // Requests.

    /// Answers a read from the snapshot. The connection already missed in its copy of the snapshot; check again, a
    /// newer block may have arrived since. An unsent write of the same connection comes first.
    fn answer_from_snapshot(&mut self, request: Request<T>, now: Now) -> Option<Request<T>> {
        let is_behind = self.closing || self.scheduler.queue().has_write(&request.source, request.target);
        let Some((id, wanted)) = shared(&request).filter(|_| !is_behind) else { return Some(request) };
        let Some(unit) = self.units.get(id) else { return Some(request) };
        if let Some(pdu) = unit.snapshot().answer(&wanted, request.max_age, request.listener, now) {
            self.reply(request.to, Answer::Reply(pdu));
            return None;
        }
        self.cache.note_undone(unit, &wanted, request.max_age, now);
        Some(request)
    }

    /// Refuses a request that cannot be sent, or returns its purpose.
    fn admit(&mut self, request: Request<T>, now: Instant) -> Option<(Request<T>, Purpose)> {
        let refused = |code| Err(Answer::Refused(code));
        let no_path = refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
        let no_response = refused(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
        let left = request.deadline.saturating_duration_since(now);
        let purpose = if self.closing || self.wire.port() != PortState::Open {
            no_path
        } else if left < self.time_on_wire(&request.pdu, request.target) {
            // Even an idle line could not carry it.
            if left.is_zero() { Err(Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY)) } else { no_response }
        } else {
            match request.target {
                Target::Broadcast => Ok(Purpose::Request),
                Target::Unit(id) if self.silent_line.is_silent() => {
                    let address = &request.source.address;
                    let unit = self.units.get_mut(id);
                    if unit.is_some_and(|unit| unit.admits_line_probe(address, &request.pdu, now)) {
                        Ok(Purpose::ClientProbe)
                    } else {
                        no_response
                    }
                }
                Target::Unit(id) => match self.units.get(id).map(Unit::state) {
                    None => no_path,
                    Some(UnitState::Offline) if self.admits_client_probe(id, &request, now) => {
                        Ok(Purpose::ClientProbe)
                    }
                    Some(UnitState::Offline) => no_response,
                    Some(UnitState::NeverSeen | UnitState::Online | UnitState::Confirming) => self
                        .purpose_of(id, &request, now)
                        .ok_or(Answer::Refused(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND)),
                },
            }
        };
        match purpose {
            Ok(purpose) => Some((request, purpose)),
            Err(answer) => {
                self.reply(request.to, answer);
                None
            }
        }
    }

    fn admits_client_probe(&mut self, id: UnitId, request: &Request<T>, now: Instant) -> bool {
        let (address, pace) = (&request.source.address, self.units.probe_pace());
        let unit = self.units.get_mut(id);
        unit.is_some_and(|unit| unit.admits_client_probe(address, &request.pdu, pace, now))
    }

    /// The purpose of a request by the unit's record of this read; `None`: the unit ignores it.
    fn purpose_of(&mut self, id: UnitId, request: &Request<T>, now: Instant) -> Option<Purpose> {
        let unit = self.units.get_mut(id)?;
        match unit.read_status(&request.pdu, now) {
            ReadStatus::Allowed => Some(Purpose::Request),
            ReadStatus::Unproven => self.scheduler.allows_suspect(now).then_some(Purpose::Unproven),
            ReadStatus::Trial if self.scheduler.allows_trial(now) => Some(Purpose::Trial),
            ReadStatus::Trial => {
                unit.undo_trial(&request.pdu);
                None
            }
            ReadStatus::Ignored => None,
        }
    }

    /// Joins a read to the one on the wire that covers it, if that is young enough and no write came between.
    fn join_in_flight(&mut self, request: Request<T>, purpose: Purpose, now: Now) -> Option<Request<T>> {
        let tables = self.tables_of(&request);
        let Some(in_flight) = &mut self.in_flight else { return Some(request) };
        let queue = self.scheduler.queue();
        let covered = request.pdu.range().zip(in_flight.item.range).is_some_and(|(wanted, asked)| {
            in_flight.item.target == request.target && tables.part(&asked, &wanted).is_some()
        });
        let fresh = now.since(in_flight.begun) <= request.max_age;
        // A client that joins counts as waiting like every other.
        let room = in_flight.item.waiters.len() + queue.waiting() < self.settings.queue_limit;
        let alone = purpose != Purpose::Request;
        if alone || !covered || !fresh || !room || !queue.may_join(request.target, in_flight.item.key) {
            return Some(request);
        }
        in_flight.requesters.clients += 1;
        let deadline = request.deadline;
        in_flight.item.waiters.push(waiter(request, deadline, now));
        self.recorder.counters_mut().joined += 1;
        self.changed = true;
        None
    }

    fn enqueue(&mut self, request: Request<T>, purpose: Purpose, present: Now) {
        let now = present.instant;
        if !self.scheduler.queue().has_room(&request.source) {
            self.undo_trial(request.target, &request.pdu, purpose);
            self.reply(request.to, Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY));
            self.settle_client_probes();
            return;
        }
        self.changed = true;
        let target = request.target;
        let tables = self.tables_of(&request);
        let own = request.pdu.range();
        let joined = own.filter(|_| purpose == Purpose::Request);
        let joined = joined.and_then(|range| self.scheduler.queue().covering(target, &range, tables));
        let joined = joined.and_then(|key| {
            let item = self.scheduler.queue().get(key)?;
            let expiry = self.expiry(&item.pdu, target, request.deadline);
            // A longer read that cannot be answered in time is no use to this client.
            (expiry > now || item.range == own).then_some((key, expiry))
        });
        if let Some((key, expiry)) = joined {
            self.scheduler.queue_mut().join(key, waiter(request, expiry, present));
            self.recorder.counters_mut().joined += 1;
            return;
        }
        let whole = if purpose == Purpose::Request { self.enclosing_range(&request, now) } else { None };
        let pdu = whole.map_or_else(|| request.pdu.clone(), RequestPdu::from);
        let range = if purpose == Purpose::Request { whole.or(own) } else { None };
        let finds_line_free = self.wire.is_free(&self.units, now)
            && self.scheduler.queue().is_empty()
            && self.unit_of(target).is_none_or(|unit| unit.guarded_until(now).is_none() && unit.is_open());
        // No estimate of the response time may keep itself from being corrected. A write that is carried out for a
        // client that gets no answer is repeated by it; so its estimate counts as long as answers are fresh.
        let holds_back = !pdu.is_read() && self.has_answered_lately(target, now);
        let expiry = if finds_line_free && !holds_back {
            let wire = self.time_on_wire(&pdu, target);
            request.deadline.checked_sub(wire).unwrap_or(request.deadline)
        } else {
            self.expiry(&pdu, target, request.deadline)
        };
        let waiters = vec![waiter(request, expiry, present)];
        let item = Item { waiters, purpose, range, ..item_of(target, pdu) };
        self.scheduler.queue_mut().push(item, now);
    }

    /// The range to read instead of a client's own, if that can be answered before its deadline, too.
    fn enclosing_range(&mut self, request: &Request<T>, now: Instant) -> Option<ReadRange> {
        let (unit, wanted) = shared(request)?;
        let asked =
            AgedRead { unit, wanted: &wanted, max_age: request.max_age, source: request.source.clone() };
        let whole = self.cache.enclosing_range(asked, &self.units, now)?;
        let pdu = RequestPdu::from(whole);
        let is_known_to_fail = self.units.get(unit).is_some_and(|unit| unit.is_marked(&pdu));
        let fits = self.expiry(&pdu, request.target, request.deadline) > now;
        (fits && !is_known_to_fail).then_some(whole)
    }

    /// Which tables may serve a read: one without `max_age` is sent unchanged, to the table it names.
    fn tables_of(&self, request: &Request<T>) -> Tables {
        let tables = match request.target {
            Target::Unit(id) => self.tables(id),
            Target::Broadcast => Tables::Apart,
        };
        match tables {
            Tables::Mirrored if request.max_age.is_zero() => Tables::Apart,
            Tables::Apart | Tables::Mirrored | Tables::Exact => tables,
        }
    }

    fn tables(&self, id: UnitId) -> Tables {
        self.units.get(id).map(|unit| unit.settings().tables()).unwrap_or_default()
    }

    fn unit_of(&self, target: Target) -> Option<&Unit> {
        match target {
            Target::Unit(id) => self.units.get(id),
            Target::Broadcast => None,
        }
    }

    fn has_answered_lately(&self, target: Target, now: Instant) -> bool {
        let last = self.unit_of(target).and_then(Unit::last_good_at);
        last.is_some_and(|last| now.saturating_duration_since(last) < ESTIMATE_HOLDS)
    }

    /// From when on the answer to `pdu` could not arrive before `deadline`.
    fn expiry(&self, pdu: &RequestPdu, target: Target, deadline: Instant) -> Instant {
        let response = self.unit_of(target).and_then(Unit::response_time).unwrap_or_default();
        deadline.checked_sub(self.time_on_wire(pdu, target) + response).unwrap_or(deadline)
    }

    /// Wire time of a request and its answer. An answer of unknown length counts as the shortest; a broadcast has none.
    fn time_on_wire(&self, pdu: &RequestPdu, target: Target) -> Duration {
        let overhead = self.settings.protocol.overhead();
        let answer = match target {
            Target::Unit(_) => 2 + pdu.range().map_or(0, |range| range.byte_count()) + overhead,
            Target::Broadcast => 0,
        };
        self.settings.protocol.wire_time(pdu.bytes().len() + overhead + answer)
    }

    // Sending.

    fn situation(&self) -> Situation<'_> {
        Situation {
            settings: &self.settings,
            units: &self.units,
            wire: &self.wire,
            silent_line: &self.silent_line,
        }
    }

    /// Ends what has expired, and sends the next request if the line is free and has been silent for long enough.
    fn finish(&mut self, now: Now) {
        self.release(now.instant);
        self.expire(now.instant);
        if !self.closing {
            self.queue_background(now.instant);
            let situation = Situation {
                settings: &self.settings,
                units: &self.units,
                wire: &self.wire,
                silent_line: &self.silent_line,
            };
            match self.scheduler.next(&situation, now.instant) {
                None => {}
                Some(NextRequest::Item { item, turn, reserved }) => {
                    self.send(item, None, turn, reserved, now)
                }
                Some(NextRequest::Own { unit, own, reserved }) => self.send_own(unit, own, reserved, now),
            }
        }
        let noise = self.wire.take_noise();
        self.recorder.counters_mut().noise_bytes += noise;
        self.changed |= noise > 0;
        self.cache.watch_limit(self.settings.learn_limit, now.instant, &mut self.events);
        for event in std::mem::take(&mut self.events) {
            self.outputs.push_back(Output::Event(event));
        }
        self.scheduler.queue_mut().prune(now.instant);
    }

    fn may_read_background(&self) -> bool {
        // One background reading that waits for its unit must not block another's.
        let waits = |target| self.unit_of(target).is_some_and(|unit| self.now_is_open(unit));
        !self.closing
            && self.now.is_some_and(|now| self.wire.is_free(&self.units, now.instant))
            && !self.silent_line.is_silent()
            && !self.scheduler.queue().has_background(waits)
    }

    fn now_is_open(&self, unit: &Unit) -> bool {
        unit.is_open() && self.now.is_none_or(|now| unit.unpolled_until(now.instant).is_none())
    }

    /// Queues the background reading that is due, one at a time.
    fn queue_background(&mut self, now: Instant) {
        if !self.may_read_background() || now < self.wire.silent_from(Duration::ZERO) {
            return;
        }
        if let Some((unit, range)) = self.cache.next_reading(&self.units, now, &mut self.events) {
            self.scheduler.queue_mut().push_background(Target::Unit(unit), range, now);
        }
    }

    /// Sends a read of the gateway itself.
    fn send_own(&mut self, id: UnitId, own: OwnPurpose, reserved: Duration, now: Now) {
        let Some(unit) = self.units.get_mut(id) else { return };
        let pdu = match own {
            OwnPurpose::Probe => unit.next_probe(now.instant),
            OwnPurpose::LineProbe => unit.next_line_probe(now.instant),
            OwnPurpose::Confirmation => unit.last_read().cloned().unwrap_or_else(first_register),
            OwnPurpose::EchoCheck => unit
                .last_read()
                .filter(|read| differs_from_its_answer(read))
                .cloned()
                .unwrap_or_else(first_register),
        };
        if own == OwnPurpose::LineProbe {
            self.silent_line.note_probe(id, now.instant);
        }
        let target = Target::Unit(id);
        self.send(item_of(target, pdu), Some(own), OWN_TURN, reserved, now);
    }

    fn send(&mut self, mut item: Item<T>, own: Option<OwnPurpose>, turn: Turn, reserved: Duration, now: Now) {
        item.attempts += 1;
        self.wire.discard_pending();
        self.record_stray(now.instant);
        let (begun, epoch) = self.note_sending(&item, now);
        let outgoing = self.outgoing(&item, own, Origin { begun, latest: now.instant, epoch });
        let requesters = self.recorder.note_sending(&item, now.instant);
        let adu = self.wire.begin(outgoing, now.instant);
        let is_as_asked = item.waiters.iter().any(|waiter| waiter.pdu == item.pdu);
        self.in_flight = Some(InFlight {
            item,
            own,
            turn,
            reserved,
            requesters,
            begun,
            epoch,
            is_as_asked,
            is_alive: false,
        });
        self.changed = true;
        self.outputs.push_back(Output::Transmit(adu));
    }

    fn outgoing(&mut self, item: &Item<T>, own: Option<OwnPurpose>, origin: Origin) -> Outgoing {
        let now = origin.latest;
        let key = item.key;
        let request = item.pdu.clone();
        let unit = match item.target {
            Target::Unit(id) => Some(id),
            Target::Broadcast => None,
        };
        let neighbour = unit.and_then(|id| self.units.slowest_like(id));
        let known = unit.and_then(|id| self.units.get_mut(id));
        let Some(known) = known else {
            let (response_timeout, byte_timeout) = (Duration::ZERO, Duration::ZERO);
            let (replies, misfits) = (Replies::Strict, Misfits::MayBeLate);
            return Outgoing {
                unit,
                request,
                response_timeout,
                byte_timeout,
                replies,
                misfits,
                origin,
                item: key,
            };
        };
        known.counters_mut().transactions += 1;
        let settings = known.settings();
        let probe_timeout = match self.settings.protocol {
            Protocol::Rtu(_) => known.probe_timeout(neighbour),
            // A gateway works on a probe until its own timeout, and lets what comes after it wait.
            Protocol::Tcp => settings.response_timeout,
        };
        Outgoing {
            unit,
            request,
            response_timeout: match own {
                Some(OwnPurpose::Probe | OwnPurpose::LineProbe) => probe_timeout,
                // Other requests may take longer than reads, and the outcome of a write is worth the wait.
                None if item.purpose == Purpose::ClientProbe && item.pdu.range().is_some() => probe_timeout,
                Some(OwnPurpose::Confirmation | OwnPurpose::EchoCheck) | None => settings.response_timeout,
            },
            byte_timeout: settings.byte_timeout,
            replies: settings.replies,
            misfits: if known.is_prompt(now) { Misfits::End } else { Misfits::MayBeLate },
            origin,
            item: key,
        }
    }

    /// A request is sent: a write invalidates the blocks of its units, a read begins a block. Returns when its data
    /// counts as begun, and the epoch under which it is read.
    fn note_sending(&mut self, item: &Item<T>, now: Now) -> (Now, u64) {
        let Target::Unit(id) = item.target else {
            for unit in self.units.iter_mut() {
                unit.note_write();
                self.cache.note_write(unit.id(), now.instant);
            }
            return (now, 0);
        };
        let Some(unit) = self.units.get_mut(id) else { return (now, 0) };
        if !item.pdu.is_read() {
            unit.note_write();
            self.cache.note_write(id, now.instant);
            return (now, unit.epoch());
        }
        let begun = unit.owed().begun(&item.pdu, now);
        let epoch = unit.epoch();
        if let Some(range) = item.pdu.range() {
            self.cache.note_begun(unit, &range, now.instant);
        }
        (begun, epoch)
    }

    // Events on the wire.

    fn handle_wire(&mut self, now: Now) {
        while let Some(event) = self.wire.next_event(&self.units, now.instant) {
            self.changed = true;
            match event {
                WireEvent::Answered { ended, frame, response_time } => {
                    self.succeed(ended, &frame, response_time, now);
                }
                WireEvent::Unreached { ended, frame } => self.pass_unreached(ended, &frame, now),
                WireEvent::Failed { ended, failure } => self.fail(ended, failure, now),
                WireEvent::Sent { ended } => self.finish_broadcast(ended, now),
                WireEvent::Late { frame } => self.handle_late_answer(&frame, now),
                WireEvent::Outdated { outgoing, frame, after } => {
                    self.handle_outdated(outgoing, &frame, after, now);
                }
                WireEvent::Unmatched { unit } => {
                    self.recorder.counters_mut().foreign_frames += 1;
                    if let Some(unit) = unit.and_then(|unit| self.units.get_mut(unit)) {
                        unit.counters_mut().unexpected += 1;
                    }
                }
                WireEvent::Disconnect(why) => self.outputs.push_back(Output::Disconnect(why)),
                WireEvent::Alive { unit, misfit } => {
                    self.note_misfit(unit, misfit, self.summarize_in_flight(unit), now.instant);
                }
                WireEvent::OtherFunction { unit, misfit } => {
                    let asked = self.summarize_in_flight(unit);
                    if let Some(unit) = self.units.get_mut(unit) {
                        unit.counters_mut().unexpected += 1;
                        unit.statistics_mut().other_functions += 1;
                        unit.incidents_mut().misfit = Some((misfit, asked));
                    }
                    self.events.push(LineEvent::Misfit { unit, misfit });
                }
                WireEvent::Foreign { frame, awaited } => self.note_foreign(&frame, awaited, now.instant),
                WireEvent::ForeignRequest => {
                    self.recorder.counters_mut().foreign_requests += 1;
                    self.events.push(LineEvent::ForeignRequest);
                }
                WireEvent::Collision => self.recorder.counters_mut().collisions += 1,
                WireEvent::Occupied { ended } => self.begin_occupation(ended, now),
                WireEvent::Free => {
                    self.events.push(LineEvent::Free);
                    self.record_stray(now.instant);
                    self.cache.begin_polling(&self.settings, &mut self.units, now.instant);
                }
                WireEvent::Stray(received) => {
                    self.note_stray(received, now.instant);
                }
            }
        }
    }

    /// The unit answered, with data or an exception.
    fn succeed(&mut self, ended: Ended, frame: &Frame, response_time: Duration, now: Now) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let exception = exception_of(&frame.pdu);
        let outcome = exception.map_or(Outcome::Answered, Outcome::Exception);
        let latest = ended.sent_at;
        let in_flight = self.close_transaction(ended, in_flight, outcome, now.instant);
        let InFlight { mut item, begun, epoch, requesters, .. } = in_flight;
        let id = frame.unit;
        if let Some(unit) = self.units.get_mut(id) {
            unit.statistics_mut().answer_times.note(response_time);
            if let Some(code) = exception {
                unit.incidents_mut().refusal = Some((code, RequestSummary::new(&item.pdu, requesters.first)));
            }
            if self.wire.owes_answers() {
                unit.note_answered_in_time(&item.pdu, Now { instant: latest, ..begun }, now.instant);
            }
            let transition = unit.note_answer(&item.pdu, exception, Some(response_time), now.instant);
            self.note_alive(id, transition, now.instant);
            self.cache.note_pause(&mut self.units, id, now.instant);
        }
        match exception {
            Some(code) => self.note_read_failure(id, &item, ReadFailure::Exception(code), now.instant),
            None => {
                let listeners = self.refuse_stale(&mut item, begun, id, now);
                self.keep(id, &item.pdu, &frame.pdu, Origin { begun, latest, epoch }, &listeners);
            }
        }
        self.answer_all(item, &frame.pdu, Answer::Reply, id, now);
    }

    /// The server answered that the unit has not, or that it has no way to the unit. The client gets its exception
    /// untouched, and nothing is repeated: the server has done that. In all else this is silence of the unit. Taken for
    /// its answer, it would keep a unit without power on-line as long as the server has some.
    fn pass_unreached(&mut self, ended: Ended, frame: &Frame, now: Now) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let Some(code) = exception_of(&frame.pdu) else { return };
        let id = frame.unit;
        let sent_at = ended.sent_at;
        let in_flight = self.close_transaction(ended, in_flight, Outcome::Exception(code), now.instant);
        let InFlight { item, own, is_as_asked, is_alive, requesters, .. } = in_flight;
        if let Some(unit) = self.units.get_mut(id) {
            unit.note_exception(code);
            unit.incidents_mut().refusal = Some((code, RequestSummary::new(&item.pdu, requesters.first)));
        }
        self.note_read_failure(id, &item, ReadFailure::NoAnswer, now.instant);
        let (pdu, purpose) = (item.pdu.clone(), item.purpose);
        // First, so that what is asked again for a part is refused with the rest if the unit is lost.
        self.answer_all(item, &frame.pdu, Answer::Unreached, id, now);
        if self.silent_line.is_silent() {
            if purpose == Purpose::ClientProbe {
                self.note_client_probe_unanswered(id, sent_at, now.instant);
            }
        } else if !is_alive {
            self.note_unanswered(id, purpose, own, sent_at, now.instant);
        }
        let is_ignored = match purpose {
            Purpose::Trial => true,
            Purpose::Request | Purpose::Unproven => is_as_asked && !is_alive,
            Purpose::ClientProbe => false,
        };
        if is_ignored {
            self.note_ignored(id, &pdu, now.instant);
        }
    }

    /// The connection has ended in the usual course. To the unit of a request on the wire this is silence, because many
    /// servers hang up on a unit or a function they do not know. A read waits for the next connection, once more than
    /// `retries` of none; whether a write was carried out is unknown.
    fn interrupt(&mut self, ended: Option<Ended>, now: Now) {
        let Some(ended) = ended else { return };
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.item.target == Target::Broadcast) {
            return self.abandon(Some(ended), Outcome::PortLost, now);
        }
        self.fail(ended, AttemptFailure::Interrupted, now);
        self.settle_client_probes();
    }

    /// The answer to an earlier request, which its identifier names: it shows that the unit answers, if late, and serves
    /// the clients that still wait for it.
    fn handle_outdated(&mut self, outgoing: Outgoing, frame: &Frame, after: Duration, now: Now) {
        let Outgoing { request, origin, item: key, .. } = outgoing;
        let id = frame.unit;
        let Some(unit) = self.units.get_mut(id) else { return };
        let count = unit.note_late(after);
        self.events.push(LineEvent::Late { unit: id, after, count });
        if is_unreached(&frame.pdu) {
            return;
        }
        let transition = unit.note_answer(&request, exception_of(&frame.pdu), None, now.instant);
        let is_before_write = unit.epoch() != origin.epoch;
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.item.target == Target::Unit(id)
        {
            in_flight.is_alive = true;
        }
        self.note_alive(id, transition, now.instant);
        if is_before_write || !request.is_read() || !reply::answers(&request, &frame.pdu) {
            return;
        }
        let is_retry =
            |item: &Item<T>| item.key == key && item.target == Target::Unit(id) && item.pdu == request;
        let in_flight = self.in_flight.as_mut().map(|in_flight| &mut in_flight.item);
        if let Some(item) = in_flight.filter(|item| is_retry(item)) {
            let answered = take_fresh(item, request, origin.begun);
            return self.answer_late(answered, frame, origin, now);
        }
        let is_waiting = self.scheduler.queue().get(key).is_some_and(is_retry);
        let item = if is_waiting { self.scheduler.queue_mut().remove(key) } else { None };
        match item {
            Some(mut item) => {
                let answered = take_fresh(&mut item, request, origin.begun);
                if !item.waiters.is_empty() {
                    self.scheduler.queue_mut().requeue(item);
                }
                self.answer_late(answered, frame, origin, now);
            }
            None if exception_of(&frame.pdu).is_none() => {
                self.keep(id, &request, &frame.pdu, origin, &[]);
            }
            None => {}
        }
    }

    /// Answers those that waited for a late answer.
    fn answer_late(&mut self, mut answered: Item<T>, frame: &Frame, origin: Origin, now: Now) {
        let id = frame.unit;
        if exception_of(&frame.pdu).is_none() {
            let listeners = self.refuse_stale(&mut answered, origin.begun, id, now);
            self.keep(id, &answered.pdu, &frame.pdu, origin, &listeners);
        }
        self.answer_all(answered, &frame.pdu, Answer::Reply, id, now);
    }

    /// The request on the wire got no fitting answer.
    fn fail(&mut self, ended: Ended, failure: AttemptFailure, now: Now) {
        let Some(in_flight) = self.in_flight.take() else { return };
        let Target::Unit(id) = in_flight.item.target else { return };
        let (sent_at, wire_end, now_instant) = (ended.sent_at, ended.wire_end, now.instant);
        let misfit = ended.misfit;
        let outcome = outcome_of(failure, misfit);
        match failure {
            AttemptFailure::Truncated | AttemptFailure::Garbled => self.silent_line.note_damaged(),
            AttemptFailure::Silent => self.silent_line.note_missing(),
            AttemptFailure::Misfit | AttemptFailure::Interrupted => {}
        }
        self.note_failed_attempt(id, &ended, failure);
        let is_alive = in_flight.is_alive || failure == AttemptFailure::Misfit;
        let in_flight = self.close_transaction(ended, in_flight, outcome, now_instant);
        let InFlight { item, own, turn, epoch, begun, is_as_asked, requesters, .. } = in_flight;
        if failure == AttemptFailure::Misfit
            && let Some(misfit) = misfit
        {
            let asked = RequestSummary::new(&item.pdu, requesters.first);
            self.note_misfit(id, misfit, Some(asked), now_instant);
            if self.wire.owes_answers()
                && let Some(unit) = self.units.get_mut(id)
            {
                unit.note_misfit(now_instant);
            }
        }
        let is_silent = self.silent_line.is_silent();
        let retries = match failure {
            AttemptFailure::Interrupted => self.settings.retries.max(1),
            AttemptFailure::Silent
            | AttemptFailure::Truncated
            | AttemptFailure::Garbled
            | AttemptFailure::Misfit => self.settings.retries,
        };
        let may_retry = !item.is_sent_once()
            && own.is_none()
            && failure != AttemptFailure::Misfit
            && item.attempts <= retries
            && !self.closing;
        let retry = if may_retry { Retry::Allowed } else { Retry::Refused };
        // A whole answer came, though damaged or misfitting: none is owed.
        if matches!(failure, AttemptFailure::Silent | AttemptFailure::Truncated) {
            let sent_at = Now { instant: sent_at, ..begun };
            self.owe(
                &item,
                (retry == Retry::Allowed).then_some(item.key),
                Sending { sent_at, wire_end, epoch, turn },
                now_instant,
            );
        }
        let cause =
            if failure == AttemptFailure::Misfit { ReadFailure::Misfit } else { ReadFailure::NoAnswer };
        self.note_read_failure(id, &item, cause, now_instant);
        if is_silent && item.purpose == Purpose::ClientProbe {
            self.note_client_probe_unanswered(id, sent_at, now_instant);
        }
        if !is_alive && !is_silent {
            self.note_unanswered(id, item.purpose, own, sent_at, now_instant);
        }
        let (pdu, purpose) = (item.pdu.clone(), item.purpose);
        let is_tried_again = self.retry_or_give_up(item, retry, failure, now_instant);
        match purpose {
            // A misfit does not answer the trial, either.
            Purpose::Trial => self.note_ignored(id, &pdu, now_instant),
            Purpose::Request | Purpose::Unproven if is_as_asked && !is_alive && !is_tried_again => {
                self.note_ignored(id, &pdu, now_instant);
            }
            Purpose::Request | Purpose::Unproven | Purpose::ClientProbe => {}
        }
    }

    /// A request was given up whose answer may still come, even if a reload has removed the unit. `key`: the item that
    /// waits for the answer.
    fn owe(&mut self, item: &Item<T>, key: Option<u64>, sending: Sending, now: Instant) {
        let Target::Unit(id) = item.target else { return };
        if !self.wire.owes_answers() {
            return;
        }
        let Some(unit) = self.units.get_mut(id).or_else(|| self.retired.get_mut(&id)) else { return };
        let Sending { sent_at, wire_end, epoch, turn } = sending;
        // A probe, a damaged answer and a lost port end the wait early; the unit still has its whole timeout.
        let given_up = now.max(wire_end + unit.settings().response_timeout);
        let request = item.pdu.clone();
        unit.owe(Owed {
            request,
            sent_at,
            epoch,
            item: key,
            turn,
            ended_at: now,
            given_up,
            until: given_up,
            may_be_taken: false,
        });
    }

    /// A client's read, its retries included, got no intact frame.
    fn note_ignored(&mut self, id: UnitId, pdu: &RequestPdu, now: Instant) {
        let retries = self.settings.retries;
        if let Some(unit) = self.units.get_mut(id)
            && unit.note_ignored(pdu, now)
            && !self.silent_line.is_silent()
        {
            let transition = unit.suspect(now, retries);
            self.note_transition(id, transition, now);
        }
    }

    /// Counts a failed attempt.
    fn note_failed_attempt(&mut self, id: UnitId, ended: &Ended, failure: AttemptFailure) {
        let Some(unit) = self.units.get_mut(id) else { return };
        match failure {
            AttemptFailure::Silent => {
                unit.counters_mut().timeouts += 1;
                let is_unreadable = ended.received.unframed().count() >= FRAME_MIN;
                let parts = ended.received.parts();
                let begins =
                    parts.iter().any(|part| part.kind.is_none() && part.bytes.first() == ended.adu.first());
                unit.statistics_mut().unreadable += u64::from(is_unreadable);
                unit.statistics_mut().begun += u64::from(is_unreadable && begins);
            }
            AttemptFailure::Truncated => {
                unit.counters_mut().crc_errors += 1;
                unit.statistics_mut().truncated += 1;
            }
            AttemptFailure::Garbled => unit.counters_mut().crc_errors += 1,
            // The server closed the connection instead of an answer.
            AttemptFailure::Interrupted => unit.counters_mut().timeouts += 1,
            AttemptFailure::Misfit => {}
        }
    }

    /// An attempt got no intact frame: updates the health of the line and of the unit.
    fn note_unanswered(
        &mut self,
        id: UnitId,
        purpose: Purpose,
        own: Option<OwnPurpose>,
        sent_at: Instant,
        now: Instant,
    ) {
        let timeout = self.settings.response_timeout;
        let pause = self.probe_pause_max(now.saturating_duration_since(sent_at) + self.held_for(now));
        let count = self.settings.units.len();
        let Some(unit) = self.units.get_mut(id) else { return };
        if own == Some(OwnPurpose::Probe) {
            unit.note_probe_failure(now, pause);
        }
        if purpose == Purpose::ClientProbe {
            self.note_client_probe_unanswered(id, sent_at, now);
        }
        let suspicion = self.silent_line.note_failure(id, sent_at, now, count, timeout);
        if suspicion == Suspicion::Silent {
            // While no unit answers, silence is no evidence against this one.
            return self.begin_silence();
        }
        let Some(unit) = self.units.get_mut(id) else { return };
        let transition = match own {
            Some(OwnPurpose::Confirmation) => unit.note_unconfirmed(now),
            Some(OwnPurpose::Probe) => None,
            Some(OwnPurpose::LineProbe | OwnPurpose::EchoCheck) | None => {
                unit.note_failure(sent_at, now, &self.settings)
            }
        };
        self.note_transition(id, transition, now);
        if let Suspicion::Ask(last) = suspicion {
            let retries = self.settings.retries;
            // A unit that never answered a read has none to repeat: requests of clients decide.
            let asked = self.units.get_mut(last).filter(|unit| unit.last_read().is_some());
            let transition = asked.and_then(|unit| unit.suspect(now, retries));
            self.note_transition(last, transition, now);
        }
    }

    /// How long the line is held back for the request that was given up last.
    fn held_for(&self, now: Instant) -> Duration {
        self.wire.held_until().map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    fn note_client_probe_unanswered(&mut self, id: UnitId, sent_at: Instant, now: Instant) {
        let pause = self.probe_pause_max(now.saturating_duration_since(sent_at) + self.held_for(now));
        if let Some(unit) = self.units.get_mut(id) {
            unit.note_client_probe_end(ProbeEnd::Unanswered, now, pause);
        }
    }

    /// No unit answers any more: refuses waiting requests; units are probed one after the other from now on.
    fn begin_silence(&mut self) {
        self.events.push(LineEvent::LineSilent { is_damaged: self.silent_line.has_damaged_answers() });
        self.fail_waiting(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
        self.cache.interrupt();
        self.changed = true;
    }

    /// A unit gave proof of life.
    fn note_alive(&mut self, id: UnitId, transition: Option<Transition>, now: Instant) {
        self.note_transition(id, transition, now);
        if !self.silent_line.note_alive(id) {
            return;
        }
        self.events.push(LineEvent::LineRecovered { unit: id });
        // Each of the other units is polled once before it is marked off-line.
        for other in self.units.ids().into_iter().filter(|other| *other != id) {
            let Some(unit) = self.units.get_mut(other) else { continue };
            if unit.last_read().is_some() {
                let transition = unit.suspect(now, 0);
                self.note_transition(other, transition, now);
            }
        }
        self.cache.begin_polling(&self.settings, &mut self.units, now);
    }

    /// A unit's state may have changed: reports one event per change, not per failure, and plans anew.
    fn note_transition(&mut self, id: UnitId, transition: Option<Transition>, now: Instant) {
        let Some(transition) = transition else { return };
        self.changed = true;
        match transition {
            Transition::Found { was, away } => {
                self.events.push(LineEvent::Found { unit: id, was, away });
                if was == UnitState::Offline {
                    self.units.get_mut(id).into_iter().for_each(Unit::forget_scales);
                    self.cache.note_returned(id, now);
                }
                if was != UnitState::Confirming {
                    self.cache.replan(&mut self.units, now);
                }
            }
            Transition::Suspected => self.events.push(LineEvent::Suspected { unit: id }),
            Transition::Lost { silent_for } => {
                self.events.push(LineEvent::Lost { unit: id, silent_for });
                self.flush(id, ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND);
                self.cache.replan(&mut self.units, now);
            }
        }
    }

    /// An intact frame of the unit that does not fit its request: the unit is alive.
    fn note_misfit(&mut self, id: UnitId, misfit: Misfit, asked: Option<RequestSummary>, now: Instant) {
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.item.target == Target::Unit(id)
        {
            in_flight.is_alive = true;
        }
        self.events.push(LineEvent::Misfit { unit: id, misfit });
        let Some(unit) = self.units.get_mut(id) else { return };
        unit.counters_mut().unexpected += 1;
        unit.statistics_mut().misfits += 1;
        unit.incidents_mut().misfit = Some((misfit, asked));
        let transition = unit.note_alive(now);
        self.note_alive(id, transition, now);
    }

    /// The request on the wire, if it is for this unit.
    fn summarize_in_flight(&self, id: UnitId) -> Option<RequestSummary> {
        let in_flight = self.in_flight.as_ref().filter(|one| one.item.target == Target::Unit(id))?;
        Some(RequestSummary::new(&in_flight.item.pdu, in_flight.requesters.first.clone()))
    }

    fn note_foreign(&mut self, frame: &Frame, awaited: Option<UnitId>, now: Instant) {
        let id = frame.unit;
        if let Some(awaited) = awaited.filter(|awaited| *awaited != id) {
            self.recorder.counters_mut().foreign_frames += 1;
            if let Some(unit) = self.units.get_mut(awaited) {
                unit.statistics_mut().foreign += 1;
                unit.incidents_mut().stand_in = Some(id);
            }
        }
        // An answer to a request from before the port was opened is none too many.
        if let Some(unit) = self.units.get_mut(id).filter(|unit| !unit.owed().owes_unknown(now)) {
            unit.counters_mut().unexpected += 1;
            // While another unit is asked, this may be its answer under a wrong identifier.
            if self.wire.owes_answers() && awaited.is_none_or(|awaited| awaited == id) {
                unit.note_unrequested(&frame.pdu, now);
            }
        }
    }

    /// The answer to a request given up: ends the guard, and answers the clients that still wait and accept data of
    /// that age. An answer beyond the guard only measures the unit's lateness.
    fn handle_late_answer(&mut self, frame: &Frame, now: Now) {
        let id = frame.unit;
        let fits = |request: &RequestPdu| reply::answers(request, &frame.pdu);
        let Some(unit) = self.units.get_mut(id) else { return };
        let taken = unit.settle_late(fits, now.instant);
        if let Some(in_flight) = &mut self.in_flight
            && in_flight.item.target == Target::Unit(id)
        {
            in_flight.is_alive = true;
        }
        let Some(LateAnswer { owed, latest, ended }) = taken else {
            unit.counters_mut().unexpected += 1;
            let transition = unit.note_alive(now.instant);
            return self.note_alive(id, transition, now.instant);
        };
        let after = now.instant.saturating_duration_since(owed.sent_at.instant);
        let adus = owed.request.bytes().len() + frame.pdu.len() + 2 * rtu::OVERHEAD;
        let count = unit.note_late(after.saturating_sub(self.settings.protocol.wire_time(adus)));
        self.events.push(LineEvent::Late { unit: id, after, count });
        let exception = exception_of(&frame.pdu);
        let transition = unit.note_answer(&owed.request, exception, None, now.instant);
        self.note_alive(id, transition, now.instant);
        if !owed.is_guarding(now.instant) {
            // Too late to answer anything; it only measures the unit's lateness.
            if owed.may_be_taken
                && let Some(unit) = self.units.get_mut(id)
            {
                unit.doubt_blocks();
            }
            return;
        }
        self.charge_guard(id, ended);
        let item = owed.item.and_then(|key| self.scheduler.queue_mut().remove(key));
        let begun = owed.sent_at;
        let origin = Origin { begun, latest, epoch: owed.epoch };
        match (exception, item) {
            (_, Some(mut item)) => {
                let answered = take_fresh(&mut item, owed.request, begun);
                if !item.waiters.is_empty() {
                    self.scheduler.queue_mut().requeue(item);
                }
                self.answer_late(answered, frame, origin, now);
            }
            (None, None) => {
                self.keep(id, &owed.request, &frame.pdu, origin, &[]);
            }
            (Some(_), None) => {}
        }
    }

    fn finish_broadcast(&mut self, ended: Ended, now: Now) {
        let Some(in_flight) = self.in_flight.take() else { return };
        self.wire.block_until(ended.wire_end + self.settings.turnaround_delay);
        let in_flight = self.close_transaction(ended, in_flight, Outcome::Sent, now.instant);
        for waiter in in_flight.item.waiters {
            self.reply(waiter.to, Answer::Sent);
        }
    }

    fn begin_occupation(&mut self, ended: Option<Ended>, now: Now) {
        self.recorder.counters_mut().occupied += 1;
        self.events.push(LineEvent::Occupied);
        self.abandon(ended, Outcome::Occupied, now);
        self.fail_waiting(ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
    }

    /// Closes an ended transaction: makes its record and charges its line time.
    fn close_transaction(
        &mut self,
        ended: Ended,
        in_flight: InFlight<T>,
        outcome: Outcome,
        now: Instant,
    ) -> InFlight<T> {
        let item = &in_flight.item;
        let turnaround = match item.target {
            Target::Broadcast => self.settings.turnaround_delay,
            Target::Unit(_) => Duration::ZERO,
        };
        let took = now.saturating_duration_since(ended.sent_at) + turnaround;
        // What is held back for a request that the server still works on is a part of its cost.
        let held = self.held_for(now);
        self.scheduler.charge(&in_flight.turn, took + held + in_flight.reserved);
        self.scheduler.spend(item.purpose, took + held);
        if item.background
            && let Some(range) = item.range
            && let Target::Unit(id) = item.target
            && let Some(unit) = self.units.get(id)
        {
            self.cache.spend(unit, &range, took, &mut self.events);
        }
        let cause = match in_flight.own {
            Some(OwnPurpose::EchoCheck) => Cause::EchoCheck,
            Some(OwnPurpose::Probe | OwnPurpose::Confirmation | OwnPurpose::LineProbe) => Cause::Probe,
            None if item.background => Cause::Background,
            None => Cause::Client,
        };
        let (target, attempt, requesters) = (item.target, item.attempts, in_flight.requesters.clone());
        let framing = self.settings.protocol.adu_framing();
        let closed = Closed { cause, requesters, target, attempt, outcome, framing, took };
        let record = self.recorder.note_end(ended, closed, now);
        self.outputs.push_back(Output::Record(Arc::new(record)));
        in_flight
    }

    /// A read ended without data: updates the background readings.
    fn note_read_failure(&mut self, id: UnitId, item: &Item<T>, failure: ReadFailure, now: Instant) {
        if let Some(range) = item.pdu.range() {
            self.cache.note_failed(&mut self.units, id, &range, failure, now, &mut self.events);
        }
    }

    /// Keeps data that was read, if it is likely to be read again.
    fn keep(
        &mut self,
        id: UnitId,
        pdu: &RequestPdu,
        reply: &Bytes,
        origin: Origin,
        listeners: &[ListenerId],
    ) {
        let Some(range) = pdu.range() else { return };
        let Some(unit) = self.units.get_mut(id) else { return };
        let Origin { begun, latest, epoch } = origin;
        self.cache.keep(unit, &AnsweredRead { range: &range, reply, begun, latest, epoch }, listeners);
    }

    /// Refuses the waiters that accept no data of that age; returns the listeners of the others.
    fn refuse_stale(&mut self, item: &mut Item<T>, begun: Now, id: UnitId, now: Now) -> Vec<ListenerId> {
        let (given, refused): (Vec<_>, Vec<_>) = std::mem::take(&mut item.waiters)
            .into_iter()
            .partition(|waiter| self.may_be_served(waiter, begun, id, now));
        for waiter in refused {
            self.reply(waiter.to, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        }
        item.waiters = given;
        let listeners = item.waiters.iter().map(|waiter| waiter.listener);
        listeners.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Whether data begun at `begun` is young enough for a waiter and takes no register back in time.
    fn may_be_served(&self, waiter: &Waiter<T>, begun: Now, id: UnitId, now: Now) -> bool {
        let Some((unit, wanted)) = self.units.get(id).zip(waiter.pdu.range()) else { return true };
        let age = now.since(begun).saturating_sub(self.time_in_flight(begun, now));
        let is_young = waiter.max_age.is_zero() || age <= waiter.max_age;
        is_young && !unit.has_served_younger(&wanted, begun.instant)
    }

    /// Sends each waiter its part of the answer. If a wider read was refused, retries the waiters' own ranges.
    fn answer_all(
        &mut self,
        item: Item<T>,
        reply: &Bytes,
        answer_with: fn(Bytes) -> Answer,
        id: UnitId,
        now: Now,
    ) {
        let exception = exception_of(reply);
        let is_shared_refusal = exception.is_some_and(|code| !is_passing(code));
        let asked = item.pdu.range();
        let tables = self.tables(id);
        let mut alone = Vec::new();
        for waiter in item.waiters {
            let wanted = waiter.pdu.range();
            let is_same = wanted.zip(asked).is_none_or(|(wanted, asked)| tables.are_same(&wanted, &asked));
            if is_shared_refusal && !is_same && !self.closing {
                alone.push(waiter);
                continue;
            }
            let part = match (exception, asked, wanted) {
                (None, Some(asked), Some(wanted)) if !is_same || asked.function != wanted.function => {
                    tables.cut(&asked, reply, &wanted)
                }
                _ => Some(with_function(reply, waiter.pdu.function())),
            };
            let answer =
                part.map_or(Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND), answer_with);
            self.reply(waiter.to, answer);
        }
        self.retry_separately(Target::Unit(id), alone, item.attempts, now.instant);
    }

    /// Age that data may have merely because of the duration of its own transaction.
    fn time_in_flight(&self, begun: Now, now: Now) -> Duration {
        now.since(begun)
            .min(self.settings.response_timeout + self.settings.protocol.wire_time(2 * rtu::ADU_MAX))
    }

    /// Requeues the request for the clients that can still be answered in time; 0x0B for the others. Waiters' own
    /// ranges are retried separately, unless an answer of full length came: the unit may be silent only to reads that
    /// are too long for it. True: the request is retried unchanged.
    fn retry_or_give_up(
        &mut self,
        mut item: Item<T>,
        retry: Retry,
        failure: AttemptFailure,
        now: Instant,
    ) -> bool {
        let Target::Unit(id) = item.target else { return false };
        let is_open = self.units.get(id).is_some_and(|unit| !unit.is_offline());
        let again = retry == Retry::Allowed && is_open && !self.silent_line.is_silent();
        let held = self.units.get(id).and_then(|unit| unit.guarded_until(now)).unwrap_or(now);
        let time = self.time_on_wire(&item.pdu, item.target)
            + self.units.get(id).and_then(Unit::response_time).unwrap_or_default();
        let in_time = |waiter: &Waiter<T>| waiter.deadline > held + time && !self.closing;
        let tables = self.tables(id);
        let sent = item.pdu.range();
        let may_be_too_long = match failure {
            AttemptFailure::Garbled | AttemptFailure::Interrupted => !again,
            AttemptFailure::Silent | AttemptFailure::Truncated | AttemptFailure::Misfit => true,
        };
        let asks_less = |waiter: &Waiter<T>| {
            let ranges = waiter.pdu.range().zip(sent);
            may_be_too_long && ranges.is_some_and(|(wanted, sent)| !tables.are_same(&wanted, &sent))
        };
        let (mut alone, mut stay, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for waiter in std::mem::take(&mut item.waiters) {
            match (in_time(&waiter), asks_less(&waiter)) {
                (true, true) if is_open && !self.silent_line.is_silent() => alone.push(waiter),
                (true, false) if again => stay.push(waiter),
                (true | false, _) => out.push(waiter),
            }
        }
        self.retry_separately(item.target, alone, item.attempts, now);
        for waiter in out {
            self.reply(waiter.to, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        }
        // A reading that a connection took with it has not been made: its interval has not begun.
        let is_read_again = item.background && failure == AttemptFailure::Interrupted && again;
        if stay.is_empty() && !is_read_again {
            if let Some(unit) = self.units.get_mut(id) {
                unit.forget_item(item.key);
            }
            return false;
        }
        for waiter in &mut stay {
            waiter.expiry = self.expiry(&waiter.pdu, item.target, waiter.deadline);
        }
        item.waiters = stay;
        self.has_requeued = true;
        // Where clients wait for it, it must not prevent readings of other units from being planned.
        item.background = item.waiters.is_empty();
        self.scheduler.queue_mut().requeue(item);
        true
    }

    /// Retries each waiter's own range, one request per distinct range, so that a failed shared read does not multiply
    /// traffic by the number of clients.
    fn retry_separately(&mut self, target: Target, waiters: Vec<Waiter<T>>, attempts: u32, now: Instant) {
        let mut groups: BTreeMap<Bytes, Vec<Waiter<T>>> = BTreeMap::new();
        self.has_requeued |= !waiters.is_empty();
        for mut waiter in waiters {
            waiter.expiry = self.expiry(&waiter.pdu, target, waiter.deadline);
            groups.entry(waiter.pdu.bytes().clone()).or_default().push(waiter);
        }
        for group in groups.into_values() {
            let Some(pdu) = group.first().map(|waiter| waiter.pdu.clone()) else { continue };
            let item = Item { waiters: group, attempts, range: pdu.range(), ..item_of(target, pdu) };
            self.scheduler.queue_mut().push(item, now);
        }
    }

    // Ending requests and guards.

    /// Ends the guards whose time is over.
    fn release(&mut self, now: Instant) {
        for id in self.units.ids() {
            let ended = self.units.get_mut(id).map(|unit| unit.release(now)).unwrap_or_default();
            for guard in ended {
                self.charge_guard(id, guard);
            }
        }
        let in_flight = self.in_flight.as_ref().map(|in_flight| in_flight.item.target);
        self.retired.retain(|id, unit| {
            unit.release(now);
            // If a later reload adds the unit again, it may still be late for as long as a unit that stayed.
            unit.guarded_until(now).is_some() || !unit.is_prompt(now) || in_flight == Some(Target::Unit(*id))
        });
    }

    /// Charges a guard to the flow whose request began it, for as long as other clients waited for the unit.
    fn charge_guard(&mut self, id: UnitId, guard: EndedGuard) {
        let Some(since) = self.scheduler.queue().others_wait_since(Target::Unit(id), &guard.turn) else {
            return;
        };
        let waited = guard.to.saturating_duration_since(guard.from.max(since));
        if !waited.is_zero() {
            self.scheduler.charge(&guard.turn, waited);
        }
    }

    /// Answers the waiters that have expired: nothing is sent that could not be answered in time.
    fn expire(&mut self, now: Instant) {
        let expired = self.scheduler.expire(now);
        if !expired.is_empty() {
            for removed in expired {
                self.recorder.statistics_mut().expired += 1;
                if let Target::Unit(id) = removed.target
                    && removed.attempts > 0
                    && removed.waiter.pdu == removed.pdu
                {
                    self.note_ignored(id, &removed.pdu, now);
                }
                self.give_up(removed, ExceptionCode::SERVER_DEVICE_BUSY);
            }
            self.settle_client_probes();
        }
        let Some(in_flight) = &mut self.in_flight else { return };
        if in_flight.item.waiters.iter().all(|waiter| waiter.deadline > now) {
            return;
        }
        let (late, stay): (Vec<_>, Vec<_>) =
            in_flight.item.waiters.drain(..).partition(|waiter| waiter.deadline <= now);
        in_flight.item.waiters = stay;
        for waiter in late {
            self.recorder.statistics_mut().expired += 1;
            self.reply(waiter.to, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
        }
    }

    /// Answers a request that will not be sent again: 0x06 for lack of time only if nothing was sent.
    fn give_up(&mut self, removed: Removed<T>, code: ExceptionCode) {
        let Removed { target, pdu, purpose, attempts, waiter } = removed;
        self.undo_trial(target, &pdu, purpose);
        let answer = match attempts {
            0 => Answer::NotSent(code),
            _ if code == ExceptionCode::SERVER_DEVICE_BUSY => {
                Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND)
            }
            _ => Answer::NoAnswer(code),
        };
        self.reply(waiter.to, answer);
        self.changed = true;
    }

    /// Allows the next client to try this read: this trial had no outcome.
    fn undo_trial(&mut self, target: Target, pdu: &RequestPdu, purpose: Purpose) {
        if purpose == Purpose::Trial
            && let Target::Unit(id) = target
            && let Some(unit) = self.units.get_mut(id)
        {
            unit.undo_trial(pdu);
        }
    }

    /// Answers every client that waits in the queue.
    fn fail_waiting(&mut self, code: ExceptionCode) {
        for removed in self.scheduler.queue_mut().remove_waiters(|_, _| true) {
            self.give_up(removed, code);
        }
        self.scheduler.queue_mut().drop_background(|_| true);
        self.cache.interrupt();
        self.settle_client_probes();
        self.changed = true;
    }

    /// Refuses everything that waits for this unit.
    fn flush(&mut self, id: UnitId, code: ExceptionCode) {
        let target = Target::Unit(id);
        self.scheduler.queue_mut().drop_background(|item| item.target == target);
        for removed in self.scheduler.queue_mut().remove_waiters(|item, _| item.target == target) {
            self.give_up(removed, code);
        }
    }

    /// The line was lost or given up during the request on the wire, whose answer may still come when the line is back.
    fn abandon(&mut self, ended: Option<Ended>, outcome: Outcome, now: Now) {
        let Some((in_flight, ended)) = self.in_flight.take().zip(ended) else { return };
        let (sent_at, wire_end) = (ended.sent_at, ended.wire_end);
        let in_flight = self.close_transaction(ended, in_flight, outcome, now.instant);
        let InFlight { item, own, epoch, turn, begun, .. } = in_flight;
        match item.target {
            Target::Broadcast => self.wire.block_until(wire_end + self.settings.turnaround_delay),
            Target::Unit(id) => {
                if own == Some(OwnPurpose::Probe) {
                    // Due at once otherwise: a probe that ends the connection would end each one after it.
                    let pause = self.probe_pause_max(now.instant.saturating_duration_since(sent_at));
                    if let Some(unit) = self.units.get_mut(id) {
                        unit.note_probe_failure(now.instant, pause);
                    }
                }
                let sent_at = Now { instant: sent_at, ..begun };
                self.owe(&item, None, Sending { sent_at, wire_end, epoch, turn }, now.instant);
                self.undo_trial(item.target, &item.pdu, item.purpose);
            }
        }
        for waiter in item.waiters {
            self.reply(waiter.to, Answer::NoAnswer(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
        }
        self.settle_client_probes();
    }

    /// Ends the clients' probes that are neither queued nor on the wire any more.
    fn settle_client_probes(&mut self) {
        let Some(now) = self.now else { return };
        let waiting: BTreeSet<UnitId> = self.scheduler.queue().client_probes().collect();
        let in_flight =
            self.in_flight.as_ref().filter(|in_flight| in_flight.item.purpose == Purpose::ClientProbe);
        let in_flight = in_flight.map(|in_flight| in_flight.item.target);
        for unit in self.units.iter_mut() {
            if !waiting.contains(&unit.id()) && in_flight != Some(Target::Unit(unit.id())) {
                unit.note_client_probe_end(ProbeEnd::NotSent, now.instant, PAUSE_MIN);
            }
        }
    }

    /// After a start, and after the port was lost: each unit may owe an answer to an unknown request, and nothing at
    /// all is sent until the shortest of their times has passed.
    fn owe_unknown(&mut self, now: Instant) {
        let guard = |unit: &Unit| {
            let timeout = unit.settings().response_timeout;
            timeout + self.settings.late_guard + timeout.saturating_sub(self.settings.response_timeout)
        };
        let shortest = self.units.iter().map(guard).min();
        let guards: Vec<(UnitId, Duration)> =
            self.units.iter().map(|unit| (unit.id(), guard(unit))).collect();
        for (id, guard) in guards {
            if let Some(unit) = self.units.get_mut(id) {
                unit.owe_unknown(now + guard);
            }
        }
        if let Some(shortest) = shortest {
            self.wire.block_until(now + shortest);
        }
    }

    /// A reload adds and removes units. Answers that a removed unit owes stay until their time has passed.
    fn change_units(&mut self, before: &LineSettings) {
        let stays = |id: UnitId| self.settings.units.iter().any(|unit| unit.id == id);
        for gone in before.units.iter().map(|unit| unit.id).filter(|id| !stays(*id)).collect::<Vec<_>>() {
            self.flush(gone, ExceptionCode::GATEWAY_PATH_UNAVAILABLE);
            if let Some(unit) = self.units.remove(gone) {
                self.retired.insert(gone, unit);
            }
        }
        for settings in self.settings.units.clone() {
            match self.units.get_mut(settings.id) {
                Some(unit) => unit.configure(settings, &self.settings),
                None => {
                    let mut unit = Unit::new(settings, &self.settings);
                    if let Some(retired) = self.retired.remove(&unit.id()) {
                        unit.inherit(retired, &self.settings);
                    }
                    self.units.insert(unit);
                }
            }
        }
        self.silent_line.retain(&self.units.ids());
    }

    /// The longest pause between two probes of this `cost`, such that all probes of one kind together use no more than
    /// half of `failure_share`.
    fn probe_pause_max(&self, cost: Duration) -> Duration {
        let offline = self.units.iter().filter(|unit| unit.is_offline()).count().max(1);
        let budget = cost.as_secs_f64() * offline as f64 * 2.0 / self.settings.failure_share;
        Duration::try_from_secs_f64(budget)
            .unwrap_or(Duration::MAX)
            .clamp(PAUSE_MIN, self.settings.probe_max.max(PAUSE_MIN))
    }

    // Outputs.

    fn advance(&mut self, now: impl Into<Now>) -> Now {
        let now = now.into();
        self.now = Some(now);
        now
    }

    fn reply(&mut self, to: T, answer: Answer) {
        self.outputs.push_back(Output::Reply { to, answer });
    }

    /// What was received while no answer was awaited is complete: makes its record.
    fn record_stray(&mut self, now: Instant) {
        if let Some(received) = self.wire.take_stray() {
            self.note_stray(received, now);
        }
    }

    fn note_stray(&mut self, received: Received, now: Instant) {
        let framing = self.settings.protocol.adu_framing();
        let record = self.recorder.note_stray(framing, received, now);
        self.outputs.push_back(Output::Record(Arc::new(record)));
    }

    /// The published view of the line.
    fn view(&mut self) -> View {
        View {
            port: self.wire.port(),
            is_silent: self.silent_line.is_silent(),
            counters: self.recorder.counters(),
            statistics: self.recorder.statistics(),
            window: self.recorder.window(),
            polling: self.now.map(|now| self.cache.view(now.instant)).unwrap_or_default(),
            waiting: self.scheduler.queue().waiting(),
            echo: self.wire.echo_verdict(),
            units: self.units.iter_mut().map(Unit::view).collect(),
        }
    }
}

/// Whether a failed request may be retried unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    Allowed,
    Refused,
}

fn waiter<T>(request: Request<T>, expiry: Instant, now: Now) -> Waiter<T> {
    let Request { to, source, target: _, pdu, deadline, max_age, listener } = request;
    Waiter { to, source, pdu, since: now, max_age, listener, deadline, expiry }
}

/// A request without waiters, and without a range that others could join.
fn item_of<T>(target: Target, pdu: RequestPdu) -> Item<T> {
    Item {
        key: UNASKED,
        target,
        pdu,
        range: None,
        purpose: Purpose::Request,
        attempts: 0,
        background: false,
        waiters: Vec::new(),
    }
}

/// A copy of an item without waiters.
fn item_like<T>(item: &Item<T>) -> Item<T> {
    let Item { key, target, range, purpose, attempts, .. } = *item;
    let pdu = item.pdu.clone();
    Item { key, target, pdu, range, purpose, attempts, background: false, waiters: Vec::new() }
}

/// Takes the waiters that accept data begun at `begun` out of an item, as one of their own for this request.
fn take_fresh<T>(item: &mut Item<T>, request: RequestPdu, begun: Now) -> Item<T> {
    let (waiters, rest) =
        std::mem::take(&mut item.waiters).into_iter().partition(|waiter| waiter.accepts_data_of(begun));
    item.waiters = rest;
    let range = request.range();
    Item { waiters, range, pdu: request, ..item_like(item) }
}

/// Unit and range of a read that may be served from data of some age.
fn shared<T>(request: &Request<T>) -> Option<(UnitId, ReadRange)> {
    match request.target {
        Target::Unit(id) if !request.max_age.is_zero() => request.pdu.range().map(|range| (id, range)),
        Target::Unit(_) | Target::Broadcast => None,
    }
}

fn outcome_of(failure: AttemptFailure, misfit: Option<Misfit>) -> Outcome {
    match (failure, misfit) {
        (AttemptFailure::Misfit | AttemptFailure::Silent, Some(misfit)) => Outcome::Misfit(misfit),
        (AttemptFailure::Silent | AttemptFailure::Misfit, None) => Outcome::Silent,
        (AttemptFailure::Truncated, _) => Outcome::Truncated,
        (AttemptFailure::Garbled, _) => Outcome::Garbled,
        (AttemptFailure::Interrupted, _) => Outcome::PortLost,
    }
}

/// How long the response time of a unit that is not asked holds writes back.
const ESTIMATE_HOLDS: Duration = Duration::from_secs(60);

/// The key of a request that is not queued: one of the gateway itself.
const UNASKED: u64 = u64::MAX;
