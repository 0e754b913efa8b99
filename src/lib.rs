//! metergate: one serial line of Modbus RTU meters, any number of Modbus TCP clients.
//!
//! The rooms, and who may import whom (`tests/tidy.rs` holds it):
//!
//! ```text
//! main -> gateway, cli -> io -> bus -> modbus        cli -> simulator -> modbus
//!                                bus -> meter -> modbus, yaml
//!            |             config -> meter, yaml, and the settings types that bus and io define
//! ```
//!
//! - [`modbus`]: the standard, as bytes. Knows no time, no task, no socket.
//! - [`meter`]: what the registers mean: profiles, and registers into values with units.
//! - [`bus`]: one serial line, as decisions. Time is an argument, bytes are an argument.
//! - [`io`]: the outside world: tasks, sockets, ports. Decides nothing.
//! - [`simulator`]: meters that do not exist, on a pseudo terminal that keeps the wire's time.
//! - [`yaml`]: YAML text as a tree that knows its places, and what is wrong with a file. Imports no room.
//! - [`config`]: YAML text in, a checked configuration out.
//! - [`gateway`]: wiring; the order of start, reload and stop.
//! - [`cli`]: the command line's definition, and the subcommands, one file each.
//!
//! The inner rooms (`modbus`, `meter`, `bus`, `yaml`) never read a clock, never spawn, never await and never touch
//! a file; clippy denies it.

/// The standard, as bytes: PDU, MBAP and RTU framing. No time, no task, no socket.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod modbus {
    pub mod mbap;
    pub mod pdu;
    pub mod reply;
    pub mod rtu;
}

/// What the registers mean: the profile of a meter, and its registers into values with units.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod meter {
    mod builtin;
    mod cross;
    pub mod decimal;
    pub mod decode;
    pub mod keys;
    mod point;
    pub mod profile;
    mod read;
    mod value;
    pub mod words;
}

/// One serial line, as decisions. Time and bytes are arguments; nothing here waits.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod bus {
    pub(crate) mod background;
    pub mod budget;
    pub mod diagnostics;
    pub mod echo;
    pub(crate) mod exchange;
    pub mod learn;
    pub mod line;
    pub mod poll;
    pub mod queue;
    pub mod receive;
    pub mod request;
    pub mod sabotage;
    pub(crate) mod schedule;
    pub mod settings;
    pub mod snapshot;
    pub(crate) mod transaction;
    pub mod unit;
    pub mod view;
}

/// The outside world: tasks, sockets and ports. Decides nothing.
pub mod io {
    pub mod admission;
    pub mod connection;
    mod direction;
    mod exchange;
    pub mod handle;
    pub mod ioctl;
    pub mod port;
    pub mod pulse;
    pub mod routes;
    pub mod serial;
    pub mod settings;
    pub mod tally;
    pub mod tcp;
    pub mod throttle;
    pub mod timer;
}

/// YAML text as a tree that knows where each part stood, and what to say of a part that is wrong.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod yaml {
    pub(crate) mod nearest;
    pub(crate) mod problem;
    pub(crate) mod section;
    pub(crate) mod text;
    pub(crate) mod tree;
    pub(crate) mod value;

    pub use problem::{MAX_ERRORS, Problem, Problems, Severity};
    pub use section::Key;
}

/// YAML text in, a checked configuration out, or everything that is wrong with it, by key and line.
pub mod config {
    mod bus;
    mod cross;
    mod device;
    mod file;
    mod keys;
    mod listener;
    mod polling;
    mod profiles;
    mod settings;
    mod value;
    mod words;
    mod write;

    pub use crate::yaml::{Key, MAX_ERRORS, Problem, Problems, Severity};
    pub use file::{load, parse};
    pub use keys::Part;
    pub use settings::{Bus, Config, Listener, Loaded, LogLevel, UnitProfile};
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
    pub mod budget;
    pub mod check;
    pub mod completions;
    pub mod demo;
    pub mod exit;
    pub mod logging;
    pub mod notify;
    pub mod output;
    pub mod run;
    pub mod signals;
    pub mod simulate;
}

pub mod gateway;
