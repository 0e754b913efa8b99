//! Every write, allowed or refused: in the log, and as a line of the audit file.
//!
//! Owns the record and its file. It decides nothing about writes, and no write waits for it.

mod audit_log;
mod audit_state;
mod record;
mod settings;
mod write_counter;

pub use audit_log::AuditLog;
pub use audit_state::{AuditProblem, AuditState};
pub use record::Audit;
pub(crate) use record::{Addressed, PendingWrite};
pub use settings::AuditSettings;
pub use write_counter::WriteCounter;
