//! The task that drives a line, its supervisor and its watchdog.

mod stalled;
mod supervision;
mod tasks;
mod watchdog;
