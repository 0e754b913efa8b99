//! The command line: arguments, one module for each command, what they print and how they end.
//!
//! Owns words and exit codes. What a command finds out comes from the other modules.

pub mod activity;
pub mod args;
pub mod budget;
pub mod capture;
pub mod check;
pub mod command_error;
pub mod completions;
pub mod demo;
mod demo_past;
pub mod doctor;
pub mod events;
pub mod exit;
pub mod export;
mod gateway_client;
pub mod instances;
pub mod logging;
pub mod manual;
pub mod notify;
pub mod output;
pub mod point_list;
pub mod point_selection;
pub mod points;
mod port_holder;
pub mod profile;
pub mod raw;
pub mod read;
pub mod reading;
pub mod report;
pub mod run;
pub mod scan;
mod scenario;
pub mod screen;
mod service_user;
pub mod setup;
pub mod shown;
pub mod signals;
pub mod simulate;
pub mod status;
mod sweep;
pub mod table;
pub mod target;
pub mod token;
pub mod trace;
pub mod write;
pub mod write_value;
