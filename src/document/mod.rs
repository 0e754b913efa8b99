//! YAML files as typed sections: the configuration, profiles and scenarios.
//!
//! Owns the path from text to structs with `derive(Deserialize)`: one pass over the parser's events builds a tree with
//! positions, and serde reads it section by section. An invalid value is reported and skipped, and the section is read
//! again without it, so that no mistake hides another. Owns the messages, too, and the values common to all kinds of
//! file: durations, counts, shares, names.
//!
//! Never opens a file, and has no keys of its own.

pub(crate) mod de;
mod did_you_mean;
mod duration;
mod layout;
mod problem;
mod quote;
mod reader;
mod sections;
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
