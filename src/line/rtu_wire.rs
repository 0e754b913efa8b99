//! The wire of an RTU line: the one transaction in flight, and the meaning of every received byte.
//!
//! Owns the silence before a request, the receiver, the echo and the occupation of the line. It decides which request a
//! frame answers, and when a request has timed out; the consequences are not decided here. Source: MODBUS over Serial
//! Line V1.02, chapters 2.4 (client states) and 2.5 (timing).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::modbus::pdu::RequestPdu;
use crate::modbus::{reply, rtu};

use super::attempt::{AttemptFailure, EXCEPTION_BIT, Ended, Misfits, Outgoing, WireEvent, misfit_of};
use super::echo::{EchoDetector, EchoPhase, Front};
use super::occupation::Occupation;
use super::receive::{Expected, Finality, Frame, Receiver};
use super::record::{Misfit, Received, RxRecorder, SegmentKind};
use super::settings::{Echo, Framing, Replies, UnitId};
use super::unit::{Unit, Units};
use super::view::PortState;

/// The transaction in flight.
#[derive(Debug)]
struct TransactionInFlight {
    outgoing: Outgoing,
    adu: Bytes,
    sent_at: Instant,
    wire_end: Instant,
    response_deadline: Instant,
    hard_deadline: Instant,
    echo: EchoPhase,
    any_byte: bool,
    misfit: Option<Misfit>,
}

/// The wire of one RTU line.
#[derive(Debug)]
pub(super) struct RtuWire {
    framing: Framing,
    receiver: Receiver,
    echo: EchoDetector,
    recorder: RxRecorder,
    occupation: Occupation,
    port: PortState,
    transaction: Option<TransactionInFlight>,
    /// Bytes that outstanding answers and echoes may still have: only bytes beyond these occupy the line.
    wanted: usize,
    /// Bytes that came while the line was occupied and are not reported yet.
    unframed: u64,
    /// The last byte on the line in either direction, as far as known.
    last_activity: Option<Instant>,
    /// The last byte of a frame, the gateway's or a unit's.
    last_frame: Option<Instant>,
    /// When the last byte was received.
    last_byte: Option<Instant>,
    /// When the first of the bytes not yet a frame was received.
    frame_started_at: Option<Instant>,
    /// The last byte at the time the unfinished bytes were checked for a frame of unknown length.
    quiet_checked_at: Option<Instant>,
    /// Until when nothing may be sent: units are processing a broadcast, or may answer an unknown request.
    blocked_until: Option<Instant>,
}

impl RtuWire {
    /// The wire of a closed port.
    pub(super) fn new(framing: Framing, echo: Echo) -> Self {
        Self {
            framing,
            receiver: Receiver::default(),
            echo: EchoDetector::new(echo),
            recorder: RxRecorder::default(),
            occupation: Occupation::new(framing.wire_time(1)),
            port: PortState::Closed,
            transaction: None,
            wanted: 0,
            unframed: 0,
            last_activity: None,
            last_frame: None,
            last_byte: None,
            frame_started_at: None,
            quiet_checked_at: None,
            blocked_until: None,
        }
    }

    /// Applies settings before the port is reopened with them.
    pub(super) fn configure(&mut self, framing: Framing, echo: Echo) {
        self.framing = framing;
        self.echo = EchoDetector::new(echo);
        self.occupation = Occupation::new(framing.wire_time(1));
    }

    pub(super) fn port(&self) -> PortState {
        self.port
    }

    /// Whether the adapter echoes; `None` while there is no verdict.
    pub(super) fn echo_verdict(&self) -> Option<bool> {
        self.echo.verdict()
    }

    /// Whether `request` may be sent: its answer differs from an echo, or there is a verdict.
    pub(super) fn may_send(&self, request: &RequestPdu) -> bool {
        self.echo.may_send(request)
    }

    /// The time `bytes` take on this wire.
    pub(super) fn wire_time(&self, bytes: usize) -> Duration {
        self.framing.wire_time(bytes)
    }

