//! The last lines of the log, kept in memory for a report.
//!
//! Owns their number and size. The log belongs to the process, and so does this: the log writes its lines here as well,
//! and a report reads them. Nothing of it is written to a disk, and logging never waits for a reader.

use std::collections::VecDeque;
use std::io;
use std::sync::{LazyLock, Mutex, PoisonError};

use crossbeam_queue::ArrayQueue;

/// The last lines that were logged.
#[derive(Debug)]
pub struct LogLines {
    /// Logged since the last read. Lock-free: readers have a lower priority than threads that log.
    fresh: LazyLock<ArrayQueue<String>>,
    /// Logged before that. Only readers take its lock.
    seen: Mutex<VecDeque<String>>,
}

/// The log lines of this process.
pub static LOG_LINES: LogLines = LogLines::new();

impl LogLines {
    /// Without lines.
    #[must_use]
    pub const fn new() -> Self {
        Self { fresh: LazyLock::new(|| ArrayQueue::new(LOG_LINES_KEPT)), seen: Mutex::new(VecDeque::new()) }
    }

    /// All lines kept, the oldest first, without their ends.
    #[must_use]
    pub fn kept(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // At most a full queue, however fast other threads log.
        seen.extend((0..LOG_LINES_KEPT).map_while(|_| self.fresh.pop()));
        let surplus = seen.len().saturating_sub(LOG_LINES_KEPT);
        seen.drain(..surplus);
        seen.iter().cloned().collect()
    }

    fn note(&self, line: &str) {
        let end = line.floor_char_boundary(LOG_LINE_MAX);
        // The oldest line is dropped.
        let _oldest = self.fresh.force_push(line[..end].to_owned());
    }
}

impl Default for LogLines {
    fn default() -> Self {
        Self::new()
    }
}

impl io::Write for &LogLines {
    /// Called with one event of the log at a time by its subscriber.
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
pub(super) const LOG_LINES_KEPT: usize = 500;

/// Bytes of a line that are kept.
pub(super) const LOG_LINE_MAX: usize = 1_000;

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
