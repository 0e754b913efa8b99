//! The wire of a connection to a Modbus TCP server: a meter with an Ethernet port, or another gateway.
//!
//! Owns the transaction identifiers, which exclude a late answer exactly: an answer belongs to a request if it has its
//! identifier, its unit and its function, and to none otherwise. So nothing is owed, and no silence is needed. A gateway
//! that still works on a request given up lets the next one wait, so that is held back for as long as late answers were
//! seen to take. Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapters 3.1.3 and 4.4.2.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::modbus::mbap::{self, Adu};
use crate::modbus::pdu::ExceptionCode;
use crate::modbus::reply;

use super::attempt::{AttemptFailure, Disconnection, Ended, Outgoing, WireEvent, exception_of, misfit_of};
use super::receive::Frame;
use super::record::{Misfit, Received, RxRecorder, SegmentKind};
use super::settings::{Replies, UnitId};
use super::view::PortState;

/// The wire of one connection after the other.
#[derive(Debug, Default)]
pub(super) struct MbapWire {
    connection: Connection,
    /// Received bytes that are not yet a whole ADU.
    buffer: BytesMut,
    /// When the first of them was received.
    frame_started_at: Option<Instant>,
    recorder: RxRecorder,
    transaction: Option<TransactionInFlight>,
    /// The latest requests of this connection that were given up, oldest first.
    given_up: VecDeque<GivenUp>,
    /// Continues over connections: an answer that is left over from one matches no request of the next.
    next_id: u16,
    /// The last request or answer.
    last_frame: Option<Instant>,
    /// Until when nothing may be sent: units are processing a broadcast.
    blocked_until: Option<Instant>,
    /// Whether the server closes the connection after each answer. The next request then waits for that.
    is_closed_after_answer: bool,
    /// How long late answers have taken, where the server answers one request after the other.
    lateness: Option<Lateness>,
    /// Nothing is sent before, because the server works on the request given up last.
    held: Option<Held>,
    /// The requests given up since the connection last brought anything.
    unheard: Option<Unheard>,
    /// How long the next connection may bring nothing.
    patience: Patience,
}

/// How late answers have come.
#[derive(Clone, Copy, Debug)]
struct Lateness {
    longest: Duration,
    /// When the last of them came.
    seen_at: Instant,
}

/// What is held back for a request given up.
#[derive(Clone, Copy, Debug)]
struct Held {
    id: u16,
    until: Instant,
}

/// Requests given up one after the other, with nothing received in between.
#[derive(Clone, Copy, Debug)]
struct Unheard {
    since: Instant,
    requests: u32,
}

/// How long a connection may bring nothing: longer after each that brought nothing.
#[derive(Clone, Copy, Debug)]
struct Patience(Duration);

impl Default for Patience {
    fn default() -> Self {
        Self(HUNG_MIN)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Connection {
    /// There is none.
    #[default]
    Closed,
    /// It has ended in the usual course, and is being made again.
    Interrupted,
    Open(Answers),
    /// Nothing can be had of it any more; it is being closed.
    Useless,
}

/// The answers that an open connection has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    None,
    /// One, at this time.
    One(Instant),
    Several,
}

/// The transaction in flight.
#[derive(Debug)]
struct TransactionInFlight {
    id: u16,
    outgoing: Outgoing,
    adu: Bytes,
    sent_at: Instant,
    /// A broadcast has no answer: it ends when it is sent.
    response_deadline: Instant,
    misfit: Option<Misfit>,
}

/// A request whose answer may still come.
#[derive(Debug)]
struct GivenUp {
    id: u16,
    outgoing: Outgoing,
    sent_at: Instant,
    /// Whether a later request was answered: the server does not keep that waiting for this one.
    is_overtaken: bool,
}

impl MbapWire {
    /// While the connection is being made again, the port counts as open: requests wait.
    pub(super) fn port(&self) -> PortState {
        match self.connection {
            Connection::Closed => PortState::Closed,
            Connection::Interrupted | Connection::Open(_) | Connection::Useless => PortState::Open,
        }
    }

    /// A connection was made.
    pub(super) fn open(&mut self, now: Instant) {
        self.connection = Connection::Open(Answers::None);
        self.unheard = None;
        self.last_frame = Some(self.last_frame.map_or(now, |last| last.max(now)));
    }

    /// The connection is gone; returns the transaction in flight.
    pub(super) fn close(&mut self) -> Option<Ended> {
        self.buffer.clear();
        self.given_up.clear();
        self.held = None;
        self.connection = Connection::Closed;
        self.end()
    }

    /// The connection has ended and is being made again; returns the transaction in flight.
    pub(super) fn interrupt(&mut self, now: Instant) -> Option<Ended> {
        if let Connection::Open(Answers::One(at)) = self.connection {
            self.is_closed_after_answer = now.saturating_duration_since(at) <= CLOSING_TIME;
        }
        let ended = self.close();
        self.connection = Connection::Interrupted;
        ended
    }

