//! The requests of one client that have no reply yet.
//!
//! Owns the outcome of each: over all addressed buses, the delay of refusals, the order of replies with one transaction
//! identifier, the backstop that answers in place of a bus, and the record of writes. It never reads a socket or a
//! clock; `now` is an argument. Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapter 4.4.2.3
//! (responses).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::debug;

use crate::audit::PendingWrite;
use crate::line::{Answer, UnitId};
use crate::modbus::AduFraming;
use crate::modbus::mbap::Adu;
use crate::modbus::pdu::{ExceptionCode, FunctionCode, RequestPdu, exception_reply};
use crate::serial::BusHandle;
use crate::server::routes::ListenerState;
use crate::traffic::Served;

/// The table. `handle_*` changes it; then [`poll_ready`](Self::poll_ready) until there is nothing.
#[derive(Debug, Default)]
pub(super) struct RequestTable {
    /// In order of arrival, which is that of their keys. Usually one, and a list of few takes less memory than a map.
    entries: VecDeque<RequestEntry>,
    /// Writes whose client is answered or gone, and whose outcome is still to be recorded.
    late: Vec<LateWrite>,
    next_key: u64,
}

/// One request, and its deadlines.
#[derive(Clone, Debug)]
pub(super) struct TimedRequest {
    pub(super) header: Header,
    pub(super) pdu: Bytes,
    pub(super) at: Instant,
    /// The bus answers before this instant.
    pub(super) bus_deadline: Instant,
    /// At this instant the connection answers in place of the bus.
    pub(super) backstop: Instant,
    pub(super) window: ReplyWindow,
}

/// When a reply may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyWindow {
    /// Whenever it is there: it names its request.
    Always,
    /// Until this instant, if the client does not send its next request before: it would take a later reply for the
    /// answer to that one.
    Until(Instant),
    /// Not at all.
    Never,
}

/// The header of the request, for its reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Chosen by the client.
    pub(super) transaction_id: u16,
    /// As addressed by the client.
    pub(super) unit: u8,
    /// As sent by the client, 0 and 0x80 to 0xFF included.
    pub(super) function: FunctionCode,
}

/// The next action of the session.
#[derive(Debug)]
pub(super) enum Ready {
    /// Send a reply.
    Reply { asked: TimedRequest, pdu: Bytes, served: Served },
    /// Look up a [postponed](RequestTable::postpone) read in the snapshot again; if it misses, send it to its bus.
    Lookup { key: u64, asked: TimedRequest, bus: BusHandle, unit: UnitId, pdu: RequestPdu },
}

#[derive(Debug)]
struct RequestEntry {
    /// The key of its first bus; those of a broadcast to several follow without gaps.
    key: u64,
    asked: TimedRequest,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Sent to a bus, or about to be.
    Unit { unit: UnitId, write: Option<PendingWrite> },
    /// Sent to all buses, or about to be. Without an acknowledgement it is never answered.
    Broadcast { acknowledgement: Option<Bytes>, parts: Vec<BroadcastPart> },
    /// A read that the snapshot can answer, behind another request of its transaction identifier.
    Postponed { bus: BusHandle, unit: UnitId, pdu: RequestPdu },
    /// The reply is sent when it is due, and not before an earlier one of its transaction identifier.
    Answered { due: Instant, reply: Option<Bytes>, served: Served },
}

/// A broadcast on one bus.
#[derive(Debug)]
struct BroadcastPart {
    write: Option<PendingWrite>,
    answer: Option<Answer>,
}

#[derive(Debug)]
struct LateWrite {
    key: u64,
    write: PendingWrite,
    until: Instant,
}

impl Header {
    /// From a request whose PDU has at least a function code, as every decoded ADU has.
    pub(super) fn new(adu: &Adu) -> Self {
        let function = FunctionCode(adu.pdu.first().copied().unwrap_or_default());
        Self { transaction_id: adu.transaction_id, unit: adu.unit, function }
    }

    /// The reply with this PDU.
    pub(super) fn reply(self, pdu: Bytes) -> Adu {
        Adu { transaction_id: self.transaction_id, unit: self.unit, pdu }
    }
}

