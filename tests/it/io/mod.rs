//! What waits: tasks, connections, timers.

mod aside;
mod audit_file;
mod connections;
mod log_limits;
mod pipelined;
mod pulse;
mod requests_and_replies;
mod stalled;
mod supervision;
mod tasks;
mod tcp;
