//! The pause before the next attempt to connect: doubled from attempt to attempt, and different in each gateway.
//!
//! A broker that comes back after an outage is found by a thousand gateways; without jitter all of them would connect
//! in the same second.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses since the last connection that held.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let whole = PAUSE_MIN.saturating_mul(1 << self.failures.min(DOUBLINGS)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        // A new state of the standard library's hasher has random keys.
        let jitter = f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default());
        whole.mul_f64(1.0 - jitter / f64::from(u32::MAX) / 2.0)
    }

    /// The connection held: the next failure is the first again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// The first pause; half of it is random, as of all.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Doublings until the longest pause is reached.
const DOUBLINGS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_minute_and_half_of_each_is_random() {
        let mut backoff = Backoff::default();
        for whole in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let (pause, whole) = (backoff.next(), Duration::from_secs(whole));
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= PAUSE_MIN);
        let pauses: std::collections::BTreeSet<_> = (0..8).map(|_| Backoff::default().next()).collect();
        assert!(pauses.len() > 1, "{pauses:?}");
    }
}
