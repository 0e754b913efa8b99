//! Which of planned and learned ranges is read next in the background: fair by line time.
//!
//! Start-time fair, as the queue: the one that has had less line time begins, and one that wanted nothing for a while
//! has saved nothing up. It knows no ranges and no budget; both spend from the one budget of `poll.rs`.
//! Scheme: start-time fair queueing (Goyal, Vin, Cheng 1996).

use std::time::Duration;

/// One of the two that read in the background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blocks of profiles.
    Planned,
    /// Ranges learned from clients.
    Learned,
}

/// Line time each has had.
#[derive(Debug, Default)]
pub(crate) struct BackgroundShares {
    time: Duration,
    planned: Duration,
    learned: Duration,
}

impl BackgroundShares {
    /// Both, the one whose turn it is first. With equal claims that is what clients ask for.
    pub(crate) fn order(&self) -> [Kind; 2] {
        if self.learned.max(self.time) <= self.planned.max(self.time) {
            [Kind::Learned, Kind::Planned]
        } else {
            [Kind::Planned, Kind::Learned]
        }
    }

    /// One of them reads, at this cost.
    pub(crate) fn charge(&mut self, kind: Kind, cost: Duration) {
        let had = match kind {
            Kind::Planned => &mut self.planned,
            Kind::Learned => &mut self.learned,
        };
        self.time = self.time.max(*had);
        *had = self.time + cost;
    }
}
