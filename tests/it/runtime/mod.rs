//! What the process shares: the log, and a thread for what may wait.

mod background_runtime;
mod log_limits;
