//! A bound on log lines that strangers can cause.
//!
//! Owns the count of lines within a stretch of time. It never writes a line itself and never delays anything.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets so many lines pass within [`STRETCH`], and counts the rest.
#[derive(Debug)]
pub struct Throttle {
    most: u32,
    stretch: Mutex<Stretch>,
}

#[derive(Debug)]
struct Stretch {
    began: Option<Instant>,
    lines: u32,
    held_back: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

impl Throttle {
    /// One for [`LINES`] lines.
    #[must_use]
    pub const fn new() -> Self {
        Self::of(LINES)
    }

    /// One for `most` lines.
    #[must_use]
    pub const fn of(most: u32) -> Self {
        Self { most, stretch: Mutex::new(Stretch { began: None, lines: 0, held_back: 0 }) }
    }

    /// Whether a line may be written now; if so, how many were held back since the last one.
    #[must_use]
    pub fn permit(&self, now: Instant) -> Option<u64> {
        let mut stretch = self.stretch.lock().unwrap_or_else(PoisonError::into_inner);
        if stretch.began.is_none_or(|began| now.saturating_duration_since(began) >= STRETCH) {
            stretch.began = Some(now);
            stretch.lines = 0;
        }
        if stretch.lines < self.most {
            stretch.lines += 1;
            Some(std::mem::take(&mut stretch.held_back))
        } else {
            stretch.held_back += 1;
            None
        }
    }
}

/// Lines let through within one stretch.
pub const LINES: u32 = 10;

/// How long a stretch is.
pub const STRETCH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_pass_and_the_rest_are_counted() {
        let throttle = Throttle::default();
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(throttle.permit(start), Some(0));
        }
        assert_eq!(throttle.permit(start), None);
        assert_eq!(throttle.permit(start + STRETCH - Duration::from_millis(1)), None);
        assert_eq!(throttle.permit(start + STRETCH), Some(2));
        assert_eq!(throttle.permit(start + STRETCH), Some(0));
    }
}
