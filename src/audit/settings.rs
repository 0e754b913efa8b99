//! The settings of the audit file.

use std::path::PathBuf;

/// The file that records writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The file.
    pub file: PathBuf,
    /// It is begun anew before it grows beyond this, bytes.
    pub max_size: u64,
}
