//! The configuration file: what it says, and what is said about it.

mod comparisons;
mod faults;
mod files;
mod polling;
mod status;
mod values;
mod yaml;
