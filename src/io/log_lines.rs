//! The last lines of the log, kept in memory for a report.
//!
//! Owns how many and how long. The log is the process's, so this is, too: whoever starts the log has its lines
//! written here as well, and a report reads them. Nothing of it goes to a disk.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The last lines that were logged.
#[derive(Debug, Default)]
pub struct LogLines(Mutex<VecDeque<String>>);

/// Those of this process.
pub static LOG_LINES: LogLines = LogLines::new();

impl LogLines {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// All that are kept, the oldest first, without their ends.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        self.lock().iter().cloned().collect()
    }

    fn note(&self, line: &str) {
        let mut lines = self.lock();
        if lines.len() == LOG_LINES_KEPT {
            lines.pop_front();
        }
        let end = line.floor_char_boundary(LOG_LINE_MAX);
        lines.push_back(line[..end].to_owned());
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for &LogLines {
    /// One event of the log at a time, as its subscriber writes them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in String::from_utf8_lossy(bytes).lines() {
            self.note(line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that are kept.
pub const LOG_LINES_KEPT: usize = 500;

/// Bytes of a line that are kept.
pub const LOG_LINE_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_last_lines_are_kept_each_up_to_its_bound() {
        let lines = LogLines::new();
        for number in 0..LOG_LINES_KEPT + 3 {
            (&lines).write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(lines.kept().len(), LOG_LINES_KEPT);
        assert_eq!(lines.kept()[0], "line 3");
        (&lines).write_all("ä".repeat(LOG_LINE_MAX).as_bytes()).unwrap();
        assert_eq!(lines.kept().last().unwrap().len(), LOG_LINE_MAX);
    }
}
