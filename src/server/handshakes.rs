//! TLS handshakes of a listener, apart from the connections of clients that are through with theirs.
//!
//! Owns their bounds: how long one may take, how many there are at once, in all and from one address. They run in a
//! thread of their own with a low priority, so that computing them delays no client and no line, however many come. A
//! client counts as a connection of the listener only after its handshake.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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
    /// Begins a handshake. If there are too many in all, the oldest one of the site that has most is aborted for it, and
    /// its client returned: clients that begin handshakes and end none shut out no other.
    ///
    /// # Errors
    /// There are too many from its own address, or the system has no thread left for them.
    pub(super) fn begin(
        &mut self,
        server: &Arc<TlsServer>,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Option<SocketAddr>, HandshakeFailure> {
        if self.count(site(peer)) >= HANDSHAKES_PER_ADDRESS {
            return Err(HandshakeFailure::TooMany);
        }
        let background = self.background().map_err(|_| HandshakeFailure::TooMany)?.clone();
        let server = Arc::clone(server);
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
        let aborted = (self.running.len() >= HANDSHAKES_MAX).then(|| self.abort_one()).flatten();
        let task = self.tasks.spawn_on(handshake, &background);
        self.running.push(RunningHandshake { peer, task });
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

    /// The handshakes from one site.
    fn count(&self, from: IpAddr) -> usize {
        self.running.iter().filter(|running| site(running.peer) == from).count()
    }

    fn abort_one(&mut self) -> Option<SocketAddr> {
        // In one pass: a flood brings this about for each of its connections, in the thread that accepts them.
        let mut counts = HashMap::new();
        for running in &self.running {
            *counts.entry(site(running.peer)).or_insert(0) += 1;
        }
        let most = counts.values().max()?;
        // One that has ended, and is not known to have yet, is not to be counted as aborted.
        let gives_way = |running: &RunningHandshake| {
            counts.get(&site(running.peer)) == Some(most) && !running.task.is_finished()
        };
        let oldest = self.running.iter().position(gives_way)?;
        let aborted = self.running.remove(oldest);
        aborted.task.abort();
        Some(aborted.peer)
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

/// What shares the bound of an address: the address itself, or of IPv6 the network of 64 bits, of which one machine has
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

/// Of these from one address, or one IPv6 network of 64 bits: behind one there may be a whole site, whose clients all come
/// back after a power cut.
pub const HANDSHAKES_PER_ADDRESS: usize = 32;