impl TimedRequest {
    /// A request that arrived `at`, to be answered within the listener's deadline.
    pub(super) fn new(header: Header, pdu: Bytes, at: Instant, state: &ListenerState) -> Self {
        let is_broadcast = state.is_broadcast(header.unit);
        let deadline = match state.settings.framing {
            // `answer_within` is for a client that waits, and after a broadcast none does.
            AduFraming::Rtu if is_broadcast => state.settings.request_deadline,
            AduFraming::Tcp | AduFraming::Rtu => state.settings.deadline(),
        };
        let bus_deadline = at + line_deadline(deadline);
        let backstop = at + deadline - BACKSTOP_MARGIN.min(deadline / 8);
        let window = match state.settings.framing {
            AduFraming::Tcp if state.is_silent(header.unit, header.function) => ReplyWindow::Never,
            AduFraming::Tcp => ReplyWindow::Always,
            AduFraming::Rtu if is_broadcast => ReplyWindow::Never,
            AduFraming::Rtu => ReplyWindow::Until(at + deadline),
        };
        Self { header, pdu, at, bus_deadline, backstop, window }
    }
}

impl RequestTable {
    /// Requests without a reply.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an answer of a bus may still come.
    pub(super) fn awaits_answers(&self) -> bool {
        !self.entries.is_empty() || self.has_late_writes()
    }

    /// Whether the outcome of a write is still to be recorded after its client was answered, or was gone.
    pub(super) fn has_late_writes(&self) -> bool {
        !self.late.is_empty()
    }

    /// Whether a request with this transaction identifier has no reply yet.
    pub(super) fn repeats(&self, transaction_id: u16) -> bool {
        self.entries.iter().any(|entry| entry.asked.header.transaction_id == transaction_id)
    }

    /// Whether a write to this unit, or to all units, is still unanswered.
    pub(super) fn writes_to(&self, on_line: UnitId) -> bool {
        self.entries.iter().any(|entry| match &entry.stage {
            Stage::Unit { unit, write } => write.is_some() && *unit == on_line,
            Stage::Broadcast { .. } => true,
            Stage::Postponed { .. } | Stage::Answered { .. } => false,
        })
    }

    /// Opens a request that the bus of a unit answers, and returns its key.
    pub(super) fn open(&mut self, asked: TimedRequest, unit: UnitId, write: Option<PendingWrite>) -> u64 {
        self.push(asked, Stage::Unit { unit, write }, 1)
    }

    /// Opens a broadcast with one write for each bus, and returns the key of the first; the others follow.
    pub(super) fn open_broadcast(
        &mut self,
        asked: TimedRequest,
        acknowledgement: Option<Bytes>,
        writes: impl Iterator<Item = PendingWrite>,
    ) -> u64 {
        let parts: Vec<BroadcastPart> =
            writes.map(|write| BroadcastPart { write: Some(write), answer: None }).collect();
        let buses = parts.len() as u64;
        self.push(asked, Stage::Broadcast { acknowledgement, parts }, buses)
    }

    /// Postpones a read that the snapshot can answer until it is its turn: a reply that waited could be too old.
    pub(super) fn postpone(&mut self, asked: TimedRequest, bus: BusHandle, unit: UnitId, pdu: RequestPdu) {
        self.push(asked, Stage::Postponed { bus, unit, pdu }, 1);
    }

    /// Answers a request without a bus when it is its turn.
    pub(super) fn reply(&mut self, asked: TimedRequest, pdu: Bytes, served: Served) {
        let due = asked.at;
        self.push(asked, Stage::Answered { due, reply: Some(pdu), served }, 1);
    }

    /// Refuses a request before any bus, after [`REFUSAL_DELAY`].
    pub(super) fn refuse(&mut self, asked: TimedRequest, code: ExceptionCode) {
        let due = (asked.at + REFUSAL_DELAY).min(asked.backstop);
        let reply = Some(exception_reply(asked.header.function, code));
        self.push(asked, Stage::Answered { due, reply, served: Served::Refused }, 1);
    }

    /// Answers a [postponed](Self::postpone) read from the snapshot.
    pub(super) fn handle_found(&mut self, key: u64, pdu: Bytes, now: Instant) {
        if let Some(entry) = self.entry(key) {
            entry.stage = Stage::Answered { due: now, reply: Some(pdu), served: Served::Snapshot };
        }
    }

