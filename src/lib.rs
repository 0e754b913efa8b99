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
//! The pure modules (`modbus`, `meter`, `bus`, `findings`, `page`, `scan`, `status`, `document`, `capture`, `trace`)
//! never read a clock, never spawn, never await and never touch a file; clippy denies it.

#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod bus;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod capture;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod document;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod findings;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod meter;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod modbus;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod page;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod scan;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod status;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod trace;

pub mod cli;
pub mod client;
pub mod config;
pub mod gateway;
pub mod io;
pub mod simulator;
pub mod web;
