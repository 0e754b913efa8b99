//! One unit of the line: its state, its counters and its snapshot.
//!
//! Owns the state of the unit. Its owed answers, its health, the reads it ignores and its probing while off-line are
//! parts with rules of their own. How long a probe waits is decided here ([`Unit::probe_timeout`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::endpoint::ClientAddress;
use crate::modbus::pdu::{ExceptionCode, ReadRange, RequestPdu};
use crate::modbus::reply;

use super::health::{Health, Transition, UnitState};
use super::ignored::{IgnoredReads, ReadStatus};
use super::incidents::Incidents;
use super::now::Now;
pub(super) use super::owed::LATENESS_MAX;
use super::owed::{EndedGuard, LateAnswer, Owed, OwedAnswers};
use super::probing::{ProbeEnd, ProbePace, Search, first_input_register, first_register};
use super::settings::{LineSettings, UnitId, UnitSettings};
use super::snapshot::{Block, Snapshot};
use super::statistics::UnitStatistics;
use super::view::{UnitCounters, UnitView};

/// One unit.
#[derive(Debug)]
pub(super) struct Unit {
    settings: UnitSettings,
    counters: UnitCounters,
    statistics: UnitStatistics,
    incidents: Incidents,
    last_exception: Option<ExceptionCode>,
    last_good: Option<Instant>,
    response_time: Option<Duration>,
    /// The response time its background readings are planned with.
    planned_pause: Option<Duration>,
    /// When a request last got no answer that may still come.
    last_unanswered: Option<Instant>,
    epoch: u64,
    snapshot: Arc<Snapshot>,
    measured: Arc<[ReadRange]>,
    health: Health,
    owed: OwedAnswers,
    ignored: IgnoredReads,
    search: Option<Search>,
    /// Data served to clients while an answer was owed, and when it was read.
    served: VecDeque<(ReadRange, Instant)>,
    view: Arc<UnitView>,
}

impl Unit {
    /// A unit that was never seen, on a line with these settings.
    pub(super) fn new(settings: UnitSettings, line: &LineSettings) -> Self {
        let view = Arc::new(UnitView::new(&settings));
        Self {
            owed: OwedAnswers::new(guard_of(line, &settings)),
            settings,
            counters: UnitCounters::default(),
            statistics: UnitStatistics::default(),
            incidents: Incidents::default(),
            last_exception: None,
            last_good: None,
            response_time: None,
            planned_pause: None,
            last_unanswered: None,
            epoch: 0,
            snapshot: Arc::clone(&view.snapshot),
            measured: Arc::clone(&view.measured),
            health: Health::default(),
            ignored: IgnoredReads::default(),
            search: None,
            served: VecDeque::new(),
            view,
        }
    }

    /// Applies new settings. Owed answers and everything learned stay; blocks are dropped if the new settings change
    /// the meaning of registers.
    pub(super) fn configure(&mut self, settings: UnitSettings, line: &LineSettings) {
        self.owed.set_guard(guard_of(line, &settings));
        if !settings.polling.reads_like(&self.settings.polling) || settings.replies != self.settings.replies {
            self.snapshot = Arc::new(settings.empty_snapshot());
            self.ignored.clear();
        }
        self.settings = settings;
        self.refresh_view();
    }

    /// An earlier unit of the same identifier keeps what it owes.
    pub(super) fn inherit(&mut self, retired: Self, line: &LineSettings) {
        self.owed = retired.owed;
        self.owed.set_guard(guard_of(line, &self.settings));
        self.last_unanswered = retired.last_unanswered;
    }

    /// The port was reopened with other settings: owed answers stay, the rest starts again.
    pub(super) fn reset(&mut self) {
        self.health.reset();
        self.owed.forget_surplus();
        self.ignored.clear();
        self.search = None;
        self.response_time = None;
        self.snapshot = Arc::new(self.settings.empty_snapshot());
    }

    pub(super) fn settings(&self) -> &UnitSettings {
        &self.settings
    }

    pub(super) fn id(&self) -> UnitId {
        self.settings.id
    }

    pub(super) fn counters_mut(&mut self) -> &mut UnitCounters {
        &mut self.counters
    }

