//! YAML files as typed sections: the configuration, profiles and scenarios.
//!
//! Owns the way from a text to structs with `derive(Deserialize)`: one pass over the parser's events makes a tree that
//! knows its places, and serde reads it section by section. A value that does not fit is reported and left out, and the
//! section is read again without it, so that no mistake hides another. Owns the messages, too, and the values that
//! every kind of file has: durations, counts, shares, names.
//!
//! Never opens a file, and knows no key.

pub(crate) mod de;
mod did_you_mean;
mod duration;
mod layout;
mod problem;
mod reader;
mod text;
mod tree;
mod value;

pub(crate) use de::Scalar;
pub(crate) use de::section;
pub use de::{NotAllowed, keys};
pub(crate) use did_you_mean::{did_you_mean, nearest};
pub use duration::Duration;
pub(crate) use duration::show;
pub(crate) use problem::unreadable;
pub use problem::{MAX_ERRORS, Problem, Problems, Severity};
pub(crate) use reader::{Format, Reader, Section, read, without_text};
pub(crate) use text::{MAX_FILE, decode};
pub(crate) use tree::Node;
pub use value::{Count, List, Name, Share, YesNo};
pub(crate) use value::{decimal, decimal_or_hex, whole_number};