    /// Blocks sending before `until`.
    pub(super) fn block_until(&mut self, until: Instant) {
        self.blocked_until = self.blocked_until.max(Some(until));
    }

    /// Has the next request carry this identifier: what is left of the connections of an earlier process then matches
    /// none of this one.
    pub(super) fn begin_identifiers_at(&mut self, id: u16) {
        self.next_id = id;
    }

    /// Until when the server is taken to work on the request given up last.
    pub(super) fn held_until(&self) -> Option<Instant> {
        self.held.map(|held| held.until)
    }

    /// Whether a request may be sent.
    pub(super) fn is_free(&self) -> bool {
        self.transaction.is_none() && matches!(self.connection, Connection::Open(_))
    }

    /// When the next request may be sent: the `gap` after the last frame, where the server closes the connection after
    /// an answer, once it would have done so, and where it still works on another request, once that is over.
    pub(super) fn silent_from(&self, gap: Duration) -> Instant {
        let rested = self.last_frame.map(|last| last + gap);
        let closing = match self.connection {
            Connection::Open(Answers::One(at)) if self.is_closed_after_answer => Some(at + CLOSING_TIME),
            Connection::Open(_) | Connection::Closed | Connection::Interrupted | Connection::Useless => None,
        };
        rested
            .max(closing)
            .max(self.held_until())
            .max(self.blocked_until)
            .expect("the connection counts as a frame")
    }

    /// Begins a transaction: returns the bytes to send.
    pub(super) fn begin(&mut self, outgoing: Outgoing, now: Instant) -> Bytes {
        if self.held.take().is_some() {
            // Its time is over, and no answer came: the server did not work on the request given up.
            self.lateness = self.lateness.map(Lateness::halve);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let unit = outgoing.unit.map_or(0, UnitId::get);
        let mut adu = BytesMut::new();
        Adu { transaction_id: id, unit, pdu: outgoing.request.bytes().clone() }.encode(&mut adu);
        let adu = adu.freeze();
        let response_deadline = match outgoing.unit {
            Some(_) => now + outgoing.response_timeout,
            None => now,
        };
        self.last_frame = Some(now);
        self.transaction = Some(TransactionInFlight {
            id,
            adu: adu.clone(),
            sent_at: now,
            response_deadline,
            misfit: None,
            outgoing,
        });
        adu
    }

    /// Bytes arrived. Call [`next_event`](Self::next_event) until there is none.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if !matches!(self.connection, Connection::Open(_)) {
            return;
        }
        self.recorder.push(bytes, now);
        self.unheard = None;
        self.patience = Patience::default();
        if self.buffer.is_empty() {
            self.frame_started_at = Some(now);
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next event, up to `now`.
    pub(super) fn next_event(&mut self, now: Instant) -> Option<WireEvent> {
        if !matches!(self.connection, Connection::Open(_)) {
            return None;
        }
        match mbap::decode(&mut self.buffer) {
            Ok(Some(adu)) => Some(self.classify(&adu, now)),
            Ok(None) if self.transaction.is_none() && self.is_hung(now) => {
                self.patience = Patience((self.patience.0 * 2).min(HUNG_MAX));
                Some(self.give_up_connection(Disconnection::Hung))
            }
            Ok(None) => self.end_of_transaction(now).or_else(|| self.take_stray().map(WireEvent::Stray)),
            Err(error) => Some(self.give_up_connection(Disconnection::Misframed(error))),
        }
    }

    fn give_up_connection(&mut self, why: Disconnection) -> WireEvent {
        self.buffer.clear();
        self.connection = Connection::Useless;
        WireEvent::Disconnect(why)
    }

    /// Whether the server takes requests and answers none, or has stopped within an answer, which would swallow the
    /// beginning of the next.
    fn is_hung(&self, now: Instant) -> bool {
        let is_stopped = !self.buffer.is_empty()
            && self.frame_started_at.is_some_and(|at| now.saturating_duration_since(at) >= INCOMPLETE_MAX);
        let answers_none = self.unheard.is_some_and(|Unheard { since, requests }| {
            requests >= HUNG_REQUESTS && now.saturating_duration_since(since) >= self.patience.0
        });
        is_stopped || answers_none
    }

    /// When [`next_event`](Self::next_event) may have one without further bytes.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.transaction.as_ref().map(|transaction| transaction.response_deadline)
    }

    /// Everything received that is in no record yet, as a record of its own.
    pub(super) fn take_stray(&mut self) -> Option<Received> {
        let is_stray = self.transaction.is_none() && self.buffer.is_empty() && !self.recorder.is_empty();
        is_stray.then(|| self.recorder.drain(&[], None))
    }

