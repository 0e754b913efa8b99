//! Whether a unit answers.
//!
//! ```text
//! never seen ─ proof of life ─► on-line ─ suspicion ─► being confirmed ─ silence ─► off-line
//!                                  ▲──────── proof of life ───────┴──── proof of life ────┘
//! ```
//!
//! Owns the state and its transitions; `probing.rs` and `scheduler.rs` choose the requests that decide.

use std::fmt;
use std::time::{Duration, Instant};

use crate::modbus::pdu::RequestPdu;

use super::settings::OfflineAfter;

/// Whether the unit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// No intact frame yet, and not enough failures to call it off-line.
    NeverSeen,
    /// It answers.
    Online,
    /// It stopped answering: the read it answered last is repeated, requests wait.
    Confirming,
    /// It does not answer; it is probed with a back-off.
    Offline,
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverSeen => "never seen",
            Self::Online => "on-line",
            Self::Confirming => "being confirmed",
            Self::Offline => "off-line",
        })
    }
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// It answers, after it was never seen, suspected or off-line; how long it did not answer.
    Found { was: UnitState, away: Duration },
    /// It must be confirmed.
    Suspected,
    /// It is off-line; how long it has not answered.
    Lost { silent_for: Duration },
}

/// The health of one unit.
#[derive(Debug)]
pub(super) struct Health {
    state: UnitState,
    /// Consecutive attempts without an intact frame, for any kind of request, and when they began.
    failures: u32,
    failing_since: Option<Instant>,
    /// When it last gave proof of life.
    last_alive: Option<Instant>,
    /// Since when it is off-line: when the first attempt that failed was sent.
    lost_at: Option<Instant>,
    /// The read by function 01 to 04 that it answered last.
    last_read: Option<RequestPdu>,
    /// Attempts of the confirmation that are left.
    confirmations_left: u32,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: UnitState::NeverSeen,
            failures: 0,
            failing_since: None,
            last_alive: None,
            lost_at: None,
            last_read: None,
            confirmations_left: 0,
        }
    }
}

impl Health {
    pub(super) fn state(&self) -> UnitState {
        self.state
    }

    /// Since when it is off-line: when the first attempt of those that failed was sent.
    pub(super) fn lost_at(&self) -> Option<Instant> {
        self.lost_at
    }

    pub(super) fn last_alive(&self) -> Option<Instant> {
        self.last_alive
    }

    pub(super) fn last_read(&self) -> Option<&RequestPdu> {
        self.last_read.as_ref()
    }

    /// The unit answered a read by function 01 to 04 with data or an exception.
    pub(super) fn note_read(&mut self, request: &RequestPdu) {
        if request.range().is_some() {
            self.last_read = Some(request.clone());
        }
    }

    /// The unit gave proof of life.
    pub(super) fn note_alive(&mut self, now: Instant) -> Option<Transition> {
        let away = self.lost_at.take().or(self.failing_since).or(self.last_alive);
        let away = away.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.last_alive = Some(now);
        self.failures = 0;
        self.failing_since = None;
        let was = std::mem::replace(&mut self.state, UnitState::Online);
        (was != UnitState::Online).then_some(Transition::Found { was, away })
    }

    /// An attempt begun at `sent_at` got no intact frame. Suspicion requires both limits.
    pub(super) fn note_failure(
        &mut self,
        sent_at: Instant,
        now: Instant,
        limits: OfflineAfter,
        retries: u32,
    ) -> Option<Transition> {
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(sent_at);
        match self.state {
            UnitState::NeverSeen | UnitState::Online => {
                let both =
                    self.failures >= limits.failures && now.saturating_duration_since(since) >= limits.time;
                if both { self.suspect(now, retries) } else { None }
            }
            UnitState::Confirming | UnitState::Offline => None,
        }
    }

    /// The unit may have stopped answering: the read it answered last is repeated, at most once more than `retries`. A
    /// unit that never answered such a read is off-line at once.
    pub(super) fn suspect(&mut self, now: Instant, retries: u32) -> Option<Transition> {
        match self.state {
            UnitState::Confirming | UnitState::Offline => return None,
            UnitState::NeverSeen | UnitState::Online => {}
        }
        if self.last_read.is_none() {
            return Some(self.lose(now));
        }
        self.state = UnitState::Confirming;
        self.confirmations_left = retries.saturating_add(1);
        Some(Transition::Suspected)
    }

    /// An attempt of the confirmation got no intact frame.
    pub(super) fn note_unconfirmed(&mut self, now: Instant) -> Option<Transition> {
        if self.state != UnitState::Confirming {
            return None;
        }
        self.confirmations_left = self.confirmations_left.saturating_sub(1);
        (self.confirmations_left == 0).then(|| self.lose(now))
    }

    /// The port was reopened, perhaps on another line: earlier evidence does not count.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    fn lose(&mut self, now: Instant) -> Transition {
        self.state = UnitState::Offline;
        self.lost_at = self.failing_since.or(Some(now));
        let since = self.failing_since.unwrap_or(now);
        Transition::Lost { silent_for: now.saturating_duration_since(since) }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::line::now::some_instant;

    const LIMITS: OfflineAfter = OfflineAfter { failures: 3, time: Duration::from_secs(3) };

    fn read() -> RequestPdu {
        RequestPdu::decode(Bytes::from_static(&[3, 0, 0, 0, 1])).expect("a good request")
    }

    fn fail(health: &mut Health, start: Instant, seconds: u64) -> Option<Transition> {
        let sent = start + Duration::from_secs(seconds);
        health.note_failure(sent, sent + Duration::from_millis(500), LIMITS, 1)
    }

    #[test]
    fn suspicion_takes_both_limits_and_silence_to_the_last_read_confirms_it() {
        let start = some_instant();
        let mut health = Health::default();
        health.note_read(&read());
        assert!(matches!(
            health.note_alive(start),
            Some(Transition::Found { was: UnitState::NeverSeen, .. })
        ));
        for second in [1, 2] {
            assert_eq!(fail(&mut health, start, second), None);
        }
        assert_eq!(fail(&mut health, start, 3), None, "three failures, but not three seconds");
        assert_eq!(fail(&mut health, start, 4), Some(Transition::Suspected));
        let now = start + Duration::from_secs(5);
        assert_eq!(health.note_unconfirmed(now), None);
        let lost = Transition::Lost { silent_for: Duration::from_secs(4) };
        assert_eq!(health.note_unconfirmed(now), Some(lost), "one retry");
        assert_eq!(health.state(), UnitState::Offline);
    }

    #[test]
    fn proof_of_life_ends_a_suspicion() {
        let start = some_instant();
        let mut health = Health::default();
        health.note_read(&read());
        health.note_alive(start);
        assert_eq!(health.suspect(start, 0), Some(Transition::Suspected));
        assert!(matches!(
            health.note_alive(start),
            Some(Transition::Found { was: UnitState::Confirming, .. })
        ));
        assert_eq!(health.note_unconfirmed(start), None);
        assert_eq!(health.state(), UnitState::Online);
    }

    #[test]
    fn a_unit_that_never_answered_a_read_is_offline_without_confirmation() {
        let start = some_instant();
        let mut health = Health::default();
        for second in [0, 1, 2] {
            assert_eq!(fail(&mut health, start, second), None);
        }
        assert!(matches!(fail(&mut health, start, 3), Some(Transition::Lost { .. })));
    }
}
