//! Whether a line is too full for its background readings, reported once per change and not for a moment's sake.
//!
//! Owns the hysteresis only: what is measured comes from `poll.rs`.

use std::time::{Duration, Instant};

/// How full a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Blocks are read more slowly than planned.
    TooFull,
    /// Blocks are read as often as planned.
    AsPlanned,
}

/// What was last found, and since when it looks otherwise.
#[derive(Debug, Default)]
pub(crate) struct OverloadDetector {
    full: bool,
    otherwise_since: Option<Instant>,
}

impl OverloadDetector {
    /// Updates the detector: blocks are read so many times slower than planned. Returns the new state if it changed.
    pub(crate) fn note(&mut self, slowdown: f64, now: Instant) -> Option<Load> {
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
        Some(if self.full { Load::TooFull } else { Load::AsPlanned })
    }

    /// What was last found.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Nothing could be read for a while: what was measured before says nothing about what comes.
    pub(crate) fn interrupt(&mut self) {
        self.otherwise_since = None;
    }
}

/// So many times slower than planned is too slow.
const TOO_SLOW: f64 = 1.25;

/// Not more than so many times slower is as planned again.
const AS_PLANNED: f64 = 1.1;

/// For so long a finding must hold.
const HELD_FOR: Duration = Duration::from_secs(30);
