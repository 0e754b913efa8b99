//! metergate: one serial line of Modbus RTU meters, any number of Modbus TCP clients.
//!
//! The modules, and which may import which (`tests/it/tidy.rs` holds it):
//!
//! ```text
//! main -> gateway, cli -> io -> bus -> meter -> modbus, document
//!
//! cli -> client -> io, bus, meter          findings, scan -> bus, meter
//! cli -> capture, trace -> io, bus         simulator      -> meter, document
//! config -> meter, modbus, document, and the settings types that bus and io define
//! web -> page -> status -> config, io, bus, meter, findings (what they publish, and nothing that waits)
//! ```
//!
//! - [`modbus`]: the standard, as bytes. Knows no time, no task, no socket.
//! - [`meter`]: what the registers mean: profiles, and registers into values with units.
//! - [`bus`]: one serial line, as decisions. Time is an argument, bytes are an argument.
//! - [`findings`]: what is wrong with a line and its meters, in words. Time is an argument.
//! - [`scan`]: who is on a line, from the answers to a scan. Asks nobody itself.
//! - [`page`]: the status pages: the model in, HTML out.
//! - [`io`]: the outside world: tasks, sockets, ports. Decides nothing.
//! - [`client`]: asking meters from this program, over TCP or straight on the line.
//! - [`simulator`]: meters that do not exist, on a pseudo terminal that keeps the wire's time.
//! - [`capture`]: traffic as a file for Wireshark. Pure bytes.
//! - [`trace`]: traffic as lines of text. Pure text.
//! - [`document`]: YAML files as typed sections, and what is wrong with them. Imports no other module.
//! - [`config`]: a file in, a checked configuration out.
//! - [`status`]: what is known of the gateway, as one model. Time is an argument.
//! - [`web`]: the status address: HTML, JSON, metrics and streams over HTTP.
//! - [`gateway`]: wiring; the order of start, reload and stop.
//! - [`cli`]: the command line's definition, and the subcommands, one file each.
//!
//! The pure modules (`modbus`, `meter`, `bus`, `findings`, `page`, `scan`, `status`, `document`) never read a clock, never
//! spawn, never await and never touch a file; clippy denies it.

/// The standard, as bytes: PDU, MBAP and RTU framing. No time, no task, no socket.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod modbus {
    pub mod function;
    pub mod hex;
    pub mod mbap;
    pub mod pdu;
    pub mod reply;
    pub mod rtu;
    pub mod write;
}

/// What the registers mean: the profile of a meter, and its registers into values with units.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod meter {
    mod builtin;
    mod cross;
    pub mod decimal;
    pub mod decode;
    pub mod profile;
    mod read;
    pub mod section;
    mod value;
    pub mod words;
}

/// What is wrong and what to do about it, in words, from what a line and its meters show.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod findings {
    mod evidence;
    mod finding;
    mod line;
    mod meter;
    mod unit;
    mod words;

    pub use evidence::Evidence;
    pub use finding::{Finding, Kind, Severity};
}

/// Who is on a line: what to ask, what the answers mean, and the configuration that follows.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod scan {
    pub mod found;
    pub mod plan;
    pub mod report;
}

#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod page;

/// One serial line, as decisions. Time and bytes are arguments; nothing here waits.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod bus {
    mod allowance;
    pub mod budget;
    mod cache;
    pub mod diagnostics;
    pub mod echo;
    pub mod event;
    mod health;
    mod ignored;
    pub mod line;
    pub mod now;
    mod occupation;
    mod overload;
    mod owed;
    pub mod poll;
    mod probing;
    pub mod queue;
    pub mod ranges;
    pub mod receive;
    pub mod record;
    mod recorder;
    pub mod request;
    mod scheduler;
    pub mod settings;
    mod shares;
    mod silent_line;
    pub mod snapshot;
    pub mod statistics;
    pub mod tables;
    pub mod unit;
    pub mod view;
    mod wire;
}

/// The outside world: tasks, sockets and ports. Decides nothing.
pub mod io {
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
}

/// Asking meters from this program, over TCP or straight on the line.
pub mod client {
    pub mod ask;
    pub mod failure;
    pub mod http;
    pub mod serial;
    pub mod survey;
    pub mod tcp;
}

/// Traffic as a file that Wireshark and tshark read. Pure bytes.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod capture {
    mod file;
    mod frame;
    mod pcapng;
    mod segment;

    pub use file::Capture;
}

/// Traffic as lines of text for people. Pure text.
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod trace {
    mod filter;
    mod json;
    mod line;

    pub use filter::{Ending, Filter, UnknownEnding};
    pub use json::{json, lost};
    pub use line::line;
}

#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod document;

pub mod config;

/// Meters that do not exist, on a pseudo terminal that keeps the wire's time; and scenarios of what goes wrong.
pub mod simulator {
    pub mod chain;
    mod demand;
    pub mod fault_schedule;
    pub mod link;
    mod load;
    mod measure;
    mod medium;
    pub mod meter;
    mod meter_state;
    mod outage;
    mod phasor;
    mod quantity;
    mod registers;
    mod rng;
    pub mod scenario;
    pub mod section;
    mod service;
    pub mod settings;
    mod setup;
    pub mod wire;
}

/// The command line: its definition, its subcommands, what they print and how they end.
pub mod cli {
    pub mod activity;
    pub mod args;
    pub mod budget;
    pub mod capture;
    pub mod check;
    pub mod command_error;
    pub mod completions;
    pub mod demo;
    pub mod doctor;
    pub mod exit;
    pub mod export;
    mod gateway_client;
    pub mod logging;
    pub mod notify;
    pub mod output;
    pub mod point_selection;
    pub mod points;
    mod port_holder;
    pub mod profile;
    pub mod raw;
    pub mod read;
    pub mod reading;
    pub mod report;
    pub mod run;
    pub mod scan;
    mod scenario;
    pub mod screen;
    pub mod signals;
    pub mod simulate;
    pub mod table;
    pub mod target;
    pub mod trace;
    pub mod write;
    pub mod write_value;
}

#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod status;
pub mod web;

pub mod gateway;
