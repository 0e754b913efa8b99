//! What happened, with beginning, end and duration: outages, lost ports, findings, reloads, restarts, steps of the clock.
//!
//! Owns the list of events, its bounds, and the file that keeps it over restarts. What is wrong at the moment is
//! decided elsewhere: the list is given the conditions that hold, and makes events of their beginnings and ends.

mod event;
mod event_file;
mod event_list;
mod span;

pub use event::{Condition, Event, EventKind, Writes};
pub use event_file::{EventFile, EventFileSettings, SAVE_PERIOD};
pub use event_list::{EVENTS_MAX, EventList, Undecided, WRITERS_MAX};
pub use span::Span;
