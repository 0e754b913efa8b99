//! What waits: tasks, connections, timers.

mod audit_file;
mod background_runtime;
mod connections;
mod log_limits;
mod pipelined;
mod requests_and_replies;
mod stalled;
mod supervision;
mod tasks;
mod tcp;
mod watchdog;