    /// Handles the answer of one bus. Returns when the request arrived, if that was the last answer it waited for.
    pub(super) fn handle_answer(&mut self, key: u64, answer: Answer, now: Instant) -> Option<Instant> {
        let Some(entry) = self.entry(key) else {
            self.handle_late_answer(key, &answer);
            return None;
        };
        let part = usize::try_from(key - entry.key).unwrap_or(usize::MAX);
        let answer = match &mut entry.stage {
            Stage::Unit { write, .. } => {
                match write.take() {
                    Some(write) => write.finish(&answer),
                    None => note_failure(entry.asked.header, &answer),
                }
                answer
            }
            Stage::Broadcast { parts, .. } => {
                let part = parts.get_mut(part)?;
                if let Some(write) = part.write.take() {
                    write.finish(&answer);
                }
                part.answer.get_or_insert(answer);
                answer_of_all(parts)?
            }
            Stage::Postponed { .. } | Stage::Answered { .. } => {
                self.handle_late_answer(key, &answer);
                return None;
            }
        };
        entry.handle_outcome(answer, now);
        Some(entry.asked.at)
    }

    /// Handles everything that is due. Returns the keys of requests that no bus answered by the backstop: each is to be
    /// withdrawn and answered, or [given up](Self::give_up).
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<u64> {
        // When dropped, they are recorded as unknown.
        self.late.retain(|late| late.until > now);
        let mut overdue = Vec::new();
        for entry in self.entries.iter_mut().filter(|entry| entry.asked.backstop <= now) {
            match &entry.stage {
                Stage::Unit { .. } => overdue.push(entry.key),
                Stage::Broadcast { parts, .. } => {
                    let open = (entry.key..).zip(parts).filter(|(_, part)| part.answer.is_none());
                    overdue.extend(open.map(|(key, _)| key));
                }
                Stage::Postponed { .. } => {
                    entry.handle_outcome(Answer::NotSent(ExceptionCode::SERVER_DEVICE_BUSY), now);
                }
                Stage::Answered { .. } => {}
            }
        }
        overdue
    }

