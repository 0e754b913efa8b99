//! metergate: one serial line of Modbus RTU meters, any number of Modbus TCP clients.
//!
//! The modules, from the program down to the standard; each imports only what stands below it, or to its right in its
//! row (`tests/it/architecture.rs` holds the exact list). The front page of a module, its `mod.rs`, says what it owns
//! and what it never does.
//!
//! ```text
//! cli          the command line: arguments, commands, output
//! gateway      the daemon: start, reload, stop                     client     reading meters for the commands
//! web, page    the status address: HTTP, JSON, metrics; HTML
//! publisher    what is published over MQTT, and when
//! status       the state of the gateway, as one model              capture, trace   traffic for Wireshark, as text
//! config       a YAML file in, a checked configuration out         simulator  simulated meters and their line
//! server       listeners and client connections                    findings   faults, their causes and remedies
//! mqtt         clients of MQTT brokers                             scan       which units are on a line
//! sparkplug    an edge node of Sparkplug B as a state machine
//! audit        the record of every write
//! events       the list of events, each with begin and end
//! serial       ports, and the task that drives a line
//! traffic      the last traffic of both sides
//! line         ONE SERIAL LINE as a state machine: no clock, no input or output
//! tls          certificates, roles and the handshake
//! runtime      shared by the process: log, timers, timestamps
//! meter        profiles; registers into values                     document   YAML with positions and problems
//! endpoint     what listeners and clients are called
//! modbus       the standard, as bytes
//! ```
//!
//! The modules marked with `deny` below never read a clock, spawn, wait or touch a file: time and bytes are arguments.
//!
//! Where to change what:
//!
//! - what is sent to a meter, when, and what clients receive: [`mod@line`] (its front page lists the files);
//! - what is refused before a line, and limits of clients: [`server`] (`routes.rs`, `admission.rs`);
//! - a key of the configuration: [`config`] (its front page lists the places);
//! - what pages, JSON and metrics show: [`status`] (`model.rs` the shape, `collect.rs` where it comes from), then
//!   [`page`] or `status/metrics.rs`;
//! - the words of a finding: [`findings`]; formats and points of meters: [`meter`] (`vocabulary.rs`); what is kept of
//!   the traffic: [`traffic`];
//! - topics and payloads over MQTT: [`publisher`]; the connection to a broker: [`mqtt`]; births, deaths and
//!   their order: [`sparkplug`];
//! - start, reload, stop: [`gateway`], then `Line::handle_settings`;
//! - a command or an option: [`cli`] (`args.rs` or `args/`, the command's own file, `main.rs`).

#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod capture;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod document;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod endpoint;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod findings;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod line;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod meter;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod modbus;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod page;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod publisher;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod scan;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod sparkplug;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod status;
#[deny(clippy::disallowed_methods, clippy::disallowed_types)]
pub mod trace;

pub mod audit;
pub mod cli;
pub mod client;
pub mod config;
pub mod events;
pub mod gateway;
pub mod mqtt;
pub mod runtime;
pub mod serial;
pub mod server;
pub mod simulator;
pub mod tls;
pub mod traffic;
pub mod web;
