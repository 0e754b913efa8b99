//! The present for a line and its snapshot: the monotonic clock and the suspended time.

use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use crate::line::Now;

/// The present.
#[must_use]
pub fn now() -> Now {
    at(Instant::now())
}

/// A recent instant, with the present suspended time.
#[must_use]
pub fn at(instant: Instant) -> Now {
    Now { instant: instant.into_std(), slept: slept() }
}

/// The present, and what the clock on the wall shows.
#[must_use]
pub fn both() -> (Now, SystemTime) {
    let mut both = (now(), SystemTime::now());
    for _ in 1..TRIES {
        // As below: a pause between the two readings would look as if the clock had been set.
        if both.0.instant.elapsed() < PRECISION {
            break;
        }
        both = (now(), SystemTime::now());
    }
    both
}

/// How long the machine has been suspended since boot. Monotonic; exact to [`PRECISION`].
fn slept() -> Duration {
    let read = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
    let mut slept = Duration::ZERO;
    for _ in 0..TRIES {
        let before = read(ClockId::CLOCK_MONOTONIC);
        let boot = read(ClockId::CLOCK_BOOTTIME);
        slept = boot.saturating_sub(before);
        // If preempted between the two readings, the difference would include the pause.
        if read(ClockId::CLOCK_MONOTONIC).saturating_sub(before) < PRECISION {
            break;
        }
    }
    slept
}

/// Largest error of the suspended time.
const PRECISION: Duration = Duration::from_millis(1);

/// How often the clocks are read again.
const TRIES: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_is_awake_does_not_sleep_on() {
        let (earlier, later) = (now(), now());
        assert!(later.slept.abs_diff(earlier.slept) < PRECISION * 2);
        assert!(later.since(earlier) < Duration::from_secs(10));
    }
}
