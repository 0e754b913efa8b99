//! The last traffic of both sides, and what its units are called.
//!
//! Owns bounded rings of events. Neither a line nor a client waits for readers.

pub mod recent;
pub mod unit_directory;
