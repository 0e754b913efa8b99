//! One serial line as a state machine without input or output.
//!
//! Owns the decisions: what goes on the wire and when, whose answer a frame is, who is told what. It never
//! reads a clock, never waits and never touches a port: instants and bytes are arguments.
//! Source: MODBUS over Serial Line V1.02, chapters 2.4 (client states) and 2.5 (timing).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::{ExceptionCode, RequestPdu};
use crate::modbus::rtu;

use super::background::Silence;
use super::crowding::Crowding;
use super::echo::EchoDetector;
use super::exchange::Exchange;
use super::learn::Learned;
use super::poll::Plan;
use super::queue::{Queue, Waiter};
use super::receive::{Finality, Receiver};
use super::record::Record;
use super::recording::Recorder;
use super::request::{Answer, Request, Target};
use super::settings::{LineSettings, UnitId, UnitSettings};
use super::turns::Turns;
use super::unit::Unit;
use super::view::{LineCounters, PortState, View, Window};

/// What happened to the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortEvent {
    /// It was opened; nothing is known about what hangs on it.
    Opened,
    /// It is gone, or its settings were refused.
    Lost,
}

/// What the line wants done, in this order.
#[derive(Debug)]
pub enum Output<T> {
    /// Send these bytes, at once and in one piece.
    Transmit(Bytes),
    /// This has happened on the line: for whoever keeps records. Before the `Reply` that came of it.
    Record(Arc<Record>),
    /// Let others see this. Always before the `Reply` it belongs to.
    Publish(Arc<View>),
    /// Give the answer to whoever asked.
    Reply {
        /// Who asked.
        to: T,
        /// The one answer to that request.
        answer: Answer,
    },
}

/// One serial line. `T` is where a reply goes; it is carried through untouched.
///
/// The one rule: call one `handle_*`, then [`poll_output`](Self::poll_output) until it gives none, then sleep
/// until [`poll_timeout`](Self::poll_timeout). Calling [`handle_timeout`](Self::handle_timeout) early does
/// nothing. `now` never goes backwards.
#[derive(Debug)]
pub struct Line<T> {
    pub(super) settings: LineSettings,
    pub(super) units: BTreeMap<UnitId, Unit>,
    pub(super) queue: Queue<T>,
    pub(super) receiver: Receiver,
    pub(super) echo: EchoDetector,
    pub(super) exchange: Option<Exchange<T>>,
    pub(super) port: PortState,
    pub(super) counters: LineCounters,
    pub(super) outputs: VecDeque<Output<T>>,
    pub(super) changed: bool,
    /// The last byte on the line in either direction, as far as known.
    pub(super) last_activity: Option<Instant>,
    /// When the last byte was received.
    pub(super) last_byte: Option<Instant>,
    /// When the first of the bytes not yet a frame was received.
    pub(super) head_at: Option<Instant>,
    /// The last byte after which unfinished bytes were looked at for a frame of unknown length.
    pub(super) quiet_looked_at: Option<Instant>,
    /// Since when bytes have come without a pause and without a frame.
    pub(super) noisy_since: Option<Instant>,
    /// Until when units may still be acting on a broadcast.
    pub(super) turnaround_until: Option<Instant>,
    pub(super) closing: bool,
    /// Whether the last thing sent was a probe: a waiting client comes before the next one.
    pub(super) probed_last: bool,
    /// What is read of profiles' blocks; from the first opening of the port on.
    pub(super) plan: Option<Plan>,
    pub(super) learned: Learned,
    /// Whose turn it is of the two.
    pub(super) turns: Turns,
    pub(super) crowding: Crowding,
    /// Blocks read so far.
    pub(super) generation: u64,
    pub(super) window: Window,
    /// Whether the log has it that readings take longer than estimated.
    pub(super) overrun_noted: bool,
    /// What is read again and again and met with silence: how often in a row, and since when.
    pub(super) silences: Vec<Silence>,
    pub(super) recorder: Recorder,
}

impl<T> Line<T> {
    /// A line whose port is closed.
    #[must_use]
    pub fn new(settings: LineSettings) -> Self {
        let units = settings
            .units
            .iter()
            .map(|unit| (unit.id, Unit::new(unit.clone(), guard_of(&settings, unit))))
            .collect();
        Self {
            units,
            queue: Queue::new(settings.queue_limit),
            receiver: Receiver::default(),
            echo: EchoDetector::new(settings.echo),
            exchange: None,
            port: PortState::Closed,
            counters: LineCounters::default(),
            outputs: VecDeque::new(),
            changed: true,
            last_activity: None,
            last_byte: None,
            head_at: None,
            quiet_looked_at: None,
            noisy_since: None,
            turnaround_until: None,
            closing: false,
            probed_last: false,
            plan: None,
            learned: Learned::new(settings.learn_limit),
            turns: Turns::default(),
            crowding: Crowding::default(),
            generation: 0,
            window: Window::default(),
            overrun_noted: false,
            silences: Vec::new(),
            recorder: Recorder::default(),
            settings,
        }
    }

