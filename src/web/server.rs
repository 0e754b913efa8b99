//! Connections of the status address: how many there are, and how long each may take.
//!
//! Owns the accept loop and its limits; never reads a request. A connection that waits for its next request is closed
//! when a new one needs its place.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{self, HeaderValue};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::streams::Endless;
use crate::runtime::{LogKind, LogRateLimiter};
use crate::server::listener;
use crate::tls::{self, TlsServer};

/// Serves until `stop` is cancelled; then every response ends at once, for nothing here can be lost.
pub async fn run(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<TlsServer>>,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let mut connections: Vec<Connection> = Vec::new();
    let log_limiter = LogRateLimiter::new();
    let mut has_complained = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                report_panic(ended, &log_limiter);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut has_complained, true)
                    && let Some(held_back) = log_limiter.permit(LogKind::Admission, Instant::now())
                {
                    warn!(%error, held_back, "the status page cannot accept connections; trying again");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        has_complained = false;
        connections.retain(|one| !one.task.is_finished());
        if connections.len() >= MAX_CONNECTIONS && !evict_idle(&mut connections, Instant::now()) {
            debug!(client = %peer, "turned away from the status page: full");
            continue;
        }
        let activity = Arc::new(Activity::new(Instant::now()));
        let task = tasks.spawn(accept(stream, tls.clone(), router.clone(), Arc::clone(&activity)));
        connections.push(Connection { activity, task });
    }
    drop(listener);
    tasks.shutdown().await;
}

struct Connection {
    activity: Arc<Activity>,
    task: AbortHandle,
}

/// The requests of a connection.
struct Activity {
    opened: Instant,
    requests: AtomicUsize,
    /// When the last one came, in milliseconds after the opening.
    last_ms: AtomicU64,
    is_endless: AtomicBool,
}

impl Activity {
    fn new(opened: Instant) -> Self {
        let (requests, last_ms) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { opened, requests, last_ms, is_endless: AtomicBool::new(false) }
    }

    /// Counts a request. Returns how many there were.
    fn note_request(&self) -> usize {
        let millis = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(millis, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn has_asked(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    /// When the last request came; before the first, when the connection was opened.
    fn last(&self) -> Instant {
        self.opened + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// When the connection is to be closed unless a request comes before; `None` for a stream.
    fn deadline(&self) -> Option<Instant> {
        if self.is_endless.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.last() + if self.has_asked() { RESPONSE_TIMEOUT } else { HEADER_TIMEOUT })
    }

    /// Whether it may be closed to make room, the likeliest idle one first. A response that its client has not taken by
    /// then is given up.
    fn idle_since(&self, now: Instant) -> Option<(bool, Instant)> {
        let is_idle = now.saturating_duration_since(self.last()) >= HEADER_TIMEOUT;
        let is_free = !self.has_asked() || is_idle && !self.is_endless.load(Ordering::Relaxed);
        is_free.then(|| (self.has_asked(), self.last()))
    }
}

/// Closes the oldest connection without a request, else the one idle for longest; `false` if there is none.
fn evict_idle(connections: &mut Vec<Connection>, now: Instant) -> bool {
    let idle = connections
        .iter()
        .enumerate()
        .filter_map(|(index, one)| Some((one.activity.idle_since(now)?, index)));
    idle.min().map(|(_, index)| connections.remove(index).task.abort()).is_some()
}

fn report_panic(ended: Result<(), JoinError>, log_limiter: &LogRateLimiter) {
    if let Err(error) = ended
        && error.is_panic()
        && let Some(held_back) = log_limiter.permit(LogKind::TaskFailure, Instant::now())
    {
        error!(%error, held_back, "the task of a page failed");
    }
}

/// Serves a connection, after its handshake where there is one.
async fn accept(stream: TcpStream, tls: Option<Arc<TlsServer>>, router: Router, activity: Arc<Activity>) {
    // A viewer that is gone without a word must not keep its place, also where nothing is sent to it.
    if let Err(error) = listener::find_out_vanished(&stream) {
        debug!(%error, "the system refused a TCP option of a connection to the status page");
    }
    let Some(server) = tls else { return serve(stream, router, activity).await };
    // A browser that does not trust the certificate ends many a handshake.
    match timeout_at(activity.opened + HEADER_TIMEOUT, tls::accept(&server, stream)).await {
        Ok(Ok((stream, _))) => serve(stream, router, activity).await,
        Ok(Err(failure)) => debug!("no connection to the status page: {failure}"),
        Err(_) => debug!("no connection to the status page: the handshake was not complete in time"),
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, activity: Arc<Activity>) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let is_last = activity.note_request() >= MAX_REQUESTS;
        let response = router.call(request);
        let activity = &activity;
        async move {
            let mut response = response.await?;
            let is_endless = response.extensions().get::<Endless>().is_some();
            activity.is_endless.store(is_endless, Ordering::Relaxed);
            if is_last || is_endless {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        // The deadline below is for the first request and for those after it.
        .header_read_timeout(None)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    loop {
        let deadline = activity.deadline();
        let until = deadline.unwrap_or_else(|| Instant::now() + RESPONSE_TIMEOUT);
        match timeout_at(until, connection.as_mut()).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => return debug!(%error, "a request for the status page failed"),
            // Another request came, or it turned out to be a stream.
            Err(_) if activity.deadline() != deadline || deadline.is_none() => {}
            Err(_) => {
                return debug!(
                    "a client of the status page asked nothing more, or did not read the response"
                );
            }
        }
    }
}

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 32;

/// Headers of a request.
pub const MAX_HEADERS: usize = 64;

/// Bytes of a request, which is all headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// From the connection to the end of the first request's headers; idle for longer, a connection makes room for another.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From a request to the next one, the response included, unless it is a stream. Longer than the minute between two
/// scrapes.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(75);

/// Requests of a connection; after these a client opens another.
pub const MAX_REQUESTS: usize = 1000;

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_after_its_last_request_and_makes_room_before() {
        let activity = Activity::new(Instant::now());
        let opened = Instant::now();
        assert_eq!(activity.deadline(), Some(opened + HEADER_TIMEOUT));
        assert!(activity.idle_since(opened).is_some(), "nothing was requested");
        advance(Duration::from_secs(2)).await;
        let requested = Instant::now();
        assert_eq!(activity.note_request(), 1);
        assert_eq!(activity.deadline(), Some(requested + RESPONSE_TIMEOUT));
        assert!(activity.idle_since(requested).is_none());
        let later = requested + HEADER_TIMEOUT;
        assert_eq!(activity.idle_since(later), Some((true, requested)));
        activity.is_endless.store(true, Ordering::Relaxed);
        assert_eq!((activity.deadline(), activity.idle_since(later)), (None, None));
    }
}
