//! A thread beside the workers, for what neither a line nor a Modbus client waits for: pages, metrics, history.
//!
//! Owns a runtime of one thread that takes the processor last. A page of many meters is milliseconds of work in one
//! piece; on a worker it would hold up every connection and line that is due there. It decides nothing and knows
//! nothing of what runs on it; how much that may become is for its owner to bound.

use std::io;
use std::thread;

use rustix::process::nice;
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::debug;

/// The thread. When this is dropped it ends, and what still runs there is dropped with it.
#[derive(Debug)]
pub struct BackgroundRuntime {
    runtime: Handle,
    _stop: DropGuard,
}

impl BackgroundRuntime {
    /// Starts the thread, under this name.
    ///
    /// # Errors
    /// When the system has no thread or no descriptor left.
    pub fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            if let Err(error) = nice(YIELDING) {
                debug!(%error, "a thread beside the workers keeps their priority");
            }
            runtime.block_on(stopped.cancelled());
        })?;
        Ok(Self { runtime: handle, _stop: stop.drop_guard() })
    }

    /// Runs a task there. What it awaits is to be made by the task itself: a socket belongs to the runtime that
    /// made it.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.runtime.spawn(task)
    }
}

/// Added to the nice value of the process: a thirtieth of the weight of a worker, where both want the same processor.
pub const YIELDING: i32 = 15;