    /// Answers 0x0B in place of a bus. The outcome of a write is recorded if the bus reports it later.
    pub(super) fn give_up(&mut self, key: u64, now: Instant) -> Option<Instant> {
        let entry = self.entry(key)?;
        let part = usize::try_from(key - entry.key).unwrap_or(usize::MAX);
        let write = match &mut entry.stage {
            Stage::Unit { write, .. } => write.take(),
            Stage::Broadcast { parts, .. } => parts.get_mut(part)?.write.take(),
            Stage::Postponed { .. } | Stage::Answered { .. } => None,
        };
        if let Some(write) = write {
            self.late.push(LateWrite { key, write, until: now + LATE_PATIENCE });
        }
        self.handle_answer(key, Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND), now)
    }

    /// The client sent its next request, and waits for no other answer any more. Returns the key below which requests
    /// are superseded, if any of them is with a bus.
    pub(super) fn supersede(&mut self) -> Option<u64> {
        let mut is_any_with_bus = false;
        for RequestEntry { asked, stage, .. } in &mut self.entries {
            match asked.window {
                ReplyWindow::Until(_) => asked.window = ReplyWindow::Never,
                ReplyWindow::Always | ReplyWindow::Never => continue,
            }
            if let Stage::Unit { write, .. } = stage {
                is_any_with_bus = true;
                if let Some(write) = write {
                    write.note_client_gave_up();
                }
            }
        }
        is_any_with_bus.then_some(self.next_key)
    }

    /// The client is gone: no reply is sent any more, and only the outcomes of writes are awaited.
    pub(super) fn abandon(&mut self, now: Instant) {
        let until = now + LATE_PATIENCE;
        for RequestEntry { key, stage, asked } in self.entries.drain(..) {
            let until = asked.backstop.max(until);
            let late = |(key, write): (u64, Option<PendingWrite>)| {
                write.map(|mut write| {
                    write.note_client_left();
                    LateWrite { key, write, until }
                })
            };
            match stage {
                Stage::Unit { write, .. } => self.late.extend(late((key, write))),
                Stage::Broadcast { parts, .. } => {
                    self.late.extend((key..).zip(parts.into_iter().map(|part| part.write)).filter_map(late));
                }
                Stage::Postponed { .. } | Stage::Answered { .. } => {}
            }
        }
    }

    /// The next action that is due. A request without a reply is removed silently.
    pub(super) fn poll_ready(&mut self, now: Instant) -> Option<Ready> {
        let mut index = 0;
        while let Some(entry) = self.entries.get(index) {
            let is_due = match &entry.stage {
                Stage::Answered { due, .. } => *due <= now,
                Stage::Postponed { .. } => true,
                Stage::Unit { .. } | Stage::Broadcast { .. } => false,
            };
            if !is_due || self.is_behind(index) {
                index += 1;
                continue;
            }
            if let Some(ready) = self.release(index, now) {
                return Some(ready);
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) or [`poll_ready`](Self::poll_ready) has an action.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = |(index, entry): (usize, &RequestEntry)| match &entry.stage {
            // A request behind another is released with it.
            Stage::Answered { due, .. } => (!self.is_behind(index)).then_some(*due),
            Stage::Unit { .. } | Stage::Broadcast { .. } | Stage::Postponed { .. } => {
                Some(entry.asked.backstop)
            }
        };
        let late = self.late.iter().map(|late| late.until);
        self.entries.iter().enumerate().filter_map(due).chain(late).min()
    }

    fn push(&mut self, asked: TimedRequest, stage: Stage, keys: u64) -> u64 {
        let key = self.next_key;
        self.next_key += keys;
        let Header { transaction_id, .. } = asked.header;
        // A reload may shorten the deadline; the requests ahead of this one must be answered within its deadline.
        for earlier in &mut self.entries {
            if earlier.asked.header.transaction_id == transaction_id {
                earlier.asked.backstop = earlier.asked.backstop.min(asked.backstop);
            }
        }
        if self.entries.capacity() == 0 {
            // Most clients never have a second request in flight.
            self.entries.reserve_exact(1);
        }
        self.entries.push_back(RequestEntry { key, asked, stage });
        key
    }

    /// The entry with this bus key, if it is still present.
    fn entry(&mut self, key: u64) -> Option<&mut RequestEntry> {
        let index = self.entries.partition_point(|entry| entry.key <= key).checked_sub(1)?;
        let entry = &mut self.entries[index];
        (key - entry.key < entry.stage.keys()).then_some(entry)
    }

    /// Whether an earlier request of the same transaction identifier has no reply yet.
    fn is_behind(&self, index: usize) -> bool {
        let header = |entry: &RequestEntry| entry.asked.header.transaction_id;
        self.entries.range(..index).any(|earlier| header(earlier) == header(&self.entries[index]))
    }

    fn release(&mut self, index: usize, now: Instant) -> Option<Ready> {
        let entry = self.entries.get_mut(index)?;
        if let Stage::Postponed { bus, unit, pdu } = &entry.stage {
            let (key, asked) = (entry.key, entry.asked.clone());
            let ready = Ready::Lookup { key, asked, bus: bus.clone(), unit: *unit, pdu: pdu.clone() };
            entry.stage = Stage::Unit { unit: *unit, write: None };
            return Some(ready);
        }
        let RequestEntry { asked, stage, .. } = self.entries.remove(index)?;
        if self.entries.is_empty() && self.entries.capacity() > IDLE_ENTRIES {
            // With hundreds of connections the capacity left by a burst adds up.
            self.entries = VecDeque::new();
        }
        match stage {
            Stage::Answered { reply, served, .. } => {
                let is_open = match asked.window {
                    ReplyWindow::Always => true,
                    ReplyWindow::Until(end) => now < end,
                    ReplyWindow::Never => false,
                };
                reply.filter(|_| is_open).map(|pdu| Ready::Reply { asked, pdu, served })
            }
            Stage::Unit { .. } | Stage::Broadcast { .. } | Stage::Postponed { .. } => None,
        }
    }

    fn handle_late_answer(&mut self, key: u64, answer: &Answer) {
        match self.late.iter().position(|late| late.key == key) {
            Some(index) => self.late.swap_remove(index).write.finish(answer),
            None => debug!("an answer came after its request was given up; dropped"),
        }
    }
}

