//! TLS handshakes of a listener, apart from the connections of clients that are through with theirs.
//!
//! Owns their bounds: how long one may take, how many there are at once, and which one gives way. They run in a thread of
//! their own with a low priority, so that computing them delays no client and no line, however many come. A client counts
//! as a connection of the listener only after its handshake.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use crate::runtime::BackgroundRuntime;
use crate::tls::{self, ClientIdentity, HandshakeFailure, TlsServer, TlsStream};

/// The handshakes in progress.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    /// Started with the first handshake.
    background: Option<BackgroundRuntime>,
    tasks: JoinSet<Handshake>,
    /// Those in progress, the oldest first.
    running: Vec<RunningHandshake>,
}

/// A handshake in progress.
#[derive(Debug)]
struct RunningHandshake {
    peer: SocketAddr,
    /// Its task owns it.
    socket: Weak<TcpStream>,
    task: AbortHandle,
}

/// A handshake that has ended.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The client's end.
    pub(super) peer: SocketAddr,
    /// The server that did it.
    pub(super) server: Arc<TlsServer>,
    /// The connection, and the client.
    pub(super) result: Result<(TlsStream, ClientIdentity), HandshakeFailure>,
}

impl Handshakes {
    /// Begins a handshake. If there are too many, one that waits for its client is aborted for it, the oldest of the site
    /// that has most, and its client returned: clients that begin handshakes and end none shut out no other.
    ///
    /// # Errors
    /// There are too many and all wait for this machine, or the system has no thread left for them.
    pub(super) fn begin(
        &mut self,
        server: &Arc<TlsServer>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Option<SocketAddr>, HandshakeFailure> {
        let aborted = match self.is_full() {
            true => Some(self.abort_one().ok_or(HandshakeFailure::TooMany)?),
            false => None,
        };
        let background = self.background().map_err(|_| HandshakeFailure::TooMany)?.clone();
        let server = Arc::clone(server);
        let stream = Arc::new(stream);
        let socket = Arc::downgrade(&stream);
        let handshake = async move {
            let accepted = timeout(HANDSHAKE_TIMEOUT, tls::accept(&server, stream)).await;
            let result = match accepted {
                Ok(Ok((stream, Some(identity)))) => Ok((stream, identity)),
                Ok(Ok((_, None))) => Err(HandshakeFailure::NoCertificate),
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(HandshakeFailure::TimedOut),
            };
            Handshake { peer, server, result }
        };
        let task = self.tasks.spawn_on(handshake, &background);
        self.running.push(RunningHandshake { peer, socket, task });
        Ok(aborted)
    }

    /// Runs a task in the thread of the handshakes.
    ///
    /// # Errors
    /// The system has no thread left for it.
    pub(super) fn spawn_beside<F>(&mut self, task: F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.background()?.spawn(task);
        Ok(())
    }

    /// Whether the next one finds no place: there are too many, and all of them wait for this machine.
    pub(super) fn is_overloaded(&self) -> bool {
        self.is_full() && self.dispensable().is_none()
    }

    fn is_full(&self) -> bool {
        self.running.len() >= HANDSHAKES_MAX
    }

    fn abort_one(&mut self) -> Option<SocketAddr> {
        let aborted = self.running.remove(self.dispensable()?);
        aborted.task.abort();
        Some(aborted.peer)
    }

    /// The one that gives way, by its index.
    fn dispensable(&self) -> Option<usize> {
        let mut counts = HashMap::new();
        for running in &self.running {
            *counts.entry(site(running.peer)).or_insert(0) += 1;
        }
        let mut oldest_of_most: Vec<_> = self.running.iter().enumerate().collect();
        oldest_of_most.sort_by_key(|(_, running)| Reverse(counts.get(&site(running.peer))));
        oldest_of_most.into_iter().find(|(_, running)| running.waits_for_client()).map(|(index, _)| index)
    }

    /// The next handshake to end; never, if there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Handshake {
        loop {
            let (id, ended) = match self.tasks.join_next_with_id().await {
                Some(Ok((id, handshake))) => (id, Some(handshake)),
                Some(Err(error)) => (error.id(), None),
                None => std::future::pending().await,
            };
            self.running.retain(|running| running.task.id() != id);
            if let Some(handshake) = ended {
                return handshake;
            }
        }
    }

    fn background(&mut self) -> io::Result<&tokio::runtime::Handle> {
        let background = match self.background.take() {
            Some(background) => background,
            None => BackgroundRuntime::start("handshakes")?,
        };
        Ok(self.background.insert(background).handle())
    }
}

impl RunningHandshake {
    /// Whether nothing of its client is there to be worked on.
    fn waits_for_client(&self) -> bool {
        let Some(socket) = self.socket.upgrade() else { return false };
        let peeked = SockRef::from(&*socket).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_err() || peeked.is_ok_and(|length| length == 0)
    }
}

/// What counts as one when one has to give way: the address itself, or of IPv6 the network of 64 bits, of which one machine has
/// all addresses.
fn site(peer: SocketAddr) -> IpAddr {
    match peer.ip() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// How long a handshake may take: several round trips of a bad radio link.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Handshakes of a listener at once.
pub const HANDSHAKES_MAX: usize = 64;
