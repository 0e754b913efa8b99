//! What others may see of a bus: an immutable value, published whole after each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::modbus::pdu::{ExceptionCode, ReadRange};

use super::health::UnitState;
use super::incidents::Incidents;
use super::now::Now;
use super::ranges::Conflict;
use super::settings::{UnitId, UnitSettings};
use super::snapshot::Snapshot;
use super::statistics::{LineStatistics, UnitStatistics};

/// The port, as the line sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortState {
    /// Not open: what the snapshot does not answer is refused with 0x0A.
    #[default]
    Closed,
    /// Open.
    Open,
    /// Open, but bytes never end: nothing is sent into them.
    Occupied,
}

/// What happened on the line since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounters {
    /// Requests sent, probes and further attempts included.
    pub transactions: u64,
    /// Of these, without a good answer.
    pub failures: u64,
    /// Requests of clients that joined another's read.
    pub joined: u64,
    /// Bytes that were part of no frame.
    pub noise_bytes: u64,
    /// Frames of a unit other than the one asked.
    pub foreign_frames: u64,
    /// Whole requests that are not the gateway's: another client is on this wire.
    pub foreign_requests: u64,
    /// Echoes that differ from what was sent.
    pub collisions: u64,
    /// Times the line was declared occupied.
    pub occupied: u64,
    /// Line time used: requests, answers and waiting for them.
    pub busy: Duration,
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

/// One unit, as others may see it.
#[derive(Clone, Debug)]
pub struct UnitView {
    /// Its identifier on the line.
    pub id: UnitId,
    /// Its name in the configuration.
    pub name: Option<String>,
    /// Whether it answers, as far as it can be reached; [`View::availability`] is what is shown.
    pub state: UnitState,
    /// What happened to it.
    pub counters: UnitCounters,
    /// How fast it answered, and what failed why.
    pub statistics: UnitStatistics,
    /// What it did last that it should not have.
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
    /// The measurement blocks that are read in the background, as far as the unit gives them.
    pub measured: Arc<[ReadRange]>,
    /// Whether any were to be read, by its profile.
    pub is_measured: bool,
    /// Reads it ignores, which are refused at once.
    pub ignored_reads: usize,
}

impl UnitView {
    /// A unit never heard of.
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
            snapshot: Arc::new(Snapshot::new(settings.tables())),
            measured: Arc::default(),
            is_measured: settings.polling.blocks.iter().any(|block| block.measured),
            ignored_reads: 0,
        }
    }

    /// The age of its oldest measurement block, or of its newest block where none is read in the background.
    /// `None` while one of them has not been read, or the unit gives none of them.
    #[must_use]
    pub fn age(&self, now: impl Into<Now>) -> Option<Duration> {
        let now = now.into();
        if !self.is_measured {
            return self.snapshot.blocks().iter().map(|block| block.age(now)).min();
        }
        let age = |range| self.snapshot.block(range).map(|block| block.age(now));
        self.measured.iter().map(age).collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// How the background readings of a bus go.
#[derive(Clone, Debug, Default)]
pub struct PollingView {
    /// What the interval `auto` amounts to.
    pub interval: Duration,
    /// How much slower than planned the slowest block is read, times without the port or the unit apart; 1 is as
    /// planned or not known, 0 that nothing is planned.
    pub slowdown: f64,
    /// Line time readings took over what `check` estimates; 1 is as estimated, `None` that it is not known yet.
    pub overrun: Option<f64>,
    /// Ranges learned from clients.
    pub learned: usize,
    /// Whether the log has it that the line is too full to read as planned.
    pub is_full: bool,
    /// Whether a learned range found no room lately (`learn_limit`).
    pub is_learning_full: bool,
    /// Learned ranges that keep making each other's data unusable.
    pub conflicts: Vec<Conflict>,
}

/// One bus at one instant.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The port.
    pub port: PortState,
    /// What happened on the line.
    pub counters: LineCounters,
    /// Where line time went, how long requests waited.
    pub statistics: LineStatistics,
    /// Line time used up to a point in time, to tell the utilisation since.
    pub window: Window,
    /// How the background readings go.
    pub polling: PollingView,
    /// Requests waiting.
    pub waiting: usize,
    /// Whether the line as a whole has fallen silent: units are probed one after the other.
    pub is_silent: bool,
    /// Whether the adapter hands back what is sent; `None` while that is not known.
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

    /// Share of line time used over the last ten seconds or so, in hundredths of a percent; in the first ten, from
    /// the first second on, over as many as there are. Nothing is sent through a closed port.
    #[must_use]
    pub fn utilisation(&self, now: Instant) -> u16 {
        if self.port == PortState::Closed {
            return 0;
        }
        self.window.utilisation(self.counters.busy, now)
    }

    /// Whether the utilisation is of a whole window. That of less is for show: nothing is to be judged by it.
    #[must_use]
    pub fn has_whole_window(&self, now: Instant) -> bool {
        self.window.is_whole(now)
    }
}

/// The last stretch of time over which line time was counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    since: Option<(Instant, Duration)>,
    /// Of the stretch before; `None` during the first.
    last: Option<u16>,
}

impl Window {
    /// Begins a new stretch when the last one is long enough. `busy` is all line time used until `now`.
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
            // The first window is reported as it grows: a busy line that showed nothing for ten seconds would look idle.
            None if elapsed < WINDOW_MIN => return 0,
            Some(_) | None => {}
        }
        let used = busy.saturating_sub(before).as_micros() * 10_000 / elapsed.as_micros().max(1);
        u16::try_from(used).unwrap_or(u16::MAX).min(10_000)
    }
}

/// How long line time is counted before its share is worked out anew.
const WINDOW: Duration = Duration::from_secs(10);

/// Nothing is worked out from less: one request and its answer would look like a full line.
const WINDOW_MIN: Duration = Duration::from_secs(1);
