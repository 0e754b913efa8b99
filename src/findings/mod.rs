//! Findings: faults of a line and its meters, their likely causes and remedies, derived from counters and readings.
//!
//! Owns the rules that turn evidence into findings. Time is an argument; no request is sent to find out more.
//!
//! `evidence` is the input of the rules, `track` separates current troubles in it from past ones, `finding` and
//! `remedy` are the output. The rules are in `line`, `wire_break`, `unit`, `meter` and `client`; `remedies` holds advice
//! that several rules share, and `diagnosis` applies all rules and removes consequences of other findings.

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

pub use client::rtu_over_tcp;
pub use diagnosis::findings;
pub use evidence::Evidence;
pub use finding::{Finding, Kind, Severity};
pub use remedy::Remedy;
pub use track::Track;
pub use wire_break::WireBreak;
