//! The task that drives a line, its supervisor and its watchdog.

mod server;
mod stalled;
mod supervision;
mod tasks;
mod upstream;
mod watchdog;
