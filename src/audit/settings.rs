//! The settings of the audit file.

use std::path::{Path, PathBuf};

/// The file that records writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// The file.
    pub file: PathBuf,
    /// A new file is begun before it exceeds this size in bytes.
    pub max_size: u64,
}

impl AuditSettings {
    /// The file and its predecessors.
    pub(crate) fn files(&self) -> impl Iterator<Item = PathBuf> {
        (1..=KEPT).map(|number| numbered(&self.file, number)).chain([self.file.clone()])
    }
}

/// A predecessor of the file, `.1` the newest.
pub(super) fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// Predecessors that are kept.
pub(super) const KEPT: u32 = 4;
