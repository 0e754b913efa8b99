//! The writer of the log: a bounded queue that never delays a caller, and a thread that empties it.
//!
//! Owns the queue and the count of dropped lines. A terminal stopped by Ctrl-S, a full pipe or a hung log driver blocks
//! the thread and nothing else.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;
use tracing::warn;

/// The queue of a log. `&LogWriter` is the [`Write`] that a subscriber needs, with one call per line.
#[derive(Debug)]
pub struct LogWriter {
    commands: SyncSender<LogCommand>,
}

#[derive(Debug)]
enum LogCommand {
    Line(Vec<u8>),
    /// Answered when all lines before it are written.
    Flush(SyncSender<()>),
}

/// Lines of this process's log that were dropped.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of this process's log that were dropped since the start, because it was blocked or could not be written.
#[must_use]
pub(super) fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl LogWriter {
    /// Starts the thread that writes to `out`. It ends when this is dropped and the queue is empty.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let (commands, receiver) = sync_channel(LOG_LINES_WAITING);
        thread::Builder::new().name("log".into()).spawn(move || run(&receiver, out))?;
        Ok(Self { commands })
    }

    /// Waits until everything logged so far is written, but no longer than `patience`.
    pub fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let (done, written) = sync_channel(1);
        let mut command = LogCommand::Flush(done);
        while let Err(refused) = self.commands.try_send(command) {
            let TrySendError::Full(again) = refused else { return };
            if Instant::now() >= until {
                return;
            }
            command = again;
            // The queue is full, and waiting for it cannot be limited.
            thread::sleep(FLUSH_RETRY);
        }
        // Given up if the log is blocked: the end of the program must not depend on the reader of the log.
        let _ignored = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl Write for &LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.commands.try_send(LogCommand::Line(bytes.to_vec())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(commands: &Receiver<LogCommand>, mut out: impl Write) {
    let mut reported = dropped_lines();
    while let Ok(first) = commands.recv() {
        let mut next = Some(first);
        let mut is_written = false;
        while let Some(command) = next {
            match command {
                LogCommand::Line(line) => {
                    is_written = out.write_all(&line).and_then(|()| out.flush()).is_ok();
                    DROPPED.fetch_add(u64::from(!is_written), Ordering::Relaxed);
                }
                LogCommand::Flush(done) => {
                    // `flush` may have given up waiting.
                    let _ignored = done.try_send(());
                }
            }
            next = commands.try_recv().ok();
        }
        let dropped = dropped_lines();
        // Only after a line that was written: the report of a failure to write would fail, and be reported, endlessly.
        if dropped > reported && is_written {
            warn!("{} lines of the log were dropped while it was blocked", dropped - reported);
            reported = dropped;
        }
    }
}

/// The standard error stream, also if another process that shares it has made it non-blocking.
#[derive(Debug, Default)]
pub struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        loop {
            // Not through the lock of the standard library: other writers to stderr must not wait for this thread.
            match unistd::write(&stderr, bytes) {
                Err(Errno::EAGAIN) => {
                    let mut room = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut room, PollTimeout::NONE)?;
                }
                written => return written.map_err(io::Error::from),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines that wait while the log is blocked; further ones are dropped.
pub(super) const LOG_LINES_WAITING: usize = 1_024;

/// Pause between two attempts to enter a full queue, at the end of the program.
const FLUSH_RETRY: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Announces each write, then waits until the test lets it go.
    struct Gate {
        begun: Sender<Vec<u8>>,
        passes: Receiver<()>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.begun.send(bytes.to_vec()).map_err(io::Error::other)?;
            self.passes.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_log_takes_lines_up_to_its_bound_counts_the_rest_and_delays_no_flush_beyond_its_limit() {
        let (begun, writes) = channel();
        let (pass, passes) = channel();
        let log = LogWriter::start(Gate { begun, passes }).unwrap();
        let before = dropped_lines();
        (&log).write_all(b"line").unwrap();
        assert_eq!(writes.recv().unwrap(), b"line");
        // The thread is in the midst of the first line; all of these have to wait.
        for number in 0..LOG_LINES_WAITING + 3 {
            (&log).write_all(number.to_string().as_bytes()).unwrap();
        }
        assert_eq!(dropped_lines() - before, 3);
        let asked = Instant::now();
        log.flush(Duration::from_millis(20));
        assert!(asked.elapsed() < Duration::from_secs(5));
        for _ in 0..=LOG_LINES_WAITING {
            pass.send(()).unwrap();
        }
        log.flush(Duration::from_secs(60));
        let written: Vec<_> = writes.try_iter().collect();
        let expected: Vec<_> = (0..LOG_LINES_WAITING).map(|number| number.to_string().into_bytes()).collect();
        assert_eq!(written, expected, "in order, and all of them before the flush returned");
    }
}
