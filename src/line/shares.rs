//! Which kind of background reading is next, planned or learned: fair by line time.
//!
//! The kind that has used less line time is next; a kind that needed nothing for a while saves nothing up. It has no
//! ranges and no share of its own; both kinds spend the share of `poll.rs`. Scheme: start-time fair queueing (Goyal,
//! Vin, Cheng 1996), as in the queue.

use std::time::Duration;

/// The two kinds of background reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadingKind {
    /// Blocks of profiles.
    Planned,
    /// Ranges learned from clients.
    Learned,
}

/// Line time used by each kind.
#[derive(Debug, Default)]
pub(crate) struct BackgroundShares {
    time: Duration,
    planned: Duration,
    learned: Duration,
}

impl BackgroundShares {
    /// Both kinds, the next one first. With equal claims that is the learned ranges.
    pub(crate) fn order(&self) -> [ReadingKind; 2] {
        if self.learned.max(self.time) <= self.planned.max(self.time) {
            [ReadingKind::Learned, ReadingKind::Planned]
        } else {
            [ReadingKind::Planned, ReadingKind::Learned]
        }
    }

    /// Charges one kind with the cost of a reading.
    pub(crate) fn charge(&mut self, kind: ReadingKind, cost: Duration) {
        let had = match kind {
            ReadingKind::Planned => &mut self.planned,
            ReadingKind::Learned => &mut self.learned,
        };
        self.time = self.time.max(*had);
        *had = self.time + cost;
    }
}
