//! The configuration: a YAML file, or sections filled in by code, into a checked [`Config`].
//!
//! Owns the keys of the file, their bounds and defaults ([`section`]), what they say about each other, and the way back
//! to a file. Looks at the file system where the file names something there: profiles, the token, devices.
//!
//! Never opens a port or a socket, and never changes what it was given.

mod check;
mod device;
mod load;
mod polling;
mod profiles;
pub mod section;
mod settings;
mod token;
mod token_file;
mod unit;
pub mod value;
mod write;

pub use crate::document::{MAX_ERRORS, Problem, Problems, Severity};
pub use load::{load, parse};
pub(crate) use profiles::read_bounded;
pub use settings::{
    Bus, Config, Listener, Loaded, LogLevel, Status, StatusSettings, UnitDefaults, UnitProfile,
};
pub use token::Token;
pub(crate) use token_file::read_token;
