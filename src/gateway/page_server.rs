//! The server of the status page: its task, and the retries while another program holds its address.
//!
//! Owns one server from its start to its stop. An address that cannot be bound is retried in the background runtime,
//! and nothing waits for it. Whether a start or reload fails because of the address is decided in `status_page`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{AddressKey, StartError, bind, join};
use crate::config::StatusSettings;
use crate::runtime::BackgroundRuntime;
use crate::web;

/// The server of a status page: serving, or waiting for its address.
pub(super) struct PageServer {
    settings: StatusSettings,
    /// Where it serves; `None` while it waits.
    address: Arc<ArcSwapOption<SocketAddr>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl PageServer {
    /// Serves the page on `socket`; without a socket, as soon as its address can be bound.
    pub(super) fn start(
        background: &BackgroundRuntime,
        wanted: &StatusSettings,
        socket: Option<TcpListener>,
        router: Router,
    ) -> Self {
        let (settings, stop) = (wanted.clone(), CancellationToken::new());
        // A socket belongs to the runtime that made it. If it cannot be moved to this one, the address is bound again.
        let socket = socket.and_then(|socket| socket.into_std().ok());
        let bound = socket.as_ref().map(|socket| socket.local_addr().unwrap_or(settings.address));
        let address = Arc::new(ArcSwapOption::from(bound.map(Arc::new)));
        if let Some(address) = bound {
            announce(address, &settings);
        }
        let (wanted, published, stopped) = (wanted.clone(), Arc::clone(&address), stop.clone());
        let task = background.spawn(async move {
            let socket = match socket.and_then(|socket| TcpListener::from_std(socket).ok()) {
                Some(socket) => socket,
                None => {
                    published.store(None);
                    let Some(socket) = stopped.run_until_cancelled(retry(|| bind_page(wanted.address))).await
                    else {
                        return;
                    };
                    let address = socket.local_addr().unwrap_or(wanted.address);
                    published.store(Some(Arc::new(address)));
                    announce(address, &wanted);
                    socket
                }
            };
            web::run(socket, router, wanted.tls, stopped).await;
        });
        Self { settings, address, stop, task }
    }

    /// Its settings.
    pub(super) fn settings(&self) -> &StatusSettings {
        &self.settings
    }

    /// Whether its task runs: it serves, or waits for its address.
    pub(super) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    /// Where it serves, with the port the system chose for port 0; `None` while its address cannot be bound.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.address.load().as_deref().copied().filter(|_| self.is_running())
    }

    /// Stops it at once. Returns where it served.
    pub(super) async fn stop(mut self) -> Option<SocketAddr> {
        self.stop.cancel();
        join(&mut self.task, "status page").await;
        self.address.load().as_deref().copied()
    }
}

/// Binds the address of the page.
///
/// # Errors
/// That of the system, with the address.
pub(super) fn bind_page(address: SocketAddr) -> Result<TcpListener, StartError> {
    bind(address).map_err(|error| StartError::Bind { key: AddressKey::Status, address, error })
}

fn announce(address: SocketAddr, settings: &StatusSettings) {
    let token = if settings.token.is_some() { "needed" } else { "none" };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    info!(%address, scheme, token, "status page");
}

/// Binds the address as soon as possible; logs one warning however long that takes.
async fn retry<T>(bind: impl Fn() -> Result<T, StartError>) -> T {
    let mut due = interval(RETRY_PERIOD);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned = false;
    loop {
        due.tick().await;
        match bind() {
            Ok(socket) => return socket,
            Err(_) if warned => {}
            Err(error) => {
                warned = true;
                warn!("no status page: {error}; retrying every {RETRY_PERIOD:?}");
            }
        }
    }
}

/// Time between two attempts to bind the address.
const RETRY_PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, Write};
    use std::net::TcpListener as Taken;
    use std::sync::{Mutex, PoisonError};

    use tokio::time::{advance, timeout};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_taken_address_is_tried_every_period_with_one_warning() {
        let sink = Sink::default();
        let writer = sink.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let _guard = tracing::subscriber::set_default(log);
        let address = SocketAddr::from(([127, 0, 0, 1], 8502));
        let is_taken = Cell::new(true);
        let bound = retry(|| {
            let error = || StartError::Bind {
                key: AddressKey::Status,
                address,
                error: io::ErrorKind::AddrInUse.into(),
            };
            if is_taken.get() { Err(error()) } else { Ok(address) }
        });
        tokio::pin!(bound);
        let short = Duration::from_millis(1);
        assert!(timeout(5 * RETRY_PERIOD + short, bound.as_mut()).await.is_err());
        is_taken.set(false);
        assert!(timeout(RETRY_PERIOD - 3 * short, bound.as_mut()).await.is_err(), "tried before its time");
        advance(2 * short).await;
        assert_eq!(timeout(Duration::ZERO, bound).await.expect("the sixth period is over"), address);
        let logged = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let expected = format!("no status page: cannot listen on {address} (`status.address`): ");
        assert_eq!((logged.lines().count(), logged.matches(&expected).count()), (1, 1), "{logged}");
        assert!(logged.contains(" WARN ") && logged.ends_with("; retrying every 10s\n"), "{logged}");
    }

    #[tokio::test]
    async fn a_waiting_server_has_no_address_and_can_be_stopped() {
        let taken = Taken::bind("127.0.0.1:0").unwrap();
        let wanted = StatusSettings { address: taken.local_addr().unwrap(), token: None, tls: None };
        let background = BackgroundRuntime::start("status").unwrap();
        let waiting = PageServer::start(&background, &wanted, None, Router::new());
        assert_eq!((waiting.address(), waiting.settings()), (None, &wanted));
        // Returns when the task has ended.
        assert_eq!(waiting.stop().await, None);
    }
}
