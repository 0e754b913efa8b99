//! A thread beside the workers, for work that neither a line nor a Modbus client waits for: pages, metrics, history.
//!
//! Owns a runtime of one thread with the lowest priority. A page of many meters is milliseconds of work in one piece;
//! on a worker it would delay every connection and line that is due there. It has no knowledge of its tasks; their
//! owner bounds them.

use std::io;
use std::thread;

use rustix::process::nice;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

/// The thread. When this is dropped it ends, and its tasks are dropped with it.
#[derive(Debug)]
pub struct BackgroundRuntime {
    runtime: Handle,
    _stop: DropGuard,
}

impl BackgroundRuntime {
    /// Starts the thread, under this name.
    ///
    /// # Errors
    /// If the system has no thread or no descriptor left.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(error) = nice(YIELDING) {
                debug!(%error, "cannot lower the priority of a background thread");
            }
            runtime.block_on(stopped.cancelled());
        })?;
        Ok(Self { runtime: handle, _stop: stop.drop_guard() })
    }

    /// The runtime of the thread, for sets of tasks.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.runtime
    }

    /// Runs a task on the thread. The task itself must create the sockets it awaits: a socket belongs to the runtime
    /// that created it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }
}

/// Added to the nice value of the process: a thirtieth of the weight of a worker, if both compete for a processor.
pub const YIELDING: i32 = 15;
