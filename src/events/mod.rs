//! Events with begin, end and duration: outages, lost ports, findings, reloads, restarts, clock steps.
//!
//! Owns the list of events, its bounds, and the file that keeps it over restarts. It does not decide what is wrong: it
//! compares the conditions that hold now with those it has seen before and records their begins and ends. A bus has its
//! name here, not its `BusId`: an event that continues is recognised after a restart, by what the file holds.

mod event;
mod event_file;
mod event_list;
mod span;

pub use event::{Condition, Event, EventKind, Writes};
pub use event_file::{EventFile, EventFileSettings, SAVE_PERIOD};
pub use event_list::{EVENTS_MAX, EventList, Undecided, WRITERS_MAX};
pub use span::Span;
