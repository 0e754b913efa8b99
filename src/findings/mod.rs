//! Findings: faults of a line and its meters, their likely causes and remedies, derived from counters and readings.
//!
//! Owns the rules that turn evidence into findings. Time is an argument; no request is sent to find out more.
//!
//! `evidence` is the input of the rules; `track` separates current troubles in it from past ones. The rules: `line`
//! (the whole line, or its only unit), `wire_break`, `unit` (whether, when and how intact a unit answers), `meter`
//! (what a meter reports of itself), `client`, `broker`. `finding` and `remedy` are the output, `remedies` the advice for silence
//! and closed ports, `format` numbers in texts; `diagnosis` applies the rules and removes what other findings explain.

mod broker;
mod client;
mod diagnosis;
mod evidence;
mod finding;
mod format;
mod line;
mod meter;
mod remedies;
mod remedy;
mod track;
mod unit;
mod wire_break;

pub use broker::of_broker;
pub use client::{audit_incomplete, certificate, client_port_closed, misframed};
pub use diagnosis::findings;
pub use evidence::Evidence;
pub use finding::{Finding, Kind, Severity};
pub use remedy::Remedy;
pub use track::Track;
pub use wire_break::WireBreak;
