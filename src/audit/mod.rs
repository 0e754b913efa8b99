//! Every write, allowed or refused: in the log, and as a line of the audit file.
//!
//! Owns the record and its file. It decides nothing about writes, and none waits for it.

pub mod audit_log;
pub mod record;
pub mod settings;
