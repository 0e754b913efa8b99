//! Whether the line is occupied: bytes outside of answers fill more than half of its time.
//!
//! Less is noise, as on a line without bias: it is counted, and requests continue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How much of the last second unwanted bytes filled.
#[derive(Debug)]
pub(super) struct Occupation {
    character: Duration,
    /// Unwanted bytes, by the time they were found.
    unwanted: VecDeque<(Instant, u64)>,
    sum: u64,
}

impl Occupation {
    /// `character`: the time of one character on the wire.
    pub(super) fn new(character: Duration) -> Self {
        Self { character, unwanted: VecDeque::new(), sum: 0 }
    }

    /// Bytes arrived that are part of no answer.
    pub(super) fn note(&mut self, bytes: u64, now: Instant) {
        if bytes == 0 {
            return;
        }
        self.forget(now);
        self.sum += bytes;
        let step = self.window() / STEPS;
        match self.unwanted.back_mut() {
            Some((at, count)) if now.saturating_duration_since(*at) < step => *count += bytes,
            _ => self.unwanted.push_back((now, bytes)),
        }
    }

    /// Whether they filled more than half of the line's time.
    pub(super) fn is_occupied(&mut self, now: Instant) -> bool {
        self.forget(now);
        let filled = self.character.as_nanos() * u128::from(self.sum);
        filled * 2 > self.window().as_nanos()
    }

    /// Forgets what came before.
    pub(super) fn reset(&mut self) {
        self.unwanted.clear();
        self.sum = 0;
    }

    /// Drops bytes older than the window.
    fn forget(&mut self, now: Instant) {
        let window = self.window();
        while let Some((_, count)) =
            self.unwanted.pop_front_if(|(at, _)| now.saturating_duration_since(*at) >= window)
        {
            self.sum -= count;
        }
    }

    fn window(&self) -> Duration {
        WINDOW.max(self.character * CHARACTERS)
    }
}

/// Shortest window.
const WINDOW: Duration = Duration::from_secs(1);

/// Smallest number of characters in a window.
const CHARACTERS: u32 = 30;

/// How finely the window is divided.
const STEPS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::now::some_instant;

    const CHARACTER: Duration = Duration::from_micros(521);

    #[test]
    fn more_than_half_of_a_second_occupies_the_line_and_less_does_not() {
        let start = some_instant();
        let fill = |every: u64| {
            let mut occupation = Occupation::new(CHARACTER);
            let mut occupied = false;
            for at in (0..3000).step_by(usize::try_from(every).expect("small")) {
                let now = start + Duration::from_millis(at);
                occupation.note(1, now);
                occupied |= occupation.is_occupied(now);
            }
            occupied
        };
        assert!(!fill(12), "a byte every 12 ms is noise");
        assert!(!fill(2), "a quarter");
        assert!(fill(1), "just over half");
    }

    #[test]
    fn a_burst_shorter_than_half_a_second_is_noise() {
        let start = some_instant();
        let mut occupation = Occupation::new(CHARACTER);
        occupation.note(900, start);
        assert!(!occupation.is_occupied(start));
        occupation.note(900, start + Duration::from_millis(300));
        assert!(!occupation.is_occupied(start + Duration::from_secs(1)), "the first has passed");
    }
}
