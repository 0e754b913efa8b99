//! Durations as text.

use std::fmt;
use std::time::Duration;

/// Prints a duration in at most two units: `18 s`, `12 min 5 s`, `3 h 40 min`, `3 days 4 h`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours) = (seconds / DAY, seconds % DAY / HOUR);
        let (minutes, rest) = (seconds % HOUR / MINUTE, seconds % MINUTE);
        match seconds {
            0..MINUTE => write!(f, "{seconds} s"),
            MINUTE..HOUR => write!(f, "{minutes} min {rest} s"),
            HOUR..DAY => write!(f, "{hours} h {minutes} min"),
            DAY.. if days == 1 => write!(f, "1 day {hours} h"),
            DAY..FORTNIGHT => write!(f, "{days} days {hours} h"),
            FORTNIGHT.. => write!(f, "{days} days"),
        }
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const FORTNIGHT: u64 = 14 * DAY;
