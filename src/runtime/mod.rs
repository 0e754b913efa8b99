//! What everything in the process shares: timers and the clock of the wall, the log, a thread for what may wait, its use of resources.
//!
//! Owns nothing of a line or a client, and decides nothing about them.

pub mod background_runtime;
pub mod log_lines;
pub mod log_rate_limiter;
pub mod log_writer;
pub mod process;
pub mod timer;
pub mod timestamp;
