//! What is going wrong on a line now, told from what went wrong before, by looks at its counters.
//!
//! A counter that grows begins an episode. It ends when nothing was added for five times as long as it took on average
//! before, or as soon as the unit answers again that did not in all
//! that time. Findings count within the episode that goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::line::{LineCounters, UnitCounters, UnitId, UnitStatistics, UnitView, View};

use super::finding::{Finding, Kind};

/// The looks at one line.
#[derive(Clone, Debug, Default)]
pub struct Track {
    line: LineTrack,
    units: BTreeMap<UnitId, UnitTrack>,
    /// Since when each finding has been there.
    active: BTreeMap<(Option<UnitId>, Kind, String), Instant>,
    /// Since when background readings have been slower than planned while every unit answered.
    slow_since: Option<Instant>,
}

/// What is counted of a unit that should not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitTrouble {
    /// Requests without an answer.
    Lost,
    /// Answers that are damaged, or no frame.
    Damaged,
    Late,
    /// Frames that answer nothing.
    Unexpected,
    /// Intact answers to something else.
    Misfit,
    /// Frames of another unit where this one was asked.
    Replaced,
    /// Exceptions.
    Refused,
}

/// What is counted of a line that should not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineTrouble {
    Noise,
    ForeignFrames,
    ForeignRequests,
    Collisions,
}

/// A time in which a counter kept growing.
#[derive(Clone, Debug)]
pub(super) struct Episode<S> {
    /// When it was first seen to have grown.
    pub(super) first: Instant,
    /// When it last was.
    pub(super) last: Instant,
    /// What had been counted before.
    pub(super) start: S,
    /// Looks that saw it grow.
    looks: u32,
}

#[derive(Clone, Debug, Default)]
struct LineTrack {
    last: LineCounters,
    episodes: [Option<Episode<LineCounters>>; LineTrouble::ALL.len()],
}

#[derive(Clone, Debug)]
struct UnitTrack {
    last: Arc<UnitView>,
    was_lost: bool,
    episodes: [Option<Episode<Arc<UnitView>>>; UnitTrouble::ALL.len()],
}

impl Track {
    /// Looks at a line; to be called about once a second.
    pub fn note(&mut self, view: &View, at: Instant) {
        self.line.note(view.counters, at);
        self.units.retain(|id, _| view.unit(*id).is_some());
        for unit in &view.units {
            let is_lost = view.availability(unit.id).is_lost();
            match self.units.get_mut(&unit.id) {
                Some(track) if unit.counters.transactions >= track.last.counters.transactions => {
                    track.note(unit, is_lost, at);
                }
                Some(_) | None => {
                    let mut track = UnitTrack::new(unit, is_lost);
                    track.note(unit, is_lost, at);
                    self.units.insert(unit.id, track);
                }
            }
        }
        let is_slow = view.polling.slowdown >= SLOWDOWN && self.units.values().all(UnitTrack::is_well);
        self.slow_since = self.slow_since.filter(|_| is_slow).or_else(|| is_slow.then_some(at));
    }

    /// These were found at this instant.
    pub fn note_findings(&mut self, findings: &[Finding]) {
        let key = |finding: &Finding| (finding.unit, finding.kind, finding.subject.clone());
        self.active = findings.iter().map(|finding| (key(finding), finding.active_since)).collect();
    }

    /// Since when a finding has been there.
    pub(super) fn active_since(&self, finding: &Finding) -> Option<Instant> {
        self.active.get(&(finding.unit, finding.kind, finding.subject.clone())).copied()
    }

    /// Since when background readings have been slower than planned though every unit answered all it was asked.
    pub(super) fn slow_since(&self) -> Option<Instant> {
        self.slow_since
    }

    pub(super) fn of_unit(&self, id: UnitId, trouble: UnitTrouble) -> Option<&Episode<Arc<UnitView>>> {
        self.units.get(&id)?.episodes[trouble as usize].as_ref()
    }

    pub(super) fn of_line(&self, trouble: LineTrouble) -> Option<&Episode<LineCounters>> {
        self.line.episodes[trouble as usize].as_ref()
    }
}

impl LineTrack {
    fn note(&mut self, now: LineCounters, at: Instant) {
        if now.transactions < self.last.transactions {
            *self = Self::default();
        }
        for trouble in LineTrouble::ALL {
            let grew = trouble.count(&now) > trouble.count(&self.last);
            note(&mut self.episodes[trouble as usize], grew, false, &self.last, at);
        }
        self.last = now;
    }
}

impl UnitTrack {
    /// A unit of which nothing was counted yet.
    fn new(unit: &UnitView, was_lost: bool) -> Self {
        let last = UnitView {
            counters: UnitCounters::default(),
            statistics: UnitStatistics::default(),
            ..unit.clone()
        };
        Self { last: Arc::new(last), was_lost, episodes: Default::default() }
    }

