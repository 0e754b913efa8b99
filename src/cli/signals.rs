//! The signals a command obeys: SIGINT and SIGTERM end it, SIGHUP has it read its configuration again.

use std::io;
use std::process;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;

/// A token that SIGINT or SIGTERM cancels; a second one of either ends the process at once.
///
/// # Errors
/// What the system says when it takes no handlers.
///
/// # Panics
/// Outside a tokio runtime.
pub fn stop_on_signals() -> io::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    tokio::spawn(async move {
        for second in [false, true] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if second {
                process::exit(Exit::Fault.code().into());
            }
            stopping.cancel();
        }
    });
    Ok(stop)
}

/// Each SIGHUP, from now on.
///
/// # Errors
/// What the system says when it takes no handler.
///
/// # Panics
/// Outside a tokio runtime.
pub fn reload_signals() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}
