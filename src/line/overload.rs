//! Whether a line is too full for its background readings, reported once per change, with hysteresis.
//!
//! Owns the hysteresis only; `poll.rs` measures.

use std::time::{Duration, Instant};

/// How full a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollingLoad {
    /// Blocks are read more slowly than planned.
    TooFull,
    /// Blocks are read as often as planned.
    AsPlanned,
}

/// The last state reported, and since when the measurements differ from it.
#[derive(Debug, Default)]
pub(crate) struct OverloadDetector {
    full: bool,
    otherwise_since: Option<Instant>,
}

impl OverloadDetector {
    /// Updates the detector with how many times slower than planned blocks are read. Returns the new state if it
    /// changed.
    pub(crate) fn note(&mut self, slowdown: f64, now: Instant) -> Option<PollingLoad> {
        let otherwise = if self.full { slowdown < AS_PLANNED } else { slowdown > TOO_SLOW };
        if !otherwise {
            self.otherwise_since = None;
            return None;
        }
        let since = *self.otherwise_since.get_or_insert(now);
        if now.saturating_duration_since(since) < HELD_FOR {
            return None;
        }
        self.otherwise_since = None;
        self.full = !self.full;
        Some(if self.full { PollingLoad::TooFull } else { PollingLoad::AsPlanned })
    }

    /// The last state reported.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Reading was interrupted: earlier measurements say nothing about what follows.
    pub(crate) fn interrupt(&mut self) {
        self.otherwise_since = None;
    }
}

/// A factor above this is too slow.
const TOO_SLOW: f64 = 1.25;

/// A factor up to this is as planned again.
const AS_PLANNED: f64 = 1.1;

/// How long a new state must last before it is reported.
const HELD_FOR: Duration = Duration::from_secs(30);
