//! The supervisor of a bus: starts its task, and restarts it after a panic.
//!
//! Owns the pause between restarts and their count. A new task has nothing of the one before: like the first, it sends
//! nothing until answers that units may owe have come. Requests of the old task are answered 0x0A as they are dropped
//! ([`ReplySender`]), and so are new ones until the next task runs.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::line::{BusId, Request, View};
use crate::runtime::Timer;
use crate::serial::bus_task;
use crate::serial::bus_task::{BusParts, BusSettings};
use crate::serial::connection::Acceptance;
use crate::serial::handle::{Reconnect, ReplySender};
use crate::serial::port::OpenPort;
use crate::serial::port_view::PortView;
use crate::serial::watchdog::Watchdog;
use crate::traffic::Traffic;

/// The parts each task of a bus is built from.
#[derive(Debug)]
pub struct Supervised {
    /// Which bus.
    pub id: BusId,
    /// The settings of its line and port; a reload sends new ones.
    pub settings: watch::Receiver<BusSettings>,
    /// Where it publishes the view.
    pub view: Arc<ArcSwap<View>>,
    /// Where it records its line's traffic.
    pub traffic: Arc<Traffic>,
    /// Where it publishes the state of the port.
    pub port: Arc<ArcSwap<PortView>>,
    /// Ends the task and its supervisor.
    pub stop: CancellationToken,
    /// Where each task registers.
    pub watchdog: Watchdog,
    /// Number of restarts after a panic.
    pub restarts: Arc<AtomicU64>,
}

/// Runs the tasks of a bus, one after another, until one ends without a panic or the bus is stopped. The first receives
/// `requests`, later ones what `reconnect` returns; `opener` makes the function with which each opens its port.
pub async fn run<S, E, F, O>(
    bus: Supervised,
    mut requests: mpsc::Receiver<Request<ReplySender>>,
    reconnect: Reconnect,
    mut opener: impl FnMut() -> F,
    timer: fn() -> Timer,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    E: fmt::Display + Send + 'static,
    F: FnMut(Acceptance) -> O + Send + 'static,
    O: Future<Output = Result<OpenPort<S>, E>> + Send + 'static,
{
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let BusSettings { line, port } = bus.settings.borrow().clone();
        let name = line.name.clone();
        let parts = BusParts {
            id: bus.id,
            line,
            device: port.device,
            reloads: Some(bus.settings.clone()),
            requests,
            view: Arc::clone(&bus.view),
            traffic: Arc::clone(&bus.traffic),
            port: Arc::clone(&bus.port),
            stop: bus.stop.clone(),
            heartbeat: bus.watchdog.add(bus.id, &name),
        };
        let started = Instant::now();
        let Err(ended) = tokio::spawn(bus_task::run(parts, opener(), timer())).await else { return };
        let why = panic_message(ended);
        bus.forget(&why);
        if started.elapsed() >= CALM {
            pause = RESTART_PAUSE_MIN;
        }
        error!(bus = %name, "the task of the bus panicked: {why}; clients get 0x0A until it is restarted in {pause:?}");
        tokio::select! {
            biased;
            // A stopped bus must not count as silent.
            () = bus.stop.cancelled() => return bus.watchdog.add(bus.id, &name).end(),
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
        let Some(next) = reconnect.reconnect() else { return };
        requests = next;
        bus.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Supervised {
    /// Everything the task published may be wrong: a write may have been in progress.
    fn forget(&self, why: &str) {
        self.view.store(Arc::default());
        let mut port = PortView::clone(&self.port.load());
        port.lose(format!("the task of the bus panicked: {why}"));
        self.port.store(Arc::new(port));
    }
}

/// The message of a task that panicked.
#[must_use]
pub fn panic_message(ended: JoinError) -> String {
    let payload = match ended.try_into_panic() {
        Ok(payload) => payload,
        Err(cancelled) => return cancelled.to_string(),
    };
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| String::from("no message"))
}

/// The pause before the first restart.
pub const RESTART_PAUSE_MIN: Duration = Duration::from_millis(250);

/// The pause doubles with each restart, up to this.
pub const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);

/// A task that ran for this long is restarted after the first pause again.
pub const CALM: Duration = Duration::from_secs(60);
