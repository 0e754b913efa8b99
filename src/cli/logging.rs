//! Where the log goes and what its lines look like.
//!
//! On a terminal: colours. Under systemd: no time (the journal has its own), a priority the journal reads.
//! Elsewhere: plain lines with the time. Always stderr; stdout belongs to results. Logging never waits for the
//! reader of the log ([`LogWriter`]).

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber, error};
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::LogLevel;
use crate::runtime::{LOG_LINES, LogKind, LogRateLimiter, LogWriter, Stderr};

/// The running log: its level can change while the program runs. What was logged is written when this is dropped.
#[derive(Debug)]
pub struct Logs {
    writer: Arc<LogWriter>,
    level: reload::Handle<LevelFilter, Registry>,
    /// The command line named the level: the configuration has no say.
    is_fixed: bool,
}

impl Logs {
    /// Starts logging for the whole process: as much as the command line says, or else `otherwise`, until
    /// a configuration says more.
    ///
    /// A panic is logged, too: written to stderr by the thread that panics, it would wait for the reader of the log.
    ///
    /// # Errors
    /// If logging has been started before, or there is no thread for it.
    pub fn start(named: Option<LogLevel>, otherwise: LogLevel) -> io::Result<Self> {
        let writer = Arc::new(LogWriter::start(Stderr)?);
        let (filter, level) = reload::Layer::new(filter(named.unwrap_or(otherwise)));
        let registry = tracing_subscriber::registry().with(filter);
        // A log line that cannot be written must not become a panic about stderr.
        let lines = layer().with_writer(Arc::clone(&writer)).with_target(false).log_internal_errors(false);
        // A report has the last lines, with their times, whatever stderr is.
        let kept = layer().with_writer(|| &LOG_LINES).with_ansi(false).with_target(false);
        let registry = registry.with(kept.log_internal_errors(false));
        if stderr_is_the_journal() {
            registry.with(lines.with_ansi(false).event_format(JournalLine::default())).try_init()
        } else {
            registry.with(lines.with_ansi(io::stderr().is_terminal())).try_init()
        }
        .map_err(io::Error::other)?;
        panic::set_hook(Box::new(log_panic));
        Ok(Self { writer, level, is_fixed: named.is_some() })
    }

    /// Logs as much as a configuration says from now on, unless the command line named the level.
    pub fn set_level(&self, level: LogLevel) {
        if self.is_fixed {
            return;
        }
        // It fails only when nothing is logged any more, at the very end of the process.
        let _at_the_end = self.level.reload(filter(level));
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.writer.flush(FLUSH_PATIENCE);
    }
}

/// Logs what the standard library would write to stderr. A client may have found out how to cause it.
fn log_panic(info: &PanicHookInfo<'_>) {
    static LIMITER: LogRateLimiter = LogRateLimiter::new();
    let Some(held_back) = LIMITER.permit(LogKind::Panic, Instant::now()) else { return };
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        error!(held_back, "{info}\n{backtrace}");
    } else {
        error!(held_back, "{info}");
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Whether stderr is the very stream that systemd says goes to the journal; it may have been redirected since.
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    nix::sys::stat::fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// A line as the journal wants it: a syslog priority in angle brackets, then the text (sd-daemon(3)).
struct JournalLine(Format<Full, ()>);

impl Default for JournalLine {
    fn default() -> Self {
        Self(Format::default().without_time().with_level(false).with_target(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for JournalLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The syslog priority of a level.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// How long the end of the program waits for the log.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_err(|_| io::ErrorKind::Other)?.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_for_the_journal_has_a_priority_and_neither_time_nor_colour() {
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = layer().with_writer(move || writer.clone()).with_ansi(false);
        let log = tracing_subscriber::registry().with(lines.event_format(JournalLine::default()));
        tracing::subscriber::with_default(log, || {
            tracing::warn!(bus = "riser-a", "the port is gone");
            tracing::error!("no");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "<4>the port is gone bus=\"riser-a\"\n<3>no\n");
    }
}
