//! The present as an argument of the line: an instant, and how long the machine had slept by then.
//!
//! `Instant` stands still while the machine is suspended; what was read before is older than it says by the time
//! slept since.

use std::time::{Duration, Instant};

/// A point in time that knows of suspends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// How long the machine has slept since it was started (CLOCK_BOOTTIME minus CLOCK_MONOTONIC).
    pub slept: Duration,
}

impl Now {
    /// How long ago `earlier` was, time asleep included.
    #[must_use]
    pub fn since(&self, earlier: Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant) + self.slept.saturating_sub(earlier.slept)
    }
}

impl From<Instant> for Now {
    /// On a machine that never slept.
    fn from(instant: Instant) -> Self {
        Self { instant, slept: Duration::ZERO }
    }
}

/// An instant to begin with, for tests of parts.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
pub(super) fn some_instant() -> Instant {
    Instant::now()
}
