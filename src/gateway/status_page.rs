//! The status page of a gateway: its sources, its server, and the sampling of history and events.
//!
//! Owns what survives a reload: the cell with the sources, and the history. If the address of the page is taken, a
//! start fails only if the configuration names that address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::event_log::{EventLog, EventSampler};
use super::page_server::{self, PageServer};
use super::{AddressKey, StartError, bind_with_retries, collide, join};
use crate::config::StatusSettings;
use crate::config::{self, Config};
use crate::line::BusId;
use crate::runtime::BackgroundRuntime;
use crate::status::DoctorReport;
use crate::traffic::COLLECT_PERIOD;
use crate::web::{self, SharedHistory, SharedSources, Sources};

/// The status page of a running gateway; its history is kept even while the page is off.
///
/// All of it runs on its own thread: no line and no client waits while a page is rendered.
pub(super) struct StatusPage {
    background: BackgroundRuntime,
    sources: SharedSources,
    history: SharedHistory,
    events: EventLog,
    server: Option<PageServer>,
    sampler: JoinHandle<()>,
    stop: CancellationToken,
}

impl fmt::Debug for StatusPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusPage").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl StatusPage {
    /// Starts the history, without a page. It is there when a reload switches the page on.
    ///
    /// # Errors
    /// When its thread cannot be started.
    pub(super) fn new(started: Instant, events: EventLog) -> Result<Self, StartError> {
        let background = BackgroundRuntime::start("status").map_err(|error| StartError::Thread { error })?;
        let sources = Arc::new(ArcSwap::from_pointee(Sources::empty(started)));
        let history = SharedHistory::default();
        let stop = CancellationToken::new();
        let sampler = background.spawn(sample(
            Arc::clone(&sources),
            history.clone(),
            EventSampler::new(events.clone()),
            stop.clone(),
        ));
        Ok(Self { background, sources, history, events, server: None, sampler, stop })
    }

    /// Sets the sources and serves the page on `socket`, if there is one.
    pub(super) fn open(&mut self, config: &Config, socket: Option<TcpListener>, sources: Sources) {
        self.sources.store(Arc::new(sources));
        self.server = config.status.as_ref().and_then(|wanted| self.serve(wanted, socket));
    }

    /// The cell with the sources, which each reload fills anew.
    pub(super) fn sources(&self) -> SharedSources {
        Arc::clone(&self.sources)
    }

    /// The generation of the next sources.
    pub(super) fn next_generation(&self) -> u64 {
        self.sources.load().generation + 1
    }

    /// Where the page is served, with the port the system chose for port 0; `None` also while its address cannot be
    /// bound.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().and_then(PageServer::address)
    }

    /// What is wrong now, made on the thread of the page.
    ///
    /// # Errors
    /// When that thread has ended or failed.
    pub(super) async fn doctor_report(&self) -> Result<DoctorReport, JoinError> {
        let (sources, history) = (Arc::clone(&self.sources), self.history.clone());
        let made = self.background.spawn(async move {
            let published = sources.load().published();
            history.with(|history| DoctorReport::of(&published, history))
        });
        made.await
    }

    /// What the pages show of the last hours.
    pub(super) fn history(&self) -> SharedHistory {
        self.history.clone()
    }

    /// Whether the running server, serving or waiting for its address, has the settings `wanted`.
    fn is_up_to_date(&self, wanted: Option<&StatusSettings>) -> bool {
        match &self.server {
            Some(server) => server.is_running() && Some(server.settings()) == wanted,
            None => wanted.is_none(),
        }
    }

    /// Binds the address of the page after a reload; `None` if it is unchanged, or can be bound only after the present
    /// server has stopped.
    ///
    /// # Errors
    /// When the configuration names the address and it cannot be bound.
    pub(super) fn bind_new(&self, config: &Config) -> Result<Option<TcpListener>, StartError> {
        let wanted = config.status.as_ref().map(|status| status.settings.address);
        if wanted == self.server.as_ref().map(|server| server.settings().address) {
            return Ok(None);
        }
        match bind_page(config) {
            // Our own server has it, as when 127.0.0.1 becomes 0.0.0.0.
            Err(StartError::Bind { address, error, .. })
                if error.kind() == io::ErrorKind::AddrInUse
                    && self.address().is_some_and(|served| collide(served, address)) =>
            {
                Ok(None)
            }
            bound => bound,
        }
    }

    /// Applies a new configuration.
    pub(super) async fn reload(&mut self, config: &Config, socket: Option<TcpListener>, sources: Sources) {
        let buses: Vec<BusId> = sources.buses.iter().map(|bus| bus.id).collect();
        let traffic = Arc::clone(&sources.traffic);
        self.sources.store(Arc::new(sources));
        // On the thread of the page, because it may have to wait for readers there.
        let _forgotten = self.background.spawn(async move { traffic.keep_only(&buses) });
        if self.is_up_to_date(config.status.as_ref().map(|status| &status.settings)) {
            return;
        }
        let left = match self.server.take() {
            Some(server) => server.stop().await,
            None => None,
        };
        if let Some(address) = left {
            info!(%address, "status page closed");
        }
        let Some(wanted) = &config.status else { return };
        let address = wanted.settings.address;
        let socket = match socket {
            Some(socket) => Some(socket),
            // The old server had this address or one that excludes it, so it had to stop first.
            None if left.is_some_and(|left| collide(left, address)) => match bind_with_retries(address).await
            {
                Ok(socket) => Some(socket),
                Err(error) => {
                    warn_if_default(wanted, &StartError::Bind { key: AddressKey::Status, address, error });
                    None
                }
            },
            None => None,
        };
        self.server = self.serve(wanted, socket);
    }

    /// Stops the page and the history at once.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let _address = server.stop().await;
        }
        join(&mut self.sampler, "history").await;
    }

    /// Starts the server. Without a socket it waits for its address if the configuration names that. A page at the
    /// default address does not wait: it could take the address from a gateway whose configuration names it.
    fn serve(&self, wanted: &config::Status, socket: Option<TcpListener>) -> Option<PageServer> {
        if socket.is_none() && !wanted.given {
            return None;
        }
        let router =
            web::router(&self.sources, &self.history, &self.events.shared(), wanted.settings.clone());
        Some(PageServer::start(&self.background, &wanted.settings, socket, router))
    }
}

/// Binds the page's address; `None` if the page is off, or the default address cannot be bound.
///
/// # Errors
/// When the configuration names the address and it cannot be bound.
pub(super) fn bind_page(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(status) = &config.status else { return Ok(None) };
    match page_server::bind_page(status.settings.address) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if status.given => Err(error),
        Err(error) => {
            warn_if_default(status, &error);
            Ok(None)
        }
    }
}

/// Warns that there is no page at the default address. For an address in the configuration, the start or reload fails,
/// or the server warns.
fn warn_if_default(wanted: &config::Status, error: &StartError) {
    if !wanted.given {
        warn!(
            "no status page: {error}; set another address with the key `status`, or with --status of a demo"
        );
    }
}

/// Samples history and events once a second, and collects the traffic more often.
async fn sample(
    sources: SharedSources,
    history: SharedHistory,
    mut events: EventSampler,
    stop: CancellationToken,
) {
    let (mut due, mut traffic_due) = (interval(SAMPLE_PERIOD), interval(COLLECT_PERIOD));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    traffic_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = traffic_due.tick() => sources.load().traffic.collect(),
            _ = due.tick() => {
                let published = sources.load().published();
                history.with(|history| history.sample(&published, published.at));
                events.sample(&published, &history);
            }
        }
    }
}

/// Time between two samples of history and events.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
