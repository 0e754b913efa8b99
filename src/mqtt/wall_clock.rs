//! The clock on the wall as a function of the monotonic one, so that times follow when it is set.
//!
//! A machine without a clock of its own (a Raspberry Pi) has a wrong one until NTP answers. What was read before keeps its
//! instant by the monotonic clock, and its time is worked out when it is sent.

use std::time::{Duration, SystemTime};

use crate::line::Now;

/// What the clock on the wall shows at each instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    at: Now,
    time: SystemTime,
}

impl WallClock {
    /// It shows `time` now.
    #[must_use]
    pub fn new(at: Now, time: SystemTime) -> Self {
        Self { at, time }
    }

    /// Follows the clock if it was set since. Both clocks are slewed alike, so any difference is a step.
    pub fn follow(&mut self, at: Now, time: SystemTime) {
        let expected = self.time_at(at);
        let step = time.duration_since(expected).unwrap_or_else(|behind| behind.duration());
        if step >= SMALLEST_STEP {
            *self = Self::new(at, time);
        }
    }

    /// What it shows at that instant, or showed if it had been set before.
    #[must_use]
    pub fn time_at(&self, at: Now) -> SystemTime {
        let time = self.time + at.since(self.at);
        time.checked_sub(self.at.since(at)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// By how many milliseconds it is ahead of what it was.
    #[must_use]
    pub fn millis_ahead_of(&self, before: &Self) -> i64 {
        let (now, then) = (self.time, before.time_at(self.at));
        let millis = |difference: Duration| i64::try_from(difference.as_millis()).unwrap_or(i64::MAX);
        now.duration_since(then).map_or_else(|behind| -millis(behind.duration()), millis)
    }
}

/// Less is within what reading two clocks one after the other may take on a busy machine, and is not worth a second time for
/// the same reading.
const SMALLEST_STEP: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::time::{Instant, UNIX_EPOCH};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn times_follow_a_step_and_nothing_less() {
        let start = Now::from(Instant::now());
        let at = |seconds: u32| Now { instant: start.instant + seconds * SECOND, ..start };
        let before = WallClock::new(at(10), UNIX_EPOCH + 1000 * SECOND);
        assert_eq!(before.time_at(at(12)), UNIX_EPOCH + 1002 * SECOND);
        assert_eq!(before.time_at(at(3)), UNIX_EPOCH + 993 * SECOND);
        let mut clock = before;
        clock.follow(at(20), UNIX_EPOCH + 1010 * SECOND + SMALLEST_STEP / 2);
        clock.follow(at(21), UNIX_EPOCH + 1011 * SECOND - SMALLEST_STEP / 2);
        assert_eq!(clock, before);
        for (seconds, ahead) in [(5000, 3_988_000), (12, -1_000_000)] {
            let mut clock = before;
            clock.follow(at(22), UNIX_EPOCH + seconds * SECOND);
            assert_eq!(clock.time_at(at(22)), UNIX_EPOCH + seconds * SECOND);
            assert_eq!(clock.time_at(at(15)), UNIX_EPOCH + (seconds - 7) * SECOND);
            assert_eq!(clock.millis_ahead_of(&before), ahead);
        }
    }

    #[test]
    fn what_the_machine_slept_counts_and_is_no_step() {
        let start = Now::from(Instant::now());
        let awake = Now { slept: 600 * SECOND, instant: start.instant + SECOND };
        let mut clock = WallClock::new(start, UNIX_EPOCH + 1000 * SECOND);
        let before = clock;
        clock.follow(awake, UNIX_EPOCH + 1601 * SECOND);
        assert_eq!(clock, before);
        clock.follow(awake, UNIX_EPOCH + 9000 * SECOND);
        assert_eq!(clock.time_at(start), UNIX_EPOCH + 8399 * SECOND);
    }
}
