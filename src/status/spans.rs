//! Spans of time as the JSON has them: milliseconds.

use std::time::{Duration, Instant};

pub(super) fn age(at: Instant, now: Instant) -> u64 {
    millis(now.saturating_duration_since(at))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds to the tenth, which is what is known of an answer's time.
pub(super) fn fine_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