    /// The port was opened.
    pub(super) fn open(&mut self, now: Instant) {
        self.port = PortState::Open;
        self.echo.reset();
        self.receiver.begin();
        self.occupation.reset();
        // A unit may be sending: silence and gap are kept before the first request, too.
        self.last_activity = Some(self.last_activity.map_or(now, |last| last.max(now)));
        self.last_frame = Some(self.last_frame.map_or(now, |last| last.max(now)));
    }

    /// The port is gone; returns the transaction in flight.
    pub(super) fn close(&mut self) -> Option<Ended> {
        self.port = PortState::Closed;
        let ended = self.end();
        self.receiver.begin();
        self.frame_started_at = None;
        ended
    }

    /// Blocks sending before `until`.
    pub(super) fn block_until(&mut self, until: Instant) {
        self.blocked_until = self.blocked_until.max(Some(until));
    }

    /// Whether a request could be sent once the line has been silent for long enough. Stray bytes do not delay it,
    /// however often they come; bytes that may become an owed answer do.
    pub(super) fn is_free(&self, units: &Units, now: Instant) -> bool {
        let may_be_answer = || self.receiver.pending() > 0 && units.is_any_guarding(now);
        self.transaction.is_none() && self.port == PortState::Open && !may_be_answer()
    }

    /// When the silence before a request ends: 3.5 characters for every request, and for one that needs more the `gap`
    /// after the last frame. Stray bytes restart only the former.
    pub(super) fn silent_from(&self, gap: Duration) -> Instant {
        let silence = rtu::silence(self.framing.baud_rate);
        let silent = self.last_activity.map(|last| last + silence);
        let rested = self.last_frame.map(|last| last + gap);
        silent.max(rested).max(self.blocked_until).expect("the port's opening counts as activity")
    }

    /// Begins a transaction: returns the bytes to send.
    pub(super) fn begin(&mut self, outgoing: Outgoing, now: Instant) -> Bytes {
        let unit = outgoing.unit.map_or(0, UnitId::get);
        let adu = rtu::encode(unit, outgoing.request.bytes());
        let wire_end = now + self.wire_time(adu.len());
        let response_deadline = wire_end + outgoing.response_timeout;
        self.receiver.begin();
        let echo = if self.echo.verdict() == Some(false) { 0 } else { adu.len() };
        self.wanted = (self.wanted + longest_answer(&outgoing) + echo).min(WANTED_MAX);
        self.transaction = Some(TransactionInFlight {
            echo: self.echo.watch(&outgoing.request, &adu),
            adu: adu.clone(),
            sent_at: now,
            wire_end,
            response_deadline,
            hard_deadline: response_deadline
                + self.wire_time(rtu::ADU_MAX)
                + outgoing.byte_timeout * PAUSES_MAX,
            any_byte: false,
            misfit: None,
            outgoing,
        });
        self.last_activity = Some(wire_end);
        self.last_frame = Some(wire_end);
        adu
    }

