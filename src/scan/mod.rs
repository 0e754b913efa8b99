//! Which units are on a line: the requests of a scan, the meaning of the answers, and the resulting configuration.
//!
//! Owns the plan of a scan and its report. It sends nothing itself; `cli` does.

pub mod found;
pub mod plan;
pub mod report;
mod through;

pub use found::{Findings, Found, FoundMeter, Says, Tries};
pub use plan::{Plan, Question, Scope};
pub use through::Through;
