//! What the modules of the process share: timers and timestamps, the log, a thread for background work, resource
//! figures.
//!
//! Owns nothing of a line or a client, and decides nothing about them.

mod background_runtime;
mod host;
mod log_lines;
mod log_rate_limiter;
mod log_writer;
mod process;
mod timer;
pub mod timestamp;

pub use background_runtime::{BackgroundRuntime, YIELDING};
pub use host::host_name;
pub use log_lines::LOG_LINES;
pub use log_rate_limiter::{LINES, LogKind, LogRateLimiter, PERIOD, WRITE_LINES};
pub use log_writer::{LogWriter, Stderr};
pub use process::Process;
pub use timer::Timer;