    /// A client asks. The request is answered once, before its deadline.
    pub fn handle_request(&mut self, request: Request<T>, now: Instant) {
        // What is known and young enough is given also while the unit or the port is away.
        let Some(request) = self.answer_from_snapshot(request, now) else { return };
        if let Some(refusal) = self.refusal(&request, now) {
            self.reply(request.to, refusal);
            return;
        }
        let Some(request) = self.join_on_the_wire(request, now) else { return };
        let whole = self.whole_for(&request, now);
        let cost = whole.map_or_else(
            || self.cost(&request.pdu, request.target),
            |whole| self.cost(&whole.into(), request.target),
        );
        let tables = self.tables_of(&request);
        match self.queue.push(request, whole, tables, cost, now) {
            Ok(joined) => self.counters.joined += u64::from(joined),
            Err(request) => {
                return self.reply(request.to, Answer::Refused(ExceptionCode::SERVER_DEVICE_BUSY));
            }
        }
        self.changed = true;
        self.send_next(now);
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if self.port == PortState::Closed || bytes.is_empty() {
            return;
        }
        self.note_bytes(bytes, now);
        if self.port == PortState::Open {
            self.take_frames(Finality::Open, now);
        }
        self.watch_for_babble(now);
        self.record_stray(now);
    }

    /// The port was opened or lost.
    pub fn handle_port(&mut self, event: PortEvent, now: Instant) {
        self.changed = true;
        match event {
            PortEvent::Opened => {
                self.recorder.statistics.openings += u64::from(self.port == PortState::Closed);
                self.port = PortState::Open;
                self.echo.reset();
                self.receiver = Receiver::default();
                // Something may be talking: silence is kept before the first request, too.
                self.last_activity = Some(self.last_activity.map_or(now, |last| last.max(now)));
                self.noisy_since = None;
                self.begin_polling(now);
            }
            PortEvent::Lost => {
                self.recorder.statistics.losses += u64::from(self.port != PortState::Closed);
                self.port = PortState::Closed;
                self.fail_everything(ExceptionCode::GATEWAY_PATH_UNAVAILABLE, now);
                self.record_the_rest(now);
            }
        }
    }

    /// Sends nothing before `until`, as after a broadcast; requests wait meanwhile. For what was asked on this
    /// line before this machine began, by a bus it replaces or an earlier process: no unit here is known to owe
    /// that answer, and the first request of the same shape would be given it.
    pub fn hold_until(&mut self, until: Instant) {
        self.turnaround_until = self.turnaround_until.max(Some(until));
        self.changed = true;
    }

