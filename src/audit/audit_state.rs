//! The state of the audit file, for those who watch the gateway.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwapOption;

/// The state of one audit file. Its thread and the connections keep it up to date; reading it waits for none of them.
#[derive(Debug)]
pub struct AuditState {
    /// The file.
    pub file: PathBuf,
    lost: AtomicU64,
    problem: ArcSwapOption<AuditProblem>,
}

/// Why the file is not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditProblem {
    /// In words.
    pub what: String,
    /// Since when.
    pub since: Instant,
}

impl AuditState {
    /// Of a file without problems.
    #[must_use]
    pub fn new(file: PathBuf) -> Self {
        Self { file, lost: AtomicU64::new(0), problem: ArcSwapOption::empty() }
    }

    /// Writes that are missing in the file since it was opened.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Why it is not written now.
    #[must_use]
    pub fn problem(&self) -> Option<Arc<AuditProblem>> {
        self.problem.load_full()
    }

    /// So many more writes are missing.
    pub fn note_lost(&self, count: u64) {
        self.lost.fetch_add(count, Ordering::Relaxed);
    }

    /// It cannot be written from `since` on.
    pub fn note_problem(&self, what: String, since: Instant) {
        self.problem.store(Some(Arc::new(AuditProblem { what, since })));
    }

    /// It is written again.
    pub fn end_problem(&self) {
        self.problem.store(None);
    }
}
