//! One listener: admission, and the tasks of its connections.
//!
//! With `tls`, a client is admitted after its handshake (`handshakes`). Owns the accept loop, which survives all of its
//! errors. It never reads a byte of a connection and never closes one with a request in flight, unless the grace period
//! of a stop has passed. Source: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, chapter 4.2 (connection
//! management).

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, error_span, info, warn};

use crate::endpoint::Endpoint;
use crate::runtime::{LogKind, LogRateLimiter};
use crate::server::admission::Admission;
use crate::server::connection;
use crate::server::connection::ClientContext;
use crate::server::handshakes::{Handshake, Handshakes};
pub use crate::server::routes::{ListenerState, Routes};
use crate::server::tls_clients::TlsClient;
use crate::tls::{self, ClientIdentity, HandshakeFailure, TlsServer, TlsStream};
use crate::traffic::Link;

/// Which clients a socket on an IPv6 address accepts, regardless of the system's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// Only those of the address's own family, so that `0.0.0.0` and `[::]` can be used side by side.
    Own,
    /// `[::]` accepts IPv4 clients, too.
    Both,
}

/// Opens a listening socket for the clients of the address's own family.
///
/// # Errors
/// Those of the operating system: the address is in use, is not local, or its port is privileged.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    bind_for(address, Families::Own)
}

/// Opens a listening socket.
///
/// # Errors
/// Those of the operating system: the address is in use, is not local, or its port is privileged.
pub fn bind_for(address: SocketAddr, families: Families) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(families == Families::Own)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves clients until `stop` is cancelled. Then no client is accepted, requests in flight are answered, and
/// connections still open after the listener's `request_deadline` and [`GRACE`] are dropped.
pub async fn run(socket: TcpListener, listener: Arc<ArcSwap<ListenerState>>, stop: CancellationToken) {
    let mut acceptor = Acceptor::new(listener, stop.clone());
    let mut reverify = interval_at(Instant::now() + REVERIFY_PERIOD, REVERIFY_PERIOD);
    reverify.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let open = acceptor.backoff.resume_at.is_none() && acceptor.next_handshake.is_none();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = acceptor.connections.join_next() => {
                if let Err(error) = ended
                    && let Some(held_back) = acceptor.log_limiter.permit(LogKind::TaskFailure, Instant::now())
                {
                    error!(%error, held_back, "the task of a connection failed");
                }
            }
            handshake = acceptor.handshakes.next() => acceptor.handle_handshake(handshake),
            _ = reverify.tick() => acceptor.reverify(),
            () = until(acceptor.backoff.resume_at) => acceptor.backoff.resume_at = None,
            () = until(acceptor.next_handshake) => acceptor.next_handshake = None,
            accepted = socket.accept(), if open => match accepted {
                Ok((stream, peer)) => acceptor.accept(stream, peer),
                Err(error) => acceptor.handle_error(&error, &socket),
            },
        }
    }
    drop(socket);
    acceptor.shut_down().await;
}

/// The state of the accept loop.
struct Acceptor {
    listener: Arc<ArcSwap<ListenerState>>,
    stop: CancellationToken,
    admission: Admission,
    connections: JoinSet<()>,
    backoff: AcceptBackoff,
    handshakes: Handshakes,
    /// No connection is accepted before, because a handshake has begun.
    next_handshake: Option<Instant>,
    log_limiter: Arc<LogRateLimiter>,
}

/// A connection that is ready for requests.
enum ClientStream {
    Plain(TcpStream),
    Tls(Box<TlsStream>, Arc<TlsClient>),
}

/// Whether the system currently allows connections to be accepted.
#[derive(Debug)]
struct AcceptBackoff {
    last_error: Option<Instant>,
    pause: Duration,
    resume_at: Option<Instant>,
}

impl Acceptor {
    fn new(listener: Arc<ArcSwap<ListenerState>>, stop: CancellationToken) -> Self {
        Self {
            listener,
            stop,
            admission: Admission::new(Instant::now()),
            connections: JoinSet::new(),
            backoff: AcceptBackoff { last_error: None, pause: PAUSE_MIN, resume_at: None },
            handshakes: Handshakes::default(),
            next_handshake: None,
            log_limiter: Arc::default(),
        }
    }

