//! The published state of a port: since when it is open, what is active, why it is not.
//!
//! Published whole by the bus task at each change; readers never delay the task. What the line makes
//! of the port, and what is sent, is in [`crate::line::view`].

use std::time::Instant;

use crate::serial::ioctl::LineErrors;

/// One port at one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortView {
    /// Since when it is open; `None`: it is not.
    pub since: Option<Instant>,
    /// What was active when it was last open: framing, direction, latency.
    pub report: String,
    /// Why it is not open; `None` while it is, and before the first try.
    pub problem: Option<String>,
    /// How often it was opened.
    pub openings: u64,
    /// How often it was lost after that.
    pub losses: u64,
    /// Faulty characters the driver has counted since the start; `None`: it counts none. Asked for now and then.
    pub line_errors: Option<LineErrors>,
}

impl PortView {
    /// It has been opened, with this active.
    pub fn open(&mut self, report: &str, now: Instant) {
        self.since = Some(now);
        report.clone_into(&mut self.report);
        self.problem = None;
        self.openings += 1;
    }

    /// The driver counts faulty characters: none until it says otherwise.
    pub fn begin_line_errors(&mut self) {
        self.line_errors.get_or_insert_default();
    }

    /// It was open and is no more.
    pub fn lose(&mut self, problem: String) {
        self.losses += 1;
        self.fail(problem);
    }

    /// It could not be opened.
    pub fn fail(&mut self, problem: String) {
        self.since = None;
        self.problem = Some(problem);
    }

    /// The driver counted `before`, and counts `now`.
    pub fn count(&mut self, before: &LineErrors, now: &LineErrors) {
        self.line_errors.get_or_insert_default().add(before, now);
    }
}
