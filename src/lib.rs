//! metergate: one serial line of Modbus RTU meters, any number of Modbus TCP clients.
//!
//! The rooms, and who may import whom (`tests/tidy.rs` holds it):
//!
//! ```text
//! main -> gateway, cli -> io -> bus -> modbus        cli -> simulator -> modbus
//!            |             config -> the settings types that bus and io define
//! ```
//!
//! - [`modbus`]: the standard, as bytes. Knows no time, no task, no socket.
//! - [`bus`]: one serial line, as decisions. Time is an argument, bytes are an argument.
//! - [`io`]: the outside world: tasks, sockets, ports. Decides nothing.
//! - [`simulator`]: meters that do not exist, on a pseudo terminal that keeps the wire's time.
//! - [`config`]: YAML text in, a checked configuration out.
//! - [`gateway`]: wiring; the order of start, reload and stop.
//! - [`cli`]: the command line's definition, and the subcommands, one file each.
//!
//! The two inner rooms never read a clock, never spawn, never await and never touch a file; clippy denies it.

/// The standard, as bytes: PDU, MBAP and RTU framing. No time, no task, no socket.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod modbus {
    pub mod mbap;
    pub mod pdu;
    pub mod reply;
    pub mod rtu;
}

/// One serial line, as decisions. Time and bytes are arguments; nothing here waits.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod bus {
    pub mod echo;
    pub(crate) mod exchange;
    pub mod line;
    pub mod queue;
    pub mod receive;
    pub mod request;
    pub(crate) mod schedule;
    pub mod settings;
    pub(crate) mod transaction;
    pub mod unit;
    pub mod view;
}

/// The outside world: tasks, sockets and ports. Decides nothing.
pub mod io {
    pub mod admission;
    pub mod connection;
    mod exchange;
    pub mod handle;
    pub mod ioctl;
    pub mod port;
    pub mod routes;
    pub mod serial;
    pub mod settings;
    pub mod tcp;
    pub mod throttle;
    pub mod timer;
}

/// YAML text in, a checked configuration out, or everything that is wrong with it, by key and line.
pub mod config {
    mod bus;
    mod cross;
    mod device;
    mod file;
    mod keys;
    mod listener;
    mod problem;
    mod section;
    mod settings;
    mod tree;
    mod value;
    mod words;
    mod write;

    pub use file::{load, parse};
    pub use keys::{Key, Part};
    pub use problem::{MAX_ERRORS, Problem, Problems, Severity};
    pub use settings::{Bus, Config, Listener, Loaded, LogLevel};
}

/// Meters that do not exist, on a pseudo terminal that keeps the wire's time.
pub mod simulator {
    pub mod chain;
    pub mod link;
    mod load;
    pub mod meter;
    mod registers;
    mod setup;
    pub mod wire;
}

/// The command line: its definition, its subcommands, what they print and how they end.
pub mod cli {
    pub mod activity;
    pub mod args;
    pub mod check;
    pub mod completions;
    pub mod demo;
    pub mod exit;
    pub mod logging;
    pub mod output;
    pub mod run;
    pub mod signals;
    pub mod simulate;
}

pub mod gateway;
