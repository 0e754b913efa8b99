//! Separates current troubles of a line from past ones by sampling its error counters.
//!
//! An episode begins when an error counter grows. It ends after a quiet time of five times the mean gap between the
//! increments, or as soon as a unit answers again that had not answered during the whole episode. Findings count within
//! the current episode.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::line::{LineCounters, UnitCounters, UnitId, UnitStatistics, UnitView, View};

use super::finding::{Finding, Kind};

/// The sampled troubles of one line.
#[derive(Clone, Debug, Default)]
pub struct Track {
    line: LineTrack,
    units: BTreeMap<UnitId, UnitTrack>,
    /// The start of each current finding.
    active: BTreeMap<(Option<UnitId>, Kind, String), Instant>,
    /// Since when background reading has been slower than planned while every unit answered.
    slow_since: Option<Instant>,
}

/// The troubles of a unit that have counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitTrouble {
    /// Requests without an answer.
    Lost,
    /// Answers that are damaged, or form no frame.
    Damaged,
    Late,
    /// Frames of the unit without a request.
    Unexpected,
    /// Intact answers that do not fit the request.
    Misfit,
    /// Frames of another unit in answer to requests to this one.
    Replaced,
    /// Exceptions.
    Refused,
}

/// The troubles of a line that have counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineTrouble {
    Noise,
    ForeignFrames,
    ForeignRequests,
    Collisions,
}

/// A time in which an error counter kept growing.
#[derive(Clone, Debug)]
pub(super) struct Episode<S> {
    /// The first sample in which it had grown.
    pub(super) first: Instant,
    /// The last such sample.
    pub(super) last: Instant,
    /// The counters before the first growth.
    pub(super) start: S,
    /// Samples in which it had grown.
    samples: u32,
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
    /// Samples a line; to be called about once a second.
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

    /// Records the current findings.
    pub fn note_findings(&mut self, findings: &[Finding]) {
        let key = |finding: &Finding| (finding.unit, finding.kind, finding.subject.clone());
        self.active = findings.iter().map(|finding| (key(finding), finding.active_since)).collect();
    }

    /// The start of a finding that was recorded before.
    pub(super) fn active_since(&self, finding: &Finding) -> Option<Instant> {
        self.active.get(&(finding.unit, finding.kind, finding.subject.clone())).copied()
    }

    /// Since when background reading has been slower than planned although every unit answered every request.
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
    /// A unit whose counters so far were zero.
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
            // The return of a unit ends only troubles without good answers in between, and never late answers.
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

/// Adds one sample of a counter to its episode. Episodes of a lost unit do not end: it receives too few requests.
fn note<S: Clone>(episode: &mut Option<Episode<S>>, grew: bool, is_lost: bool, start: &S, at: Instant) {
    if episode.as_ref().is_some_and(|one| !is_lost && one.has_expired(at)) {
        *episode = None;
    }
    if grew {
        let one =
            episode.get_or_insert_with(|| Episode { first: at, last: at, start: start.clone(), samples: 0 });
        one.last = at;
        one.samples += 1;
    }
}

impl<S> Episode<S> {
    /// Whether it is likely to continue: the quiet time since the last growth is not too long.
    pub(super) fn is_ongoing(&self, at: Instant) -> bool {
        at.saturating_duration_since(self.last) <= self.quiet_limit()
    }

    /// The quiet time that ends it.
    fn quiet_limit(&self) -> Duration {
        let gaps = self.samples.saturating_sub(1).max(1);
        let mean = self.last.saturating_duration_since(self.first) / gaps;
        (mean * QUIET_TIMES).clamp(QUIET_MIN, QUIET_MAX)
    }

    /// Whether it is removed. A rare trouble is kept until the mean gap between its increments is known.
    fn has_expired(&self, at: Instant) -> bool {
        let kept = if self.samples < SAMPLES_FOR_MEAN {
            self.quiet_limit().max(KEPT_MIN)
        } else {
            self.quiet_limit()
        };
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

/// A quiet time of this many mean gaps ends an episode: by chance, one in 150 gaps is that long.
const QUIET_TIMES: u32 = 5;

/// Bounds of that quiet time.
const QUIET_MIN: Duration = Duration::from_secs(15);
const QUIET_MAX: Duration = Duration::from_secs(600);

/// A trouble was total if there was less than one good answer for this many occurrences.
const GOOD_OF_TOTAL: u64 = 4;

/// With fewer samples the mean gap is not known.
const SAMPLES_FOR_MEAN: u32 = 3;

/// How long such an episode is kept at least.
const KEPT_MIN: Duration = Duration::from_secs(300);

/// Background reading counts as slow when it takes this many times the planned time.
pub(super) const SLOWDOWN: f64 = 1.2;
