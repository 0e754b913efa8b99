//! The status page's place in the gateway: where it gets its picture, its server, and the history's clock.
//!
//! Owns what survives a reload: the cell with what surrounds the page, and the history. A page whose address is
//! taken keeps nothing else from running, unless the file names it; it comes when the address is free.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::event_log::{EventLog, EventSampler};
use super::server::Server;
use super::{StartError, bind, bind_patiently, collide, join};
use crate::config::StatusSettings;
use crate::config::{self, Config};
use crate::runtime::BackgroundRuntime;
use crate::traffic::COLLECT_PERIOD;
use crate::web::{self, SharedHistory, SharedSources, Sources};

/// The page of a running gateway, and what it needs while there is none.
///
/// All of it runs on a thread of its own: neither a line nor a client waits until a page is written.
pub(super) struct StatusPage {
    background: BackgroundRuntime,
    sources: SharedSources,
    history: SharedHistory,
    events: EventLog,
    server: Option<Server>,
    sampler: JoinHandle<()>,
    stop: CancellationToken,
}

impl fmt::Debug for StatusPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusPage").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl StatusPage {
    /// Starts the history; the page has nothing to show yet. A reload that switches the page on finds it there.
    ///
    /// # Errors
    /// When no thread is left for it.
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

    /// Shows these sources on `socket`, if there is one.
    pub(super) fn open(&mut self, config: &Config, socket: Option<TcpListener>, sources: Sources) {
        self.sources.store(Arc::new(sources));
        self.server = config.status.as_ref().and_then(|wanted| self.serve(wanted, socket));
    }

    /// Of the sources that come next.
    pub(super) fn next_generation(&self) -> u64 {
        self.sources.load().generation + 1
    }

    /// Where the page is, with the port the system chose for port 0; `None` also while its address cannot be had.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().and_then(Server::address)
    }

    /// What the pages show of the last hours.
    pub(super) fn history(&self) -> SharedHistory {
        self.history.clone()
    }

    /// Whether the page that is served, or waits for its address, is the one that is wanted.
    fn serves(&self, wanted: Option<&StatusSettings>) -> bool {
        match &self.server {
            Some(server) => server.is_running() && Some(server.settings()) == wanted,
            None => wanted.is_none(),
        }
    }

    /// Binds the address of a page that is to replace the one there is, as far as it is another and can be had
    /// before that one has gone.
    ///
    /// # Errors
    /// When the file names the address and it cannot be bound.
    pub(super) fn bind_new(&self, config: &Config) -> Result<Option<TcpListener>, StartError> {
        let wanted = config.status.as_ref().map(|status| status.settings.address);
        if wanted == self.server.as_ref().map(|server| server.settings().address) {
            return Ok(None);
        }
        match bind_page(config) {
            // As when 127.0.0.1 becomes 0.0.0.0: our own page is in the way.
            Err(StartError::Bind { address, error })
                if error.kind() == io::ErrorKind::AddrInUse
                    && self.address().is_some_and(|served| collide(served, address)) =>
            {
                Ok(None)
            }
            bound => bound,
        }
    }

    /// Takes over what a reload changed.
    pub(super) async fn reload(&mut self, config: &Config, socket: Option<TcpListener>, sources: Sources) {
        let buses: Vec<String> = sources.buses.iter().map(|bus| bus.settings.line.name.clone()).collect();
        let traffic = Arc::clone(&sources.traffic);
        self.sources.store(Arc::new(sources));
        // By the thread of the readers, for whom it may have to wait.
        let _forgotten = self.background.spawn(async move { traffic.keep_only(&buses) });
        if self.serves(config.status.as_ref().map(|status| &status.settings)) {
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
            // The old one had the address or was in its way, so it had to be gone first.
            None if left.is_some_and(|left| collide(left, address)) => match bind_patiently(address).await {
                Ok(socket) => Some(socket),
                Err(error) => {
                    warn_unless_given(wanted, &error);
                    None
                }
            },
            None => None,
        };
        self.server = self.serve(wanted, socket);
    }

    /// Ends the page at once, and the history.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        if let Some(server) = self.server.take() {
            let _address = server.stop().await;
        }
        join(&mut self.sampler, "history").await;
    }

    /// A page whose address the file names, and which a reload could not move, waits for it. A page at the default
    /// address does not: it would hold the address against a gateway whose file names it.
    fn serve(&self, wanted: &config::Status, socket: Option<TcpListener>) -> Option<Server> {
        if socket.is_none() && !wanted.given {
            return None;
        }
        let router =
            web::router(&self.sources, &self.history, &self.events.shared(), wanted.settings.clone());
        Some(Server::start(&self.background, &wanted.settings, socket, router))
    }
}

/// Binds the page's address; `None` where there is none, or where the default one cannot be bound.
///
/// # Errors
/// When the file names an address that cannot be had.
pub(super) fn bind_page(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(status) = &config.status else { return Ok(None) };
    match bind(status.settings.address) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if status.given => Err(error),
        Err(error) => {
            warn_unless_given(status, &error);
            Ok(None)
        }
    }
}

/// A page whose address the file names is refused, or warned of by its server.
fn warn_unless_given(wanted: &config::Status, error: &StartError) {
    if !wanted.given {
        warn!("no status page: {error}; the key `status`, or --status of a demo, gives it another address");
    }
}

/// Looks at the gateway once a second, and collects its traffic more often.
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

/// Between two looks at the gateway for its history.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