    /// Bytes arrived. Call [`next_event`](Self::next_event) until there is none.
    pub(super) fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if self.port == PortState::Closed || bytes.is_empty() {
            return;
        }
        self.last_byte = Some(now);
        self.last_activity = Some(self.last_activity.map_or(now, |last| last.max(now)));
        self.recorder.push(bytes, now);
        let wanted = self.wanted.min(bytes.len());
        self.wanted -= wanted;
        self.occupation.note((bytes.len() - wanted) as u64, now);
        if self.port == PortState::Open {
            if self.receiver.pending() == 0 {
                self.frame_started_at = Some(now);
            }
            self.receiver.push(bytes);
        } else {
            // No frame is formed of these, and their number is unbounded: they are counted, not kept.
            self.unframed += bytes.len() as u64;
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.any_byte = true;
        }
    }

    /// The next event, up to `now`.
    pub(super) fn next_event(&mut self, units: &Units, now: Instant) -> Option<WireEvent> {
        match self.port {
            PortState::Closed => return None,
            PortState::Occupied => return self.end_of_occupation(now),
            PortState::Open => {}
        }
        let finality = self.finality(units, now);
        self.next_frame_event(units, finality, now)
            .or_else(|| self.begin_occupation(now))
            .or_else(|| self.end_of_transaction(units, now))
            .or_else(|| self.stray(now))
    }

    /// When [`next_event`](Self::next_event) may have one without further bytes.
    pub(super) fn poll_timeout(&self, units: &Units, now: Instant) -> Option<Instant> {
        let transaction = self.transaction.as_ref().map(|transaction| {
            if transaction.outgoing.unit.is_none() {
                return transaction.wire_end;
            }
            let waits_for_rest = self.receiver.pending() > 0;
            let due = if waits_for_rest { transaction.hard_deadline } else { transaction.response_deadline };
            due.min(transaction.hard_deadline)
        });
        let occupied = self.port == PortState::Occupied;
        let quiet = self.last_byte.filter(|_| occupied).map(|last| last + self.occupied_quiet());
        let stray = self.last_byte.filter(|_| self.has_stray()).map(|last| last + self.quiet());
        [transaction, self.pending_due(units, now), quiet, stray].into_iter().flatten().min()
    }

    /// Received bytes that form no frame yet will form none: a request is about to be sent.
    pub(super) fn discard_pending(&mut self) {
        self.receiver.begin();
        self.frame_started_at = None;
    }

    /// Everything received that is in no record yet, as a record of its own.
    pub(super) fn take_stray(&mut self) -> Option<Received> {
        let pending = if self.port == PortState::Open { self.receiver.bytes() } else { &[] };
        if self.recorder.is_empty() || !pending.is_empty() {
            return None;
        }
        Some(self.recorder.drain(&[], None))
    }

    /// Bytes in no frame that have come since the last call.
    pub(super) fn take_noise(&mut self) -> u64 {
        self.receiver.take_noise() + std::mem::take(&mut self.unframed)
    }

    // Frames.

    fn next_frame_event(&mut self, units: &Units, finality: Finality, now: Instant) -> Option<WireEvent> {
        if let Some(event) = self.strip_echo(finality, now)? {
            return Some(event);
        }
        loop {
            let frame = self.next_frame(units, finality)?;
            let event = self.classify(frame, units, now);
            self.frame_started_at = Some(now);
            if event.is_some() {
                return event;
            }
        }
    }

    /// Strips an echo from the front. The outer `None`: it is undecided whether one is coming.
    #[expect(clippy::option_option, reason = "undecided, nothing, or something happened")]
    fn strip_echo(&mut self, finality: Finality, now: Instant) -> Option<Option<WireEvent>> {
        let Some(transaction) = &mut self.transaction else { return Some(None) };
        match self.echo.inspect(&mut transaction.echo, self.receiver.bytes()) {
            Front::Echo(length) => {
                self.receiver.strip(length);
                self.mark(SegmentKind::Echo, length, now);
                self.frame_started_at = Some(now);
                Some(None)
            }
            Front::Undecided if finality == Finality::Open => None,
            Front::Undecided | Front::Other => Some(None),
            Front::Collision => Some(Some(WireEvent::Collision)),
        }
    }

    fn next_frame(&mut self, units: &Units, finality: Finality) -> Option<Frame> {
        let transaction = self.transaction.as_ref();
        self.receiver.next(
            |unit, function| {
                let awaited = transaction
                    .filter(|transaction| transaction.outgoing.unit == Some(unit))
                    .map(|transaction| (&transaction.outgoing.request, Expected::OnTheWire));
                let late = || units.get(unit).into_iter().flat_map(|unit| unit.owed().requests());
                let late = || late().map(|request| (request, Expected::Late));
                awaited.into_iter().chain(late()).find(|(request, _)| request.function().0 == function)
            },
            |unit| units.get(unit).is_some(),
            finality,
        )
    }

    /// Classifies a frame; `None`: an echo.
    fn classify(&mut self, frame: Frame, units: &Units, now: Instant) -> Option<WireEvent> {
        let length = frame.pdu.len() + rtu::OVERHEAD;
        if self.is_late_echo(&frame) {
            self.mark(SegmentKind::Echo, length, now);
            return None;
        }
        self.last_frame = Some(self.last_frame.map_or(now, |last| last.max(now)));
        let unit = frame.unit;
        let asked = self.transaction.as_ref().map(|transaction| transaction.outgoing.clone());
        let awaited = asked.as_ref().and_then(|outgoing| outgoing.unit);
        let asked = asked.filter(|_| awaited == Some(unit));
        if let Some(outgoing) = &asked
            && accepts(outgoing, &frame.pdu)
        {
            return Some(self.answered(frame, now));
        }
        let fits = |request: &RequestPdu| reply::answers(request, &frame.pdu);
        if units.get(unit).is_some_and(|unit| unit.owed().requests().any(fits)) {
            self.mark(SegmentKind::Late(unit), length, now);
            return Some(WireEvent::Late { frame });
        }
        self.mark(SegmentKind::Foreign, length, now);
        if is_request(&frame.pdu, asked.as_ref()) {
            return Some(WireEvent::ForeignRequest);
        }
        let Some(outgoing) = asked else {
            return Some(match units.get(unit).and_then(|unit| misfit_of_owed(unit, &frame.pdu, now)) {
                Some(misfit) => WireEvent::Alive { unit, misfit },
                None => WireEvent::Foreign { frame, awaited },
            });
        };
        let (misfit, ends) = (misfit_of(&outgoing.request, &frame.pdu), outgoing.misfits == Misfits::End);
        if let Some(transaction) = &mut self.transaction {
            transaction.misfit = Some(misfit);
        }
        match misfit {
            Misfit::Function { .. } => Some(WireEvent::OtherFunction { unit, misfit }),
            Misfit::Length { .. } if ends => {
                Some(WireEvent::Failed { ended: self.end()?, failure: AttemptFailure::Misfit })
            }
            Misfit::Length { .. } => Some(WireEvent::Alive { unit, misfit }),
        }
    }

    fn answered(&mut self, frame: Frame, now: Instant) -> WireEvent {
        self.mark(SegmentKind::Answer, frame.pdu.len() + rtu::OVERHEAD, now);
        let head = self.frame_started_at.unwrap_or(now);
        if let Some(transaction) = &self.transaction
            && (frame.is_first || self.echo.is_past(&transaction.echo))
        {
            self.echo.conclude(&transaction.outgoing.request, &transaction.echo);
        }
        let ended = self.end().expect("the transaction that was just looked at");
        let response_time = head.saturating_duration_since(ended.wire_end);
        WireEvent::Answered { ended, frame, response_time }
    }

    /// On a line that echoes, an echo that noise hid is no answer to a write whose answer equals it.
    fn is_late_echo(&mut self, frame: &Frame) -> bool {
        let Some(transaction) = &mut self.transaction else { return false };
        let request = &transaction.outgoing.request;
        let is_echo = transaction.outgoing.unit == Some(frame.unit)
            && request.bytes() == &frame.pdu
            && self.echo.is_still_due(request, &transaction.echo);
        if is_echo {
            transaction.echo = EchoPhase::Seen;
        }
        is_echo
    }

    // Time.

    /// Whether more of an unfinished frame may come.
    fn finality(&mut self, units: &Units, now: Instant) -> Finality {
        let expired = self.transaction.as_ref().is_some_and(|transaction| now >= transaction.hard_deadline);
        let Some(last) = self.last_byte.filter(|_| self.receiver.pending() > 0) else {
            return Finality::Open;
        };
        if expired || now >= self.pending_over(last, units, now) {
            return Finality::Over;
        }
        if now >= last + self.quiet() && self.quiet_checked_at != Some(last) {
            self.quiet_checked_at = Some(last);
            return Finality::Quiet;
        }
        Finality::Open
    }

    /// When the bytes that are not yet a frame must be checked again.
    fn pending_due(&self, units: &Units, now: Instant) -> Option<Instant> {
        let is_open = self.port == PortState::Open;
        let last = self.last_byte.filter(|_| is_open && self.receiver.pending() > 0)?;
        let over = self.pending_over(last, units, now);
        let quiet = last + self.quiet();
        Some(if self.quiet_checked_at == Some(last) { over } else { over.min(quiet) })
    }

    /// When the pending bytes can no longer become a frame: their rest has not come within its wire time and the
    /// longest pause inside an answer. While no answer is awaited, a short quiet is enough.
    fn pending_over(&self, last: Instant, units: &Units, now: Instant) -> Instant {
        let rest = |pause: Duration| last + self.wire_time(self.receiver.missing()) + pause;
        if let Some(transaction) = &self.transaction {
            return rest(transaction.outgoing.byte_timeout);
        }
        let quiet = last + self.quiet();
        let guarding = units.iter().filter_map(|unit| {
            let until = unit.owed().guarded_until(now)?;
            Some((until, unit.settings().byte_timeout))
        });
        let Some((until, pause)) = guarding.max() else { return quiet };
        rest(pause).min(quiet.max(until))
    }

    fn end_of_transaction(&mut self, units: &Units, now: Instant) -> Option<WireEvent> {
        let transaction = self.transaction.as_ref()?;
        if transaction.outgoing.unit.is_none() {
            return (now >= transaction.wire_end)
                .then(|| self.end())
                .flatten()
                .map(|ended| WireEvent::Sent { ended });
        }
        if let Some(failure) = self.damage(units, now) {
            return self.fail(failure);
        }
        let transaction = self.transaction.as_ref()?;
        let waiting_for_rest = self.receiver.pending() > 0 && now < transaction.hard_deadline;
        if now >= transaction.response_deadline && !waiting_for_rest {
            return self.fail(AttemptFailure::Silent);
        }
        None
    }

    fn fail(&mut self, failure: AttemptFailure) -> Option<WireEvent> {
        let transaction = self.transaction.as_ref()?;
        let nothing_came = failure == AttemptFailure::Silent && !transaction.any_byte;
        if matches!(transaction.echo, EchoPhase::Seen) {
            self.echo.conclude(&transaction.outgoing.request, &transaction.echo);
        } else if nothing_came {
            self.echo.conclude_from_silence(&transaction.outgoing.request, &transaction.echo);
        }
        // Where the adapter echoes, the address may be that of a damaged echo.
        let may_be_echo = self.echo.verdict() == Some(true) && !self.echo.is_past(&transaction.echo);
        let ended = self.end()?;
        let is_cut = failure == AttemptFailure::Silent && !may_be_echo && breaks_off_at_once(&ended);
        let failure = if is_cut { AttemptFailure::Truncated } else { failure };
        Some(WireEvent::Failed { ended, failure })
    }

    /// Whether the awaited answer came damaged.
    fn damage(&self, units: &Units, now: Instant) -> Option<AttemptFailure> {
        let transaction = self.transaction.as_ref()?;
        // A damaged echo, or an answer another unit still owes, may look like the head of the answer. Then the answer
        // itself may still come, and must stay owed.
        let is_the_answer = self.echo.is_past(&transaction.echo) && !units.is_any_guarding(now);
        if self.receiver.pending() > 0 {
            None
        } else if self.receiver.is_garbled() && is_the_answer {
            Some(AttemptFailure::Garbled)
        } else if self.receiver.is_truncated() {
            Some(AttemptFailure::Truncated)
        } else {
            None
        }
    }

    fn begin_occupation(&mut self, now: Instant) -> Option<WireEvent> {
        let is_quiet = self.last_byte.is_none_or(|last| now >= last + self.occupied_quiet());
        if is_quiet || !self.occupation.is_occupied(now) {
            return None;
        }
        let ended = self.end();
        self.port = PortState::Occupied;
        self.receiver.begin();
        Some(WireEvent::Occupied { ended })
    }

    fn end_of_occupation(&mut self, now: Instant) -> Option<WireEvent> {
        let is_quiet = self.last_byte.is_none_or(|last| now >= last + self.occupied_quiet());
        if !is_quiet {
            return None;
        }
        self.port = PortState::Open;
        self.receiver.begin();
        self.occupation.reset();
        Some(WireEvent::Free)
    }

    /// What came while no answer was awaited, as soon as it can be classified: frames at once; noise, which may come
    /// byte by byte, when the line is quiet.
    fn stray(&mut self, now: Instant) -> Option<WireEvent> {
        let quiet = self.last_byte.is_none_or(|last| now >= last + self.quiet());
        if self.transaction.is_some() || !(self.recorder.has_segments() || quiet) {
            return None;
        }
        self.take_stray().map(WireEvent::Stray)
    }

    fn has_stray(&self) -> bool {
        self.transaction.is_none()
            && self.port == PortState::Open
            && self.receiver.pending() == 0
            && !self.recorder.is_empty()
    }

    fn end(&mut self) -> Option<Ended> {
        let TransactionInFlight { adu, sent_at, wire_end, misfit, .. } = self.transaction.take()?;
        // Without a port, pending bytes never become a frame.
        let pending = if self.port == PortState::Open { self.receiver.bytes() } else { &[] };
        let received = self.recorder.drain(pending, self.frame_started_at);
        Some(Ended { adu, sent_at, wire_end, received, misfit })
    }

    /// Marks the `length` bytes that have just been consumed.
    fn mark(&mut self, kind: SegmentKind, length: usize, now: Instant) {
        let at = self.frame_started_at.unwrap_or(now);
        self.recorder.mark(kind, length, self.receiver.pending(), at);
    }

    /// The quiet behind a correct CRC that ends a frame of unknown length: longer than the bursts of USB adapters, and
    /// than three characters.
    fn quiet(&self) -> Duration {
        QUIET.max(self.wire_time(3))
    }

    /// The quiet that ends the occupation.
    fn occupied_quiet(&self) -> Duration {
        OCCUPIED_QUIET.max(self.wire_time(30))
    }
}

