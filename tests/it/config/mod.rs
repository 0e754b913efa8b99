//! The configuration file: what it says, and what is said about it.

mod comparisons;
mod faults;
mod files;
mod functions;
mod golden;
mod polling;
mod status;
mod unit_map;
mod units;
mod values;
mod yaml;
