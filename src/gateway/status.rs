//! The status page's place in the gateway: where it gets its picture, its server, and the history's clock.
//!
//! Owns what survives a reload: the cell with what surrounds the page, and the history. A page whose address is
//! taken keeps nothing else from running, unless somebody asked for it by name; it comes when the address is free.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use nix::sys::utsname::uname;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::server::Server;
use super::{StartError, bind, bind_patiently, collide, feeds, join};
use crate::bus::view::View;
use crate::config::{self, Config};
use crate::io::aside::Aside;
use crate::io::http;
use crate::io::names::Names;
use crate::io::port_view::PortView;
use crate::io::process::Process;
use crate::io::settings::{ListenerSettings, StatusSettings};
use crate::io::stamp::utc;
use crate::io::tally::Tally;
use crate::io::traffic::{COLLECT_PERIOD, Traffic};
use crate::status::history::History;
use crate::status::picture::{BusPicture, ListenerPicture, Picture};
use crate::status::site;

/// What pictures are taken of; replaced as a whole by a reload.
#[derive(Debug)]
pub(super) struct Surroundings {
    pub(super) started: Instant,
    pub(super) buses: Vec<BusSource>,
    pub(super) listeners: Vec<ListenerSource>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) names: Arc<Names>,
    /// As it is obeyed, every default written out.
    pub(super) configuration: String,
}

/// What was seen of the gateway so far, as it is looked at once a second.
#[derive(Clone, Debug, Default)]
pub(super) struct Looked(Arc<Mutex<History>>);

