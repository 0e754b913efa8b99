//! Records and counters of a line: one record per attempt and per stretch of stray bytes, and the use of line time.
//!
//! Every request on the wire ends here exactly once, so no record is missing or doubled.

use std::time::{Duration, Instant};

use super::attempt::Ended;
use super::queue::Item;
use super::record::{Cause, Outcome, Received, Record, Stray, Transaction};
use super::request::{Source, Target};
use super::statistics::LineStatistics;
use super::view::{LineCounters, Window};
use crate::modbus::AduFraming;

/// Counters and records of a line.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    counters: LineCounters,
    statistics: LineStatistics,
    window: Window,
    records: u64,
}

/// The clients that wait for a request on the wire; some may expire before it ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Requesters {
    pub(super) first: Option<Source>,
    pub(super) clients: usize,
}

/// What an ended transaction was for.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) cause: Cause,
    pub(super) requesters: Requesters,
    pub(super) target: Target,
    pub(super) attempt: u32,
    pub(super) outcome: Outcome,
    pub(super) framing: AduFraming,
    /// Line time it took, the turnaround of a broadcast included.
    pub(super) took: Duration,
}

impl Recorder {
    pub(super) fn counters(&self) -> LineCounters {
        self.counters
    }

    pub(super) fn counters_mut(&mut self) -> &mut LineCounters {
        &mut self.counters
    }

    pub(super) fn statistics(&self) -> LineStatistics {
        self.statistics
    }

    pub(super) fn statistics_mut(&mut self) -> &mut LineStatistics {
        &mut self.statistics
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    /// A request is being sent: the clients that wait for it, and how long they have waited.
    pub(super) fn note_sending<T>(&mut self, item: &Item<T>, now: Instant) -> Requesters {
        self.counters.transactions += 1;
        if item.attempts > 1 {
            self.statistics.retries += 1;
        } else {
            for waiter in &item.waiters {
                self.statistics.waits.note(now.saturating_duration_since(waiter.since.instant));
            }
        }
        Requesters {
            first: item.waiters.first().map(|waiter| waiter.source.clone()),
            clients: item.waiters.len(),
        }
    }

    /// A request on the wire has ended: counts its line time and makes its record.
    pub(super) fn note_end(&mut self, ended: Ended, closed: Closed, now: Instant) -> Record {
        let Closed { cause, requesters, target, attempt, outcome, framing, took } = closed;
        self.counters.busy += took;
        self.counters.failures += u64::from(!outcome.is_good());
        self.window.note(self.counters.busy, now);
        *match (outcome.is_good(), cause) {
            (false, _) => &mut self.statistics.failures,
            (true, Cause::Client) => &mut self.statistics.clients,
            (true, Cause::Background) => &mut self.statistics.background,
            (true, Cause::Probe | Cause::EchoCheck) => &mut self.statistics.probes,
        } += took;
        Record::Transaction(Transaction {
            number: self.next_number(),
            cause,
            source: requesters.first,
            clients: requesters.clients,
            target,
            attempt,
            framing,
            request: ended.adu,
            received: ended.received,
            sent_at: ended.sent_at,
            wire_end: ended.wire_end,
            ended_at: now,
            outcome,
        })
    }

    /// Makes a record of bytes received while no answer was awaited.
    pub(super) fn note_stray(&mut self, framing: AduFraming, received: Received, now: Instant) -> Record {
        Record::Stray(Stray { number: self.next_number(), framing, received, ended_at: now })
    }

    fn next_number(&mut self) -> u64 {
        self.records += 1;
        self.records
    }
}