    pub(super) fn incidents_mut(&mut self) -> &mut Incidents {
        &mut self.incidents
    }

    pub(super) fn statistics_mut(&mut self) -> &mut UnitStatistics {
        &mut self.statistics
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Smoothed time from the end of a request to the first byte of its answer.
    pub(super) fn response_time(&self) -> Option<Duration> {
        self.response_time
    }

    pub(super) fn planned_pause(&self) -> Option<Duration> {
        self.planned_pause
    }

    pub(super) fn plan_with_present_pause(&mut self) {
        self.planned_pause = self.response_time;
    }

    /// The published view of the unit; the same value as long as nothing changes.
    pub(super) fn view(&mut self) -> Arc<UnitView> {
        let seen = &self.view;
        let same = seen.state == self.state()
            && seen.counters == self.counters
            && seen.statistics == self.statistics
            && seen.incidents == self.incidents
            && seen.last_exception == self.last_exception
            && seen.last_good == self.last_good
            && seen.response_time == self.response_time
            && seen.ignored_reads == self.ignored.marks()
            && seen.never_answered == self.ignored.never_answered()
            && Arc::ptr_eq(&seen.snapshot, &self.snapshot)
            && Arc::ptr_eq(&seen.measured, &self.measured);
        if !same {
            self.refresh_view();
        }
        Arc::clone(&self.view)
    }

    fn refresh_view(&mut self) {
        self.view = Arc::new(UnitView {
            id: self.settings.id,
            name: self.settings.name.clone(),
            state: self.state(),
            counters: self.counters,
            statistics: self.statistics,
            incidents: self.incidents.clone(),
            last_exception: self.last_exception,
            last_good: self.last_good,
            lost_at: self.health.lost_at(),
            response_time: self.response_time,
            snapshot: Arc::clone(&self.snapshot),
            measured: Arc::clone(&self.measured),
            is_measured: self.settings.polling.blocks.iter().any(|block| block.measured),
            measurements: Arc::clone(&self.settings.polling.measurements),
            ignored_reads: self.ignored.marks(),
            never_answered: self.ignored.never_answered(),
        });
    }

    // Health.

    pub(super) fn state(&self) -> UnitState {
        self.health.state()
    }

    pub(super) fn is_offline(&self) -> bool {
        self.state() == UnitState::Offline
    }

    pub(super) fn is_online(&self) -> bool {
        self.state() == UnitState::Online
    }

    /// Whether client requests are sent to it: it is neither off-line nor being confirmed.
    pub(super) fn is_open(&self) -> bool {
        match self.state() {
            UnitState::NeverSeen | UnitState::Online => true,
            UnitState::Confirming | UnitState::Offline => false,
        }
    }

    /// When it last answered.
    pub(super) fn last_good_at(&self) -> Option<Instant> {
        self.last_good
    }

    /// The read by function 01 to 04 that it answered last.
    pub(super) fn last_read(&self) -> Option<&RequestPdu> {
        self.health.last_read()
    }

    /// The unit answered, with data or an exception. `response_time` counts from the end of the request.
    pub(super) fn note_answer(
        &mut self,
        request: &RequestPdu,
        exception: Option<ExceptionCode>,
        response_time: Option<Duration>,
        now: Instant,
    ) -> Option<Transition> {
        if let Some(code) = exception {
            self.note_exception(code);
        }
        if let Some(sample) = response_time {
            self.response_time = Some(match self.response_time {
                None => sample,
                Some(mean) => (mean * 7 + sample) / 8,
            });
        }
        self.last_good = Some(now);
        self.health.note_read(request);
        self.ignored.note_answered(request);
        self.note_alive(now)
    }

    /// An answer came after its request had been given up, `took` after the end of that. How many came so far.
    pub(super) fn note_late(&mut self, took: Duration) -> u64 {
        self.incidents.late.note(took);
        self.counters.late_answers += 1;
        self.counters.late_answers
    }

    /// A request to the unit was answered with this exception.
    pub(super) fn note_exception(&mut self, code: ExceptionCode) {
        self.counters.exceptions += 1;
        self.statistics.note_exception(code);
        self.last_exception = Some(code);
    }

    /// The unit sent an intact frame that proves it is alive.
    pub(super) fn note_alive(&mut self, now: Instant) -> Option<Transition> {
        self.search = None;
        self.health.note_alive(now)
    }

    /// An attempt begun at `sent_at` got no intact frame.
    pub(super) fn note_failure(
        &mut self,
        sent_at: Instant,
        now: Instant,
        line: &LineSettings,
    ) -> Option<Transition> {
        let transition = self.health.note_failure(sent_at, now, line.offline_after, line.retries);
        self.note_lost(transition, now)
    }

    /// The unit may have stopped answering.
    pub(super) fn suspect(&mut self, now: Instant, retries: u32) -> Option<Transition> {
        let transition = self.health.suspect(now, retries);
        self.note_lost(transition, now)
    }

    /// An attempt of the confirmation got no intact frame.
    pub(super) fn note_unconfirmed(&mut self, now: Instant) -> Option<Transition> {
        let transition = self.health.note_unconfirmed(now);
        self.note_lost(transition, now)
    }

    fn note_lost(&mut self, transition: Option<Transition>, now: Instant) -> Option<Transition> {
        if matches!(transition, Some(Transition::Lost { .. })) {
            self.ignored.forget_ignored();
            self.search = Some(Search::new(now));
        }
        transition
    }

    /// Whether it left no request unanswered recently: then a frame that does not fit is no late answer.
    pub(super) fn is_prompt(&self, now: Instant) -> bool {
        self.last_unanswered.is_none_or(|at| now.saturating_duration_since(at) >= LATENESS_MAX)
    }

    // Probing while it is off-line.

    /// When the gateway's next probe is due.
    pub(super) fn probe_due(&self, pace: ProbePace) -> Option<Instant> {
        self.search.as_ref().map(|search| search.own_due(pace))
    }

    /// The gateway's next probe.
    pub(super) fn next_probe(&mut self, now: Instant) -> RequestPdu {
        let usual = self.usual_reads();
        let search = self.search.get_or_insert_with(|| Search::new(now));
        search.own_probe(self.health.last_read(), &usual)
    }

    /// The gateway's next probe of a silent line: when the silence ends, the unit's own next probe is not due at once.
    pub(super) fn next_line_probe(&mut self, now: Instant) -> RequestPdu {
        let probe = self.next_probe(now);
        if let Some(search) = &mut self.search {
            search.postpone_own(now);
        }
        probe
    }

    /// Whether this client's request is sent although the line is silent: one that the gateway itself may not send, and
    /// which may be all that the unit answers. Others become candidates for the gateway's probes.
    pub(super) fn admits_line_probe(
        &mut self,
        address: &ClientAddress,
        request: &RequestPdu,
        now: Instant,
    ) -> bool {
        let search = self.search.get_or_insert_with(|| Search::new(now));
        if request.range().is_some() {
            search.note_refused(address, request, now);
            return false;
        }
        search.admits_client(address, request, ProbePace::Shortest, now)
    }

    /// Reads that most meters answer: the first pair of the profile, and the first register of both tables.
    fn usual_reads(&self) -> Vec<RequestPdu> {
        let polling = &self.settings.polling;
        let ranges = polling.blocks.iter().map(|block| block.range);
        let first = ranges.chain(polling.demanded.iter().map(|block| block.range)).next();
        let pair = first.map(|range| ReadRange { quantity: range.quantity.min(2), ..range }.into());
        pair.into_iter().chain([first_register(), first_input_register()]).collect()
    }

    /// How long a probe waits for the first byte: four times the unit's usual response time, or, if that is unknown,
    /// that of the slowest `neighbour` with the same `response_timeout`; at least [`PROBE_TIMEOUT_MIN`], at most
    /// `response_timeout`. A later answer counts as a late one and ends the off-line state as well.
    pub(super) fn probe_timeout(&self, neighbour: Option<Duration>) -> Duration {
        let limit = self.settings.response_timeout;
        let usual = self.response_time.or(neighbour);
        usual.map_or(limit, |usual| (usual * 4).max(PROBE_TIMEOUT_MIN).min(limit))
    }

    pub(super) fn note_probe_failure(&mut self, now: Instant, pause_max: Duration) {
        if let Some(search) = &mut self.search {
            search.note_own_failure(now, pause_max);
        }
    }

    /// Whether this client's request is sent to the off-line unit as a probe.
    pub(super) fn admits_client_probe(
        &mut self,
        address: &ClientAddress,
        request: &RequestPdu,
        pace: ProbePace,
        now: Instant,
    ) -> bool {
        let search = self.search.as_mut();
        search.is_some_and(|search| search.admits_client(address, request, pace, now))
    }

    pub(super) fn note_client_probe_end(&mut self, end: ProbeEnd, now: Instant, pause_max: Duration) {
        if let Some(search) = &mut self.search {
            search.note_client_failure(end, now, pause_max);
        }
    }

    // Reads it ignores.

    pub(super) fn read_status(&mut self, request: &RequestPdu, now: Instant) -> ReadStatus {
        self.ignored.read_status(request, now)
    }

    /// Whether this read is refused because it is marked.
    pub(super) fn is_marked(&self, request: &RequestPdu) -> bool {
        self.ignored.is_marked(request)
    }

    pub(super) fn undo_trial(&mut self, request: &RequestPdu) {
        self.ignored.undo_trial(request);
    }

    /// A client's read, its retries included, got no intact frame. True: reason enough to suspect the unit.
    pub(super) fn note_ignored(&mut self, request: &RequestPdu, now: Instant) -> bool {
        if request.is_read() && !self.ignored.has_answered(request) {
            self.statistics.never_answered += 1;
        }
        self.ignored.note_unanswered(request, self.health.last_alive(), now)
    }

    // Owed answers.

    /// Starts the guard after an attempt that ended without an answer.
    pub(super) fn owe(&mut self, owed: Owed) {
        self.last_unanswered = self.last_unanswered.max(Some(owed.given_up));
        self.owed.owe(owed);
    }

    pub(super) fn owe_unknown(&mut self, until: Instant) {
        self.owed.owe_unknown(until);
    }

    /// Until when it gets no background reading: an answer still owed could be confused with most readings.
    pub(super) fn unpolled_until(&self, now: Instant) -> Option<Instant> {
        self.guarded_until(now).max(self.owed.late_until(now))
    }

    /// Until when nothing is sent to it: it owes an answer, or rests.
    pub(super) fn guarded_until(&self, now: Instant) -> Option<Instant> {
        self.owed.guarded_until(now).max(self.owed.resting_until(now))
    }

    /// It answered with another length than was asked.
    pub(super) fn note_misfit(&mut self, now: Instant) {
        self.owed.note_misfit(now);
    }

    /// `request`, sent at `sent_at`, was answered in time.
    pub(super) fn note_answered_in_time(&mut self, request: &RequestPdu, sent_at: Now, now: Instant) {
        self.owed.note_answered(request, sent_at, self.response_time, now);
    }

    /// The unit sent a frame that answers nothing it was sent. If it is one answer too many, those before it may have
    /// been other requests'.
    pub(super) fn note_unrequested(&mut self, pdu: &[u8], now: Instant) {
        let fits = |read: &RequestPdu| reply::answers(read, pdu);
        if self.health.last_read().is_some_and(fits) && self.owed.note_surplus(now) {
            self.doubt_blocks();
        }
    }

    /// Answers taken since the last rest may have been other requests': what they say is not kept.
    pub(super) fn doubt_blocks(&mut self) {
        self.note_write();
    }

    pub(super) fn owed(&self) -> &OwedAnswers {
        &self.owed
    }

    pub(super) fn release(&mut self, now: Instant) -> Vec<EndedGuard> {
        self.owed.release(now)
    }

    pub(super) fn forget_item(&mut self, key: u64) {
        self.owed.forget_item(key);
    }

    /// An owed answer that `fits` has come.
    pub(super) fn settle_late(
        &mut self,
        fits: impl Fn(&RequestPdu) -> bool,
        now: Instant,
    ) -> Option<LateAnswer> {
        self.owed.settle(fits, now)
    }

    // The snapshot.

    pub(super) fn set_measured(&mut self, measured: Arc<[ReadRange]>) {
        self.measured = measured;
    }

    /// A write may have taken effect: values read before are no longer true.
    pub(super) fn note_write(&mut self) {
        self.epoch += 1;
        if !self.snapshot.blocks().is_empty() {
            self.snapshot = Arc::new(self.snapshot.without(|_| true));
        }
    }

    /// What scales other values may be that of another meter.
    pub(super) fn forget_scales(&mut self) {
        self.snapshot = Arc::new(self.snapshot.without_scales());
    }

    /// Keeps data read under `epoch`, unless a write came since.
    pub(super) fn keep(&mut self, block: Block, epoch: u64) {
        if epoch == self.epoch {
            self.snapshot = Arc::new(self.snapshot.with(block));
        }
    }

    /// Drops the blocks for which `gone` holds.
    pub(super) fn drop_blocks(&mut self, gone: impl Fn(&Block) -> bool) {
        if self.snapshot.blocks().iter().any(|block| gone(block)) {
            self.snapshot = Arc::new(self.snapshot.without(gone));
        }
    }

    /// Clients are served data that may be as young as `latest`. Only a late answer, or one that may be late, can be
    /// older than data served before: remembered while an answer is owed.
    pub(super) fn note_served(&mut self, range: &ReadRange, latest: Instant) {
        if self.owed.is_empty() {
            self.served.clear();
            return;
        }
        self.served.push_back((*range, latest));
        if self.served.len() > SERVED_MAX {
            self.served.pop_front();
        }
    }

    /// Whether younger data than that of `begun` was served to clients, or can be, of one of these registers.
    pub(super) fn has_served_younger(&self, wanted: &ReadRange, begun: Instant) -> bool {
        let tables = self.settings.tables();
        let served = self.served.iter().any(|(range, at)| *at > begun && tables.overlap(range, wanted));
        served || self.snapshot.younger(wanted, begun).next().is_some()
    }
}

/// How long after its timeout an answer of the unit counts as a late one: a unit with a longer timeout than the bus's
/// may be later, too.
fn guard_of(line: &LineSettings, unit: &UnitSettings) -> Duration {
    line.late_guard + unit.response_timeout.saturating_sub(line.response_timeout)
}

/// The units of a line.
#[derive(Debug)]
pub(super) struct Units(BTreeMap<UnitId, Unit>);

impl Units {
    pub(super) fn new(line: &LineSettings) -> Self {
        Self(line.units.iter().map(|unit| (unit.id, Unit::new(unit.clone(), line))).collect())
    }

