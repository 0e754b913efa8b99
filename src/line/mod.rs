//! One serial line as a state machine: what to send, whose answer came, and what clients get.
//!
//! Owns everything that is decided about a line; [`Line`](state_machine::Line) is the way in. Time and bytes are arguments: it never reads a
//! clock, never waits, never touches a port and never logs. Source: docs/design.md, "The parts of a line".

mod allowance;
pub mod budget;
mod cache;
pub mod diagnostics;
pub mod echo;
pub mod event;
mod health;
mod ignored;
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
pub mod state_machine;
pub mod statistics;
pub mod tables;
pub mod unit;
pub mod view;
mod wire;
