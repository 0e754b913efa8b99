//! What is said of a line, its units and what meters say of themselves, rule by rule.

mod client;
mod line;
mod meter;
mod scenarios;
