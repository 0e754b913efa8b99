//! What background reading will cost a line, before it runs: the plan, its share of line time, the longest wait.
//!
//! Works from the configuration alone, with the pause a meter usually makes; the running line works with the
//! pauses it measures. Arithmetic: two frames at the line's speed, the meter's pause, and the silence before.

use std::time::{Duration, Instant};

use crate::modbus::pdu::ReadRange;

use super::poll::{INTERVAL_MIN, Pace, Plan, PollBlock, USUAL_PAUSE, reading_cost};
use super::settings::{LineSettings, UnitId};

/// The background reading of one line, worked out.
#[derive(Clone, Debug, PartialEq)]
pub struct Budget {
    /// Every block that is read, in the order of the units.
    pub blocks: Vec<Planned>,
    /// Line time of one reading of every measurement block.
    pub cycle: Duration,
    /// Share of line time all readings together ask for; above 1 is more than there is.
    pub utilisation: f64,
    /// Share of line time they may have.
    pub share: f64,
    /// How long a client's request may have to wait for a reading that is on the wire, all units answering.
    pub wait: Duration,
    /// The same while a unit does not answer and has not been found off-line.
    pub wait_for_silence: Duration,
}

/// One block of a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Of which unit.
    pub unit: UnitId,
    /// What is read.
    pub range: ReadRange,
    /// Whether it holds measured values.
    pub measured: bool,
    /// How often.
    pub interval: Duration,
    /// Line time of one reading.
    pub cost: Duration,
}

impl Budget {
    /// The budget of a line.
    #[must_use]
    pub fn of(settings: &LineSettings, now: Instant) -> Self {
        let blocks = blocks(settings);
        let auto = Plan::new(blocks.clone(), settings.poll_share, now).auto_interval();
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
        let blocks: Vec<Planned> = blocks.iter().map(planned).collect();
        let share_of = |block: &Planned| block.cost.as_secs_f64() / block.interval.as_secs_f64();
        let longest = blocks.iter().map(|block| block.cost).max().unwrap_or_default();
        let slowest = settings.units.iter().map(|unit| unit.response_timeout).max().unwrap_or_default();
        Self {
            cycle: blocks.iter().filter(|block| block.measured).map(|block| block.cost).sum(),
            utilisation: blocks.iter().map(share_of).sum(),
            share: settings.poll_share,
            wait: longest,
            wait_for_silence: slowest + settings.framing.wire_time(REQUEST_LENGTH),
            blocks,
        }
    }

    /// The longest interval between two readings of a unit's measurement block; `None` where none is read.
    #[must_use]
    pub fn longest_interval(&self, unit: UnitId) -> Option<Duration> {
        let of_unit = self.blocks.iter().filter(|block| block.unit == unit && block.measured);
        of_unit.map(|block| block.interval).max()
    }
}

/// The blocks of a line's units with what one reading costs, as far as the configuration tells.
#[must_use]
pub fn blocks(settings: &LineSettings) -> Vec<PollBlock> {
    let mut blocks = Vec::new();
    for unit in &settings.units {
        blocks.extend(unit.polling.blocks.iter().map(|block| PollBlock {
            unit: unit.id,
            range: block.range,
            measured: block.measured,
            pace: block.pace,
            cost: reading_cost(settings.framing, &block.range, USUAL_PAUSE, unit.request_gap),
        }));
    }
    blocks
}

/// Bytes of a read request on the line.
const REQUEST_LENGTH: usize = 8;
