//! Findings about a line, its units and the registers of meters, rule by rule.

mod client;
mod line;
mod meter;
mod scenarios;
