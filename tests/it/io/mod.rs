//! What waits: tasks, connections, timers.

mod aside;
mod connections;
mod pulse;
mod requests_and_replies;
mod stalled;
mod tasks;
mod tcp;
