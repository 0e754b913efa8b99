//! The last traffic of both sides, and the names of its units.
//!
//! Owns bounded rings of events. Neither a line nor a client waits for readers. How much is kept: `RING_EVENTS` and
//! `RING_SIZE` in `recent`.

mod recent;
mod unit_directory;

pub use recent::{
    COLLECT_PERIOD, FOLLOWER_EVENTS, FRESH_EVENTS, FRESH_OF_CLIENTS, Followed, Follower, Link, Message,
    PASSING_PER_SECOND, RING_EVENTS, Sender, Served, Traffic, TrafficEvent, TrafficKind,
};
pub use unit_directory::{UnitDirectory, UnitName};
