//! Traffic as lines of text, or JSON, one for each event.
//!
//! Owns the wording and the filter. It has no sockets and no clock.

mod filter;
mod json;
mod line;

pub use filter::{Ending, Filter, Origin, UnknownEnding};
pub use json::{json, lost};
pub use line::line;