/// The longest answer on the line, in bytes.
fn longest_answer(outgoing: &Outgoing) -> usize {
    let Some(range) = outgoing.request.range() else { return rtu::ADU_MAX };
    2 + range.byte_count() + rtu::OVERHEAD
}

/// Whether the frame answers the request in flight.
fn accepts(outgoing: &Outgoing, pdu: &Bytes) -> bool {
    if reply::answers(&outgoing.request, pdu) {
        return true;
    }
    if pdu[0] != outgoing.request.function().0 || is_request(pdu, Some(outgoing)) {
        return false;
    }
    match outgoing.replies {
        Replies::Loose => true,
        Replies::Strict => {
            outgoing.misfits == Misfits::End && reply::is_limited_write(&outgoing.request, pdu)
        }
    }
}

/// Whether a frame that does not fit may be a request: byte for byte the one in flight, or a read of one of the four
/// tables, whose answers never have that length and an even number of bytes.
fn is_request(pdu: &[u8], asked: Option<&Outgoing>) -> bool {
    let equals = asked.is_some_and(|outgoing| outgoing.request.bytes() == pdu);
    equals || pdu.len() == READ_REQUEST_LENGTH && (0x01..=0x04).contains(&pdu[0])
}

/// Whether the answer stopped before its function: its address came, and hardly more. That ends no wait, because a
/// disturbed byte may look like it.
fn breaks_off_at_once(ended: &Ended) -> bool {
    let unframed: Vec<u8> = ended.received.unframed().take(FRAME_MIN).collect();
    unframed.len() < FRAME_MIN && ended.adu.first().is_some_and(|address| unframed.contains(address))
}

/// How an intact frame of a unit that owes an answer differs from it, if it fits none: it must carry a requested
/// function.
fn misfit_of_owed(unit: &Unit, pdu: &[u8], now: Instant) -> Option<Misfit> {
    if !unit.owed().is_guarding(now) {
        return None;
    }
    let same = |request: &&RequestPdu| request.function().0 == pdu[0] & !EXCEPTION_BIT;
    unit.owed().requests().find(same).map(|request| misfit_of(request, pdu))
}

/// Fewer bytes than the shortest frame are the beginning of an answer, or a glitch of a driver being enabled.
pub(super) const FRAME_MIN: usize = 4;

/// Length of the PDU of a read of one of the four tables.
const READ_REQUEST_LENGTH: usize = 5;

/// Largest number of outstanding bytes of answers and echoes: two of each.
const WANTED_MAX: usize = 4 * rtu::ADU_MAX;

/// Largest number of pauses of `byte_timeout` in one answer.
const PAUSES_MAX: u32 = 4;

/// Longer than the bursts in which USB adapters deliver.
pub(super) const QUIET: Duration = Duration::from_millis(20);

/// The quiet that ends an occupation.
pub(super) const OCCUPIED_QUIET: Duration = Duration::from_millis(100);
