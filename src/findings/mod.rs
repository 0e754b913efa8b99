//! What is wrong with a line and its meters, and what to do about it, from what they show.
//!
//! Owns which evidence makes which finding. Time is an argument; nothing is asked, and nothing is sent.
//!
//! `evidence` is what the rules look at, `track` tells in it what goes on from what is over, `finding` and `remedy` are what they make; `line`, `wire_break`, `unit`, `meter` and `client` hold
//! the rules, `remedies` what several of them advise, and `judge` puts them together.

mod client;
mod evidence;
mod finding;
mod format;
mod judge;
mod line;
mod meter;
mod remedies;
mod remedy;
mod track;
mod unit;
mod wire_break;

pub use client::rtu_over_tcp;
pub use evidence::Evidence;
pub use finding::{Finding, Kind, Severity};
pub use judge::findings;
pub use remedy::Remedy;
pub use track::Track;
pub use wire_break::WireBreak;
