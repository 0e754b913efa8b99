//! The configuration file: its meaning, and the messages about it.

mod comparisons;
mod faults;
mod files;
mod functions;
mod golden;
mod paths;
mod polling;
mod rules;
mod sparkplug;
mod status;
mod tls;
mod unit_map;
mod units;
mod values;
mod yaml;
