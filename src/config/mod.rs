//! The configuration: turns a YAML file, or sections filled in by code, into a checked [`Config`].
//!
//! Owns the keys of the file, their bounds and defaults ([`section`]), the checks between them (`check`), and the way
//! back to YAML (`write`). Reads the file system where the file names something there: profiles, the token, devices.
//!
//! Never opens a port or a socket, and never writes a file.
//!
//! A new key: field and default in [`section`] (a notation in [`value`], a section also in `load::FORMAT`), `check`
//! (for a unit: `unit`, `polling`), `write`, the settings type of the module that uses it or `settings`, and
//! `config/metergate.yaml`.

mod broker;
mod bus;
mod check;
mod device;
mod load;
mod polling;
mod profiles;
mod rules;
pub mod section;
mod settings;
mod tls;
mod token;
mod token_file;
mod unit;
pub mod value;
mod write;

pub use crate::document::{MAX_ERRORS, Problem, Problems, Severity};
pub use load::{load, parse};
pub(crate) use profiles::read_bounded;
pub use settings::{
    API_HEADER, Broker, Bus, Config, Listener, Loaded, LogLevel, Publication, Status, StatusSettings,
    UnitDefaults, UnitProfile, device_name, topic_level,
};
pub use token::{NotAToken, Token};
pub(crate) use token_file::read_token;
