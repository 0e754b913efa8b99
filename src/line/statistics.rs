//! Counters of a bus and of each unit beyond those of the diagnostics unit: use of line time, waiting times, response
//! times, and causes of failures.
//!
//! Owns the figures only; nothing is decided by them. All count from the start of the bus, are copied whole into the
//! published view, and never decrease.

use std::time::Duration;

use crate::modbus::pdu::ExceptionCode;

/// Durations, counted by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were up to each of [`Histogram::BOUNDS`] and longer than the one before; the last counts the longer
    /// ones.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
    /// Their sum.
    pub sum: Duration,
}

impl Histogram {
    /// The upper bounds of the buckets, in milliseconds, inclusive.
    pub const BOUNDS: [u16; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

    /// Counts one.
    pub fn note(&mut self, duration: Duration) {
        let fits = |bound: &u16| duration <= Duration::from_millis(u64::from(*bound));
        let bucket = Self::BOUNDS.iter().position(fits).unwrap_or(Self::BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum += duration;
    }

    /// Their number.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The counters of a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStatistics {
    /// Line time of answered requests that a client waited for, broadcasts with their turnaround included.
    pub clients: Duration,
    /// Line time of answered background readings, whether or not a client joined them.
    pub background: Duration,
    /// Line time of answered probes and echo checks.
    pub probes: Duration,
    /// Line time of requests without a good answer. The four together are [`busy`](super::view::LineCounters::busy).
    pub failures: Duration,
    /// How long each client's request waited, from its arrival to the first attempt.
    pub waits: Histogram,
    /// Attempts after the first of a request.
    pub retries: u64,
    /// Clients' requests whose deadline came before an answer, in the queue or on the wire.
    pub expired: u64,
    /// Times the port was opened.
    pub openings: u64,
    /// Times it was lost.
    pub losses: u64,
}

/// The counters of a unit, beside its [`UnitCounters`](super::view::UnitCounters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitStatistics {
    /// From the end of a request to the first byte of its answer, of answers that came in time.
    pub answer_times: Histogram,
    /// Answers that broke off; also counted as CRC errors.
    pub truncated: u64,
    /// Requests without an answer during which bytes came that form no frame; also counted as timeouts.
    pub unreadable: u64,
    /// Of these, those that began with its address: a damaged answer rather than other bytes.
    pub begun: u64,
    /// Frames of other units that came while this one was to answer.
    pub foreign: u64,
    /// Intact answers of the awaited function that do not fit the request.
    pub misfits: u64,
    /// Intact answers with another function than the request's.
    pub other_functions: u64,
    /// Reads of clients without an answer, retries included in one, that it is not known to have answered before.
    pub never_answered: u64,
    exceptions: [u64; EXCEPTION_CODES],
}

impl UnitStatistics {
    /// Modbus exceptions with this code that it answered; all codes above 0x0B share one counter.
    #[must_use]
    pub fn exceptions(&self, code: ExceptionCode) -> u64 {
        self.exceptions[place(code)]
    }

    pub(super) fn note_exception(&mut self, code: ExceptionCode) {
        self.exceptions[place(code)] += 1;
    }
}

fn place(code: ExceptionCode) -> usize {
    Some(usize::from(code.0)).filter(|code| *code < EXCEPTION_CODES).unwrap_or(0)
}

/// 0x01 to 0x0B, and one counter for the others.
const EXCEPTION_CODES: usize = 0x0C;
