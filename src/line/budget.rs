//! What background reading will cost a line, computed before it runs: the plan, its share of line time, the longest
//! wait.
//!
//! Uses the configuration alone, with the usual response time of a meter; the running line uses the response times it
//! measures. Cost of a read: two frames at the line's speed, the response time, and the silence before.

use std::time::{Duration, Instant};

use crate::modbus::pdu::{FunctionCode, ReadRange};

use super::poll::{INTERVAL_MIN, Pace, PollBlock, PollPlan, reading_cost};
use super::settings::{LineSettings, UnitId};

/// The background reading of one line, computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Every block that is read, in the order of the units.
    pub blocks: Vec<Planned>,
    /// Line time of one reading of every measurement block.
    pub cycle: Duration,
    /// Share of line time all readings together need; above 1 the line cannot carry them.
    pub utilisation: f64,
    /// Share of line time they are allowed.
    pub share: f64,
    /// How long a client's request may wait for a background reading on the wire, if all units answer.
    pub wait: Duration,
    /// The same for a learned range of the largest size; `None` where nothing is learned.
    pub wait_for_learned: Option<Duration>,
    /// The same while a unit does not answer and is not yet marked off-line.
    pub wait_for_silence: Duration,
}

/// One block of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The unit.
    pub unit: UnitId,
    /// The range.
    pub range: ReadRange,
    /// Whether it holds measured values.
    pub measured: bool,
    /// Its interval.
    pub interval: Duration,
    /// Line time of one reading.
    pub cost: Duration,
}

impl Budget {
    /// The budget of a line.
    #[must_use]
    pub fn of(settings: &LineSettings, now: Instant) -> Self {
        Self::with(settings, &Adjustment::default(), now)
    }

    /// The budget of a line after `remedy` has been applied to its file.
    #[must_use]
    pub fn with(settings: &LineSettings, remedy: &Adjustment, now: Instant) -> Self {
        let share = remedy.poll_share.unwrap_or(settings.poll_share);
        let blocks = planned(&remedy.applied_to(&blocks(settings)), share, now);
        let longest = blocks.iter().map(|block| block.cost).max().unwrap_or_default();
        let silence = |gap| settings.protocol.silence().max(gap);
        let slowest =
            settings.units.iter().map(|unit| unit.response_timeout + silence(unit.request_gap)).max();
        Self {
            cycle: blocks.iter().filter(|block| block.measured).map(|block| block.cost).sum(),
            utilisation: utilisation(&blocks),
            share,
            wait: longest,
            wait_for_learned: (settings.learn_limit > 0 && share > 0.0).then(|| longest_learned(settings)),
            wait_for_silence: slowest.unwrap_or_default() + settings.protocol.wire_time(REQUEST_LENGTH),
            blocks,
        }
    }

    /// Whether the readings need more line time than there is.
    #[must_use]
    pub fn is_impossible(&self) -> bool {
        self.utilisation > 1.0 + ROUNDING
    }

    /// How many times slower than planned the blocks are read to keep within their share; 1 is as planned.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        let slowdown = self.utilisation / self.share;
        if self.share > 0.0 && slowdown > 1.0 + ROUNDING { slowdown } else { 1.0 }
    }

    /// Whether the readings need so much line time that clients notice it.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.utilisation > COMFORTABLE + ROUNDING
    }
}

/// The smallest change that makes the readings fit: what to write in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Adjustment {
    /// The bus's `poll_share`.
    pub poll_share: Option<f64>,
    /// `poll` of the units that have a shorter one, `auto` apart.
    pub poll: Option<Duration>,
    /// `poll_slow` of the units that have a shorter one.
    pub poll_slow: Option<Duration>,
}