impl RequestEntry {
    /// All buses have answered; this is the combined outcome.
    fn handle_outcome(&mut self, answer: Answer, now: Instant) {
        let Header { function, .. } = self.asked.header;
        let refusal_due = (now + REFUSAL_DELAY).min(self.asked.backstop).max(now);
        let failed = ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND;
        let exception = |code| Some(exception_reply(function, code));
        let acknowledgement = match &mut self.stage {
            Stage::Broadcast { acknowledgement, .. } => Some(acknowledgement.take()),
            Stage::Unit { .. } | Stage::Postponed { .. } | Stage::Answered { .. } => None,
        };
        let (due, reply, served) = match (answer, &acknowledgement) {
            (Answer::Reply(pdu) | Answer::Unreached(pdu), None) => (now, Some(pdu), Served::Unit),
            (Answer::Sent | Answer::Reply(_) | Answer::Unreached(_), Some(acknowledgement)) => {
                (now, acknowledgement.clone(), Served::Acknowledged)
            }
            (Answer::Sent, None) => (now, exception(failed), Served::Refused),
            (Answer::NotSent(code) | Answer::NoAnswer(code), _) => (now, exception(code), Served::Refused),
            (Answer::Refused(code), _) => (refusal_due, exception(code), Served::Refused),
        };
        // A refused broadcast without acknowledgement stays as long: repeating it in a loop must cost nothing either.
        let reply = reply.filter(|_| acknowledgement != Some(None));
        self.stage = Stage::Answered { due, reply, served };
    }
}

impl Stage {
    /// The number of its bus keys.
    fn keys(&self) -> u64 {
        match self {
            Self::Broadcast { parts, .. } => parts.len() as u64,
            Self::Unit { .. } | Self::Postponed { .. } | Self::Answered { .. } => 1,
        }
    }
}

/// The outcome of a broadcast, once all buses have answered. If some may have sent it and others did not, the client
/// must not take it for one that had no effect.
fn answer_of_all(parts: &[BroadcastPart]) -> Option<Answer> {
    let mut unsent = None;
    let (mut sent, mut may_be_sent) = (0, 0);
    for part in parts {
        match part.answer.as_ref()? {
            Answer::Sent | Answer::Reply(_) => sent += 1,
            Answer::NoAnswer(_) | Answer::Unreached(_) => may_be_sent += 1,
            answer @ (Answer::NotSent(_) | Answer::Refused(_)) => {
                unsent.get_or_insert_with(|| answer.clone());
            }
        }
    }
    Some(match unsent {
        Some(answer) if sent + may_be_sent == 0 => answer,
        None if may_be_sent == 0 => Answer::Sent,
        Some(_) | None => Answer::NoAnswer(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND),
    })
}

/// Of requests other than writes, the log has only those that the gateway itself answered.
fn note_failure(header: Header, answer: &Answer) {
    let Header { unit, function, .. } = header;
    match answer {
        Answer::NotSent(code) | Answer::Refused(code) => debug!(unit, %function, "never sent ({code})"),
        Answer::NoAnswer(code) => debug!(unit, %function, "no valid answer ({code})"),
        Answer::Reply(_) | Answer::Unreached(_) | Answer::Sent => {}
    }
}

/// The delay of a refusal without use of the line, so that a client that repeats it in a loop costs nothing.
pub const REFUSAL_DELAY: Duration = Duration::from_millis(10);

/// By how much the deadline of a bus precedes the client's, so that its answer is sent in time even if it is a delayed
/// refusal. At most a quarter of the deadline.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(25);

/// The part of a client's deadline that a bus has.
#[must_use]
pub fn line_deadline(deadline: Duration) -> Duration {
    deadline - DEADLINE_MARGIN.min(deadline / 4)
}

/// How long before the client's deadline the connection answers in place of a bus. At most an eighth of it.
pub const BACKSTOP_MARGIN: Duration = Duration::from_millis(10);

/// How long the outcome of a write is awaited after its client was answered, or was gone.
const LATE_PATIENCE: Duration = Duration::from_secs(10);

/// A list with a larger capacity is freed once it is empty.
const IDLE_ENTRIES: usize = 4;
