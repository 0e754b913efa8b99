//! The settings of the audit file.

use std::path::PathBuf;

/// The file that records writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The file.
    pub file: PathBuf,
    /// A new file is begun before it exceeds this size in bytes.
    pub max_size: u64,
}
