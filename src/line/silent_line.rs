//! Whether the whole line has fallen silent: a cut cable, a dead power supply, swapped wires.
//!
//! Otherwise each unit would be found off-line by itself, one timeout after the other. The silence of the whole line is
//! detected sooner, and the first intact frame of any unit ends it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::settings::UnitId;

/// The silence detector of one line.
#[derive(Debug, Default)]
pub(super) struct SilentLine {
    /// Units that did not answer since the last intact frame, and since when.
    unanswered: BTreeSet<UnitId>,
    since: Option<Instant>,
    /// Attempts since the last intact frame whose answer came damaged or broke off, and those without any.
    damaged: u32,
    missing: u32,
    /// The unit that sent the last intact frame.
    last_answered: Option<UnitId>,
    silence: Option<Silence>,
}

#[derive(Debug)]
struct Silence {
    probed_at: Instant,
    /// The unit that was probed last; `None`: the one that answered last comes first.
    probed: Option<UnitId>,
}

/// What a failure means for the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Nothing.
    None,
    /// The unit that answered last must be confirmed.
    Ask(UnitId),
    /// The line has just fallen silent.
    Silent,
}

impl SilentLine {
    /// Whether the line is silent.
    pub(super) fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// A unit sent an intact frame. True: the line was silent until now.
    pub(super) fn note_alive(&mut self, unit: UnitId) -> bool {
        self.unanswered.clear();
        self.since = None;
        (self.damaged, self.missing) = (0, 0);
        self.last_answered = Some(unit);
        self.silence.take().is_some()
    }

    /// An answer came damaged, or broke off.
    pub(super) fn note_damaged(&mut self) {
        self.damaged = self.damaged.saturating_add(1);
    }

    /// No answer came.
    pub(super) fn note_missing(&mut self) {
        self.missing = self.missing.saturating_add(1);
    }

    /// Whether most answers come, though none of them intact. One that breaks off where the wire does is no sign of that.
    pub(super) fn has_damaged_answers(&self) -> bool {
        self.damaged > self.missing
    }

    /// A unit of a line of `units` got a request at `sent_at` and sent no intact frame.
    pub(super) fn note_failure(
        &mut self,
        unit: UnitId,
        sent_at: Instant,
        now: Instant,
        units: usize,
        response_timeout: Duration,
    ) -> Suspicion {
        if units < 2 || self.silence.is_some() {
            return Suspicion::None;
        }
        self.unanswered.insert(unit);
        let since = *self.since.get_or_insert(sent_at);
        let long = SILENT_AFTER.max(response_timeout * 3);
        if self.unanswered.len() < units.min(UNITS_ASKED) || now.saturating_duration_since(since) < long {
            return Suspicion::None;
        }
        match self.last_answered.filter(|last| !self.unanswered.contains(last)) {
            Some(last) => Suspicion::Ask(last),
            None => {
                self.silence = Some(Silence { probed_at: now, probed: None });
                Suspicion::Silent
            }
        }
    }

    /// When the next unit is to be probed.
    pub(super) fn probe_due(&self) -> Option<Instant> {
        self.silence.as_ref().map(|silence| silence.probed_at + PROBE_PAUSE)
    }

    /// The unit to be probed next: the one that answered last, then one after the other.
    pub(super) fn peek_probe(&self, units: &[UnitId]) -> Option<UnitId> {
        let silence = self.silence.as_ref()?;
        match silence.probed {
            None => self.last_answered.filter(|last| units.contains(last)).or_else(|| units.first().copied()),
            Some(probed) => units.iter().find(|unit| **unit > probed).or_else(|| units.first()).copied(),
        }
    }

    /// A unit is being probed.
    pub(super) fn note_probe(&mut self, unit: UnitId, now: Instant) {
        if let Some(silence) = &mut self.silence {
            silence.probed_at = now;
            silence.probed = Some(unit);
        }
    }

    /// Limits the detector to these units.
    pub(super) fn retain(&mut self, units: &[UnitId]) {
        self.unanswered.retain(|unit| units.contains(unit));
        self.last_answered = self.last_answered.filter(|unit| units.contains(unit));
        if units.len() < 2 {
            self.silence = None;
        }
    }

    /// The port was closed or opened: forgets earlier failures.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// So many different units must have failed, or all units of a smaller line.
const UNITS_ASKED: usize = 3;

/// Shortest time without an intact frame.
const SILENT_AFTER: Duration = Duration::from_secs(3);

/// Pause between two probes of a silent line.
const PROBE_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::now::some_instant;

    const TIMEOUT: Duration = Duration::from_millis(500);

    fn unit(id: u8) -> UnitId {
        UnitId::new(id).expect("not 0")
    }

    #[test]
    fn three_units_silent_for_three_seconds_and_the_one_that_answered_last() {
        let start = some_instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut line = SilentLine::default();
        line.note_alive(unit(4));
        let mut fail =
            |id, second| line.note_failure(unit(id), at(second), at(second) + TIMEOUT, 12, TIMEOUT);
        assert_eq!(fail(1, 0), Suspicion::None);
        assert_eq!(fail(2, 1), Suspicion::None);
        assert_eq!(fail(1, 3), Suspicion::None, "two units");
        assert_eq!(fail(3, 3), Suspicion::Ask(unit(4)));
        assert_eq!(fail(4, 4), Suspicion::Silent);
        let units: Vec<_> = (1..=4).map(unit).collect();
        assert_eq!(line.probe_due(), Some(at(5) + TIMEOUT));
        let mut probed = Vec::new();
        for _ in 0..4 {
            let unit = line.peek_probe(&units).expect("the line is silent");
            line.note_probe(unit, at(5));
            probed.push(unit);
        }
        assert_eq!(probed, [4, 1, 2, 3].map(unit), "the one that answered last comes first");
        assert!(line.note_alive(unit(2)));
        assert!(!line.is_silent());
    }

    #[test]
    fn any_frame_begins_the_count_anew_and_one_unit_makes_no_silent_line() {
        let start = some_instant();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut line = SilentLine::default();
        line.note_failure(unit(1), at(0), at(1), 2, TIMEOUT);
        line.note_alive(unit(2));
        assert_eq!(line.note_failure(unit(1), at(5), at(6), 2, TIMEOUT), Suspicion::None);
        let mut alone = SilentLine::default();
        assert_eq!(alone.note_failure(unit(1), at(0), at(60), 1, TIMEOUT), Suspicion::None);
    }

    #[test]
    fn a_unit_that_is_gone_is_not_waited_for() {
        let start = some_instant();
        let mut line = SilentLine::default();
        line.note_alive(unit(3));
        line.note_failure(unit(1), start, start + TIMEOUT, 3, TIMEOUT);
        line.retain(&[unit(1), unit(2)]);
        let now = start + Duration::from_secs(4);
        assert_eq!(line.note_failure(unit(2), start, now, 2, TIMEOUT), Suspicion::Silent);
        line.retain(&[unit(1)]);
        assert!(!line.is_silent(), "one unit makes no silent line");
    }
}
