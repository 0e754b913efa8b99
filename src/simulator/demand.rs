//! The demand of a simulated meter: the mean power of an interval that may be made of several sub-intervals.
//!
//! Owns the start of the sub-intervals and the highest demand of those that ended. It never computes the load: the
//! caller passes the energy. Source: the Series 4000-R guide, registers 149 and 150.

use std::collections::VecDeque;

use super::measure::Power;

/// The sub-intervals of the demand interval in progress.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// Seconds at which they began, the running one last.
    began: VecDeque<u64>,
    /// The highest demand of all complete intervals, each part separately.
    pub(crate) highest: Power,
}

impl Demand {
    pub(crate) fn new() -> Self {
        Self { began: VecDeque::from([0]), highest: Power::default() }
    }

    /// Starts again; the peaks stay.
    pub(crate) fn restart(&mut self, at: u64) {
        self.began = VecDeque::from([at]);
    }

    /// Start of the demand interval in progress.
    pub(crate) fn since(&self) -> u64 {
        self.began.front().copied().unwrap_or(0)
    }

    /// When the running sub-interval began.
    pub(crate) fn running_since(&self) -> u64 {
        self.began.back().copied().unwrap_or(0)
    }

    /// Ends the running sub-interval of `count` at `at`; `power` is the mean since [`since`](Self::since). Only a whole
    /// interval counts for the peak: a short one would turn a brief load into a peak.
    pub(crate) fn end_subinterval(&mut self, at: u64, count: usize, power: Power) {
        if self.began.len() >= count {
            self.highest = self.highest.max(power);
        }
        self.began.push_back(at);
        while self.began.len() > count {
            self.began.pop_front();
        }
    }
}
