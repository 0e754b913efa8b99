//! The supervisor of a serial client: starts its task, and restarts it after a panic.
//!
//! A new task has nothing of the one before. The client repeats what was not answered, and a write whose outcome was
//! still to be recorded is recorded as unknown when it is dropped.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};
use tracing::error;

use super::task::{self, SerialClientParts};
use crate::runtime::Timer;
use crate::serial::{
    Acceptance, CALM, OpenPort, PortView, RESTART_PAUSE_MAX, RESTART_PAUSE_MIN, panic_message,
};

/// Serves the client until it is stopped or removed. `opener` makes the function with which each task opens the port.
pub async fn supervise<S, E, F, O>(
    mut parts: SerialClientParts,
    mut opener: impl FnMut() -> F,
    timer: fn() -> Timer,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    E: fmt::Display + Send + 'static,
    F: FnMut(Acceptance) -> O + Send + 'static,
    O: Future<Output = Result<OpenPort<S>, E>> + Send + 'static,
{
    let _at_the_end = parts.port_closed.clone().drop_guard();
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let started = Instant::now();
        let Err(ended) = tokio::spawn(task::run(parts.clone(), opener(), timer())).await else { return };
        let why = panic_message(ended);
        let mut port = PortView::clone(&parts.port.load());
        port.lose(format!("the task of the serial client panicked: {why}"));
        parts.port.store(Arc::new(port));
        if started.elapsed() >= CALM {
            pause = RESTART_PAUSE_MIN;
        }
        let device = &parts.client_port.device;
        error!(listener = %device, "the task of the serial client panicked: {why}; it is restarted in {pause:?}");
        tokio::select! {
            biased;
            () = parts.stop.cancelled() => return,
            () = parts.removed.cancelled() => return,
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
        // A reload may have come in the meantime.
        if let Some(present) = parts.listener.load().settings.at.serial() {
            parts.client_port = present.clone();
        }
    }
}