    fn accept(&mut self, stream: TcpStream, peer: SocketAddr) {
        let now = Instant::now();
        self.backoff.handle_success(now);
        let peer = canonical(peer);
        let state = self.listener.load_full();
        if !state.admits(&Endpoint::Tcp(peer)) {
            state.metrics.note_turned_away();
            return self.log_turned_away(peer, now, "turned away: the address is not in `allow`");
        }
        match &state.settings.tls {
            None => self.admit(ClientStream::Plain(stream), peer, self.stop.child_token(), &state),
            Some(server) => {
                match self.handshakes.begin(server, stream, peer) {
                    Ok(None) => {}
                    Ok(Some(aborted)) => {
                        self.note_failure(&state, server, aborted, HandshakeFailure::TooMany);
                    }
                    Err(failure) => self.note_failure(&state, server, peer, failure),
                }
                self.next_handshake = Some(now + HANDSHAKE_PAUSE);
            }
        }
    }

    /// Admits the client of a handshake that has ended well.
    fn handle_handshake(&mut self, handshake: Handshake) {
        let Handshake { peer, server, result } = handshake;
        let metrics = Arc::clone(&self.listener.load().metrics);
        let closing = self.stop.child_token();
        let listed = result.and_then(|(stream, identity)| {
            let identity = Arc::new(identity);
            // A reload may have replaced what the handshake compared the certificate with.
            let verify = || {
                let present = self.listener.load();
                match present.settings.tls.as_ref() {
                    None => Err(HandshakeFailure::Closed),
                    Some(present) if Arc::ptr_eq(present, &server) => Ok(()),
                    Some(present) => present.verify(&identity, SystemTime::now()),
                }
            };
            let listed = metrics.tls.list_verified(&identity, &closing, verify)?;
            Ok((stream, identity, listed))
        });
        let state = self.listener.load_full();
        match listed {
            Ok((stream, identity, listed)) => {
                if let Err(reason) = &identity.role
                    && let Some(held_back) = self.log_limiter.permit(LogKind::Handshake, Instant::now())
                {
                    let certificate = &identity.subject;
                    info!(client = %peer, certificate, held_back, "no rule with a role fits this client: {reason}");
                }
                self.admit(ClientStream::Tls(Box::new(stream), listed), peer, closing, &state);
            }
            Err(failure) => self.note_failure(&state, &server, peer, failure),
        }
    }

    /// Closes the connections of clients whose certificate has expired meanwhile.
    fn reverify(&mut self) {
        let state = self.listener.load_full();
        if state.metrics.tls.is_empty() {
            return;
        }
        let close = async move { state.close_unaccepted_clients(SystemTime::now()) };
        if let Err(error) = self.handshakes.spawn_beside(close) {
            warn!(%error, "cannot look for expired certificates of clients; trying again later");
        }
    }

    fn note_failure(
        &self,
        state: &ListenerState,
        server: &TlsServer,
        peer: SocketAddr,
        failure: HandshakeFailure,
    ) {
        state.metrics.tls.note_failure(failure);
        let Some(held_back) = self.log_limiter.permit(LogKind::Handshake, Instant::now()) else {
            return debug!(client = %peer, "no connection: {failure}");
        };
        // That the gateway's own certificate is not valid, or its clock not set, explains what the client did.
        match server.validity_fault(SystemTime::now()) {
            Some(fault) => info!(client = %peer, held_back, "no connection: {failure} ({fault})"),
            None => info!(client = %peer, held_back, "no connection: {failure}"),
        }
    }

    /// Admits a client to the connections of the listener, until `closing` is cancelled.
    fn admit(
        &mut self,
        stream: ClientStream,
        peer: SocketAddr,
        closing: CancellationToken,
        state: &ListenerState,
    ) {
        let (now, address, settings) = (Instant::now(), peer.ip(), &state.settings);
        let room =
            self.admission.make_room(address, settings.max_connections_per_ip, settings.max_connections);
        if room.evicted > 0 {
            self.log_turned_away(peer, now, "full: the longest idle connection was closed for this one");
        }
        if !room.admitted {
            state.metrics.note_turned_away();
            return self.log_turned_away(peer, now, "turned away: full, and no connection is idle");
        }
        if let Err(error) = prepare(stream.socket()) {
            debug!(client = %peer, %error, "cannot set all options of the socket");
        }
        let client = ClientContext {
            link: Arc::new(Link {
                client: Endpoint::Tcp(peer),
                listener: Endpoint::Tcp(canonical(
                    stream.socket().local_addr().ok().or(settings.at.tcp()).unwrap_or(peer),
                )),
                framing: settings.framing,
                connection: connection::next_connection(),
                identity: stream.identity().cloned(),
            }),
            listener: self.listener.clone(),
            idle: self.admission.add(address, closing, now),
            log_limiter: self.log_limiter.clone(),
        };
        self.connections.spawn(serve(stream, client).instrument(error_span!("connection", client = %peer)));
    }