    fn classify(&mut self, adu: &Adu, now: Instant) -> WireEvent {
        let started_at = self.frame_started_at.unwrap_or(now);
        self.frame_started_at = (!self.buffer.is_empty()).then_some(now);
        self.last_frame = Some(now);
        let unit = UnitId::new(adu.unit);
        let meaning = self.meaning_of(unit, adu);
        let kind = match (&meaning, unit) {
            (Meaning::Answer | Meaning::Unreached, _) => SegmentKind::Answer,
            (Meaning::Outdated(_), Some(unit)) => SegmentKind::Late(unit),
            (
                Meaning::Misfit(_)
                | Meaning::OtherFunction(_)
                | Meaning::OtherUnit(_)
                | Meaning::Outdated(_)
                | Meaning::Unmatched,
                _,
            ) => SegmentKind::Foreign,
        };
        self.recorder.mark(kind, mbap::HEADER_LENGTH + adu.pdu.len(), self.buffer.len(), started_at);
        self.event(meaning, unit, adu, Times { started_at, now }).unwrap_or(WireEvent::Unmatched { unit })
    }

    fn meaning_of(&self, unit: Option<UnitId>, adu: &Adu) -> Meaning {
        let awaited = self.transaction.as_ref().filter(|transaction| transaction.id == adu.transaction_id);
        let Some((outgoing, awaited)) = awaited.and_then(|one| Some((&one.outgoing, one.outgoing.unit?)))
        else {
            let is_outdated = |past: &GivenUp| {
                let same = past.id == adu.transaction_id && past.outgoing.unit == unit;
                same && accepts(&past.outgoing, &adu.pdu)
            };
            let past = self.given_up.iter().position(is_outdated);
            return past.map_or(Meaning::Unmatched, Meaning::Outdated);
        };
        if unit != Some(awaited) {
            return Meaning::OtherUnit(awaited);
        }
        if accepts(outgoing, &adu.pdu) {
            return if is_unreached(&adu.pdu) { Meaning::Unreached } else { Meaning::Answer };
        }
        match misfit_of(&outgoing.request, &adu.pdu) {
            misfit @ Misfit::Length { .. } => Meaning::Misfit(misfit),
            misfit @ Misfit::Function { .. } => Meaning::OtherFunction(misfit),
        }
    }

    fn event(
        &mut self,
        meaning: Meaning,
        unit: Option<UnitId>,
        adu: &Adu,
        Times { started_at, now }: Times,
    ) -> Option<WireEvent> {
        let frame = |unit| Frame { unit, pdu: adu.pdu.clone(), is_first: true };
        match meaning {
            Meaning::Answer => {
                let ended = self.end_with_answer(now)?;
                let response_time = started_at.saturating_duration_since(ended.wire_end);
                Some(WireEvent::Answered { ended, frame: frame(unit?), response_time })
            }
            Meaning::Unreached => {
                let ended = self.end_with_answer(now)?;
                Some(WireEvent::Unreached { ended, frame: frame(unit?) })
            }
            Meaning::Misfit(misfit) => {
                self.transaction.as_mut()?.misfit = Some(misfit);
                let ended = self.end_with_answer(now)?;
                Some(WireEvent::Failed { ended, failure: AttemptFailure::Misfit })
            }
            Meaning::OtherFunction(misfit) => {
                self.transaction.as_mut()?.misfit = Some(misfit);
                Some(WireEvent::OtherFunction { unit: unit?, misfit })
            }
            Meaning::OtherUnit(awaited) => {
                Some(WireEvent::Foreign { frame: frame(unit?), awaited: Some(awaited) })
            }
            Meaning::Outdated(index) => {
                let GivenUp { id, outgoing, sent_at, is_overtaken } = self.given_up.remove(index)?;
                let after = started_at.saturating_duration_since(sent_at);
                self.note_late(after, is_overtaken, now);
                self.held = self.held.filter(|held| held.id != id);
                Some(WireEvent::Outdated { outgoing, frame: frame(unit?), after })
            }
            Meaning::Unmatched => None,
        }
    }

    fn end_of_transaction(&mut self, now: Instant) -> Option<WireEvent> {
        let transaction = self.transaction.as_ref().filter(|one| now >= one.response_deadline)?;
        if transaction.outgoing.unit.is_none() {
            return Some(WireEvent::Sent { ended: self.end()? });
        }
        let TransactionInFlight { id, sent_at, .. } = *transaction;
        let outgoing = transaction.outgoing.clone();
        if self.given_up.len() >= GIVEN_UP_MAX {
            self.given_up.pop_front();
        }
        self.given_up.push_back(GivenUp { id, outgoing, sent_at, is_overtaken: false });
        let unheard = self.unheard.unwrap_or(Unheard { since: sent_at, requests: 0 });
        self.unheard = Some(Unheard { requests: unheard.requests.saturating_add(1), ..unheard });
        let expected = self.lateness.map(|late| sent_at + late.expected(now)).filter(|until| *until > now);
        self.held = expected.map(|until| Held { id, until });
        Some(WireEvent::Failed { ended: self.end()?, failure: AttemptFailure::Silent })
    }