    fn note(&mut self, now: &Arc<UnitView>, is_lost: bool, at: Instant) {
        let is_back = self.was_lost && !is_lost;
        for trouble in UnitTrouble::ALL {
            let episode = &mut self.episodes[trouble as usize];
            let answered = |unit: &UnitView| unit.statistics.answer_times.count();
            let was_total = |one: &Episode<Arc<UnitView>>| {
                let good = answered(&self.last).saturating_sub(answered(&one.start));
                good * GOOD_OF_TOTAL < trouble.count(&self.last).saturating_sub(trouble.count(&one.start))
            };
            // Of what went wrong while it answered well in between, its return ends nothing; nor are late answers over.
            if is_back && trouble != UnitTrouble::Late && episode.as_ref().is_none_or(was_total) {
                *episode = None;
            } else {
                let grew = trouble.count(now) > trouble.count(&self.last);
                note(episode, grew, is_lost, &self.last, at);
            }
        }
        self.last = Arc::clone(now);
        self.was_lost = is_lost;
    }

    fn is_well(&self) -> bool {
        let of = |trouble: UnitTrouble| self.episodes[trouble as usize].is_none();
        !self.was_lost && of(UnitTrouble::Lost) && of(UnitTrouble::Damaged)
    }
}

/// A counter has grown or has not. A unit that is lost is asked so rarely that its episodes do not end meanwhile.
fn note<S: Clone>(episode: &mut Option<Episode<S>>, grew: bool, is_lost: bool, start: &S, at: Instant) {
    if episode.as_ref().is_some_and(|one| !is_lost && one.is_forgotten(at)) {
        *episode = None;
    }
    if grew {
        let one =
            episode.get_or_insert_with(|| Episode { first: at, last: at, start: start.clone(), looks: 0 });
        one.last = at;
        one.looks += 1;
    }
}

impl<S> Episode<S> {
    /// Whether it goes on, as far as can be told.
    pub(super) fn goes_on(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.last) <= self.patience()
    }

    /// So much quiet ends it.
    fn patience(&self) -> Duration {
        let gaps = self.looks.saturating_sub(1).max(1);
        let mean = self.last.saturating_duration_since(self.first) / gaps;
        (mean * QUIET_TIMES).clamp(QUIET_MIN, QUIET_MAX)
    }

    /// What happens rarely is kept until it has happened often enough to tell how often.
    fn is_forgotten(&self, at: Instant) -> bool {
        let kept = if self.looks < LOOKS_TO_TELL { self.patience().max(KEPT_MIN) } else { self.patience() };
        at.saturating_duration_since(self.last) > kept
    }
}

impl UnitTrouble {
    const ALL: [Self; 7] = [
        Self::Lost,
        Self::Damaged,
        Self::Late,
        Self::Unexpected,
        Self::Misfit,
        Self::Replaced,
        Self::Refused,
    ];

    pub(super) fn count(self, unit: &UnitView) -> u64 {
        let (counters, statistics) = (&unit.counters, &unit.statistics);
        match self {
            Self::Lost => counters.timeouts,
            Self::Damaged => counters.crc_errors + statistics.unreadable,
            Self::Late => counters.late_answers,
            Self::Unexpected => counters.unexpected,
            Self::Misfit => statistics.misfits + statistics.other_functions,
            Self::Replaced => statistics.foreign,
            Self::Refused => counters.exceptions,
        }
    }
}

impl LineTrouble {
    const ALL: [Self; 4] = [Self::Noise, Self::ForeignFrames, Self::ForeignRequests, Self::Collisions];

    pub(super) fn count(self, line: &LineCounters) -> u64 {
        match self {
            Self::Noise => line.noise_bytes,
            Self::ForeignFrames => line.foreign_frames,
            Self::ForeignRequests => line.foreign_requests,
            Self::Collisions => line.collisions,
        }
    }
}

/// Quiet so many times as long as the mean gap ends an episode: by chance, one in 150 gaps is that long.
const QUIET_TIMES: u32 = 5;

/// But at least so long, and at most.
const QUIET_MIN: Duration = Duration::from_secs(15);
const QUIET_MAX: Duration = Duration::from_secs(600);

/// A trouble was total where there were fewer good answers than one for so many times that it happened.
const GOOD_OF_TOTAL: u64 = 4;

/// With fewer looks the mean gap is not known.
const LOOKS_TO_TELL: u32 = 3;

/// For so long such an episode is kept.
const KEPT_MIN: Duration = Duration::from_secs(300);

/// Slower than planned by a fifth.
pub(super) const SLOWDOWN: f64 = 1.2;
