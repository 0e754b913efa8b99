//! What is counted of a bus and of each unit beyond the counters of the diagnostics unit: where line time went,
//! how long requests waited, how long answers took, and what failed why.
//!
//! Owns the figures only; decides nothing by them. All of them count from the start of the bus, are copied
//! whole into the published view, and never go back.

use std::time::Duration;

use crate::modbus::pdu::ExceptionCode;

/// Durations, counted by size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many were up to each of [`Histogram::BOUNDS`] and longer than the one before; the last: longer than
    /// all of them.
    pub buckets: [u64; Self::BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    /// The upper bounds of the buckets, in milliseconds, each included.
    pub const BOUNDS: [u16; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

    /// Counts one.
    pub fn note(&mut self, duration: Duration) {
        let fits = |bound: &u16| duration <= Duration::from_millis(u64::from(*bound));
        let bucket = Self::BOUNDS.iter().position(fits).unwrap_or(Self::BOUNDS.len());
        self.buckets[bucket] += 1;
        self.sum += duration;
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What is counted of a bus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineStatistics {
    /// Line time of answered requests that a client waited for, broadcasts with their turnaround included.
    pub clients: Duration,
    /// Line time of answered readings on our own account, whether or not a client joined them.
    pub background: Duration,
    /// Line time of answered probes and echo checks.
    pub probes: Duration,
    /// Line time of whatever got no good answer. The four together are [`busy`](super::view::LineCounters::busy).
    pub failures: Duration,
    /// How long each client's request waited, from its arrival to the first sending.
    pub waits: Histogram,
    /// Sendings after the first of a request.
    pub retries: u64,
    /// Requests of clients whose deadline came before an answer, in the queue or on the wire.
    pub expired: u64,
    /// Times the port was opened.
    pub openings: u64,
    /// Times it was lost.
    pub losses: u64,
}

/// What is counted of a unit, beside its [`UnitCounters`](super::view::UnitCounters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitStatistics {
    /// From the end of a request to the first byte of its answer, of answers in time.
    pub answer_times: Histogram,
    /// Answers that broke off; the counter of CRC errors has them, too.
    pub truncated: u64,
    /// Requests without an answer for which bytes came that are no frame; the counter of timeouts has them, too.
    pub unreadable: u64,
    /// Of these, those that began with its address: an answer that was spoilt, rather than bytes of something else.
    pub begun: u64,
    /// Frames of other units that came while this one was asked.
    pub foreign: u64,
    /// Intact answers of the awaited function that do not fit what was asked.
    pub misfits: u64,
    /// Intact answers with another function than the one asked.
    pub other_functions: u64,
    exceptions: [u64; EXCEPTION_CODES],
}

impl UnitStatistics {
    /// Modbus exceptions it answered with this code; all codes above 0x0B together are under 0.
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

/// 0x01 to 0x0B, and one for the others.
const EXCEPTION_CODES: usize = 0x0C;
