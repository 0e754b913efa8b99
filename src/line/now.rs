//! The present as an argument of the line: an instant, and how long the machine had slept by then.
//!
//! `Instant` stands still while the machine is suspended, so data read before is older than it shows by the time slept
//! since.

use std::time::{Duration, Instant};

/// A point in time, suspends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// How long the machine has been suspended since boot (CLOCK_BOOTTIME minus CLOCK_MONOTONIC).
    pub slept: Duration,
}

impl Now {
    /// Time since `earlier`, suspends included.
    #[must_use]
    pub fn since(&self, earlier: Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant) + self.slept.saturating_sub(earlier.slept)
    }
}

impl From<Instant> for Now {
    /// On a machine that was never suspended.
    fn from(instant: Instant) -> Self {
        Self { instant, slept: Duration::ZERO }
    }
}

/// An arbitrary instant, for unit tests.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
pub(super) fn some_instant() -> Instant {
    Instant::now()
}
