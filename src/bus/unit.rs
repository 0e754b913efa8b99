//! One unit of the line: its health, what it still owes, how fast it answers, and its counters.
//!
//! Off-line: one probe at a time, nothing else. A Modbus exception counts as alive. The picture of states and
//! transitions is in `docs/design.md`.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::modbus::pdu::{ExceptionCode, FunctionCode, ReadRange, RequestPdu};

use super::sabotage::{Guard, keeps};
use super::settings::{OfflineAfter, UnitSettings};
use super::snapshot::{Block, Snapshot};
use super::statistics::UnitStatistics;
use super::view::UnitView;

/// Whether the unit answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// No good answer yet, and not enough failures to call it off-line.
    NeverSeen,
    /// It answers.
    Online,
    /// It does not; it is probed now and then.
    Offline,
    /// It answered once after having been off-line.
    Recovering,
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NeverSeen => "never seen",
            Self::Online => "on-line",
            Self::Offline => "off-line",
            Self::Recovering => "recovering",
        })
    }
}

/// What happened to one unit since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounters {
    /// Requests sent to it, probes and further attempts included.
    pub transactions: u64,
    /// Of these, without an answer in time.
    pub timeouts: u64,
    /// Answers with a wrong CRC.
    pub crc_errors: u64,
    /// Answers to a request that had been given up.
    pub late_answers: u64,
    /// Frames of this unit that answer nothing it was asked.
    pub unexpected: u64,
    /// Modbus exceptions it answered.
    pub exceptions: u64,
}

/// A request given up without an answer, which may still come.
#[derive(Clone, Debug)]
pub struct Owed {
    /// What it would answer.
    pub request: RequestPdu,
    /// When the request began to be sent.
    pub sent_at: Instant,
    /// The unit's epoch when it was sent.
    pub epoch: u64,
    /// The queued item that still waits for it.
    pub item: Option<u64>,
    /// Until when an answer is taken for a late one, and nothing is sent to the unit.
    pub until: Instant,
}

/// One unit.
#[derive(Debug)]
pub struct Unit {
    /// What it is told to obey.
    pub settings: UnitSettings,
    /// What happened to it.
    pub counters: UnitCounters,
    /// How fast it answered, and what failed why.
    pub statistics: UnitStatistics,
    /// The exception it answered last.
    pub last_exception: Option<ExceptionCode>,
    /// When it last gave a good answer, or a Modbus exception.
    pub last_good: Option<Instant>,
    /// Smoothed time from the end of a request to the first byte of its answer.
    pub response_time: Option<Duration>,
    /// The response time its background readings are planned with.
    pub planned_pause: Option<Duration>,
    /// What it still owes.
    pub owed: Option<Owed>,
    /// Ascending with each write to the unit.
    pub epoch: u64,
    /// Its last known values.
    pub snapshot: Arc<Snapshot>,
    /// The measurement blocks that are read in the background.
    pub measured: Arc<[ReadRange]>,
    state: UnitState,
    failures: u32,
    failing_since: Option<Instant>,
    /// The last requests given up without an answer, and when.
    given_up: VecDeque<(RequestPdu, Instant)>,
    guard: Duration,
    last_read: Option<RequestPdu>,
    /// Requests that got no answer, and since when.
    unanswered: VecDeque<(RequestPdu, Instant)>,
    probed_at: Option<Instant>,
    probe_pause: Duration,
    view: Arc<UnitView>,
}

impl Unit {
    /// A unit never heard of, whose late answers are guarded against for `late_guard`.
    #[must_use]
    pub fn new(settings: UnitSettings, late_guard: Duration) -> Self {
        let snapshot = Arc::new(Snapshot::new(settings.polling.tables()));
        let view = Arc::new(UnitView {
            id: settings.id,
            name: settings.name.clone(),
            state: UnitState::NeverSeen,
            counters: UnitCounters::default(),
            statistics: UnitStatistics::default(),
            last_exception: None,
            last_good: None,
            response_time: None,
            snapshot,
            measured: Arc::default(),
            is_measured: settings.polling.blocks.iter().any(|block| block.measured),
        });
        Self {
            settings,
            counters: UnitCounters::default(),
            statistics: UnitStatistics::default(),
            last_exception: None,
            last_good: None,
            response_time: None,
            planned_pause: None,
            owed: None,
            epoch: 0,
            snapshot: Arc::clone(&view.snapshot),
            measured: Arc::clone(&view.measured),
            state: UnitState::NeverSeen,
            failures: 0,
            failing_since: None,
            given_up: VecDeque::new(),
            guard: late_guard,
            last_read: None,
            unanswered: VecDeque::new(),
            probed_at: None,
            probe_pause: PROBE_PAUSE_MIN,
            view,
        }
    }

