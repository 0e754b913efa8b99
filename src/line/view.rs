//! The published view of a bus: an immutable value, replaced as a whole after each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::modbus::pdu::{ExceptionCode, ReadRange};

use super::health::UnitState;
use super::ignored::NeverAnswered;
use super::incidents::Incidents;
use super::now::Now;
use super::ranges::Conflict;
use super::settings::{UnitId, UnitSettings};
use super::snapshot::Snapshot;
use super::statistics::{LineStatistics, UnitStatistics};

/// The port, as the line sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortState {
    /// Not open: requests that the snapshot does not answer are refused with 0x0A.
    #[default]
    Closed,
    /// Open.
    Open,
    /// Open, but bytes keep arriving: nothing is sent.
    Occupied,
}

/// Counters of the line since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Requests sent, probes and retries included.
    pub transactions: u64,
    /// Of these, those without a good answer.
    pub failures: u64,
    /// Requests of clients that joined another's read.
    pub joined: u64,
    /// Bytes that were part of no frame.
    pub noise_bytes: u64,
    /// Frames of a unit other than the addressed one.
    pub foreign_frames: u64,
    /// Whole requests that are not the gateway's: another client is on this wire.
    pub foreign_requests: u64,
    /// Echoes that differ from what was sent.
    pub collisions: u64,
    /// Times the line was declared occupied.
    pub occupied: u64,
    /// Line time used: requests, answers and the wait for them.
    pub busy: Duration,
}

/// Counters of one unit since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounters {
    /// Requests sent to it, probes and retries included.
    pub transactions: u64,
    /// Of these, those without an answer in time.
    pub timeouts: u64,
    /// Answers with a wrong CRC.
    pub crc_errors: u64,
    /// Answers to a request that had been given up.
    pub late_answers: u64,
    /// Frames of this unit that answer no request to it, nor may answer one from before the port was opened.
    pub unexpected: u64,
    /// Modbus exceptions it answered.
    pub exceptions: u64,
}

/// The published view of one unit.
#[derive(Clone, Debug)]
pub struct UnitView {
    /// Its identifier on the line.
    pub id: UnitId,
    /// Its name in the configuration.
    pub name: Option<String>,
    /// Its health; [`View::availability`] is the state to show.
    pub state: UnitState,
    /// Its counters.
    pub counters: UnitCounters,
    /// Its response times, and the causes of failures.
    pub statistics: UnitStatistics,
    /// Its last incorrect answers.
    pub incidents: Incidents,
    /// The exception it answered last.
    pub last_exception: Option<ExceptionCode>,
    /// When it last answered.
    pub last_good: Option<Instant>,
    /// Of one that is off-line, when the first request that it did not answer was sent.
    pub lost_at: Option<Instant>,
    /// Smoothed time from the end of a request to the first byte of its answer.
    pub response_time: Option<Duration>,
    /// Its last known values.
    pub snapshot: Arc<Snapshot>,
    /// The measurement blocks that are read in the background, as far as the unit answers them.
    pub measured: Arc<[ReadRange]>,
    /// Whether such blocks are to be read.
    pub is_measured: bool,
    /// All measurement blocks of its profile, in each of their tables; none without a profile.
    pub measurements: Arc<[ReadRange]>,
    /// Number of reads it ignores, which are refused at once.
    pub ignored_reads: usize,
    /// Those of these that it is not known to have answered.
    pub never_answered: Option<NeverAnswered>,
}

impl UnitView {
    /// A unit that was never seen.
    #[must_use]
    pub fn new(settings: &UnitSettings) -> Self {
        Self {
            id: settings.id,
            name: settings.name.clone(),
            state: UnitState::NeverSeen,
            counters: UnitCounters::default(),
            statistics: UnitStatistics::default(),
            incidents: Incidents::default(),
            last_exception: None,
            last_good: None,
            lost_at: None,
            response_time: None,
            snapshot: Arc::new(settings.empty_snapshot()),
            measured: Arc::default(),
            is_measured: settings.polling.blocks.iter().any(|block| block.measured),
            measurements: Arc::clone(&settings.polling.measurements),
            ignored_reads: 0,
            never_answered: None,
        }
    }

