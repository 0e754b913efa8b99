//! The server of the status page: who gets in, what is asked, and the headers every answer has.
//!
//! Owns the accept loop, its limits, and the judgement of a request: method, size, host, token. It never changes
//! anything, knows none of the pages (a function from question to reply is given to it), and one client that
//! does not ask, read or leave costs the others nothing. Source: RFC 9110 and RFC 9112; hyper does the framing.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Version, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::feed::Feed;
use super::log_rate_limiter::{LogKind, LogRateLimiter};
use super::settings::StatusSettings;
use super::tcp;

/// What the page obeys. One that obeys something else is another server, so that who had the old token is out.
pub struct Serving {
    /// Whether a token is needed, and which.
    pub settings: StatusSettings,
    /// The pages.
    pub site: Site,
}

/// The pages: from what is asked to what is answered, at once.
pub type Site = Arc<dyn Fn(&Question<'_>) -> Reply + Send + Sync>;

/// What is asked, by somebody who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// As it came, beginning with a slash; nothing in it has been decoded.
    pub path: &'a str,
    /// What follows the question mark, as it came.
    pub query: &'a str,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A whole page.
    Page {
        /// The HTTP status code.
        status: u16,
        /// The value of `Content-Type`.
        kind: &'static str,
        /// All of it.
        body: Bytes,
    },
    /// A file of the program at an address that changes with its content, so that it may be kept.
    File {
        /// The value of `Content-Type`.
        kind: &'static str,
        /// All of it.
        body: &'static str,
    },
    /// A stream of server-sent events: at once and then every [`EVENT_PERIOD`] the page of this path, which has to
    /// be one line.
    Events(&'static str),
    /// A page that is made while it is read.
    Feed {
        /// The value of `Content-Type`.
        kind: &'static str,
        /// What it is made by.
        feed: Feed,
    },
}

impl Reply {
    /// A page of plain text.
    #[must_use]
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        Self::Page { status, kind: "text/plain; charset=utf-8", body: Bytes::from(text.into()) }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Serves until `stop` is cancelled; then all ends at once, for nothing here can be lost.
pub async fn run(listener: TcpListener, serving: Serving, stop: CancellationToken) {
    let serving = Arc::new(serving);
    let mut connections = JoinSet::new();
    let mut entered: Vec<Entered> = Vec::new();
    let viewers = Arc::default();
    let log_limiter = LogRateLimiter::new();
    let mut complained = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => {
                report(ended, &log_limiter);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if !std::mem::replace(&mut complained, true)
                    && let Some(held_back) = log_limiter.permit(LogKind::Admission, Instant::now())
                {
                    warn!(%error, held_back, "the status page cannot accept connections; trying on");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        complained = false;
        entered.retain(|one| !one.task.is_finished());
        if entered.len() >= MAX_CONNECTIONS && !make_room(&mut entered) {
            debug!(client = %peer, "turned away from the status page: full");
            continue;
        }
        let asked = Arc::new(AtomicBool::new(false));
        let visit =
            Visit { serving: Arc::clone(&serving), viewers: Arc::clone(&viewers), asked: Arc::clone(&asked) };
        let task = connections.spawn(serve(stream, visit));
        entered.push(Entered { asked, task });
    }
    drop(listener);
    connections.shutdown().await;
}

/// A connection that was let in.
struct Entered {
    asked: Arc<AtomicBool>,
    task: AbortHandle,
}

/// Sends away the one that has been here longest without asking anything; `false` if all have.
fn make_room(entered: &mut Vec<Entered>) -> bool {
    let Some(idle) = entered.iter().position(|one| !one.asked.load(Ordering::Relaxed)) else { return false };
    entered.remove(idle).task.abort();
    true
}

fn report(ended: Result<(), tokio::task::JoinError>, log_limiter: &LogRateLimiter) {
    if let Err(error) = ended
        && error.is_panic()
        && let Some(held_back) = log_limiter.permit(LogKind::TaskFailure, Instant::now())
    {
        error!(%error, held_back, "the task of a page failed");
    }
}

/// What a connection needs to be answered.
#[derive(Clone)]
struct Visit {
    serving: Arc<Serving>,
    viewers: Arc<AtomicUsize>,
    asked: Arc<AtomicBool>,
}

async fn serve(stream: TcpStream, visit: Visit) {
    // A viewer that is gone without a word must not keep its place, also where nothing is sent to it.
    if let Err(error) = tcp::find_out_vanished(&stream) {
        debug!(%error, "the socket does not take all options");
    }
    let endless = Arc::new(AtomicBool::new(false));
    let answer = |request: Request<hyper::body::Incoming>| {
        visit.asked.store(true, Ordering::Relaxed);
        let response = visit.answer(&request);
        endless.store(!matches!(response.body(), Content::Page(_)), Ordering::Relaxed);
        async move { Ok::<_, Infallible>(response) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES)
        // One question each: what is idle costs a connection, and asking anew costs the page nothing.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    tokio::pin!(connection);
    loop {
        match timeout(VISIT_TIMEOUT, connection.as_mut()).await {
            Ok(Ok(())) => break,
            Ok(Err(error)) => return debug!(%error, "a request for the status page failed"),
            Err(_) if endless.load(Ordering::Relaxed) => {}
            Err(_) => return debug!("a client of the status page did not read what it asked for"),
        }
    }
}

impl Visit {
    fn answer<B: Body>(&self, request: &Request<B>) -> Response<Content> {
        let Serving { settings, site } = &*self.serving;
        let reply = judge(request, settings).map_or_else(
            || {
                let uri = request.uri();
                let question = Question { path: uri.path(), query: uri.query().unwrap_or_default() };
                site(&question)
            },
            |refusal| Reply::text(refusal.status().as_u16(), refusal.words()),
        );
        match reply {
            Reply::Page { status, kind, body } => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                respond(status, kind, Content::Page(Some(body)))
            }
            Reply::File { kind, body } => {
                let mut response =
                    respond(StatusCode::OK, kind, Content::Page(Some(Bytes::from_static(body.as_bytes()))));
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
                response
            }
            Reply::Events(path) => self.view("text/event-stream", |viewing| {
                let site = Arc::clone(site);
                Content::Events(Box::new(Events { site, path, due: None, _viewing: viewing }))
            }),
            Reply::Feed { kind, feed } => {
                self.view(kind, |viewing| Content::Feed { pieces: feed.open(), _viewing: viewing })
            }
        }
    }

    /// What has no end takes a place among the viewers first, if there is one.
    fn view(&self, kind: &'static str, content: impl FnOnce(Viewing) -> Content) -> Response<Content> {
        match Viewing::enter(&self.viewers) {
            Some(viewing) => respond(StatusCode::OK, kind, content(viewing)),
            None => {
                let body = Bytes::from_static(b"too many viewers at the moment; try again later\n");
                let content = Content::Page(Some(body));
                respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", content)
            }
        }
    }
}

/// Why a question is not even looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    Method,
    Body,
    Host,
    Token,
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Body => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Method => "read only: GET and HEAD\n",
            Self::Body => "read only: a request has no body\n",
            Self::Host => {
                "ask by an IP address or as localhost; by other names only where a token is configured\n"
            }
            Self::Token => "a token is needed: as bearer token, or as password with any user name\n",
        }
    }
}

