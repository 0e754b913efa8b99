//! Whose turn it is when both what is planned and what is learned is to be read: fair by line time.
//!
//! Start-time fair, as the queue: whoever has had less line time begins, and who wanted nothing for a while has
//! saved nothing up. It knows no ranges and no budget; both parts spend from the one budget of `poll.rs`.
//! Scheme: start-time fair queueing (Goyal, Vin, Cheng 1996).

use std::time::Duration;

/// One of the two that read in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Blocks of profiles.
    Planned,
    /// Ranges learned from clients.
    Learned,
}

/// Line time each has had.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    time: Duration,
    planned: Duration,
    learned: Duration,
}

impl Turns {
    /// Both, the one whose turn it is first. With equal claims that is what clients ask for.
    pub(crate) fn order(&self) -> [Turn; 2] {
        if self.learned.max(self.time) <= self.planned.max(self.time) {
            [Turn::Learned, Turn::Planned]
        } else {
            [Turn::Planned, Turn::Learned]
        }
    }

    /// One of them reads, at this cost.
    pub(crate) fn take(&mut self, turn: Turn, cost: Duration) {
        let had = match turn {
            Turn::Planned => &mut self.planned,
            Turn::Learned => &mut self.learned,
        };
        self.time = self.time.max(*had);
        *had = self.time + cost;
    }
}
