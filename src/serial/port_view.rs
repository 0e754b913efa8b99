//! The published state of a port: since when it is open, its settings, why it is closed.
//!
//! Published as a whole by the bus task at each change; readers never delay the task. The line's own state of the port,
//! and its traffic, are in [`crate::line::view`].

use std::time::Instant;

use crate::serial::ioctl::LineErrors;

/// One port at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortView {
    /// Since when it is open; `None`: it is closed.
    pub since: Option<Instant>,
    /// The active settings when it was last open: framing, direction, latency.
    pub report: String,
    /// Why it is closed; `None` while it is open, and before the first attempt.
    pub problem: Option<String>,
    /// How often it was opened.
    pub openings: u64,
    /// How often it was lost after that.
    pub losses: u64,
    /// Character errors the driver has counted since the start; `None`: it has no counters. Read periodically.
    pub line_errors: Option<LineErrors>,
}

impl PortView {
    /// It was opened, with these settings active.
    pub fn open(&mut self, report: &str, now: Instant) {
        self.since = Some(now);
        report.clone_into(&mut self.report);
        self.problem = None;
        self.openings += 1;
    }

    /// The driver has error counters: zero until it reports more.
    pub fn begin_line_errors(&mut self) {
        self.line_errors.get_or_insert_default();
    }

    /// It was open and was lost.
    pub fn lose(&mut self, problem: String) {
        self.losses += 1;
        self.fail(problem);
    }

    /// It could not be opened.
    pub fn fail(&mut self, problem: String) {
        self.since = None;
        self.problem = Some(problem);
    }

    /// The driver's counters changed from `before` to `now`.
    pub fn count(&mut self, before: &LineErrors, now: &LineErrors) {
        self.line_errors.get_or_insert_default().add(before, now);
    }
}