    fn handle_error(&mut self, error: &io::Error, socket: &TcpListener) {
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        ) {
            return debug!(%error, "a client disconnected before it was accepted");
        }
        let now = Instant::now();
        let scarce =
            matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM));
        // Linux reserves the descriptor before it checks the backlog, so EMFILE may come with no client waiting; do not
        // evict then.
        if scarce && !has_pending_connection(socket) {
            return self.backoff.pause(now);
        }
        if self.backoff.last_error.is_none() {
            warn!(%error, "cannot accept connections; retrying");
        }
        self.backoff.last_error = Some(now);
        self.backoff.pause(now);
        if scarce && self.admission.evict(None) {
            debug!("the longest idle connection was closed for lack of file descriptors");
        }
    }

    fn log_turned_away(&self, peer: SocketAddr, now: Instant, what: &str) {
        match self.log_limiter.permit(LogKind::Admission, now) {
            Some(held_back) => info!(client = %peer, held_back, "{what}"),
            None => debug!(client = %peer, "{what}"),
        }
    }

    /// Waits for the connections, which have been notified of the stop, and drops those that take too long.
    async fn shut_down(mut self) {
        let grace = self.listener.load().settings.request_deadline + GRACE;
        let all_ended = async { while self.connections.join_next().await.is_some() {} };
        if timeout(grace, all_ended).await.is_err() {
            warn!(connections = self.connections.len(), "connections did not end in time; dropped");
        }
        self.connections.shutdown().await;
    }
}

impl AcceptBackoff {
    fn handle_success(&mut self, now: Instant) {
        self.pause = PAUSE_MIN;
        if self.last_error.is_some_and(|last| now.saturating_duration_since(last) >= CALM) {
            self.last_error = None;
            info!("accepting connections again");
        }
    }

    fn pause(&mut self, now: Instant) {
        self.resume_at = Some(now + self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

async fn serve(stream: ClientStream, client: ClientContext) {
    match stream {
        ClientStream::Plain(mut stream) => {
            let (reader, writer) = stream.split();
            connection::run(reader, writer, client).await;
        }
        ClientStream::Tls(stream, listed) => {
            let (reader, writer) = tls::split(*stream);
            connection::run(reader, writer, client).await;
            drop(listed);
        }
    }
}

impl ClientStream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream, _) => stream.socket(),
        }
    }

    fn identity(&self) -> Option<&Arc<ClientIdentity>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(_, client) => Some(client.identity()),
        }
    }
}

/// An IPv4 client of a socket for both families has an IPv4-mapped IPv6 address.
fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// Sends small answers at once, detects vanished clients, and limits the replies buffered by the kernel.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    find_out_vanished(stream)
}

/// Makes the kernel end the connection to a client that vanished or that reads nothing any more: after [`USER_TIMEOUT`]
/// while data is being sent, otherwise by keep-alive probes.
pub(crate) fn find_out_vanished(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

fn has_pending_connection(socket: &TcpListener) -> bool {
    let mut interest = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
    poll(&mut interest, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// How often the certificates of connected clients are compared with the time again. A reload does it at once.
pub const REVERIFY_PERIOD: Duration = Duration::from_secs(60 * 60);

/// Between two handshakes that begin. A thousand clients that connect at once, and again when they are turned away, would
/// keep a worker from connections and lines for as long as it takes to accept them all; so they wait in the kernel.
const HANDSHAKE_PAUSE: Duration = Duration::from_millis(2);

/// How long a stop waits for connections to end, in addition to `request_deadline`.
pub const GRACE: Duration = Duration::from_secs(1);

/// Connections the kernel queues until they are accepted.
const BACKLOG: i32 = 1024;

/// Replies buffered by the kernel per connection, in bytes: several times what can be in flight by default.
const SEND_BUFFER: usize = 16 * 1024;

/// Silence of a client before the first keep-alive probe.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);

/// Between two keep-alive probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Keep-alive probes without an answer that end a connection.
const KEEPALIVE_RETRIES: u32 = 6;

/// Sent bytes that stay unacknowledged, or that the client does not read, for this long end a connection.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// The first pause after a failed accept, doubled with each further one up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The longest pause after a failed accept.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// After this long without a failed accept, the shortage is over.
const CALM: Duration = Duration::from_secs(10);