    /// The instant given by [`poll_timeout`](Self::poll_timeout) has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        for unit in self.units.values_mut() {
            unit.release(now);
        }
        self.expire(now);
        self.end_of_quiet(now);
        self.judge_exchange(now);
        self.record_stray(now);
        self.send_next(now);
    }

    /// Nobody waits any more for the replies for which `gone` holds: what is not on the wire yet stays off it,
    /// and is answered 0x06 (0x0B after an attempt) in case somebody does. What is on the wire goes on.
    pub fn drop_requests(&mut self, gone: impl Fn(&T) -> bool) {
        for (attempts, waiter) in self.queue.remove_waiters(|_, waiter| gone(&waiter.to)) {
            self.give_up(attempts, waiter);
        }
    }

    /// The bus is being stopped: what waits and what still comes is answered 0x0A, nothing more is sent. The
    /// request on the wire goes on; [`is_idle`](Self::is_idle) tells when it has ended.
    pub fn close(&mut self) {
        self.closing = true;
        for (attempts, waiter) in self.queue.remove_waiters(|_, _| true) {
            self.reply(waiter.to, gave_up(attempts, ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
        }
        self.queue.drop_background(|_| true);
        self.changed = true;
    }

    /// Whether no request is on the wire and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.exchange.is_none() && self.queue.is_empty()
    }

    /// The next thing to do, or none.
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
        let exchange = self.exchange.as_ref().map(|exchange| {
            let deadlines = exchange.item.waiters.iter().map(|waiter| waiter.deadline).min();
            let due = exchange.due(self.pending_due());
            deadlines.map_or(due, |deadline| deadline.min(due))
        });
        let quiet = if self.exchange.is_none() { self.pending_due() } else { None };
        let stray = self.stray_due();
        let occupied =
            (self.port == PortState::Occupied).then(|| self.last_byte.map(|at| at + OCCUPIED_QUIET));
        let next = if self.exchange.is_none() { self.next_start() } else { None };
        [exchange, quiet, stray, occupied.flatten(), next, self.next_expiry()].into_iter().flatten().min()
    }

    /// Why a request is not even queued.
    fn refusal(&self, request: &Request<T>, now: Instant) -> Option<Answer> {
        if self.closing || self.port != PortState::Open {
            return Some(Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE));
        }
        if let Target::Unit(id) = request.target {
            match self.units.get(&id) {
                None => return Some(Answer::Refused(ExceptionCode::GATEWAY_PATH_UNAVAILABLE)),
                Some(unit) if unit.is_offline() => {
                    return Some(Answer::Refused(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND));
                }
                Some(_) => {}
            }
        }
        (request.deadline <= now).then_some(Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY))
    }

    /// A read that the one on the wire covers, young enough and with no write between, shares its answer.
    fn join_on_the_wire(&mut self, request: Request<T>, now: Instant) -> Option<Request<T>> {
        let tables = self.tables_of(&request);
        let Some(exchange) = &mut self.exchange else { return Some(request) };
        let covered = request.pdu.range().zip(exchange.item.range).is_some_and(|(wanted, asked)| {
            exchange.item.target == request.target && tables.part(&asked, &wanted).is_some()
        });
        let fresh = now.saturating_duration_since(exchange.sent_at) <= request.max_age;
        // Whoever joins waits like everybody else, and counts like everybody else.
        let room = exchange.item.waiters.len() + self.queue.waiting() < self.settings.queue_limit;
        if !covered || !fresh || !room || !self.queue.may_join(request.target, exchange.item.key) {
            return Some(request);
        }
        let Request { to, source, target: _, pdu, deadline, max_age, listener: _ } = request;
        exchange.item.waiters.push(Waiter { to, source, pdu, since: now, max_age, deadline });
        exchange.askers.clients += 1;
        self.counters.joined += 1;
        self.changed = true;
        None
    }

    /// Queues an answer; `poll_output` gives the view before it.
    pub(super) fn reply(&mut self, to: T, answer: Answer) {
        self.outputs.push_back(Output::Reply { to, answer });
    }

    /// Answers everybody who waits, on the wire or in the queue.
    pub(super) fn fail_everything(&mut self, code: ExceptionCode, now: Instant) {
        for waiter in self.abandon(now) {
            self.reply(waiter.to, Answer::NoAnswer(code));
        }
        for (attempts, waiter) in self.queue.remove_waiters(|_, _| true) {
            self.reply(waiter.to, gave_up(attempts, code));
        }
        self.queue.drop_background(|_| true);
        self.interrupt_polling();
        self.changed = true;
    }

    /// Line time of a request and its answer, for the shares. An answer of unknown length counts as the
    /// shortest.
    pub(super) fn cost(&self, request: &RequestPdu, target: Target) -> Duration {
        let response = match target {
            Target::Unit(id) => self.units.get(&id).and_then(|unit| unit.response_time).unwrap_or_default(),
            Target::Broadcast => self.settings.turnaround_delay,
        };
        let answer = 2 + request.range().map_or(0, |range| range.byte_count());
        self.wire_time(request.bytes().len() + answer + 2 * rtu::OVERHEAD) + response
    }

    /// The time `bytes` take on this line.
    pub(super) fn wire_time(&self, bytes: usize) -> Duration {
        self.settings.framing.wire_time(bytes)
    }

    /// The line as others may see it.
    fn view(&mut self) -> View {
        self.counters.noise_bytes += self.receiver.take_noise();
        View {
            port: self.port,
            counters: self.counters,
            statistics: self.recorder.statistics,
            window: self.window,
            polling: self.polling_view(),
            waiting: self.queue.waiting(),
            echo: self.echo.verdict(),
            units: self.units.values_mut().map(Unit::view).collect(),
        }
    }
}

/// The gateway's exception to a request that was sent so many times.
pub(super) fn gave_up(attempts: u32, code: ExceptionCode) -> Answer {
    if attempts == 0 { Answer::NotSent(code) } else { Answer::NoAnswer(code) }
}

/// How long after its timeout an answer of the unit is taken for a late one: a unit that may take longer than
/// the others may be later, too.
fn guard_of(settings: &LineSettings, unit: &UnitSettings) -> Duration {
    settings.late_guard + unit.response_timeout.saturating_sub(settings.response_timeout)
}

/// A frame of unknown length ends at a right CRC followed by so much quiet; longer than the lumps in which
/// USB adapters deliver.
pub const QUIET: Duration = Duration::from_millis(20);

/// What the rest of an answer may take beyond its wire time.
pub const REST_SLACK: Duration = Duration::from_millis(50);

/// Bytes without a pause for so long, and twice the longest frame, are no frames: the line is occupied.
pub const OCCUPIED_AFTER: Duration = Duration::from_secs(1);

/// So much quiet ends the occupation.
pub const OCCUPIED_QUIET: Duration = Duration::from_millis(100);