    /// The unit as others may see it; the same value as long as nothing changes.
    #[must_use]
    pub fn view(&mut self) -> Arc<UnitView> {
        let seen = &self.view;
        let same = seen.state == self.state
            && seen.counters == self.counters
            && seen.statistics == self.statistics
            && seen.last_exception == self.last_exception
            && seen.last_good == self.last_good
            && seen.response_time == self.response_time
            && Arc::ptr_eq(&seen.snapshot, &self.snapshot)
            && Arc::ptr_eq(&seen.measured, &self.measured);
        if !same {
            self.view = Arc::new(UnitView {
                id: self.settings.id,
                name: self.settings.name.clone(),
                state: self.state,
                counters: self.counters,
                statistics: self.statistics,
                last_exception: self.last_exception,
                last_good: self.last_good,
                response_time: self.response_time,
                snapshot: Arc::clone(&self.snapshot),
                measured: Arc::clone(&self.measured),
                is_measured: seen.is_measured,
            });
        }
        Arc::clone(&self.view)
    }

    /// Whether it answers.
    #[must_use]
    pub fn state(&self) -> UnitState {
        self.state
    }

    /// Whether it is off-line: nothing but probes is sent to it.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.state == UnitState::Offline
    }

    /// Whether it has answered and is not off-line.
    #[must_use]
    pub fn is_online(&self) -> bool {
        match self.state {
            UnitState::Online | UnitState::Recovering => true,
            UnitState::NeverSeen | UnitState::Offline => false,
        }
    }

    /// It answered, an exception included. `response_time` counts from the end of the request.
    /// True when the state changed.
    pub fn note_answer(
        &mut self,
        request: &RequestPdu,
        response_time: Option<Duration>,
        now: Instant,
    ) -> bool {
        if request.is_read() {
            self.last_read = Some(request.clone());
        }
        if let Some(sample) = response_time {
            self.response_time = Some(match self.response_time {
                None => sample,
                Some(mean) => (mean * 7 + sample) / 8,
            });
        }
        self.unanswered.retain(|(failed, _)| failed != request);
        self.last_good = Some(now);
        self.failures = 0;
        self.failing_since = None;
        self.probe_pause = PROBE_PAUSE_MIN;
        let before = self.state;
        self.state = match before {
            UnitState::Offline => UnitState::Recovering,
            UnitState::NeverSeen | UnitState::Online | UnitState::Recovering => UnitState::Online,
        };
        before != self.state
    }

    /// An attempt to send `request`, begun at `sent_at`, got no good answer. True when the unit has just become
    /// off-line.
    ///
    /// A read that it never answers while it answers others, as a meter does with one that is too long for it,
    /// says nothing about whether it is there.
    pub fn note_failure(
        &mut self,
        request: &RequestPdu,
        sent_at: Instant,
        now: Instant,
        limits: OfflineAfter,
    ) -> bool {
        if self.is_ignored(request, sent_at) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(sent_at);
        let both = self.failures >= limits.failures && now.saturating_duration_since(since) >= limits.time;
        let became_offline = both && self.state != UnitState::Offline;
        if became_offline {
            self.state = UnitState::Offline;
            self.probed_at = Some(now);
            self.probe_pause = PROBE_PAUSE_MIN;
        }
        became_offline
    }

    /// Whether the unit has answered another request since this one first failed. Remembers the failure.
    fn is_ignored(&mut self, request: &RequestPdu, sent_at: Instant) -> bool {
        let known = self.unanswered.iter().find(|(failed, _)| failed == request).map(|(_, since)| *since);
        match known {
            Some(since) => self.last_good.is_some_and(|good| good > since),
            None => {
                if self.unanswered.len() >= UNANSWERED_MAX {
                    self.unanswered.pop_front();
                }
                self.unanswered.push_back((request.clone(), sent_at));
                false
            }
        }
    }

    /// Starts the guard after an attempt that ended without an answer, which was due at `owed.until`.
    pub fn owe(&mut self, owed: Owed) {
        self.given_up.push_back((owed.request.clone(), owed.until));
        while self.given_up.len() > GIVEN_UP_MAX {
            self.given_up.pop_front();
        }
        if keeps(Guard::LateGuard) {
            self.owed = Some(Owed { until: owed.until + self.guard, ..owed });
        }
    }

    /// Something may have been written: what was read before is not true any more.
    pub fn note_write(&mut self) {
        self.epoch += 1;
        if keeps(Guard::WriteDrops) && !self.snapshot.blocks().is_empty() {
            self.snapshot = Arc::new(self.snapshot.without(|_| true));
        }
    }

    /// Keeps what was read under `epoch`, if nothing was written since.
    pub fn keep(&mut self, block: Block, epoch: u64) {
        if epoch == self.epoch || !keeps(Guard::Epoch) {
            self.snapshot = Arc::new(self.snapshot.with(block));
        }
    }

    /// The answer that was owed has come, `now`. The guard grows with how late it was.
    pub fn note_late(&mut self, now: Instant) -> Option<Owed> {
        self.counters.late_answers += 1;
        self.learn_lateness(|_| true, now);
        self.given_up.clear();
        self.owed.take()
    }

    /// Forgets blocks for which `gone` holds.
    ///
    /// Whoever was answered from one of them must not see older values next, so what overlaps it and is older
    /// goes, too, and what overlaps that and is older still.
    pub fn drop_blocks(&mut self, gone: impl Fn(&Block) -> bool) {
        let blocks = self.snapshot.blocks();
        if !blocks.iter().any(|block| gone(block)) {
            return;
        }
        let tables = self.settings.polling.tables();
        let mut youngest_first: Vec<&Block> = blocks.iter().map(Arc::as_ref).collect();
        youngest_first.sort_by_key(|block| Reverse(block.begun));
        let mut lost: Vec<&Block> = Vec::new();
        for block in youngest_first {
            let is_older =
                |other: &&Block| block.begun < other.begun && tables.overlap(&block.range, &other.range);
            if gone(block) || lost.iter().any(is_older) {
                lost.push(block);
            }
        }
        let lost: BTreeSet<u64> = lost.into_iter().map(|block| block.generation).collect();
        self.snapshot = Arc::new(self.snapshot.without(|block| lost.contains(&block.generation)));
    }

    /// Somebody was given what was asked for at `begun` and is not kept: he must not see older values next.
    pub fn drop_older(&mut self, range: &ReadRange, begun: Instant) {
        let tables = self.settings.polling.tables();
        self.drop_blocks(|block| block.begun < begun && tables.overlap(&block.range, range));
    }

    /// Ends the guard when its time is over.
    pub fn release(&mut self, now: Instant) {
        if self.owed.as_ref().is_some_and(|owed| owed.until <= now) {
            self.owed = None;
        }
    }

    /// A frame came that answers nothing asked. If it `fits` a request that was given up, it is the best evidence of
    /// how late this unit can be, and lengthens the guard accordingly, within [`GUARD_MAX`]. One that fits none is
    /// a meter's own mistake, which waiting longer would not prevent.
    pub fn note_unexpected(&mut self, fits: impl Fn(&RequestPdu) -> bool, now: Instant) {
        self.counters.unexpected += 1;
        self.learn_lateness(fits, now);
    }

    fn learn_lateness(&mut self, fits: impl Fn(&RequestPdu) -> bool, now: Instant) {
        let lateness = |given_up: Instant| now.saturating_duration_since(given_up);
        self.given_up.retain(|(_, given_up)| lateness(*given_up) <= GUARD_MAX);
        // Also of one that was answered since: that may have been the answer to an earlier attempt.
        if let Some(index) = self.given_up.iter().rposition(|(request, _)| fits(request)) {
            let late = lateness(self.given_up[index].1);
            self.guard = self.guard.max((late * 5 / 4).min(GUARD_MAX));
            self.given_up.drain(..=index);
        }
    }

    /// When nothing more is sent to the unit because of what it owes.
    #[must_use]
    pub fn held_until(&self) -> Option<Instant> {
        self.owed.as_ref().map(|owed| owed.until)
    }

    /// The request a probe repeats: the last read the unit answered; of one never heard the first pair of its
    /// first block, which such a meter gives; else one holding register.
    #[must_use]
    pub fn probe(&self) -> RequestPdu {
        let first_pair = || {
            let whole = self.settings.polling.blocks.first()?.range;
            Some(ReadRange { quantity: whole.quantity.min(2), ..whole }.into())
        };
        self.last_read.clone().or_else(first_pair).unwrap_or_else(first_register)
    }

    /// How long a probe waits for the first byte: four times what the unit usually takes, or, of one never
    /// heard, what the slowest `neighbour` configured alike does. An answer that comes later than that is a
    /// late one, and ends the search as well.
    #[must_use]
    pub fn probe_timeout(&self, neighbour: Option<Duration>) -> Duration {
        let limit = self.settings.response_timeout;
        let usual = self.response_time.or(neighbour);
        usual.map_or(limit, |usual| (usual * 4).max(PROBE_TIMEOUT_MIN).min(limit))
    }

    /// When the next probe of an off-line unit is due: after the pause that was learned, or after the shortest
    /// one while no unit of the line is on-line (`nobody_online`).
    #[must_use]
    pub fn probe_due(&self, nobody_online: bool) -> Option<Instant> {
        let pause = if nobody_online { PROBE_PAUSE_MIN } else { self.probe_pause };
        self.probed_at.filter(|_| self.is_offline()).map(|at| at + pause)
    }

    /// A probe got no answer: the pause doubles, up to `pause_max`.
    pub fn note_probe_failure(&mut self, now: Instant, pause_max: Duration) {
        self.probed_at = Some(now);
        self.probe_pause = (self.probe_pause * 2).min(pause_max).max(PROBE_PAUSE_MIN);
    }
}

/// The smallest read there is: one holding register, address 0.
pub(crate) fn first_register() -> RequestPdu {
    ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, quantity: 1 }.into()
}

/// Unanswered requests of a unit that are remembered.
const UNANSWERED_MAX: usize = 8;

/// Shortest pause between two probes.
pub const PROBE_PAUSE_MIN: Duration = Duration::from_secs(1);

/// Shortest wait for the answer to a probe.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// How far what is learned may lengthen the guard.
pub const GUARD_MAX: Duration = Duration::from_secs(5);

/// Requests given up that are remembered, for a frame may be the late answer to one of them: a unit that is late by
/// more requests than these does not teach the guard.
const GIVEN_UP_MAX: usize = 4;
