//! When a meter has no power, and when it has started again.
//!
//! Owns the times; `meter_state` decides what is lost and what is kept. Outages, like all faults, are known in advance.

use std::time::Duration;

use super::settings::{Fault, FaultKind};

/// One loss of power and the start after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    pub(crate) from: Duration,
    /// When the meter answers and measures again.
    pub(crate) until: Duration,
}

impl Outage {
    /// The outages among the faults of one meter, in order, each beginning after the end of the one before.
    pub(crate) fn of(faults: &[Fault]) -> Vec<Self> {
        let mut outages: Vec<Self> = faults
            .iter()
            .filter(|fault| fault.kind == FaultKind::PowerCycle)
            .map(|fault| Self {
                from: fault.at,
                until: fault.lasts.map_or(Duration::MAX, |lasts| fault.at.saturating_add(lasts)),
            })
            .collect();
        outages.sort_by_key(|outage| outage.from);
        let mut merged: Vec<Self> = Vec::new();
        for outage in outages {
            match merged.last_mut() {
                Some(last) if outage.from <= last.until => last.until = last.until.max(outage.until),
                Some(_) | None => merged.push(outage),
            }
        }
        merged
    }

    /// The whole seconds in which nothing is measured: the second in which the power fails still counts.
    pub(crate) fn seconds(self) -> (u64, u64) {
        (whole_seconds(self.from), whole_seconds(self.until))
    }
}

/// Whole seconds, rounded up.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}