impl Looked {
    pub(super) fn with<R>(&self, read: impl FnOnce(&mut History) -> R) -> R {
        read(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One bus.
#[derive(Debug)]
pub(super) struct BusSource {
    pub(super) settings: Arc<config::Bus>,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) port: Arc<ArcSwap<PortView>>,
    pub(super) restarts: Arc<AtomicU64>,
}

/// One listener.
#[derive(Debug)]
pub(super) struct ListenerSource {
    pub(super) address: SocketAddr,
    pub(super) settings: ListenerSettings,
    pub(super) buses: Vec<String>,
    pub(super) tally: Arc<Tally>,
}

/// The page of a running gateway, and what it needs while there is none.
///
/// All of it runs aside: neither a line nor a client waits until a page is written.
pub(super) struct StatusPage {
    aside: Aside,
    surroundings: Arc<ArcSwap<Surroundings>>,
    looked: Looked,
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
    pub(super) fn new(started: Instant) -> Result<Self, StartError> {
        let aside = Aside::start("status").map_err(|error| StartError::Thread { error })?;
        let nothing = Surroundings {
            started,
            buses: Vec::new(),
            listeners: Vec::new(),
            traffic: Arc::default(),
            names: Arc::default(),
            configuration: String::new(),
        };
        let surroundings = Arc::new(ArcSwap::from_pointee(nothing));
        let looked = Looked::default();
        let stop = CancellationToken::new();
        let sampler = aside.spawn(sample(Arc::clone(&surroundings), looked.clone(), stop.clone()));
        Ok(Self { aside, surroundings, looked, server: None, sampler, stop })
    }

    /// Shows these surroundings on `socket`, if there is one.
    pub(super) fn open(&mut self, config: &Config, socket: Option<TcpListener>, surroundings: Surroundings) {
        self.surroundings.store(Arc::new(surroundings));
        self.server = config.status.as_ref().and_then(|wanted| self.serve(wanted, socket));
    }

    /// Where the page is, with the port the system chose for port 0; `None` also while its address cannot be had.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.server.as_ref().and_then(Server::address)
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
    /// When somebody asked for the page and its address cannot be had.
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
    pub(super) async fn reload(
        &mut self,
        config: &Config,
        socket: Option<TcpListener>,
        surroundings: Surroundings,
    ) {
        let buses: Vec<String> =
            surroundings.buses.iter().map(|bus| bus.settings.line.name.clone()).collect();
        let traffic = Arc::clone(&surroundings.traffic);
        self.surroundings.store(Arc::new(surroundings));
        // By the thread of the readers, for whom it may have to wait.
        let _forgotten = self.aside.spawn(async move { traffic.keep_only(&buses) });
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

    /// A page that somebody asked for and that a reload could not move waits for its address. One that nobody asked
    /// for does not: it would have the address when the gateway that was told to use it starts again, and could not.
    fn serve(&self, wanted: &config::Status, socket: Option<TcpListener>) -> Option<Server> {
        if socket.is_none() && !wanted.given {
            return None;
        }
        let (surroundings, looked) = (Arc::clone(&self.surroundings), self.looked.clone());
        let site: http::Site = Arc::new(move |question| {
            if let Some(reply) = feeds::answer(question, &surroundings, &looked) {
                return reply;
            }
            let process = if question.path == "/metrics" { Process::read() } else { Process::default() };
            let picture = surroundings.load().picture(process);
            looked.with(|history| site::answer(question, &picture, history, Instant::now()))
        });
        Some(Server::start(&self.aside, &wanted.settings, socket, site))
    }
}

impl Surroundings {
    pub(super) fn picture(&self, process: Process) -> Picture {
        let bus = |bus: &BusSource| BusPicture {
            settings: Arc::clone(&bus.settings),
            view: bus.view.load_full(),
            port: bus.port.load_full(),
            restarts: bus.restarts.load(Ordering::Relaxed),
        };
        let listener = |listener: &ListenerSource| ListenerPicture {
            address: listener.address,
            settings: listener.settings.clone(),
            buses: listener.buses.clone(),
            tally: Arc::clone(&listener.tally),
        };
        Picture {
            started: self.started,
            buses: self.buses.iter().map(bus).collect(),
            listeners: self.listeners.iter().map(listener).collect(),
            process,
            traffic: Arc::clone(&self.traffic),
            name: host_name(),
            clock: clock(SystemTime::now()),
        }
    }
}

/// What the host is called, where somebody gave it a name.
fn host_name() -> Option<String> {
    let name = uname().ok()?.nodename().to_str()?.to_owned();
    (!matches!(name.as_str(), "" | "localhost" | "(none)")).then_some(name)
}

/// `2026-11-22 14:03:07 UTC`.
fn clock(now: SystemTime) -> String {
    let stamp = utc(now);
    let (date, time) = stamp.split_once('T').unwrap_or((&stamp, ""));
    format!("{date} {} UTC", time.split('.').next().unwrap_or_default())
}

/// Binds the page's address; `None` where there is none, or where nobody asked for the one that cannot be had.
///
/// # Errors
/// When the file names an address that cannot be had.
pub(super) fn bind_page(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(status) = &config.status else { return Ok(None) };
    match bind(status.settings.address) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if status.given => Err(error),
        // Nobody who did not ask for the page is stopped by it.
        Err(error) => {
            warn_unless_given(status, &error);
            Ok(None)
        }
    }
}

/// One that was asked for is refused, or warned of by its server.
fn warn_unless_given(wanted: &config::Status, error: &StartError) {
    if !wanted.given {
        warn!("no status page: {error}; the key `status`, or --status of a demo, gives it another address");
    }
}

/// Looks at the gateway once a second, and collects its traffic more often.
async fn sample(surroundings: Arc<ArcSwap<Surroundings>>, looked: Looked, stop: CancellationToken) {
    let (mut due, mut traffic_due) = (interval(SAMPLE_PERIOD), interval(COLLECT_PERIOD));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    traffic_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = traffic_due.tick() => surroundings.load().traffic.collect(),
            _ = due.tick() => {
                let picture = surroundings.load().picture(Process::default());
                let now = Instant::now();
                looked.with(|history| history.sample(&picture, now));
            }
        }
    }
}

/// Between two looks at the gateway for its history.
const SAMPLE_PERIOD: Duration = Duration::from_secs(1);
