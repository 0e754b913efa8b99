//! A share of line time that may be spent on something: a token bucket.

use std::time::{Duration, Instant};

/// A token bucket of line time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    share: f64,
    /// Line time in seconds that may be spent; negative: spent in advance.
    credit: f64,
    credited_at: Option<Instant>,
}

impl Allowance {
    /// A share from 0 to 1.
    pub(super) fn new(share: f64) -> Self {
        Self { share, credit: BURST.as_secs_f64() * share, credited_at: None }
    }

    /// Changes the share.
    pub(super) fn set_share(&mut self, share: f64) {
        self.share = share;
    }

    /// Whether something may be spent now.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let since = self.credited_at.replace(now).unwrap_or(now);
        let earned = now.saturating_duration_since(since).as_secs_f64() * self.share;
        self.credit = (self.credit + earned).min(BURST.as_secs_f64() * self.share);
        self.credit > 0.0 || self.share >= 1.0
    }

    /// Spends line time. The debt it leaves is at most what the share earns in [`WAIT_MAX`].
    pub(super) fn spend(&mut self, took: Duration) {
        self.credit = (self.credit - took.as_secs_f64()).max(-WAIT_MAX.as_secs_f64() * self.share);
    }
}

/// Largest credit that unused time leaves, as time.
const BURST: Duration = Duration::from_secs(10);

/// The longest wait for the next spending, however much the last one took.
const WAIT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::now::some_instant;

    #[test]
    fn what_was_spent_in_advance_is_waited_for() {
        let start = some_instant();
        let mut allowance = Allowance::new(0.1);
        assert!(allowance.allows(start));
        allowance.spend(Duration::from_millis(1500));
        assert!(!allowance.allows(start + Duration::from_secs(4)), "a second was saved, half of one is owed");
        assert!(allowance.allows(start + Duration::from_millis(5100)));
    }

    #[test]
    fn nothing_is_waited_for_longer_than_a_minute() {
        let start = some_instant();
        let mut allowance = Allowance::new(0.02);
        assert!(allowance.allows(start));
        allowance.spend(Duration::from_secs(4));
        assert!(!allowance.allows(start + Duration::from_secs(59)));
        assert!(allowance.allows(start + Duration::from_secs(61)));
    }
}