    /// The age of its oldest measurement block; without a profile, which says what a measurement is, of its newest block.
    /// `None` while one of the blocks that are read in the background has not been read, or if the unit answers none of
    /// them; where none is read, while clients have read none.
    #[must_use]
    pub fn age(&self, now: impl Into<Now>) -> Option<Duration> {
        let now = now.into();
        if self.is_measured {
            let age = |range| self.snapshot.block(range).map(|block| block.age(now));
            return self.measured.iter().map(age).collect::<Option<Vec<_>>>()?.into_iter().max();
        }
        let blocks = self.snapshot.blocks().iter();
        if self.measurements.is_empty() {
            return blocks.map(|block| block.age(now)).min();
        }
        let is_measurement = |range: &ReadRange| self.measurements.iter().any(|one| one.overlaps(range));
        blocks.filter(|block| is_measurement(&block.range)).map(|block| block.age(now)).max()
    }
}

/// The state of background reading of a bus.
#[derive(Clone, Debug, Default)]
pub struct PollingView {
    /// The current interval of `auto`.
    pub interval: Duration,
    /// How much slower than planned the slowest block is read, times without the port or the unit excluded; 1 is as
    /// planned or not known, 0: nothing is planned.
    pub slowdown: f64,
    /// Line time of readings over the estimate of `check`; 1 is as estimated, `None`: not known yet.
    pub overrun: Option<f64>,
    /// Ranges learned from clients.
    pub learned: usize,
    /// Whether the last event reported that the line is too full to read as planned.
    pub is_full: bool,
    /// Whether a learned range found no free slot recently (`learn_limit`).
    pub is_learning_full: bool,
    /// Learned ranges that keep invalidating each other's blocks.
    pub conflicts: Vec<Conflict>,
}

/// One bus at one instant.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The port.
    pub port: PortState,
    /// Counters of the line.
    pub counters: LineCounters,
    /// Use of line time, waiting times.
    pub statistics: LineStatistics,
    /// Line time used up to an instant, to compute the utilisation since.
    pub window: Window,
    /// The state of background reading.
    pub polling: PollingView,
    /// Requests waiting.
    pub waiting: usize,
    /// Whether the line as a whole is silent: units are probed one after the other.
    pub is_silent: bool,
    /// Whether the adapter echoes; `None` while that is not known.
    pub echo: Option<bool>,
    /// The units in order of identifier.
    pub units: Vec<Arc<UnitView>>,
}

impl View {
    /// One unit.
    #[must_use]
    pub fn unit(&self, id: UnitId) -> Option<&UnitView> {
        let index = self.units.binary_search_by_key(&id, |unit| unit.id).ok()?;
        self.units.get(index).map(Arc::as_ref)
    }

    /// Share of line time used over the last ten seconds or so, in hundredths of a percent. During the first ten
    /// seconds, from the first second on, over the time so far. Nothing is sent through a closed port.
    #[must_use]
    pub fn utilisation(&self, now: Instant) -> u16 {
        if self.port == PortState::Closed {
            return 0;
        }
        self.window.utilisation(self.counters.busy, now)
    }

    /// Whether the utilisation covers a whole window. A shorter one is for display only and no ground for decisions.
    #[must_use]
    pub fn has_whole_window(&self, now: Instant) -> bool {
        self.window.is_whole(now)
    }
}

/// The last window over which line time was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    since: Option<(Instant, Duration)>,
    /// Utilisation of the window before; `None` during the first.
    last: Option<u16>,
}

impl Window {
    /// Begins a new window when the last one is long enough. `busy` is all line time used until `now`.
    pub fn note(&mut self, busy: Duration, now: Instant) {
        let Some((since, _)) = self.since else {
            self.since = Some((now, busy));
            return;
        };
        if now.saturating_duration_since(since) >= WINDOW {
            self.last = Some(self.utilisation(busy, now));
            self.since = Some((now, busy));
        }
    }

    fn is_whole(&self, now: Instant) -> bool {
        let long_enough = |(since, _): (Instant, Duration)| now.saturating_duration_since(since) >= WINDOW;
        self.last.is_some() || self.since.is_some_and(long_enough)
    }

    fn utilisation(&self, busy: Duration, now: Instant) -> u16 {
        let Some((since, before)) = self.since else { return 0 };
        let elapsed = now.saturating_duration_since(since);
        match self.last {
            Some(last) if elapsed < WINDOW => return last,
            // The first window is reported as it grows: a busy line that showed nothing for ten seconds would look
            // idle.
            None if elapsed < WINDOW_MIN => return 0,
            Some(_) | None => {}
        }
        let used = busy.saturating_sub(before).as_micros() * 10_000 / elapsed.as_micros().max(1);
        u16::try_from(used).unwrap_or(u16::MAX).min(10_000)
    }
}

/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// Shortest window with a result: one request and its answer would look like a full line.
const WINDOW_MIN: Duration = Duration::from_secs(1);
