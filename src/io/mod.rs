//! The outside world: ports, sockets, files and the tasks that drive them.
//!
//! Owns what waits. It does what a line asks for and carries requests and replies; what is sent to a meter, and what a
//! client is given, is decided in `bus`.

pub mod admission;
pub mod audit;
pub mod audit_log;
pub mod background_runtime;
pub mod clock;
pub mod connection;
mod direction;
pub mod handle;
pub mod ioctl;
pub mod listener_metrics;
pub mod log_lines;
pub mod log_rate_limiter;
pub mod log_writer;
pub mod port;
pub mod port_view;
pub mod process;
pub mod routes;
pub mod serial;
pub mod settings;
pub mod supervision;
pub mod tcp;
pub mod timer;
pub mod timestamp;
mod token;
pub mod traffic;
pub mod unit_directory;
pub mod watchdog;
