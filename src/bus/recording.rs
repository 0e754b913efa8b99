//! The line's own books: a record of each attempt and of what came between, and where line time went.
//!
//! The fourth part of [`Line`]. Every request on the wire ends in `note_end`, once, so that none is missing
//! from the records and none is there twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::{Exchange, Purpose};
use super::line::{Line, Output, QUIET};
use super::queue::Item;
use super::record::{Cause, Outcome, PieceKind, Record, Stray, Tape, Transaction};
use super::request::{Source, Target};
use super::statistics::LineStatistics;
use super::view::PortState;

/// What a line keeps for its records.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    pub(super) tape: Tape,
    pub(super) statistics: LineStatistics,
    records: u64,
}

/// Who waits for a request on the wire; some may be told that it is late before it ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Askers {
    pub(crate) first: Option<Source>,
    pub(crate) clients: usize,
}

impl Recorder {
    fn next_number(&mut self) -> u64 {
        self.records += 1;
        self.records
    }

    /// A request is being sent: who waits for it, and how long they have.
    pub(super) fn note_sending<T>(&mut self, item: &Item<T>, now: Instant) -> Askers {
        let statistics = &mut self.statistics;
        if item.attempts > 1 {
            statistics.retries += 1;
        } else {
            for waiter in &item.waiters {
                statistics.waits.note(now.saturating_duration_since(waiter.since));
            }
        }
        Askers { first: item.waiters.first().map(|waiter| waiter.source), clients: item.waiters.len() }
    }
}

impl<T> Line<T> {
    /// The `length` bytes that have just been taken off what was received were this.
    pub(super) fn mark(&mut self, kind: PieceKind, length: usize, now: Instant) {
        let at = self.head_at.unwrap_or(now);
        self.recorder.tape.mark(kind, length, self.receiver.pending(), at);
    }

    /// A request on the wire has ended: its line time, and its record.
    pub(super) fn note_end(&mut self, exchange: &Exchange<T>, outcome: Outcome, now: Instant) {
        let turnaround =
            if exchange.is_broadcast() { self.settings.turnaround_delay } else { Duration::ZERO };
        let took = exchange.line_time(now) + turnaround;
        self.counters.busy += took;
        self.window.note(self.counters.busy, now);
        let item = &exchange.item;
        if item.background {
            self.spend(item.target, item.range, took);
        }
        let cause = match exchange.purpose {
            Purpose::Client if item.background => Cause::Background,
            Purpose::Client => Cause::Client,
            Purpose::Probe => Cause::Probe,
            Purpose::EchoCheck => Cause::EchoCheck,
        };
        let statistics = &mut self.recorder.statistics;
        *match (outcome.is_good(), cause) {
            (false, _) => &mut statistics.failures,
            (true, Cause::Client) => &mut statistics.clients,
            (true, Cause::Background) => &mut statistics.background,
            (true, Cause::Probe | Cause::EchoCheck) => &mut statistics.probes,
        } += took;
        self.note_unit(exchange, outcome, now);
        // Without a port nothing that is pending will ever be a frame.
        let is_open = self.port == PortState::Open;
        let pending = if is_open { self.receiver.bytes() } else { &[] };
        let received = self.recorder.tape.take(pending, self.head_at);
        if let (Outcome::Silent, Target::Unit(id)) = (outcome, item.target) {
            let parts = received.parts();
            let unframed: usize =
                parts.iter().filter(|part| part.kind.is_none()).map(|part| part.bytes.len()).sum();
            // Less than the shortest frame is a glitch of whoever switched its driver on.
            if unframed >= FRAME_MIN
                && let Some(unit) = self.units.get_mut(&id)
            {
                unit.statistics.unreadable += 1;
            }
        }
        let transaction = Transaction {
            number: self.recorder.next_number(),
            cause,
            source: exchange.askers.first,
            clients: exchange.askers.clients,
            target: item.target,
            attempt: item.attempts,
            request: exchange.adu.clone(),
            received,
            sent_at: exchange.sent_at,
            wire_end: exchange.wire_end,
            ended_at: now,
            outcome,
        };
        self.outputs.push_back(Output::Record(Arc::new(Record::Transaction(transaction))));
    }

    /// A frame came of another unit than the one asked.
    pub(super) fn note_foreign(&mut self) {
        self.counters.foreign_frames += 1;
        let Some(Target::Unit(id)) = self.exchange.as_ref().map(|exchange| exchange.item.target) else {
            return;
        };
        if let Some(unit) = self.units.get_mut(&id) {
            unit.statistics.foreign += 1;
        }
    }

    /// What the end says about the unit asked.
    fn note_unit(&mut self, exchange: &Exchange<T>, outcome: Outcome, now: Instant) {
        let Target::Unit(id) = exchange.item.target else { return };
        let Some(unit) = self.units.get_mut(&id) else { return };
        match outcome {
            Outcome::Answered | Outcome::Exception(_) => {
                let head = self.head_at.unwrap_or(now);
                unit.statistics.answer_times.note(head.saturating_duration_since(exchange.wire_end));
            }
            Outcome::Truncated => unit.statistics.truncated += 1,
            Outcome::Sent | Outcome::Silent | Outcome::Garbled | Outcome::PortLost | Outcome::Occupied => {}
        }
    }

    /// What came while nothing was awaited, as soon as it is known what it was: frames at once; noise, which may
    /// come byte by byte, when the line is quiet or wanted again.
    pub(super) fn record_stray(&mut self, now: Instant) {
        let tape = &self.recorder.tape;
        let quiet = self.last_byte.is_none_or(|last| now.saturating_duration_since(last) >= QUIET);
        let whole = self.receiver.pending() == 0 && (tape.has_pieces() || quiet);
        if self.exchange.is_none() && self.port == PortState::Open && whole {
            self.record_the_rest(now);
        }
    }

    /// When noise that begins no frame will be known to be all.
    pub(super) fn stray_due(&self) -> Option<Instant> {
        let waits = self.exchange.is_none()
            && self.port == PortState::Open
            && self.receiver.pending() == 0
            && !self.recorder.tape.is_empty();
        self.last_byte.filter(|_| waits).map(|last| last + QUIET)
    }

    /// Whatever is on the tape, nothing more comes of it.
    pub(super) fn record_the_rest(&mut self, now: Instant) {
        if self.recorder.tape.is_empty() {
            return;
        }
        let received = self.recorder.tape.take(&[], None);
        let stray = Stray { number: self.recorder.next_number(), received, ended_at: now };
        self.outputs.push_back(Output::Record(Arc::new(Record::Stray(stray))));
    }
}

/// Bytes of the shortest frame: a unit, a function and a CRC.
const FRAME_MIN: usize = 4;