    pub(super) fn get(&self, id: UnitId) -> Option<&Unit> {
        self.0.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.0.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: UnitId) -> Option<Unit> {
        self.0.remove(&id)
    }

    pub(super) fn insert(&mut self, unit: Unit) {
        self.0.insert(unit.id(), unit);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unit> {
        self.0.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.0.values_mut()
    }

    pub(super) fn ids(&self) -> Vec<UnitId> {
        self.0.keys().copied().collect()
    }

    /// The pace at which off-line units are probed.
    pub(super) fn probe_pace(&self) -> ProbePace {
        if self.iter().any(Unit::is_online) { ProbePace::BackOff } else { ProbePace::Shortest }
    }

    /// Whether any unit owes an answer within its guard.
    pub(super) fn is_any_guarding(&self, now: Instant) -> bool {
        self.iter().any(|unit| unit.owed().is_guarding(now))
    }

    /// The usual response time of the slowest unit with the same `response_timeout`.
    pub(super) fn slowest_like(&self, id: UnitId) -> Option<Duration> {
        let timeout = self.get(id)?.settings.response_timeout;
        let alike = self.iter().filter(|unit| unit.settings.response_timeout == timeout);
        alike.filter_map(Unit::response_time).max()
    }
}

/// Shortest wait for the answer to a probe.
const PROBE_TIMEOUT_MIN: Duration = Duration::from_millis(100);

/// Answers served while one was owed that are remembered.
const SERVED_MAX: usize = 64;
