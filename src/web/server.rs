//! Connections of the status address: how many there are, and how long each may take.
//!
//! Owns the accept loop and its limits. It never looks into a request.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::streams::Endless;
use crate::runtime::{LogKind, LogRateLimiter};
use crate::server::listener;

/// Serves until `stop` is cancelled; then every response ends at once, for nothing here can be lost.
pub async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
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
                    warn!(%error, held_back, "the status page cannot accept connections; trying on");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        has_complained = false;
        connections.retain(|one| !one.task.is_finished());
        if connections.len() >= MAX_CONNECTIONS && !evict_silent(&mut connections) {
            debug!(client = %peer, "turned away from the status page: full");
            continue;
        }
        let has_asked = Arc::new(AtomicBool::new(false));
        let task = tasks.spawn(serve(stream, router.clone(), Arc::clone(&has_asked)));
        connections.push(Connection { has_asked, task });
    }
    drop(listener);
    tasks.shutdown().await;
}

struct Connection {
    has_asked: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Closes the oldest connection without a request; `false` if there is none.
fn evict_silent(connections: &mut Vec<Connection>) -> bool {
    let silent = connections.iter().position(|one| !one.has_asked.load(Ordering::Relaxed));
    silent.map(|silent| connections.remove(silent).task.abort()).is_some()
}

fn report_panic(ended: Result<(), JoinError>, log_limiter: &LogRateLimiter) {
    if let Err(error) = ended
        && error.is_panic()
        && let Some(held_back) = log_limiter.permit(LogKind::TaskFailure, Instant::now())
    {
        error!(%error, held_back, "the task of a page failed");
    }
}

async fn serve(stream: TcpStream, router: Router, has_asked: Arc<AtomicBool>) {
    // A viewer that is gone without a word must not keep its place, also where nothing is sent to it.
    if let Err(error) = listener::find_out_vanished(&stream) {
        debug!(%error, "the socket does not take all options");
    }
    let is_endless = AtomicBool::new(false);
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        let response = router.call(request);
        let is_endless = &is_endless;
        async move {
            let response = response.await?;
            is_endless.store(response.extensions().get::<Endless>().is_some(), Ordering::Relaxed);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        // One request each: an idle connection holds a place, and opening another costs a browser nothing.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    loop {
        match timeout(RESPONSE_TIMEOUT, connection.as_mut()).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => return debug!(%error, "a request for the status page failed"),
            Err(_) if is_endless.load(Ordering::Relaxed) => {}
            Err(_) => return debug!("a client of the status page did not read the response"),
        }
    }
}

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 32;

/// Headers of a request.
pub const MAX_HEADERS: usize = 64;

/// Bytes of a request, which is all headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// From the connection to the end of the headers.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// From the connection to the last byte of the response, unless it is a stream.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
