//! What waits: tasks, connections, timers.

mod aside;
mod connections;
mod pulse;
mod stalled;
mod tasks;
mod tcp;