    /// A late answer came: learns how long the server works on a request before it turns to the next.
    fn note_late(&mut self, after: Duration, is_overtaken: bool, now: Instant) {
        let after = after.min(HELD_MAX);
        let longest = match self.lateness {
            _ if is_overtaken => return self.lateness = None,
            // A much shorter one does not keep a long one from being forgotten.
            Some(known) if after * 2 < known.expected_longest(now) => return,
            Some(known) => known.expected_longest(now).max(after),
            None => after,
        };
        self.lateness = Some(Lateness { longest, seen_at: now });
    }

    fn end_with_answer(&mut self, at: Instant) -> Option<Ended> {
        self.given_up.iter_mut().for_each(|past| past.is_overtaken = true);
        if let Connection::Open(answers) = &mut self.connection {
            *answers = match answers {
                Answers::None => Answers::One(at),
                Answers::One(_) | Answers::Several => {
                    self.is_closed_after_answer = false;
                    Answers::Several
                }
            };
        }
        self.end()
    }

    fn end(&mut self) -> Option<Ended> {
        let TransactionInFlight { adu, sent_at, misfit, .. } = self.transaction.take()?;
        let received = self.recorder.drain(&self.buffer, self.frame_started_at);
        Some(Ended { adu, sent_at, wire_end: sent_at, received, misfit })
    }
}

impl Lateness {
    /// How long to wait for the answer to a request given up.
    fn expected(&self, now: Instant) -> Duration {
        (self.expected_longest(now) * 5 / 4).min(HELD_MAX)
    }

    /// Nothing was late for as long as was expected.
    fn halve(self) -> Self {
        Self { longest: self.longest / 2, ..self }
    }

    /// Halved for each [`HALVED_AFTER`] without a late answer.
    fn expected_longest(&self, now: Instant) -> Duration {
        let periods = now.saturating_duration_since(self.seen_at).as_secs() / HALVED_AFTER.as_secs();
        self.longest / 2_u32.pow(u32::try_from(periods.min(16)).unwrap_or(16))
    }
}

/// When an ADU began to arrive, and when it had arrived.
#[derive(Clone, Copy, Debug)]
struct Times {
    started_at: Instant,
    now: Instant,
}

/// What a received ADU is.
#[derive(Debug)]
enum Meaning {
    /// The answer to the request in flight.
    Answer,
    /// The server's word that the unit did not answer it.
    Unreached,
    /// The answer to the request in flight, which does not fit it.
    Misfit(Misfit),
    /// It has the identifier of the request in flight, and another function.
    OtherFunction(Misfit),
    /// It has the identifier of the request in flight, which was for this unit, not for its own.
    OtherUnit(UnitId),
    /// The answer to the request at this index of those given up.
    Outdated(usize),
    /// It answers nothing.
    Unmatched,
}

/// Whether the frame answers this request, whose identifier and unit it has.
fn accepts(outgoing: &Outgoing, pdu: &Bytes) -> bool {
    let Outgoing { request, replies, .. } = outgoing;
    reply::answers(request, pdu)
        || pdu[0] == request.function().0
            && match replies {
                Replies::Loose => true,
                Replies::Strict => reply::is_limited_write(request, pdu),
            }
}

/// Whether an answer is a gateway's word that the unit has not answered: 0x0A, it has no way there; 0x0B, no answer
/// came (MODBUS Application Protocol V1.1b3, chapter 7).
pub(super) fn is_unreached(pdu: &[u8]) -> bool {
    let code = exception_of(pdu);
    code == Some(ExceptionCode::GATEWAY_PATH_UNAVAILABLE)
        || code == Some(ExceptionCode::GATEWAY_TARGET_FAILED_TO_RESPOND)
}

/// Requests given up whose answers are told from others.
const GIVEN_UP_MAX: usize = 16;

/// A server that closes a connection so soon after an answer closes each of them after it.
const CLOSING_TIME: Duration = Duration::from_millis(20);

/// The longest that requests are held back for one that was given up.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Lateness that was not seen again for so long is taken to be half of it.
const HALVED_AFTER: Duration = Duration::from_secs(600);

/// How long a connection may bring nothing, with this many requests given up on it, before it is made again; the
/// longest after several that brought nothing.
const HUNG_MIN: Duration = Duration::from_secs(10);
const HUNG_MAX: Duration = Duration::from_secs(60);
const HUNG_REQUESTS: u32 = 3;

/// A server that has begun an answer completes it within this time.
const INCOMPLETE_MAX: Duration = Duration::from_secs(3);
