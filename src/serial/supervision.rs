//! The supervisor of a bus: starts its task, and starts it anew when it has panicked.
//!
//! Owns the pause between two starts and their count. A new task knows nothing of the one before: like the first, it
//! sends nothing until what units may still owe has come. Requests that the old one had are answered 0x0A as it goes
//! ([`ReplySender`]), and so is whatever comes until the new one runs.

use std::fmt;
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

use crate::line::{Request, View};
use crate::runtime::Timer;
use crate::serial::bus_task;
use crate::serial::bus_task::{BusParts, BusSettings};
use crate::serial::handle::{Reconnect, ReplySender};
use crate::serial::port::OpenPort;
use crate::serial::port_view::PortView;
use crate::serial::watchdog::Watchdog;
use crate::traffic::Traffic;

/// What each task of a bus is made of.
#[derive(Debug)]
pub struct Supervised {
    /// The settings of its line and port; a reload sends others.
    pub settings: watch::Receiver<BusSettings>,
    /// Where it publishes.
    pub view: Arc<ArcSwap<View>>,
    /// Where its line's records go.
    pub traffic: Arc<Traffic>,
    /// Where it publishes the state of the port.
    pub port: Arc<ArcSwap<PortView>>,
    /// Ends the task and its supervisor.
    pub stop: CancellationToken,
    /// Where each task is known to the watchdog.
    pub watchdog: Watchdog,
    /// How often a task was started after one that panicked.
    pub restarts: Arc<AtomicU64>,
}

/// Runs the tasks of a bus, one after another, until one ends as it should or the bus is stopped. The first takes
/// `requests`, those after it what `reconnect` gives them; `opener` makes what each opens its port with.
pub async fn run<S, E, F>(
    bus: Supervised,
    mut requests: mpsc::Receiver<Request<ReplySender>>,
    reconnect: Reconnect,
    mut opener: impl FnMut() -> F,
    timer: fn() -> Timer,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    E: fmt::Display + Send + 'static,
    F: FnMut() -> Result<OpenPort<S>, E> + Send + 'static,
{
    let mut pause = RESTART_PAUSE_MIN;
    loop {
        let BusSettings { line, port } = bus.settings.borrow().clone();
        let name = line.name.clone();
        let parts = BusParts {
            line,
            device: port.device.display().to_string(),
            reloads: Some(bus.settings.clone()),
            requests,
            view: Arc::clone(&bus.view),
            traffic: Arc::clone(&bus.traffic),
            port: Arc::clone(&bus.port),
            stop: bus.stop.clone(),
            heartbeat: bus.watchdog.add(&name),
        };
        let started = Instant::now();
        let Err(ended) = tokio::spawn(bus_task::run(parts, opener(), timer())).await else { return };
        let why = message(ended);
        bus.forget(&why);
        if started.elapsed() >= CALM {
            pause = RESTART_PAUSE_MIN;
        }
        error!(bus = %name, "the task of the bus panicked: {why}; clients get 0x0A until it is restarted in {pause:?}");
        tokio::select! {
            biased;
            // A stopped bus must not count as silent.
            () = bus.stop.cancelled() => return bus.watchdog.add(&name).end(),
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(RESTART_PAUSE_MAX);
        let Some(next) = reconnect.reconnect() else { return };
        requests = next;
        bus.restarts.fetch_add(1, Ordering::Relaxed);
    }
}

impl Supervised {
    /// Whatever the task published may be wrong: a write may have been under way.
    fn forget(&self, why: &str) {
        self.view.store(Arc::default());
        let mut port = PortView::clone(&self.port.load());
        port.lose(format!("the task of the bus panicked: {why}"));
        self.port.store(Arc::new(port));
    }
}

/// The message of a task that panicked.
fn message(ended: JoinError) -> String {
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

/// A task that ran for so long begins with the first pause again.
pub const CALM: Duration = Duration::from_secs(60);
