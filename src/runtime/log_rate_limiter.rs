//! A limit on log lines that clients can cause, for each kind of line.
//!
//! Owns the count of lines within a minute. It never writes a line itself and never delays a caller.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The subject of a line. Each kind has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogKind {
    /// Turned away or evicted: limits and `allow`.
    Admission,
    /// A TLS handshake that failed, or a client without a role.
    Handshake,
    /// Closed because of bytes that are no ADU in the listener's framing, or because that has changed.
    Framing,
    /// A client that speaks another framing than the listener's: bytes that make no sense must not hide it.
    Misframed,
    /// RTU requests that are incomplete or have a wrong CRC.
    Damaged,
    /// Closed because the client sent half a request, or does not read its replies.
    Stalled,
    /// A request to an unknown unit identifier.
    NoRoute,
    /// A request that is not allowed on this listener.
    Denied,
    /// A request that a bus did not answer in time.
    Backstop,
    /// The record of a write that was sent to a bus.
    Write,
    /// The record of a write that was refused before any bus.
    RefusedWrite,
    /// The audit file cannot be written, or can be again: a disk may be full and free again many times a second.
    AuditFile,
    /// The task of a client panicked.
    TaskFailure,
    /// A port was opened, lost or cannot be opened.
    Port,
    /// A change of a unit's health, or of the silence of a line.
    Health,
    /// Answers that are late or do not fit, and requests of other clients on the wire.
    Answers,
    /// Background reading.
    Background,
    /// The message of a panic.
    Panic,
}

impl LogKind {
    /// Lines of this kind permitted within one period.
    #[must_use]
    pub const fn lines(self) -> u32 {
        if matches!(self, Self::Write) { WRITE_LINES } else { LINES }
    }
}

/// Permits [a number](LogKind::lines) of lines of each kind within [`PERIOD`], and counts the rest.
#[derive(Debug, Default)]
pub struct LogRateLimiter(Mutex<[KindCount; KINDS]>);

#[derive(Clone, Copy, Debug, Default)]
struct KindCount {
    began: Option<Instant>,
    lines: u32,
    held_back: u64,
}

impl LogRateLimiter {
    /// A limiter without lines so far.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new([KindCount { began: None, lines: 0, held_back: 0 }; KINDS]))
    }

    /// Whether a line of this kind may be written now; if so, how many were held back since the last one.
    #[must_use]
    pub fn permit(&self, kind: LogKind, now: Instant) -> Option<u64> {
        let mut budgets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = &mut budgets[kind as usize];
        if budget.began.is_none_or(|began| now.saturating_duration_since(began) >= PERIOD) {
            budget.began = Some(now);
            budget.lines = 0;
        }
        if budget.lines < kind.lines() {
            budget.lines += 1;
            Some(std::mem::take(&mut budget.held_back))
        } else {
            budget.held_back += 1;
            None
        }
    }
}

/// Lines of most kinds permitted within one period.
pub const LINES: u32 = 10;

/// Records of writes permitted within one period: far more than people cause, but no flood.
pub const WRITE_LINES: u32 = 600;

/// Length of a period.
pub const PERIOD: Duration = Duration::from_secs(60);

const KINDS: usize = LogKind::Panic as usize + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_pass_and_the_rest_are_counted() {
        let limiter = LogRateLimiter::default();
        let start = Instant::now();
        let permit = |at| limiter.permit(LogKind::Framing, at);
        for _ in 0..LINES {
            assert_eq!(permit(start), Some(0));
        }
        assert_eq!(permit(start), None);
        assert_eq!(permit(start + PERIOD - Duration::from_millis(1)), None);
        assert_eq!(permit(start + PERIOD), Some(2));
        assert_eq!(permit(start + PERIOD), Some(0));
    }

    #[test]
    fn many_lines_of_one_kind_leave_room_for_another() {
        let limiter = LogRateLimiter::default();
        let start = Instant::now();
        while limiter.permit(LogKind::Framing, start).is_some() {}
        assert_eq!(limiter.permit(LogKind::RefusedWrite, start), Some(0));
    }
}
