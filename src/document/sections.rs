//! The sections of a kind of file, as messages about its text need them.

/// The keys of a section.
pub(crate) type Keys = &'static [&'static str];

/// The sections of a kind of file: functions that return display name and keys.
pub(crate) type Sections = [fn() -> (&'static str, Keys)];