fn judge<B: Body>(request: &Request<B>, settings: &StatusSettings) -> Option<Refusal> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Some(Refusal::Method);
    }
    if !request.body().is_end_stream() {
        return Some(Refusal::Body);
    }
    let Some(token) = &settings.token else {
        // A name of its own that leads to this machine would let any page of the web read this one.
        return (!is_host_of_ours(request)).then_some(Refusal::Host);
    };
    if OPEN_PATHS.contains(&request.uri().path()) {
        return None;
    }
    let given = request.headers().get(header::AUTHORIZATION);
    let opens = given.is_some_and(|value| token.opens(value.as_bytes()));
    (!opens).then_some(Refusal::Token)
}

/// Whether the request was addressed to an IP address or to localhost.
fn is_host_of_ours<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host,
        (None, _) => return request.version() == Version::HTTP_10,
        (Some(_), Some(_)) => return false,
    };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        Some(_) | None => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<SocketAddr>().is_ok()
        || bare.parse::<IpAddr>().is_ok()
}

fn respond(status: StatusCode, kind: &'static str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"metergate\", charset=\"UTF-8\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// The body of an answer.
enum Content {
    Page(Option<Bytes>),
    Events(Box<Events>),
    Feed { pieces: mpsc::Receiver<Bytes>, _viewing: Viewing },
}

/// A stream of events. The next one is made when the client has taken the last: nothing piles up.
struct Events {
    site: Site,
    path: &'static str,
    /// `None` before the first.
    due: Option<Interval>,
    _viewing: Viewing,
}

/// A place among the viewers, held for as long as this lives.
struct Viewing(Arc<AtomicUsize>);

impl Viewing {
    fn enter(viewers: &Arc<AtomicUsize>) -> Option<Self> {
        let room = |count: usize| (count < MAX_VIEWERS).then_some(count + 1);
        viewers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Self(Arc::clone(viewers)))
    }
}

impl Drop for Viewing {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Events {
    fn next(&self) -> Bytes {
        let question = Question { path: self.path, query: "" };
        match (self.site)(&question) {
            Reply::Page { body, .. } => Bytes::from([b"data: ", &body[..], b"\n\n"].concat()),
            Reply::File { .. } | Reply::Events(_) | Reply::Feed { .. } => Bytes::from_static(b":\n\n"),
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Page(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Self::Events(events) => {
                let due = events.due.get_or_insert_with(|| {
                    let mut due = interval(EVENT_PERIOD);
                    due.set_missed_tick_behavior(MissedTickBehavior::Skip);
                    due
                });
                match due.poll_tick(context) {
                    Poll::Ready(_) => Poll::Ready(Some(Ok(Frame::data(events.next())))),
                    Poll::Pending => Poll::Pending,
                }
            }
            Self::Feed { pieces, .. } => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Page(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Events(_) | Self::Feed { .. } => SizeHint::default(),
        }
    }
}

/// What every page says of itself: scripts, styles and data from here only, in no frame, kept by nobody.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What is said instead of `no-store` of a file whose address changes with its content.
const KEPT: &str = "private, max-age=31536000, immutable";

/// What needs no token: a word for a supervisor, and no detail.
const OPEN_PATHS: [&str; 2] = ["/health", "/ready"];

/// Between two events of a stream.
pub const EVENT_PERIOD: Duration = Duration::from_secs(1);

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 32;

/// Of these, viewers of what has no end: events, traces and captures.
pub const MAX_VIEWERS: usize = 8;

/// Headers of a request.
pub const MAX_HEADERS: usize = 64;

/// Bytes of a request, which is all headers.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long a client may take to ask.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to ask and to read the answer, unless it is a stream.
pub const VISIT_TIMEOUT: Duration = Duration::from_secs(30);

/// After a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