impl Adjustment {
    /// The smallest change that brings the readings of a line within `poll_share` and to a share that is not [crowded].
    /// `None`: no change of one of these keys does.
    ///
    /// [crowded]: Budget::is_crowded
    #[must_use]
    pub fn of(settings: &LineSettings, now: Instant) -> Option<Self> {
        let blocks = blocks(settings);
        let fits = |remedy: &Self| {
            let share = remedy.poll_share.unwrap_or(settings.poll_share);
            let asked = utilisation(&planned(&remedy.applied_to(&blocks), share, now));
            asked <= share.min(COMFORTABLE) + ROUNDING
        };
        let shares = [None, (settings.poll_share > COMFORTABLE).then_some(COMFORTABLE)];
        shares.into_iter().find_map(|poll_share| {
            let alone = Self { poll_share, ..Self::default() };
            let slower = |poll| Self { poll: Some(poll), ..alone };
            let much_slower = |poll_slow| Self { poll_slow: Some(poll_slow), ..alone };
            let found = || shortest(slower, fits).or_else(|| shortest(much_slower, fits));
            if fits(&alone) { Some(alone) } else { found() }
        })
    }

    fn applied_to(&self, blocks: &[PollBlock]) -> Vec<PollBlock> {
        let slower = |block: &PollBlock| {
            let slower = if block.measured { self.poll } else { self.poll_slow };
            let pace = match block.pace {
                Pace::Auto => Pace::Auto,
                Pace::Every(interval) => Pace::Every(slower.map_or(interval, |slower| slower.max(interval))),
            };
            PollBlock { pace, ..*block }
        };
        blocks.iter().map(slower).collect()
    }
}

/// The remedy with the shortest interval in whole seconds that fits; a longer one fits no worse.
fn shortest(
    remedy: impl Fn(Duration) -> Adjustment,
    fits: impl Fn(&Adjustment) -> bool,
) -> Option<Adjustment> {
    let with = |seconds| remedy(Duration::from_secs(seconds));
    let (mut too_short, mut long_enough) = (0, LONGEST_INTERVAL.as_secs());
    if !fits(&with(long_enough)) {
        return None;
    }
    while long_enough - too_short > 1 {
        let between = too_short.midpoint(long_enough);
        if fits(&with(between)) {
            long_enough = between;
        } else {
            too_short = between;
        }
    }
    Some(with(long_enough))
}

/// The blocks with their intervals, `auto` computed.
fn planned(blocks: &[PollBlock], share: f64, now: Instant) -> Vec<Planned> {
    let auto = PollPlan::new(blocks.to_vec(), share, now).auto_interval();
    let planned = |block: &PollBlock| Planned {
        unit: block.unit,
        range: block.range,
        measured: block.measured,
        interval: match block.pace {
            Pace::Auto => auto,
            Pace::Every(interval) => interval.max(INTERVAL_MIN),
        },
        cost: block.cost,
    };
    blocks.iter().map(planned).collect()
}

/// Line time of the longest possible read, from the configuration alone.
fn longest_learned(settings: &LineSettings) -> Duration {
    let range =
        ReadRange { function: FunctionCode::READ_HOLDING_REGISTERS, start: 0, quantity: REGISTERS_MAX };
    let gap = settings.units.iter().map(|unit| unit.request_gap).max().unwrap_or(settings.request_gap);
    reading_cost(settings.protocol, &range, settings.protocol.usual_response_time(), gap)
}

/// Share of line time that readings need.
fn utilisation(blocks: &[Planned]) -> f64 {
    blocks.iter().map(|block| block.cost.as_secs_f64() / block.interval.as_secs_f64()).sum()
}

/// The blocks of a line's units with the cost of one reading, from the configuration alone.
#[must_use]
pub(super) fn blocks(settings: &LineSettings) -> Vec<PollBlock> {
    let mut blocks = Vec::new();
    let (protocol, pause) = (settings.protocol, settings.protocol.usual_response_time());
    for unit in &settings.units {
        blocks.extend(unit.polling.blocks.iter().map(|block| PollBlock {
            unit: unit.id,
            range: block.range,
            measured: block.measured,
            pace: block.pace,
            cost: reading_cost(protocol, &block.range, pause, unit.request_gap),
        }));
    }
    blocks
}

/// Share of line time up to which clients hardly notice background reading.
pub const COMFORTABLE: f64 = 0.8;

/// Tolerance for rounding in sums of shares.
const ROUNDING: f64 = 1e-6;

/// The longest interval the file may state.
const LONGEST_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Largest number of registers of one read; no read of bits has a longer answer.
const REGISTERS_MAX: u16 = 125;

/// Bytes of a read request on the line.
const REQUEST_LENGTH: usize = 8;
