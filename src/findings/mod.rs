//! What is wrong with a line and its meters, and what to do about it, from what they show.
//!
//! Owns which evidence makes which finding. Time is an argument; nothing is asked, and nothing is sent.

mod evidence;
mod finding;
mod format;
mod line;
mod meter;
mod unit;

pub use evidence::Evidence;
pub use finding::{Finding, Kind, Severity};
